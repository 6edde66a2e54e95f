"""Properties of the front end over programs drawn from the grammar and over damaged programs.

A program is a random walk through the rules of grammar.lark; a damaged one has a token deleted,
doubled, swapped or misspelt.
"""

from __future__ import annotations

import random
import re
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latte.errors import Collector, LatteError, Source
from latte.lang.format import format_source
from latte.lang.parse import parse
from latte.lang.resolve import load_text
from latte.lang.tables import Tables, load
from latte.lang.tokens import Token, tokenize

ROOT = Path(__file__).parent.parent.parent
SIGNS = {
    "NAME": ["x", "y", "weight", "source", "Conv", "loss", "state", "n", "_1"],
    "NUMBER": ["0", "3", "28", "0.5", "1e-4"],
    "STRING": ['"a"', '""'],
    "REDUCER": ["sum", "max", "argmin"],
    "COMPARE": ["==", "<", ">="],
    "POWER": ["**"],
    "TIMES": ["*", "/", "//", "%"],
    "ASSIGN": ["+=", "-="],
    "_NEWLINE": ["\n", ";\n"],
    "_ELLIPSIS": ["..."],
    "_WINDOW": ["..+"],
    "_RANGE": [".."],
    "_ARROW": ["->"],
}


@cache
def expansions() -> dict[str, list[tuple[int, tuple[str, ...]]]]:
    """The expansions of each rule, with how deep each must go; found from the tables' grammar."""
    from lark import Lark

    from latte.lang.tables import HERE

    lark = Lark(HERE.joinpath("grammar.lark").read_text("utf-8"), start="file", parser="lalr")
    rules = [(rule.origin.name, tuple(s.name for s in rule.expansion)) for rule in lark.rules]
    names, least = {name for name, _ in rules}, dict[str, int]()
    for _ in range(len(names)):
        for name, symbols in rules:
            deep = [least.get(s, 99) if s in names else 0 for s in symbols]
            least[name] = min(least.get(name, 99), 1 + max(deep, default=0))
    found: dict[str, list[tuple[int, tuple[str, ...]]]] = {}
    for name, symbols in rules:
        deep = [least[s] if s in names else 0 for s in symbols]
        found.setdefault(name, []).append((1 + max(deep, default=0), symbols))
    return found


def spelling(tables: Tables) -> dict[str, list[str]]:
    """Texts for each terminal."""
    words = {kind: [word] for word, kind in tables.words.items()}
    plain = {name: [text.replace("\\", "")] for name, text in tables.patterns}
    return {**plain, **words, **SIGNS}


@st.composite
def programs(draw: st.DrawFn) -> str:
    rng = draw(st.randoms(use_true_random=False))
    return walk(rng, draw(st.integers(4, 25)))


def walk(rng: random.Random, fuel: int) -> str:
    """A text of the grammar; `fuel` is about how deep it goes."""
    rules, texts = expansions(), spelling(load())
    waiting, words = [("_item", fuel), ("_NEWLINE", 0)] * rng.randrange(1, 4), list[str]()
    while waiting:
        symbol, left = waiting.pop(0)
        if symbol in rules:
            choices = [e for e in rules[symbol] if e[0] <= left] or [min(rules[symbol])]
            _, symbols = rng.choice(choices)
            waiting[:0] = [(inner, left - 1) for inner in symbols]
        else:
            words.append(rng.choice(texts[symbol]))
    return " ".join(words)


@given(programs())
@settings(max_examples=60, deadline=None)
def test_what_the_grammar_makes_is_read_and_laid_out(text: str) -> None:
    try:
        tree = parse(Source("drawn", text))
    except LatteError as error:  # things that no grammar can say, such as `forward` twice
        assert {problem.code for problem in error.diagnostics} <= {
            *{"E0105", "E0108", "E0109", "E0110", "E0203", "E0305", "E0403"}
        }, text
        return
    laid_out = format_source(Source("drawn", text))
    assert parse(Source("laid out", laid_out)) == tree
    assert format_source(Source("laid out", laid_out)) == laid_out


@given(st.text(max_size=200))
@settings(max_examples=60, deadline=None)
def test_no_text_breaks_the_front_end(text: str) -> None:
    try:
        load_text(text)
    except LatteError as error:
        for problem in error.diagnostics:
            assert problem.span is not None
            assert 0 <= problem.span.start <= problem.span.end <= len(text) + 1


@cache
def specifications() -> list[str]:
    """The library, the examples and the pages of the manual, as far as their names resolve."""
    paths = [*ROOT.glob("stdlib/**/*.latte"), *ROOT.glob("examples/**/*.latte")]
    texts = [path.read_text("utf-8") for path in sorted(paths)]
    page = (ROOT / "docs" / "language.md").read_text("utf-8")
    return texts + re.findall(r"```latte\n(.*?)```", page, re.DOTALL)


def damage(rng: random.Random, text: str) -> tuple[str, int]:
    """A text with one token deleted, doubled, swapped or misspelt, and the line of it."""
    tokens = [t for t in tokenize(Source("", text), Collector()) if t.kind != "_NEWLINE"]
    at = rng.randrange(len(tokens) - 1)
    token, after = tokens[at], tokens[at + 1]
    line = text.count("\n", 0, token.start) + 1
    middle = text[token.end : after.start]
    match rng.choice(["delete", "double", "swap", "misspell"]):
        case "delete":
            return text[: token.start] + text[token.end :], line
        case "double":
            return text[: token.end] + " " + token.text + text[token.end :], line
        case "swap":
            swapped = after.text + middle + token.text
            return text[: token.start] + swapped + text[after.end :], line
        case _:
            return text[: token.start] + misspell(rng, token) + text[token.end :], line


def misspell(rng: random.Random, token: Token) -> str:
    at = rng.randrange(len(token.text))
    return token.text[:at] + rng.choice("abcxyz") + token.text[at + rng.randrange(2) :]


@pytest.mark.parametrize("seed", range(3))
def test_damage_is_told_where_it_is(seed: int) -> None:
    """At least 95 % of damaged texts have their first error within a line of the damage."""
    rng = random.Random(seed)
    told = near = 0
    for _ in range(150):
        text, line = damage(rng, rng.choice(specifications()))
        try:
            load_text(text)
        except LatteError as error:
            span = error.diagnostics[0].span
            assert span is not None
            told += 1
            near += abs(span.line - line) <= 1
    assert near >= 0.95 * told, f"{near} of {told}"
