"""The documents show what the tool prints: every console block that runs `latte` is run.

    ```console
    $ latte check docs/walkthrough.latte
    docs/walkthrough.latte: no problems
    ```
A line `$ latte ... | head -N` keeps the first N lines. `make golden` writes the outputs anew.
"""

import os
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    page for page in (ROOT / "docs").glob("*.md") if "$ latte " in page.read_text("utf-8")
)
BLOCK = re.compile(r"(```console\n)(.*?)(```)", re.DOTALL)
HEAD = re.compile(r"(.*?) \| head -(\d+)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_console_blocks_show_what_is_printed(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", "100")
    text = page.read_text("utf-8")
    fresh = BLOCK.sub(lambda block: block[1] + _run(block[2]) + block[3], text)
    if os.environ.get("LATTE_UPDATE_GOLDEN"):
        page.write_text(fresh, "utf-8")
    else:
        assert fresh == text, "run `make golden` and look at the difference"


def _run(block: str) -> str:
    """A block with the output of each of its commands, the ones shown or fresh ones."""
    commands = [line for line in block.splitlines() if line.startswith("$ latte ")]
    if not commands:
        return block
    return "".join(f"{command}\n{_output(command[2:])}" for command in commands)


def _output(command: str) -> str:
    from latte.cli import main

    kept = None
    if match := HEAD.fullmatch(command):
        command, kept = match[1], int(match[2])
    result = CliRunner().invoke(main, shlex.split(command)[1:])
    lines = result.stdout.splitlines(keepends=True)
    return "".join(line.rstrip() + "\n" for line in lines[:kept])
