"""Arithmetic on bounds of loops: known numbers stay numbers, all else becomes vector code.

least(b, 3, 5)  ->  3        least(b, v7, 5)  ->  v9 = min v7, 5
"""

from __future__ import annotations

from math import prod

from latte.compiler.builder import Builder
from latte.compiler.values import Integer, Term


def least(b: Builder, one: Integer, other: Integer) -> Integer:
    """The smaller of two."""
    known = isinstance(one, int) and isinstance(other, int)
    return min(one, other) if known else b.minimum(one, other)  # type: ignore[type-var]


def most(b: Builder, one: Integer, other: Integer) -> Integer:
    """The larger of two."""
    known = isinstance(one, int) and isinstance(other, int)
    return max(one, other) if known else b.maximum(one, other)  # type: ignore[type-var]


def less(one: Integer, other: Integer) -> Term | bool:
    """Whether the first is the smaller."""
    return one < other if isinstance(other, int) or isinstance(one, Term) else other > one


def difference(one: Integer, other: Integer) -> Integer:
    """`one - other`, a number where they differ by a constant."""
    if isinstance(one, Term) and isinstance(other, Term) and one.operand == other.operand:
        return one.offset - other.offset
    return one - other


def digits(number: Integer, sizes: tuple[int, ...]) -> list[Integer]:
    """The mixed-radix digits of a number, outermost first."""
    found: list[Integer] = []
    for place, size in enumerate(sizes):
        digit = number // prod(sizes[place + 1 :])
        found.append(0 if size == 1 else digit % size if place else digit)
    return found


def share(part: Integer, count: int, parts: int) -> tuple[Integer, Integer]:
    """The range of `count` things that is one of `parts` even parts."""
    if parts == 1:
        return 0, count
    return part * count // parts, (part + 1) * count // parts
