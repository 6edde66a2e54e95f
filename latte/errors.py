"""What a user can do wrong, as data: spans, diagnostics, and the text that shows them.

In: facts about a place in a file.  Out: `Diagnostic`s, collected and raised once as a `LatteError`.

    Diagnostic("E0312", "unknown ensemble `poool1`", span, help="did you mean `pool1`?")
->
    error[E0312]: unknown ensemble `poool1`
      --> lenet.latte:18:18
       |
    18 |     conv2 = Conv(poool1, 50, kernel = 5)
       |                  ^^^^^^
       |
       = help: did you mean `pool1`?

Every code has a section in latte/explain/*.md, which `latte explain CODE` prints.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, NoReturn

Severity = Literal["error", "warning"]
LONGEST_GUESSED = 60  # letters of a name for which a likely one is sought


@dataclass(frozen=True, slots=True)
class Source:
    """A named text. Compared and hashed by its name alone."""

    name: str
    text: str = field(compare=False, repr=False)
    starts: tuple[int, ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        starts, at = [0], self.text.find("\n")
        while at >= 0:
            starts.append(at + 1)
            at = self.text.find("\n", at + 1)
        object.__setattr__(self, "starts", tuple(starts))

    def position(self, offset: int) -> tuple[int, int]:
        """The line and column of an offset, both from 1."""
        line = bisect_right(self.starts, offset)
        return line, offset - self.starts[line - 1] + 1

    def line(self, number: int) -> str:
        """The text of a line, counted from 1, without its end."""
        start = self.starts[number - 1]
        end = self.starts[number] if number < len(self.starts) else len(self.text)
        return self.text[start:end].rstrip("\r\n")


@dataclass(frozen=True, slots=True)
class Span:
    """The characters `start` to `end` (half-open offsets) of a source."""

    source: Source = field(repr=False)
    start: int
    end: int

    @classmethod
    def at(cls, name: str) -> Span:
        """The beginning of a file of which only the name is known."""
        return cls(Source(name, ""), 0, 0)

    @property
    def file(self) -> str:
        return self.source.name

    @property
    def line(self) -> int:
        return self.source.position(self.start)[0]

    @property
    def column(self) -> int:
        return self.source.position(self.start)[1]

    @property
    def end_line(self) -> int:
        return self.source.position(self.end)[0]

    @property
    def end_column(self) -> int:
        return self.source.position(self.end)[1]

    @property
    def text(self) -> str:
        return self.source.text[self.start : self.end]

    def lines(self) -> Span:
        """The whole lines on which this span stands."""
        starts, last = self.source.starts, self.end_line
        end = starts[last] - 1 if last < len(starts) else len(self.source.text)
        return Span(self.source, starts[self.line - 1], end)

    def to(self, other: Span) -> Span:
        """From the beginning of this span to the end of the other."""
        return Span(self.source, min(self.start, other.start), max(self.end, other.end))


@dataclass(frozen=True, slots=True)
class Note:
    """A further fact. With a span in the diagnostic's file it is shown in the same picture."""

    message: str
    span: Span | None = None


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One problem: `message` stands alone, `label` follows the carets, `help` is the way out.

    `span` is None only for what has no place in a file (a missing device, a wrong option).
    """

    code: str
    message: str
    span: Span | None = None
    label: str = ""
    help: str = ""
    notes: tuple[Note, ...] = ()
    severity: Severity = "error"

    def place(self) -> tuple[str, int, int]:
        """File, start and end: the order in which problems are told."""
        return (self.span.file, self.span.start, self.span.end) if self.span else ("", 0, 0)

    def as_json(self) -> dict[str, str | int | None]:
        """The nine keys that tools may rely on."""
        span = self.span
        return {
            "code": self.code,
            "severity": self.severity,
            "message": self.message,
            "file": span.file if span else None,
            "line": span.line if span else None,
            "column": span.column if span else None,
            "end_line": span.end_line if span else None,
            "end_column": span.end_column if span else None,
            "help": self.help,
        }

    def concise(self) -> str:
        """One line: `lenet.latte:18:18: error[E0312]: unknown ensemble ...`."""
        place = f"{self.span.file}:{self.span.line}:{self.span.column}: " if self.span else ""
        return f"{place}{self.severity}[{self.code}]: {self.message}"


class LatteError(Exception):
    """The user's input is wrong; `diagnostics` says where and why, `str()` shows it."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = tuple(diagnostics)
        assert self.diagnostics, "a LatteError needs at least one diagnostic"
        super().__init__(self.diagnostics)

    def __str__(self) -> str:
        return render_all(self.diagnostics)


