"""Lowers any kernel to vector code: loops over units and axes, lanes along one of them.

In: a Kernel, its Program, the machine.  Out: `Lowered`: one function that runs a range of units.

    kernel relu [n, f: 20, y: 24, x: 24]     out[n, f, y, x] = max(in[n, f, y, x], 0)
    ->  for unit = first .. last              (units are items)
          for block = 0 .. 720                (f, y, x are one axis of 11520 elements)
            v = load in[...] : f32x16;  store max(v, 0) -> out[...]

Always right, whatever the layout and the sizes; `contract.py` is faster for contractions. An index
that depends on values is checked: a wrong one is recorded in the fault slots (`vector.py`).
"""

from __future__ import annotations

from contextlib import ExitStack

from latte.compiler.affine import Affine, axis
from latte.compiler.align import aligned
from latte.compiler.builder import Builder
from latte.compiler.expression import Axis, Expression, Load, Local
from latte.compiler.ir import Kernel, Program, expressions
from latte.compiler.lower_access import Terms
from latte.compiler.lower_interior import interior
from latte.compiler.lower_memory import store
from latte.compiler.lower_plan import Loop, Plan, plan
from latte.compiler.lower_scope import Group, Scope
from latte.compiler.lower_stage import certain_folds, certain_locals, stage
from latte.compiler.lower_transpose import transposed
from latte.compiler.lower_value import value
from latte.compiler.machine import Machine
from latte.compiler.rewrite import walk
from latte.compiler.values import Integer, Term
from latte.compiler.vector import Lowered, Units


def lower(
    kernel: Kernel, program: Program, machine: Machine, around: tuple[Axis, ...] = ()
) -> Lowered:
    """The code of one kernel for this machine's vector width. `around` are the axes of the loops
    and groups it is in, the outermost first."""
    if copied := transposed(kernel, program, machine):
        return copied
    kernel = aligned(kernel)
    scope = Scope(Builder(kernel.name), program, machine.width)
    scope.written = frozenset(write.buffer for write in kernel.writes)
    if any(entry.size == 0 for entry in kernel.axes):
        return Lowered(scope.b.function(), (), Units(0, False))
    scope.add_lets(kernel.lets)
    scope.declare(kernel.axes)
    scope.declare(around)
    scope.outer = frozenset(scope.sizes)
    for depth, entry in enumerate(around):
        scope.bind(entry.name, scope.b.place(depth))
    return _Nest(scope, kernel, plan(scope, kernel)).lowered()


