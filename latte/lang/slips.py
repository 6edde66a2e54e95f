"""What went wrong at a token that the grammar does not allow, in the words of a person.

In: the tokens, where the statement begins, where it broke, what could have stood there instead.
Out: a `Slip`. The rules below are asked in order; the first that knows the mistake answers.

    ensembel out[j: n] = ReLU(x[j])   ->  unknown statement `ensembel`; did you mean `ensemble`?
    x = Conv(image 20)                ->  expected `,` or `)`, found `20`; is a `,` missing here?
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from latte.errors import Collector, Source, Span, closest
from latte.lang.newlines import END
from latte.lang.statements import BELONGS, FOREIGN, HEADED, ROOMS
from latte.lang.tables import load
from latte.lang.tokens import Token

OPERANDS = {"NAME", "NUMBER", "LPAR", "STRING", "REDUCER", "TRUE", "FALSE"}
INFIX = {"PLUS", "MINUS", "TIMES", "POWER", "COMPARE", "AND", "OR", "_ARROW", "_WINDOW", "_RANGE"}
DANGLING = INFIX | {"EQUAL", "ASSIGN", "NOT", "COMMA", "BY", "THEN", "ELSE", "WITH", "COLON"}
RESERVED = {"LET", "IF", "THEN", "ELSE", "FOR", "IN", "AND", "OR", "NOT", "TRUE", "FALSE", "EACH"}
RESERVED |= {"BY", "WITH", "REDUCER"}
FOLLOWS_WORD = OPERANDS - {"LPAR"} | {
    "LBRACE",
    "INPUT",
    "LOSS",
    "NET",
    "STATE",
    "UPDATE",
    "FORWARD",
}


@dataclass(frozen=True, slots=True)
class Slip:
    """A syntax error in words; `meant` is the statement word that was probably meant."""

    code: str
    message: str
    span: Span
    label: str = ""
    help: str = ""
    meant: str = ""

    def tell(self, found: Collector) -> None:
        found.error(self.code, self.message, self.span, label=self.label, help=self.help)


@dataclass(frozen=True, slots=True)
class Break:
    """Where a statement broke. `starts` may begin a statement here, `accepted` stand at `place`."""

    source: Source
    tokens: list[Token]
    begin: int
    place: int
    starts: frozenset[str]
    accepted: frozenset[str]

    @property
    def first(self) -> Token:
        return self.tokens[self.begin]

    @property
    def here(self) -> Token:
        return self.tokens[self.place]

    @property
    def before(self) -> Token:
        return self.tokens[max(self.place - 1, 0)]

    @property
    def after(self) -> Token:
        return self.tokens[min(self.place + 1, len(self.tokens) - 1)]

    @property
    def room(self) -> str:
        """What kind of body the statement stands in: a key of ROOMS."""
        if END in self.starts:
            return "the top level of a file"
        if "NAME" in self.starts:
            return "code" if "LET" in self.starts else "a layer or net"
        if "EPOCHS" in self.starts:
            return "`train`"
        return "a neuron" if "FORWARD" in self.starts else "a solver"

    @property
    def words(self) -> dict[str, str]:
        """The statement words possible here, and the terminals they are."""
        return {word: kind for word, kind in load().words.items() if kind in ROOMS[self.room]}

    def span(self, token: Token) -> Span:
        """Where a token stands; a line's end is shown as the place behind its last character."""
        if token.kind in {"_NEWLINE", END} and self.place > 0:
            last = self.before
            return Span(self.source, last.end, min(last.end + 1, len(self.source.text)))
        return Span(self.source, token.start, max(token.end, token.start + 1))

    def slip(self, code: str, message: str, label: str = "", help: str = "") -> Slip:
        return Slip(code, message, self.span(self.here), label, help)


def explain(broken: Break) -> Slip:
    """The first rule that knows the mistake; the last one always answers."""
    for rule in RULES:
        slip = rule(broken)
        if slip:
            return slip
    return expected(broken)


