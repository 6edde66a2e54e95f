"""The arguments of a call, and what the call is called.

    Conv(image, 20, kernel = 5, name = "c")
->  source = image, filters = 20, kernel = 5; the path `c`
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from latte.compiler.elaborate.evaluate import Evaluator
from latte.compiler.elaborate.neuron import Given
from latte.compiler.elaborate.values import Poisoned, Sources, Value, describe
from latte.errors import Span, did_you_mean
from latte.lang import ast


@dataclass(frozen=True, slots=True)
class Passed:
    """One evaluated argument of a call."""

    value: Value
    span: Span
    name: ast.Name | None = None


@dataclass(slots=True)
class Arguments(Evaluator):
    """An evaluator that reads the arguments of calls, and names what calls make after `path` and
    the turns of the loops around. `declared` are the names that the body's text binds."""

    path: str = ""
    turns: tuple[int, ...] = ()
    declared: frozenset[str] = frozenset()
    counters: dict[tuple[str, tuple[int, ...]], int] = field(default_factory=dict)

    def arguments(self, node: ast.Call) -> list[Passed]:
        """All arguments evaluated; spread sources become one argument each."""
        passed: list[Passed] = []
        failed = False
        for argument in node.arguments:
            try:
                if isinstance(argument.value, ast.Spread):
                    passed += self.spread(argument.value)
                else:
                    value = self.evaluate(argument.value)
                    passed.append(Passed(value, argument.value.span, argument.name))
            except Poisoned:
                failed = True
        if failed:
            raise Poisoned
        return passed

    def spread(self, node: ast.Spread) -> list[Passed]:
        value = self.read(node.name)
        if isinstance(value, Sources):
            return [Passed(item, node.span) for item in value.items]
        if isinstance(value, tuple):
            return [Passed(item, node.span) for item in value]
        message = f"`{node.name.text}` is {describe(value)}; only several sources can be spread"
        self.run.report.fail("E0405", message, node.span)

    def bind(
        self, formals: Sequence[ast.Formal], passed: Sequence[Passed], node: ast.Call, kind: str
    ) -> dict[str, Given]:
        """Which value goes to which formal; what has a default may be left out."""
        names = [formal.name.text for formal in formals]
        several = next((f.name.text for f in formals if f.variadic), None)
        free = iter(names[: names.index(several)] if several else names)
        given: dict[str, Given] = {}
        rest: list[Value] = []
        for argument in passed:
            key = argument.name.text if argument.name else next(free, several)
            if key is None:
                most, count = len(names), sum(each.name is None for each in passed)
                message = f"`{kind}` takes at most {most} arguments, found {count}"
                self.run.report.fail("E0402", message, argument.span)
            if key == several and argument.name is None:
                rest.append(argument.value)
            elif key not in names:
                assert argument.name is not None
                help = did_you_mean(key, names) or f"it has {', '.join(names)}"
                message = f"`{kind}` has no argument `{key}`"
                self.run.report.fail("E0403", message, argument.name.span, help=help)
            elif key in given:
                message = f"`{kind}` is given `{key}` twice"
                self.run.report.fail("E0404", message, argument.span)
            else:
                given[key] = Given(argument.value, argument.span)
        if several is not None:
            given.setdefault(several, Given(Sources(tuple(rest)), node.span))
        for formal in formals:
            if formal.name.text not in given and formal.default is None:
                message = f"`{kind}` needs the argument `{formal.name.text}`"
                self.run.report.fail("E0401", message, node.span)
        return given

    def child(self, name: str) -> str:
        """The path of something called `name` here: `x` in turn 2 of a loop in `net` is `x.2`."""
        turns = "".join(f".{turn}" for turn in self.turns)
        return f"{self.path}.{name}{turns}" if self.path else name + turns

    def path_for(self, kind: str, name: str | None, span: Span) -> str:
        """The path of a call: as it is bound, or its kind and the first free number."""
        if name is not None:
            return self.child(name)
        key = (kind.lower(), self.turns)
        while True:
            self.counters[key] = number = self.counters.get(key, 0) + 1
            word = f"{kind.lower()}{number}"
            if word not in self.declared and self.child(word) not in self.run.paths:
                return self.child(word)

    def named(
        self, passed: list[Passed], formals: Sequence[ast.Formal], name: str | None
    ) -> str | None:
        """Takes `name = "x"` out of the arguments, unless a formal is called so."""
        if any(formal.name.text == "name" for formal in formals):
            return name
        for place, argument in enumerate(passed):
            if argument.name is not None and argument.name.text == "name":
                if not isinstance(argument.value, str) or not argument.value.isidentifier():
                    message = "`name` must be a text that could be a name"
                    self.run.report.fail("E0405", message, argument.span)
                del passed[place]
                return argument.value
        return name

    def fill(self, formals: Sequence[ast.Formal], given: Mapping[str, Given]) -> None:
        """The names of formals, with defaults that may use the formals before."""
        for formal in formals:
            name = formal.name.text
            if name in given:
                self.values[name] = given[name].value
            else:
                assert formal.default is not None
                self.values[name] = self.evaluate(formal.default)
