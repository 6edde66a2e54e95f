"""`latte fmt`: the canonical layout.

In: a Source without syntax errors.  Out: its text with four spaces for each block, one space around
operators, no more than one blank line. Lines end where they ended, comments stay, and what the
writer aligned (`=` or comments in columns, arguments under a bracket) stays aligned.

    layer L( x[i...],n ){          ->   layer L(x[i...], n) {
      out=Linear(x,n)   # last            out = Linear(x, n)   # last
    }                              ->   }
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from latte.errors import Source
from latte.lang.newlines import OPERATORS
from latte.lang.parse import parse
from latte.lang.tables import load
from latte.lang.tokens import Token, pattern

INDENT = 4
ALIGNED = {"EQUAL", "LBRACE"}
TIGHT = {"TIMES", "POWER"}  # the writer chooses between `a*b` and `a * b`
OPENERS = {"LPAR", "LSQB"}
CLOSERS = {"RPAR", "RSQB"}
RESERVED = {"LET", "IF", "THEN", "ELSE", "FOR", "IN", "AND", "OR", "NOT", "BY", "WITH", "EACH"}
VALUES = {"NAME", "NUMBER", "STRING", "RPAR", "RSQB", "REDUCER", "TRUE", "FALSE", "_ELLIPSIS"}


def format_source(source: Source) -> str:
    """The text in canonical layout. Raises LatteError when it has syntax errors."""
    before = parse(source)
    text = _Printer(source).run()
    assert parse(Source(source.name, text)) == before, "formatting changed the meaning"
    return text


@dataclass(slots=True)
class Line:
    """The tokens of one line, its comment apart."""

    tokens: list[Token] = field(default_factory=list)
    comment: Token | None = None


class _Printer:
    """Writes line after line; `depth` counts braces, `brackets` are the columns behind `(` and `[`.

    Each open bracket is kept with its old column and its new one, so that lines which stood under
    it stand under it again.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.lines = _lines(source)
        self.depth = 0
        self.brackets: list[tuple[int, int]] = []
        self.goes_on = False
        self.start = (0, 0)  # the old and new column of the statement
        self.written: list[str] = []

    def run(self) -> str:
        for number, line in enumerate(self.lines):
            if line.tokens or line.comment:
                self.written.append(self.line(number, line))
            elif self.written and self.written[-1] and not self.written[-1].endswith("{"):
                self.written.append("")
            if line.tokens and line.tokens[0].kind == "RBRACE":
                while len(self.written) > 1 and not self.written[-2]:
                    del self.written[-2]
        while self.written and not self.written[-1]:
            self.written.pop()
        return "\n".join(self.written) + "\n"

    def line(self, number: int, line: Line) -> str:
        first = line.tokens[0] if line.tokens else line.comment
        assert first
        column = self.indent(first, self.column(first))
        text = " " * column
        for at, token in enumerate(line.tokens):
            if at:
                text += self.gap(number, line.tokens, at, len(text))
            text += token.text
            self.enter(token, line.tokens[at + 1 : at + 2], len(text))
        if line.tokens:
            self.goes_on = self.is_open(number, line.tokens[-1])
        if line.comment and line.tokens:
            text = text.ljust(self.comment_column(number, line, len(text)))
        return (text + (line.comment.text.rstrip() if line.comment else "")).rstrip()

    def indent(self, first: Token, old: int) -> int:
        """The column of a line: by depth, or where its writer put it when it goes on."""
        depth = self.depth - (first.kind == "RBRACE")
        if not self.goes_on:
            self.start = old, depth * INDENT
            return depth * INDENT
        for before, after in reversed(self.brackets):
            if old == before:
                return after
        return max(self.start[1] + INDENT, self.start[1] + old - self.start[0])

    def enter(self, token: Token, after: list[Token], column: int) -> None:
        if token.kind in OPENERS:
            under = self.column(after[0]) if after else self.column(token) + 1
            self.brackets.append((under, column))
        elif token.kind in CLOSERS:
            self.brackets.pop()
        self.depth += (token.kind == "LBRACE") - (token.kind == "RBRACE")

    def is_open(self, number: int, last: Token) -> bool:
        """Whether the statement goes on in the next line."""
        follows = next((line.tokens for line in self.lines[number + 1 :] if line.tokens), [])
        if self.brackets or last.kind in OPERATORS:
            return True
        return last.kind not in {"RBRACE", "LBRACE"} and bool(
            follows and follows[0].kind in OPERATORS
        )

    def gap(self, number: int, tokens: list[Token], at: int, width: int) -> str:
        """What stands between a token and the one before it."""
        token, before = tokens[at], tokens[at - 1]
        kept = token.start - before.end
        if kept > 1 and ALIGNED & {token.kind, before.kind} and self.aligned(number, token):
            return " " * kept
        return " " if self.spaced(tokens, at) else ""

    def spaced(self, tokens: list[Token], at: int) -> bool:
        token, before = tokens[at], tokens[at - 1]
        kind, last = token.kind, before.kind
        if kind in {"COMMA", "DOT", *CLOSERS} or last in {"DOT", "AT", *OPENERS}:
            return False
        if token.text == ";" or kind == "_ELLIPSIS":
            return kind == "_ELLIPSIS" and last in {"COMMA"}
        if kind == "COLON":
            return last == "COMMA"
        if kind in OPENERS:
            return self.opens_value(tokens, at)
        if last in {"PLUS", "MINUS"} and self.is_sign(tokens, at - 1):
            return False
        if kind in TIGHT or last in TIGHT:
            operator = at if kind in TIGHT else at - 1
            return _loose(tokens, operator)
        return True

    def opens_value(self, tokens: list[Token], at: int) -> bool:
        """Whether a bracket begins a value of its own, so that a space stands before it."""
        before = tokens[at - 1]
        if before.kind in {"PLUS", "MINUS"} and self.is_sign(tokens, at - 1):
            return False
        if before.kind in TIGHT:
            return _loose(tokens, at - 1)
        if before.kind == "RPAR" and tokens[at].kind == "LPAR":
            return True  # sum(i) (...)
        if before.kind in VALUES | CLOSERS:
            return False
        word = before.text.isidentifier() and before.kind not in RESERVED
        return not (word and before.end == tokens[at].start)

    def is_sign(self, tokens: list[Token], at: int) -> bool:
        """Whether a `+` or `-` has no value before it."""
        if at == 0:
            return not self.goes_on
        before = tokens[at - 1]
        word = before.text.isidentifier() and before.kind not in RESERVED
        return before.kind not in VALUES and not word

    def aligned(self, number: int, token: Token) -> bool:
        """Whether another line of this paragraph has the same sign in the same column."""
        column, kind = self.column(token), token.kind if token.kind in ALIGNED else ""
        return any(
            self.column(other) == column and (not kind or other.kind == kind)
            for line in self.paragraph(number)
            for other in line.tokens[1:]
        )

    def paragraph(self, number: int) -> Iterator[Line]:
        """The lines around a line, up to the next empty ones."""
        for step in (-1, 1):
            near = number + step
            while 0 <= near < len(self.lines) and (
                self.lines[near].tokens or self.lines[near].comment
            ):
                yield self.lines[near]
                near += step

    def comment_column(self, number: int, line: Line, width: int) -> int:
        """Where a comment behind a statement stands: in its column, if that is free."""
        assert line.comment
        return max(width + 2, self.column(line.comment))

    def column(self, token: Token) -> int:
        return self.source.position(token.start)[1] - 1


def _loose(tokens: list[Token], at: int) -> bool:
    """Whether an operator has a blank on both sides."""
    after = tokens[at + 1].start if at + 1 < len(tokens) else tokens[at].end + 1
    before = tokens[at - 1].end if at else tokens[at].start - 1
    return before < tokens[at].start and tokens[at].end < after


def _lines(source: Source) -> list[Line]:
    """The tokens of each line."""
    words, lines = load().words, [Line()]
    for match in pattern().finditer(source.text):
        kind, text = match.lastgroup or "", match.group()
        token = Token(words.get(text, kind), text, match.start(), match.end())
        if text == "\n":
            lines.append(Line())
        elif kind == "COMMENT":
            lines[-1].comment = token
        elif kind != "SPACE":
            lines[-1].tokens.append(token)
    return lines
