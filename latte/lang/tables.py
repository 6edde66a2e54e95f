"""The parser's tables: lark turns grammar.lark into them, grammar.json keeps them.

In: grammar.lark.  Out: `Tables`, plain lists and numbers that parse.py walks.
Reading the JSON takes 5 ms, asking lark 250 ms; so lark is imported only when the grammar changed
(`python -m latte.lang.tables` writes the JSON again, and a test holds the two together).

    statement: "loss" [name "="] expression
->
    rule ("loss", 2, ((-1, 0), (1, 0))): two symbols, a missing name, then the value of symbol 1
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lark import Lark
    from lark.grammar import Rule as LarkRule

HERE = files("latte.lang")
WORD = re.compile(r"[A-Za-z_]\w*")
MISSING, KEEP, SPLICE = 0, 1, 2  # what a step of a rule's plan does


@dataclass(frozen=True, slots=True)
class Rule:
    """`name` of the node to build ("" splices its children into the parent), and how.

    `plan` has a step (what, position) for each child: MISSING, KEEP, or SPLICE of a nameless rule.
    """

    origin: str
    name: str
    length: int
    plan: tuple[tuple[int, int], ...]
    single: bool  # a `?rule`: with one child, that child takes its place


@dataclass(frozen=True, slots=True)
class Tables:
    """`actions[state][symbol]`: a number >= 0 is the state to go to, `~rule` a rule to reduce."""

    patterns: tuple[tuple[str, str], ...]
    words: dict[str, str]
    rules: tuple[Rule, ...]
    actions: tuple[dict[str, int], ...]
    start: int
    accept: int


@cache
def load() -> Tables:
    """The tables of grammar.lark, from grammar.json when that is up to date."""
    grammar = HERE.joinpath("grammar.lark").read_text("utf-8")
    stored = HERE.joinpath("grammar.json")
    data = json.loads(stored.read_text("utf-8")) if stored.is_file() else {}
    return _decode(data if data.get("hash") == _hash(grammar) else generate(grammar))


def generate(grammar: str) -> dict[str, Any]:
    """What grammar.json holds: the tables in the words of JSON, made by lark."""
    from lark import Lark

    lark = Lark(grammar, start="file", parser="lalr", lexer="basic", maybe_placeholders=True)
    table = lark.parser.parser.parser.parse_table
    rules = {rule: number for number, rule in enumerate(lark.rules)}
    numbers = _number(table.states, table.start_states["file"])
    words = {t.pattern.value: t.name for t in lark.terminals if WORD.fullmatch(t.pattern.value)}
    return {
        "hash": _hash(grammar),
        "patterns": list(_patterns(lark)),
        "words": words,
        "rules": [_rule(rule) for rule in lark.rules],
        "actions": [
            {
                symbol: ~rules[to] if to in rules else numbers[to]
                for symbol, (_, to) in sorted(row.items())
            }
            for row in (table.states[state] for state in numbers)
        ],
        "start": 0,
        "accept": numbers[table.end_states["file"]],
    }


def _number(states: dict[int, dict[str, Any]], start: int) -> dict[int, int]:
    """The states in the order of first visit, so that equal grammars give equal files."""
    numbers, queue = {start: 0}, [start]
    for state in queue:
        for _, (_, to) in sorted(states[state].items(), key=lambda entry: str(entry[0])):
            if to in states and to not in numbers:
                numbers[to] = len(numbers)
                queue.append(to)
    return numbers


def _patterns(lark: Lark) -> Iterator[tuple[str, str]]:
    """The terminals that are no words, in the order in which lark's basic lexer tries them."""
    marks = [t for t in lark.terminals if not WORD.fullmatch(t.pattern.value)]
    marks.sort(key=lambda t: (-t.priority, -t.pattern.max_width, -len(t.pattern.value), t.name))
    return ((terminal.name, terminal.pattern.to_regexp()) for terminal in marks)


def _rule(rule: LarkRule) -> list[Any]:
    """A rule as lark builds its tree: what is dropped, spliced, kept, or missing."""
    plan: list[tuple[int, int]] = []
    empty = rule.options.empty_indices or (False,) * (len(rule.expansion) + 1)
    gaps = "".join(str(int(gap)) for gap in empty).split("0")
    for position, symbol in enumerate(rule.expansion):
        plan += [(MISSING, 0)] * len(gaps[position])
        if not (symbol.is_term and getattr(symbol, "filter_out", False)):
            plan.append((SPLICE if _nameless(symbol.name, symbol.is_term) else KEEP, position))
    plan += [(MISSING, 0)] * len(gaps[len(rule.expansion)])
    origin = rule.origin.name
    name = rule.alias or ("" if _nameless(origin, False) else origin)
    single = rule.options.expand1 and not rule.alias
    return [origin, name, len(rule.expansion), plan, single]


def _nameless(symbol: str, terminal: bool) -> bool:
    return symbol.startswith("_") and not terminal


def _decode(data: dict[str, Any]) -> Tables:
    rules = [
        Rule(origin, name, length, tuple((what, at) for what, at in plan), single)
        for origin, name, length, plan, single in data["rules"]
    ]
    patterns = tuple((name, pattern) for name, pattern in data["patterns"])
    actions = tuple(data["actions"])
    return Tables(patterns, data["words"], tuple(rules), actions, data["start"], data["accept"])


def _hash(grammar: str) -> str:
    return hashlib.sha256(grammar.encode()).hexdigest()


if __name__ == "__main__":
    made = generate(HERE.joinpath("grammar.lark").read_text("utf-8"))
    with open(str(HERE.joinpath("grammar.json")), "w", encoding="utf-8") as stream:
        json.dump(made, stream, separators=(",", ":"), sort_keys=True)
        stream.write("\n")
