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
from itertools import chain

from latte.compiler.affine import Affine, axis
from latte.compiler.expression import Axis, Expression, Fold, Guard, Load, Local, Number
from latte.compiler.lower_access import lane_stride
from latte.compiler.lower_cost import LEAST_LANES, UNROLLED, vector_steps
from latte.compiler.lower_memory import Evaluate
from latte.compiler.lower_reduce import Reduction
from latte.compiler.lower_scope import Group, Scope, Value
from latte.compiler.lower_stage import stage
from latte.compiler.rewrite import walk
from latte.compiler.values import Integer, Term

ACCUMULATORS = 4  # vectors of partial sums where a lane fold is long
Blocks = tuple[Integer | None, ...]  # None: the block of lanes that is bound


@dataclass(slots=True)
class _Bounds:
    """What guards make of one fold axis: limits, (step, residue term), conditions inside it."""

    start: Integer = 0
    stop: Integer = 0
    step: int = 1
    conditions: list[Guard] = field(default_factory=list)


def fold(scope: Scope, node: Fold, evaluate: Evaluate) -> Value:
    """The value of a fold: f32, i32 (a position) or a truth value. Folds of the kernel over the
    same places are computed in the same loop, and are known from then on."""
    for inner in walk(node.body):
        if isinstance(inner, Local):
            evaluate(scope, inner)  # before the loop, not in it
    if scope.group is not None and scope.on_lane(node):
        return _of_group(scope, scope.group, node, evaluate)
    nodes = [node, *(other for other in scope.folds if _beside(scope, node, other))]
    with scope.inner():
        if scope.lane and not scope.on_lane(node):
            _leave_lane(scope)
        scope.declare(node.axes)
        [results] = _Folding(scope, nodes, evaluate, (None,)).results()
    for other, result in zip(nodes, results, strict=True):
        scope.known[id(other)] = result
    return results[0]


def _of_group(scope: Scope, group: Group, node: Fold, evaluate: Evaluate) -> Value:
    """The value for the current block of lanes; the first to ask computes it for all blocks."""
    if id(node) not in group.values:
        nodes = [node, *(other for other in scope.folds if _beside(scope, node, other))]
        with scope.inner(known=dict(group.known), locals=dict(group.locals)):
            scope.unbind(group.variable)
            scope.declare(node.axes)
            results = _Folding(scope, nodes, evaluate, group.places).results()
        for place, other in enumerate(nodes):
            group.values[id(other)] = [values[place] for values in results]
    return group.values[id(node)][group.current]


def _beside(scope: Scope, node: Fold, other: Fold) -> bool:
    """Whether another fold can share this one's loop: the same places, and all it needs known."""
    if other is node or other.axes != node.axes or other.where != node.where:
        return False
    if id(other) in scope.known or scope.free(other) != scope.free(node):
        return False
    if scope.group is not None and id(other) in scope.group.values:
        return False
    return _independent(scope, other.body)


def _independent(scope: Scope, body: Expression) -> bool:
    for inner in walk(body):
        if isinstance(inner, Local) and inner.name not in scope.locals:
            let = scope.lets[inner.name]
            if any(isinstance(x, Fold) for x in walk(let)) or not _independent(scope, let):
                return False
    return True


def _leave_lane(scope: Scope) -> None:
    if scope.mask is not None:
        scope.mask = scope.b.reduce("any", scope.mask)
    scope.lane, scope.lanes, scope.tail = "", 1, None


