"""Where a mistake is reported: at the innermost place in the user's own files.

A mistake inside a library layer is shown at the call that a user wrote; the library's line follows
as a note. `fail` raises `Poisoned`: the statement is given up, the next one is tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NoReturn

from latte.compiler.elaborate.values import Fault, Poisoned
from latte.errors import Collector, Diagnostic, Note, Source, Span


@dataclass(frozen=True, slots=True)
class Frame:
    """A call that is being carried out: where it stands, and what it calls."""

    span: Span
    name: str


@dataclass(slots=True)
class Report:
    """Collects diagnostics; `frames` are the calls around what is being elaborated, `told` the
    mistakes found before: nothing more is said about their places."""

    is_library: Callable[[Source], bool]
    collector: Collector = field(default_factory=Collector)
    frames: list[Frame] = field(default_factory=list)
    told: tuple[Diagnostic, ...] = ()

    def error(
        self, code: str, message: str, span: Span, *, help: str = "", notes: tuple[Note, ...] = ()
    ) -> None:
        """Report a mistake and go on."""
        place = next((s for s in self._places(span) if not self.is_library(s.source)), span)
        if place is not span:
            notes = (*notes, Note("from this line of the library", span))
        elif notes == () and (frame := self._around(span)) is not None:
            notes = (Note(f"in this call of `{frame.name}`", frame.span),)
        if not any(each.span and _overlap(each.span, place) for each in self.told):
            self.collector.error(code, message, place, help=help, notes=notes)

    def fail(
        self, code: str, message: str, span: Span, *, help: str = "", notes: tuple[Note, ...] = ()
    ) -> NoReturn:
        """Report a mistake after which this statement has no value."""
        self.error(code, message, span, help=help, notes=notes)
        raise Poisoned

    def give_up(self, code: str, message: str, span: Span, help: str = "") -> NoReturn:
        """Report a mistake after which nothing else is worth trying."""
        self.error(code, message, span, help=help)
        self.collector.raise_errors()
        raise AssertionError("an error was just reported")

    @contextmanager
    def at(self, span: Span, note: Note | None = None) -> Iterator[None]:
        """Faults inside are mistakes of this place."""
        try:
            yield
        except Fault as fault:
            notes = (note,) if note else ()
            self.error(fault.code, fault.message, span, help=fault.help, notes=notes)
            raise Poisoned from None

    @contextmanager
    def calling(self, span: Span, name: str) -> Iterator[None]:
        """Mistakes inside happen in a call that stands here."""
        self.frames.append(Frame(span, name))
        try:
            yield
        finally:
            self.frames.pop()

    def _around(self, span: Span) -> Frame | None:
        """The call in the same file whose body this place belongs to."""
        if not self.frames:
            return None
        frame = self.frames[-1]
        inside = frame.span.start <= span.start and span.end <= frame.span.end
        return None if inside or frame.span.source != span.source else frame

    def _places(self, span: Span) -> Iterator[Span]:
        yield span
        for frame in reversed(self.frames):
            yield frame.span


def _overlap(one: Span, other: Span) -> bool:
    return one.source == other.source and one.start < other.end and other.start < one.end
