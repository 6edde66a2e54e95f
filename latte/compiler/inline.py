"""A neuron's expression, seen from one place of its ensemble, as an expression over buffers.

In: what an ensemble's arguments are connected to, and where its neuron stands (`Place`).
Out: the same expression with `Load`s for arguments, guards on folds, no `Count` or `Training`.

    sum [i.0: 3] weight[i.0] * x[i.0]     x = image[y + i.0 - 1], weight = w[f, i.0]
->  sum [i.0: 3] where i.0 + y - 1 >= 0, ...: w[f, i.0] * image[n, y + i.0 - 1]

The place may be the kernel's own axes (forward) or any other indices (a gradient's gather): so
backward needs no rules of its own for windows, time, views or value-dependent indices.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import assert_never

from latte.compiler.affine import Affine, as_affine, axis, row_major
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
from latte.compiler.net import (
    Binding,
    Connection,
    Formal,
    Input,
    Join,
    Moment,
    Net,
    Parameter,
    Running,
    Value,
    View,
)
from latte.compiler.net import Ensemble as EnsembleForm
from latte.compiler.rewrite import substitute_axes
from latte.compiler.simplify import simplify

Source = Input | Parameter | Running | EnsembleForm | Join | View
NEUTRAL = {"sum": 0.0, "prod": 1.0, "any": 0.0, "all": 1.0}
EXTREME = {"max": float("-inf"), "min": float("inf")}
LENGTHS = "lengths"


@dataclass(frozen=True, slots=True)
class Scope:
    """What all places of one Program share. `lengths`: sequences may be shorter than the axis."""

    sources: Mapping[str, Source]
    batch: Axis
    time: Axis
    training: bool

    @classmethod
    def of(cls, net: Net, batch: int, time: int, training: bool) -> Scope:
        """The scope of a net whose nodes know whether they have batch and time."""
        groups = (net.inputs, net.parameters, net.runnings, net.nodes)
        sources = {entry.name: entry for group in groups for entry in group}
        return cls(sources, Axis("n", batch, "n"), Axis("t", time, "t"), training)

    def hidden(self, name: str) -> tuple[bool, bool]:
        """Whether a source has the batch axis, and the time axis."""
        match self.sources[name]:
            case Input(time=time):
                return True, time
            case Parameter() | Running():
                return False, False
            case EnsembleForm(batch=batch, time=time) | Join(batch=batch, time=time):
                return batch, time
            case View(batch=batch, time=time):
                return batch, time
            case source:
                assert_never(source)

    def axes(self, name: str) -> tuple[Axis, ...]:
        """The axes of a source's buffer: batch, time, its own."""
        batch, time = self.hidden(name)
        front = (self.batch,) * batch + (self.time,) * time
        return front + self.sources[name].axes


@dataclass(frozen=True, slots=True)
class Place:
    """Where a neuron stands: its item, its step, the index of each own axis by name; and the
    names of everything bound there with its range."""

    item: Affine
    step: Affine
    own: Mapping[str, Affine]
    ranges: Mapping[str, tuple[int, int]]


