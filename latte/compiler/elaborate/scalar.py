"""Scalar expressions from operators: constants folded, positions kept affine, truth made explicit.

make("add", Position(y), Number(1))   ->  Position(y + 1)
make("mul", Number(2), Number(3))     ->  Number(6)
condition(x)                          ->  x != 0
"""

from __future__ import annotations

from latte.compiler.affine import Affine, constant
from latte.compiler.expression import Apply, Expression, Fold, Number, Position, Training
from latte.compiler.simplify import CONSTANT

OPERATORS = {
    "+": "add", "-": "sub", "*": "mul", "/": "div", "//": "floordiv", "%": "mod", "**": "pow",
    "==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge", "and": "and", "or": "or",
}  # fmt: skip
FUNCTIONS = ("exp", "log", "sqrt", "tanh", "sigmoid", "abs", "floor", "erf", "sin", "cos")
TRUTHS = frozenset(("lt", "le", "gt", "ge", "eq", "ne", "and", "or", "not"))


def make(operator: str, *operands: Expression) -> Expression:
    """`operator` applied; and, or, not and a select's condition take truth values."""
    if operator in ("and", "or", "not"):
        operands = tuple(condition(operand) for operand in operands)
    elif operator == "select":
        operands = (condition(operands[0]), *operands[1:])
        if isinstance(operands[0], Number):
            return operands[1] if operands[0].value else operands[2]
    return _folded(operator, operands) or Apply(operator, operands)  # type: ignore[arg-type]


def condition(expression: Expression) -> Expression:
    """A truth value: what is a number already is compared with 0."""
    if isinstance(expression, Number):
        return Number(float(expression.value != 0))
    return expression if is_truth(expression) else Apply("ne", (expression, Number(0.0)))


def is_truth(expression: Expression) -> bool:
    """Whether an expression is a comparison, or made of comparisons."""
    match expression:
        case Apply("select", (_, then, otherwise)):
            return is_truth(then) and is_truth(otherwise)
        case Apply(operator, _):
            return operator in TRUTHS
        case Fold(operator, _, _, _):
            return operator in ("any", "all")
        case _:
            return isinstance(expression, Training)


def function(name: str, operands: tuple[Expression, ...]) -> Expression | None:
    """A call of a scalar function of the language; None where the name or the count is wrong."""
    if name in ("min", "max") and len(operands) >= 2:
        result = operands[0]
        for operand in operands[1:]:
            result = make(name, result, operand)
        return result
    if len(operands) != 1:
        return None
    if name == "ceil":
        return make("neg", make("floor", make("neg", operands[0])))
    return make(name, *operands) if name in FUNCTIONS else None


def number(value: float | int) -> Number:
    """A compile-time number as a constant of the net."""
    return Number(float(value))


def _folded(operator: str, operands: tuple[Expression, ...]) -> Expression | None:
    if all(isinstance(operand, Number) for operand in operands):
        return _constant(operator, operands)
    if any(isinstance(operand, Position) for operand in operands):
        places = [_place(operand) for operand in operands]
        if all(place is not None for place in places):
            index = _affine(operator, [place for place in places if place is not None])
            return None if index is None else Position(index)
    return None


def _constant(operator: str, operands: tuple[Expression, ...]) -> Number | None:
    """The value, or None where Python refuses (a logarithm of 0): left to run time."""
    values = [operand.value for operand in operands if isinstance(operand, Number)]
    if operator == "stop":
        return None
    try:
        result = CONSTANT[operator](*values)
        return None if isinstance(result, complex) else Number(float(result))
    except (ValueError, OverflowError, ZeroDivisionError):
        return None


def _place(operand: Expression) -> Affine | None:
    match operand:
        case Position(index):
            return index
        case Number(value) if value.is_integer() and abs(value) < 2**53:
            return constant(int(value))
        case _:
            return None


def _affine(operator: str, places: list[Affine]) -> Affine | None:
    match operator, places:
        case "neg", [a]:
            return -a
        case "add", [a, b]:
            return a + b
        case "sub", [a, b]:
            return a - b
        case "mul", [a, b] if a.is_constant or b.is_constant:
            return b * a.constant if a.is_constant else a * b.constant
        case "floordiv", [a, b] if b.is_constant and b.constant > 0:
            return a // b.constant
        case "mod", [a, b] if b.is_constant and b.constant > 0:
            return a % b.constant
        case _:
            return None
