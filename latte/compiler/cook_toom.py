"""Short correlations with few multiplications: the matrices of Cook and Toom, exactly.

In: how many outputs (m) and taps (r).  Out: three matrices of fractions, for which

    y[i] = sum [j: r] d[i + j] * g[j]   for i in 0 .. m - 1
         = sum [k] outputs[i, k] * (sum [u] data[k, u] * d[u]) * (sum [j] taps[k, j] * g[j])

with m + r - 1 products (k) in place of m * r: `y = A^T ((B^T d) * (G g))` in the notation of Lavin
and Gray (2016). A product of polynomials is evaluated at as many points as it has coefficients, one
of them infinity, and interpolated; transposed, that is a correlation.

    matrices(2, 3).data  ->  ((-1, 0, 1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, -1, 0, 1))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import chain, count
from math import prod

Matrix = tuple[tuple[Fraction, ...], ...]

# Finite points by their number. Few, near 1 and in pairs: rounding grows with the powers of the
# points, and a pair shares its arithmetic. These were measured to be the most exact
# (docs/numerics.md).
POINTS: dict[int, tuple[Fraction, ...]] = {
    5: tuple(map(Fraction, ("0", "3/4", "-3/4", "3/2", "-3/2"))),
    6: tuple(map(Fraction, ("1/3", "-1/3", "5/6", "-5/6", "3/2", "-3/2"))),
}


@dataclass(frozen=True, slots=True)
class Matrices:
    """`data` is square, a row for each product; `taps` has a row for each product and a column for
    each tap; `outputs` a row for each output and a column for each product."""

    data: Matrix
    taps: Matrix
    outputs: Matrix


@lru_cache(maxsize=64)
def matrices(outputs: int, taps: int) -> Matrices:
    """The matrices for a correlation of so many outputs and taps, with the default points."""
    return cook_toom(outputs, taps, points(outputs + taps - 2))


def points(number: int) -> tuple[Fraction, ...]:
    """Finite points to interpolate at: 0, 1, -1, 2, -2, 1/2, -1/2, 3, ..., or better known ones."""
    if number in POINTS:
        return POINTS[number]
    pairs = ((Fraction(k), Fraction(-k), Fraction(1, k), Fraction(-1, k)) for k in count(2))
    usual = chain(map(Fraction, (0, 1, -1)), chain.from_iterable(pairs))
    return tuple(point for point, _ in zip(usual, range(number), strict=False))


def cook_toom(outputs: int, taps: int, finite: Sequence[Fraction]) -> Matrices:
    """The matrices that belong to finite points, all different, and infinity behind them."""
    size = outputs + taps - 1
    assert len(set(finite)) == size - 1, f"{size - 1} different points are needed"
    others = [tuple(b for b in finite if b != a) for a in finite]
    scale = [prod((a - b for b in rest), start=Fraction(1))
             for a, rest in zip(finite, others, strict=True)]  # fmt: skip
    data = (*(_polynomial(rest, size) for rest in others), _polynomial(tuple(finite), size))
    evaluated = tuple(
        tuple(a**j / whole for j in range(taps)) for a, whole in zip(finite, scale, strict=True)
    )
    powers = tuple((*(a**i for a in finite), Fraction(i == outputs - 1)) for i in range(outputs))
    return Matrices(data, (*evaluated, _last(taps)), powers)


def _last(length: int) -> tuple[Fraction, ...]:
    return tuple(Fraction(k == length - 1) for k in range(length))


def _polynomial(roots: tuple[Fraction, ...], length: int) -> tuple[Fraction, ...]:
    """Coefficients of the product of all `x - root`, lowest first, zeros behind."""
    found = [Fraction(1)]
    for root in roots:
        raised = [Fraction(0), *found]
        lowered = [*(root * c for c in found), Fraction(0)]
        found = [a - b for a, b in zip(raised, lowered, strict=True)]
    return (*found, *(Fraction(0),) * (length - len(found)))
