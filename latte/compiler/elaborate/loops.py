"""Loops over a window: recognised as folds, or written out.

    for i in x { if x[i] > best { best = x[i]; at = i } }
->  best = max(best, max(i) x[i])
    at   = if max(i) x[i] > best then argmax(i) x[i] else at

One turn is read with a mark for each local it changes. What the mark becomes tells the fold:
`mark + e` a sum, `mark * e` a product, `max(mark, e)` a maximum, if `e` reads no mark. Where one
does not fit, the loop is written out, place by place.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from latte.compiler.affine import Affine, axis, constant, row_major
from latte.compiler.elaborate.places import at_place
from latte.compiler.elaborate.scalar import condition, make, number
from latte.compiler.expression import Apply, Axis, Expression, Fold, Local, Number, Position
from latte.compiler.rewrite import walk
from latte.lang import ast

if TYPE_CHECKING:
    from latte.compiler.elaborate.statements import Code

WRITTEN_OUT = 1024  # places of a loop that is no fold
WRITTEN_OUT_CLIPPED = 128  # the same where each place may be absent

Axes = Mapping[str, tuple[Axis, ...]]
NEUTRAL = {"sum": 0.0, "prod": 1.0, "max": -math.inf, "min": math.inf, "any": 0.0, "all": 1.0}
JOINS = {"sum": "add", "prod": "mul", "max": "max", "min": "min", "any": "or", "all": "and"}


def fold_loop(
    code: Code, node: ast.Loop, names: Axes, carried: Sequence[str]
) -> dict[str, Expression] | None:
    """The locals after the loop as folds; None where one of them is no fold."""
    body = code.body
    before = {name: body.locals[name] for name in carried}
    marks = {name: Local(f"{name}@{len(code.around)}.{body.depth}") for name in carried}
    count = len(code.contributions)
    after = one_turn(code, node, names, marks)
    every = frozenset(mark.name for mark in marks.values())
    if any(_reads(c.expression, every) for c in code.contributions[count:]):
        return None
    axes = tuple(dict.fromkeys(a for group in names.values() for a in group))
    found: dict[str, tuple[str, Expression]] = {}
    for name in carried:
        step = _accumulation(after[name], marks[name], every)
        if step is not None:
            found[name] = step
    result: dict[str, Expression] = {}
    for name in carried:
        if name in found:
            operator, inner = found[name]
            fold = _fold(operator, axes, inner)
            start = before[name]
            empty = start == Number(NEUTRAL[operator])
            result[name] = fold if empty else make(JOINS[operator], start, fold)
        elif after[name] != marks[name]:
            winner = _winner(after[name], marks, name, found, axes, before)
            if winner is None:
                return None
            result[name] = winner
    return result


def one_turn(
    code: Code, node: ast.Loop, names: Axes, marks: Mapping[str, Expression]
) -> dict[str, Expression]:
    """The locals after one turn that starts with the marks."""
    body = code.body
    body.bound.update({name: tuple(axis(a.name) for a in axes) for name, axes in names.items()})
    body.locals.update(marks)
    axes = [a for group in names.values() for a in group]
    code.around += axes
    body.depth += 1
    try:
        code.run(node.body)
    finally:
        body.depth -= 1
        del code.around[len(code.around) - len(axes) :]
    return body.locals


def unroll(code: Code, node: ast.Loop, names: Axes) -> None:
    """Every place in row-major order; a place that may be absent is an `if`."""
    body = code.body
    axes = tuple(dict.fromkeys(a for group in names.values() for a in group))
    clipped = any(a.name in body.clipped for a in axes)
    places = math.prod(a.size for a in axes)
    limit = WRITTEN_OUT_CLIPPED if clipped else WRITTEN_OUT
    if places > limit or any(a.symbol for a in axes):
        message = f"this loop is no sum, product or maximum, and too long to write out ({places})"
        body.fail("E0704", message, node.span, "use a reduction: `sum(i) ...`, `argmax(i) ...`")
    for place in itertools.product(*(range(a.size) for a in axes)):
        index = dict(zip((a.name for a in axes), map(constant, place), strict=True))
        for name, group in names.items():
            body.bound[name] = tuple(index[a.name] for a in group)
        if clipped:
            _present(code, node, axes, tuple(index.values()))
        else:
            code.run(node.body)


def _present(code: Code, node: ast.Loop, axes: tuple[Axis, ...], place: tuple[Affine, ...]) -> None:
    """One turn under the condition that its place is there."""
    test = Fold("any", axes, condition(at_place(axes, place)))
    before = dict(code.body.locals)
    after = dict(code.side(node.body, test))
    code.body.locals = before
    for name in before.keys() & after.keys():
        if after[name] != before[name]:
            code.assign(name, make("select", test, after[name], before[name]))


def _accumulation(
    after: Expression, mark: Local, every: frozenset[str]
) -> tuple[str, Expression] | None:
    """The fold that a local becomes, and what it folds."""
    match after:
        case Apply("select", (test, then, otherwise)):
            return _guarded(test, then, otherwise, mark, every)
        case Apply("add", (a, b)):
            step = ("sum", b if a == mark else a if b == mark else None)
        case Apply("sub", (a, b)) if a == mark:
            step = ("sum", make("neg", b))
        case Apply("mul", (a, b)):
            step = ("prod", b if a == mark else a if b == mark else None)
        case Apply("max" | "min", (a, b)):
            step = (after.operator, b if a == mark else a if b == mark else None)
        case Apply("or" | "and", (a, b)):
            pair = (_bare(a), _bare(b))
            inner = b if pair[0] == mark else a if pair[1] == mark else None
            step = ("any" if after.operator == "or" else "all", inner)
        case _:
            return None
    operator, inner = step
    if inner is not None and not _reads(inner, every):
        return operator, inner
    return _chained(after, mark, every)


def _chained(
    after: Expression, mark: Local, every: frozenset[str]
) -> tuple[str, Expression] | None:
    """`(mark + a) + b`: two additions in one turn."""
    match after:
        case Apply("add" | "sub" | "mul" as operator, (left, right)) if not _reads(right, every):
            inner = _accumulation(left, mark, every)
            wanted = "prod" if operator == "mul" else "sum"
            if inner is not None and inner[0] == wanted:
                return wanted, make(operator, inner[1], right)
    return None


def _guarded(
    test: Expression, then: Expression, otherwise: Expression, mark: Local, every: frozenset[str]
) -> tuple[str, Expression] | None:
    """`if e > best { best = e }` is a maximum; `if c { s += e }` a sum of the places where c."""
    extreme = _extreme(test, mark)
    if otherwise == mark and extreme is not None and extreme[1] == then:
        return extreme if not _reads(then, every) else None
    if then == mark:
        test, then, otherwise = make("not", test), otherwise, then
    if otherwise != mark or _reads(test, every):
        return None
    step = _accumulation(then, mark, every)
    if step is None:
        return None
    operator, inner = step
    return operator, make("select", test, inner, Number(NEUTRAL[operator]))


def _extreme(test: Expression, mark: Expression) -> tuple[str, Expression] | None:
    """`e > mark` is met by a new maximum e; `e < mark` by a new minimum."""
    match test:
        case Apply("gt", (e, other)) | Apply("lt", (other, e)) if other == mark:
            return "max", e
        case Apply("lt", (e, other)) | Apply("gt", (other, e)) if other == mark:
            return "min", e
        case _:
            return None


def _winner(
    after: Expression,
    marks: Mapping[str, Local],
    name: str,
    found: Mapping[str, tuple[str, Expression]],
    axes: tuple[Axis, ...],
    before: Mapping[str, Expression],
) -> Expression | None:
    """Where the first extreme was found: `if e > best { best = e; at = i }`."""
    match after:
        case Apply("select", (test, Position(index), otherwise)) if otherwise == marks[name]:
            pass
        case _:
            return None
    for best, step in found.items():
        if _extreme(test, marks[best]) == step:
            operator, inner = step
            first = Fold("argmax" if operator == "max" else "argmin", axes, inner)
            place = _coordinate(index, axes, first)
            beaten = make(
                "gt" if operator == "max" else "lt", _fold(operator, axes, inner), before[best]
            )
            return None if place is None else make("select", beaten, place, before[name])
    return None


def _coordinate(index: Affine, axes: tuple[Axis, ...], flat: Expression) -> Expression | None:
    """An index at the row-major position `flat`: the position itself, or one axis of it."""
    here = [axis(a.name) for a in axes]
    if index == row_major(here, [a.size for a in axes]):
        return flat
    stride = 1
    for position, along in reversed(list(zip(here, axes, strict=True))):
        if index == position:
            shifted = make("floordiv", flat, number(stride)) if stride > 1 else flat
            return make("mod", shifted, number(along.size))
        stride *= along.size
    return None


def _fold(operator: str, axes: tuple[Axis, ...], inner: Expression) -> Expression:
    if not axes:
        return inner
    body = condition(inner) if operator in ("any", "all") else inner
    return Fold(operator, axes, body)  # type: ignore[arg-type]


def _bare(expression: Expression) -> Expression:
    """A mark that was made a condition, without its comparison."""
    match expression:
        case Apply("ne", (inner, Number(0.0))):
            return inner
        case _:
            return expression


def _reads(expression: Expression, marks: frozenset[str]) -> bool:
    return any(isinstance(node, Local) and node.name in marks for node in walk(expression))
