"""Diagnostics as text, as one line and as JSON."""

from __future__ import annotations

import json

from latte.errors import (
    Collector,
    Diagnostic,
    LatteError,
    Note,
    Source,
    Span,
    closest,
    render_all,
    to_json,
)

TEXT = Source("lenet.latte", "net N {\n    a = Conv(poool1, 50)\n\tb = 世界 + c\n}\n")


def at(word: str) -> Span:
    start = TEXT.text.index(word)
    return Span(TEXT, start, start + len(word))


PROBLEM = Diagnostic(
    "E0312",
    "unknown ensemble `poool1`",
    at("poool1"),
    "nobody binds it",
    "did you mean `pool1`?",
    (Note("this net", at("net N")), Note("it has no place"), Note("there", Span.at("x.latte"))),
)


def test_the_picture() -> None:
    assert str(LatteError([PROBLEM])).splitlines() == [
        "error[E0312]: unknown ensemble `poool1`",
        "  --> lenet.latte:2:14",
        "   |",
        " 1 | net N {",
        "   | ----- this net",
        " 2 |     a = Conv(poool1, 50)",
        "   |              ^^^^^^ nobody binds it",
        "   |",
        "   = help: did you mean `pool1`?",
        "   = note: it has no place",
        "note: there",
        "  --> x.latte:1:1",
    ]


def test_one_line() -> None:
    concise = "lenet.latte:2:14: error[E0312]: unknown ensemble `poool1`"
    assert PROBLEM.concise() == concise


def test_json() -> None:
    [found] = json.loads(to_json([PROBLEM]))
    assert found == {
        "code": "E0312",
        "severity": "error",
        "message": "unknown ensemble `poool1`",
        "file": "lenet.latte",
        "line": 2,
        "column": 14,
        "end_line": 2,
        "end_column": 20,
        "help": "did you mean `pool1`?",
    }


def test_wide_letters_and_tabs_keep_the_carets_in_place() -> None:
    lines = str(LatteError([Diagnostic("E0301", "unknown name `c`", at("c\n"))])).splitlines()
    shown, carets = lines[3], lines[4]
    assert shown == " 3 |     b = 世界 + c"
    assert carets == "   |                ^"


def test_colors_are_asked_for() -> None:
    assert "\x1b[" not in render_all([PROBLEM])
    assert "\x1b[1;31m" in render_all([PROBLEM], color=True)


def test_collected_in_the_order_of_the_text_and_once() -> None:
    found = Collector()
    for word in ("poool1", "net N", "poool1"):
        found.error("E0301", f"unknown {word}", at(word))
    assert [problem.message for problem in found.diagnostics] == ["unknown net N", "unknown poool1"]


def test_guesses() -> None:
    known = ["neuron", "net", "pool1", "ReLU", "grad", "scores", "score"]
    words = ("nueron", "poool1", "relu", "gradient", "scors", "x", "Frobnicate")
    guessed = [closest(word, known) for word in words]
    assert guessed == ["neuron", "pool1", "ReLU", "grad", "scores", None, None]
