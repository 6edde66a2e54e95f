"""Turns a scatter into gathers by inverting its relation: one Kernel -> Pieces of the target.

    [n, f, y, x, c, ky, kx]  image.grad[n, c, y + ky - 1, x + kx - 1] += w[f, c, ky, kx] * ...
->  [n, c, y, x]  image.grad[n, c, y, x] = sum [f, ky, kx] where y - ky + 1 >= 0, ... w[...] * ...

A scatter runs over all pairs of a neuron and a place of its window. For a given element of the
target each dimension is an equation for the scatter's axes. An axis with factor 1 is solved for;
its range becomes a guard. `r*y + ky` with r values of ky is a division with remainder. With a
stride s, elements go by residue class: `s*y + d*ky` meets a class in every (s / gcd(s, d))-th tap,
and a class without taps is 0. A floor splits the axis it stands on. What remains is guarded. Axes
that were not solved for are summed over.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from latte.compiler.affine import Affine, Floor, axis, constant
from latte.compiler.algebra import axes_of
from latte.compiler.expression import (
    Apply,
    Axis,
    Expression,
    Fold,
    Guard,
    Index,
    Load,
    Number,
    Position,
)
from latte.compiler.poly import Box, always, never, ranges_of, tidy
from latte.compiler.regions import separate
from latte.compiler.rewrite import substitute_axes, substitute_guards
from latte.compiler.simplify import ZERO, simplify
from latte.compiler.split import chain, tidy_indices
from latte.compiler.tables import LENGTHS, Names

LARGEST_STRIDE = 16  # residue classes that get kernels of their own
PAIRS = 4  # pairs for each element up to which a value-dependent place is compared, not scattered


@dataclass(frozen=True, slots=True)
class Scatter:
    """For all points of `axes` where guards and conditions hold: `target[index] += expression`."""

    axes: tuple[Axis, ...]
    index: tuple[Index, ...]
    expression: Expression
    where: tuple[Guard, ...] = ()
    conditions: tuple[Expression, ...] = ()


@dataclass(frozen=True, slots=True)
class Piece:
    """For all points of `axes`: what an element of the target gets (None: nothing, so 0)."""

    axes: tuple[Axis, ...]
    index: tuple[Affine, ...]
    expression: Expression | None


@dataclass(frozen=True, slots=True)
class _State:
    """A scatter half inverted: `equations` say which place (left) each index (right) must be."""

    axes: tuple[Axis, ...]
    index: tuple[Affine, ...]
    unknown: tuple[Axis, ...]
    equations: tuple[tuple[Affine, Index], ...]
    where: tuple[Guard, ...]
    expression: Expression
    conditions: tuple[Expression, ...] = ()
    compared: bool = False  # a condition compares a value with a place
    fixed: tuple[tuple[str, int], ...] = ()  # axes around the kernel, and their sizes

    @property
    def ranges(self) -> dict[str, tuple[int, int]]:
        around = {name: (0, size - 1) for name, size in self.fixed}
        return around | ranges_of(self.axes) | ranges_of(self.unknown)

    def substituted(self, values: Mapping[str, Affine]) -> _State:
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

    def solved(self, name: str, value: Affine, *guards: Guard) -> _State:
        """The state with an unknown replaced by what it must be, inside its range."""
        size = next(a.size for a in self.unknown if a.name == name)
        inside = (Guard(value), Guard(constant(size - 1) - value), *guards)
        state = self.substituted({name: value})
        unknown = tuple(a for a in state.unknown if a.name != name)
        return replace(state, unknown=unknown, where=state.where + inside)

    def without(self, equation: tuple[Affine, Index]) -> _State:
        """The state with one equation fewer."""
        return replace(self, equations=tuple(e for e in self.equations if e != equation))


def gather(
    scatter: Scatter,
    target: Sequence[Axis],
    names: Names,
    box: Box | None = None,
    places: Sequence[Affine] | None = None,
    around: Mapping[int, Axis] | None = None,
) -> list[Piece] | None:
    """The pieces that together are the scatter, over the target's elements inside `box`. `target`
    and the scatter have different axis names, all of them in `names`.

    `places` gives, over the names of `target`, what the scatter's index means for an element (for
    views: the inverse); without it the index is the element's own. `around` are dimensions of the
    target fixed by a loop around the kernels. None: too many pairs to compare values.
    """
    around = around or {}
    box = box or tuple((0, entry.size) for entry in target)
    axes, index = element(target, box, around)
    here = {a.name: place for a, place in zip(target, index, strict=True)}
    left = index if places is None else tuple(place.substitute(here) for place in places)
    fixed = tuple((entry.name, entry.size) for entry in around.values())
    equations = tuple(zip(left, scatter.index, strict=True))
    start = _State(
        axes, index, scatter.axes, equations, scatter.where, scatter.expression,
        scatter.conditions, fixed=fixed,
    )  # fmt: skip
    return _pieces(_unfloored(start, names), names)


def element(
    target: Sequence[Axis], box: Box, around: Mapping[int, Axis]
) -> tuple[tuple[Axis, ...], tuple[Affine, ...]]:
    """The axes of a kernel over a box, and the element at each of their points. `around` are
    dimensions fixed by a loop around the kernel."""
    axes: list[Axis] = []
    index: list[Affine] = []
    for number, (entry, (start, stop)) in enumerate(zip(target, box, strict=True)):
        if number in around:
            index.append(axis(around[number].name))
        elif stop - start == 1 and entry.symbol is None:
            index.append(constant(start))
        else:
            along = replace(entry, size=stop - start)
            axes.append(along)
            index.append(axis(along.name) + start)
    return tuple(axes), tuple(index)


def _pieces(state: _State, names: Names) -> list[Piece] | None:
    """Solves one equation after another; residue classes branch."""
    while state.equations:
        rank, equation = min(
            ((_rank(each, state), each) for each in state.equations), key=lambda pair: pair[0]
        )
        if rank == _RESIDUE:
            found: list[Piece] = []
            for branch in _classes(state, equation, names):
                pieces = [branch] if isinstance(branch, Piece) else _pieces(branch, names)
                if pieces is None:
                    return None
                found += pieces
            return found
        state = _SOLVE[rank](state.without(equation), *equation)
    return _finished(state)


_FIXED, _SINGLE, _DIVIDE, _UNIT, _RESIDUE, _MODULUS, _VALUE, _GUARD = range(8)


def _rank(equation: tuple[Affine, Index], state: _State) -> int:
    """How an equation is solved; the surest ways come first."""
    left, right = equation
    if not isinstance(right, Affine):
        return _VALUE
    sizes = {a.name: a.size for a in state.unknown}
    terms = _terms(right, sizes)
    if not right.axes() & sizes.keys():
        return _FIXED
    if any(isinstance(atom, Floor) and atom.numerator.axes() & sizes.keys()
           for atom, _ in right.terms):  # fmt: skip
        return _GUARD
    if len(terms) == 1 and abs(next(iter(terms.values()))) == 1:
        return _SINGLE
    pair = _remainder(terms, sizes)
    if pair is not None and _divides(state, left, right, terms, sizes[pair[1]]):
        return _DIVIDE
    largest = max(terms, key=lambda name: sizes[name])
    if abs(terms[largest]) == 1:
        return _UNIT
    if len(terms) <= 2 and _plain(left, right, terms, state) is not None and (
        1 < terms[largest] <= LARGEST_STRIDE
    ):  # fmt: skip
        return _RESIDUE
    return _UNIT if 1 in map(abs, terms.values()) else _MODULUS


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
    state: _State, left: Affine, right: Affine, terms: Mapping[str, int], size: int
) -> bool:
    """Whether `place // size` can become an axis; if not, residue classes are better."""
    plain = _plain(left, right, terms, state)
    if plain is None or size > LARGEST_STRIDE:
        return True
    along = next(a for a in state.axes if a.name == plain[0])
    return plain[1] % size == 0 and along.size % size == 0


def _fixed(state: _State, left: Affine, right: Index) -> _State:
    assert isinstance(right, Affine)
    difference = left - right
    if difference == constant(0):
        return state
    return replace(state, where=(*state.where, Guard(difference), Guard(-difference)))


def _unit(state: _State, left: Affine, right: Index) -> _State:
    """Solves for the largest axis with factor 1 or -1."""
    assert isinstance(right, Affine)
    sizes = {a.name: a.size for a in state.unknown}
    units = {name: k for name, k in _terms(right, sizes).items() if abs(k) == 1}
    name = max(units, key=lambda each: sizes[each])
    return state.solved(name, (left - (right - axis(name) * units[name])) * units[name])


def _divide(state: _State, left: Affine, right: Index) -> _State:
    """`r*whole + part == place` with 0 <= part < r."""
    assert isinstance(right, Affine)
    sizes = {a.name: a.size for a in state.unknown}
    terms = _terms(right, sizes)
    found = _remainder(terms, sizes)
    assert found is not None
    whole, part = found
    place = left - _rest(right, terms)
    return state.solved(whole, place // sizes[part]).solved(part, place % sizes[part])


def _modulus(state: _State, left: Affine, right: Index) -> _State:
    """Solves for the largest axis, where its factor divides."""
    assert isinstance(right, Affine)
    sizes = {a.name: a.size for a in state.unknown}
    terms = _terms(right, sizes)
    name = max(terms, key=lambda each: sizes[each])
    factor = terms[name]
    product = left - (right - axis(name) * factor)
    product = product if factor > 0 else -product
    return state.solved(name, product // abs(factor), Guard(product, abs(factor)))


def _value(state: _State, left: Affine, right: Index) -> _State:
    assert not isinstance(right, Affine)
    test = Apply("eq", (Position(left), right))
    return replace(state, conditions=(*state.conditions, test), compared=True)


_SOLVE = {
    _FIXED: _fixed, _SINGLE: _unit, _DIVIDE: _divide, _UNIT: _unit, _MODULUS: _modulus,
    _VALUE: _value, _GUARD: _fixed,
}  # fmt: skip


def _plain(
    left: Affine, right: Affine, terms: Mapping[str, int], state: _State
) -> tuple[str, int] | None:
    """Axis and offset where the place is `axis + offset`, an axis of the kernel."""
    place = left - _rest(right, terms)
    names = {a.name for a in state.axes if a.symbol is None}
    match place.terms:
        case ((str() as name, 1),) if name in names:
            return name, place.constant
        case _:
            return None


def _classes(
    state: _State, equation: tuple[Affine, Index], names: Names
) -> list[_State | Piece]:  # fmt: skip
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
    branches: list[_State | Piece] = []
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


def _of_class(state: _State, along: Axis, residue: int, stride: int) -> _State:
    """The state for elements `stride*j + residue` of an axis."""
    count = -(-(along.size - residue) // stride)
    axes = tuple(replace(a, size=count) if a == along else a for a in state.axes)
    return replace(state.substituted({along.name: axis(along.name) * stride + residue}), axes=axes)


def _tap(
    state: _State, pair: tuple[str, str], factors: tuple[int, int], size: int, at: Affine,
    over: int, names: Names,
) -> _State | Piece:  # fmt: skip
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


def _nothing(state: _State) -> Piece:
    return Piece(state.axes, state.index, None)


def _unfloored(state: _State, names: Names) -> _State:
    """Splits unknowns that stand alone on a floor: y = 2*q + j makes y // 2 into q."""
    for entry in state.unknown:
        found = chain(entry.name, [b for _, b in state.equations if isinstance(b, Affine)])
        if found is None or entry.symbol is not None:
            continue
        offset, divisors = found
        state = _split(state, entry, offset, divisors, names)
    return state


