"""Expressions of layers and nets: ast -> Value.

    (h + 2*pad - kernel) // stride + 1   ->  24
    p*stride - pad                       ->  (2*p.0 - 1, 2*p.1 - 1)
    a + b                                ->  a Formula, for a neuron of its own

What a call means, calls.py says; a name stands for what the body bound it to, or a `const`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NoReturn

from latte.compiler.affine import Affine
from latte.compiler.elaborate.arithmetic import (
    CALLABLE,
    calculate,
    is_number,
    symbolic,
    truth,
    whole_number,
)
from latte.compiler.elaborate.connect import Items, draft
from latte.compiler.elaborate.context import Run
from latte.compiler.elaborate.values import (
    Fault,
    Formula,
    Function,
    Instance,
    Poison,
    Poisoned,
    Reference,
    Sources,
    Value,
    describe,
    source,
)
from latte.compiler.expression import Training
from latte.errors import Source, did_you_mean
from latte.lang import ast


@dataclass(slots=True)
class Evaluator:
    """Names and what they stand for at one place of a file. `ranges` are the axes of the ensemble
    whose connections are being read, `outside` the names as they are without its axes."""

    run: Run
    file: Source
    values: dict[str, Value]
    ranges: dict[str, tuple[int, int]] = field(default_factory=dict)
    outside: dict[str, Value] = field(default_factory=dict)

    def evaluate(self, node: ast.Expression, name: str | None = None) -> Value:
        """The value of an expression; a call in it that makes something is called `name`."""
        match node:
            case ast.Name():
                return self.read(node)
            case ast.Number(value) | ast.Boolean(value) | ast.String(value):
                return value
            case ast.Call():
                return self.call(node, name)
            case ast.Binary(op, left, right):
                return self.binary(node, op, left, right)
            case ast.Unary(op, operand):
                inner = self.evaluate(operand)
                return (
                    inner if op == "+" else self.apply("neg" if op == "-" else op, (inner,), node)
                )
            case ast.Conditional():
                return self.conditional(node, name)
            case ast.Tuple(items):
                return tuple(self.evaluate(item) for item in items)
            case ast.Attribute():
                return self.attribute(node)
            case ast.Index():
                return self.index(node)
            case ast.Reduction():
                message = "reductions belong in neurons"
                help = "write a neuron, and an ensemble that connects it"
                self.run.report.fail("E0405", message, node.span, help=help)
            case ast.List():
                message = "a list stands only in `reshape` and `transpose`"
                self.run.report.fail("E0405", message, node.span)

    def call(self, node: ast.Call, name: str | None) -> Value:
        """What a call makes; calls.py says."""
        raise NotImplementedError

    def apply(self, operator: str, operands: Sequence[Value], node: ast.Expression) -> Value:
        """An operator or function on values; mistakes are reported at `node`."""
        try:
            return calculate(operator, operands)
        except Fault as fault:
            self.run.report.fail(fault.code, fault.message, node.span, help=fault.help)

    def read(self, node: ast.Name) -> Value:
        """What a name stands for."""
        value = self.find(node.text)
        if value is None:
            self.unknown(node)
        if isinstance(value, Poison):
            raise Poisoned
        return value

    def find(self, name: str) -> Value | None:
        """What a name stands for: in this body, as a `const`, as a function of the language."""
        if name in self.values:
            return self.values[name]
        definition = self.run.definitions.find(ast.Const, name, self.file)
        if definition is not None:
            return self.run.constant(definition)
        if name in CALLABLE:
            return Function(name)
        return Formula(Training()) if name == "training" else None

    def unknown(self, node: ast.Name) -> NoReturn:
        """Report a name that stands for nothing."""
        known = [*self.values, *self.run.definitions.names(ast.Const, self.file)]
        help = did_you_mean(node.text, known)
        self.run.report.fail("E0312", f"unknown ensemble `{node.text}`", node.span, help=help)

    def binary(
        self, node: ast.Binary, op: str, left: ast.Expression, right: ast.Expression
    ) -> Value:
        first = self.evaluate(left)
        if op in ("and", "or") and is_number(first) and bool(first) == (op == "or"):
            return bool(first)
        return self.apply(op, (first, self.evaluate(right)), node)

    def conditional(self, node: ast.Conditional, name: str | None) -> Value:
        """Only the chosen side is evaluated, unless a neuron or each element of a pack chooses."""
        test = self.evaluate(node.condition)
        if isinstance(test, tuple) and len({bool(each) for each in test}) > 1:
            then, otherwise = self.evaluate(node.then), self.evaluate(node.otherwise)
            return _chosen(test, then, otherwise)
        if is_number(test) or isinstance(test, tuple):
            return self.evaluate(node.then if truth(test) else node.otherwise, name)
        parts = (test, self.evaluate(node.then), self.evaluate(node.otherwise))
        with self.run.report.at(node.span):
            return symbolic("select", parts)

    def condition(self, node: ast.Expression) -> bool:
        """A compile-time condition."""
        value = self.evaluate(node)
        with self.run.report.at(node.span):
            return truth(value)

    def whole(self, node: ast.Expression, what: str) -> int:
        """A compile-time whole number."""
        value = self.evaluate(node)
        if isinstance(value, tuple) and len(value) == 1:
            value = value[0]
        with self.run.report.at(node.span):
            return whole_number(value, what)

    def decimal(self, node: ast.Expression, what: str) -> float:
        """A compile-time number."""
        value = self.evaluate(node)
        if isinstance(value, (int, float, Fraction)):
            return float(value)
        message = f"{what} must be a number, found {describe(value)}"
        self.run.report.fail("E0405", message, node.span)

    def attribute(self, node: ast.Attribute) -> Value:
        """A part of a layer call: `lstm1.cell`."""
        value = self.evaluate(node.value)
        name = node.name.text
        if not isinstance(value, Instance):
            message = f"{describe(value)} has no parts; only a layer call has"
            self.run.report.fail("E0410", message, node.span)
        if name not in value.members:
            help = did_you_mean(name, value.members)
            message = f"layer `{value.kind}` has nothing called `{name}`"
            self.run.report.fail("E0410", message, node.name.span, help=help)
        part = value.members[name]
        if isinstance(part, Poison):
            raise Poisoned
        return part

    def index(self, node: ast.Index) -> Value:
        """An element of a pack, one of several sources, or an indexed source."""
        value = self.evaluate(node.value)
        if isinstance(value, Affine) and isinstance(node.value, ast.Name):
            value = self.outside.get(node.value.text, value)  # before `[` an axis means nothing
        if isinstance(value, (tuple, Sources)):
            return self.element(value, node)
        with self.run.report.at(node.value.span):
            reference: Reference = source(value)
        reader = Items(self.evaluate, self.ranges, self.run.report)
        return draft(reference, node.items, reader, node.span)

    def element(self, value: tuple[Value, ...] | Sources, node: ast.Index) -> Value:
        items = value.items if isinstance(value, Sources) else value
        if len(node.items) != 1 or isinstance(
            node.items[0], (ast.Whole, ast.Rest, ast.Window, ast.Range, ast.Spread)
        ):
            self.run.report.fail("E0601", "a pack takes one number as its index", node.span)
        place = self.whole(node.items[0], "an index")
        if not 0 <= place < len(items):
            message = f"index {place} is outside 0 .. {len(items) - 1}"
            self.run.report.fail("E0602", message, node.items[0].span)
        found = items[place]
        if isinstance(found, Poison):
            raise Poisoned
        return found


def axis_value(names: Sequence[str], pack: bool) -> Value:
    """What the name of an ensemble's axis stands for in its connections."""
    places = tuple(Affine(((name, 1),), 0) for name in names)
    return places if pack else places[0]


def _chosen(test: tuple[Value, ...], then: Value, otherwise: Value) -> Value:
    sides = [side if isinstance(side, tuple) else (side,) * len(test) for side in (then, otherwise)]
    rows = zip(test, *sides, strict=True)
    return tuple(yes if bool(each) else no for each, yes, no in rows)
