"""The sources of a net by name, and how an element of one is read in a Program.

    read(Connection("conv1.out", (c, 2*y + ky, x)), ...)  ->  conv1.out[n, c, 2*y + ky, x]
    read(prev(h)[j])   ->  if t - 1 >= 0 then h[n, t - 1, j] else 0

Views are looked through: they have no buffer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from latte.compiler.affine import Affine, Floor, axis, constant
from latte.compiler.expression import (
    Apply,
    Axis,
    Expression,
    Index,
    Load,
    Number,
    Position,
    Scalar,
)
from latte.compiler.net import Connection, Moment, Net, Value, View
from latte.compiler.simplify import ZERO

LENGTHS = "lengths"  # the buffer of how many steps each item has
CARRY = "carry"  # the scalar: 1 where a sequence goes on from the call before, else 0


@dataclass(frozen=True, slots=True)
class Source:
    """What can be connected to: axes, whether there is one for each item and step."""

    name: str
    axes: tuple[Axis, ...]
    batch: bool = False
    time: bool = False
    view: View | None = None


@dataclass(frozen=True, slots=True)
class Point:
    """Where a neuron is: its own axes, its item and its step, as positions in a kernel."""

    own: Mapping[str, Affine]
    item: Affine | None = None
    step: Affine | None = None


@dataclass(frozen=True, slots=True)
class Tables:
    """All sources of a net, the compiled largest batch and number of steps."""

    sources: Mapping[str, Source]
    batch: int
    time: int
    training: bool = True

    @property
    def items(self) -> Axis:
        """The batch axis."""
        return Axis("n", self.batch, "n")

    @property
    def steps(self) -> Axis:
        """The time axis."""
        return Axis("t", self.time, "t")

    def stored_axes(self, source: Source) -> tuple[Axis, ...]:
        """The logical axes of a source's buffer."""
        batch = (self.items,) if source.batch else ()
        return batch + ((self.steps,) if source.time else ()) + source.axes

    def base(self, name: str) -> Source:
        """The source behind all views."""
        source = self.sources[name]
        return source if source.view is None else self.base(source.view.source)


def tables(net: Net, batch: int, time: int, training: bool) -> Tables:
    """The tables of a net whose nodes are shared."""
    found = {e.name: Source(e.name, e.axes, True, e.time) for e in net.inputs}
    found |= {e.name: Source(e.name, e.axes) for e in net.parameters}
    found |= {e.name: Source(e.name, e.axes) for e in net.runnings}
    for node in net.nodes:
        view = node if isinstance(node, View) else None
        found[node.name] = Source(node.name, node.axes, node.batch, node.time, view)
    return Tables(found, batch, time, training)


@dataclass(slots=True)
class Names:
    """Axis names of one kernel: a fresh one for each axis that comes in."""

    taken: set[str] = field(default_factory=set)

    def fresh(self, entry: Axis) -> Axis:
        """The axis under a name that no other axis of the kernel has."""
        number, name = 1, entry.name
        while name in self.taken:
            number += 1
            name = f"{entry.name}_{number}"
        self.taken.add(name)
        return replace(entry, name=name)


def at(index: Affine, places: Mapping[str, Index]) -> Index:
    """An index with axes replaced; an expression as soon as one of the places is one."""
    used = {name: place for name, place in places.items() if name in index.axes()}
    plain = {name: place for name, place in used.items() if isinstance(place, Affine)}
    if len(plain) == len(used):
        return index.substitute(plain)
    total: Expression = Number(float(index.constant))
    value: Expression
    for atom, factor in index.terms:
        if isinstance(atom, Floor):
            inner = as_expression(at(atom.numerator, places))
            value = Apply("floordiv", (inner, Number(float(atom.divisor))))
        else:
            value = as_expression(used.get(atom, axis(atom)))
        if factor != 1:
            value = Apply("mul", (Number(float(factor)), value))
        total = value if total == ZERO else Apply("add", (total, value))
    return total


def as_expression(index: Index) -> Expression:
    """An index as a number."""
    return Position(index) if isinstance(index, Affine) else index


def element(
    tables: Tables, name: str, index: tuple[Index, ...], item: Affine | None, step: Index | None
) -> Load:
    """A load of a source at an index of its own axes, through all views."""
    source = tables.sources[name]
    if source.view is not None:
        places = {a.name: entry for a, entry in zip(source.axes, index, strict=True)}
        inner = tuple(at(entry, places) for entry in source.view.index)
        return element(tables, source.view.source, inner, item, step)
    front: tuple[Index, ...] = ()
    if source.batch:
        assert item is not None, f"{name} has items, its reader has none"
        front = (item,)
    if source.time:
        assert step is not None, f"{name} has steps, its reader has none"
        front = (*front, step)
    return Load(name, front + index)


def read(
    tables: Tables, connection: Connection, point: Point, window: Mapping[str, Index]
) -> Expression:
    """What a connection sees at a place of its window."""
    places = {**point.own, **window}
    index = tuple(_entry(tables, entry, point, places) for entry in connection.index)
    item = point.item if connection.item is None else _affine(at(connection.item, places))
    load = element(tables, connection.source, index, item, moment(connection, point, places))
    match connection.moment:
        case Moment.PREVIOUS:
            assert point.step is not None
            present: Expression = Apply("ge", (Position(point.step - 1), ZERO))
        case Moment.NEXT:
            assert point.step is not None
            present = before_end(tables, point.item, point.step + 1)
        case _:
            return load
    initial = connection.initial
    first = ZERO if initial is None else read(tables, initial, point, window)
    if connection.moment is Moment.PREVIOUS:
        first = _carried(tables, load, first)
    return Apply("select", (present, load, first))


def carried_name(node: str) -> str:
    """The buffer with a node's values at the last step of the call before."""
    return f"{node}.carried"


def _carried(tables: Tables, load: Load, first: Expression) -> Expression:
    """What prev(h) sees at step 0: h at the last step of the call before where the sequence goes
    on, else its initial value. No gradient flows into an earlier call."""
    source = tables.sources[load.buffer]
    if not (source.batch and source.time):
        return first
    item, _, *own = load.index
    goes_on = Apply("gt", (Scalar(CARRY), ZERO))
    return Apply("select", (goes_on, Load(carried_name(load.buffer), (item, *own)), first))


def moment(connection: Connection, point: Point, places: Mapping[str, Index]) -> Index | None:
    """The step of the source that a connection reads."""
    match connection.moment:
        case Moment.SAME:
            return point.step
        case Moment.PREVIOUS:
            return point.step - 1 if point.step is not None else None
        case Moment.NEXT:
            return point.step + 1 if point.step is not None else None
        case Moment.LAST:
            assert point.item is not None
            return Apply("sub", (Load(LENGTHS, (point.item,)), Number(1.0)))
        case Moment.ALL:
            assert connection.step is not None
            return at(connection.step, places)


def before_end(tables: Tables, item: Affine | None, step: Affine) -> Expression:
    """Whether an item has a step; without an item, whether the batch has it."""
    assert item is not None
    return Apply("lt", (Position(step), Load(LENGTHS, (item,))))


def _entry(
    tables: Tables, entry: Affine | Value, point: Point, places: Mapping[str, Index]
) -> Index:
    if isinstance(entry, Affine):
        return at(entry, places)
    value = read(tables, entry.connection, point, places)
    offset = at(entry.offset, places)
    if offset == constant(0):
        return value
    return Apply("add", (value, as_expression(offset)))


def _affine(index: Index) -> Affine:
    assert isinstance(index, Affine), "the item of a connection is affine"
    return index
