"""The grammar has no conflicts, and the stored tables are those of the grammar."""

from __future__ import annotations

import json
import logging

import pytest
from lark import Lark
from lark.utils import logger

from latte.lang.tables import HERE, generate

GRAMMAR = HERE.joinpath("grammar.lark").read_text("utf-8")


def test_the_stored_tables_are_up_to_date() -> None:
    stored = json.loads(HERE.joinpath("grammar.json").read_text("utf-8"))
    assert stored == json.loads(json.dumps(generate(GRAMMAR))), "run python -m latte.lang.tables"


def test_there_are_no_conflicts(caplog: pytest.LogCaptureFixture) -> None:
    logger.addHandler(caplog.handler)
    try:
        with caplog.at_level(logging.DEBUG, logger.name):
            Lark(GRAMMAR, start="file", parser="lalr", lexer="basic", debug=True)
    finally:
        logger.removeHandler(caplog.handler)
    assert [record for record in caplog.records if "conflict" in record.getMessage().lower()] == []
