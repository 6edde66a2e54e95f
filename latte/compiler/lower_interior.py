"""Conditions on places, and where all of them hold: the interior, where no window is clipped.

In: what a kernel computes.  Out: what must not be negative for every condition to hold.

    sum [ky: 3] where y + ky - 1 >= 0, 28 - y - ky >= 0: x[y + ky - 1]
    ->  y - 1 >= 0 and 26 - y >= 0

Code is made twice: for the interior, where windows have their whole size and nothing is asked, and
for all other places. Conditions that the lanes decide stay masks in both.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from latte.compiler.affine import Affine, Floor, constant
from latte.compiler.expression import Apply, Axis, Expression, Fold, Number, Position
from latte.compiler.lower_access import Ranges, Terms
from latte.compiler.lower_cost import UNROLLED
from latte.compiler.rewrite import children

WORTH = 4  # conditions asked at a point from which a version without them pays
COMPARED = {"ge": (1, 0), "gt": (1, -1), "le": (-1, 0), "lt": (-1, -1)}


def conditions(expression: Expression) -> tuple[Affine, ...] | None:
    """What is not negative exactly where a condition on places holds; None for other ones."""
    match expression:
        case Apply("and", (a, b)):
            first, second = conditions(a), conditions(b)
            return None if first is None or second is None else first + second
        case Apply("ge" | "gt" | "le" | "lt" as operator, (a, b)):
            left, right = _place(a), _place(b)
            if left is None or right is None:
                return None
            sign, offset = COMPARED[operator]
            return ((left - right) * sign + offset,)
        case _:
            return None


def _place(expression: Expression) -> Affine | None:
    match expression:
        case Position(index):
            return index
        case Number(value) if value == int(value):
            return constant(int(value))
        case _:
            return None


def least(index: Affine, outer: frozenset[str], ranges: Ranges) -> Affine | None:
    """The least value of an index over all its axes but the outer ones, as a function of those."""
    result = constant(index.constant)
    for atom, factor in index.terms:
        names = atom.numerator.axes() if isinstance(atom, Floor) else frozenset((atom,))
        if names <= outer:
            result += Affine(((atom, factor),), 0)
        elif isinstance(atom, Floor):
            return None
        else:
            low, high = ranges[atom]
            result += factor * (low if factor > 0 else high)
    return result


def interior(
    expressions: Iterable[Expression], axes: frozenset[str], ranges: Ranges
) -> dict[Terms, int]:
    """For each sum of terms over `axes` the least constant that it is compared with: all
    conditions hold where terms + constant >= 0 for all. Empty where that is not worth a test."""
    found = [pair for root in expressions for pair in _asked(root, dict(ranges))]
    tests: dict[Terms, int] = {}
    total = 0.0
    for index, inner, weight in found:
        bound = least(index, axes, inner)
        if bound is None or not bound.terms or bound.bounds(ranges)[0] >= 0:
            continue
        if bound.bounds(ranges)[1] >= 0:
            total += weight
            tests[bound.terms] = min(tests.get(bound.terms, bound.constant), bound.constant)
    return tests if total >= WORTH else {}


def _asked(
    node: Expression, ranges: dict[str, tuple[int, int]], weight: int = 1
) -> Iterator[tuple[Affine, Ranges, int]]:
    """Every condition, the ranges of the axes around it, and how often a point asks it."""
    match node:
        case Apply("select", (condition, *_)):
            for index in conditions(condition) or ():
                yield index, ranges, weight
        case Fold(_, axes, _, where):
            weight *= math.prod(entry.size for entry in axes)
            if weight > UNROLLED:
                return
            ranges = ranges | _ranges(axes)
            for guard in where:
                if not guard.modulus:
                    yield guard.index, ranges, weight
        case _:
            pass
    for child in children(node):
        yield from _asked(child, ranges, weight)


def _ranges(axes: Iterable[Axis]) -> dict[str, tuple[int, int]]:
    return {entry.name: (0, entry.size - 1) for entry in axes}


def assured(index: Affine, outer: frozenset[str], ranges: Ranges, known: dict[Terms, int]) -> bool:
    """Whether an index is not negative, by its range or by what is known of the place."""
    if index.bounds(ranges)[0] >= 0:
        return True
    bound = least(index, outer, ranges) if known else None
    return bound is not None and bound.constant >= known.get(bound.terms, math.inf)
