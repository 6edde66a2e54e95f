"""Every bracket and its partner, found before parsing so that a lost one is named at its opener.

In: the tokens of a file.  Out: the tokens with missing closers put in, which the collector is told.

    layer A(x {          ->  layer A(x ) {          E0103: this `(` is never closed, at the `(`

A `(` or `[` never reaches over a brace, and no item (`layer X`, `net Y`) begins inside a block.
"""

from __future__ import annotations

from latte.errors import Collector, Note, Source, Span, fail
from latte.lang.newlines import ITEMS, begins_statement
from latte.lang.tokens import Token

DEEPEST = 200
CLOSERS = {"LPAR": "RPAR", "LSQB": "RSQB", "LBRACE": "RBRACE"}
OPENERS = {closer: opener for opener, closer in CLOSERS.items()}
VALUES = {"NAME", "NUMBER", "RPAR", "RSQB", "STRING", "TRUE", "FALSE"}
SIGN = {"LPAR": "(", "RPAR": ")", "LSQB": "[", "RSQB": "]", "LBRACE": "{", "RBRACE": "}"}


def match_brackets(tokens: list[Token], source: Source, found: Collector) -> list[Token]:
    """The same tokens with each bracket closed.

    Indentation is looked at only where the braces do not match: it tells which one is lost.
    Raises LatteError E0105 at a bracket nested deeper than 200.
    """
    plain = _Matcher(tokens, source, Collector())
    result = plain.run()
    if plain.missing or plain.extra:
        plain = _Matcher(tokens, source, Collector(), plain.missing, plain.extra)
        result = plain.run()
    for problem in plain.found.diagnostics:
        found.add(problem)
    return result


