"""Stored positions of a contraction's operands, and floors out of them.

In: a Buffer with its dims, an affine index.  Out: how far the storage around it reaches, and which
axis to split so that the position becomes linear.

    weight[f, c] with dims [f / 64][c][f % 64]: split f by 64, then 4096*f.outer + 64*c + f.inner
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from latte.compiler.affine import Affine, Floor
from latte.compiler.ir import Buffer
from latte.compiler.lower_access import flat_position, reduce_floors, storage

Ranges = Mapping[str, tuple[int, int]]
ANYWHERE = (0, 1 << 40)  # of an axis that a surrounding loop counts


def position(buffer: Buffer, index: tuple[Affine, ...], ranges: Ranges) -> Affine:
    """The flat position of an index, with as few floors as the ranges allow."""
    return settle(flat_position(storage(buffer), index), ranges)


def settle(expression: Affine, ranges: Ranges) -> Affine:
    """The expression without the floors that have one value over the ranges."""
    return reduce_floors(expression, known(expression, ranges))


def known(expression: Affine, ranges: Ranges) -> Ranges:
    """The ranges of all its axes; one that a surrounding loop counts may be anywhere."""
    return {name: ranges.get(name, ANYWHERE) for name in expression.axes()}


def capacity(buffer: Buffer, number: int) -> int:
    """How many places of one axis are stored, padding included."""
    own = [dim for dim in storage(buffer).dims if dim.axis == number and not dim.modulo]
    return max(((dim.extent - dim.before) * dim.divide for dim in own), default=0)


def room(buffer: Buffer, index: tuple[Affine, ...], name: str, ranges: Ranges) -> int:
    """How many positions, from axis `name` = 0 on, belong to one row of the innermost dim."""
    if not buffer.axes:
        return 1
    dim = storage(buffer).dims[-1]
    place = index[dim.axis] // dim.divide
    place = settle((place % dim.modulo if dim.modulo else place) + dim.before, ranges)
    if place.terms == ((name, 1),):
        return dim.extent - place.constant
    return ranges[name][1] + 1 if name in ranges else 1


def clear_floors(expressions: Iterable[Affine]) -> tuple[str, int] | None:
    """An axis and a block to split it by, so that a floor goes; None where no split helps."""
    for expression in expressions:
        for atom, _ in expression.terms:
            if isinstance(atom, Floor):
                found = _innermost(atom)
                plain = [a for a, k in found.numerator.terms if k == 1 and isinstance(a, str)]
                if len(found.numerator.terms) == 1 and plain and not found.numerator.constant:
                    return plain[0], found.divisor
    return None


def _innermost(floor: Floor) -> Floor:
    for atom, _ in floor.numerator.terms:
        if isinstance(atom, Floor):
            return _innermost(atom)
    return floor