def _split(
    state: _State, entry: Axis, offset: int, divisors: tuple[int, ...], names: Names
) -> _State:
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


def _finished(state: _State) -> list[Piece] | None:
    """The unknowns that are left are summed over. Guards stay with the sum, which may get a
    kernel of its own; a condition that does not depend on them is asked once, outside."""
    if state.compared and math.prod(a.size for a in state.unknown) > PAIRS:
        return None
    unknown = tuple(a for a in state.unknown if a.size > 1 or a.symbol)
    state = state.substituted({a.name: constant(0) for a in state.unknown if a not in unknown})
    ranges = state.ranges
    conditions = [test for test in state.conditions if not _holds_always(test, ranges)]
    tidied = [replace(guard, index=tidy(guard.index, ranges)) for guard in state.where]
    where = [guard for guard in dict.fromkeys(tidied) if not always(guard, ranges)]
    if any(never(guard, ranges) for guard in where):
        return [_nothing(state)]
    expression = simplify(tidy_indices(state.expression, ranges))
    names = {a.name for a in unknown}
    inner = [test for test in conditions if axes_of(test) & names]
    expression = only_if(inner, expression)
    if unknown:
        total = Fold("sum", unknown, expression, tuple(where))
        expression = separate(total, LENGTHS, _steps(state))
    else:
        where = [guard for guard in where if not _implied(guard, conditions, _steps(state))]
        expression = only_if([holds(where)] if where else [], expression)
    expression = only_if([test for test in conditions if test not in inner], expression)
    return [Piece(state.axes, state.index, simplify(expression))]


