"""What one elaboration carries along: the definitions, the Net so far, names taken, limits."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from latte.compiler import net as forms
from latte.compiler.elaborate.report import Frame, Report
from latte.compiler.elaborate.values import Value
from latte.compiler.expression import Expression, Random
from latte.compiler.rewrite import rewrite, walk
from latte.errors import Note, Source, Span
from latte.lang import ast

Definition = TypeVar("Definition", bound=ast.Definition)

CALLS = 5_000  # layer calls of one net
TURNS = 5_000  # turns of all compile-time loops of one net
DEPTH = 200  # layer calls inside each other
ELEMENTS = 2**40  # values of one ensemble, input or parameter


class Definitions(Protocol):
    """What names mean in each file: its own definitions, its imports, the library."""

    def find(self, kind: type[Definition], name: str, near: Source) -> Definition | None:
        """The definition of a name as a file sees it."""

    def names(self, kind: type[Definition], near: Source) -> Iterable[str]:
        """All names of a kind that a file sees."""

    def is_library(self, source: Source) -> bool:
        """Whether a file belongs to the standard library."""

    @property
    def file(self) -> ast.File:
        """The user's file."""

    @property
    def nets(self) -> tuple[ast.Net, ...]:
        """The nets of the user's file."""

    @property
    def trains(self) -> tuple[ast.Train, ...]:
        """The train blocks of the user's file."""


@dataclass(slots=True)
class Run:
    """One elaboration. The lists become the fields of the Net, in order."""

    definitions: Definitions
    report: Report
    constant: Callable[[ast.Const], Value]
    inputs: list[forms.Input] = field(default_factory=list)
    parameters: list[forms.Parameter] = field(default_factory=list)
    runnings: list[forms.Running] = field(default_factory=list)
    nodes: list[forms.Node | None] = field(default_factory=list)
    updates: list[forms.Update] = field(default_factory=list)
    losses: list[forms.Loss] = field(default_factory=list)
    metrics: list[forms.Metric] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    output: str | None = None
    paths: dict[str, Span] = field(default_factory=dict)
    frames: dict[str, tuple[Frame, ...]] = field(default_factory=dict)
    neurons: dict[object, forms.Neuron] = field(default_factory=dict)
    streams: set[int] = field(default_factory=set)
    calls: int = 0
    turns: int = 0
    nested: int = 1
    draws: int = 0

    def take(self, path: str, span: Span) -> None:
        """Give a path to what stands at `span`; it must be free."""
        if path in self.paths:
            note = Note(f"`{path}` is given here", self.paths[path])
            hint = 'bind it to another name, or give one of them `name = "..."`'
            text = f"the name `{path}` is taken"
            self.report.fail("E0417", text, span, help=hint, notes=(note,))
        self.paths[path] = span
        self.frames[path] = tuple(self.report.frames)

    def next_draw(self) -> int:
        """A number that sets one `random()` apart until it is stamped."""
        self.draws += 1
        return self.draws

    def stamp(self, path: str, *expressions: Expression) -> tuple[Expression, ...]:
        """The expressions with the stream of each random draw made from its place in the net."""
        streams: dict[int, int] = {}

        def rule(node: Expression) -> Expression | None:
            if not isinstance(node, Random):
                return None
            if node.stream not in streams:
                streams[node.stream] = self._stream(f"{path}#{len(streams)}")
            return Random(node.kind, streams[node.stream], node.index)

        return tuple(rewrite(expression, rule) for expression in expressions)

    def _stream(self, text: str) -> int:
        stream = zlib.crc32(text.encode())
        while stream in self.streams:
            stream = (stream + 1) % 2**32
        self.streams.add(stream)
        return stream


def draws(expressions: Iterable[Expression]) -> bool:
    """Whether any of the expressions draws random numbers."""
    return any(isinstance(node, Random) for each in expressions for node in walk(each))
