"""Text into tokens, by the terminals of grammar.lark.

In: a Source.  Out: a list of tokens; what is no token is told to the collector and replaced by what
was probably meant, so that the parser can go on.

    `x × 2`  ->  NAME("x") TIMES("*") NUMBER("2"), and E0101 at the `×`
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import NamedTuple

from latte.errors import Collector, Source, Span
from latte.lang import tables

# What people type, or paste, for something else.
MEANT = {
    "×": "*", "·": "*", "∗": "*", "÷": "/", "^": "**", "–": "-", "—": "-", "−": "-", "‐": "-",
    "→": "->", "⇒": "->", "←": "=", "≤": "<=", "≥": ">=", "≠": "!=", "…": "...", "‥": "..",
    "&&": "and", "&": "and", "||": "or", "|": "or", "!": "not", "¬": "not", "∧": "and", "∨": "or",
    "∞": "1e38", "“": '"', "”": '"', "‘": '"', "’": '"', "'": '"', "`": '"', "$": "",
    "\\": "", "?": "", "~": "-",
}  # fmt: skip
LETTERS = dict(zip("аеорсухіАВЕКМНОРСТХαοβ", "aeopcyxiABEKMHOPCTXaob", strict=True))
WORD = r"(?P<WORD>\w*[^\W\x00-\x7f]\w*)"
QUOTED = r"(?P<QUOTED>'[^'\n]*'|[“‘][^“”‘’\n]*[”’])"
STRAY = r"(?P<UNCLOSED>\"[^\n]*)|(?P<STRAY>&&|\|\||.)"
LONGEST = 100  # characters of a name or number


class Token(NamedTuple):
    """`kind` is a terminal of the grammar; `first`: it is the first on its line."""

    kind: str
    text: str
    start: int
    end: int
    first: bool = False


@cache
def pattern() -> re.Pattern[str]:
    """All terminals and all strays, one named group each, in the order in which they are tried."""
    parts = [f"(?P<{name}>{regex})" for name, regex in tables.load().patterns]
    return re.compile("|".join([WORD, *parts, QUOTED, STRAY]), re.DOTALL)


def tokenize(
    source: Source, found: Collector, start: int = 0, end: int | None = None
) -> list[Token]:
    """The tokens of a text, or a part of it, without blanks and comments."""
    words = tables.load().words
    tokens: list[Token] = []
    first = True
    stop = len(source.text) if end is None else end
    for match in pattern().finditer(source.text, start, stop):
        kind, text = match.lastgroup or "", match.group()
        if kind in {"SPACE", "COMMENT"}:
            continue
        if kind == "NAME":
            kind = words.get(text, kind)
        if len(text) > LONGEST and kind in {"NAME", "NUMBER"}:
            text = _too_long(kind, text, Span(source, match.start(), match.end()), found)
        elif kind in {"QUOTED", "UNCLOSED", "WORD", "STRAY"}:
            kind, text = _stray(kind, text, Span(source, match.start(), match.end()), found)
        if kind:
            tokens.append(Token(kind, text, match.start(), match.end(), first))
            first = kind == "_NEWLINE" and text == "\n"
    return tokens


def _stray(kind: str, text: str, span: Span, found: Collector) -> tuple[str, str]:
    """Tell what is wrong and return the token that was meant (no kind: nothing)."""
    if kind == "QUOTED":
        found.error("E0102", "strings stand between double quotes", span, help=f'"{text[1:-1]}"')
        return "STRING", f'"{text[1:-1]}"'
    if kind == "UNCLOSED":
        help = 'add the closing `"`; a string ends on its line'
        found.error("E0102", "this string is not closed", span, help=help)
        return "STRING", f'"{text[1:]}"'
    if kind == "WORD":
        return _word(text, span, found)
    meant = MEANT.get(text, unicodedata.normalize("NFKC", text))
    known = pattern().fullmatch(meant) if meant != text else None
    name = unicodedata.name(text, f"U+{ord(text):04X}") if len(text) == 1 else ""
    shown = f"`{text}` ({name.lower()})" if name and not text.isascii() else f"`{text}`"
    if not text.isprintable():
        shown = name.lower()
    help = f"did you mean `{meant}`?" if known and meant.strip() else "remove it"
    found.error("E0101", f"unexpected character {shown}", span, help=help)
    if known is None or not meant.strip():
        return "", ""
    kind = known.lastgroup or ""
    lost = kind in {"STRAY", "UNCLOSED"}
    return ("", "") if lost else (tables.load().words.get(meant, kind), meant)


def _too_long(kind: str, text: str, span: Span, found: Collector) -> str:
    """Tell, and return the shorter name or number that stands in for it."""
    message = f"a {kind.lower()} of {len(text):,} characters; {LONGEST} are the most"
    found.error("E0106", message, span, help="choose a shorter one")
    return text[:LONGEST] if kind == "NAME" else "1"


def _word(text: str, span: Span, found: Collector) -> tuple[str, str]:
    plain = "".join(LETTERS.get(letter, letter) for letter in unicodedata.normalize("NFKC", text))
    odd = next(letter for letter in text if not letter.isascii())
    message = f"`{odd}` ({unicodedata.name(odd, 'unnamed').lower()}) cannot stand in a name"
    help = f"did you mean `{plain}`?" if plain.isascii() else "names use a-z, A-Z, 0-9 and `_`"
    found.error("E0101", message, span, help=help)
    return tables.load().words.get(plain, "NAME"), plain
