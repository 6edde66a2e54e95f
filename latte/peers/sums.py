"""How the body of a sum is taken apart.

factors(2 * w * x)   ->   [2, w, x]          invariant(sum(i) x / count(i))   ->   x, count(i)
"""

from __future__ import annotations

from latte.compiler.affine import Affine
from latte.compiler.expression import Apply, Argument, Expression, Fold, Number, Position, Random
from latte.compiler.rewrite import walk


def factors(expression: Expression) -> list[Expression]:
    """What a product is made of."""
    match expression:
        case Apply("mul", (a, b)):
            return factors(a) + factors(b)
        case _:
            return [expression]


def is_bias(expression: Expression) -> bool:
    """Whether an expression is a bias: one value of a source, or a number."""
    return isinstance(expression, Argument | Number)


def invariant(fold: Fold) -> tuple[Expression, Expression | None]:
    """`sum(i) x[i] / count(i)`: the body without a divisor that is the same in every place."""
    names = {entry.name for entry in fold.axes}
    match fold.operator, fold.body:
        case "sum", Apply("div", (body, divisor)):
            arguments = [node for node in walk(divisor) if isinstance(node, Argument)]
            inside = any(
                isinstance(entry, Affine) and entry.axes() & names
                for node in arguments
                for entry in node.index
            )
            moving = any(isinstance(n, Position | Fold | Random) for n in walk(divisor))
            if not inside and not moving:
                return body, divisor
    return fold.body, None