def stray_closer(b: Break) -> Slip | None:
    """A slip for a `}` where a statement would begin."""
    if b.place == b.begin and b.here.kind == "RBRACE":
        return b.slip("E0103", "this `}` closes nothing", help="remove it, or add the `{`")
    return None


def stray_opener(b: Break) -> Slip | None:
    """A slip for a `{` behind no head of a block."""
    if b.here.kind == "LBRACE" and "LBRACE" not in b.accepted and b.before.kind not in DANGLING:
        words = _listed([word for word, kind in sorted(b.words.items()) if kind in HEADED])
        help = f"a block follows a head: {words}" if words else "remove it"
        return b.slip("E0103", "this `{` opens no block", help=help)
    return None


def foreign_comment(b: Break) -> Slip | None:
    """A slip for a line that begins like a comment of another language."""
    if b.place == b.begin and b.here.text in {"//", "/", "*", "-"}:
        return b.slip(
            "E0100", f"`{b.here.text}` begins no statement", help="comments begin with `#`"
        )
    return None


def misplaced(b: Break) -> Slip | None:
    """A statement word that exists, but not in this kind of body."""
    known = b.first.kind in BELONGS and b.first.kind not in ROOMS[b.room]
    if not known or b.place > b.begin + 1 or b.here.kind in {"EQUAL", "ASSIGN"}:
        return None
    where, form = BELONGS[b.first.kind]
    room = "`forward`, `backward` or `update`" if b.room == "code" else b.room
    message = f"`{b.first.text}` cannot stand {'at' if 'top' in room else 'in'} {room}"
    return Slip("E0107", message, b.span(b.first), help=f"it stands {where}: {form}")


def unknown_statement(b: Break) -> Slip | None:
    """A word that begins no statement, misspelt or of another language."""
    word = b.first
    second = b.tokens[min(b.begin + 1, len(b.tokens) - 1)]
    could_be_name = "NAME" in b.starts and word.kind == "NAME"
    if not word.text.isidentifier() or word.kind in ROOMS[b.room]:
        return None
    if b.place > b.begin + could_be_name or (could_be_name and second.kind not in FOLLOWS_WORD):
        return None
    meant = FOREIGN.get(word.text) or closest(word.text, b.words)
    if word.text == "return" and b.room == "code":
        meant = "value ="
    anywhere = closest(word.text, [w for w, k in load().words.items() if k in BELONGS])
    if meant is None and anywhere:
        where = BELONGS[load().words[anywhere]][0]
        help = f"did you mean `{anywhere}`? It stands {where}"
    else:
        help = f"did you mean `{meant}`?" if meant else _choices(b)
    message = f"unknown statement `{word.text}`"
    if word.kind != "NAME":
        message = f"`{word.text}` begins no statement here"
    return Slip("E0104", message, b.span(word), help=help, meant=b.words.get(meant or "", ""))


def _choices(b: Break) -> str:
    begin = "a statement is `name = value`, or begins with" if "NAME" in b.starts else "here stand"
    return f"{begin} {_listed(sorted(b.words))}"


def unbound_value(b: Break) -> Slip | None:
    """`Conv(image, 20)` alone: a value that nobody can use."""
    follows = {"LPAR", *INFIX, "_NEWLINE"}
    if b.place != b.begin + 1 or b.first.kind != "NAME" or b.here.kind not in follows:
        return None
    if "NAME" not in b.starts or b.here.text == "==":
        return None
    dots = "" if b.here.kind == "_NEWLINE" else "(...)" if b.here.kind == "LPAR" else " ..."
    help = f"bind it: `name = {b.first.text}{dots}`"
    return Slip("E0111", "a value stands here, but no name for it", b.span(b.first), help=help)


