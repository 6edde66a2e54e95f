"""One dimension of a relation solved for one unknown: the rules by which gather.py inverts.

In: a State, a scatter half inverted, and one of its equations `place == index`.  Out: the State
without that equation, with an unknown replaced by what it must be and its range as a guard; for a
stride one State for each residue class.

    s == 2*y + k - 1, k < 3     ->  class 0: s = 2*s', k = 1, y = s'
                                    class 1: s = 2*s' + 1, k = 2*k', y = s' + 1 - k', k' < 2
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum

from latte.compiler.affine import Affine, Floor, axis, constant
from latte.compiler.expression import Apply, Axis, Expression, Guard, Index, Position
from latte.compiler.poly import ranges_of, tidy
from latte.compiler.rewrite import substitute_axes, substitute_guards
from latte.compiler.split import chain
from latte.compiler.tables import Names

LARGEST_STRIDE = 16  # residue classes that get kernels of their own

Equation = tuple[Affine, Index]


@dataclass(frozen=True, slots=True)
class State:
    """A scatter half inverted: `equations` say which place (left) each index (right) must be."""

    axes: tuple[Axis, ...]
    index: tuple[Affine, ...]
    unknown: tuple[Axis, ...]
    equations: tuple[tuple[Affine, Index], ...]
    where: tuple[Guard, ...]
    expression: Expression
    conditions: tuple[Expression, ...] = ()
    compared: bool = False  # a condition compares a value with a place
    empty: bool = False  # nothing contributes
    fixed: tuple[tuple[str, int], ...] = ()  # axes around the kernel, and their sizes

    @property
    def ranges(self) -> dict[str, tuple[int, int]]:
        around = {name: (0, size - 1) for name, size in self.fixed}
        return around | ranges_of(self.axes) | ranges_of(self.unknown)

    def substituted(self, values: Mapping[str, Affine]) -> State:
        """The state with axes replaced everywhere."""
        places = dict(values)
        return replace(
            self,
            index=tuple(entry.substitute(places) for entry in self.index),
            equations=tuple((a.substitute(places), _index(b, places)) for a, b in self.equations),
            where=substitute_guards(self.where, places),
            expression=substitute_axes(self.expression, places),
            conditions=tuple(substitute_axes(each, places) for each in self.conditions),
        )

    def solved(self, name: str, value: Affine, *guards: Guard) -> State:
        """The state with an unknown replaced by what it must be, inside its range."""
        size = next(a.size for a in self.unknown if a.name == name)
        inside = (Guard(value), Guard(constant(size - 1) - value), *guards)
        state = self.substituted({name: value})
        unknown = tuple(a for a in state.unknown if a.name != name)
        return replace(state, unknown=unknown, where=state.where + inside)

    def without(self, equation: Equation) -> State:
        """The state with one equation fewer."""
        return replace(self, equations=tuple(e for e in self.equations if e != equation))


class Way(IntEnum):
    """How an equation is solved; the surest come first."""

    FIXED = 0  # no unknown: a guard, or nothing
    SINGLE = 1  # one unknown with factor 1
    DIVIDE = 2  # quotient and remainder
    UNIT = 3  # one of several unknowns has factor 1
    RESIDUE = 4  # a stride: residue classes
    MODULUS = 5  # an unknown, where its factor divides
    VALUE = 6  # the place is a value: compared
    GUARD = 7  # an unknown under a floor: tried for each of its positions


def way(equation: Equation, state: State) -> Way:
    """How an equation is solved."""
    left, right = equation
    if not isinstance(right, Affine):
        return Way.VALUE
    sizes = {a.name: a.size for a in state.unknown}
    terms = _terms(right, sizes)
    if not right.axes() & sizes.keys():
        return Way.FIXED
    if any(isinstance(atom, Floor) and atom.numerator.axes() & sizes.keys()
           for atom, _ in right.terms):  # fmt: skip
        return Way.GUARD
    if len(terms) == 1 and abs(next(iter(terms.values()))) == 1:
        return Way.SINGLE
    pair = _remainder(terms, sizes)
    if pair is not None and _divides(state, left, right, terms, sizes[pair[1]]):
        return Way.DIVIDE
    largest = max(terms, key=lambda name: sizes[name])
    if abs(terms[largest]) == 1:
        return Way.UNIT
    if len(terms) <= 2 and _plain(left, right, terms, state) is not None and (
        1 < terms[largest] <= LARGEST_STRIDE
    ):  # fmt: skip
        return Way.RESIDUE
    return Way.UNIT if 1 in map(abs, terms.values()) else Way.MODULUS


def _terms(right: Affine, names: Mapping[str, int]) -> dict[str, int]:
    """The factors of the unknowns."""
    return {atom: k for atom, k in right.terms if isinstance(atom, str) and atom in names}


def _rest(right: Affine, terms: Mapping[str, int]) -> Affine:
    """The right side without its unknowns."""
    return Affine(tuple(term for term in right.terms if term[0] not in terms), right.constant)


def _remainder(terms: Mapping[str, int], sizes: Mapping[str, int]) -> tuple[str, str] | None:
    """The quotient and the remainder, where `r*quotient + remainder` has each value once."""
    if len(terms) != 2:
        return None
    for whole, part in (tuple(terms), tuple(terms)[::-1]):
        if terms[part] == 1 and terms[whole] == sizes[part] > 1:
            return whole, part
    return None


def _divides(
    state: State, left: Affine, right: Affine, terms: Mapping[str, int], size: int
) -> bool:
    """Whether `place // size` can become an axis; if not, residue classes are better."""
    plain = _plain(left, right, terms, state)
    if plain is None or size > LARGEST_STRIDE:
        return True
    along = next(a for a in state.axes if a.name == plain[0])
    return plain[1] % size == 0 and along.size % size == 0


def _fixed(state: State, left: Affine, right: Index) -> State:
    assert isinstance(right, Affine)
    difference = left - right
    if difference == constant(0):
        return state
    return replace(state, where=(*state.where, Guard(difference), Guard(-difference)))


def _unit(state: State, left: Affine, right: Index) -> State:
    """Solves for the largest axis with factor 1 or -1."""
    assert isinstance(right, Affine)
    sizes = {a.name: a.size for a in state.unknown}
    units = {name: k for name, k in _terms(right, sizes).items() if abs(k) == 1}
    name = max(units, key=lambda each: sizes[each])
    return state.solved(name, (left - (right - axis(name) * units[name])) * units[name])


def _divide(state: State, left: Affine, right: Index) -> State:
    """`r*whole + part == place` with 0 <= part < r."""
    assert isinstance(right, Affine)
    sizes = {a.name: a.size for a in state.unknown}
    terms = _terms(right, sizes)
    found = _remainder(terms, sizes)
    assert found is not None
    whole, part = found
    place = left - _rest(right, terms)
    return state.solved(whole, place // sizes[part]).solved(part, place % sizes[part])


def _modulus(state: State, left: Affine, right: Index) -> State:
    """Solves for the largest axis, where its factor divides."""
    assert isinstance(right, Affine)
    sizes = {a.name: a.size for a in state.unknown}
    terms = _terms(right, sizes)
    name = max(terms, key=lambda each: sizes[each])
    factor = terms[name]
    product = left - (right - axis(name) * factor)
    product = product if factor > 0 else -product
    return state.solved(name, product // abs(factor), Guard(product, abs(factor)))


def _value(state: State, left: Affine, right: Index) -> State:
    assert not isinstance(right, Affine)
    test = Apply("eq", (Position(left), right))
    return replace(state, conditions=(*state.conditions, test), compared=True)


SOLVE: dict[Way, Callable[[State, Affine, Index], State]] = {
    Way.FIXED: _fixed, Way.SINGLE: _unit, Way.DIVIDE: _divide, Way.UNIT: _unit,
    Way.MODULUS: _modulus, Way.VALUE: _value, Way.GUARD: _fixed,
}  # fmt: skip


def _plain(
    left: Affine, right: Affine, terms: Mapping[str, int], state: State
) -> tuple[str, int] | None:
    """Axis and offset where the place is `axis + offset`, an axis of the kernel."""
    place = left - _rest(right, terms)
    names = {a.name for a in state.axes if a.symbol is None}
    match place.terms:
        case ((str() as name, 1),) if name in names:
            return name, place.constant
        case _:
            return None


def classes(
    state: State, equation: Equation, names: Names
) -> list[State]:  # fmt: skip
    """One branch for each residue class of `stride*y + tap*k == element + offset`."""
    left, right = equation
    assert isinstance(right, Affine)
    sizes = {a.name: a.size for a in state.unknown}
    terms = _terms(right, sizes)
    whole = max(terms, key=lambda name: sizes[name])
    part = next((name for name in terms if name != whole), None)
    plain = _plain(left, right, terms, state)
    assert plain is not None
    name, offset = plain
    along = next(a for a in state.axes if a.name == name)
    rest = state.without(equation)
    branches: list[State] = []
    for residue in range(min(terms[whole], along.size)):
        branch = _of_class(rest, along, residue, terms[whole])
        quotient, over = divmod(residue + offset, terms[whole])
        at = axis(name) + quotient
        if part is None:
            branches.append(branch.solved(whole, at) if over == 0 else _nothing(branch))
        else:
            factors = (terms[whole], terms[part])
            branches.append(_tap(branch, (whole, part), factors, sizes[part], at, over, names))
    return branches


def _of_class(state: State, along: Axis, residue: int, stride: int) -> State:
    """The state for elements `stride*j + residue` of an axis."""
    count = -(-(along.size - residue) // stride)
    axes = tuple(replace(a, size=count) if a == along else a for a in state.axes)
    return replace(state.substituted({along.name: axis(along.name) * stride + residue}), axes=axes)


def _tap(
    state: State, pair: tuple[str, str], factors: tuple[int, int], size: int, at: Affine,
    over: int, names: Names,
) -> State:  # fmt: skip
    """One class: `stride*whole + factor*part == stride*at + over`. Its taps are part = first +
    step*tap, for which whole = at + (over - factor*first) / stride - factor/g*tap."""
    (whole, part), (stride, factor) = pair, factors
    common = math.gcd(stride, factor)
    step = stride // common
    first = next((k for k in range(step) if (factor * k - over) % stride == 0), None)
    if first is None or first >= size:
        return _nothing(state)
    base = at + (over - factor * first) // stride
    count = -(-(size - first) // step)
    if count == 1:
        return state.solved(part, constant(first)).solved(whole, base)
    tap = names.fresh(Axis(part, count))
    unknown = tuple(tap if a.name == part else a for a in state.unknown)
    state = state.substituted({part: axis(tap.name) * step + first})
    return replace(state, unknown=unknown).solved(
        whole, base - axis(tap.name) * (factor // common)
    )  # fmt: skip


def _nothing(state: State) -> State:
    return replace(state, empty=True)


def unfloored(state: State, names: Names) -> State:
    """Splits unknowns that stand alone on a floor: y = 2*q + j makes y // 2 into q."""
    for entry in state.unknown:
        found = chain(entry.name, [b for _, b in state.equations if isinstance(b, Affine)])
        if found is None or entry.symbol is not None:
            continue
        offset, divisors = found
        state = _split(state, entry, offset, divisors, names)
    return state


