"""Where statements end.

In: tokens with a _NEWLINE for each line end and `;`.  Out: exactly one _NEWLINE behind each
statement and none elsewhere, then $END; the grammar needs no other rule about lines.

    { NL a = 1 + NL 2 NL }  ->  { a = 1 + 2 NL } NL $END
"""

from __future__ import annotations

from latte.lang.tokens import Token

END = "$END"
OPERATORS = {
    *{"PLUS", "MINUS", "TIMES", "POWER", "COMPARE", "ASSIGN", "EQUAL", "AND", "OR", "COMMA", "DOT"},
    *{"_ARROW", "_WINDOW", "_RANGE", "THEN", "ELSE", "BY", "WITH"},
}
GOES_ON_AFTER = OPERATORS | {"NOT", "LBRACE", "_NEWLINE", "IF", "IN", "COLON", "EACH"}
GOES_ON_BEFORE = OPERATORS | {"LBRACE", "_NEWLINE"}


def normalize_newlines(tokens: list[Token]) -> list[Token]:
    """The tokens with one _NEWLINE after each statement."""
    result: list[Token] = []
    depth = 0
    for token, after in zip(tokens, [*tokens[1:], None], strict=True):
        depth += (token.kind in {"LPAR", "LSQB"}) - (token.kind in {"RPAR", "RSQB"})
        if token.kind == "_NEWLINE":
            if not depth and not _goes_on(result, token, after):
                result.append(token)
            continue
        if token.kind == "RBRACE":
            _end_statement(result, token.start)
        result.append(token)
        if token.kind == "RBRACE" and (after is None or after.kind not in {"_NEWLINE", "ELSE"}):
            _end_statement(result, token.end)
    end = tokens[-1].end if tokens else 0
    _end_statement(result, end)
    return [*result, Token(END, "", end, end)]


def _goes_on(result: list[Token], token: Token, after: Token | None) -> bool:
    """Whether the statement before this line end goes on behind it, or none stands before it."""
    if not result or result[-1].kind in {"LBRACE", "_NEWLINE"}:
        return True
    if token.text == ";" or after is None:
        return False
    return result[-1].kind in GOES_ON_AFTER or after.kind in GOES_ON_BEFORE


def _end_statement(result: list[Token], at: int) -> None:
    if result and result[-1].kind not in {"_NEWLINE", "LBRACE"}:
        result.append(Token("_NEWLINE", "", at, at))
