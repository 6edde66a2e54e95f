"""Where an element lies: storage of buffers, and flat positions as affine expressions.

In: a buffer with its `Dim`s and a logical index.  Out: one affine expression, the number of the
element, simplified by the ranges of the loop variables:

    out[n, f, y] stored [n, f/16, y, f%16], f = 16*fb + lane, lane in 0 .. 15
    ->  (N*16*Y)*n + (16*Y)*fb + 16*y + lane
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from latte.compiler.affine import Affine, Atom, Floor, axis, constant
from latte.compiler.expression import Expression, Index
from latte.compiler.ir import Buffer, Dim

Ranges = Mapping[str, tuple[int, int]]
Terms = tuple[tuple[Atom, int], ...]


@dataclass(frozen=True, slots=True)
class Storage:
    """A buffer's stored dimensions and the number of elements from one place to the next."""

    buffer: Buffer
    dims: tuple[Dim, ...]
    strides: tuple[int, ...]
    elements: int


def storage(buffer: Buffer) -> Storage:
    """Row-major in the buffer's dims, or in its axes where it has none."""
    dims = buffer.dims or tuple(Dim(place, entry.size) for place, entry in enumerate(buffer.axes))
    strides, elements = [], 1
    for dim in reversed(dims):
        strides.append(elements)
        elements *= dim.extent
    return Storage(buffer, dims, tuple(reversed(strides)), elements)


def flat_position(stored: Storage, index: tuple[Index, ...]) -> Affine:
    """The number of the element, without the parts of value-dependent entries."""
    position = constant(0)
    for dim, stride in zip(stored.dims, stored.strides, strict=True):
        entry = index[dim.axis]
        if isinstance(entry, Affine):
            place = entry // dim.divide
            position += (place % dim.modulo if dim.modulo else place) * stride
        position += dim.before * stride
    return position


def value_entries(index: tuple[Index, ...]) -> tuple[tuple[int, Expression], ...]:
    """The value-dependent entries of an index, with their axes."""
    return tuple(
        (place, entry) for place, entry in enumerate(index) if not isinstance(entry, Affine)
    )


def inside(buffer: Buffer, index: tuple[Index, ...], ranges: Ranges) -> bool:
    """Whether the affine entries are certainly within their axes for all values in `ranges`."""
    for entry, whole in zip(index, buffer.axes, strict=True):
        if isinstance(entry, Affine):
            low, high = entry.bounds(ranges)
            if low < 0 or high >= whole.size:
                return False
    return True


def reduce_floors(position: Affine, ranges: Ranges) -> Affine:
    """The same position with fewer floor divisions, using what the variables can be."""
    if position.is_linear:
        return position
    result = constant(position.constant)
    for atom, factor in position.terms:
        whole = _divided(atom, ranges) if isinstance(atom, Floor) else axis(atom)
        result += whole * factor
    return result


def _divided(floor: Floor, ranges: Ranges) -> Affine:
    numerator, divisor = reduce_floors(floor.numerator, ranges), floor.divisor
    low, high = numerator.bounds(ranges)
    if low // divisor == high // divisor:
        return constant(low // divisor)
    for factor in sorted({math.gcd(k, divisor) for _, k in numerator.terms}, reverse=True):
        coarse = tuple((a, k) for a, k in numerator.terms if k % factor == 0)
        fine = Affine(tuple((a, k) for a, k in numerator.terms if k % factor), numerator.constant)
        low, high = fine.bounds(ranges)
        if factor > 1 and low >= 0 and high < factor:  # (g*u + v) // (g*d) == u // d
            return Affine(coarse, 0) // factor // (divisor // factor)
    return numerator // divisor


def lane_stride(position: Affine, lane: str) -> int | None:
    """Elements from one lane to the next, None where it is not the same for all."""
    for atom, _ in position.terms:
        if isinstance(atom, Floor) and lane in atom.numerator.axes():
            return None
    return position.coefficient(lane)


def lane_break(position: Affine, lane: str, lanes: int) -> tuple[int, Affine, Affine] | None:
    """Where a position is contiguous up to some lane and, from another start, from there on: the
    lane, and the two contiguous positions. `(l + 14) // 16 * S + (l + 14) % 16` breaks at 2."""
    breaks, first, second = set[int](), position, position
    for atom, factor in position.terms:
        if not isinstance(atom, Floor) or lane not in atom.numerator.axes():
            continue
        start, divisor = atom.numerator.constant, atom.divisor
        if atom.numerator.terms != ((lane, 1),) or start + lanes > 2 * divisor:
            return None
        breaks.add(divisor - start)
        low = Affine(((atom, factor),), 0)
        first, second = first - low, second - low + factor
    if len(breaks) != 1 or lane_stride(first, lane) != 1:
        return None
    return breaks.pop(), first, second


def split_lane(position: Affine, lane: str) -> tuple[Affine, tuple[tuple[Atom, int], ...]]:
    """The part that is the same for all lanes, and the terms that are not."""
    varying = tuple(term for term in position.terms if lane in _atom_axes(term[0]))
    rest = tuple(term for term in position.terms if lane not in _atom_axes(term[0]))
    return Affine(rest, position.constant), varying


def _atom_axes(atom: Atom) -> frozenset[str]:
    return atom.numerator.axes() if isinstance(atom, Floor) else frozenset((atom,))
