"""The primitives on terms: which kind of number each takes and gives.

In: an operator and terms or Python numbers.  Out: a term.

    apply(scope, "add", [i32, i32])  ->  i32, exact        apply(scope, "div", [i32, i32])  ->  f32

Integers and truth values are real numbers in all that is not exact on them. What would trap or be
undefined (division of integers by 0) gives some number instead.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

from latte.compiler.builder import Builder
from latte.compiler.expression import Apply, Expression
from latte.compiler.lower_scope import Value
from latte.compiler.values import Term
from latte.compiler.vector import BOOL, F32, I32, Operator, Type, vector_type

LARGEST_POWER = 16  # integer exponents up to this are products


class Place(Protocol):
    """Where code goes: a scope, or a register tile."""

    @property
    def b(self) -> Builder: ...


def apply(scope: Place, operator: str, operands: list[Value]) -> Value:
    """The value of a primitive of one or two operands; "select" is not among them."""
    if operator in UNARY:
        return UNARY[operator](scope, operands[0])
    a, b = operands
    if operator in ("and", "or"):
        word: Operator = "and" if operator == "and" else "or"
        return scope.b.binary(word, truth(scope, a), truth(scope, b))
    if operator == "pow":
        return _power(scope, real(scope, a), b)
    if operator == "div" or {kind(a), kind(b)} - {"i32", "i1"}:
        return BINARY[operator](scope, real(scope, a), real(scope, b))
    return BINARY[operator](scope, whole(scope, a), whole(scope, b))


def added(
    scope: Place, operator: str, a: Expression, b: Expression,
    value: Callable[[Expression], Value],
) -> Value:  # fmt: skip
    """`a + b` or `a - b`, rounded once where one of them is written as a product: a function of
    the expression alone, so that it has the same bits in whatever kernel it is computed."""
    for product, other in ((a, b), (b, a)):
        match product:
            case Apply("mul", (x, y)):
                first, second, third = (value(part) for part in (x, y, other))
                if "f32" not in (kind(first), kind(second)):
                    break
                first, second, third = (real(scope, part) for part in (first, second, third))
                if operator == "sub" and product is b:
                    first = -first
                elif operator == "sub":
                    third = -third
                return scope.b.fma(first, second, third)
            case _:
                pass
    return apply(scope, operator, [value(a), value(b)])


def kind(a: Value) -> str:
    """The kind of number: f32, i32 or i1."""
    if isinstance(a, Term):
        return a.type.kind
    return "i1" if isinstance(a, bool) else "i32" if isinstance(a, int) else "f32"


def real(scope: Place, a: Value) -> Term:
    """As a real number: true is 1."""
    if isinstance(a, Term):
        return scope.b.convert(a, "f32")
    return scope.b.term(float(a), F32)


def whole(scope: Place, a: Value) -> Term:
    """An integer or truth value as an integer."""
    if isinstance(a, Term):
        return scope.b.convert(a, "i32")
    return scope.b.term(int(a), I32)


def truth(scope: Place, a: Value) -> Term:
    """As a truth value: not 0."""
    if not isinstance(a, Term):
        return scope.b.term(bool(a), BOOL)
    return a if a.type.kind == "i1" else a.ne(0)


def alike(scope: Place, a: Value, b: Value) -> tuple[Term, Term]:
    """Two numbers of one kind: both integers, both truth values, else both real."""
    kinds = {kind(a), kind(b)}
    change = truth if kinds == {"i1"} else whole if kinds == {"i32"} else real
    return change(scope, a), change(scope, b)


def _call(name: Operator, scope: Place, a: Value) -> Term:
    return scope.b.call(name, real(scope, a))


def _negative(scope: Place, a: Value) -> Term:
    return -(real(scope, a) if kind(a) == "f32" else whole(scope, a))


def _absolute(scope: Place, a: Value) -> Term:
    if kind(a) == "f32":
        return _call("abs", scope, a)
    number = whole(scope, a)
    return scope.b.maximum(number, -number)


def _floor(scope: Place, a: Value) -> Term:
    return _call("floor", scope, a) if kind(a) == "f32" else whole(scope, a)


def _not(scope: Place, a: Value) -> Term:
    return scope.b.binary("xor", truth(scope, a), 1)


def _stop(scope: Place, a: Value) -> Value:
    return a


UNARY: dict[str, Callable[[Place, Value], Value]] = {
    "neg": _negative,
    "not": _not,
    "abs": _absolute,
    "floor": _floor,
    "stop": _stop,
    "exp": partial(_call, "exp"),
    "log": partial(_call, "log"),
    "sqrt": partial(_call, "sqrt"),
    "tanh": partial(_call, "tanh"),
    "sigmoid": partial(_call, "sigmoid"),
    "erf": partial(_call, "erf"),
    "sin": partial(_call, "sin"),
    "cos": partial(_call, "cos"),
}


def _floor_divide(scope: Place, a: Term, b: Term) -> Term:
    if a.type.kind == "f32":
        return scope.b.call("floor", a / b)
    divisor = scope.b.select(b.eq(0), 1, b)
    quotient = a / divisor
    negative = (a - quotient * divisor) ^ divisor
    exact = (quotient * divisor).eq(a)
    return scope.b.select(exact, quotient, scope.b.select(negative < 0, quotient - 1, quotient))


def _modulo(scope: Place, a: Term, b: Term) -> Term:
    return a - _floor_divide(scope, a, b) * b


def _compare(operator: Operator, scope: Place, a: Term, b: Term) -> Term:
    return scope.b.compare(operator, a, b)


BINARY: dict[str, Callable[[Place, Term, Term], Term]] = {
    "add": lambda scope, a, b: a + b,
    "sub": lambda scope, a, b: a - b,
    "mul": lambda scope, a, b: a * b,
    "div": lambda scope, a, b: a / b,
    "floordiv": _floor_divide,
    "mod": _modulo,
    "min": lambda scope, a, b: scope.b.minimum(a, b),
    "max": lambda scope, a, b: scope.b.maximum(a, b),
    "lt": partial(_compare, "lt"),
    "le": partial(_compare, "le"),
    "gt": partial(_compare, "gt"),
    "ge": partial(_compare, "ge"),
    "eq": partial(_compare, "eq"),
    "ne": partial(_compare, "ne"),
}


def _power(scope: Place, base: Term, exponent: Value) -> Term:
    """Small integer exponents by products, quarters by square roots, else exp(y log x)."""
    if isinstance(exponent, Term):
        type_ = _wider(base, exponent)
        powers = scope.b.term(real(scope, exponent), type_)
        return scope.b.call("pow", scope.b.term(base, type_), powers)
    quarters = float(exponent) * 4
    if quarters != int(quarters) or abs(exponent) > LARGEST_POWER:
        return scope.b.call("pow", base, scope.b.term(float(exponent), base.type))
    count, rest = divmod(abs(int(quarters)), 4)
    factors = [_product(base, count)] if count or not rest else []
    root = scope.b.call("sqrt", base) if rest else base
    factors += [root] if rest >= 2 else []
    factors += [scope.b.call("sqrt", root)] if rest % 2 else []
    result = factors[0]
    for factor in factors[1:]:
        result = result * factor
    return 1.0 / result if quarters < 0 else result


def _product(base: Term, count: int) -> Term:
    if count == 0:
        return base.operations.term(1.0, base.type)
    if count == 1:
        return base
    half = _product(base, count // 2)
    return half * half * base if count % 2 else half * half


def _wider(base: Term, exponent: Term) -> Type:
    lanes = max(base.type.lanes, exponent.type.lanes)
    return vector_type("f32", lanes)
