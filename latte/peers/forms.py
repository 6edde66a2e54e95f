"""Expressions that peers have one operator for, recognised by form.

Patterns are written as text, with Python's grammar; their names stand for any expression, the
same one wherever the name is repeated:

    match(pattern("x * sigmoid(x)"), body)   ->   {"x": the matched expression}, or None
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from latte.compiler.expression import Apply, Expression, Local, Number, Random
from latte.compiler.rewrite import children

COMMUTATIVE = frozenset({"add", "mul"})
BINARY = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div", ast.Pow: "pow"}
COMPARED = {ast.Gt: "gt", ast.Lt: "lt", ast.GtE: "ge", ast.LtE: "le"}


@dataclass(frozen=True, slots=True)
class Form:
    """An operator of peers, the pattern of what it computes, and which of the pattern's names are
    attributes (known numbers) and not operands."""

    kind: str
    text: str
    operands: tuple[str, ...] = ("x",)
    attributes: tuple[tuple[str, str], ...] = ()


FORMS = (
    Form("Relu", "max(0, x)"),
    Form("Relu", "max(x, 0)"),
    Form("Relu", "x if x > 0 else 0"),
    Form("Silu", "x * sigmoid(x)"),
    Form("Gelu", "x / 2 * (1 + erf(x / sqrt(2)))"),
    Form("Softplus", "x + log(1 + exp(-x)) if x > 0 else log(1 + exp(x))"),
    Form("LeakyRelu", "x if x > 0 else slope * x", attributes=(("alpha", "slope"),)),
    Form("Elu", "x if x > 0 else alpha * (exp(x) - 1)", attributes=(("alpha", "alpha"),)),
    Form("PRelu", "x if x > 0 else slope * x", ("x", "slope")),
)
DROPOUT = "0 if draw < rate else x / keep"


def one_operator(
    expression: Expression,
) -> tuple[str, list[Expression], dict[str, float]] | None:
    """The one operator that computes an expression: its kind, operands and attributes."""
    for form in FORMS:
        found = match(pattern(form.text), expression)
        given = {name: number(found[source]) for name, source in form.attributes} if found else {}
        known = {name: value for name, value in given.items() if value is not None}
        if found is not None and len(known) == len(given):
            return form.kind, [found[name] for name in form.operands], known
    found = match(pattern(DROPOUT), expression)
    if found is None or not isinstance(found["draw"], Random):
        return None
    rate, keep = number(found["rate"]), number(found["keep"])
    if rate is None or keep is None or not math.isclose(rate + keep, 1.0):
        return None
    return "Dropout", [found["x"]], {"ratio": rate}


@cache
def pattern(text: str) -> Expression:
    """A pattern from its text."""
    return _read(ast.parse(text, mode="eval").body)


def match(form: Expression, found: Expression) -> Mapping[str, Expression] | None:
    """What the pattern's names stand for, or None where the form is another."""
    return _match(form, found, {})


def _match(
    form: Expression, found: Expression, known: Mapping[str, Expression]
) -> Mapping[str, Expression] | None:
    match form, found:
        case Local(name), _:
            if name in known:
                return known if known[name] == found else None
            return {**known, name: found}
        case _ if not children(form):
            return known if number(form) == number(found) is not None else None
        case _ if (value := number(form)) is not None:
            other = number(found)
            return known if other is not None and math.isclose(value, other) else None
        case Apply(operator, mine), Apply(other, theirs) if operator == other:
            return _operands(operator, mine, theirs, known)
    return None


def _operands(
    operator: str,
    mine: tuple[Expression, ...],
    theirs: tuple[Expression, ...],
    known: Mapping[str, Expression],
) -> Mapping[str, Expression] | None:
    orders = [theirs, theirs[::-1]] if operator in COMMUTATIVE else [theirs]
    for order in orders:
        result: Mapping[str, Expression] | None = known
        for form, found in zip(mine, order, strict=True):
            result = None if result is None else _match(form, found, result)
        if result is not None:
            return result
    return None


def number(expression: Expression) -> float | None:
    """The value of an expression of numbers alone, None if it is not known."""
    match expression:
        case Number(value):
            return float(value)
        case Apply("sqrt" | "neg" as operator, (inner,)):
            known = number(inner)
            if known is not None:
                return math.sqrt(known) if operator == "sqrt" else -known
    return None


def _read(node: ast.expr) -> Expression:
    match node:
        case ast.Name(name):
            return Local(name)
        case ast.Constant(value) if isinstance(value, int | float):
            return Number(float(value))
        case ast.UnaryOp(ast.USub(), inner):
            return Apply("neg", (_read(inner),))
        case ast.BinOp(left, operator, right):
            return Apply(BINARY[type(operator)], (_read(left), _read(right)))  # type: ignore
        case ast.Compare(left, [operator], [right]):
            return Apply(COMPARED[type(operator)], (_read(left), _read(right)))  # type: ignore
        case ast.IfExp(test, body, orelse):
            return Apply("select", (_read(test), _read(body), _read(orelse)))
        case ast.Call(ast.Name(name), arguments):
            return Apply(name, tuple(map(_read, arguments)))  # type: ignore[arg-type]
    raise AssertionError(ast.dump(node))
