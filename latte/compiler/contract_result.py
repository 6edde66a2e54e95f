"""What is made of a contraction's sum, in registers: bias, scale, activation.

In: `Contraction.result`, an expression of `SUM`.  Out: vector code over one tile's accumulator.

    bias[f] + sum        ->  the accumulator starts from bias[f] (`additive`)
    tanh(bias[f] + sum)  ->  computed from the accumulator before the last store (`evaluate`)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from latte.compiler.builder import Builder
from latte.compiler.contract_view import SUM
from latte.compiler.expression import Apply, Expression, Load, Number, Scalar
from latte.compiler.rewrite import walk
from latte.compiler.values import Term
from latte.compiler.vector import Operator

COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne")
UNARY = ("exp", "log", "sqrt", "tanh", "sigmoid", "abs")
BINARY: dict[str, Callable[[Builder, Term, Term], Term]] = {
    "add": lambda b, x, y: x + y,
    "sub": lambda b, x, y: x - y,
    "mul": lambda b, x, y: x * y,
    "div": lambda b, x, y: x / y,
    "min": lambda b, x, y: b.minimum(x, y),
    "max": lambda b, x, y: b.maximum(x, y),
}


def emits(result: Expression) -> bool:
    """Whether every operation in a contraction's result has vector code here."""
    match result:
        case Number() | Scalar() | Load():
            return True
        case Apply("select", (Apply(test, (a, b)), yes, no)) if test in COMPARISONS:
            return all(map(emits, (a, b, yes, no)))
        case Apply("neg", (a,)):
            return emits(a)
        case Apply(operator, operands):
            return (operator in BINARY or operator in UNARY) and all(map(emits, operands))
        case _:
            return result == SUM


def additive(result: Expression) -> tuple[Expression, ...] | None:
    """The other terms, if the result is the sum plus other terms; else None."""
    if result == SUM:
        return ()
    match result:
        case Apply("add", (a, b)):
            for inner, other in ((a, b), (b, a)):
                found = additive(inner)
                if found is not None and SUM not in walk(other):
                    return (*found, other)
    return None


def evaluate(
    b: Builder, width: int, expression: Expression, leaf: Callable[[Expression], Term]
) -> Term:
    """The vector of an expression that `emits` accepts; `leaf` gives loads, scalars, the sum."""

    def inner(part: Expression) -> Term:
        return evaluate(b, width, part, leaf)

    match expression:
        case Number(value):
            return b.splat(value, width)
        case Apply("select", (Apply(test, (left, right)), yes, no)):
            condition = b.compare(cast(Operator, test), inner(left), inner(right))
            return b.select(condition, inner(yes), inner(no))
        case Apply("neg", (a,)):
            return -inner(a)
        case Apply(operator, (a,)):
            return b.call(cast(Operator, operator), inner(a))
        case Apply(operator, (a, c)):
            return BINARY[operator](b, inner(a), inner(c))
        case _:
            return leaf(expression)
