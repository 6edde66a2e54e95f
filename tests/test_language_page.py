"""Every block of docs/language.md is a file that reads; every net in one elaborates."""

import re
from pathlib import Path

import pytest

import latte

PAGE = Path(__file__).parent.parent / "docs" / "language.md"
BLOCKS = re.findall(r"```latte\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


@pytest.mark.parametrize("text", BLOCKS, ids=lambda text: " ".join(text.split()[:2]))
def test_block_is_a_file(text: str) -> None:
    net = latte.loads(text)
    if "\nnet " in "\n" + text:
        assert net.elaborated.losses