def only_if(tests: Sequence[Expression], expression: Expression) -> Expression:
    """The expression where all tests hold, else 0."""
    for test in tests:
        expression = Apply("select", (test, expression, ZERO))
    return expression


def _holds_always(test: Expression, ranges: Mapping[str, tuple[int, int]]) -> bool:
    match test:
        case Apply("ge", (Position(index), Number(0.0))):
            return always(Guard(index), ranges)
        case _:
            return False


def _steps(state: _State) -> int:
    """The compiled number of steps."""
    sizes = [a.size for a in (*state.axes, *state.unknown) if a.symbol == "t"]
    return max([*sizes, *(size for _, size in state.fixed)], default=1)


def _implied(guard: Guard, conditions: Sequence[Expression], steps: int) -> bool:
    """A step before an item's end is a step of the longest item: `t + 1 < lengths[n]`."""
    for test in conditions:
        match test:
            case Apply("lt", (Position(step), Load(buffer, _))) if buffer == LENGTHS:
                late = guard.index + step
                if late.is_constant and late.constant >= steps - 1 and not guard.modulus:
                    return True
    return False


def holds(guards: Sequence[Guard]) -> Expression:
    """The guards as one truth value."""
    tests: list[Expression] = []
    for guard in guards:
        place: Expression = Position(guard.index)
        if guard.modulus:
            place = Position(guard.index % guard.modulus)
        tests.append(Apply("eq" if guard.modulus else "ge", (place, ZERO)))
    result = tests[0]
    for test in tests[1:]:
        result = Apply("and", (result, test))
    return result