class _Nest:
    """The state of emitting one kernel."""

    def __init__(self, scope: Scope, kernel: Kernel, chosen: Plan) -> None:
        self.scope, self.kernel, self.plan, self.b = scope, kernel, chosen, scope.b
        self.guards = {id(guard): guard for guard in kernel.where}
        self.needed, self.reread = _needed(scope, kernel), _reread(kernel)
        self.tests: dict[Terms, int] = {}
        for name, view in chosen.views:
            scope.views[name] = view
        for loop in chosen.loops:
            scope.ranges[loop.variable] = (0, loop.size * loop.group - 1)
        scope.folds = tuple(fold for e in self._expressions() for fold in certain_folds(e))
        if chosen.lane_axis is not None:
            self._see_lane(chosen.lane_axis)
        steady = frozenset(name for name in scope.outer if not self._on_lane(name))
        self.tests = interior(self._expressions(), steady, scope.ranges)

    def _on_lane(self, name: str) -> bool:
        view = self.scope.views.get(name, axis(name))
        return self.plan.lane in view.axes()

    def _see_lane(self, entry: Axis) -> None:
        scope, lanes = self.scope, self.plan.lanes
        view = axis(f"{entry.name}.block") * lanes + axis(self.plan.lane)
        scope.ranges[self.plan.lane] = (0, lanes - 1)
        for name, old in scope.views.items():
            scope.views[name] = old.substitute({entry.name: view})
        if entry.name in scope.sizes:
            scope.views[entry.name] = view

    def lowered(self) -> Lowered:
        """Emits the loop over units and gives the finished function."""
        for write in self.kernel.writes:
            self.scope.pointer(write.buffer)
        fixed, batched = self._unit_count()
        with self.b.loop(self.b.first, self.b.last) as unit, self.scope.inner():
            self._open(self._digits(unit), 0)
        function = self.b.function()
        units = Units(fixed, batched, self.plan.points)
        return Lowered(function, tuple(self.scope.pointers), units)

    def _unit_count(self) -> tuple[int, bool]:
        fixed, batched = 1, False
        for loop in self.plan.loops[: self.plan.units]:
            if loop.batched:
                batched = True
            else:
                fixed *= loop.pieces
        return fixed, batched

    def _digits(self, unit: Integer) -> list[tuple[Loop, Integer]]:
        """The variables of the unit loops: the batch varies slowest."""
        loops = self.plan.loops[: self.plan.units]
        batch = [loop for loop in loops if loop.batched]
        values: dict[str, Integer] = {}
        rest, fixed = unit, [loop for loop in loops if not loop.batched]
        for place, loop in reversed(list(enumerate(fixed))):
            if loop.pieces == 1:
                values[loop.variable] = 0
            elif place == 0 and not batch:
                values[loop.variable] = rest
            else:
                values[loop.variable] = rest % loop.pieces
                rest = rest // loop.pieces
        for loop in batch:
            values[loop.variable] = rest
        return [(loop, values[loop.variable]) for loop in loops]

    def _open(self, digits: list[tuple[Loop, Integer]], level: int) -> None:
        """Enters the loops from `level` on; those of units have their value already."""
        loops = self.plan.loops
        with ExitStack() as stack:
            if level == 0:
                self._enter(stack, not loops)
            if self._known_now():
                self._twice(digits, level)
                return
            if level == len(loops):
                self._point()
                return
            loop = loops[level]
            place = self._place(stack, loop, digits[level][1] if level < len(digits) else None)
            stack.enter_context(self.scope.inner())
            if loop.lane:
                self._start_lane(stack, loop, place)
            if loop.group > 1:
                self._points(loop, place)
                return
            self.scope.bind(loop.variable, place)
            self._enter(stack, level + 1 == len(loops))
            self._open(digits, level + 1)

    def _known_now(self) -> bool:
        """Whether it is known from here on if the place is in the interior."""
        return bool(self.tests) and all(
            Affine(terms, 0).axes() <= self.scope.bound for terms in self.tests
        )

    def _twice(self, digits: list[tuple[Loop, Integer]], level: int) -> None:
        """The rest for places of the interior, and for all others."""
        tests, guards, self.tests = self.tests, dict(self.guards), {}
        inside = self.scope.holds(tuple(Affine(*test) for test in tests.items()))
        assert isinstance(inside, Term)
        with self.b.when(inside), self.scope.inner(interior=tests):
            self._open(digits, level)
        self.guards = guards
        with self.b.otherwise(), self.scope.inner():
            self._open(digits, level)
        self.tests = tests

    def _place(self, stack: ExitStack, loop: Loop, digit: Integer | None) -> Integer:
        """The variable's value: a unit's digit, or a loop over the unit's chunk, or over all."""
        if digit is None:
            length = self.scope.length(loop.axis)
            if loop.lane:
                lanes = self.plan.lanes
                length = loop.size if isinstance(length, int) else (length + lanes - 1) // lanes
            return stack.enter_context(self.b.loop(0, length))
        if loop.chunk == 1:
            return digit
        start = digit * loop.chunk
        stop: Integer = start + loop.chunk
        if loop.size % loop.chunk:
            stop = self.b.binary("min", stop, loop.size)
        return stack.enter_context(self.b.loop(start, stop, guarded=False))

    def _start_lane(self, stack: ExitStack, loop: Loop, place: Integer) -> None:
        """From here on the lane is known; the last block may be partial, or have no item."""
        scope, lanes, size = self.scope, self.plan.lanes, self.scope.length(loop.axis)
        scope.lane, scope.lanes = self.plan.lane, lanes
        if isinstance(size, int) and size % lanes == 0:
            return
        left = size - place * lanes
        if isinstance(size, Term):
            stack.enter_context(self.b.when(left > 0))
        if isinstance(left, Term):
            left = self.b.convert(self.b.materialized(left), "i32")
        scope.tail = self.b.lane_numbers(lanes, "i32") < left
        scope.mask = scope.both(scope.mask, scope.tail)

    def _enter(self, stack: ExitStack, innermost: bool) -> None:
        """Guards that are known now, then all that inner loops do not change."""
        scope = self.scope
        waiting = list(self.guards.values())
        for guard in waiting:
            if guard.index.axes() <= scope.bound:
                del self.guards[id(guard)]
                holds = scope.guard(guard)
                if isinstance(holds, Term) and holds.type.lanes > 1:
                    scope.mask = scope.both(scope.mask, holds)
                else:
                    stack.enter_context(
                        self.b.when(holds if isinstance(holds, Term) else bool(holds))
                    )
        if not innermost:
            stage(scope, self._expressions(), not self.guards, value)

    def _expressions(self) -> list[Expression]:
        lets = [let.expression for let in self.kernel.lets]
        return [*lets, *(write.expression for write in self.kernel.writes)]

    def _points(self, loop: Loop, place: Integer) -> None:
        """Several blocks of lanes, innermost; their folds share loops."""
        scope = self.scope
        scope.rebind()
        places = tuple(place * loop.group + block for block in range(loop.group))
        scope.group = Group(loop.variable, places, dict(scope.known), dict(scope.locals))
        for scope.group.current, block in enumerate(places):
            with scope.inner():
                scope.bind(loop.variable, block)
                self._point()

    def _point(self) -> None:
        """The lets that every point needs, in order, then the writes: each value is stored at
        once where no other reads what it overwrites."""
        scope, writes = self.scope, self.kernel.writes
        for name in self.needed:
            value(scope, Local(name))
        if self.reread:
            for write in writes:
                value(scope, write.expression)
        for write in writes:
            store(scope, write, value(scope, write.expression), value)


def _reread(kernel: Kernel) -> bool:
    """Whether a kernel of several writes reads what it writes."""
    written = {write.buffer for write in kernel.writes} if len(kernel.writes) > 1 else set()
    nodes = (node for expression in expressions(kernel) for node in walk(expression))
    return any(isinstance(node, Load) and node.buffer in written for node in nodes)


def _needed(scope: Scope, kernel: Kernel) -> tuple[str, ...]:
    """The lets that every point computes, in order."""
    found = certain_locals(scope, (write.expression for write in kernel.writes))
    return tuple(let.name for let in kernel.lets if let.name in found)