def assigned_in_layer(b: Break) -> Slip | None:
    """A slip for `+=` and the like where only `=` binds."""
    if b.here.kind == "ASSIGN" and b.accepted & {"EQUAL"}:
        help = "bind a new name with `=`; a running value changes by `update`"
        message = f"`{b.here.text}` works on the locals of a neuron or solver"
        return b.slip("E0107", message, help=help)
    return None


def single_equal(b: Break) -> Slip | None:
    """A slip for `=` where `==` was meant, and the other way round."""
    if b.here.kind == "EQUAL" and "COMPARE" in b.accepted:
        return b.slip("E0100", "expected a comparison, found `=`", help="compare with `==`")
    if b.here.text == "==" and "EQUAL" in b.accepted:
        return b.slip("E0100", "expected `=`, found `==`", help="bind with a single `=`")
    return None


def dangling(b: Break) -> Slip | None:
    """An operator with nothing behind it."""
    closes = {"RPAR", "RSQB", "RBRACE", "_NEWLINE", END, "COMMA"}
    if b.before.kind not in DANGLING or b.here.kind not in closes or b.place == b.begin:
        return None
    message = f"nothing follows this `{b.before.text}`"
    help = "a value is missing" if b.before.kind != "COMMA" else "remove it, or add a value"
    return Slip("E0100", message, Span(b.source, b.before.start, b.before.end), help=help)


def python_conditional(b: Break) -> Slip | None:
    """A slip for an `if` that stands as in Python, or bare inside an expression."""
    if b.here.kind != "IF":
        return None
    if b.before.kind in INFIX | {"NOT"}:
        help = "write `(if a then b else c)`"
        return b.slip("E0100", "an `if` inside an expression stands in brackets", help=help)
    help = "write `if condition then a else b`"
    return b.slip("E0100", "expected an operator, found `if`", help=help)


def chained_comparison(b: Break) -> Slip | None:
    """A slip for the second sign of `a < b < c`."""
    if b.here.kind == "COMPARE" and "AND" in b.accepted:
        help = f"write `a {b.here.text} b and b {b.here.text} c`"
        return b.slip("E0100", "comparisons cannot be chained", help=help)
    return None


def reserved_name(b: Break) -> Slip | None:
    """A slip for a word of the language where a name is wanted."""
    operand = {"NUMBER", "LPAR"} <= b.accepted
    if b.here.kind in RESERVED and "NAME" in b.accepted and not operand:
        help = f"choose another, such as `{b.here.text}_`"
        return b.slip("E0100", f"`{b.here.text}` is a reserved word, not a name", help=help)
    return None


def bare_point(b: Break) -> Slip | None:
    """A slip for a number such as `.5` or `1.`."""
    near = {b.before.kind, b.after.kind}
    if b.here.kind == "DOT" and "NUMBER" in near and "LPAR" in b.accepted:
        return b.slip("E0100", "a number begins with a digit", help=f"write `0.{b.after.text}`")
    if b.before.kind == "DOT" and b.place > 1 and b.tokens[b.place - 2].kind == "NUMBER":
        number = b.tokens[b.place - 2].text
        return b.slip("E0100", "a number ends with a digit", help=f"write `{number}.0`")
    if b.here.kind == "DOT" and b.before.kind == "NUMBER":
        return b.slip("E0100", "a number ends with a digit", help=f"write `{b.before.text}.0`")
    return None


def empty_brackets(b: Break) -> Slip | None:
    """A slip for `x[]`."""
    if b.here.kind == "RSQB" and b.before.kind == "LSQB":
        help = "leave the brackets out, or write `[...]` for everything"
        return b.slip("E0100", "nothing stands between these brackets", help=help)
    return None


