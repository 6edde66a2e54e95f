"""Operators and functions on values: numbers, packs, index expressions, ensembles.

    (s + 2*pad - kernel) // stride + 1   with s = (28, 28)     ->  (24, 24)
    p*stride - pad                       with p = (p.0, p.1)   ->  (2*p.0 - 1, 2*p.1 - 1)
    mean + exp(spread)                   with two ensembles    ->  a Formula

Integers are exact; `/` of integers that do not divide gives a Fraction, which is no size.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from latte.compiler.affine import Affine
from latte.compiler.elaborate.scalar import FUNCTIONS, OPERATORS, make
from latte.compiler.elaborate.scalar import function as scalar_function
from latte.compiler.elaborate.values import (
    Fault,
    Formula,
    Function,
    Poison,
    Poisoned,
    Scalar,
    Value,
    describe,
    formula,
)

LARGEST = 2**63 - 1

NUMERIC: dict[str, Callable[..., Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "//": operator.floordiv,
    "%": operator.mod, "==": operator.eq, "!=": operator.ne, "<": operator.lt,
    "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    "and": lambda a, b: bool(a and b), "or": lambda a, b: bool(a or b),
    "neg": operator.neg, "not": operator.not_,
    "exp": math.exp, "log": math.log, "sqrt": math.sqrt, "tanh": math.tanh, "abs": abs,
    "floor": math.floor, "ceil": math.ceil, "erf": math.erf, "sin": math.sin, "cos": math.cos,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)), "min": min, "max": max,
}  # fmt: skip
CALLABLE = (*FUNCTIONS, "ceil", "min", "max")


def is_number(value: Value) -> bool:
    """Whether a value is a single compile-time number."""
    return isinstance(value, (int, float, Fraction))


def calculate(name: str, operands: Sequence[Value]) -> Value:
    """An operator (`+`, "neg", "not") or function applied; packs go element by element."""
    for operand in operands:
        if isinstance(operand, Poison):
            raise Poisoned
    if any(isinstance(operand, tuple) for operand in operands):
        return _each(name, operands)
    if all(isinstance(operand, (int, float, Fraction)) for operand in operands):
        return _numeric(name, [x for x in operands if isinstance(x, (int, float, Fraction))])
    if name in ("==", "!=") and any(isinstance(o, (str, Function)) for o in operands):
        return NUMERIC[name](*operands)  # type: ignore[no-any-return]
    index = _affine(name, operands)
    return symbolic(name, operands) if index is None else index


def symbolic(name: str, operands: Sequence[Value]) -> Formula:
    """The operator or function left to a neuron."""
    formulas = [formula(operand) for operand in operands]
    sources = dict(pair for each in formulas for pair in each.sources)
    inner = tuple(each.expression for each in formulas)
    if name in CALLABLE:
        result = scalar_function(name, inner)
        if result is None:
            raise Fault("E0402", f"`{name}` takes {_takes(name)}, found {len(operands)}")
    else:
        result = make(OPERATORS.get(name, name), *inner)
    return Formula(result, tuple(sources.items()))


def whole_number(value: Value, what: str) -> int:
    """The value as an int; a Fault where it is none."""
    if isinstance(value, float) and value.is_integer() and abs(value) < LARGEST:
        return int(value)
    if isinstance(value, bool) or not isinstance(value, (int, float, Fraction)):
        if isinstance(value, Poison):
            raise Poisoned
        raise Fault("E0405", f"{what} must be a whole number, found {describe(value)}")
    if isinstance(value, int):
        return value
    if isinstance(value, Fraction):
        message = (
            f"{what} must be a whole number, but {value.numerator} / {value.denominator} is not"
        )
        raise Fault("E0502", message, "`//` rounds down")
    raise Fault("E0502", f"{what} must be a whole number, found {value:g}")


def truth(value: Value) -> bool:
    """A compile-time condition; a pack is true where all its elements are."""
    match value:
        case tuple():
            return all(truth(item) for item in value)
        case bool() | int() | float() | Fraction():
            return bool(value)
        case Poison():
            raise Poisoned
        case _:
            raise Fault("E0405", f"expected a compile-time condition, found {describe(value)}")


def _each(name: str, operands: Sequence[Value]) -> Value:
    counts = {len(operand) for operand in operands if isinstance(operand, tuple)}
    if len(counts) > 1:
        text = " and ".join(str(count) for count in sorted(counts))
        raise Fault("E0507", f"packs of {text} elements do not go together")
    [count] = counts
    rows = [operand if isinstance(operand, tuple) else (operand,) * count for operand in operands]
    return tuple(calculate(name, row) for row in zip(*rows, strict=True))


def _numeric(name: str, values: list[Scalar]) -> Scalar:
    if name in CALLABLE and name not in ("min", "max") and len(values) != 1:
        raise Fault("E0402", f"`{name}` takes {_takes(name)}, found {len(values)}")
    if name in ("min", "max") and len(values) < 2:
        raise Fault("E0402", f"`{name}` takes {_takes(name)}, found {len(values)}")
    try:
        if name == "/":
            return _small(_divided(*values))
        return _small(_power(*values) if name == "**" else NUMERIC[name](*values))
    except ZeroDivisionError:
        raise Fault("E0510", "division by zero") from None
    except OverflowError:
        raise Fault("E0506", "a number is too large") from None
    except ValueError:
        text = ", ".join(str(value) for value in values)
        raise Fault("E0510", f"`{name}` is not defined for {text}") from None


def _divided(a: Scalar, b: Scalar) -> Scalar:
    if isinstance(a, float) or isinstance(b, float):
        return float(a) / float(b)
    ratio = Fraction(a) / Fraction(b)
    return ratio.numerator if ratio.denominator == 1 else ratio


def _power(base: Scalar, exponent: Scalar) -> Scalar:
    """Integers to an integer stay exact; what could not fit is refused before it is computed."""
    if isinstance(base, int) and isinstance(exponent, int) and exponent >= 0:
        if base.bit_length() * exponent > 256 and abs(base) > 1:
            raise OverflowError
        return int(base**exponent)
    return math.pow(base, exponent)


def _small(value: Scalar) -> Scalar:
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) > LARGEST:
        raise Fault("E0506", "a whole number is beyond 2**63")
    if isinstance(value, Fraction):
        if value.denominator == 1:
            return value.numerator
        if max(abs(value.numerator), value.denominator) > LARGEST:
            return float(value)
    return value


def _affine(name: str, operands: Sequence[Value]) -> Affine | None:
    """The result as an index expression, or None where it is not affine."""
    places = [Affine((), x) if type(x) is int else x for x in operands]
    if not all(isinstance(place, Affine) for place in places):
        return None
    match name, places:
        case "neg", [Affine() as a]:
            return -a
        case "+", [Affine() as a, Affine() as b]:
            return a + b
        case "-", [Affine() as a, Affine() as b]:
            return a - b
        case "*", [Affine() as a, Affine() as b] if a.is_constant or b.is_constant:
            return b * a.constant if a.is_constant else a * b.constant
        case "//", [Affine() as a, Affine() as b] if b.is_constant and b.constant > 0:
            return a // b.constant
        case "%", [Affine() as a, Affine() as b] if b.is_constant and b.constant > 0:
            return a % b.constant
        case "/", [Affine() as a, Affine() as b] if b.is_constant and b.constant > 0:
            return a // b.constant if _divides(a, b.constant) else None
        case _:
            return None


def _divides(index: Affine, divisor: int) -> bool:
    factors = (index.constant, *(factor for _, factor in index.terms))
    return all(factor % divisor == 0 for factor in factors)


def _takes(name: str) -> str:
    return "at least 2 numbers" if name in ("min", "max") else "1 number"
