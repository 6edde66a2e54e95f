"""What a body declares: names, parameters, running values, inputs; and what it requires.

    param weight[filters, c, kernel...] = xavier(c * size(kernel))
->  Parameter conv1.weight[filters: 20, c: 1, kernel.0: 5, kernel.1: 5]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Self

from latte.compiler import net as forms
from latte.compiler.elaborate import views
from latte.compiler.elaborate.arithmetic import truth, whole_number
from latte.compiler.elaborate.calls import Caller
from latte.compiler.elaborate.values import (
    Draft,
    Fault,
    Formula,
    Instance,
    Poison,
    Poisoned,
    Reference,
    Value,
    describe,
    formula,
    source,
)
from latte.compiler.expression import Axis, Expression
from latte.errors import Note, Span
from latte.lang import ast


@dataclass(slots=True)
class Declarer(Caller):
    """A body that binds names. `bound` says where each name got its value, and in which turn of
    which loops."""

    is_net: bool = False
    bound: dict[str, tuple[Span, tuple[int, ...]]] = field(default_factory=dict)

    def evaluated(self, node: ast.Expression, name: str) -> Value:
        """A value as it can be bound: expressions of ensembles become ensembles called `name`."""
        value = self.evaluate(node, name)
        if isinstance(value, Formula) and not value.sources:
            self.run.report.fail("E0405", "this has no ensemble that tells its shape", node.span)
        if isinstance(value, (Formula, Draft)):
            return self.materialise(value, name, node.span)
        if isinstance(value, Reference) and value.moment is not forms.Moment.ALL:
            return value if value.items else self.plain(value, node.span, name)
        return value

    def check_free(self, name: ast.Name) -> None:
        """A name is bound once, or once a turn in a loop."""
        text = name.text
        if text in self.bound:
            first, turns = self.bound[text]
            if len(turns) >= len(self.turns) and turns == self.turns[: len(turns)]:
                self.values[text] = Poison()  # which of the two is meant, nobody knows
                note = Note("first bound here", first)
                message = f"`{text}` is bound twice"
                help = "only the body of a `for` may bind an outer name again"
                self.run.report.fail("E0204", message, name.span, help=help, notes=(note,))

    def bind_name(self, name: ast.Name, value: Value, shown: bool = False) -> None:
        """A name gets its value."""
        text = name.text
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

    def within(self, values: Mapping[str, Value], axes: Sequence[Axis]) -> Self:
        """This body as the connections of an ensemble with these axes see it."""
        ranges = {axis.name: (0, axis.size - 1) for axis in axes}
        inside = {**self.values, **values}
        return replace(self, values=inside, ranges=ranges, outside=self.values)


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
