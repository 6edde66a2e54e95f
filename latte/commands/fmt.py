"""`latte fmt`: files in the canonical layout."""

from __future__ import annotations

from pathlib import Path

import click

from latte.commands.command import Command, format_option


@click.command(cls=Command)
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if a file would change")
@format_option
def command(files: tuple[str, ...], check: bool, format: str) -> None:
    """Lay the files out in the canonical way; comments stay.

    \b
      latte fmt net.latte
      latte fmt --check *.latte
    """
    from latte.lang.format import format_source
    from latte.lang.source import read_source

    changed = 0
    for file in files:
        source = read_source(file)
        laid_out = format_source(source)
        if laid_out == source.text:
            continue
        changed += 1
        click.echo(file)
        if not check:
            Path(file).write_text(laid_out, "utf-8")
    if check and changed:
        raise click.exceptions.Exit(1)
