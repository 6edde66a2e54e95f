"""The specifications in tests/lang/*.md give the diagnostics written below them.

A section (`## Title`) has blocks `latte` (the specification, or `latte FILE` for a file that it
imports) and then one block `text`, what a user sees. `make golden` writes the `text` blocks anew.
A section passes through parsing, names, and the elaboration of each of its nets.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from latte.compiler.elaborate import elaborate
from latte.errors import LatteError
from latte.lang.resolve import load_file

HERE = Path(__file__).parent
SECTION = re.compile(r"^## .*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```(\w+) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def sections() -> Iterator[object]:
    for page in sorted(HERE.glob("*.md")):
        for section in SECTION.findall(page.read_text("utf-8")):
            title = section.partition("\n")[0].removeprefix("## ")
            yield pytest.param(page, section, id=f"{page.stem}: {title}")


@pytest.mark.parametrize(("page", "section"), [*sections()])
def test_section(page: Path, section: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = BLOCK.findall(section)
    for language, name, text in blocks:
        if language == "latte":
            path = Path(name or "spec.latte")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, "utf-8")
    found = diagnose("spec.latte") + "\n"
    expected = next((text for language, _, text in blocks if language == "text"), "")
    if os.environ.get("LATTE_UPDATE_GOLDEN") and found != expected:
        update(page, section, found)
    else:
        assert found == expected


def diagnose(path: str) -> str:
    """What `latte check` says of a file."""
    try:
        definitions = load_file(path)
        for net in definitions.nets:
            elaborate(definitions, net.name.text)
    except LatteError as error:
        return str(error)
    return "no errors"


def update(page: Path, section: str, found: str) -> None:
    """Put the new text in place of the section's `text` block, or at its end."""
    kept = re.sub(r"\n*^```text\n.*?^```\n*", "", section, flags=re.MULTILINE | re.DOTALL)
    renewed = f"{kept.rstrip()}\n\n```text\n{found}```\n"
    page.write_text(
        page.read_text("utf-8").replace(section.rstrip() + "\n", renewed).rstrip() + "\n", "utf-8"
    )
