"""The value of an expression at a place of a loop nest, as vector code.

In: an expression, a scope.  Out: a term (f32, i32 or truth value; one lane where it is the same
in all), or a Python number.

    select(x > 0, x, 0)  ->  v3 = gt v2, 0.0;  v4 = select v3, v2, 0.0

Both sides of a select are computed; what one may not read is masked, what would trap is replaced.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

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
    Scalar,
    Training,
)
from latte.compiler.lower_arithmetic import added, alike, apply, truth
from latte.compiler.lower_fold import fold
from latte.compiler.lower_interior import conditions
from latte.compiler.lower_memory import load, load_where
from latte.compiler.lower_random import draw
from latte.compiler.lower_scope import Scope, Value
from latte.compiler.lower_stage import harmless
from latte.compiler.values import Term
from latte.compiler.vector import FIRST_SCALAR


def value(scope: Scope, expression: Expression) -> Value:
    """The expression's value; what was computed before in this scope is not computed again."""
    found = scope.known.get(id(expression))
    if found is None:
        found = _value(scope, expression)
        if not isinstance(expression, Number | Local):
            scope.known[id(expression)] = found
    return found


def _value(scope: Scope, expression: Expression) -> Value:
    match expression:
        case Number(number):
            return float(number)
        case Position(index):
            return scope.lanes_of(scope.resolve(index))
        case Local(name):
            if name not in scope.locals:
                scope.locals[name] = value(scope, scope.lets[name])
            return scope.locals[name]
        case Load():
            return load(scope, expression, value)
        case Scalar(name):
            return scope.b.scalar(FIRST_SCALAR + scope.program.scalars.index(name))
        case Random(kind, stream, place) if place is not None:
            return draw(scope, kind, stream, scope.resolve(place))
        case Apply("select", (condition, yes, no)):
            return _select(scope, value(scope, condition), yes, no)
        case Apply() if (places := conditions(expression)) is not None:
            return scope.holds(places)
        case Apply("add" | "sub" as operator, (a, b)):
            return added(scope, operator, a, b, lambda part: value(scope, part))
        case Apply(operator, operands):
            return apply(scope, operator, [value(scope, operand) for operand in operands])
        case Fold():
            return fold(scope, expression, value)
        case Argument() | Count() | Training() | Random():
            raise AssertionError(f"not a Program's expression: {expression}")
        case _:
            assert_never(expression)


def _select(scope: Scope, condition: Value, yes: Expression, no: Expression) -> Value:
    if not isinstance(condition, Term):
        return value(scope, yes if condition else no)
    condition = truth(scope, condition)
    if no == Number(0.0) and isinstance(yes, Load) and id(yes) not in scope.known:
        found = load_where(scope, yes, condition, value)
        if found is not None:
            return found
    chosen = _side(scope, yes, lambda: condition)
    other = _side(scope, no, lambda: scope.b.binary("xor", condition, 1))
    chosen, other = alike(scope, chosen, other)
    return scope.b.select(condition, chosen, other)


def _side(scope: Scope, expression: Expression, condition: Callable[[], Term]) -> Value:
    """One side of a select. What may be computed anywhere is there for other selects too: they
    choose among results that have their sums in common."""
    if harmless(scope, expression):
        return value(scope, expression)
    with scope.inner(mask=scope.both(scope.mask, condition())):
        return value(scope, expression)
