"""Every code has an explanation and a golden or other test, and docs/errors.md lists them all."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
CODE = re.compile(r"\bE0\d{3}\b")


def headings() -> dict[str, str]:
    """The codes explained in latte/explain/*.md, and their titles."""
    pages = sorted((ROOT / "latte" / "explain").glob("*.md"))
    text = "\n".join(page.read_text("utf-8") for page in pages)
    return dict(re.findall(r"^#+ (E\d{4}): (.+)$", text, re.MULTILINE))


def codes_in(folder: str, pattern: str) -> set[str]:
    """All codes named in the files of a folder."""
    texts = (path.read_text("utf-8") for path in (ROOT / folder).rglob(pattern))
    return {code for text in texts for code in CODE.findall(text)}


@pytest.mark.parametrize("folder", ["latte/lang", "latte/compiler"])
def test_each_code_is_explained(folder: str) -> None:
    assert codes_in(folder, "*.py") <= headings().keys()


def test_each_code_is_tested() -> None:
    assert {code for code in headings() if code < "E08"} <= codes_in("tests", "*.py") | codes_in(
        "tests", "*.md"
    )


def test_the_index_lists_each_code() -> None:
    titles = sorted(headings().items())
    rows = "".join(f"| {code} | {title} |\n" for code, title in titles)
    page = ROOT / "docs" / "errors.md"
    begin, _, _ = page.read_text("utf-8").partition("| E")
    if os.environ.get("LATTE_UPDATE_GOLDEN"):
        page.write_text(begin + rows, "utf-8")
    assert page.read_text("utf-8") == begin + rows
