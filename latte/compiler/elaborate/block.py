"""The statements of a layer or net, carried out: what they make joins the Net.

    conv1 = Conv(image, 20, kernel = 5)
->  param conv1.weight, param conv1.bias, ensemble conv1.out; `conv1` is the call

Ensembles may read each other in any order: one that names something declared further on is
connected when the body has ended.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NoReturn

from latte.compiler import net as forms
from latte.compiler.elaborate import views
from latte.compiler.elaborate.calls import Caller
from latte.compiler.elaborate.context import CALLS, DEPTH, TURNS
from latte.compiler.elaborate.declare import names_in
from latte.compiler.elaborate.evaluate import axis_value
from latte.compiler.elaborate.neuron import instantiate
from latte.compiler.elaborate.outcomes import Outcomes
from latte.compiler.elaborate.values import (
    Instance,
    Poison,
    Poisoned,
    Reference,
    Value,
    describe,
    source,
)
from latte.compiler.expression import Axis
from latte.errors import did_you_mean
from latte.lang import ast


@dataclass(frozen=True, slots=True)
class Waiting:
    """An ensemble declared and not yet connected, with the names as they were there."""

    node: ast.Ensemble
    reference: Reference
    place: int
    scope: Block


@dataclass(slots=True)
class Block(Outcomes):
    """The body of one layer call or net. `pending` are ensembles declared further on,
    `places_ahead` those of them that were declared already because something needs their size."""

    pending: dict[str, ast.Ensemble] = field(default_factory=dict)
    waiting: list[Waiting] = field(default_factory=list)
    places_ahead: dict[str, int] = field(default_factory=dict)

    def run_body(self, statements: Sequence[ast.Statement]) -> None:
        """Carry out a whole body."""
        self.pending = {s.name.text: s for s in statements if isinstance(s, ast.Ensemble)}
        self.run_all(statements)
        for each in self.waiting:
            each.scope.values = {**self.values, **each.scope.values}
            self.quietly(each.scope.connect, each.node, each.reference, each.place)

    def run_all(self, statements: Sequence[ast.Statement]) -> None:
        for statement in statements:
            if not self.quietly(self.carry_out, statement):
                self.poison(statement)
                if self.run.definitions.is_library(self.file):
                    self.poison_all(statements)
                    return

    def quietly(self, action: object, *arguments: object) -> bool:
        """Whether the action succeeded; if not, it was reported."""
        try:
            action(*arguments)  # type: ignore[operator]
        except Poisoned:
            return False
        return True

    def poison(self, statement: ast.Statement) -> None:
        """What a failed statement would have bound is bound to nothing, once for all readers."""
        for name in bound_names((statement,)):
            if isinstance(statement, ast.If | ast.For) or name not in self.bound:
                self.values[name] = Poison()

    def poison_all(self, statements: Sequence[ast.Statement]) -> None:
        for name in bound_names(statements):
            self.values.setdefault(name, Poison())

    def carry_out(self, statement: ast.Statement) -> None:
        """One statement."""
        match statement:
            case ast.Bind(name, value):
                self.check_free(name)
                self.bind_name(name, self.evaluated(value, name.text), self.is_net)
            case ast.Ensemble():
                self.ensemble(statement)
            case ast.Param():
                self.parameter(statement)
            case ast.Running():
                self.running(statement)
            case ast.Require():
                self.require(statement)
            case ast.If(test, then, otherwise):
                self.run_all(then if self.condition(test) else otherwise)
            case ast.For():
                self.loop(statement)
            case ast.Update():
                self.update(statement)
            case ast.Input():
                self.input(statement)
            case ast.Loss():
                self.loss(statement)
            case ast.Metric():
                self.metric(statement)

    # Loops

    def loop(self, node: ast.For) -> None:
        """`for i in 0 .. 4 { ... }`: the body once for each number."""
        start = self.whole(node.range.start, "the start of a loop")
        stop = self.whole(node.range.stop, "the end of a loop")
        count = max(0, stop - start)
        self.run.turns += count
        if max(self.run.turns, self.run.nested * count) > TURNS:
            message = f"the loops of this net have more than {TURNS} turns"
            self.run.report.give_up("E0411", message, node.range.span)
        failed, outer = self.run.report.collector, self.run.nested
        self.run.nested = outer * max(1, count)
        for turn in range(start, stop):
            self.turns = (*self.turns, turn)
            before = len(failed.diagnostics) if turn == start else 0
            self.values[node.name.text] = turn
            try:
                self.run_all(node.body)
            finally:
                self.turns, self.run.nested = self.turns[:-1], outer
            if turn == start and len(failed.diagnostics) > before:
                raise Poisoned

    # Ensembles

    def ensemble(self, node: ast.Ensemble) -> None:
        """Declare it, unless that was done ahead; connect it now, or when the body has ended."""
        name = node.name.text
        place = self.places_ahead.pop(name, None)
        if place is None:
            place = self.declare(node)
        reference = self.values[name]
        assert isinstance(reference, Reference)
        later = self.declared - self.values.keys()
        if later and not later.isdisjoint(names_in(node.call)):
            self.waiting.append(Waiting(node, reference, place, self.snapshot()))
        else:
            self.connect(node, reference, place)

    def declare(self, node: ast.Ensemble) -> int:
        """The ensemble's axes and place in the net; its connections come later."""
        name = node.name.text
        self.pending.pop(name, None)
        axes: list[Axis] = []
        for each in node.axes:
            value = self.evaluate(each.size)
            word = each.name.text
            if isinstance(value, tuple) != each.pack and not (
                isinstance(value, tuple) and len(value) == 1
            ):
                message = f"axis `{word}` has {describe(value)} as its size"
                help = f"`{word}...:` takes a pack, `{word}:` one number"
                self.run.report.fail("E0405", message, each.span, help=help)
            parts = value if isinstance(value, tuple) else (value,)
            names = [f"{word}.{k}" for k in range(len(parts))] if each.pack else [word]
            for text, part in zip(names, parts, strict=True):
                if any(text == axis.name for axis in axes):
                    self.run.report.fail("E0204", f"axis `{text}` is named twice", each.name.span)
                axes.append(Axis(text, self.size(part, f"axis `{text}` of `{name}`", each.size)))
        if axes:
            with self.run.report.at(node.axes[0].span.to(node.axes[-1].span)):
                views.check_size([axis.size for axis in axes])
        path = self.child(name)
        self.run.take(path, node.name.span)
        self.run.nodes.append(None)
        self.run.names[path] = path
        self.bind_name(node.name, Reference(path, tuple(axes)), self.is_net)
        return len(self.run.nodes) - 1

    def find(self, name: str) -> Value | None:
        """Also an ensemble that is declared further on in this body."""
        if name not in self.values and name in self.pending:
            self.places_ahead[name] = self.declare(self.pending[name])
        return Caller.find(self, name)

    def unknown(self, node: ast.Name) -> NoReturn:
        if node.text in self.declared:
            message = f"`{node.text}` is used before it is bound"
            help = "what is read before is declared with `ensemble`, and read through `prev`"
            self.run.report.fail("E0416", message, node.span, help=help)
        Caller.unknown(self, node)

    def snapshot(self) -> Block:
        """This body with its names as they are now."""
        return replace(self, values=dict(self.values))

    def connect(self, node: ast.Ensemble, reference: Reference, place: int) -> None:
        """The neuron and connections of a declared ensemble."""
        word = node.call.function.text
        neuron = self.run.definitions.find(ast.Neuron, word, self.file)
        if neuron is None:
            self.unknown_neuron(node.call.function)
        assert neuron is not None
        inner = self.within(self.axis_values(node, reference.axes), reference.axes)
        passed = inner.arguments(node.call)
        given = inner.bind(neuron.formals, passed, node.call, word)
        given = self.defaults(neuron, given)
        with self.run.report.calling(node.call.span, word):
            made, bindings = instantiate(self.run, neuron, given, reference.axes, reference.node)
        self.run.nodes[place] = forms.Ensemble(
            reference.node, reference.axes, made, bindings, span=node.span
        )

    def unknown_neuron(self, name: ast.Name) -> None:
        known = self.run.definitions.names(ast.Neuron, self.file)
        help = did_you_mean(name.text, known)
        if self.run.definitions.find(ast.Layer, name.text, self.file) is not None:
            help = f"`{name.text}` is a layer: bind its call, `name = {name.text}(...)`"
        self.run.report.fail("E0302", f"unknown neuron `{name.text}`", name.span, help=help)

    def axis_values(self, node: ast.Ensemble, axes: Sequence[Axis]) -> dict[str, Value]:
        """What the names of the axes stand for in the connections."""
        found: dict[str, Value] = {}
        names = [axis.name for axis in axes]
        for each in node.axes:
            word = each.name.text
            own = [name for name in names if name == word or name.startswith(f"{word}.")]
            found[word] = axis_value(own, each.pack)
        return found

    # Layer calls

    def call_layer(self, layer: ast.Layer, node: ast.Call, name: str | None) -> Value:
        """The layer's body carried out with its formals bound, under the call's path."""
        run, kind = self.run, layer.name.text
        passed = self.made(self.arguments(node))
        name = self.named(passed, layer.formals, name)
        given = self.bind(layer.formals, passed, node, kind)
        run.calls += 1
        if run.calls > CALLS:
            run.report.give_up("E0411", f"this net has more than {CALLS} layer calls", node.span)
        if len(run.report.frames) >= DEPTH:
            message = f"layer calls are nested more than {DEPTH} deep"
            help = "a layer that calls itself needs an `if` that ends it"
            run.report.give_up("E0412", message, node.span, help)
        path = self.path_for(kind, name, node.span)
        run.take(path, node.span)
        declared = frozenset(bound_names(layer.body))
        body = Block(run, layer.span.source, {}, path=path, declared=declared)
        with run.report.calling(node.span, kind):
            body.accept(layer.formals, given)
            count = len(run.report.collector.diagnostics)
            body.run_body(layer.body)
            if "out" not in body.values:
                if len(run.report.collector.diagnostics) == count:
                    message = f"layer `{kind}` has no `out`"
                    run.report.fail("E0206", message, layer.name.span)
                raise Poisoned
            with run.report.at(layer.name.span):
                out = source(body.values["out"])
        run.names.setdefault(path, out.node)
        return Instance(kind, path, body.values)


def bound_names(statements: Sequence[ast.Statement]) -> Iterator[str]:
    """Every name that the statements bind, in loops and branches too."""
    for statement in statements:
        match statement:
            case ast.Bind() | ast.Ensemble() | ast.Param() | ast.Running() | ast.Input():
                yield statement.name.text
            case ast.If(_, then, otherwise):
                yield from bound_names(then)
                yield from bound_names(otherwise)
            case ast.For(_, _, body):
                yield from bound_names(body)
            case _:
                pass
