"""One fold's accumulators: how a place is added, how partial results become one.

In: a Fold and, at each place of its loop, a scope.  Out: its value after the loop.

    argmax   ->   a value and a position;  where x > value: value, position = x, here
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from latte.compiler.affine import Affine, axis, row_major
from latte.compiler.builder import Accumulator
from latte.compiler.expression import Apply, Fold
from latte.compiler.lower_arithmetic import real, truth
from latte.compiler.lower_memory import Evaluate
from latte.compiler.lower_scope import Scope, Value
from latte.compiler.values import Term
from latte.compiler.vector import Kind, vector_type

NEUTRAL: dict[str, float | bool] = {
    "sum": 0.0, "prod": 1.0, "max": -math.inf, "min": math.inf,
    "argmax": -math.inf, "argmin": math.inf, "any": False, "all": True,
}  # fmt: skip


@dataclass(slots=True)
class _Partial:
    """One accumulator: a value, and a position for argmax and argmin."""

    value: Accumulator
    position: Accumulator | None


class Reduction:
    """Some accumulators of the scope's lanes each, for one fold."""

    def __init__(self, scope: Scope, node: Fold, count: int) -> None:
        self.node, self.b, self.lanes = node, scope.b, scope.lanes
        self.partials = [self._partial() for _ in range(count)]
        self.value: Term | None = None
        self.position: Term | None = None

    def _partial(self) -> _Partial:
        neutral = NEUTRAL[self.node.operator]
        kind: Kind = "i1" if isinstance(neutral, bool) else "f32"
        value = self.b.variable(vector_type(kind, self.lanes), neutral)
        if not self.node.operator.startswith("arg"):
            return _Partial(value, None)
        return _Partial(value, self.b.variable(vector_type("i32", self.lanes), 0))

    def accumulate(self, scope: Scope, current: int, evaluate: Evaluate) -> None:
        """Adds the body's value at the scope's place to one of the accumulators."""
        partial, body = self.partials[current], self.node.body
        before = partial.value.value
        if self.node.operator == "sum" and isinstance(body, Apply) and body.operator == "mul":
            a, b = (real(scope, evaluate(scope, operand)) for operand in body.operands)
            self._set(scope, partial, self.b.fma(a, b, before), before)
            return
        value = evaluate(scope, body)
        if partial.position is not None:
            self._advance(scope, partial, real(scope, value), before)
            return
        change = truth if self.node.operator in ("any", "all") else real
        self._set(scope, partial, self._combine(before, change(scope, value)), before)

    def _set(self, scope: Scope, partial: _Partial, new: Term, before: Term) -> None:
        partial.value.set(new if scope.mask is None else self.b.select(scope.mask, new, before))

    def _advance(self, scope: Scope, partial: _Partial, value: Term, before: Term) -> None:
        """A place later than all before wins only if it is strictly ahead."""
        assert partial.position is not None
        held = partial.position.value
        here = self.b.term(scope.lanes_of(scope.resolve(self._place())), held.type)
        better = self._better(value, before)
        better = scope.both(better, scope.mask) or better
        partial.value.set(self.b.select(better, value, before))
        partial.position.set(self.b.select(better, here, held))

    def _place(self) -> Affine:
        axes = self.node.axes
        return row_major((axis(entry.name) for entry in axes), (entry.size for entry in axes))

    def _better(self, new: Term, old: Term) -> Term:
        """Strictly ahead; NaN is ahead of all numbers. Comparisons are false for NaN."""
        behind = new <= old if self.node.operator == "argmax" else new >= old
        return self.b.binary("xor", behind, 1) & old.eq(old)

    def _combine(self, a: Term, b: Term) -> Term:
        match self.node.operator:
            case "sum":
                return a + b
            case "prod":
                return a * b
            case "max":
                return self.b.maximum(a, b)
            case "min":
                return self.b.minimum(a, b)
            case "any":
                return a | b
            case _:
                return a & b

    def finish(self, own_lane: bool) -> None:
        """After the loop: combines the accumulators, and the lanes if they are the fold's own."""
        values = [partial.value.value for partial in self.partials]
        while len(values) > 1:
            half = len(values) // 2
            values = [self._combine(values[i], values[i + half]) for i in range(half)]
        self.value, held = values[0], self.partials[0].position
        self.position = held.value if held else None
        half = self.lanes // 2 if own_lane else 0
        while half:
            self._fold_lanes([(lane + half) % self.lanes for lane in range(self.lanes)])
            half //= 2
        if own_lane:
            self.value = self.b.extract(self.value, 0)
            self.position = self.b.extract(self.position, 0) if self.position else None

    def _fold_lanes(self, order: list[int]) -> None:
        """Each lane with another; of two that tie, the earlier position wins."""
        assert self.value is not None
        other = self.b.shuffle(self.value, None, order)
        if self.position is None:
            self.value = self._combine(self.value, other)
            return
        place = self.b.shuffle(self.position, None, order)
        ahead = self._better(other, self.value)
        tie = self.b.binary("xor", ahead | self._better(self.value, other), 1)
        ahead = ahead | (tie & (place < self.position))
        self.value = self.b.select(ahead, other, self.value)
        self.position = self.b.select(ahead, place, self.position)

    def result(self, node: Fold) -> Value:
        """The position for argmax and argmin, else the value."""
        found = self.position if node.operator.startswith("arg") else self.value
        assert found is not None
        return found
