"""Folds as loops with accumulators.

In: a Fold and the scope around it.  Out: its value. Where the fold varies along the scope's lane,
each lane has its own sum; else the fold takes its own lane along one of its axes:

    sum [c: 100] x[n, c]   ->   four vectors of partial sums over blocks of 16, added in a fixed
                                tree, then lane i with i + 8, i + 4, ...

The order of every sum is a function of shapes and lengths alone. Guards that bound one axis become
loop bounds, `index % m == 0` becomes the loop's step, all others are conditions or masks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

from latte.compiler.affine import Affine, axis, row_major
from latte.compiler.builder import Accumulator
from latte.compiler.expression import Apply, Axis, Fold, Guard, Load, Number
from latte.compiler.lower_access import flat_position, lane_stride, reduce_floors
from latte.compiler.lower_arithmetic import real, truth
from latte.compiler.lower_memory import Evaluate
from latte.compiler.lower_scope import Scope, Value
from latte.compiler.lower_stage import stage
from latte.compiler.rewrite import walk
from latte.compiler.values import Integer, Term, vector_type

ACCUMULATORS = 4  # vectors of partial sums where a lane fold is long
UNROLLED = 16  # places of a fold that are written out

NEUTRAL: dict[str, float | bool] = {
    "sum": 0.0, "prod": 1.0, "max": -math.inf, "min": math.inf,
    "argmax": -math.inf, "argmin": math.inf, "any": False, "all": True,
}  # fmt: skip


@dataclass(slots=True)
class _Bounds:
    """What guards make of one fold axis: limits, (step, residue term), conditions inside it."""

    start: Integer = 0
    stop: Integer = 0
    step: int = 1
    conditions: list[Guard] = field(default_factory=list)


@dataclass(slots=True)
class _Sum:
    """One accumulator: a value, and a position for argmax and argmin."""

    value: Accumulator
    position: Accumulator | None


def fold(scope: Scope, node: Fold, evaluate: Evaluate) -> Value:
    """The value of a fold: f32, i32 (a position) or a truth value."""
    with scope.inner():
        if scope.lane and not scope.on_lane(node):
            _leave_lane(scope)
        scope.declare(node.axes)
        return _Folding(scope, node, evaluate).result()


def _leave_lane(scope: Scope) -> None:
    if scope.mask is not None:
        scope.mask = scope.b.reduce("any", scope.mask)
    scope.lane, scope.lanes, scope.tail = "", 1, None


class _Folding:
    """The state of emitting one fold."""

    def __init__(self, scope: Scope, node: Fold, evaluate: Evaluate) -> None:
        self.scope, self.node, self.evaluate = scope, node, evaluate
        self.b = scope.b
        self.argument = node.operator.startswith("arg")
        self.own = None if scope.lane else _own_lane(scope, node)
        self.order = [entry for entry in node.axes if entry is not self.own]
        if self.own is not None:
            self.order.append(self.own)
            self._take_lane(self.own)
        self.sums: list[_Sum] = []
        self.current = 0

    def _take_lane(self, own: Axis) -> None:
        scope, block, lane = self.scope, f"{own.name}.block", f"{own.name}.lane"
        scope.view(own.name, axis(block) * scope.width + axis(lane))
        scope.ranges[block] = (0, -(-own.size // scope.width) - 1)
        scope.ranges[lane] = (0, scope.width - 1)
        scope.lane, scope.lanes = lane, scope.width
        scope.rebind()

    def result(self) -> Value:
        """Emits the loops and gives the value after them."""
        guards = self._guards()
        with ExitStack() as stack:
            lanes = self.scope.lanes
            self.sums = [self._new_sum(lanes) for _ in range(self._count())]
            for condition in guards.pop("", []):
                self._require(stack, condition)
            self._nest(0, guards)
        while len(self.sums) > 1:
            half = len(self.sums) // 2
            for a, b in zip(self.sums[:half], self.sums[half:], strict=True):
                self._merge(a, b.value.value, b.position.value if b.position else None)
            del self.sums[half:]
        return self._across_lanes() if self.own is not None else self._plain()

    def _count(self) -> int:
        long = self.own is not None and self.own.size >= 2 * ACCUMULATORS * self.scope.width
        nested = any(isinstance(inner, Fold) for inner in walk(self.node.body))
        return ACCUMULATORS if long and not nested and not self.argument else 1

    def _new_sum(self, lanes: int) -> _Sum:
        neutral = NEUTRAL[self.node.operator]
        kind = "i1" if isinstance(neutral, bool) else "f32"
        value = self.b.variable(vector_type(kind, lanes), neutral)  # type: ignore[arg-type]
        position = self.b.variable(vector_type("i32", lanes), 0) if self.argument else None
        return _Sum(value, position)

    # Loops

    def _guards(self) -> dict[str, list[Guard]]:
        """The guards by the innermost fold axis in them ("": none); those always true are gone."""
        found: dict[str, list[Guard]] = {}
        names = [entry.name for entry in self.order]
        for guard in self.node.where:
            if not guard.modulus and guard.index.bounds(self.scope.ranges)[0] >= 0:
                continue
            used = [name for name in names if name in guard.index.axes()]
            found.setdefault(used[-1] if used else "", []).append(guard)
        return found

    def _nest(self, level: int, guards: dict[str, list[Guard]]) -> None:
        if level == len(self.order):
            self._accumulate()
            return
        entry = self.order[level]
        if entry is self.own:
            self._blocks(entry, guards.get(entry.name, []), lambda: self._nest(level + 1, guards))
            return
        bounds = self._bounds(entry, guards.get(entry.name, []))
        for start, stop in self._pieces(bounds):
            with self.b.loop(start, stop, bounds.step) as place, self.scope.inner():
                self.scope.bind(entry.name, place)
                self._inside(bounds.conditions, lambda: self._nest(level + 1, guards))

    def _pieces(self, bounds: _Bounds) -> list[tuple[Integer, Integer]]:
        """The whole range, or each place of it alone where the fold is written out."""
        start, stop = bounds.start, bounds.stop
        small = math.prod(entry.size for entry in self.node.axes) <= UNROLLED
        if isinstance(start, int) and isinstance(stop, int) and small:
            return [(place, place + 1) for place in range(start, stop, bounds.step)]
        return [(start, stop)]

    def _inside(self, conditions: list[Guard], body: Callable[[], None]) -> None:
        with ExitStack() as stack:
            for condition in conditions:
                self._require(stack, condition)
            stage(self.scope, [self.node.body], False, self.evaluate)
            body()

    def _require(self, stack: ExitStack, guard: Guard) -> None:
        """Enters a block where the guard holds: a condition, or a mask of lanes."""
        holds = self.scope.guard(guard)
        if isinstance(holds, Term) and holds.type.lanes > 1:
            stack.enter_context(self.scope.inner(mask=self.scope.both(self.scope.mask, holds)))
        else:
            stack.enter_context(self.b.when(holds if isinstance(holds, Term) else bool(holds)))

    def _bounds(self, entry: Axis, guards: list[Guard]) -> _Bounds:
        bounds = _Bounds(0, self.scope.length(entry))
        stepped: list[tuple[Guard, int, Affine]] = []
        for guard in guards:
            index = self.scope.resolve(guard.index)
            factor = lane_stride(index, entry.name) or 0
            rest = index - axis(entry.name) * factor
            if not factor or self.scope.varies(index):
                bounds.conditions.append(guard)
            elif guard.modulus:
                self._stepped(guard, factor, rest, stepped, bounds)
            else:
                _limit(self.scope, bounds, factor, self.scope.integer(rest))
        for guard, factor, rest in stepped:
            inverse = pow(factor, -1, guard.modulus)
            residue = self.scope.integer(rest) * -inverse - bounds.start
            bounds.start = bounds.start + residue % guard.modulus
            bounds.step = guard.modulus
        return bounds

    def _stepped(
        self, guard: Guard, factor: int, rest: Affine,
        stepped: list[tuple[Guard, int, Affine]], bounds: _Bounds,
    ) -> None:  # fmt: skip
        if stepped or math.gcd(factor, guard.modulus) > 1:
            bounds.conditions.append(guard)
        else:
            stepped.append((guard, factor, rest))

    def _blocks(self, own: Axis, guards: list[Guard], body: Callable[[], None]) -> None:
        """The fold's own lane: groups of full blocks, single full blocks, then the rest."""
        width, length, count = self.scope.width, self.scope.length(own), len(self.sums)
        full = length // width
        grouped = full // count * count
        with self.b.loop(0, grouped, count) as first:
            for self.current in range(count):
                self._block(own, first + self.current, None, guards, body)
        self.current = 0
        if count > 1:
            with self.b.loop(grouped, full) as place:
                self._block(own, place, None, guards, body)
        if isinstance(length, int) and length % width == 0:
            return
        rest = length - full * width
        lanes = self.b.lane_numbers(width, "i32")
        left = rest
        if isinstance(rest, Term):
            left = self.b.convert(self.b.materialized(rest), "i32")
        with self.b.when(rest > 0 if isinstance(rest, Term) else True):
            self._block(own, full, lanes < left, guards, body)

    def _block(
        self, own: Axis, place: Integer, tail: Term | None, guards: list[Guard],
        body: Callable[[], None],
    ) -> None:  # fmt: skip
        mask = self.scope.both(self.scope.mask, tail)
        with self.scope.inner(mask=mask, tail=tail):
            self.scope.bind(f"{own.name}.block", place)
            self._inside(guards, body)

    # Accumulation

    def _accumulate(self) -> None:
        total, mask = self.sums[self.current], self.scope.mask
        before = total.value.value
        body = self.node.body
        if self.node.operator == "sum" and isinstance(body, Apply) and body.operator == "mul":
            a, b = (real(self.scope, self.evaluate(self.scope, o)) for o in body.operands)
            self._change(total, self.b.fma(a, b, before), mask, before)
            return
        value = self.evaluate(self.scope, body)
        if self.argument:
            place = row_major(
                (axis(entry.name) for entry in self.node.axes),
                (entry.size for entry in self.node.axes),
            )
            at = self.scope.lanes_of(self.scope.resolve(place))
            self._merge(total, real(self.scope, value), at, mask, ordered=True)
            return
        change = truth if self.node.operator in ("any", "all") else real
        self._change(total, self._combine(before, change(self.scope, value)), mask, before)

    def _change(self, total: _Sum, new: Term, mask: Term | None, before: Term) -> None:
        total.value.set(new if mask is None else self.b.select(mask, new, before))

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

    def _merge(
        self, total: _Sum, value: Term, place: Value | None, mask: Term | None = None,
        ordered: bool = False,
    ) -> None:  # fmt: skip
        before = total.value.value
        if total.position is None:
            total.value.set(self._combine(before, value))
            return
        assert place is not None
        held = total.position.value
        at = self.b.term(place, held.type)
        better = self._better(value, before)
        if not ordered:
            tie = self.b.binary("xor", better | self._better(before, value), 1)
            better = better | (tie & (at < held))
        better = self.scope.both(better, mask) or better
        total.value.set(self.b.select(better, value, before))
        total.position.set(self.b.select(better, at, held))

    def _better(self, new: Term, old: Term) -> Term:
        """Strictly ahead; NaN is ahead of all numbers."""
        ahead = new > old if self.node.operator == "argmax" else new < old
        return ahead | (new.ne(new) & old.eq(old))

    # Results

    def _plain(self) -> Value:
        total = self.sums[0]
        return total.position.value if total.position else total.value.value

    def _across_lanes(self) -> Value:
        total, lanes = self.sums[0], self.scope.width
        value = total.value.value
        position = total.position.value if total.position else None
        half = lanes // 2
        while half:
            order = [(lane + half) % lanes for lane in range(lanes)]
            other = self.b.shuffle(value, None, order)
            if position is None:
                value = self._combine(value, other)
            else:
                value, position = self._first(value, position, other, order)
            half //= 2
        return self.b.extract(value if position is None else position, 0)

    def _first(
        self, value: Term, position: Term, other: Term, order: list[int]
    ) -> tuple[Term, Term]:
        place = self.b.shuffle(position, None, order)
        ahead = self._better(other, value)
        tie = self.b.binary("xor", ahead | self._better(value, other), 1)
        ahead = ahead | (tie & (place < position))
        return self.b.select(ahead, other, value), self.b.select(ahead, place, position)


