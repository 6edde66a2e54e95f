"""The statements of a layer or net, carried out: what they make joins the Net.

    conv1 = Conv(image, 20, kernel = 5)
->  param conv1.weight, param conv1.bias, ensemble conv1.out; `conv1` is the call

Ensembles may read each other in any order: one that names something declared further on is
connected when the body has ended.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NoReturn

from latte.compiler import net as forms
from latte.compiler.affine import Affine, axis, constant
from latte.compiler.elaborate import views
from latte.compiler.elaborate.arithmetic import truth, whole_number
from latte.compiler.elaborate.calls import Caller, formal_names, renamed
from latte.compiler.elaborate.connect import as_draft, connection
from latte.compiler.elaborate.context import CALLS, DEPTH, TURNS
from latte.compiler.elaborate.evaluate import axis_value
from latte.compiler.elaborate.neuron import Given, instantiate
from latte.compiler.elaborate.values import (
    Draft,
    Fault,
    Formula,
    Instance,
    Poison,
    Poisoned,
    Reference,
    Sources,
    Value,
    describe,
    formula,
    shape,
    source,
)
from latte.compiler.expression import Axis, Expression
from latte.errors import Note, Span, did_you_mean
from latte.lang import ast


@dataclass(frozen=True, slots=True)
class Waiting:
    """An ensemble declared and not yet connected, with the names as they were there."""

    node: ast.Ensemble
    reference: Reference
    place: int
    scope: Block


@dataclass(slots=True)
class Block(Caller):
    """The body of one layer call or net. `pending` are ensembles declared further on; `bound`
    says where each name got its value, and in which turn of which loops."""

    is_net: bool = False
    pending: dict[str, ast.Ensemble] = field(default_factory=dict)
    waiting: list[Waiting] = field(default_factory=list)
    bound: dict[str, tuple[Span, tuple[int, ...]]] = field(default_factory=dict)
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

    def evaluated(self, node: ast.Expression, name: str) -> Value:
        """A value as it can be bound: expressions of ensembles become ensembles called `name`."""
        value = self.evaluate(node, name)
        if isinstance(value, Formula) and not value.sources:
            self.run.report.fail("E0405", "this has no ensemble that tells its shape", node.span)
        if isinstance(value, (Formula, Draft)):
            return self.materialise(value, name, node.span)
        return value

    def bind_name(self, name: ast.Name, value: Value, shown: bool = False) -> None:
        """A name gets its value: once, or once a turn in a loop."""
        text = name.text
        if text in self.bound:
            first, turns = self.bound[text]
            if len(turns) >= len(self.turns) and turns == self.turns[: len(turns)]:
                note = Note("first bound here", first)
                message = f"`{text}` is bound twice"
                help = "only the body of a `for` may bind an outer name again"
                self.run.report.fail("E0204", message, name.span, help=help, notes=(note,))
        self.bound[text] = name.span, self.turns
        self.values[text] = value
        if shown and isinstance(value, (Reference, Instance)):
            self.show(text, value)

    def show(self, name: str, value: Value) -> None:
        """A name of the net's own body that a user can ask for; the last before a loss is its
        output."""
        try:
            node = source(value).node
        except (Fault, Poisoned):
            return
        self.run.names[name] = node
        if not self.run.losses:
            self.run.output = name

    # Shapes, parameters, inputs

    def sizes(self, items: Sequence[ast.Item], owner: str) -> list[tuple[str, int]]:
        """The axes of a shape, with names taken from the text where it has some."""
        found: list[tuple[str, int]] = []
        for item in items:
            if isinstance(item, (ast.Whole, ast.Rest, ast.Window, ast.Range)):
                self.run.report.fail("E0405", "a shape holds sizes", item.span)
            named = item.name if isinstance(item, ast.Spread) else item
            value = self.evaluate(named)
            base = named.text if isinstance(named, ast.Name) else f"d{len(found)}"
            parts = value if isinstance(value, tuple) else (value,)
            for place, part in enumerate(parts):
                word = f"{base}.{place}" if isinstance(value, tuple) else base
                if any(word == other for other, _ in found):
                    word = f"d{len(found)}"
                found.append((word, self.size(part, f"a size of `{owner}`", item)))
        span = items[0].span.to(items[-1].span) if items else None
        if span is not None:
            with self.run.report.at(span):
                views.check_size([size for _, size in found])
        return found

    def size(self, value: Value, what: str, node: ast.Node) -> int:
        """A number of places: whole, and at least 1."""
        with self.run.report.at(node.span, self.where(node)):
            size = whole_number(value, what)
            if size < 1:
                raise Fault("E0501", f"{what} is {size}, but must be at least 1")
            return size

    def where(self, node: ast.Node) -> Note | None:
        """What the names in an expression stand for: `where h = 3, pad = 0, kernel = 5`."""
        found: dict[str, str] = {}
        for name in names_in(node):
            value = self.values.get(name)
            if isinstance(value, (int, float, Fraction, tuple)):
                text = str(value)
                found[name] = text.replace(",)", ")")
        text = ", ".join(f"{name} = {value}" for name, value in found.items())
        return Note(f"where {text}") if text else None

    def parameter(self, node: ast.Param) -> None:
        """`param weight[f, c] = xavier(c) with rate 2, decay 0`."""
        path, axes, initial = self.stored(node)
        rate = 1.0 if node.rate is None else self.decimal(node.rate, "`rate`")
        decay = 1.0 if node.decay is None else self.decimal(node.decay, "`decay`")
        self.run.take(path, node.name.span)
        self.run.parameters.append(forms.Parameter(path, axes, initial, rate, decay, node.span))
        self.bind_name(node.name, Reference(path, axes))

    def running(self, node: ast.Running) -> None:
        """`running mean[c] = 0`."""
        path, axes, initial = self.stored(node)
        self.run.take(path, node.name.span)
        self.run.runnings.append(forms.Running(path, axes, initial, node.span))
        self.bind_name(node.name, Reference(path, axes))

    def stored(self, node: ast.Param | ast.Running) -> tuple[str, tuple[Axis, ...], Expression]:
        """The path, axes and first value of a parameter or running value."""
        path = self.child(node.name.text)
        axes = tuple(Axis(*pair) for pair in self.sizes(node.shape, node.name.text))
        inner = Caller(self.run, self.file, dict(self.values), initial=axes)
        value = inner.evaluate(node.value)
        if isinstance(value, tuple) and len(value) == 1:
            value = value[0]
        with self.run.report.at(node.value.span):
            first = formula(value)
            if first.sources:
                message = "a first value is made of numbers and random draws, not of ensembles"
                raise Fault("E0405", message)
        [expression] = self.run.stamp(f"{path}#initial", first.expression)
        return path, axes, expression

    def input(self, node: ast.Input) -> None:
        """`input image[1, 28, 28]`, `input label: class(10)`."""
        name = node.name.text
        if not self.is_net:
            self.run.report.fail("E0107", "a layer has no inputs of its own", node.span)
        axes = tuple(
            Axis(f"d{place}", size) for place, (_, size) in enumerate(self.sizes(node.shape, name))
        )
        classes = None
        if node.classes is not None:
            value = self.evaluate(node.classes)
            classes = self.size(value, f"the number of classes of `{name}`", node.classes)
        self.run.take(name, node.name.span)
        self.run.inputs.append(forms.Input(name, axes, classes, node.time, node.span))
        self.run.names[name] = name
        self.bind_name(node.name, Reference(name, axes, classes))

    def require(self, node: ast.Require) -> None:
        """A layer's own error, shown at the call."""
        if self.holds(node.condition):
            return
        text = node.condition.span.text
        message = node.message.value if node.message else f"`{text}` does not hold"
        frames = self.run.report.frames
        span = frames[-1].span if frames else node.span
        notes = tuple(n for n in (self.where(node.condition),) if n is not None)
        if frames:
            notes = (Note("required here", node.span), *notes)
        self.run.report.fail("E0511", message, span, notes=notes)

    def holds(self, node: ast.Expression) -> bool:
        """A requirement; where an ensemble was given for a number, that is what is wrong."""
        value = self.evaluate(node)
        parts = value if isinstance(value, tuple) else (value,)
        if any(isinstance(part, Formula) for part in parts):
            for name in names_in(node):
                given = self.values.get(name)
                if isinstance(given, (Reference, Instance)):
                    message = f"`{name}` must be a number, found {describe(source(given))}"
                    self.run.report.fail("E0405", message, node.span)
        with self.run.report.at(node.span):
            return truth(value)

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
        return Block(
            self.run, self.file, dict(self.values), {}, self.path, self.turns, self.declared,
            self.counters, is_net=self.is_net,
        )  # fmt: skip

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

    def within(self, values: Mapping[str, Value], axes: Sequence[Axis]) -> Block:
        """This body as the connections of an ensemble see it."""
        inner = self.snapshot()
        inner.values.update(values)
        inner.ranges = {axis.name: (0, axis.size - 1) for axis in axes}
        return inner

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

    def accept(self, formals: Sequence[ast.Formal], given: Mapping[str, Given]) -> None:
        """Bind the formals: sources and the sizes of their axes first, then numbers."""
        notes: dict[str, Note] = {}
        for formal in formals:
            if formal.axes is not None and formal.name.text in given:
                self.accept_source(formal, given[formal.name.text], notes)
        for formal in formals:
            name = formal.name.text
            if formal.axes is not None and name in given:
                continue
            if name in given:
                value, span = given[name].value, given[name].span
            else:
                assert formal.default is not None
                value, span = self.evaluate(formal.default), formal.default.span
            if isinstance(value, Poison):
                raise Poisoned
            self.values[name] = self.each(formal, value, span)

    def each(self, formal: ast.Formal, value: Value, span: Span) -> Value:
        """`kernel each s`: one number for each axis of `s`."""
        if formal.each is None:
            return value
        pack = self.values.get(formal.each.text)
        count = len(pack) if isinstance(pack, tuple) else 1
        if count == 0 and span.source != formal.span.source:
            message = (
                f"`{formal.name.text}` is one number for each axis of `{formal.each.text}`, "
                "but the source has none"
            )
            self.run.report.fail("E0507", message, span)
        if not isinstance(value, tuple):
            if not isinstance(value, (int, float, Fraction)):
                message = f"`{formal.name.text}` is a number, found {describe(value)}"
                self.run.report.fail("E0405", message, span)
            return (value,) * count
        if len(value) != count:
            message = (
                f"`{formal.name.text}` needs {count} numbers, one for each axis of "
                f"`{formal.each.text}`; found {len(value)}"
            )
            self.run.report.fail("E0507", message, span)
        return value

    def accept_source(self, formal: ast.Formal, given: Given, notes: dict[str, Note]) -> None:
        """`source[c, s...]`: the sizes of its axes get their names."""
        name = formal.name.text
        assert formal.axes is not None
        with self.run.report.at(given.span):
            if isinstance(given.value, (int, float, Fraction, str, tuple)):
                raise Fault("E0405", f"`{name}` takes an ensemble, found {describe(given.value)}")
            reference = source(given.value)
            if reference.items or reference.moment is forms.Moment.ALL:
                raise Fault("E0610", f"`{reference}` can only be read with an index")
        self.values[name] = reference
        counts = self.divided(formal, reference, given.span)
        place = 0
        for each, count in zip(formal.axes, counts, strict=True):
            dims = tuple(axis.size for axis in reference.axes[place : place + count])
            place += count
            value: Value = dims if each.pack else dims[0]
            word = each.name.text
            if word in notes and self.values[word] != value:
                before = self.values[word]
                message = (
                    f"axis `{word}` is {_sizes(value)} in `{name}`, but {_sizes(before)} before"
                )
                self.run.report.fail("E0503", message, given.span, notes=(notes[word],))
            notes.setdefault(word, Note(f"`{word}` is {_sizes(value)} here", given.span))
            self.values[word] = value

    def divided(self, formal: ast.Formal, reference: Reference, span: Span) -> list[int]:
        """How many axes of a source each name of a formal takes."""
        assert formal.axes is not None
        counts = []
        for each in formal.axes:
            known = self.values.get(each.name.text)
            counts.append(len(known) if each.pack and isinstance(known, tuple) else 1 - each.pack)
        open_packs = [
            k for k, each in enumerate(formal.axes)
            if each.pack and each.name.text not in self.values
        ]  # fmt: skip
        left = len(reference.axes) - sum(counts)
        if len(open_packs) == 1 and left >= 0:
            counts[open_packs[0]] = left
        elif left != 0 or open_packs:
            text = ", ".join(each.name.text + "..." * each.pack for each in formal.axes)
            message = (
                f"`{formal.name.text}[{text}]` does not fit `{reference}` of shape "
                f"{shape(reference.axes)}"
            )
            self.run.report.fail("E0505", message, span)
        return counts

    # Losses, metrics, updates

    def loss(self, node: ast.Loss) -> None:
        """`loss 0.3 * SoftmaxLoss(scores, label)`."""
        self.only_net("loss", node.span)
        weight, value = self.weighed(node.value, node.name)
        reference = self.reported(value, node.name, node.value.span, "loss")
        name = node.name.text if node.name else self.short_name(value, reference)
        self.run.losses.append(forms.Loss(name, reference.node, weight))

    def metric(self, node: ast.Metric) -> None:
        """`metric accuracy = Accuracy(scores, label)`."""
        self.only_net("metric", node.span)
        value = self.evaluate(node.value, node.name.text if node.name else None)
        reference = self.reported(value, node.name, node.value.span, "metric")
        name = node.name.text if node.name else self.short_name(value, reference)
        self.run.metrics.append(forms.Metric(name, reference.node))

    def only_net(self, word: str, span: Span) -> None:
        if not self.is_net:
            self.run.report.fail("E0107", f"`{word}` stands only in a net", span)

    def weighed(self, node: ast.Expression, name: ast.Name | None) -> tuple[float, Value]:
        """A loss with its weight: compile-time factors are taken apart."""
        text = name.text if name else None
        if not isinstance(node, ast.Binary) or node.op not in ("*", "/"):
            return 1.0, self.evaluate(node, text)
        call_right = isinstance(node.right, ast.Call | ast.Binary)
        left = self.evaluate(node.left, None if call_right else text)
        if isinstance(left, (int, float, Fraction)) and node.op == "*":
            weight, value = self.weighed(node.right, name)
            return float(left) * weight, value
        right = self.evaluate(node.right)
        if isinstance(right, (int, float, Fraction)) and right != 0:
            factor = float(right) if node.op == "*" else 1 / float(right)
            return factor, left
        return 1.0, self.apply(node.op, (left, right), node)

    def reported(self, value: Value, name: ast.Name | None, span: Span, word: str) -> Reference:
        """The node of a loss or metric."""
        if isinstance(value, Formula) and value.sources:
            value = self.materialise(value, name.text if name else None, span)
        with self.run.report.at(span):
            reference = source(value)
        if reference.moment is not forms.Moment.SAME or reference.items:
            message = f"a {word} is an ensemble, found `{reference}`"
            self.run.report.fail("E0610", message, span)
        if name is not None:
            self.run.names.setdefault(name.text, reference.node)
        return reference

    def short_name(self, value: Value, reference: Reference) -> str:
        """What an unnamed loss is reported as: the path of its call."""
        return value.path if isinstance(value, Instance) else reference.node

    def update(self, node: ast.Update) -> None:
        """`update mean[ch] = momentum * mean[ch] + (1 - momentum) * m[ch]`."""
        running = self.read(node.name)
        path = running.node if isinstance(running, Reference) else ""
        target = next((each for each in self.run.runnings if each.name == path), None)
        if target is None:
            message = f"`{node.name.text}` is no running value"
            self.run.report.fail("E0310", message, node.name.span)
        assert target is not None
        axes, values, index = self.update_axes(node, target)
        inner = self.within(values, axes)
        value = inner.evaluate(node.value)
        with self.run.report.at(node.value.span):
            made = formula(value)
            drafts = [(key, as_draft(each)) for key, each in made.sources]
            for _, each in drafts:
                if each.windows:
                    raise Fault("E0407", "an update reads single values, not windows")
        names = formal_names([key for key, _ in drafts])
        [expression] = self.run.stamp(f"{path}#update", renamed(made.expression, names))
        neuron = forms.Neuron(
            "update", tuple(forms.Formal(each) for each in names.values()), (), expression
        )
        bindings = tuple(connection(each, (), node.value.span) for _, each in drafts)
        self.run.updates.append(
            forms.Update(path, tuple(axes), tuple(index), neuron, bindings, node.span)
        )

    def update_axes(
        self, node: ast.Update, target: forms.Running
    ) -> tuple[list[Axis], dict[str, Value], list[Affine]]:
        """The axes that an update runs over: a name for each axis of the running value."""
        axes: list[Axis] = []
        values: dict[str, Value] = {}
        index: list[Affine] = []
        for item in node.items:
            along = target.axes[len(index) :]
            word = item.name if isinstance(item, ast.Spread) else item
            if isinstance(word, ast.Name) and along:
                rank = len(along) - (len(node.items) - len(values) - 1) if item != word else 1
                names = [f"{word.text}.{k}" for k in range(rank)] if item != word else [word.text]
                axes += [Axis(n, a.size) for n, a in zip(names, along, strict=False)]
                values[word.text] = axis_value(names, item != word)
                index += [axis(name) for name in names]
            else:
                index.append(constant(self.update_place(item, along)))
        if len(index) != len(target.axes):
            message = f"`{node.name.text}` has {len(target.axes)} axes, found {len(index)} indices"
            self.run.report.fail("E0601", message, node.name.span)
        return axes, values, index

    def update_place(self, item: ast.Item, along: Sequence[Axis]) -> int:
        if isinstance(item, (ast.Whole, ast.Rest, ast.Window, ast.Range, ast.Spread)) or not along:
            message = "an update has a name or a number for each axis"
            self.run.report.fail("E0601", message, item.span)
        place = self.whole(item, "an index")
        if not 0 <= place < along[0].size:
            message = f"index {place} is outside 0 .. {along[0].size - 1}"
            self.run.report.fail("E0602", message, item.span)
        return place


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


def names_in(node: object) -> Iterator[str]:
    """Every name read in a piece of syntax, names of calls left out."""
    match node:
        case ast.Name(text):
            yield text
        case ast.Call(_, arguments):
            for argument in arguments:
                yield from names_in(argument.value)
        case ast.Attribute(value, _):
            yield from names_in(value)
        case ast.Argument(value, _):
            yield from names_in(value)
        case tuple():
            for each in node:
                yield from names_in(each)
        case ast.Node():
            for slot in type(node).__slots__:
                yield from names_in(getattr(node, slot))
        case _:
            pass


def _sizes(value: Value) -> str:
    return str(value).replace(",)", ")") if not isinstance(value, Sources) else ""
