"""`latte explain`: what a code means, with an example and what to do."""

from __future__ import annotations

import re
import sys

import click

from latte.commands.command import Command, colored, format_option
from latte.errors import did_you_mean, fail
from latte.options import PACKAGE

HEADING = re.compile(r"^#+ (E\d{4})\b", re.MULTILINE)


@click.command(cls=Command)
@click.argument("code")
@format_option
def command(code: str, format: str) -> None:
    """A diagnostic's code at length.

    \b
      latte explain E0312
    """
    sections = explanations()
    wanted = code.upper().strip("[]")
    if wanted not in sections:
        hint = did_you_mean(wanted, sections) or "codes look like E0312"
        fail("E0958", f"there is no code `{code}`", help=hint)
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.markdown import Markdown

        Console(no_color=not colored(sys.stdout)).print(Markdown(sections[wanted]))
    else:
        click.echo(sections[wanted])


def explanations() -> dict[str, str]:
    """The section of each code, from latte/explain/*.md."""
    found = {}
    for path in sorted((PACKAGE / "explain").glob("*.md")):
        text = path.read_text("utf-8")
        starts = [*HEADING.finditer(text)]
        ends = [start.start() for start in starts[1:]] + [len(text)]
        for start, end in zip(starts, ends, strict=True):
            found[start[1]] = text[start.start() : end].strip()
    return found
