"""Quasi-affine integer expressions over named axes: the index language of Net and Program.

`y*2 - 1 + ky` is `Affine((("ky", 1), ("y", 2)), -1)`; `c // 2` is a `Floor` atom with
coefficient 1; `a % b` is written `a - b*(a // b)`. Everything is plain data, hashed by value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Union

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Integers = Union[int, NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class Floor:
    """`numerator // divisor`, rounded towards minus infinity; the divisor is positive."""

    numerator: Affine
    divisor: int

    def __str__(self) -> str:
        return f"({self.numerator}) // {self.divisor}"


Atom = Union[str, Floor]


@dataclass(frozen=True, slots=True)
class Affine:
    """`sum of coefficient * atom + constant`, terms sorted by their text, no zero coefficient.

    Make one with `axis("y")`, `constant(3)` and the operators `+ - * // %` (`*`, `//` and `%`
    take an integer on the right).
    """

    terms: tuple[tuple[Atom, int], ...]
    constant: int

    def __add__(self, other: Affine | int) -> Affine:
        if isinstance(other, int):
            return Affine(self.terms, self.constant + other) if other else self
        if not (self.terms and other.terms):
            return Affine(self.terms or other.terms, self.constant + other.constant)
        return _collect((*self.terms, *other.terms), self.constant + other.constant)

    __radd__ = __add__

    def __neg__(self) -> Affine:
        return self * -1

    def __sub__(self, other: Affine | int) -> Affine:
        return self + other * -1

    def __rsub__(self, other: Affine | int) -> Affine:
        return as_affine(other) - self

    def __mul__(self, factor: int) -> Affine:
        if factor == 1 or factor == 0:
            return self if factor else Affine((), 0)
        return Affine(tuple((a, k * factor) for a, k in self.terms), self.constant * factor)

    __rmul__ = __mul__

    def __floordiv__(self, divisor: int) -> Affine:
        """Divides what is divisible outside the floor: `(4*y + x) // 2 == 2*y + x // 2`."""
        assert divisor > 0, divisor
        whole = tuple([(a, k // divisor) for a, k in self.terms if k % divisor == 0])
        rest = Affine(tuple([t for t in self.terms if t[1] % divisor]), self.constant % divisor)
        outside = Affine(whole, self.constant // divisor)
        if not rest.terms:
            return outside
        match rest.terms:
            case ((Floor(inner, inner_divisor), 1),):  # (x // a + c) // b == (x + c*a) // (a*b)
                rest, divisor = inner + rest.constant * inner_divisor, inner_divisor * divisor
        return outside + Affine(((Floor(rest, divisor), 1),), 0)

    def __mod__(self, divisor: int) -> Affine:
        return self - (self // divisor) * divisor

    def __str__(self) -> str:
        text = "".join(_signed(atom, factor) for atom, factor in self.terms)
        if self.constant or not text:
            text += f" {'-' if self.constant < 0 else '+'} {abs(self.constant)}"
        return text[3:] if text.startswith(" + ") else text.replace(" - ", "-", 1).strip()

    @property
    def is_constant(self) -> bool:
        return not self.terms

    @property
    def is_linear(self) -> bool:
        """True where no floor division occurs."""
        return all(isinstance(atom, str) for atom, _ in self.terms)

    def axes(self) -> frozenset[str]:
        """Names of all axes that occur, also inside floors."""
        plain = frozenset([atom for atom, _ in self.terms if isinstance(atom, str)])
        return plain if len(plain) == len(self.terms) else plain.union(_names(self))

    def coefficient(self, name: str) -> int:
        """Factor of the plain axis `name` (0 where it occurs only inside floors, or not)."""
        for atom, factor in self.terms:
            if atom == name:
                return factor
        return 0

    def substitute(self, values: Mapping[str, Affine]) -> Affine:
        """The expression with each named axis replaced by another expression."""
        if self.axes().isdisjoint(values):
            return self
        terms: list[tuple[Atom, int]] = []
        constant = self.constant
        for atom, factor in self.terms:
            if isinstance(atom, Floor):
                part = atom.numerator.substitute(values) // atom.divisor
            elif atom in values:
                part = values[atom]
            else:
                terms.append((atom, factor))
                continue
            terms += [(inner, k * factor) for inner, k in part.terms]
            constant += part.constant * factor
        return _collect(terms, constant)

    def evaluate(self, values: Mapping[str, Integers]) -> Integers:
        """The value where each axis has the given value: integers or integer arrays."""
        total: Integers = self.constant
        for atom, factor in self.terms:
            if isinstance(atom, Floor):
                inner = atom.numerator.evaluate(values) // atom.divisor
            else:
                inner = values[atom]
            total = total + inner * factor
        return total

    def bounds(self, ranges: Mapping[str, tuple[int, int]]) -> tuple[int, int]:
        """Least and greatest value (both inclusive) where each axis is in its own range.

        Exact for linear expressions with each axis once; a safe over-estimate otherwise.
        """
        low = high = self.constant
        for atom, factor in self.terms:
            if isinstance(atom, Floor):
                inner = atom.numerator.bounds(ranges)
                least, most = inner[0] // atom.divisor, inner[1] // atom.divisor
            else:
                least, most = ranges[atom]
            low += min(factor * least, factor * most)
            high += max(factor * least, factor * most)
        return low, high


@cache
def axis(name: str) -> Affine:
    """The position along one axis."""
    return Affine(((name, 1),), 0)


def constant(value: int) -> Affine:
    """A fixed position."""
    return Affine((), value)


def as_affine(value: Affine | int) -> Affine:
    """An integer as a constant expression; an expression as it is."""
    return constant(value) if isinstance(value, int) else value


def row_major(index: Iterable[Affine], sizes: Iterable[int]) -> Affine:
    """The flat position of an index: `row_major((y, x), (4, 5)) == 5*y + x`."""
    flat = constant(0)
    for position, size in zip(index, sizes, strict=True):
        flat = flat * size + position
    return flat


def digits(flat: Affine, sizes: tuple[int, ...]) -> tuple[Affine, ...]:
    """The index of a flat position: `digits(i, (4, 5)) == (i // 5, i % 5)`."""
    index: list[Affine] = []
    stride = 1
    for place, size in reversed(list(enumerate(sizes))):
        position = flat // stride
        index.append(position % size if place else position)
        stride *= size
    return tuple(reversed(index))


def _collect(terms: Iterable[tuple[Atom, int]], rest: int) -> Affine:
    factors: dict[Atom, int] = {}
    for atom, factor in terms:
        factors[atom] = factors.get(atom, 0) + factor
    kept = [(a, k) for a, k in factors.items() if k]
    if len(kept) > 1:
        kept.sort(key=lambda term: str(term[0]))
    return Affine(tuple(kept), rest)


def _names(expression: Affine) -> Iterator[str]:
    for atom, _ in expression.terms:
        if isinstance(atom, Floor):
            yield from _names(atom.numerator)
        else:
            yield atom


def _signed(atom: Atom, factor: int) -> str:
    text = str(atom) if abs(factor) == 1 else f"{abs(factor)}*{_grouped(atom)}"
    return f" {'-' if factor < 0 else '+'} {text}"


def _grouped(atom: Atom) -> str:
    return f"({atom})" if isinstance(atom, Floor) else atom
