"""A layer's formals meet what a call gives them.

layer Conv(source[c, s...], filters, kernel each s, stride each s = 1)    called with
Conv(image, 20, kernel = 5)     ->  c = 1, s = (28, 28), kernel = (5, 5), stride = (1, 1)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from latte.compiler import net as forms
from latte.compiler.elaborate.declare import Declarer
from latte.compiler.elaborate.neuron import Given
from latte.compiler.elaborate.values import (
    Fault,
    Poison,
    Poisoned,
    Reference,
    Sources,
    Value,
    describe,
    shape,
    source,
)
from latte.errors import Note, Span
from latte.lang import ast


@dataclass(slots=True)
class Formals(Declarer):
    """A body whose formals are bound before its statements are carried out."""

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


def _sizes(value: Value) -> str:
    return str(value).replace(",)", ")") if not isinstance(value, Sources) else ""
