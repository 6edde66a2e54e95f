"""What is made of a contraction's sum, in registers: bias, activation, dropout, residual, update.

In: expressions of `SUM` and `RESULT`.  Out: vector code over one tile's accumulator.

    bias[f] + sum        ->  the accumulator starts from bias[f] (`additive`)
    tanh(bias[f] + sum)  ->  computed from the accumulator before the last store (`evaluate`)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from latte.compiler.affine import Affine
from latte.compiler.builder import Builder
from latte.compiler.contract_parts import RESULT, SUM, Parts
from latte.compiler.contract_view import Contraction
from latte.compiler.expression import Apply, Expression, Load, Number, Position, Random, Scalar
from latte.compiler.lower_arithmetic import BINARY, UNARY, added, alike, apply, truth
from latte.compiler.lower_scope import Value
from latte.compiler.rewrite import walk
from latte.compiler.values import Term

LOGIC = ("and", "or", "pow")  # beside the operators of the two tables


def emits(form: Parts | Contraction) -> bool:
    """Whether all that follows a contraction's sum has vector code here."""
    values = form.stores if isinstance(form, Parts) else form.outputs
    return all(map(_emits, (form.result, *(each.value for each in values))))


def _emits(expression: Expression) -> bool:
    match expression:
        case Number() | Scalar() | Load() | Position():
            return True
        case Random(_, _, place):
            return isinstance(place, Affine)
        case Apply("select", (condition, yes, no)) if SUM in (*walk(yes), *walk(no)):
            places = any(isinstance(node, Position) for node in walk(condition))
            return not places and all(map(_emits, (condition, yes, no)))  # may guard the sum
        case Apply(operator, operands):
            known = operator in UNARY or operator in BINARY or operator in (*LOGIC, "select")
            return known and all(map(_emits, operands))
        case _:
            return expression in (SUM, RESULT)


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


@dataclass(slots=True)
class Registers:
    """Expressions at one place of a tile: `leaf` gives loads, scalars, positions, draws and the
    sum, each asked for once."""

    b: Builder
    leaf: Callable[[Expression], Value]
    known: dict[Expression, Value]

    def value(self, expression: Expression) -> Value:
        """The value of an expression that `emits` accepts."""
        if isinstance(expression, Number):
            return float(expression.value)
        if expression not in self.known:
            self.known[expression] = self._made(expression)
        return self.known[expression]

    def _made(self, expression: Expression) -> Value:
        match expression:
            case Apply("select", (condition, yes, no)):
                test = truth(self, self.value(condition))
                chosen, other = alike(self, self.value(yes), self.value(no))
                return self.b.select(test, chosen, other)
            case Apply("add" | "sub" as operator, (a, b)):
                return added(self, operator, a, b, self.value)
            case Apply(operator, operands):
                return apply(self, operator, [self.value(operand) for operand in operands])
            case _:
                return self.leaf(expression)

    def real(self, expression: Expression, width: int) -> Term:
        """The value as real numbers in all lanes."""
        found = self.value(expression)
        if not isinstance(found, Term):
            return self.b.splat(float(found), width)
        return self.b.splat(self.b.convert(found, "f32"), width)