class _Matcher:
    """Reads the tokens once, `open` holding the brackets not yet closed.

    `missing` and `extra` say whether braces are known to be missing or too many.
    """

    def __init__(
        self,
        tokens: list[Token],
        source: Source,
        found: Collector,
        seek_missing: bool = False,
        seek_extra: bool = False,
    ) -> None:
        self.tokens = tokens
        self.source = source
        self.found = found
        self.seek_missing = seek_missing
        self.seek_extra = seek_extra
        self.missing = False
        self.extra = False
        self.told: set[int] = set()
        self.open: list[Token] = []
        self.result: list[Token] = []

    def run(self) -> list[Token]:
        for number, token in enumerate(self.tokens):
            if token.first and self.open:
                self._begin_line(number)
            if token.kind in CLOSERS:
                self._opener(token)
            elif token.kind in OPENERS:
                self._closer(token)
                continue
            self.result.append(token)
        while self.open:
            self._close_last()
        return self.result

    def _opener(self, token: Token) -> None:
        if token.kind == "LBRACE":
            self._close_round()
        self.open.append(token)
        if len(self.open) > DEEPEST:
            message = f"brackets are nested deeper than {DEEPEST}"
            fail(
                "E0105", message, self._span(token), help="give the inner parts names of their own"
            )

    def _closer(self, token: Token) -> None:
        if token.kind == "RBRACE":
            self._close_round()
        if not self.open or (self.open[-1].kind == "LBRACE" and token.kind != "RBRACE"):
            self._tell_extra(token)
            return
        if self.seek_extra and token.kind == "RBRACE" and self._too_early(token):
            message = "this `}` closes nothing"
            self.found.error("E0103", message, self._span(token), help="remove it")
            self.seek_extra = False
            return
        if self.open[-1].kind != OPENERS[token.kind] and self._has_partner(token):
            self._close_last()
        opener = self.open.pop()
        wanted = CLOSERS[opener.kind]
        if token.kind != wanted:
            notes = (Note("opened here", self._span(opener)),)
            message = f"`{opener.text}` is closed by `{token.text}`"
            self._tell(message, token, f"did you mean `{SIGN[wanted]}`?", notes)
        self.result.append(Token(wanted, SIGN[wanted], token.start, token.end, token.first))

    def _tell_extra(self, token: Token) -> None:
        if token.kind == "RBRACE":
            self.extra = True
            self.result.append(token)  # the parser knows better what it stands behind
        else:
            self._tell(f"this `{token.text}` closes nothing", token, "remove it")

    def _has_partner(self, token: Token) -> bool:
        """Whether a bracket further out waits for this closer: the inner one was forgotten."""
        outer = self.open[:-1]
        return OPENERS[token.kind] in [t.kind for t in outer[_last_brace(outer) :]]

    def _tell(self, message: str, token: Token, help: str, notes: tuple[Note, ...] = ()) -> None:
        """Tell of a `(` or `[`, the first of its line: others there may follow from it."""
        line, _ = self.source.position(token.start)
        if line not in self.told:
            self.told.add(line)
            self.found.error("E0103", message, self._span(token), help=help, notes=notes)

    def _too_early(self, token: Token) -> bool:
        """Whether a brace inside a line closes a block of several lines."""
        line, _ = self.source.position(self.open[-1].start)
        return not token.first and self.source.position(token.start)[0] != line

    def _begin_line(self, number: int) -> None:
        """Close what cannot be open where a new statement or item begins."""
        token = self.tokens[number]
        if self.open[-1].kind != "LBRACE" and begins_statement(self.tokens, number):
            before = next(t.kind for t in reversed(self.result) if t.kind != "_NEWLINE")
            after = self.tokens[number + 1].kind
            if after not in {"EQUAL", "ASSIGN"} or (before in VALUES and self._lost(number)):
                self._close_round()
        if token.kind in ITEMS - {"SOLVER"} and self.tokens[number + 1].kind in {"NAME", "STRING"}:
            while self.open and self._column(token) <= self._indent(self.open[-1]):
                self._close_last(token.text)
        elif self.seek_missing and self._begins_further_left(token):
            self._close_last()

    def _begins_further_left(self, token: Token) -> bool:
        """Whether this line stands where the innermost block cannot reach any more."""
        if not self.open or self.open[-1].kind != "LBRACE" or token.kind in {"_NEWLINE", "LBRACE"}:
            return False
        column, indent = self._column(token), self._indent(self.open[-1])
        return column < indent if token.kind == "RBRACE" else column <= indent

    def _lost(self, number: int) -> bool:
        """Whether the brackets open here are still open where the block ends: never closed."""
        depth = 0
        for token in self.tokens[number:]:
            depth += (token.kind in {"LPAR", "LSQB"}) - (token.kind in {"RPAR", "RSQB"})
            if depth < 0:
                return False
            if token.kind in {"LBRACE", "RBRACE"}:
                return True
        return True

    def _column(self, token: Token) -> int:
        return self.source.position(token.start)[1]

    def _indent(self, token: Token) -> int:
        """The column of the first character on a token's line."""
        line = self.source.line(self.source.position(token.start)[0])
        return len(line) - len(line.lstrip()) + 1

    def _close_round(self) -> None:
        while self.open and self.open[-1].kind != "LBRACE":
            self._close_last()

    def _close_last(self, item: str = "") -> None:
        """Tell that the innermost bracket is never closed, and close it after the last token."""
        opener = self.open.pop()
        last = next(t for t in reversed(self.result) if t.kind != "_NEWLINE")
        if opener.kind == "LBRACE":
            self.missing = True
            self._tell_missing(opener, last, item)
        else:
            help = f"add `{SIGN[CLOSERS[opener.kind]]}`"
            self._tell(f"this `{opener.text}` is never closed", opener, help)
        at = len(self.result)
        while self.result[at - 1].kind == "_NEWLINE":
            at -= 1
        closer = CLOSERS[opener.kind]
        self.result.insert(at, Token(closer, SIGN[closer], last.end, last.end))

    def _tell_missing(self, opener: Token, last: Token, item: str) -> None:
        end = Span(self.source, max(last.start, last.end - 1), last.end)
        notes = (Note("this block is never closed", self._span(opener)),)
        help = "add `}`" + (f" before the next `{item}`" if item else "")
        self.found.error("E0103", "a `}` is missing behind this", end, help=help, notes=notes)

    def _span(self, token: Token) -> Span:
        return Span(self.source, token.start, token.end)


def _last_brace(tokens: list[Token]) -> int:
    """The place behind the last brace."""
    return max((at + 1 for at, token in enumerate(tokens) if token.kind == "LBRACE"), default=0)