def _split(
    state: State, entry: Axis, offset: int, divisors: tuple[int, ...], names: Names
) -> State:
    """entry + offset = largest*q + ... + j, digit by digit."""
    largest = divisors[-1]
    start = offset // largest
    count = (entry.size - 1 + offset) // largest - start + 1
    digits = [names.fresh(Axis(entry.name, count))]
    value = (axis(digits[0].name) + start) * largest
    for below, above in reversed(list(zip((1, *divisors[:-1]), divisors, strict=True))):
        digit = names.fresh(Axis(entry.name, above // below))
        digits.append(digit)
        value += axis(digit.name) * below
    value += -offset
    unknown = tuple(d for a in state.unknown for d in (digits if a == entry else (a,)))
    state = replace(state.substituted({entry.name: value}), unknown=unknown)
    inside = (Guard(value), Guard(constant(entry.size - 1) - value))
    ranges = state.ranges
    equations = tuple((a, tidy(b, ranges) if isinstance(b, Affine) else b)
                      for a, b in state.equations)  # fmt: skip
    return replace(state, where=state.where + inside, equations=equations)


def _index(entry: Index, values: dict[str, Affine]) -> Index:
    if isinstance(entry, Affine):
        return entry.substitute(values)
    return substitute_axes(entry, values)
