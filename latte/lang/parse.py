"""Text into a syntax tree.

In: a Source.  Out: its `File`, and in the collector every syntax error: after one the parser goes
on at the next statement.

    loss SoftmaxLoss(scores, label)
->
    Loss(Call(Name("SoftmaxLoss"), (Argument(Name("scores")), Argument(Name("label")))))

The parser is the usual LALR(1) automaton over the tables of grammar.lark. Before each statement it
notes its stack; a statement that cannot be read is told once (slips.py finds the words) and left
out. Is it the head of a block, a plain head of the same kind takes its place and the block is read.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from latte.errors import Collector, LatteError, Source, Span, fail
from latte.lang import ast, tables
from latte.lang.brackets import DEEPEST, match_brackets
from latte.lang.newlines import END, ITEMS, begins_statement, normalize_newlines
from latte.lang.slips import Break, explain
from latte.lang.statements import BELONGS
from latte.lang.tokens import Token, tokenize
from latte.lang.tree import Builder
from latte.lang.walk import depth

# The head that stands in for an unreadable one, by the word it begins with.
HEADS = {
    "NEURON": ("NEURON", "NAME", "LPAR", "RPAR"),
    "LAYER": ("LAYER", "NAME", "LPAR", "RPAR"),
    "NET": ("NET", "NAME"),
    "SOLVER": ("SOLVER", "NAME"),
    "TRAIN": ("TRAIN", "NAME"),
    "FORWARD": ("FORWARD",),
    "BACKWARD": ("BACKWARD",),
    "UPDATE": ("UPDATE",),
    "IF": ("IF", "NUMBER"),
    "FOR": ("FOR", "NAME", "IN", "NUMBER", "_RANGE", "NUMBER"),
}
CODE_FOR = ("FOR", "NAME", "IN", "NAME")
NAMELESS = "*"  # among the lost words: a statement declares something, but its name is lost
ENDS = {"_NEWLINE", END}
MOST = 100  # errors told of one file


class Value(NamedTuple):
    """A symbol on the stack: the state it led to, what was built, and where it stands."""

    state: int
    built: Any
    start: int
    end: int


class Parsed(NamedTuple):
    """A file, and the words of the statements in it that could not be read."""

    file: ast.File
    lost: frozenset[str]


def parse(source: Source) -> ast.File:
    """The tree of a text that has no syntax errors; raises LatteError with all of them."""
    found = Collector()
    parsed = parse_with(source, found)
    found.raise_errors()
    return parsed.file


def parse_with(source: Source, found: Collector, start: int = 0, end: int | None = None) -> Parsed:
    """The tree of what could be read of a text, or a part of it; errors go to the collector."""
    try:
        return _parse(source, found, start, end)
    except LatteError as error:  # nothing can be said about what lies deeper
        found.add(error.diagnostics[0])
        found.raise_errors()
        raise


def _parse(source: Source, found: Collector, start: int, end: int | None) -> Parsed:
    tokens = match_brackets(tokenize(source, found, start, end), source, found)
    parser = _Parser(normalize_newlines(tokens), source, found)
    file = parser.run()
    if depth(file) > DEEPEST:
        _too_deep(next(item.span for item in file.items if depth(item) > DEEPEST - 1))
    return Parsed(file, frozenset(parser.lost))


def _too_deep(span: Span) -> None:
    message = f"expressions are nested deeper than {DEEPEST}"
    fail("E0105", message, span, help="give the inner parts names of their own")


class _Parser:
    """The automaton: a stack of values, and the place in the tokens."""

    def __init__(self, tokens: list[Token], source: Source, found: Collector) -> None:
        self.tables = tables.load()
        self.tokens = tokens
        self.source = source
        self.found = found
        self.builder = Builder(found)
        self.stack = [Value(self.tables.start, None, 0, 0)]
        self.lost: set[str] = set()
        self.begin = 0  # where the statement begins,
        self.saved = list(self.stack)  # and the stack there

    def run(self) -> ast.File:
        """Read all tokens; what cannot be read is told and left out."""
        place = 0
        while True:
            token = self.tokens[place]
            if not self.step(token):
                place = self.recover(place)
            elif token.kind == END:
                file: ast.File = self.stack[-1].built
                return ast.File(file.items, span=Span(self.source, 0, len(self.source.text)))
            else:
                place += 1
                if token.kind in {"_NEWLINE", "LBRACE", "RBRACE"}:
                    self.begin, self.saved = place, list(self.stack)

    def step(self, token: Token) -> bool:
        """Reduce while the tables say so, then shift; False where neither is possible."""
        if not self.accepts(token.kind):
            return False
        if len(self.stack) > 10 * DEEPEST:
            _too_deep(Span(self.source, token.start, token.end))
        while True:
            to = self.tables.actions[self.stack[-1].state][token.kind]
            if to >= 0:
                self.stack.append(Value(to, token, token.start, token.end))
                return True
            if self.reduce(self.tables.rules[~to]):
                return True

    def accepts(self, kind: str) -> bool:
        """Whether a token of this kind could be shifted now, perhaps after reductions."""
        below, above = len(self.stack), list[int]()  # the stack, and states put upon it
        while True:
            state = above[-1] if above else self.stack[below - 1].state
            to = self.tables.actions[state].get(kind)
            if to is None or to >= 0:
                return to is not None
            rule = self.tables.rules[~to]
            below -= max(0, rule.length - len(above))
            del above[max(0, len(above) - rule.length) :]
            state = above[-1] if above else self.stack[below - 1].state
            above.append(self.tables.actions[state][rule.origin])
            if above[-1] == self.tables.accept:
                return kind == END

    def reduce(self, rule: tables.Rule) -> bool:
        """Replace a rule's symbols by its node; True when that was the whole file."""
        at = len(self.stack) - rule.length
        symbols = self.stack[at:]
        del self.stack[at:]
        start = symbols[0].start if symbols else self.stack[-1].end
        end = symbols[-1].end if symbols else start
        built = self.make(rule, symbols, start, end)
        state = self.tables.actions[self.stack[-1].state][rule.origin]
        self.stack.append(Value(state, built, start, end))
        return state == self.tables.accept

    def make(self, rule: tables.Rule, symbols: list[Value], start: int, end: int) -> Any:
        children: list[Any] = []
        for what, position in rule.plan:
            if what == tables.MISSING:
                children.append(None)
            elif what == tables.KEEP:
                children.append(symbols[position].built)
            else:
                children.extend(symbols[position].built)
        if not rule.name:
            return children
        if rule.single and len(children) == 1:
            return children[0]
        return self.builder.build(rule.name, children, Span(self.source, start, end))

    def recover(self, place: int) -> int:
        """Tell what is wrong at `place`; the place to go on, the stack made ready for it."""
        accepted = self.all_accepted()
        self.stack = list(self.saved)
        starts = self.all_accepted()
        slip = explain(Break(self.source, self.tokens, self.begin, place, starts, accepted))
        if not self.told_before(place):
            slip.tell(self.found)
        if self.accepts("_NEWLINE"):  # the statement was whole, what follows it is not
            self.step(Token("_NEWLINE", "", 0, 0))
        resumed = self.resume(place, slip.meant or self.tokens[self.begin].kind, END in starts)
        if place == self.begin + 1 and self.tokens[self.begin].kind in BELONGS:
            self.lost.add(NAMELESS)
        self.lost.update(t.text for t in self.tokens[self.begin : resumed] if t.text.isidentifier())
        if self.tokens[resumed].kind == END:
            self.close_blocks()
        self.begin, self.saved = resumed, list(self.stack)
        return resumed

    def close_blocks(self) -> None:
        """Close what is still open, so that the file can end."""
        while not self.accepts(END):
            for kind in ("RBRACE", "_NEWLINE"):
                closed = self.step(Token(kind, "", 0, 0))
                assert closed, "a statement begins only in a block"

    def all_accepted(self) -> frozenset[str]:
        row = self.tables.actions[self.stack[-1].state]
        return frozenset(kind for kind in row if self.accepts(kind))

    def told_before(self, place: int) -> bool:
        """Whether something in this statement was told already, so that this may follow from it."""
        start, end = self.tokens[self.begin].start, self.tokens[place].end
        spans = [told.span for told in self.found.diagnostics if told.span]
        return len(spans) >= MOST or any(start <= s.start <= s.end <= end + 1 for s in spans)

    def resume(self, place: int, head: str, top: bool) -> int:
        """Where the next statement begins that can be read, or the block of this one."""
        line_end = next(k for k, t in enumerate(self.tokens) if k >= place and t.kind in ENDS)
        if self.lacks_brace(line_end, head):
            return line_end + 1
        at, level = self.begin, 0
        while self.tokens[at].kind != END:
            token = self.tokens[at]
            level += (token.kind in {"LPAR", "LSQB"}) - (token.kind in {"RPAR", "RSQB"})
            if at > self.begin and level <= 0 and self.begins(at, top):
                break
            if token.kind == "LBRACE":
                if self.put_head(head):
                    break
                at = self.behind_block(at)
            elif at >= place and not (top and head not in HEADS):
                if token.kind == "RBRACE" and at > self.begin:
                    break
                if token.kind == "_NEWLINE":
                    return at + 1
            at += 1
        return at

    def lacks_brace(self, line_end: int, head: str) -> bool:
        """Whether a head ends its line without `{`, and a `}` is too many; the `{` is put there."""
        kinds = [token.kind for token in self.tokens]
        lost = kinds.count("RBRACE") > kinds.count("LBRACE")
        headless = kinds[line_end] == "_NEWLINE" and "LBRACE" not in kinds[self.begin : line_end]
        if not (lost and headless and self.put_head(head)):
            return False
        return self.step(Token("LBRACE", "", 0, 0))

    def behind_block(self, at: int) -> int:
        """The brace that closes the block opened here."""
        level = 0
        for end in range(at, len(self.tokens)):
            kind = self.tokens[end].kind
            level += (kind == "LBRACE") - (kind == "RBRACE")
            if level == 0 or kind == END:
                return end - (kind == END)
        raise AssertionError("tokens end with $END")

    def begins(self, at: int, top: bool) -> bool:
        """Whether a line begins here, and on it surely a statement."""
        return begins_statement(self.tokens, at) and (not top or self.tokens[at].kind in ITEMS)

    def put_head(self, word: str) -> bool:
        """Shift a plain head in place of the unreadable one, where one of its kind may stand."""
        before = list(self.stack)
        for head in (HEADS.get(word, ()), CODE_FOR if word == "FOR" else ()):
            dummies = [Token(kind, "0" if kind == "NUMBER" else "_", 0, 0) for kind in head]
            if head and all(self.step(dummy) for dummy in dummies) and self.accepts("LBRACE"):
                return True
            self.stack = list(before)
        return False
