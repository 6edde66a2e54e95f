"""What stands between the brackets of a connection, as affine entries; then as a Connection.

    source[:, y*2 - 1 ..+ 3, x]   with source [8, 28, 28]
->  Draft(source, (Span(0, 8), Span(2*y - 1, 3), Single(x)))
->  Connection("source", (i.0, 2*y - 1 + i.1, x), window [i.0: 8, i.1: 3])

A single index must stay inside its axis for every neuron; windows are clipped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from latte.compiler.affine import Affine, axis, constant
from latte.compiler.elaborate.arithmetic import calculate, whole_number
from latte.compiler.elaborate.report import Report
from latte.compiler.elaborate.values import (
    Draft,
    Entry,
    Fault,
    Formula,
    Instance,
    Poison,
    Poisoned,
    Reference,
    Single,
    Span,
    Value,
    describe,
    shape,
    source,
    whole,
    whole_axis,
)
from latte.compiler.expression import Apply, Argument, Axis, Expression, Number, Position
from latte.compiler.net import Connection
from latte.compiler.net import Value as ValueIndex
from latte.errors import Span as Place
from latte.lang import ast

Ranges = Mapping[str, tuple[int, int]]
ENUMERATED = 1 << 20  # neurons up to which a bound that looks too wide is computed exactly


@dataclass(frozen=True, slots=True)
class Items:
    """How the items of one index are read: names are looked up by `evaluate`, and the neuron's
    own axes run over `ranges`."""

    evaluate: Callable[[ast.Expression], Value]
    ranges: Ranges
    report: Report


def draft(reference: Reference, items: Sequence[ast.Item], reader: Items, span: Place) -> Draft:
    """The reference indexed by items; whole axes are added where items are missing."""
    visible = reference.visible
    found: list[tuple[Entry | None, Place]] = []
    rest: int | None = None
    for item in items:
        if isinstance(item, ast.Rest):
            if rest is not None:
                reader.report.fail("E0609", "`...` can stand only once in an index", item.span)
            rest = len(found)
        else:
            found += [(entry, item.span) for entry in _entries(item, reader)]
    missing = len(visible) - len(found)
    if missing < 0:
        message = (
            f"{len(found)} indices for `{reference}`, which has "
            f"{_count(len(visible), 'axis', 'axes')} {shape(visible)}"
        )
        reader.report.fail("E0601", message, found[len(visible)][1].to(found[-1][1]))
    at = len(found) if rest is None else rest
    found[at:at] = [(None, span)] * missing
    entries = tuple(
        _checked(entry, along, reference, reader, place)
        for (entry, place), along in zip(found, visible, strict=True)
    )
    return Draft(reference, entries)


def connection(
    given: Draft, names: Sequence[Axis], span: Place | None, initial: Connection | None = None
) -> Connection:
    """The Connection whose windows are called `names`, in order."""
    windows = iter(names)
    index = [_index(entry, windows) for entry in given.entries]
    reference = given.reference
    item = index.pop(0) if reference.items else None
    step = index.pop(0) if len(index) > len(reference.axes) else None
    assert not isinstance(item, ValueIndex) and not isinstance(step, ValueIndex)
    if initial is None and reference.initial is not None:
        initial = connection(Draft(reference.initial, given.entries), names, span)
    return Connection(
        reference.node, tuple(index), tuple(names), item, reference.moment, step, initial, span
    )


def bounds(index: Affine, ranges: Ranges) -> tuple[int, int]:
    """Least and greatest value of an index: exact where axes are few or occur once."""
    low, high = index.bounds(ranges)
    if index.is_linear or not index.axes():
        return low, high
    names = sorted(index.axes())
    counts = [ranges[name][1] - ranges[name][0] + 1 for name in names]
    if math.prod(counts) > ENUMERATED:
        return low, high
    values = index.evaluate(grid(names, ranges))
    return int(np.min(values)), int(np.max(values))


def grid(names: Sequence[str], ranges: Ranges) -> dict[str, NDArray[np.int64]]:
    """Every position along each axis, shaped so that they broadcast against each other."""
    places = [np.arange(ranges[name][0], ranges[name][1] + 1) for name in names]
    return dict(zip(names, np.ix_(*places), strict=True))


def clipped(entry: Span, along: Axis, ranges: Ranges) -> bool:
    """Whether some place of a window can be outside the axis for some neuron."""
    if entry.symbol is not None:
        return False
    if entry.chosen is not None:
        return True
    low, high = bounds(entry.start, ranges)
    return low < 0 or high + entry.step * (entry.count - 1) >= along.size


def may_be_empty(entry: Span, along: Axis, ranges: Ranges) -> Affine | None:
    """The window's start if no place of it is inside the axis for some neuron."""
    if entry.symbol is not None or entry.chosen is not None:
        return None
    names = sorted(entry.start.axes())
    counts = [ranges[name][1] - ranges[name][0] + 1 for name in names]
    if math.prod(counts) > ENUMERATED:
        starts = np.array(entry.start.bounds(ranges))
    else:
        starts = np.asarray(entry.start.evaluate(grid(names, ranges)))
    skipped = np.maximum(0, -(starts // entry.step))  # the first place at or after 0
    first = starts + entry.step * skipped
    empty = (skipped >= entry.count) | (first >= along.size)
    return entry.start if bool(np.any(empty)) else None


def as_draft(value: Value) -> Draft:
    """A value as an indexed source: a whole source is a window over all of it."""
    match value:
        case Draft():
            return value
        case Formula(Argument(name, ()), sources) if sources:
            return as_draft(dict(sources)[name])
        case Reference() | Instance() | Poison():
            return whole(source(value))
        case _:
            raise Fault("E0405", f"expected an ensemble, found {describe(value)}")


def _entries(item: ast.Item, reader: Items) -> Iterator[Entry | None]:
    """The entries of one item: several where it is a pack, None for a whole axis."""
    with reader.report.at(item.span):
        match item:
            case ast.Whole():
                yield None
            case ast.Spread(name):
                yield from (single(place) for place in _elements(reader.evaluate(name)))
            case ast.Window(start, count, step):
                starts = reader.evaluate(start)
                counts = reader.evaluate(count)
                steps = 1 if step is None else reader.evaluate(step)
                yield from (_window(*row) for row in _rows(starts, counts, steps))
            case ast.Range(start, stop):
                starts, stops = reader.evaluate(start), reader.evaluate(stop)
                counts = calculate("-", (stops, starts))
                yield from (_window(*row) for row in _rows(starts, counts, 1))
            case ast.Rest():
                raise AssertionError("handled by the caller")
            case _:
                yield from (single(place) for place in _elements(reader.evaluate(item)))


def single(value: Value) -> Single:
    """One index: affine, or the value of a connection without window and an affine offset."""
    match value:
        case Affine():
            return Single(value)
        case Draft() if not value.windows:
            return Single(value.offset, value)
        case Reference() | Instance():
            if source(value).visible:
                raise Fault("E0603", f"an index is one value, but {describe(value)} has axes")
            return Single(constant(0), whole(source(value)))
        case Formula(expression, sources) if sources:
            return _offset(expression, dict(sources))
        case Formula():
            raise Fault(
                "E0603",
                "an index must be affine: a sum of axes times whole numbers, `//` and `%` by them",
            )
        case Poison():
            raise Poisoned
        case _:
            return Single(constant(whole_number(value, "an index")))


def _offset(expression: Expression, sources: Mapping[str, Reference | Draft]) -> Single:
    match expression:
        case Argument(name, ()):
            return single(sources[name])
        case Apply("add" | "sub", (left, Position() | Number() as right)):
            shift = _shift(right)
            inner = _offset(left, sources)
            sign = 1 if expression.operator == "add" else -1
            return Single(inner.index + shift * sign, inner.chosen)
        case Apply("add", (Position() | Number() as left, right)):
            inner = _offset(right, sources)
            return Single(inner.index + _shift(left), inner.chosen)
        case _:
            raise Fault("E0603", "a value used as an index can only be moved by whole numbers")


def _shift(expression: Expression) -> Affine:
    if isinstance(expression, Position):
        return expression.index
    assert isinstance(expression, Number)
    return constant(whole_number(expression.value, "the distance to a value's index"))


def _elements(value: Value) -> tuple[Value, ...]:
    return value if isinstance(value, tuple) else (value,)


def _rows(*columns: Value) -> list[tuple[Value, ...]]:
    """Packs beside each other, numbers repeated."""
    counts = {len(column) for column in columns if isinstance(column, tuple)}
    if len(counts) > 1:
        raise Fault("E0507", "start, count and step of a window are packs of different lengths")
    count = counts.pop() if counts else 1
    rows = [c if isinstance(c, tuple) else (c,) * count for c in columns]
    return list(zip(*rows, strict=True))


def _window(start: Value, count: Value, step: Value) -> Span:
    if isinstance(count, Affine) and count.is_constant:
        count = count.constant
    if isinstance(count, (Affine, Formula, Draft, Reference)):
        raise Fault("E0605", "the number of places of a window must be the same for every neuron")
    places, apart = whole_number(count, "a window's size"), whole_number(step, "a window's step")
    if places < 1:
        raise Fault("E0605", f"a window of {places} places: it needs at least 1")
    if apart < 1:
        raise Fault("E0605", f"a window's step is {apart}: it must be at least 1")
    first = single(start)
    return Span(first.index, places, apart, None, first.chosen)


def _checked(
    entry: Entry | None, along: Axis, reference: Reference, reader: Items, place: Place
) -> Entry:
    if entry is None:
        return whole_axis(along)
    if along.symbol is not None:
        _check_symbol(entry, along, reader, place)
        return entry
    if isinstance(entry, Single) and entry.chosen is None:
        low, high = bounds(entry.index, reader.ranges)
        if low < 0 or high >= along.size:
            reach = f"is {low}" if low == high else f"runs from {low} to {high}"
            reader.report.fail(
                "E0602",
                f"index `{entry.index}` {reach}, outside 0 .. {along.size - 1} of `{reference}`",
                place,
                help="a window (`start ..+ 1`) is clipped; a single index must be inside",
            )
    return entry


def _check_symbol(entry: Entry, along: Axis, reader: Items, place: Place) -> None:
    """The batch and time axes have no size yet: only `:` and index 0 are known to be inside."""
    if isinstance(entry, Single) and (entry.chosen is None and entry.index == constant(0)):
        return
    what = "batch" if along.symbol == "n" else "time"
    message = f"the {what} axis takes `:` or 0: how long it is is known only when the net runs"
    reader.report.fail("E0610", message, place)


def _index(entry: Entry, names: Iterator[Axis]) -> Affine | ValueIndex:
    if isinstance(entry, Single):
        place = entry.index
    else:
        place = entry.start + axis(next(names).name) * entry.step
    if entry.chosen is None:
        return place
    return ValueIndex(connection(entry.chosen, (), None), place)


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def windows_along(reference: Reference, entries: Sequence[Entry]) -> Iterator[tuple[Span, Axis]]:
    """The windows of an indexed source beside the axes they go along."""
    for entry, along in zip(entries, reference.visible, strict=True):
        if isinstance(entry, Span):
            yield entry, along
