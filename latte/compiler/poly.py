"""Questions about integer sets and relations; the one door to islpy.

In: `Affine` indices over named axes with ranges.  Out: bounds, boxes, truth values, plain data.

    bounds(i - 5*(i // 5), {"i": (0, 99)})              ->  (0, 4)
    remainder(((0, 4), (0, 9)), [((1, 2), (0, 9))])     ->  [((0, 1), ...), ((2, 4), ...)]

Axes become isl dimensions whose names are looked up, never their positions; spellings isl does not
accept ("i.0") are renamed. Answers are memoised by the text of the question, and what plain
interval arithmetic answers exactly never reaches isl (a call takes 3 to 360 us, parsing more).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import islpy as isl

from latte.compiler.affine import Affine, Floor, axis, constant
from latte.compiler.expression import Axis, Guard, Index

Ranges = Mapping[str, tuple[int, int]]  # least and greatest position of each axis, both inclusive
Box = tuple[tuple[int, int], ...]  # start and stop (exclusive) of each dimension


def ranges_of(axes: Iterable[Axis]) -> dict[str, tuple[int, int]]:
    """The whole range of every axis (of symbolic ones: the compiled largest)."""
    return {entry.name: (0, entry.size - 1) for entry in axes}


def bounds(index: Affine, ranges: Ranges, where: Iterable[Guard] = ()) -> tuple[int, int]:
    """The least and greatest value of an index where each axis is in its range and all guards
    hold: exact. (0, 0) where that is nowhere."""
    guards = tuple(where)
    if not guards and (index.is_linear or _once(index)):
        return index.bounds(ranges)
    names = index.axes().union(*(guard.index.axes() for guard in guards))
    return _extremes(index, tuple(sorted((name, *ranges[name]) for name in names)), guards)


def always(guard: Guard, ranges: Ranges) -> bool:
    """True where a guard holds for every position of the axes it uses."""
    if guard.modulus:
        return (guard.index % guard.modulus) == constant(0)
    return bounds(guard.index, ranges)[0] >= 0


def never(guard: Guard, ranges: Ranges) -> bool:
    """True where a guard holds for no position of the axes it uses."""
    if guard.modulus:
        rest = guard.index % guard.modulus
        return rest.is_constant and rest.constant != 0
    return bounds(guard.index, ranges)[1] < 0


def tidy(index: Affine, ranges: Ranges) -> Affine:
    """The same function on these ranges with fewer floors: `(5*b + c) // 5 == b` if c < 5."""
    if index.is_linear:
        return index
    result = constant(index.constant)
    for atom, factor in index.terms:
        part = axis(atom) if isinstance(atom, str) else _tidy_floor(atom, ranges)
        result += part * factor
    return result


def _tidy_floor(atom: Floor, ranges: Ranges) -> Affine:
    """`(4*i + j) // 8 == i // 2` for 0 <= j < 4: terms below a common divisor never carry."""
    numerator = tidy(atom.numerator, ranges)
    common = {math.gcd(factor, atom.divisor) for _, factor in numerator.terms}
    for divisor in sorted({atom.divisor, *common} - {1}, reverse=True):
        small = _below(numerator, divisor)
        low, high = bounds(small, ranges)
        if low // divisor == high // divisor:
            whole = _divided(numerator - small, divisor) + low // divisor
            return whole // (atom.divisor // divisor) if divisor < atom.divisor else whole
    return numerator // atom.divisor


def _below(numerator: Affine, divisor: int) -> Affine:
    """The terms and the part of the constant that the divisor does not divide."""
    terms = tuple((atom, factor) for atom, factor in numerator.terms if factor % divisor)
    return Affine(terms, numerator.constant % divisor)


def _divided(numerator: Affine, divisor: int) -> Affine:
    terms = tuple((atom, factor // divisor) for atom, factor in numerator.terms)
    return Affine(terms, numerator.constant // divisor)


def image(index: Sequence[Index], ranges: Ranges, sizes: Sequence[int]) -> Box:
    """The smallest box that holds every place a connection reads, clipped to the source; a
    value-dependent index may be anywhere."""
    box = []
    for entry, size in zip(index, sizes, strict=True):
        low, high = bounds(entry, ranges) if isinstance(entry, Affine) else (0, size - 1)
        box.append((max(low, 0), min(high, size - 1) + 1))
    return tuple(box)


def remainder(box: Box, others: Iterable[Box]) -> list[Box]:
    """Disjoint boxes that make up what of a box no other box covers."""
    rest = [box]
    for other in others:
        rest = [piece for old in rest for piece in _without(old, other)]
    return rest


def disjoint(box: Box, others: Iterable[Box]) -> bool:
    """True where a box meets none of the others."""
    return all(
        any(start >= other_stop or other_start >= stop for (start, stop), (other_start, other_stop)
            in zip(box, other, strict=True))
        for other in others
    )  # fmt: skip


def _without(box: Box, other: Box) -> list[Box]:
    if disjoint(box, (other,)):
        return [box]
    pieces: list[Box] = []
    for place, ((start, stop), (low, high)) in enumerate(zip(box, other, strict=True)):
        for part in ((start, max(start, low)), (min(stop, high), stop)):
            if part[0] < part[1]:
                pieces.append((*box[:place], part, *box[place + 1 :]))
        kept = (max(start, low), min(stop, high))
        box = (*box[:place], kept, *box[place + 1 :])
    return pieces


def relation(axes: Sequence[Axis], index: Sequence[Affine], where: Sequence[Guard] = ()) -> isl.Map:
    """The isl map from every point of `axes` where the guards hold to the index."""
    names = {entry.name: f"a{number}" for number, entry in enumerate(axes)}
    domain = ", ".join(names.values())
    place = ", ".join(_text(entry, names) for entry in index)
    conditions = [f"0 <= {names[entry.name]} < {entry.size}" for entry in axes]
    conditions += [_condition(guard, names) for guard in where]
    return _map(f"{{ [{domain}] -> [{place}] : {' and '.join(conditions) or 'true'} }}")


def one_to_one(axes: Sequence[Axis], index: Sequence[Affine], where: Sequence[Guard] = ()) -> bool:
    """True where no two points of `axes` have the same index."""
    return bool(relation(axes, index, where).is_injective())


@lru_cache(maxsize=4096)
def _map(text: str) -> isl.Map:
    return isl.Map(text)


@lru_cache(maxsize=4096)
def _extremes(
    index: Affine, used: tuple[tuple[str, int, int], ...], guards: tuple[Guard, ...]
) -> tuple[int, int]:
    names = {name: f"a{number}" for number, (name, _, _) in enumerate(used)}
    where = [f"{low} <= {names[name]} <= {high}" for name, low, high in used]
    where += [f"v = {_text(index, names)}", *(_condition(guard, names) for guard in guards)]
    values = isl.Set(f"{{ [v] : exists {', '.join(names.values())} : {' and '.join(where)} }}")
    if values.is_empty():
        return 0, 0
    place = values.find_dim_by_name(isl.dim_type.set, "v")
    return values.dim_min_val(place).to_python(), values.dim_max_val(place).to_python()


def _condition(guard: Guard, names: Mapping[str, str]) -> str:
    text = _text(guard.index, names)
    return f"({text}) mod {guard.modulus} = 0" if guard.modulus else f"{text} >= 0"


def _text(index: Affine, names: Mapping[str, str]) -> str:
    terms = [f"{factor}*{_atom(atom, names)}" for atom, factor in index.terms]
    return " + ".join([*terms, str(index.constant)])


def _atom(atom: str | Floor, names: Mapping[str, str]) -> str:
    if isinstance(atom, str):
        return names[atom]
    return f"floor(({_text(atom.numerator, names)})/{atom.divisor})"


def _once(index: Affine) -> bool:
    """True for one term, for which interval arithmetic is exact: floors keep the order."""
    return len(index.terms) <= 1 and all(
        isinstance(atom, str) or atom.numerator.is_linear or _once(atom.numerator)
        for atom, _ in index.terms
    )