class Collector:
    """Gathers diagnostics so that one run reports them all, in the order of the text."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, tuple[str, int, int]], Diagnostic] = {}

    def add(self, diagnostic: Diagnostic) -> None:
        """Keep it, unless the same code was already given at the same place."""
        self._found.setdefault((diagnostic.code, diagnostic.place()), diagnostic)

    def error(
        self,
        code: str,
        message: str,
        span: Span | None,
        *,
        label: str = "",
        help: str = "",
        notes: tuple[Note, ...] = (),
    ) -> None:
        self.add(Diagnostic(code, message, span, label, help, notes))

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        return tuple(sorted(self._found.values(), key=Diagnostic.place))

    @property
    def failed(self) -> bool:
        return any(found.severity == "error" for found in self._found.values())

    def raise_errors(self) -> None:
        """Raise everything found as one `LatteError`, if any of it is an error."""
        if self.failed:
            raise LatteError(self.diagnostics)


def fail(
    code: str,
    message: str,
    span: Span | None = None,
    *,
    label: str = "",
    help: str = "",
    notes: tuple[Note, ...] = (),
) -> NoReturn:
    """Raise a single diagnostic, where nothing can go on after it."""
    raise LatteError([Diagnostic(code, message, span, label, help, notes)])


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known name that `word` probably meant, or None when nothing is near enough."""
    if len(word) > LONGEST_GUESSED:
        return None
    allowed = 0 if len(word) < 3 else 1 if len(word) < 6 else 2 if len(word) < 12 else 3
    names = sorted({*known} - {word}, key=lambda name: (-len(name), name))
    ranked = sorted(
        ((_distance(word.lower(), name.lower()), name) for name in names), key=lambda pair: pair[0]
    )
    for distance, name in ranked:
        if distance <= allowed and distance < len(name):
            return name
    longer = [name for _, name in ranked if _begins(word, name) or _begins(name, word)]
    return longer[0] if longer else None


def _begins(short: str, long: str) -> bool:
    return 3 <= len(short) < len(long) <= 3 * len(short) and long.lower().startswith(short.lower())


def _distance(a: str, b: str) -> int:
    """How many letters to add, drop, change or swap with a neighbour (optimal string alignment)."""
    if abs(len(a) - len(b)) > 3:
        return 4
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a):
        older, before, row = before, row, [i + 1]
        for j, y in enumerate(b):
            cost = min(row[j] + 1, before[j + 1] + 1, before[j] + (x != y))
            if i and j and x == b[j - 1] and a[i - 1] == y:
                cost = min(cost, older[j - 1] + 1)
            row.append(cost)
    return row[-1]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The help line for a misspelt name, empty when nothing is near."""
    near = closest(word, known)
    return f"did you mean `{near}`?" if near else ""


def render_all(diagnostics: Iterable[Diagnostic], color: bool = False) -> str:
    """All of them in the layout of `render`, an empty line between two."""
    from latte.render import render

    return "\n\n".join(render(diagnostic, color) for diagnostic in diagnostics)


def to_json(diagnostics: Iterable[Diagnostic]) -> str:
    """A JSON array of `Diagnostic.as_json`."""
    return json.dumps([diagnostic.as_json() for diagnostic in diagnostics], ensure_ascii=False)
