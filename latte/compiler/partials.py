"""The derivative of every primitive: one line each.

    PARTIALS["mul"](x, y, r, g)  ->  (y * g, x * g)      r = x * y, g the gradient of r

What chooses (select, min, max) or folds is no plain function and is found in differentiate.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from latte.compiler.algebra import choose
from latte.compiler.expression import Apply, Expression, Number
from latte.compiler.simplify import ONE, ZERO

# The gradient of each operand of a primitive, from the operands, the result r and its gradient g.
Partial = Callable[..., tuple[Expression, ...]]


def apply(name: str, *operands: Expression) -> Expression:
    """A primitive of operands."""
    return Apply(name, operands)  # type: ignore[arg-type]


def times(*factors: Expression) -> Expression:
    """The product of all factors."""
    result = factors[0]
    for factor in factors[1:]:
        result = Apply("mul", (result, factor))
    return result


def over(above: Expression, below: Expression) -> Expression:
    """above / below"""
    return Apply("div", (above, below))


def minus(a: Expression, b: Expression) -> Expression:
    """a - b"""
    return Apply("sub", (a, b))


def negative(a: Expression) -> Expression:
    """-a"""
    return Apply("neg", (a,))


def _power(x: Expression, y: Expression, r: Expression, g: Expression) -> tuple[Expression, ...]:
    """y x**(y - 1), and x**y log x where x is positive."""
    slope = times(y, Apply("pow", (x, minus(y, ONE))))
    logarithm = choose(Apply("gt", (x, ZERO)), times(r, apply("log", x)))
    return times(g, slope), times(g, logarithm)


PARTIALS: dict[str, Partial] = {
    "neg": lambda x, r, g: (negative(g),),
    "exp": lambda x, r, g: (times(g, r),),
    "log": lambda x, r, g: (over(g, x),),
    "sqrt": lambda x, r, g: (over(g, times(Number(2.0), r)),),
    "tanh": lambda x, r, g: (times(g, minus(ONE, times(r, r))),),
    "sigmoid": lambda x, r, g: (times(g, times(r, minus(ONE, r))),),
    "abs": lambda x, r, g: (
        choose(apply("gt", x, ZERO), g, choose(apply("lt", x, ZERO), negative(g))),
    ),
    "erf": lambda x, r, g: (
        times(g, Number(2 / math.sqrt(math.pi)), apply("exp", negative(times(x, x)))),
    ),
    "sin": lambda x, r, g: (times(g, apply("cos", x)),),
    "cos": lambda x, r, g: (negative(times(g, apply("sin", x))),),
    "add": lambda x, y, r, g: (g, g),
    "sub": lambda x, y, r, g: (g, negative(g)),
    "mul": lambda x, y, r, g: (times(y, g), times(x, g)),
    "div": lambda x, y, r, g: (over(g, y), negative(over(times(g, r), y))),
    "mod": lambda x, y, r, g: (g, negative(times(g, apply("floordiv", x, y)))),
    "pow": _power,
}
FLAT = frozenset(
    ("floor", "floordiv", "not", "and", "or", "lt", "le", "gt", "ge", "eq", "ne", "stop")
)
