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

from latte.compiler.affine import Affine, axis, constant
from latte.compiler.algebra import axes_of
from latte.compiler.algebra import tidy as tidy_sum
from latte.compiler.equations import SOLVE, State, Way, classes, unfloored, way
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
from latte.compiler.poly import Box, always, never, tidy
from latte.compiler.regions import separate
from latte.compiler.simplify import ZERO, simplify
from latte.compiler.split import tidy_indices
from latte.compiler.tables import LENGTHS, Names

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
    start = State(
        axes, index, scatter.axes, equations, scatter.where, scatter.expression,
        scatter.conditions, fixed=fixed,
    )  # fmt: skip
    return _pieces(unfloored(start, names), names)


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


def _pieces(state: State, names: Names) -> list[Piece] | None:
    """Solves one equation after another; residue classes branch."""
    while state.equations and not state.empty:
        ways = [(way(each, state), each) for each in state.equations]
        chosen, equation = min(ways, key=lambda pair: pair[0])
        if chosen is Way.RESIDUE:
            branches = [_pieces(each, names) for each in classes(state, equation, names)]
            found = [branch for branch in branches if branch is not None]
            complete = len(found) == len(branches)
            return [piece for branch in found for piece in branch] if complete else None
        state = SOLVE[chosen](state.without(equation), *equation)
    return [_nothing(state)] if state.empty else _finished(state)


def _nothing(state: State) -> Piece:
    return Piece(state.axes, state.index, None)


def _finished(state: State) -> list[Piece] | None:
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
        total = separate(Fold("sum", unknown, expression, tuple(where)), LENGTHS, _steps(state))
        expression = tidy_sum(total)
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


def _steps(state: State) -> int:
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
