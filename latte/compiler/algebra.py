"""Algebra of real numbers, for derivatives: what `simplify` must not do to a user's own formulas.

    tidy(g / s * s - g)                          ->  0
    tidy(sum [i] g * x[i])                       ->  g * sum [i] x[i]
    tidy((if c then a else 0) + (if c then 0 else b))  ->  if c then a else b

Rounding may differ, and 0 * inf is taken to be 0: both are free in a derivative, which has no
written form to be true to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from latte.compiler.affine import Affine
from latte.compiler.expression import (
    Apply,
    Argument,
    Count,
    Expression,
    Fold,
    Load,
    Local,
    Number,
    Position,
    Random,
)
from latte.compiler.rewrite import rewrite, walk
from latte.compiler.simplify import ONE, ZERO, simplify

LONGEST_LET = 100  # nodes of a let that is computed again wherever it is read
ROUNDS = 20  # rules that undo each other must not run for ever


def tidy(expression: Expression) -> Expression:
    """The expression simplified until nothing changes."""
    for _ in range(ROUNDS):
        if (changed := simplify(rewrite(expression, _rule))) == expression:
            break
        expression = changed
    return expression


def length(expression: Expression, lengths: Mapping[str, int]) -> int:
    """How many nodes an expression has with its names written out; `lengths` are theirs."""
    return sum(
        lengths.get(node.name, 1) if isinstance(node, Local) else 1 for node in walk(expression)
    )


def axes_of(expression: Expression) -> frozenset[str]:
    """Names of axes that occur free in an expression; `count(i)` has none."""
    match expression:
        case Position(index) | Random(_, _, Affine() as index):
            return index.axes()
        case Argument(_, index) | Load(_, index):
            names: frozenset[str] = frozenset()
            for entry in index:
                names |= entry.axes() if isinstance(entry, Affine) else axes_of(entry)
            return names
        case Apply(_, operands):
            return frozenset().union(*map(axes_of, operands))
        case Fold(_, axes, body, where):
            inner = axes_of(body).union(*(guard.index.axes() for guard in where))
            return inner - {axis.name for axis in axes}
        case _:
            return frozenset()


def add(left: Expression, right: Expression) -> Expression:
    """The sum of two contributions."""
    return right if left == ZERO else left if right == ZERO else Apply("add", (left, right))


def choose(condition: Expression, yes: Expression, no: Expression = ZERO) -> Expression:
    """`if condition then yes else no`."""
    return yes if yes == no else Apply("select", (condition, yes, no))


def simple(gradient: Expression) -> bool:
    """Cheap enough to be repeated at every place of a window: one operation on leaves."""
    match gradient:
        case Apply("neg", (x,)):
            return simple(x)
        case Apply("mul" | "div", operands):
            return all(isinstance(x, (Local, Number, Count)) for x in operands)
        case _:
            return isinstance(gradient, (Local, Number, Argument))


def _rule(expression: Expression) -> Expression | None:
    match expression:
        case Apply("mul", (a, b)):
            return _multiplied(a, b)
        case Apply("div", (a, b)):
            return _divided(a, b)
        case Apply("neg", (Number(0.0),)):
            return ZERO
        case Apply("add", (a, b)):
            return _added(a, b)
        case Apply("sub", (a, b)):
            return _subtracted(a, b)
        case Fold("sum", _, body, _):
            return _outside(expression, body)
        case _:
            return None


def _multiplied(left: Expression, right: Expression) -> Expression | None:
    """Signs and zeros go outside, what cancels goes away, numbers go to the front."""
    match left, right:
        case (Number(0.0), _) | (_, Number(0.0)):
            return ZERO
        case (Apply("neg", (a,)), b) | (a, Apply("neg", (b,))):
            return Apply("neg", (Apply("mul", (a, b)),))
        case (Apply("div", (a, b)), c) if b == c:
            return a
        case (c, Apply("div", (a, b))) if b == c:
            return a
        case (Number(a), Apply("mul", (Number(b), c))):
            return Apply("mul", (Number(a * b), c))
        case (a, Number() as b) if not isinstance(a, Number):
            return Apply("mul", (b, a))
        case (a, Apply("mul", (Number() as b, c))):
            return Apply("mul", (b, Apply("mul", (a, c))))
        case (a, Apply("div", (Number(1.0), b))):
            return Apply("div", (a, b))
        case _:
            return None


def _divided(left: Expression, right: Expression) -> Expression | None:
    match left:
        case Number(0.0):
            return ZERO
        case Apply("neg", (a,)):
            return Apply("neg", (Apply("div", (a, right)),))
        case _:
            return None


def _added(left: Expression, right: Expression) -> Expression | None:
    """A difference for a negative term, one choice for two of the same condition."""
    match left, right:
        case (a, Apply("neg", (b,))) | (Apply("neg", (b,)), a):
            return Apply("sub", (a, b))
        case (Apply("select", (c, a, Number(0.0))), Apply("select", (d, z, b))) if (
            c == d and z == ZERO
        ):
            return Apply("select", (c, a, b))
        case _:
            return None


def _subtracted(left: Expression, right: Expression) -> Expression | None:
    match right:
        case Apply("neg", (b,)):
            return Apply("add", (left, b))
        case _:
            return ZERO if left == right else None


def _outside(fold: Fold, body: Expression) -> Expression | None:
    """A sum with what does not depend on its axes taken out: factors, and conditions. Not where a
    guard on other axes may be what keeps a factor's loads inside their buffers."""
    names = {axis.name for axis in fold.axes}
    if body == ZERO:
        return ZERO
    if any(not guard.index.axes() & names for guard in fold.where):
        return None
    match body:
        case Apply("neg", (a,)):
            return Apply("neg", (replace(fold, body=a),))
        case Apply("select", (c, a, Number(0.0))) if not axes_of(c) & names:
            return Apply("select", (c, replace(fold, body=a), ZERO))
        case Apply("mul" | "div"):
            fixed, moving = _factors(body, names)
            return None if fixed == ONE or moving == ONE else _product(
                fixed, replace(fold, body=moving)
            )  # fmt: skip
        case _:
            return None


def _factors(expression: Expression, names: set[str]) -> tuple[Expression, Expression]:
    """The expression as a product: of what is the same for all positions of some axes, and of
    what is not."""
    if not axes_of(expression) & names:
        return expression, ONE
    match expression:
        case Apply("mul", (a, b)):
            (fixed, moving), (more, other) = _factors(a, names), _factors(b, names)
            return _product(fixed, more), _product(moving, other)
        case Apply("div", (a, b)):
            (fixed, moving), (more, other) = _factors(a, names), _factors(b, names)
            return _quotient(fixed, more), _quotient(moving, other)
        case _:
            return ONE, expression


def _product(a: Expression, b: Expression) -> Expression:
    return b if a == ONE else a if b == ONE else Apply("mul", (a, b))


def _quotient(a: Expression, b: Expression) -> Expression:
    return a if b == ONE else Apply("div", (a, b))