@dataclass(slots=True)
class Inliner:
    """Replaces the leaves of one ensemble's (or running update's) expressions."""

    scope: Scope
    name: str
    axes: tuple[Axis, ...]
    formals: tuple[Formal, ...]
    bindings: tuple[Binding, ...]
    place: Place
    locals: Mapping[str, Expression] = field(default_factory=dict)

    def expression(self, expression: Expression) -> Expression:
        """The expression over buffers, simplified."""
        ranges = dict(self.place.ranges)
        return simplify(self._inline(expression, {}, ranges))

    def load(self, formal: str, index: tuple[Index, ...]) -> Expression:
        """What a formal sees at an index of its window, over names bound at the place."""
        return self._argument(formal, index, self.place.ranges)

    def presence(
        self, formal: str, names: Mapping[str, Affine], ranges: Mapping[str, tuple[int, int]]
    ) -> tuple[list[Guard], list[Expression]]:
        """When the place of a window is connected: guards, and conditions that are no guards."""
        binding = self._binding(formal)
        if not isinstance(binding, Connection):
            return [], []
        return self._present(binding, self._values(binding, names), ranges, None)

    def _inline(
        self,
        expression: Expression,
        names: dict[str, Affine],
        ranges: dict[str, tuple[int, int]],
    ) -> Expression:
        """`names` says what each window axis is called here."""
        match expression:
            case Number() | Scalar() | Load():
                return expression
            case Local(name):
                return self.locals.get(name, expression)
            case Position(index):
                return Position(index.substitute(names))
            case Training():
                return Number(float(self.scope.training))
            case Random(kind, stream, _):
                return Random(kind, stream, self._flat())
            case Argument(formal, index):
                entries = tuple(self._entry(entry, names, ranges) for entry in index)
                return self._argument(formal, entries, ranges)
            case Apply(operator, operands):
                inner = tuple(self._inline(o, names, ranges) for o in operands)
                return (
                    simplify(Apply(operator, inner))
                    if operator == "select"
                    else Apply(operator, inner)
                )
            case Count(wanted):
                return self._count(wanted, names, ranges)
            case Fold():
                return self._fold(expression, names, ranges)
            case _:
                assert_never(expression)

    def _entry(
        self, entry: Index, names: dict[str, Affine], ranges: dict[str, tuple[int, int]]
    ) -> Index:
        if isinstance(entry, Affine):
            return entry.substitute(names)
        return self._inline(entry, names, ranges)

    def _fold(
        self, fold: Fold, names: dict[str, Affine], ranges: dict[str, tuple[int, int]]
    ) -> Expression:
        axes, inside, wider = self._bound(fold.axes, names, ranges)
        fresh = {entry.name for entry in axes}
        guards, conditions = self._places_present(fold.axes, inside, wider, fresh)
        body = self._inline(fold.body, inside, wider)
        if conditions:
            body = Apply("select", (_all(conditions), body, Number(_neutral(fold.operator))))
        return Fold(fold.operator, axes, body, guards)

    def _count(
        self,
        wanted: tuple[str, ...],
        names: dict[str, Affine],
        ranges: dict[str, tuple[int, int]],
    ) -> Expression:
        axes = tuple(self._window_axis(name) for name in wanted)
        bound, inside, wider = self._bound(axes, names, ranges)
        guards, conditions = self._places_present(axes, inside, wider, {a.name for a in bound})
        used = {name for guard in guards for name in guard.index.axes()}
        total: Expression = Number(1.0)
        counted = []
        for entry in bound:
            if entry.name in used or entry.symbol == "t" or (conditions and entry.symbol):
                counted.append(entry)
            else:
                size = Scalar("items") if entry.symbol else Number(float(entry.size))
                total = Apply("mul", (total, size))
        if counted:
            one: Expression = Number(1.0)
            if conditions:
                one = Apply("select", (_all(conditions), one, Number(0.0)))
            total = Apply("mul", (total, Fold("sum", tuple(counted), one, guards)))
        return total

    def _bound(
        self,
        axes: Iterable[Axis],
        names: dict[str, Affine],
        ranges: dict[str, tuple[int, int]],
    ) -> tuple[tuple[Axis, ...], dict[str, Affine], dict[str, tuple[int, int]]]:
        """The axes under names that are free, and the names and ranges inside them."""
        inside, wider, bound = dict(names), dict(ranges), []
        for entry in axes:
            name = entry.name
            while name in wider:
                name += "'"
            bound.append(replace(entry, name=name))
            inside[entry.name] = axis(name)
            wider[name] = (0, entry.size - 1)
        return tuple(bound), inside, wider

    def _places_present(
        self,
        axes: tuple[Axis, ...],
        inside: dict[str, Affine],
        wider: dict[str, tuple[int, int]],
        fresh: set[str],
    ) -> tuple[tuple[Guard, ...], list[Expression]]:
        """Presence in every formal that has one of the fold's axes."""
        wanted = {entry.name for entry in axes}
        guards: dict[Guard, None] = {}
        conditions: dict[Expression, None] = {}
        for formal in self.formals:
            if not wanted & {entry.name for entry in formal.axes}:
                continue
            binding = self._binding(formal.name)
            if not isinstance(binding, Connection):
                continue
            if not {entry.name for entry in formal.axes} <= inside.keys():
                names = {e.name: inside.get(e.name, axis(e.name)) for e in formal.axes}
            else:
                names = inside
            values = self._values(binding, names, formal)
            more, when = self._present(binding, values, wider, fresh)
            guards |= dict.fromkeys(more)
            conditions |= dict.fromkeys(when)
        return tuple(guards), list(conditions)

    def _present(
        self,
        binding: Connection,
        values: Mapping[str, Index],
        ranges: Mapping[str, tuple[int, int]],
        fresh: set[str] | None,
    ) -> tuple[list[Guard], list[Expression]]:
        """Conditions on a connection's indices; with `fresh`, only those that use such a name."""
        guards: list[Guard] = []
        conditions: list[Expression] = []
        source = self.scope.sources[binding.source]
        for entry, own in zip(binding.index, source.axes, strict=True):
            index = self._source_index(entry, values, ranges)
            if isinstance(index, Affine):
                used = index.axes()
                if used <= ranges.keys() and (fresh is None or used & fresh):
                    guards += _inside(index, own.size, ranges)
            elif isinstance(entry, Value) and not entry.offset.is_constant:
                low = Apply("ge", (index, Number(0.0)))
                high = Apply("lt", (index, Number(float(own.size))))
                conditions += [low, high]
        conditions += self._step_present(binding, values, fresh)
        return guards, conditions

    def _step_present(
        self, binding: Connection, values: Mapping[str, Index], fresh: set[str] | None
    ) -> Iterator[Expression]:
        """A step beyond the end of its item's sequence is not there."""
        batch, time = self.scope.hidden(binding.source)
        visible = binding.item is not None or binding.moment is Moment.ALL
        if not (batch and time and visible):
            return
        item = self.place.item if binding.item is None else self._moved(binding.item, values)
        step = self.place.step if binding.step is None else self._moved(binding.step, values)
        if fresh is None or (item.axes() | step.axes()) & fresh:
            yield Apply("lt", (Position(step), Load(LENGTHS, (item,))))

    def _argument(
        self, formal: str, index: tuple[Index, ...], ranges: Mapping[str, tuple[int, int]]
    ) -> Expression:
        binding = self._binding(formal)
        if not isinstance(binding, Connection):
            return substitute_axes(binding, dict(self.place.own))
        axes = next(entry for entry in self.formals if entry.name == formal).axes
        places = {entry.name: place for entry, place in zip(axes, index, strict=True)}
        return self._loaded(binding, self._named(binding, axes, places), ranges)

    def _loaded(
        self,
        binding: Connection,
        values: Mapping[str, Index],
        ranges: Mapping[str, tuple[int, int]],
    ) -> Expression:
        index = tuple(self._source_index(entry, values, ranges) for entry in binding.index)
        item = self.place.item if binding.item is None else self._moved(binding.item, values)
        step: Index = self.place.step
        length = Load(LENGTHS, (item,))
        match binding.moment:
            case Moment.SAME:
                return self.read(binding.source, item, step, index)
            case Moment.ALL:
                assert binding.step is not None
                step = self._moved(binding.step, values)
                return self.read(binding.source, item, step, index)
            case Moment.LAST:
                last = Apply("sub", (length, Number(1.0)))
                return self.read(binding.source, item, last, index)
            case Moment.PREVIOUS:
                there: Expression = Apply("gt", (Position(self.place.step), Number(0.0)))
                step = self.place.step - 1
            case Moment.NEXT:
                there = Apply("lt", (Position(self.place.step + 1), length))
                step = self.place.step + 1
            case _:
                assert_never(binding.moment)
        if not self.scope.hidden(binding.source)[1]:
            step = self.place.step
        inside = self.read(binding.source, item, step, index)
        start = binding.initial
        first = Number(0.0) if start is None else self._loaded(start, values, ranges)
        return Apply("select", (there, inside, first))

    def read(self, name: str, item: Index, step: Index, index: tuple[Index, ...]) -> Expression:
        """A load of a source; a view is looked through."""
        source = self.scope.sources[name]
        if isinstance(source, View):
            names = {own.name: entry for own, entry in zip(source.axes, index, strict=True)}
            inner = tuple(_substituted(entry, names) for entry in source.index)
            return self.read(source.source, item, step, inner)
        batch, time = self.scope.hidden(name)
        return Load(name, (item,) * batch + (step,) * time + index)

    def _source_index(
        self,
        entry: Affine | Value,
        values: Mapping[str, Index],
        ranges: Mapping[str, tuple[int, int]],
    ) -> Index:
        if isinstance(entry, Affine):
            return _substituted(entry, values)
        found = self._loaded(entry.connection, values, ranges)
        offset = _substituted(entry.offset, values)
        if offset == as_affine(0):
            return found
        more = Position(offset) if isinstance(offset, Affine) else offset
        return Apply("add", (found, more))

    def _values(
        self,
        binding: Connection,
        names: Mapping[str, Affine],
        formal: Formal | None = None,
    ) -> Mapping[str, Index]:
        axes = formal.axes if formal is not None else binding.window
        places: dict[str, Index] = {
            entry.name: names.get(entry.name, axis(entry.name)) for entry in axes
        }
        return self._named(binding, axes, places)

    def _named(
        self, binding: Connection, axes: tuple[Axis, ...], places: Mapping[str, Index]
    ) -> Mapping[str, Index]:
        """What every name in a connection's indices stands for: own axes and window axes."""
        window = zip(binding.window, axes, strict=True)
        return {**self.place.own, **{seen.name: places[entry.name] for seen, entry in window}}

    def _moved(self, entry: Affine, values: Mapping[str, Index]) -> Affine:
        index = _substituted(entry, values)
        assert isinstance(index, Affine), "an item or step that depends on a value"
        return index

    def _binding(self, formal: str) -> Binding:
        pairs = zip(self.formals, self.bindings, strict=True)
        return next(binding for entry, binding in pairs if entry.name == formal)

    def _window_axis(self, name: str) -> Axis:
        axes = (entry for formal in self.formals for entry in formal.axes)
        return next(entry for entry in axes if entry.name == name)

    def _flat(self) -> Affine:
        """The row-major position of the neuron among all items, steps and neurons."""
        batch, time = self.scope.hidden(self.name)
        index = (self.place.item,) * batch + (self.place.step,) * time
        sizes = [entry.size for entry in self.scope.axes(self.name)]
        own = tuple(self.place.own[entry.name] for entry in self.axes)
        return row_major(index + own, sizes)