def _limit(scope: Scope, bounds: _Bounds, factor: int, rest: Integer) -> None:
    """`factor * x + rest >= 0` as a limit of x."""
    if factor > 0:
        least = (factor - 1 - rest) // factor if factor > 1 else 0 - rest
        bounds.start = _extreme(scope, max, bounds.start, least)
    else:
        most = (rest // -factor if factor < -1 else rest) + 1
        bounds.stop = _extreme(scope, min, bounds.stop, most)


def _extreme(scope: Scope, choose: Callable[..., int], a: Integer, b: Integer) -> Integer:
    if isinstance(a, int) and isinstance(b, int):
        return choose(a, b)
    return scope.b.binary("max" if choose is max else "min", a, b)


def _own_lane(scope: Scope, node: Fold) -> Axis | None:
    """The axis along which a fold's loads are contiguous most often, if that pays."""
    if scope.width == 1 or isinstance(node.body, Number):
        return None
    candidates = node.axes[-1:] if node.operator.startswith("arg") else node.axes
    loads = [inner for inner in walk(node.body) if isinstance(inner, Load)]
    loads = [inner for inner in loads if scope.free(inner) & {a.name for a in node.axes}]
    best, least = None, float(len(loads))
    for entry in candidates:
        if entry.size < 4:
            continue
        blocks = -(-entry.size // scope.width)
        cost = sum(_cost(scope, load, entry) for load in loads) * blocks / entry.size
        if cost < least and any(_cost(scope, load, entry) == 1 for load in loads):
            best, least = entry, cost
    return best


def _cost(scope: Scope, load: Load, entry: Axis) -> int:
    """Accesses for one vector of a load along an axis."""
    position = flat_position(scope.storage(load.buffer), load.index).substitute(scope.views)
    lane = axis("lane")
    view = position.substitute({entry.name: axis(entry.name) * scope.width + lane})
    ranges = {**scope.ranges, "lane": (0, scope.width - 1)}
    stride = lane_stride(reduce_floors(view, ranges), "lane")
    return 1 if stride in (0, 1) else scope.width
