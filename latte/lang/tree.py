"""Each rule of the grammar into its node: one method for each, named like the rule.

In: the children of a rule (nodes, tokens, None for what was left out) and its span.
Out: a node of ast.py. What no grammar can say (a reduction runs over names) goes to the collector.

    binary(NAME a, TIMES, NAME b)  ->  Binary("*", Name("a"), Name("b"))
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

from latte.errors import Collector, Span, did_you_mean
from latte.lang import ast
from latte.lang.tokens import Token

ESCAPES = {"n": "\n", "t": "\t", '"': '"', "\\": "\\"}
PYTHON = {"if", "for", "import", "with", "list", "tuple"}  # rules that Python calls so too


@dataclass(frozen=True, slots=True)
class Part:
    """Something that is only a part of a node: its kind and its values."""

    kind: str
    values: tuple[Any, ...]
    span: Span = field(compare=False)


class Builder:
    """Makes the nodes of one file."""

    def __init__(self, found: Collector) -> None:
        self.found = found

    def build(self, name: str, children: list[Any], span: Span) -> Any:
        """The node of rule `name`."""
        return getattr(self, name + "_" * (name in PYTHON))(span, *children)

    # What stands in a file

    def file(self, span: Span, *items: ast.FileItem) -> ast.File:
        return ast.File(tuple(item for item in items if item is not None), span=span)

    def import_(self, span: Span, path: Token) -> ast.Import:
        return ast.Import(self.string(self._token_span(span, path), path), span=span)

    def const(self, span: Span, name: ast.Name, value: ast.Expression) -> ast.Const:
        return ast.Const(name, value, span=span)

    def init(self, span: Span, name: ast.Name, formals: Part, value: ast.Expression) -> ast.Init:
        return ast.Init(name, formals.values, value, span=span)

    def schedule(
        self, span: Span, name: ast.Name, formals: Part, value: ast.Expression
    ) -> ast.Schedule:
        return ast.Schedule(name, formals.values, value, span=span)

    def neuron(
        self, span: Span, name: ast.Name, formals: Part, body: ast.Expression | ast.NeuronBody
    ) -> ast.Neuron:
        return ast.Neuron(name, formals.values, body, span=span)

    def layer(self, span: Span, name: ast.Name, formals: Part, body: Part) -> ast.Layer:
        return ast.Layer(name, formals.values, body.values, span=span)

    def net(self, span: Span, name: ast.Name, formals: Part | None, body: Part) -> ast.Net:
        return ast.Net(name, formals.values if formals else (), body.values, span=span)

    def solver(self, span: Span, name: ast.Name, formals: Part | None, *parts: Any) -> ast.Solver:
        states = tuple(part for part in parts if isinstance(part, ast.State))
        updates = [part for part in parts if isinstance(part, Part)]
        if not updates and not self._told_in(span):
            help = "write `update { param -= rate * grad }`"
            self.found.error("E0108", f"solver `{name.text}` has no `update`", name.span, help=help)
        self._only_one(updates, "update")
        formal = formals.values if formals else ()
        return ast.Solver(name, formal, states, updates[0].values if updates else (), span=span)

    def solver_update(self, span: Span, code: Part) -> Part:
        return Part("update", code.values, span)

    def train(self, span: Span, net: ast.Name, *settings: Part) -> ast.Train:
        given: dict[str, Any] = {}
        for setting in settings:
            self._only_one([part for part in settings if part.kind == setting.kind], setting.kind)
            given.setdefault(setting.kind, setting.values[0])
        solver = given.get("solver")
        if isinstance(solver, ast.Name):
            given["solver"] = ast.Call(solver, (), span=solver.span)
        elif solver is not None and not isinstance(solver, ast.Call):
            help = "such as `solver Momentum(rate = 0.01)`"
            self.found.error("E0109", "after `solver` stands its name", solver.span, help=help)
            given["solver"] = None
        return ast.Train(net, **given, span=span)

    def setting(self, span: Span, word: Token, value: ast.Expression) -> Part:
        return Part(word.text, (value,), span)

    def formals(self, span: Span, *formals: ast.Formal | None) -> Part:
        return Part("formals", tuple(formal for formal in formals if formal), span)

    def formal(
        self,
        span: Span,
        name: ast.Name,
        axes: Part | None,
        each: ast.Name | None,
        default: ast.Expression | None,
    ) -> ast.Formal:
        return ast.Formal(name, axes.values if axes else None, each, False, default, span=span)

    def variadic(self, span: Span, name: ast.Name) -> ast.Formal:
        return ast.Formal(name, variadic=True, span=span)

    def axes(self, span: Span, *axes: ast.Axis) -> Part:
        return Part("axes", axes, span)

    def axis(self, span: Span, name: ast.Name) -> ast.Axis:
        return ast.Axis(name, span=span)

    def axis_pack(self, span: Span, name: ast.Name) -> ast.Axis:
        return ast.Axis(name, pack=True, span=span)

    # Neurons and solvers

    def neuron_body(self, span: Span, *parts: Any) -> ast.NeuronBody:
        states = tuple(part for part in parts if isinstance(part, ast.State))
        forward = [part for part in parts if isinstance(part, Part) and part.kind == "forward"]
        backward = [part for part in parts if isinstance(part, Part) and part.kind == "backward"]
        self._only_one(forward, "forward")
        self._only_one(backward, "backward")
        if not forward and not self._told_in(span):
            help = "write `forward { value = ... }`"
            at = Span(span.source, span.start, span.start + 1)
            self.found.error("E0108", "this neuron has no `forward`", at, help=help)
        first = forward[0].values if forward else ()
        return ast.NeuronBody(states, first, backward[0].values if backward else None, span=span)

    def state(self, span: Span, name: ast.Name, value: ast.Expression) -> ast.State:
        return ast.State(name, value, span=span)

    def forward(self, span: Span, code: Part) -> Part:
        return Part("forward", code.values, span)

    def backward(self, span: Span, code: Part) -> Part:
        return Part("backward", code.values, span)

    def code(self, span: Span, *statements: ast.NeuronStatement) -> Part:
        return Part("code", statements, span)

    def let(self, span: Span, name: ast.Name, value: ast.Expression) -> ast.Let:
        return ast.Let(name, value, span=span)

    def assign(
        self, span: Span, target: ast.Expression, op: Token, value: ast.Expression
    ) -> ast.Assign:
        return ast.Assign(target, op.text, value, span=span)

    def branch(
        self, span: Span, condition: ast.Expression, then: Part, otherwise: Part | ast.Branch | None
    ) -> ast.Branch:
        return ast.Branch(condition, then.values, self._else(otherwise), span=span)

    def loop(self, span: Span, *parts: Any) -> ast.Loop:
        *axes, window, code = parts
        return ast.Loop(tuple(axes), window, code.values, span=span)

    # Layers and nets

    def block(self, span: Span, *statements: ast.Statement) -> Part:
        return Part("block", statements, span)

    def require(self, span: Span, condition: ast.Expression, message: Token | None) -> ast.Require:
        text = self.string(self._token_span(span, message), message) if message else None
        return ast.Require(condition, text, span=span)

    def param(self, span: Span, name: ast.Name, shape: Part | None, *rest: Any) -> ast.Param:
        value, *settings = rest
        given: dict[str, ast.Expression] = {}
        for setting in settings:
            self._setting(setting, given)
        items = shape.values if shape else ()
        return ast.Param(name, items, value, given.get("rate"), given.get("decay"), span=span)

    def _setting(self, setting: Part | None, given: dict[str, ast.Expression]) -> None:
        if setting is None:
            return
        name, value = setting.values
        if name.text in given:
            self.found.error("E0203", f"`{name.text}` is given twice", name.span, help="keep one")
        elif name.text not in {"rate", "decay"}:
            help = did_you_mean(name.text, ["rate", "decay"]) or "use `with rate 2, decay 0`"
            message = f"a param has no `{name.text}`"
            self.found.error("E0403", message, name.span, help=help)
        given.setdefault(name.text, value)

    def with_(self, span: Span, name: ast.Name, value: ast.Expression) -> Part:
        return Part("with", (name, value), span)

    def running(
        self, span: Span, name: ast.Name, shape: Part | None, value: ast.Expression
    ) -> ast.Running:
        return ast.Running(name, shape.values if shape else (), value, span=span)

    def ensemble(
        self, span: Span, name: ast.Name, axes: Part | None, value: ast.Expression
    ) -> ast.Ensemble:
        if not isinstance(value, ast.Call):
            help = "such as `ensemble out[i: n] = ReLU(source[i])`"
            message = "after the `=` of an ensemble stands a neuron and its connections"
            self.found.error("E0109", message, value.span, help=help)
            value = ast.Call(ast.Name("_", span=value.span), (), span=value.span)
        return ast.Ensemble(name, axes.values if axes else (), value, span=span)

    def ensemble_axes(self, span: Span, *axes: ast.EnsembleAxis) -> Part:
        return Part("axes", axes, span)

    def ensemble_axis(self, span: Span, name: ast.Name, size: ast.Expression) -> ast.EnsembleAxis:
        return ast.EnsembleAxis(name, size, span=span)

    def ensemble_pack(self, span: Span, name: ast.Name, size: ast.Expression) -> ast.EnsembleAxis:
        return ast.EnsembleAxis(name, size, pack=True, span=span)

    def update(
        self, span: Span, name: ast.Name, shape: Part | None, value: ast.Expression
    ) -> ast.Update:
        return ast.Update(name, shape.values if shape else (), value, span=span)

    def input(
        self, span: Span, name: ast.Name, time: ast.Name | None, shape: Part | None, of: Any
    ) -> ast.Input:
        if time and time.text != "time":
            message = f"unknown axis `@{time.text}`"
            self.found.error("E0305", message, time.span, help="the only one is `@time`")
        return ast.Input(name, shape.values if shape else (), time is not None, of, span=span)

    def time(self, span: Span, name: ast.Name) -> ast.Name:
        return name

    def classes(self, span: Span, count: ast.Expression) -> ast.Expression:
        return count

    def loss(self, span: Span, name: ast.Name | None, value: ast.Expression) -> ast.Loss:
        return ast.Loss(value, name, span=span)

    def metric(self, span: Span, name: ast.Name | None, value: ast.Expression) -> ast.Metric:
        return ast.Metric(value, name, span=span)

    def bind(self, span: Span, name: ast.Name, value: ast.Expression) -> ast.Bind:
        return ast.Bind(name, value, span=span)

    def if_(
        self, span: Span, condition: ast.Expression, then: Part, otherwise: Part | ast.If | None
    ) -> ast.If:
        return ast.If(condition, then.values, self._else(otherwise), span=span)

    def for_(self, span: Span, name: ast.Name, range: ast.Range, body: Part) -> ast.For:
        return ast.For(name, range, body.values, span=span)

    # Expressions

    def shape(self, span: Span, items: Part) -> Part:
        return items

    def items(self, span: Span, *items: ast.Item) -> Part:
        return Part("items", items, span)

    def whole(self, span: Span) -> ast.Whole:
        return ast.Whole(span=span)

    def rest(self, span: Span) -> ast.Rest:
        return ast.Rest(span=span)

    def window(
        self, span: Span, start: ast.Expression, count: ast.Expression, step: ast.Expression | None
    ) -> ast.Window:
        return ast.Window(start, count, step, span=span)

    def range(self, span: Span, start: ast.Expression, stop: ast.Expression) -> ast.Range:
        return ast.Range(start, stop, span=span)

    def spread(self, span: Span, name: ast.Name) -> ast.Spread:
        return ast.Spread(name, span=span)

    def chain(self, span: Span, first: ast.Expression, stage: ast.Name | ast.Call) -> ast.Call:
        """`a -> F(b)` is `F(a, b)`."""
        call = stage if isinstance(stage, ast.Call) else ast.Call(stage, (), span=stage.span)
        source = ast.Argument(first, span=first.span)
        return ast.Call(call.function, (source, *call.arguments), span=call.span)

    def conditional(self, span: Span, *parts: ast.Expression) -> ast.Conditional:
        condition, then, otherwise = parts
        return ast.Conditional(condition, then, otherwise, span=span)

    def binary(
        self, span: Span, left: ast.Expression, op: Token, right: ast.Expression
    ) -> ast.Binary:
        return ast.Binary(op.text, left, right, span=span)

    def unary(self, span: Span, op: Token, operand: ast.Expression) -> ast.Unary:
        return ast.Unary(op.text, operand, span=span)

    def reduction(
        self, span: Span, op: Token, arguments: Part, body: ast.Expression
    ) -> ast.Reduction:
        names = [given.value for given in arguments.values if given.name is None]
        axes = tuple(name for name in names if isinstance(name, ast.Name))
        if len(axes) < len(arguments.values) or not axes:
            help = f"write `{op.text}(i) x[i]`, or a call of two or more values `max(a, b)`"
            message = f"`{op.text}(...)` before a value runs over axes, by their names"
            self.found.error("E0110", message, arguments.span, help=help)
        return ast.Reduction(op.text, axes, body, span=span)

    def group(self, span: Span, inner: ast.Expression) -> ast.Expression:
        return inner

    def tuple_(self, span: Span, *items: ast.Expression | None) -> ast.Tuple:
        return ast.Tuple(tuple(item for item in items if item), span=span)

    def list_(self, span: Span, items: Part) -> ast.List:
        return ast.List(items.values, span=span)

    def call(self, span: Span, function: ast.Name | Token, arguments: Part) -> ast.Call:
        if isinstance(function, Token):
            function = self.name(self._token_span(span, function), function)
        return ast.Call(function, arguments.values, span=span)

    def arguments(self, span: Span, *arguments: ast.Argument | None) -> Part:
        return Part("arguments", tuple(given for given in arguments if given), span)

    def argument(
        self, span: Span, name: ast.Name | None, value: ast.Expression | ast.Spread
    ) -> ast.Argument:
        return ast.Argument(value, name, span=span)

    def attribute(self, span: Span, value: ast.Expression, name: ast.Name) -> ast.Attribute:
        return ast.Attribute(value, name, span=span)

    def index(self, span: Span, value: ast.Expression, items: Part) -> ast.Index:
        return ast.Index(value, items.values, span=span)

    def name(self, span: Span, token: Token) -> ast.Name:
        return ast.Name(token.text, span=span)

    def number(self, span: Span, token: Token) -> ast.Number:
        value = int(token.text) if token.text.isdigit() else float(token.text)
        if math.isinf(value):
            message = f"`{token.text}` is larger than any number that can be stored"
            self.found.error("E0106", message, span, help="the largest is about 1.8e308")
        return ast.Number(value, span=span)

    def boolean(self, span: Span, token: Token) -> ast.Boolean:
        return ast.Boolean(token.text == "true", span=span)

    def string(self, span: Span, token: Token) -> ast.String:
        text = re.sub(r"\\(.)", lambda m: ESCAPES.get(m[1], m[0]), token.text[1:-1])
        return ast.String(text, span=span)

    # Common parts

    def _else(self, otherwise: Any) -> Any:
        if otherwise is None:
            return ()
        return otherwise.values if isinstance(otherwise, Part) else (otherwise,)

    def _told_in(self, span: Span) -> bool:
        """Whether something in here was told already, so that a part may be missing for it."""
        spans = [told.span for told in self.found.diagnostics if told.span]
        return any(span.start <= inner.start <= span.end for inner in spans)

    def _only_one(self, parts: list[Part], word: str) -> None:
        for part in parts[1:]:
            at = Span(part.span.source, part.span.start, part.span.start + len(word))
            self.found.error("E0203", f"`{word}` is given twice", at, help="keep one")

    def _token_span(self, span: Span, token: Token) -> Span:
        return Span(span.source, token.start, token.end)