def _substituted(entry: Affine, values: Mapping[str, Index]) -> Index:
    """An index with names replaced; an expression where one of them depends on a value."""
    dependent = {n: v for n, v in values.items() if not isinstance(v, Affine) and n in entry.axes()}
    plain = {name: value for name, value in values.items() if isinstance(value, Affine)}
    rest = entry.substitute(plain)
    if not dependent:
        return rest
    total: Expression | None = None
    for name, value in dependent.items():
        factor = entry.coefficient(name)
        assert factor, f"{entry}: a value-dependent index inside a division"
        term = value if factor == 1 else Apply("mul", (Number(float(factor)), value))
        rest = rest - axis(name) * factor
        total = term if total is None else Apply("add", (total, term))
    assert total is not None
    return total if rest == as_affine(0) else Apply("add", (total, Position(rest)))


def _inside(index: Affine, size: int, ranges: Mapping[str, tuple[int, int]]) -> Iterator[Guard]:
    low, high = index.bounds(ranges)
    if low < 0:
        yield Guard(index)
    if high >= size:
        yield Guard(as_affine(size - 1) - index)


def _all(conditions: list[Expression]) -> Expression:
    whole = conditions[0]
    for condition in conditions[1:]:
        whole = Apply("and", (whole, condition))
    return whole


def _neutral(operator: str) -> float:
    return NEUTRAL[operator] if operator in NEUTRAL else EXTREME[operator.removeprefix("arg")]
