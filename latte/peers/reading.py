"""What a connection sees, at all places at once.

    source[:, 2*y ..+ 3] of a neuron at y   ->   sliding windows of the source's tensor
    table[word, :]                          ->   Gather(table, word)

Labels are the names of the ensemble's own axes; axes of a formal's window get labels where a
reduction brings them in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NoReturn, assert_never

from latte.compiler.affine import Affine, Floor, axis, constant
from latte.compiler.expression import Axis
from latte.compiler.net import Connection, Moment, Value
from latte.errors import Span, fail
from latte.peers.contraction import Read
from latte.peers.graph import ITEMS, STEPS, Builder, Tensor
from latte.peers.labelled import broadcast, cast, combine, merged, ordered, reshaped
from latte.peers.select import gathered, positions, select

Place = Affine | Tensor  # along an axis: over labels, or integers that were computed
Window = Mapping[str, Place]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a loop over time: its number, the values of the loop's nodes at it and at the
    step computed before."""

    number: int
    here: Mapping[str, Tensor] = field(default_factory=dict)
    before: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scope:
    """Where an ensemble is computed: tensors of its sources, sizes of all labels."""

    builder: Builder
    name: str
    sources: Mapping[str, Tensor]
    sizes: Mapping[str, int]
    span: Span | None = None
    step: Step | None = None

    def unsupported(self, what: str) -> NoReturn:
        """Raise E0960: no operator of peers does this."""
        fail("E0960", f"`{self.name}` has no peer operation: {what}", self.span)


def connected(scope: Scope, connection: Connection, window: Window) -> Tensor:
    """What a connection sees at a place of its window."""
    tensor, places = read(scope, connection, window)
    plain = tuple(place for place in places if isinstance(place, Affine))
    if len(plain) == len(places):
        found = select(scope.builder, tensor, plain, scope.sizes)
    else:
        found = _looked_up(scope, tensor, places)
    return _begun(scope, connection, window, found)


def affine(scope: Scope, connection: Connection, window: Window) -> Read | None:
    """The same as a tensor that is still to be read; None where values decide what is read."""
    if _starts(connection) and not (scope.step and connection.source in scope.step.before):
        return None
    tensor, places = read(scope, connection, window)
    plain = tuple(place for place in places if isinstance(place, Affine))
    return Read(tensor, plain) if len(plain) == len(places) else None


def read(scope: Scope, connection: Connection, window: Window) -> tuple[Tensor, tuple[Place, ...]]:
    """The tensor that a connection reads, and where along each of its axes."""
    tensor = _source(scope, connection)
    front = tensor.labels[: len(tensor.axes) - len(connection.index)]
    places = [_front(scope, label, connection, window) for label in front]
    places += [_entry(scope, entry, window) for entry in connection.index]
    return tensor, tuple(places)


def place_of(scope: Scope, index: Affine, window: Window) -> Place:
    """An affine index over labels; integers where values take part."""
    used = {name: window[name] for name in index.axes() if name in window}
    plain = {name: place for name, place in used.items() if isinstance(place, Affine)}
    if len(plain) == len(used):
        return index.substitute(plain)
    total = scope.builder.constant(index.constant) if index.constant else None
    for atom, factor in index.terms:
        if isinstance(atom, Floor):
            scope.unsupported("an index that divides a value")
        part = integers(scope, used.get(atom, axis(atom)))
        if factor != 1:
            part = combine(scope.builder, "Mul", part, scope.builder.constant(factor))
        total = part if total is None else combine(scope.builder, "Add", total, part)
    assert total is not None
    return total


def integers(scope: Scope, place: Place) -> Tensor:
    """A place as a tensor of integers."""
    if isinstance(place, Tensor):
        return place
    values, axes = positions(place, scope.sizes)
    return scope.builder.constant(values, axes)


def _starts(connection: Connection) -> bool:
    """Whether a connection reads another step, so that the first sees something else."""
    return connection.moment in (Moment.PREVIOUS, Moment.NEXT)


def _source(scope: Scope, connection: Connection) -> Tensor:
    if scope.step is not None:
        known = scope.step.before if _starts(connection) else scope.step.here
        if connection.source in known:
            return known[connection.source]
    return scope.sources[connection.source]


