"""A neuron's body at one place of a kernel: Net expressions -> Program expressions.

    bias + sum [i.1: 5] weight[i.1] * x[i.1]     of conv1.out at f, y
->  conv1.bias[f] + sum [i.1: 5] conv1.weight[f, i.1] * image[n, y + i.1]

Arguments become loads, folds get guards where a window is clipped, `count` becomes a number or the
length of the clipped window, `training` a constant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import assert_never

from latte.compiler.affine import Affine, axis, constant, row_major
from latte.compiler.expression import (
    Apply,
    Argument,
    Axis,
    Count,
    Expression,
    Fold,
    Guard,
    Index,
    Load,
    Local,
    Number,
    Position,
    Random,
    Scalar,
    Training,
)
from latte.compiler.net import Binding, Connection, Moment, Neuron, Value
from latte.compiler.poly import always
from latte.compiler.regions import separate
from latte.compiler.rewrite import rewrite
from latte.compiler.simplify import ONE, ZERO, simplify
from latte.compiler.tables import (
    LENGTHS,
    Names,
    Point,
    Tables,
    as_expression,
    at,
    before_end,
    read,
)

NEUTRAL = {
    "sum": 0.0, "prod": 1.0, "min": float("inf"), "max": float("-inf"),
    "argmin": float("inf"), "argmax": float("-inf"), "any": 0.0, "all": 1.0,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Instance:
    """A neuron with its connections, at a point. `window` places the formals' axes in scope,
    `ranges` are those of all axes in scope, `locals` what the names of lets stand for."""

    tables: Tables
    neuron: Neuron
    bindings: tuple[Binding, ...]
    own: tuple[Axis, ...]
    point: Point
    names: Names
    ranges: Mapping[str, tuple[int, int]]
    window: Mapping[str, Affine]
    locals: Mapping[str, Expression]

    def expression(self, expression: Expression) -> Expression:
        """The expression of the Program that this one of the Net stands for."""
        return simplify(self._lower(expression))

    def _lower(self, expression: Expression) -> Expression:
        match expression:
            case Number() | Scalar() | Load():
                return expression
            case Position(index):
                return Position(index.substitute(self.window))
            case Local(name):
                return self.locals.get(name, expression)
            case Argument(formal, index):
                return self._argument(formal, index)
            case Count(axes):
                return self._count(axes)
            case Training():
                return Number(float(self.tables.training))
            case Random(kind, stream, _):
                return Random(kind, stream, self._flat())
            case Apply("select", (Training(), yes, no)):
                return self._lower(yes if self.tables.training else no)
            case Apply(operator, operands):
                return Apply(operator, tuple(map(self._lower, operands)))
            case Fold():
                return self._fold(expression)
            case _:
                assert_never(expression)

    def binding(self, formal: str) -> Binding:
        """What a formal is bound to."""
        pairs = zip(self.neuron.formals, self.bindings, strict=True)
        return next(binding for entry, binding in pairs if entry.name == formal)

    def _argument(self, formal: str, index: tuple[Index, ...]) -> Expression:
        binding = self.binding(formal)
        if not isinstance(binding, Connection):
            return rewrite(binding, self._own)
        places = [self._place(entry) for entry in index]
        window = {a.name: p for a, p in zip(binding.window, places, strict=True)}
        return read(self.tables, binding, self.point, window)

    def _place(self, entry: Index) -> Index:
        if isinstance(entry, Affine):
            return entry.substitute(self.window)
        lowered = simplify(self._lower(entry))
        return lowered.index if isinstance(lowered, Position) else lowered

    def _own(self, node: Expression) -> Expression | None:
        if isinstance(node, Position):
            return Position(node.index.substitute(self.point.own))
        return None

    def _flat(self) -> Affine:
        """The row-major position of (item, step, neuron)."""
        index = [self.point.own[a.name] for a in self.own]
        sizes = [a.size for a in self.own]
        if self.point.step is not None:
            index, sizes = [self.point.step, *index], [self.tables.time, *sizes]
        if self.point.item is not None:
            index, sizes = [self.point.item, *index], [self.tables.batch, *sizes]
        return row_major(index, sizes)

    def inside(self, axes: tuple[Axis, ...]) -> tuple[Instance, tuple[Axis, ...]]:
        """The instance with axes of formals brought into scope, and the axes under new names.

        Batch and time get their compiled sizes."""
        sizes = {"n": self.tables.batch, "t": self.tables.time}
        fresh = tuple(
            self.names.fresh(replace(a, size=sizes[a.symbol]) if a.symbol else a) for a in axes
        )
        places = {old.name: axis(new.name) for old, new in zip(axes, fresh, strict=True)}
        ranges = {new.name: (0, new.size - 1) for new in fresh}
        return replace(
            self, window={**self.window, **places}, ranges={**self.ranges, **ranges}
        ), fresh

    def _fold(self, fold: Fold) -> Expression:
        inner, axes = self.inside(fold.axes)
        where, conditions = inner.presence(frozenset(a.name for a in fold.axes))
        body = simplify(inner._lower(fold.body))
        for condition in conditions:
            body = Apply("select", (condition, body, Number(NEUTRAL[fold.operator])))
        return separate(Fold(fold.operator, axes, body, where), LENGTHS, self.tables.time)

    def presence(
        self, axes: frozenset[str]
    ) -> tuple[tuple[Guard, ...], tuple[Expression, ...]]:  # fmt: skip
        """When a place of the formals' axes is connected, in every formal that has one of them:
        guards on axes, and conditions that depend on values."""
        guards: dict[Guard, None] = {}
        conditions: dict[Expression, None] = {}
        for formal, binding in zip(self.neuron.formals, self.bindings, strict=True):
            if not isinstance(binding, Connection):
                continue
            pairs = zip(binding.window, formal.axes, strict=True)
            window = {w.name: self.window[a.name] for w, a in pairs if a.name in self.window}
            moving = {w.name for w, a in zip(binding.window, formal.axes, strict=True)
                      if a.name in axes}  # fmt: skip
            guards |= dict.fromkeys(self._clipped(binding, window, moving))
            conditions |= dict.fromkeys(self._absent(binding, window, moving))
        return tuple(guards), tuple(conditions)

    def _clipped(self, connection: Connection, window: Mapping[str, Affine], moving: set[str]
                 ) -> list[Guard]:  # fmt: skip
        known = {**self.point.own, **window}
        found = []
        source = self.tables.sources[connection.source]
        for entry, along in zip(connection.index, source.axes, strict=True):
            if isinstance(entry, Affine) and entry.axes() & moving and entry.axes() <= known.keys():
                place = entry.substitute(known)
                found += [Guard(place), Guard(constant(along.size - 1) - place)]
        return [guard for guard in found if not always(guard, self.ranges)]

    def _absent(self, connection: Connection, window: Mapping[str, Affine], moving: set[str]
                ) -> list[Expression]:  # fmt: skip
        known: dict[str, Index] = {**self.point.own, **window}
        found: list[Expression] = []
        source = self.tables.sources[connection.source]
        for entry, along in zip(connection.index, source.axes, strict=True):
            if isinstance(entry, Value) and entry.offset.axes() & moving:
                value = read(self.tables, entry.connection, self.point, known)
                place = Apply("add", (value, as_expression(at(entry.offset, known))))
                found.append(Apply("ge", (place, ZERO)))
                found.append(Apply("lt", (place, Number(float(along.size)))))
        if not source.time:
            return found
        item = self.point.item
        if connection.item is not None:
            item = connection.item.substitute(window)
            if connection.item.axes() & moving and connection.moment == Moment.SAME:
                assert self.point.step is not None
                found.append(before_end(self.tables, item, self.point.step))
        if connection.step is not None and connection.step.axes() & moving:
            found.append(before_end(self.tables, item, connection.step.substitute(window)))
        return found

    def _count(self, names: tuple[str, ...]) -> Expression:
        """How many places are present: a product of lengths where each axis is clipped alone."""
        axes = tuple(
            next(a for f in self.neuron.formals for a in f.axes if a.name == name) for name in names
        )
        inner, fresh = self.inside(axes)
        where, conditions = inner.presence(frozenset(names))
        if conditions:
            body: Expression = ONE
            for condition in conditions:
                body = Apply("select", (condition, body, ZERO))
            return Fold("sum", fresh, body, where)
        total: Expression = ONE
        for entry in fresh:
            length = _length(entry, [g for g in where if entry.name in g.index.axes()], fresh)
            if length is None:
                return Fold("sum", fresh, ONE, where)
            total = simplify(Apply("mul", (total, length)))
        return total


def _length(entry: Axis, guards: list[Guard], axes: tuple[Axis, ...]) -> Expression | None:
    """The length of a clipped axis: `min(2, 6 - 2*y) - max(-1, -2*y)...`; None if not alone."""
    if entry.symbol == "n" and not guards:
        return Scalar("items")
    if entry.symbol is not None:
        return None
    low: list[Expression] = [ZERO]
    high: list[Expression] = [Number(float(entry.size - 1))]
    others = {a.name for a in axes} - {entry.name}
    for guard in guards:
        factor = guard.index.coefficient(entry.name)
        rest = guard.index - axis(entry.name) * factor
        if not factor or entry.name in rest.axes() or others & rest.axes() or guard.modulus:
            return None
        if factor > 0:
            low.append(Position(-(rest // factor)))
        else:
            high.append(Position(rest // -factor))
    if len(low) == len(high) == 1:
        return Number(float(entry.size))
    last, first = _nested("min", high), _nested("max", low)
    return Apply("max", (ZERO, Apply("add", (Apply("sub", (last, first)), ONE))))


def _nested(operator: str, operands: list[Expression]) -> Expression:
    result = operands[0]
    for operand in operands[1:]:
        result = Apply(operator, (result, operand))  # type: ignore[arg-type]
    return result
