"""Splits axes that stand on floor divisions, so that indices become affine: Kernel -> Kernel.

    [y: 8]        up[y] = source[y // 2]
->  [y: 4, y_2: 2] up[2*y + y_2] = source[y]

    sum [i: 200] w[i] * image[i // 100, i // 10 % 10, i % 10]
->  sum [i: 2, i_2: 10, i_3: 10] w[100*i + 10*i_2 + i_3] * image[i, i_2, i_3]

An axis is split where it stands alone on all its floors, their divisors divide one another, and
the largest divides the axis. The order of points stays the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise

from latte.compiler.affine import Affine, Floor, axis, constant
from latte.compiler.expression import (
    Argument,
    Axis,
    Expression,
    Fold,
    Load,
    Position,
    Random,
)
from latte.compiler.ir import Kernel, expressions
from latte.compiler.poly import always, ranges_of, tidy
from latte.compiler.rewrite import rewrite, substitute_axes, substitute_guards, walk
from latte.compiler.tables import Names

Ranges = Mapping[str, tuple[int, int]]


def split_axes(kernel: Kernel) -> Kernel:
    """The kernel with its axes, and those of its folds, split where that removes floors."""
    if not any(True for index in _indices(kernel) for _ in floors(index)):
        return kernel
    names = Names(set(_all_axes(kernel)))
    for entry in kernel.axes:
        divisors = _divisors(entry, list(_indices(kernel)))
        if divisors:
            kernel = _split_kernel(kernel, entry, divisors, names)
    around = ranges_of(kernel.axes)

    def split(expression: Expression) -> Expression:
        return tidy_indices(_split_folds(expression, names), around)

    return replace(
        kernel,
        lets=tuple(replace(let, expression=split(let.expression)) for let in kernel.lets),
        writes=tuple(
            replace(
                w,
                expression=split(w.expression),
                index=tuple(
                    tidy(e, around) if isinstance(e, Affine) else split(e) for e in w.index
                ),
            )
            for w in kernel.writes
        ),
    )


def floors(index: Affine) -> Iterator[Floor]:
    """All floor divisions of an index, inner ones too."""
    for atom, _ in index.terms:
        if isinstance(atom, Floor):
            yield atom
            yield from floors(atom.numerator)


def chain(name: str, indices: list[Affine]) -> tuple[int, tuple[int, ...]] | None:
    """The offset and the divisors of all `(name + offset) // divisor`, if the offset is one and
    each divisor divides the next; None where the axis stands on no floor or on others too."""
    found = {floor for index in indices for floor in floors(index)
             if name in floor.numerator.axes()}  # fmt: skip
    offsets = {floor.numerator - axis(name) for floor in found}
    divisors = sorted({floor.divisor for floor in found})
    if len(offsets) != 1 or any(b % a for a, b in pairwise(divisors)):
        return None
    offset = offsets.pop()
    return (offset.constant, tuple(divisors)) if offset.is_constant else None


def tidy_indices(expression: Expression, around: Ranges) -> Expression:
    """The expression with every index as simple as the ranges of its axes allow."""
    ranges = dict(around)
    for node in walk(expression):
        if isinstance(node, Fold):
            ranges |= ranges_of(node.axes)

    def place(index: Affine) -> Affine:
        return tidy(index, ranges) if index.axes() <= ranges.keys() else index

    def rule(node: Expression) -> Expression | None:
        match node:
            case Load(_, index) if any(isinstance(e, Affine) and not e.is_linear for e in index):
                entries = tuple(place(e) if isinstance(e, Affine) else e for e in index)
                return replace(node, index=entries)
            case Position(index) if not index.is_linear:
                return Position(place(index))
            case Random(_, _, Affine() as index) if not index.is_linear:
                return replace(node, index=place(index))
            case Fold(where=where) if any(not guard.index.is_linear for guard in where):
                tidied = dict.fromkeys(replace(g, index=place(g.index)) for g in where)
                return replace(node, where=tuple(g for g in tidied if not always(g, ranges)))
            case _:
                return None

    return rewrite(expression, rule)


def digits_of(entry: Axis, divisors: tuple[int, ...], names: Names) -> tuple[list[Axis], Affine]:
    """Axes for the digits of an axis, and the axis in terms of them."""
    digits, value = [], constant(0)
    for below, above in zip((1, *divisors), (*divisors, entry.size), strict=True):
        digit = replace(entry, size=above // below)
        if above == entry.size:
            digits.append(digit)
            value += axis(digit.name) * below
        else:
            digit = names.fresh(digit)
            digits.append(digit)
            value += axis(digit.name) * below
    return digits[::-1], value


def _divisors(entry: Axis, indices: list[Affine]) -> tuple[int, ...]:
    found = chain(entry.name, indices)
    if entry.symbol is not None or found is None or found[0] != 0:
        return ()
    divisors = tuple(d for d in found[1] if d < entry.size)
    return divisors if divisors and entry.size % divisors[-1] == 0 else ()


def _split_kernel(
    kernel: Kernel, entry: Axis, divisors: tuple[int, ...], names: Names
) -> Kernel:  # fmt: skip
    digits, value = digits_of(entry, divisors, names)
    values = {entry.name: value}
    return replace(
        kernel,
        axes=tuple(d for a in kernel.axes for d in (digits if a == entry else (a,))),
        lets=tuple(
            replace(let, expression=substitute_axes(let.expression, values)) for let in kernel.lets
        ),
        writes=tuple(
            replace(
                w,
                expression=substitute_axes(w.expression, values),
                index=tuple(
                    e.substitute(values) if isinstance(e, Affine) else substitute_axes(e, values)
                    for e in w.index
                ),
            )
            for w in kernel.writes
        ),
        where=substitute_guards(kernel.where, values),
    )


def _split_folds(expression: Expression, names: Names) -> Expression:
    def rule(node: Expression) -> Expression | None:
        return _split_fold(node, names) if isinstance(node, Fold) else None

    return rewrite(expression, rule)


def _split_fold(fold: Fold, names: Names) -> Fold:
    for entry in fold.axes:
        indices = list(_expression_indices(fold.body)) + [g.index for g in fold.where]
        divisors = _divisors(entry, indices)
        if divisors:
            digits, value = digits_of(entry, divisors, names)
            values = {entry.name: value}
            fold = replace(
                fold,
                axes=tuple(d for a in fold.axes for d in (digits if a == entry else (a,))),
                body=substitute_axes(fold.body, values),
                where=substitute_guards(fold.where, values),
            )
    return fold


def _all_axes(kernel: Kernel) -> Iterator[str]:
    yield from (entry.name for entry in kernel.axes)
    for index in _indices(kernel):
        yield from index.axes()
    for expression in expressions(kernel):
        for node in walk(expression):
            if isinstance(node, Fold):
                yield from (entry.name for entry in node.axes)


def _indices(kernel: Kernel) -> Iterator[Affine]:
    yield from (guard.index for guard in kernel.where)
    for write in kernel.writes:
        yield from (entry for entry in write.index if isinstance(entry, Affine))
    for expression in expressions(kernel):
        yield from _expression_indices(expression)


def _expression_indices(expression: Expression) -> Iterator[Affine]:
    for node in walk(expression):
        match node:
            case Load(_, index) | Argument(_, index):
                yield from (entry for entry in index if isinstance(entry, Affine))
            case Position(index) | Random(_, _, Affine() as index):
                yield index
            case Fold(where=where):
                yield from (guard.index for guard in where)
            case _:
                pass