def missing_comma(b: Break) -> Slip | None:
    """Two values side by side."""
    if b.here.kind not in OPERANDS | {"LSQB", "LET"} or b.before.kind not in {
        *{"NAME", "NUMBER", "RPAR", "RSQB", "STRING"}
    }:
        return None
    if b.before.kind == "NUMBER" and b.here.kind == "NAME" and b.before.end == b.here.start:
        help = f"write `{b.before.text} * {b.here.text}`"
        return b.slip("E0100", f"a number runs into `{b.here.text}`", help=help)
    if "COMMA" not in b.accepted or not b.accepted & {"RPAR", "RSQB"}:
        return None
    closer = "`)`" if "RPAR" in b.accepted else "`]`"
    message = f"expected `,` or {closer}, found {_shown(b.here)}"
    named = b.before.kind == "NAME" and closer == "`)`" and "EQUAL" in b.accepted
    missing = "a `,` or `=`" if named else "a `,`"
    return b.slip("E0100", message, label=f"is {missing} missing before this?")


def joined(b: Break) -> Slip | None:
    """Two statements on one line, or two values with nothing between them."""
    if "_NEWLINE" not in b.accepted or b.here.kind not in OPERANDS | set(BELONGS):
        return None
    message = f"expected the end of the statement, found {_shown(b.here)}"
    help = "a statement ends with its line, or with `;`"
    if b.here.kind in OPERANDS and "TIMES" in b.accepted:
        message, help = (
            f"expected an operator, found {_shown(b.here)}",
            f"{help}; is a `*` missing?",
        )
    return b.slip("E0100", message, help=help)


def expected(b: Break) -> Slip:
    """The last word: what could stand here, and what does."""
    names = _phrases(b.accepted)
    message = f"expected {_either(names)}, found {_shown(b.here)}"
    if not names:
        message = f"{_shown(b.here)} cannot stand here"
    help = ""
    if b.before.kind == "CLASS":
        help = f"write `class({b.here.text})`"
    elif b.first.kind in ROOMS[b.room] and b.place > b.begin:
        help = f"`{b.first.text}` is written {BELONGS[b.first.kind][1]}"
    return b.slip("E0100", message, help=help)


RULES: tuple[Callable[[Break], Slip | None], ...] = (
    stray_closer,
    stray_opener,
    foreign_comment,
    misplaced,
    unknown_statement,
    unbound_value,
    assigned_in_layer,
    bare_point,
    single_equal,
    dangling,
    reserved_name,
    python_conditional,
    chained_comparison,
    empty_brackets,
    missing_comma,
    joined,
)

SIGNS = {
    "COMMA": "`,`", "RPAR": "`)`", "RSQB": "`]`", "RBRACE": "`}`", "LBRACE": "`{`", "EQUAL": "`=`",
    "COLON": "`:`", "THEN": "`then`", "ELSE": "`else`", "IN": "`in`", "LPAR": "`(`", "LSQB": "`[`",
    "_RANGE": "`..`", "CLASS": "`class`",
}  # fmt: skip


def _phrases(accepted: frozenset[str]) -> list[str]:
    """What may stand here, in a few words."""
    if {"NAME", "NUMBER", "LPAR"} <= accepted:
        return ["a value"]
    if "NAME" in accepted:
        return ["a name"] + (["`)`"] if "RPAR" in accepted else [])
    if "STRING" in accepted:
        return ["a string"]
    wanted = [kind for kind in ("THEN", "ELSE", "IN", "_RANGE") if kind in accepted]
    if wanted and not accepted & {"RPAR", "RSQB", "COMMA"}:
        return [SIGNS[kind] for kind in wanted]
    signs = [sign for kind, sign in SIGNS.items() if kind in accepted and kind != "LSQB"]
    if not signs and "LSQB" in accepted:
        signs = ["`[`"]
    return signs[:4] + (["the end of the line"] if "_NEWLINE" in accepted else [])


def _shown(token: Token) -> str:
    if token.kind == END:
        return "the end of the file"
    if token.kind == "_NEWLINE":
        return "`;`" if token.text == ";" else "the end of the line"
    text = token.text if len(token.text) < 40 else token.text[:37] + "..."
    return text if token.kind == "STRING" else f"`{text}`"


def _either(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " or " + (names or [""])[-1]


def _listed(words: list[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)
