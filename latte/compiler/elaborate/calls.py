"""What a call means in a layer or net: a layer, a neuron applied to whole ensembles, a view, a
function of numbers; and what each of them is called.

    hidden = ReLU(Linear(pool2, 500))   ->  layer call `linear1`, ensemble `hidden`
    z = mean + exp(spread / 2)          ->  ensemble `z` of an unnamed neuron
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from latte.compiler.affine import axis
from latte.compiler.elaborate import views
from latte.compiler.elaborate.arguments import Arguments, Passed
from latte.compiler.elaborate.arithmetic import CALLABLE, calculate, whole_number
from latte.compiler.elaborate.connect import connection
from latte.compiler.elaborate.context import DEPTH
from latte.compiler.elaborate.neuron import Given, instantiate
from latte.compiler.elaborate.values import (
    Draft,
    Fault,
    Formula,
    Function,
    Instance,
    Poison,
    Poisoned,
    Reference,
    Single,
    Sources,
    Value,
    describe,
    shape,
    sizes,
    source,
)
from latte.compiler.expression import Argument, Axis, Expression, Random
from latte.compiler.net import Binding, Ensemble, Formal, Moment, Neuron
from latte.compiler.rewrite import rewrite
from latte.errors import Span, did_you_mean
from latte.lang import ast

VIEWS = ("join", "reshape", "flatten", "transpose", "prev", "next", "last", "steps", "items")
MEASURES = ("size", "count", "classes")


@dataclass(slots=True)
class Caller(Arguments):
    """Arguments and what calls make of them; `initial` are the axes of the parameter whose first
    values are being read."""

    initial: tuple[Axis, ...] | None = None

    def call(self, node: ast.Call, name: str | None) -> Value:
        """Only what can be called is looked up: beside a formal `size`, `size(i)` is a function."""
        word = node.function.text
        local = self.values.get(word)
        if isinstance(local, Function):
            return self.apply(local.name, [a.value for a in self.arguments(node)], node)
        if self.initial is not None:
            return self.initialiser(node)
        find, near = self.run.definitions.find, self.file
        layer, neuron = find(ast.Layer, word, near), find(ast.Neuron, word, near)
        if neuron is not None and (layer is None or self.prefers(neuron, layer, node)):
            return self.apply_neuron(neuron, node, name)
        if layer is not None:
            return self.call_layer(layer, node, name)
        if word in VIEWS:
            return self.view(node, name)
        return self.function(node)

    def call_layer(self, layer: ast.Layer, node: ast.Call, name: str | None) -> Value:
        """What a layer makes; block.py says."""
        raise NotImplementedError

    def prefers(self, neuron: ast.Neuron, layer: ast.Layer, node: ast.Call) -> bool:
        """A user's own neuron comes before a layer of the library, if the call suits it."""
        library = self.run.definitions.is_library
        if library(neuron.span.source) or not library(layer.span.source):
            return False
        named = {a.name.text for a in node.arguments if a.name}
        free = [f for f in neuron.formals if f.name.text not in named]
        plain = sum(a.name is None for a in node.arguments)
        needed = sum(f.default is None for f in free)
        known = named <= {"name", *(f.name.text for f in neuron.formals)}
        scalar = all(f.axes is None for f in neuron.formals)
        return scalar and known and needed <= plain <= len(free)

    def function(self, node: ast.Call) -> Value:
        """A function of the language on compile-time values or whole ensembles."""
        word = node.function.text
        if word in ("random", "normal") and not node.arguments:
            draw = self.run.next_draw()
            return Formula(Random("uniform" if word == "random" else "normal", draw))
        if word not in (*CALLABLE, *MEASURES):
            return self.unknown_call(node)
        passed = self.arguments(node)
        for argument in passed:
            if argument.name is not None:
                message = f"`{word}` has no argument `{argument.name.text}`"
                self.run.report.fail("E0403", message, argument.name.span)
        values = [argument.value for argument in passed]
        if word in MEASURES:
            with self.run.report.at(node.span):
                return measure(word, values)
        return self.apply(word, values, node)

    def unknown_call(self, node: ast.Call) -> Value:
        word, names = node.function.text, self.run.definitions.names
        if self.run.definitions.find(ast.Init, word, self.file) is not None:
            message = f"`{word}` is an initialiser: it stands only in `param` and `running`"
            self.run.report.fail("E0407", message, node.span)
        known = [*names(ast.Layer, self.file), *names(ast.Neuron, self.file)]
        help = did_you_mean(word, [*known, *VIEWS, *MEASURES, *CALLABLE])
        message = f"unknown layer `{word}`"
        self.run.report.fail("E0303", message, node.function.span, help=help)

    def made(self, passed: Sequence[Passed]) -> list[Passed]:
        """The arguments with expressions of ensembles made into ensembles."""
        return [
            replace(each, value=self.materialise(each.value, None, each.span))
            if isinstance(each.value, (Formula, Draft))
            else each
            for each in passed
        ]

    def apply_neuron(self, neuron: ast.Neuron, node: ast.Call, name: str | None) -> Value:
        """A neuron of scalar formals for each index of the ensembles it is given."""
        kind = neuron.name.text
        for formal in neuron.formals:
            if formal.axes is not None:
                message = f"neuron `{kind}` takes windows and cannot be applied to whole ensembles"
                help = f"connect it: `ensemble out[...] = {kind}(...)`"
                self.run.report.fail("E0407", message, node.span, help=help)
        passed = self.arguments(node)
        name = self.named(passed, neuron.formals, name)
        given = self.bind(neuron.formals, self.made(passed), node, kind)
        given = self.defaults(neuron, given)
        references: list[tuple[Reference, Span]] = []
        for each in given.values():
            if isinstance(each.value, (Reference, Instance)):
                references.append((source(each.value), each.span))
            elif not isinstance(each.value, (int, float, Fraction)):
                message = f"`{kind}` cannot be applied to {describe(each.value)}"
                self.run.report.fail("E0405", message, each.span)
        axes = self.common_axes(references, f"`{kind}`", node.span)
        path = self.path_for(kind, name, node.span)
        connected = {
            key: replace(each, value=_each_place(source(each.value), axes))
            if isinstance(each.value, (Reference, Instance))
            else each
            for key, each in given.items()
        }
        made, bindings = instantiate(self.run, neuron, connected, axes, path)
        return self.add(path, axes, made, bindings, node.span)

    def defaults(self, neuron: ast.Neuron, given: Mapping[str, Given]) -> dict[str, Given]:
        """What is given, with the defaults of the neuron's other formals."""
        result = dict(given)
        values = {key: each.value for key, each in given.items()}
        inner = Caller(self.run, neuron.span.source, values)
        for formal in neuron.formals:
            if formal.name.text not in result:
                assert formal.default is not None
                value = inner.evaluate(formal.default)
                inner.values[formal.name.text] = value
                result[formal.name.text] = Given(value, formal.default.span)
        return result

    def common_axes(
        self, references: Sequence[tuple[Reference, Span]], kind: str, span: Span
    ) -> tuple[Axis, ...]:
        """The axes that all references have; names are the first one's."""
        if not references:
            message = f"{kind} needs at least one ensemble to tell its shape"
            self.run.report.fail("E0405", message, span)
        first, _ = references[0]
        for reference, place in references:
            if reference.items or reference.moment is Moment.ALL:
                message = f"`{reference}` can only be read with an index, in an ensemble"
                self.run.report.fail("E0610", message, place)
            if sizes(reference.axes) != sizes(first.axes):
                message = (
                    f"`{first}` has shape {shape(first.axes)}, "
                    f"but `{reference}` has shape {shape(reference.axes)}"
                )
                self.run.report.fail("E0504", message, span)
        return first.axes

    def materialise(self, value: Value, name: str | None, span: Span) -> Reference:
        """An expression of ensembles as an ensemble of an unnamed neuron."""
        if isinstance(value, Draft):
            message = f"`{value.reference}` is indexed here; only an ensemble's neurons can do that"
            self.run.report.fail("E0405", message, span)
        assert isinstance(value, Formula)
        sources = [(key, each) for key, each in value.sources if isinstance(each, Reference)]
        if len(sources) != len(value.sources):
            message = "an index stands only in the connections of an ensemble"
            self.run.report.fail("E0405", message, span)
        axes = self.common_axes([(each, span) for _, each in sources], "this", span)
        path = self.path_for("expression", name, span)
        formals = formal_names([key for key, _ in sources])
        [expression] = self.run.stamp(path, renamed(value.expression, formals))
        neuron = Neuron(
            "expression", tuple(Formal(each) for each in formals.values()), (), expression
        )
        bindings = tuple(connection(_each_place(each, axes), (), span) for _, each in sources)
        return self.add(path, axes, neuron, bindings, span)

    def add(
        self,
        path: str,
        axes: tuple[Axis, ...],
        neuron: Neuron,
        bindings: tuple[Binding, ...],
        span: Span,
    ) -> Reference:
        """A finished ensemble joins the net."""
        self.run.take(path, span)
        self.run.names[path] = path
        self.run.nodes.append(Ensemble(path, axes, neuron, bindings, span=span))
        return Reference(path, axes)

    def view(self, node: ast.Call, name: str | None) -> Value:
        """`join`, `reshape`, `flatten`, `transpose`; `prev`, `next`, `last`, `steps`, `items`."""
        word = node.function.text
        if word in ("reshape", "transpose"):
            return self.rearranged(node, name)
        passed = self.arguments(node)
        name = self.named(passed, (), name)
        options = {each.name.text: each for each in passed if each.name is not None}
        plain = self.made([each for each in passed if each.name is None])
        allowed = {"join": "axis", "prev": "initial", "next": "initial"}.get(word)
        for key, each in options.items():
            if key != allowed:
                assert each.name is not None
                message = f"`{word}` has no argument `{key}`"
                self.run.report.fail("E0403", message, each.name.span)
        if not plain or (len(plain) > 1 and word != "join"):
            count = "at least one ensemble" if word == "join" else "one ensemble"
            message = f"`{word}` takes {count}, found {len(plain)}"
            self.run.report.fail("E0402", message, node.span)
        with self.run.report.at(node.span):
            references = [source(each.value) for each in plain]
            if word == "join":
                along = whole_number(options["axis"].value, "an axis") if options else 0
                parts = [self.plain(each, node.span) for each in references]
                path = self.path_for(word, name, node.span)
                return views.join(self.run, path, parts, along, node.span)
            if word == "flatten":
                return self.flattened(references[0], name, node)
            given = self.made(list(options.values()))
            initial = source(given[0].value) if given and given[0].value != 0 else None
            return views.moment(word, references[0], initial)

    def flattened(self, of: Reference, name: str | None, node: ast.Call) -> Reference:
        if len(of.axes) == 1 and not of.items and of.moment is Moment.SAME:
            return of
        of = self.plain(of, node.span)
        total = calculate("*", (1, 1))
        for size in sizes(of.axes):
            total = calculate("*", (total, size))
        path = self.path_for("flatten", name, node.span)
        return views.reshape(self.run, path, of, (whole_number(total, "a size"),), node.span)

    def plain(self, of: Reference, span: Span, name: str | None = None) -> Reference:
        """A view or a name needs a node: what is read at another moment is copied into one."""
        if of.moment is Moment.SAME and not of.items:
            return of
        return self.materialise(Formula(Argument(str(of)), ((str(of), of),)), name, span)

    def rearranged(self, node: ast.Call, name: str | None) -> Value:
        """`reshape(a, [4, 5])`, `transpose(a, [1, 0])`."""
        word = node.function.text
        last = node.arguments[-1].value if node.arguments else None
        if not isinstance(last, ast.List):
            what = "sizes" if word == "reshape" else "axes"
            message = f"`{word}` takes an ensemble and a list of {what} in `[ ]`"
            self.run.report.fail("E0402", message, node.span)
        passed = self.arguments(replace(node, arguments=node.arguments[:-1]))
        name = self.named(passed, (), name)
        [given] = self.made(passed) if len(passed) == 1 else [None]
        if given is None:
            self.run.report.fail("E0402", f"`{word}` takes one ensemble and a list", node.span)
        numbers = tuple(self.listed(last))
        make: Callable[..., Reference] = getattr(views, word)
        with self.run.report.at(node.span):
            of = self.plain(source(given.value), node.span)
            if word == "reshape":
                views.check_size(numbers)
                if min(numbers, default=1) < 1:
                    raise Fault("E0501", "a size must be at least 1")
            return make(self.run, self.path_for(word, name, node.span), of, numbers, node.span)

    def listed(self, node: ast.List) -> list[int]:
        """The numbers of a list; packs give all of theirs."""
        found: list[int] = []
        for item in node.items:
            if isinstance(item, (ast.Whole, ast.Rest, ast.Window, ast.Range)):
                self.run.report.fail("E0405", "a list holds whole numbers", item.span)
            value = self.read(item.name) if isinstance(item, ast.Spread) else self.evaluate(item)
            with self.run.report.at(item.span):
                parts = value if isinstance(value, tuple) else (value,)
                found += [whole_number(part, "an element") for part in parts]
        return found

    def initialiser(self, node: ast.Call) -> Value:
        """Inside the first value of a parameter: an `init`, `position(k)`, or a function."""
        word = node.function.text
        assert self.initial is not None
        definition = self.run.definitions.find(ast.Init, word, self.file)
        if definition is None and word == "position":
            place = whole_number(self.arguments(node)[0].value, "an axis") if node.arguments else 0
            if not 0 <= place < len(self.initial):
                message = f"the parameter has no axis {place}"
                self.run.report.fail("E0405", message, node.span)
            return axis(self.initial[place].name)
        if definition is None:
            return self.function(node)
        if len(self.run.report.frames) > DEPTH:
            self.run.report.fail("E0412", f"`{word}` calls itself without end", node.span)
        given = self.bind(definition.formals, self.arguments(node), node, word)
        inner = Caller(self.run, definition.span.source, {}, initial=self.initial)
        with self.run.report.calling(node.span, word):
            inner.fill(definition.formals, given)
            return inner.evaluate(definition.value)


