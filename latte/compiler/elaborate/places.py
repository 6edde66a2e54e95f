"""Places of windows: positions as numbers, numbers as indices, row-major digits.

as_index(Position(i))            ->  i
digits_of(at, (3, 5))            ->  (at // 5, at % 5)
"""

from __future__ import annotations

from collections.abc import Sequence

from latte.compiler.affine import Affine, axis, constant
from latte.compiler.elaborate.scalar import make, number
from latte.compiler.expression import (
    Argument,
    Axis,
    Expression,
    Fold,
    Index,
    Number,
    Position,
)
from latte.compiler.rewrite import children


def place(index: Affine) -> Expression:
    """A position as a number."""
    return number(index.constant) if index.is_constant else Position(index)


def as_index(expression: Expression) -> Index:
    """A number as an index: affine where it is."""
    match expression:
        case Position(index):
            return index
        case Number(value) if value.is_integer():
            return constant(int(value))
        case _:
            return expression


def at_place(axes: Sequence[Axis], places: Sequence[Index]) -> Expression:
    """Whether the positions along `axes` are these."""
    result: Expression = Number(1.0)
    for along, entry in zip(axes, places, strict=True):
        here = Position(axis(along.name))
        there = place(entry) if isinstance(entry, Affine) else entry
        test = make("eq", here, there)
        result = test if result == Number(1.0) else make("and", result, test)
    return result


def if_present(formal: str, axes: tuple[Axis, ...], places: tuple[Index, ...]) -> Expression:
    """One place of a window, 0 where it is clipped."""
    value = Argument(formal, tuple(axis(a.name) for a in axes))
    chosen = make("select", at_place(axes, places), value, Number(0.0))
    return Fold("sum", axes, chosen)


def digits_of(flat: Expression, sizes: tuple[int, ...]) -> tuple[Index, ...]:
    """The index of a row-major position that is known only when the neuron runs."""
    index: list[Index] = []
    stride = 1
    for at, size in reversed(list(enumerate(sizes))):
        position = make("floordiv", flat, number(stride)) if stride > 1 else flat
        index.append(make("mod", position, number(size)) if at else position)
        stride *= size
    return tuple(reversed(index))


def free_axes(expression: Expression) -> frozenset[str]:
    """Axes that an expression reads and does not bind itself."""
    match expression:
        case Fold(_, axes, body, _):
            return free_axes(body) - {axis.name for axis in axes}
        case Position(index):
            return index.axes()
        case Argument(_, index):
            found: frozenset[str] = frozenset()
            for entry in index:
                found |= entry.axes() if isinstance(entry, Affine) else free_axes(entry)
            return found
        case _:
            return frozenset().union(*(free_axes(child) for child in children(expression)))
