"""What every check needs: the definitions as one file sees them, and where to tell mistakes.

In: definitions, a collector, a file.  Out: diagnostics about names and arguments of calls.

    Conv(image, 20, kernl = 5)   ->   E0403: `Conv` has no argument `kernl`; did you mean `kernel`?
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from latte.errors import Collector, Note, Source, Span, closest, did_you_mean
from latte.lang import ast
from latte.lang.resolve import Definitions

Definition = TypeVar("Definition", bound=ast.Definition)
Callable = ast.Neuron | ast.Layer | ast.Solver | ast.Init | ast.Schedule
FUNCTIONS = ("exp", "log", "sqrt", "tanh", "sigmoid", "abs", "floor", "ceil", "erf", "sin", "cos")

# Functions of the language: fewest and most arguments, and the keywords they take.
TAKES: dict[str, tuple[int, int | None, tuple[str, ...]]] = {
    **dict.fromkeys(FUNCTIONS, (1, 1, ())),
    "min": (2, None, ()),
    "max": (2, None, ()),
    "random": (0, 0, ()),
    "normal": (0, 0, ()),
    "size": (1, 1, ()),
    "count": (1, 1, ()),
    "classes": (1, 1, ()),
    "position": (0, 1, ()),
    "join": (1, None, ("axis",)),
    "reshape": (2, 2, ()),
    "flatten": (1, 1, ()),
    "transpose": (2, 2, ()),
    "items": (1, 1, ()),
    "prev": (1, 1, ("initial",)),
    "next": (1, 1, ("initial",)),
    "last": (1, 1, ()),
    "steps": (1, 1, ()),
    "norm": (1, 1, ()),
    "total_norm": (1, 1, ()),
}
MATH = (*FUNCTIONS, "min", "max")


@dataclass(frozen=True, slots=True)
class Room:
    """One item of a file under check.

    Nothing is said of `lost` words, which stand in unreadable statements, and each unknown name is
    `said` once.
    """

    definitions: Definitions
    found: Collector
    source: Source
    lost: frozenset[str]
    said: set[str] = field(default_factory=set)

    def find(self, kind: type[Definition], name: str) -> Definition | None:
        return self.definitions.find(kind, name, self.source)

    def names(self, *kinds: type[ast.Definition]) -> list[str]:
        return [name for kind in kinds for name in self.definitions.names(kind, self.source)]

    def tell(
        self, code: str, message: str, span: Span, help: str = "", notes: tuple[Note, ...] = ()
    ) -> None:
        self.found.error(code, message, span, help=help, notes=notes)

    def unknown(
        self,
        code: str,
        what: str,
        name: ast.Name,
        known: Iterable[str],
        help: str = "",
        label: str = "",
        places: Iterable[ast.Name] = (),
    ) -> None:
        """Tell that a name stands for nothing, and which one it may have been.

        `places` are names as they are bound: the likely one is shown there.
        """
        if name.text not in {*self.lost, *self.said, "_"}:
            self.said.add(name.text)
            near = closest(name.text, known)
            help = f"did you mean `{near}`?" if near else help
            bound = [Note(f"`{near}` is bound here", p.span) for p in places if p.text == near]
            message = f"unknown {what} `{name.text}`"
            notes = tuple(bound[:1])
            self.found.error(code, message, name.span, label=label, help=help, notes=notes)

    def is_broken(self, node: ast.Node, *codes: str) -> bool:
        """Whether a syntax error, or one of `codes`, was told in a node: it may lack something."""
        return self.is_broken_at(node.span, *codes)

    def is_broken_at(self, span: Span, *codes: str) -> bool:
        """The same of a part of the text."""
        return any(
            told.span.source == span.source and span.start <= told.span.start <= span.end
            for told in self.found.diagnostics
            if told.span and (told.code < "E02" or told.code in codes)
        )


def match(room: Room, call: ast.Call, definition: Callable) -> dict[str, ast.Argument]:
    """The argument of each formal; too many, unknown, doubled and missing ones are told."""
    if room.is_broken(definition) or room.is_broken_at(call.span.lines()):
        return {}
    formals = definition.formals
    name = call.function.text
    free = [formal for formal in formals if not formal.variadic]
    rest = next((formal for formal in formals if formal.variadic), None)
    given: dict[str, ast.Argument] = {}
    known = {formal.name.text: formal for formal in formals}
    for number, argument in enumerate(given_by_place(call)):
        if isinstance(argument.value, ast.Spread) or rest:
            given.setdefault(rest.name.text if rest else "", argument)
        elif number < len(free):
            given[free[number].name.text] = argument
        else:
            message = f"`{name}` takes {_arguments(len(free))}, found one more"
            room.tell("E0402", message, argument.span, f"it is {signature(name, formals)}")
            break
    for argument in call.arguments:
        if argument.name:
            _match_named(room, call, argument, argument.name, known, given)
    names = {argument.name.text for argument in call.arguments if argument.name}
    if names <= {*known, "name"}:
        _tell_missing(room, call, formals, given)
    return given


def given_by_place(call: ast.Call) -> list[ast.Argument]:
    """The arguments without a name."""
    return [argument for argument in call.arguments if argument.name is None]


def _match_named(
    room: Room,
    call: ast.Call,
    argument: ast.Argument,
    name: ast.Name,
    known: dict[str, ast.Formal],
    given: dict[str, ast.Argument],
) -> None:
    if name.text not in known:
        if name.text == "name" and isinstance(argument.value, ast.String):
            return
        function = call.function.text
        help = did_you_mean(name.text, known)
        help = help or f"it is {signature(function, tuple(known.values()))}"
        if name.text == "name":
            help = 'a name in a path is text: `name = "first"`'
        message = f"`{function}` has no argument `{name.text}`"
        if name.text not in room.lost:
            room.tell("E0403", message, name.span, help)
    elif name.text in given:
        first = given[name.text]
        notes = (Note("first given here", first.span),)
        room.tell("E0404", f"`{name.text}` is given twice", argument.span, "keep one", notes)
    else:
        given[name.text] = argument


def _tell_missing(
    room: Room, call: ast.Call, formals: tuple[ast.Formal, ...], given: dict[str, ast.Argument]
) -> None:
    missing = [
        formal.name.text
        for formal in formals
        if formal.name.text not in given and formal.default is None
    ]
    if not missing or "" in given or any(f.variadic and f.name.text in given for f in formals):
        missing = [n for n in missing if n not in {f.name.text for f in formals if f.variadic}]
    if missing and "" not in given:
        name = call.function.text
        message = f"`{name}` needs {_and([f'`{text}`' for text in missing])}"
        room.tell("E0401", message, call.function.span, f"it is {signature(name, formals)}")


def match_function(room: Room, call: ast.Call) -> None:
    """The arguments of a function of the language, by their number."""
    name = call.function.text
    least, most, keywords = TAKES[name]
    placed = given_by_place(call)
    spread = any(isinstance(argument.value, ast.Spread) for argument in placed)
    for argument in call.arguments:
        if argument.name and argument.name.text not in keywords:
            help = did_you_mean(argument.name.text, keywords)
            message = f"`{name}` has no argument `{argument.name.text}`"
            room.tell("E0403", message, argument.name.span, help)
    if len(placed) < least and not spread:
        message = f"`{name}` needs {_arguments(least)}, found {len(placed)}"
        room.tell("E0401", message, call.span)
    elif most is not None and len(placed) > most:
        message = f"`{name}` takes {_arguments(most)}, found {len(placed)}"
        room.tell("E0402", message, placed[most].span)


def signature(name: str, formals: tuple[ast.Formal, ...]) -> str:
    """`Conv(source, filters, kernel, stride = 1)`: how a call is written."""
    parts = []
    for formal in formals:
        default = f" = {formal.default.span.text}" if formal.default else ""
        parts.append(formal.name.text + ("..." if formal.variadic else default))
    return f"`{name}({', '.join(parts)})`"


def _arguments(count: int) -> str:
    return "no arguments" if count == 0 else f"{count} argument" + "s" * (count != 1)


def _and(words: list[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]
