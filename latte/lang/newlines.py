"""Where statements end.

In: tokens with a _NEWLINE for each line end and `;`.  Out: exactly one _NEWLINE behind each
statement and none elsewhere, then $END; the grammar needs no other rule about lines.

    { NL a = 1 + NL 2 NL }  ->  { a = 1 + 2 NL } NL $END
"""

from __future__ import annotations

from latte.lang.tokens import Token

END = "$END"
ITEMS = {"IMPORT", "CONST", "INIT", "SCHEDULE", "NEURON", "LAYER", "NET", "SOLVER", "TRAIN"}
STATEMENTS = {
    *{"REQUIRE", "PARAM", "RUNNING", "ENSEMBLE", "UPDATE", "INPUT", "LOSS", "METRIC", "LET"},
    *{"FORWARD", "BACKWARD", "STATE", "FOR"},
    *ITEMS,
}
OPERATORS = {
    *{"PLUS", "MINUS", "TIMES", "POWER", "COMPARE", "ASSIGN", "EQUAL", "AND", "OR", "COMMA"},
    *{"_ARROW", "_WINDOW", "_RANGE", "THEN", "ELSE", "BY", "WITH"},
}
GOES_ON_AFTER = OPERATORS | {"NOT", "LBRACE", "_NEWLINE", "IF", "IN", "COLON", "EACH"}
GOES_ON_BEFORE = OPERATORS | {"LBRACE", "_NEWLINE"}


def normalize_newlines(tokens: list[Token]) -> list[Token]:
    """The tokens with one _NEWLINE after each statement."""
    result: list[Token] = []
    depth = 0
    for at, token in enumerate(tokens):
        after = tokens[at + 1] if at + 1 < len(tokens) else None
        depth += (token.kind in {"LPAR", "LSQB"}) - (token.kind in {"RPAR", "RSQB"})
        if token.kind == "_NEWLINE":
            if not depth and (
                not _goes_on(result, token, after) or _cut_short(result, tokens, at + 1)
            ):
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
    if result[-1].kind == "RBRACE":
        return after.kind in {"ELSE", "_NEWLINE"}
    return result[-1].kind in GOES_ON_AFTER or after.kind in GOES_ON_BEFORE


def _cut_short(result: list[Token], tokens: list[Token], at: int) -> bool:
    """Whether an operator ends the line and a statement begins below: a value is missing."""
    begun = bool(result) and result[-1].kind in GOES_ON_AFTER - {"LBRACE", "_NEWLINE"}
    return begun and at < len(tokens) and begins_statement(tokens, at)


def begins_statement(tokens: list[Token], at: int) -> bool:
    """Whether the token here, first on its line, surely begins a statement."""
    token = tokens[at]
    after = tokens[at + 1].kind if at + 1 < len(tokens) else ""
    if not token.first:
        return False
    if token.kind == "NAME" or after in {"EQUAL", "ASSIGN"}:
        return after in {"EQUAL", "ASSIGN"}
    return token.kind in STATEMENTS and after in {"NAME", "STRING", "LBRACE", "NUMBER", "REDUCER"}


def _end_statement(result: list[Token], at: int) -> None:
    if result and result[-1].kind not in {"_NEWLINE", "LBRACE"}:
        result.append(Token("_NEWLINE", "", at, at))