def measure(word: str, values: Sequence[Value]) -> Value:
    """`size(v)`: how many values; `count(v)`: how many elements; `classes(v)` of an input."""
    if len(values) != 1:
        raise Fault("E0402", f"`{word}` takes 1 argument, found {len(values)}")
    value = values[0]
    if isinstance(value, Poison):
        raise Poisoned
    if word == "count" and isinstance(value, (tuple, Sources)):
        return len(value if isinstance(value, tuple) else value.items)
    if word == "classes":
        reference = source(value)
        if reference.classes is None:
            raise Fault("E0405", f"`{reference}` has no classes: it is no `class(n)` input")
        return reference.classes
    if isinstance(value, (Reference, Instance)):
        axes = source(value).axes
        return len(axes) if word == "count" else _product(sizes(axes))
    if word == "count":
        raise Fault("E0405", f"`count` takes several sources or a pack, found {describe(value)}")
    return _product(value if isinstance(value, tuple) else (value,))


def _product(values: Sequence[Value]) -> Value:
    result: Value = 1
    for value in values:
        result = calculate("*", (result, value))
    return result


def _each_place(reference: Reference, axes: tuple[Axis, ...]) -> Draft:
    """The source at the index of each neuron."""
    return Draft(reference, tuple(Single(axis(each.name)) for each in axes))


def formal_names(keys: Sequence[str]) -> dict[str, str]:
    """Short formals for sources: `conv1.out` is `conv1`, a second one `conv1_2`."""
    names: dict[str, str] = {}
    for key in keys:
        words = [word for word in _plain_text(key).split(".") if word.isidentifier()]
        base = next((word for word in reversed(words) if word != "out"), "x")
        number = 1
        while (name := base if number == 1 else f"{base}_{number}") in names.values():
            number += 1
        names[key] = name
    return names


def _plain_text(key: str) -> str:
    return key.split("[")[0].replace("(", ".").replace(")", "")


def renamed(expression: Expression, names: Mapping[str, str]) -> Expression:
    """The expression with its arguments renamed."""

    def rule(node: Expression) -> Expression | None:
        return Argument(names[node.formal], node.index) if isinstance(node, Argument) else None

    return rewrite(expression, rule)
