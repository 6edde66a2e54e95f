"""The picture of a diagnostic: header, place, source lines with carets, help.

In: a `Diagnostic`.  Out: text of the kind shown in latte/errors.py, with ANSI colours on request.
A label is drawn under each marked line: `^^^` for the problem itself, `---` for notes beside it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from latte.errors import Diagnostic, Source, Span

WIDTH = 110  # longer lines are shown in part, around what is marked
COLORS = {"error": "1;31", "warning": "1;33", "bold": "1", "frame": "1;34", "help": "1;32"}


@dataclass(frozen=True, slots=True)
class Mark:
    """A span to underline with `sign`, and the text beside it."""

    span: Span
    text: str
    sign: str
    style: str


def render(diagnostic: Diagnostic, color: bool = False) -> str:
    """The diagnostic as a person reads it; ends without a newline."""
    paint = _painter(color)
    level = diagnostic.severity
    title = paint(level, f"{level}[{diagnostic.code}]") + paint("bold", f": {diagnostic.message}")
    lines, pad = [title], " "
    if diagnostic.span:
        primary = Mark(diagnostic.span, diagnostic.label, "^", level)
        beside = [
            Mark(note.span, note.message, "-", "frame")
            for note in diagnostic.notes
            if note.span and note.span.source == diagnostic.span.source
        ]
        pad = " " * _gutter([primary, *beside])
        lines += _picture(primary, beside, pad, color)
    lines += _tail(diagnostic, pad, color)
    return "\n".join(line.rstrip() for line in lines)


def _tail(diagnostic: Diagnostic, pad: str, color: bool) -> list[str]:
    """Help, notes without a place, then notes in other files with their own pictures."""
    paint, lines = _painter(color), []
    frame = paint("frame", "=")
    elsewhere = []
    for note in diagnostic.notes:
        if note.span is None:
            lines.append(f"{pad} {frame} note: {note.message}")
        elif diagnostic.span is None or note.span.source != diagnostic.span.source:
            elsewhere.append(note)
    if diagnostic.help:
        first, *more = diagnostic.help.split("\n")
        lines.insert(0, f"{pad} {frame} {paint('help', 'help')}: {first}")
        lines[1:1] = [f"{pad}         {line}" for line in more]
    if lines and diagnostic.span and diagnostic.span.source.text:
        lines.insert(0, f"{pad} {paint('frame', '|')}")
    for note in elsewhere:
        assert note.span is not None
        mark = Mark(note.span, "", "-", "frame")
        lines.append(paint("bold", f"note: {note.message}"))
        lines += _picture(mark, [], " " * _gutter([mark]), color)
    return lines


def _picture(primary: Mark, beside: list[Mark], pad: str, color: bool) -> list[str]:
    """The arrow line and the marked source lines, `...` where lines are left out."""
    paint = _painter(color)
    source = primary.span.source
    line, column = source.position(primary.span.start)
    lines = [f"{pad}{paint('frame', '-->')} {source.name}:{line}:{column}"]
    if not source.text:
        return lines
    bar = paint("frame", "|")
    lines.append(f"{pad} {bar}")
    marks = sorted([primary, *beside], key=lambda mark: mark.span.line)
    shown = 0
    for mark in marks:
        number = mark.span.line
        if shown and number > shown + 1:
            lines.append(paint("frame", "..."))
        low, text = _window(source, [m.span for m in marks if m.span.line == number])
        if number != shown:
            lines.append(f"{paint('frame', str(number).rjust(len(pad)))} {bar} {_plain(text)}")
        shown = number
        lines.append(f"{pad} {bar} {_underline(source, mark, low, text, color)}")
    return lines


def _underline(source: Source, mark: Mark, low: int, text: str, color: bool) -> str:
    """Spaces, then the mark's signs under its characters, then its text."""
    line, column = source.position(mark.span.start)
    first = column - 1 - low
    last = mark.span.end_column - 1 - low if mark.span.end_line == line else len(text.rstrip())
    before, inside = _plain(text[:first]), _plain(text[first : max(last, first)])
    signs = mark.sign * max(1, _columns(inside))
    return " " * _columns(before) + _painter(color)(mark.style, f"{signs} {mark.text}".rstrip())


def _window(source: Source, spans: list[Span]) -> tuple[int, str]:
    """The part of the spans' common line that fits, and the column at which it begins."""
    text = source.line(spans[0].line)
    if len(text) <= WIDTH:
        return 0, text
    first = min(span.column for span in spans) - 1
    low = max(0, min(first - WIDTH // 3, len(text) - WIDTH))
    return low, text[low : low + WIDTH]


def _gutter(marks: list[Mark]) -> int:
    return max(2, *(len(str(mark.span.line)) for mark in marks), 0)


def _plain(text: str) -> str:
    """The text with tabs spread and unprintable characters made visible."""
    return "".join(_visible(character) for character in text)


def _visible(character: str) -> str:
    if character == "\t":
        return "    "
    category = unicodedata.category(character)
    return "\ufffd" if category in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"} else character


def _columns(text: str) -> int:
    """How wide the text is on a terminal."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(map(bool, map(unicodedata.combining, text)))


def _painter(color: bool) -> Callable[[str, str], str]:
    def paint(style: str, text: str) -> str:
        return f"\x1b[{COLORS[style]}m{text}\x1b[0m" if color else text

    return paint