def _front(scope: Scope, label: str, connection: Connection, window: Window) -> Place:
    """Where a connection reads the batch or the time axis."""
    if label == ITEMS:
        return axis(ITEMS) if connection.item is None else place_of(scope, connection.item, window)
    here = axis(STEPS) if scope.step is None else constant(scope.step.number)
    match connection.moment:
        case Moment.SAME:
            return here
        case Moment.PREVIOUS:
            return here - 1
        case Moment.NEXT:
            return here + 1
        case Moment.LAST:
            return constant(scope.sizes[STEPS] - 1)
        case Moment.ALL:
            assert connection.step is not None
            return place_of(scope, connection.step, window)
        case _:
            assert_never(connection.moment)


def _entry(scope: Scope, entry: Affine | Value, window: Window) -> Place:
    if isinstance(entry, Affine):
        return place_of(scope, entry, window)
    found = cast(scope.builder, connected(scope, entry.connection, window), "i64")
    if entry.offset == constant(0):
        return found
    offset = integers(scope, place_of(scope, entry.offset, window))
    return combine(scope.builder, "Add", found, offset)


def _begun(scope: Scope, connection: Connection, window: Window, found: Tensor) -> Tensor:
    """What the first step (the last, for `next`) sees in place of another step."""
    timed = STEPS in scope.sources[connection.source].labels
    if not _starts(connection) or scope.step is not None or (timed and not connection.initial):
        return found
    edge = axis(STEPS) - 1 if connection.moment is Moment.PREVIOUS else (
        constant(scope.sizes[STEPS] - 2) - axis(STEPS)
    )  # fmt: skip
    values, axes = positions(edge, scope.sizes)
    present = scope.builder.constant(values >= 0, axes)
    first = scope.builder.constant(0.0)
    if connection.initial is not None:
        first = connected(scope, connection.initial, window)
    return combine(scope.builder, "Where", present, found, first)


def _looked_up(scope: Scope, tensor: Tensor, places: tuple[Place, ...]) -> Tensor:
    """A tensor at places that were computed: Gather, GatherElements."""
    builder, values = scope.builder, [k for k, p in enumerate(places) if isinstance(p, Tensor)]
    rest = [k for k in range(len(places)) if k not in values]
    sizes = [tensor.axes[k].size for k in values]
    mine = ordered(builder, tensor, [tensor.labels[k] for k in (*rest, *values)])
    flat = Axis("@flat", math.prod(sizes))
    mine = reshaped(builder, mine, (*mine.axes[: len(rest)], flat))
    plain = [place for k in rest if isinstance(place := places[k], Affine)]
    known = {**scope.sizes, "@value": flat.size}
    found = select(builder, mine, [*plain, axis("@value")], known)
    index = _row_major(scope, [places[k] for k in values], sizes)
    shared = [label for label in found.labels if label in index.labels]
    if not shared:
        return gathered(builder, found, found.labels.index("@value"), index)
    return _element(scope, found, index, shared)


def _row_major(scope: Scope, places: list[Place], sizes: list[int]) -> Tensor:
    """One number for the places along several axes."""
    flat = integers(scope, places[0])
    for place, size in zip(places[1:], sizes[1:], strict=True):
        scaled = combine(scope.builder, "Mul", flat, scope.builder.constant(size))
        flat = combine(scope.builder, "Add", scaled, integers(scope, place))
    return flat


def _element(scope: Scope, table: Tensor, index: Tensor, shared: list[str]) -> Tensor:
    """`table[@n, value[@n]]`: one place of each row."""
    builder = scope.builder
    rest = [name for name in table.labels if name not in (*shared, "@value")]
    more = [name for name in index.labels if name not in shared]
    rows = ordered(builder, table, [*shared, *rest, "@value"])
    wide = broadcast(builder, index, (*rows.axes[:-1], *_axes(index, more)))
    places = merged(builder, wide, more, "@places")
    axes = (*rows.axes[:-1], places.axes[-1])
    found = builder.emit(
        "GatherElements", (rows, places), axes, table.element, axis=len(rows.axes) - 1
    )
    return reshaped(builder, found, (*rows.axes[:-1], *_axes(index, more)))


def _axes(tensor: Tensor, labels: list[str]) -> tuple[Axis, ...]:
    return tuple(entry for entry in tensor.axes if entry.name in labels)