class _Folding:
    """The state of emitting folds over the same places, for one or several blocks of lanes."""

    def __init__(self, scope: Scope, nodes: list[Fold], evaluate: Evaluate, blocks: Blocks) -> None:
        self.blocks = blocks
        self.scope, self.nodes, self.evaluate = scope, nodes, evaluate
        self.b, self.node = scope.b, nodes[0]
        self.own = None if scope.lane else _own_lane(scope, nodes)
        self.order = [entry for entry in self.node.axes if entry is not self.own]
        if self.own is not None:
            self.order.append(self.own)
            self._take_lane(self.own)
        self.reductions: list[list[Reduction]] = [[] for _ in blocks]
        self.current = 0

    def _take_lane(self, own: Axis) -> None:
        scope, block, lane = self.scope, f"{own.name}.block", f"{own.name}.lane"
        scope.view(own.name, axis(block) * scope.width + axis(lane))
        scope.ranges[block] = (0, -(-own.size // scope.width) - 1)
        scope.ranges[lane] = (0, scope.width - 1)
        scope.lane, scope.lanes = lane, scope.width
        scope.rebind()

    def results(self) -> list[list[Value]]:
        """Emits the loops and gives, for each block of lanes, the values after them."""
        guards = self._guards()
        own = [[self._reduction(node, made) for node in self.nodes] for made in self.reductions]
        with ExitStack() as stack:
            for condition in guards.pop("", []):
                self._require(stack, condition)
            self._nest(0, guards)
        for reduction in chain.from_iterable(self.reductions):
            reduction.finish(self.own is not None)
        return [
            [reduction.result(node) for node, reduction in zip(self.nodes, row, strict=True)]
            for row in own
        ]

    def _reduction(self, node: Fold, made: list[Reduction]) -> Reduction:
        """A new one, or one there already that gives this fold's value too."""
        for other in self.nodes:
            if other.operator == f"arg{node.operator}" and other.body == node.body:
                node = other
        for reduction in made:
            if reduction.node.operator == node.operator and reduction.node.body == node.body:
                return reduction
        made.append(Reduction(self.scope, node, self._count()))
        return made[-1]

    def _accumulate(self) -> None:
        group = self.scope.group
        asking = group.current if group is not None else 0
        for place, (block, reductions) in enumerate(zip(self.blocks, self.reductions, strict=True)):
            with self.scope.inner():
                if block is not None and group is not None:
                    group.current = place
                    self.scope.bind(group.variable, block)
                for reduction in reductions:
                    reduction.accumulate(self.scope, self.current, self.evaluate)
        if group is not None:
            group.current = asking

    def _count(self) -> int:
        """How many vectors of partial sums: several where a chain of additions would be long."""
        long = self.own is not None and self.own.size >= 2 * ACCUMULATORS * self.scope.width
        simple = len(self.nodes) == 1 and not self.node.operator.startswith("arg")
        nested = any(isinstance(inner, Fold) for inner in walk(self.node.body))
        return ACCUMULATORS if long and simple and not nested else 1

    # Loops

    def _guards(self) -> dict[str, list[Guard]]:
        """The guards by the innermost fold axis in them ("": none); those always true are gone."""
        found: dict[str, list[Guard]] = {}
        names = [entry.name for entry in self.order]
        for guard in self.node.where:
            if not guard.modulus and self.scope.assured(guard.index):
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
            self._blocks(entry, level + 1, guards)
            return
        bounds = self._bounds(entry, guards.get(entry.name, []))
        for start, stop in self._pieces(bounds):
            with self.b.loop(start, stop, bounds.step) as place, self.scope.inner():
                self.scope.bind(entry.name, place)
                self._inside(bounds.conditions, level + 1, guards)

    def _pieces(self, bounds: _Bounds) -> list[tuple[Integer, Integer]]:
        """The whole range, or each place of it alone where the fold is written out."""
        start, stop = bounds.start, bounds.stop
        places = math.prod(entry.size for entry in self.node.axes) * len(self.blocks)
        small = places <= UNROLLED
        if isinstance(start, int) and isinstance(stop, int) and small:
            return [(place, place + 1) for place in range(start, stop, bounds.step)]
        return [(start, stop)]

    def _inside(self, conditions: list[Guard], level: int, guards: dict[str, list[Guard]]) -> None:
        with ExitStack() as stack:
            for condition in conditions:
                self._require(stack, condition)
            if level < len(self.order) or len(self.blocks) > 1:
                stage(self.scope, [node.body for node in self.nodes], False, self.evaluate)
            self._nest(level, guards)

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

    def _blocks(self, own: Axis, level: int, guards: dict[str, list[Guard]]) -> None:
        """The fold's own lane: groups of full blocks, single full blocks, then the rest."""
        width, length, count = self.scope.width, self.scope.length(own), self._count()
        full = length // width
        grouped = full // count * count
        with self.b.loop(0, grouped, count) as first:
            for self.current in range(count):
                self._block(own, first + self.current, None, level, guards)
        self.current = 0
        if count > 1:
            with self.b.loop(grouped, full) as place:
                self._block(own, place, None, level, guards)
        if isinstance(length, int) and length % width == 0:
            return
        rest = length - full * width
        lanes = self.b.lane_numbers(width, "i32")
        left = rest
        if isinstance(rest, Term):
            left = self.b.convert(self.b.materialized(rest), "i32")
        with self.b.when(rest > 0 if isinstance(rest, Term) else True):
            self._block(own, full, lanes < left, level, guards)

    def _block(
        self, own: Axis, place: Integer, tail: Term | None, level: int,
        guards: dict[str, list[Guard]],
    ) -> None:  # fmt: skip
        mask = self.scope.both(self.scope.mask, tail)
        with self.scope.inner(mask=mask, tail=tail):
            self.scope.bind(f"{own.name}.block", place)
            self._inside(guards.get(own.name, []), level, guards)


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


def _own_lane(scope: Scope, nodes: list[Fold]) -> Axis | None:
    """The axis along which the folds' loads are contiguous most often, if that pays."""
    axes = nodes[0].axes
    if scope.width == 1 or all(isinstance(node.body, Number) for node in nodes):
        return None
    arguments = any(node.operator.startswith("arg") for node in nodes)
    candidates = axes[-1:] if arguments else axes
    inner = (part for node in nodes for part in walk(node.body))
    names = {entry.name for entry in axes}
    loads = [part for part in inner if isinstance(part, Load) and scope.free(part) & names]
    positions = [_position(scope, load) for load in loads]
    best, least = None, float(len(loads))
    for entry in candidates:
        if entry.size < LEAST_LANES:
            continue
        share = -(-entry.size // scope.width) / entry.size
        outer = frozenset(scope.ranges) - names
        cost = sum(vector_steps(p, entry.name, scope.width, outer) for p in positions) * share
        if cost < least:
            best, least = entry, cost
    return best


def _position(scope: Scope, load: Load) -> Affine:
    position = scope.position(load.buffer, load.index)
    return position.substitute(scope.views)
