"""Which places of a reader are those of a writer: kernels over the same places can be one.

    out[n, f, y, x] = ... sum ...            axes n, f, y, x
    relu[m, c, v, u] = max(out[m, c, v, u], 0)  ->  m = n, c = f, v = y, u = x

Asked of affine indices alone: the writer's index, with the reader's axes in its place, must reach
every point of the reader once.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from latte.compiler.affine import Affine, axis, constant
from latte.compiler.contract_parts import affine_index
from latte.compiler.expression import Axis, Expression, Fold, Load
from latte.compiler.ir import Kernel, Write, expressions
from latte.compiler.poly import bounds, ranges_of
from latte.compiler.rewrite import substitute_axes, walk


def loads_of(kernel: Kernel, buffer: str) -> tuple[Load, ...]:
    """The different loads of a buffer in a kernel."""
    found = (n for e in expressions(kernel) for n in walk(e) if isinstance(n, Load))
    return tuple(dict.fromkeys(load for load in found if load.buffer == buffer))


def folds(kernel: Kernel) -> bool:
    """Whether a kernel reduces anything."""
    return any(isinstance(node, Fold) for e in expressions(kernel) for node in walk(e))


def match(writer: Kernel, reader: Kernel, buffer: str) -> dict[str, Affine] | str:
    """Each axis of the reader as an index of the writer's axes, so that every point of the reader
    reads what one point of the writer writes; or why there is no such match."""
    write = next(write for write in writer.writes if write.buffer == buffer)
    indices = {affine_index(load.index) for load in loads_of(reader, buffer)}
    written = affine_index(write.index)
    if written is None or None in indices:
        return "places are chosen by values"
    if writer.where or reader.where:
        return "one of them leaves places out"
    if len(indices) != 1:
        return "it is read at several places at once"
    (read,) = indices
    assert read is not None
    own = {a.name for a in reader.axes}
    found = _solved(_settled(written, writer), _settled(read, reader), own)
    if isinstance(found, str):
        return found
    found |= {a.name: constant(0) for a in reader.axes if _is_single(a)}
    return found if _covers(found, writer.axes, reader.axes) else "they have other places"


def _settled(index: tuple[Affine, ...], kernel: Kernel) -> tuple[Affine, ...]:
    """The index without axes of one place."""
    single = {a.name: constant(0) for a in kernel.axes if _is_single(a)}
    return tuple(entry.substitute(single) for entry in index)


def _is_single(a: Axis) -> bool:
    return a.size == 1 and a.symbol is None


def _solved(
    written: tuple[Affine, ...], read: tuple[Affine, ...], own: set[str]
) -> dict[str, Affine] | str:
    """The reader's axes from `read == written`, entry by entry."""
    found: dict[str, Affine] = {}
    for mine, theirs in zip(read, written, strict=True):
        names = mine.axes() & own
        if not names and mine == theirs:
            continue
        name, place = next(iter(names), ""), theirs - mine.constant
        if mine != axis(name) + mine.constant or found.setdefault(name, place) != place:
            return "it is read at other places than it is written"
    return found


def _covers(found: dict[str, Affine], writer: Iterable[Axis], reader: Iterable[Axis]) -> bool:
    """Whether the points of both are the same: as many, and none outside."""
    axes = {a.name: a for a in reader}
    ranges = ranges_of(writer)
    if found.keys() != axes.keys() or not all(e.axes() <= ranges.keys() for e in found.values()):
        return False
    symbols = {a.name: a.symbol for a in writer}
    for name, entry in found.items():
        low, high = bounds(entry, ranges)
        if low < 0 or high >= axes[name].size:
            return False
        if {symbols[each] for each in entry.axes()} - {axes[name].symbol}:
            return False
        if axes[name].symbol and not (entry.is_linear and len(entry.terms) == 1):
            return False
    return prod(a.size for a in writer) == prod(a.size for a in axes.values())


def substituted(kernel: Kernel, values: dict[str, Affine]) -> Kernel:
    """A map with its axes replaced; it has none of its own any more."""

    def changed(expression: Expression) -> Expression:
        return substitute_axes(expression, values)

    lets = tuple(type(let)(let.name, changed(let.expression)) for let in kernel.lets)
    writes = tuple(
        Write(
            write.buffer,
            tuple(
                e.substitute(values) if isinstance(e, Affine) else changed(e) for e in write.index
            ),
            changed(write.expression),
            write.add,
        )
        for write in kernel.writes
    )
    return Kernel(kernel.name, (), lets, writes, kernel.where, kernel.origin, kernel.reason)
