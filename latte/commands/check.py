"""`latte check`: parse, names, shapes and indices of every net in the files, without LLVM."""

from __future__ import annotations

import click

from latte.commands.command import (
    Command,
    definition_option,
    format_option,
    parse_definitions,
    split_name,
)
from latte.errors import Collector, LatteError


@click.command(cls=Command)
@click.argument("files", metavar="FILE[:NET]...", nargs=-1, required=True)
@definition_option
@format_option
def command(files: tuple[str, ...], definitions: tuple[str, ...], format: str) -> None:
    """Look for mistakes in the files: all of them are told at once.

    \b
      latte check lenet.latte
      latte check --format json *.latte
    """
    found = Collector()
    for file in files:
        try:
            checked = _check(file, definitions)
        except LatteError as error:
            for diagnostic in error.diagnostics:
                found.add(diagnostic)
        else:
            if format != "json":
                click.echo(f"{file}: no mistakes ({checked})")
    found.raise_errors()
    if format == "json":
        click.echo("[]")


def _check(file: str, definitions: tuple[str, ...]) -> str:
    """Check one file; the names of its nets. Raises LatteError with all mistakes."""
    from latte import build

    path, name = split_name(file)
    read = build.read_file(path)
    names = [name] if name else [net.name.text for net in read.nets]
    found = Collector()
    for each in names:
        try:
            build.elaborate(read, each, parse_definitions(definitions))
        except LatteError as error:
            for diagnostic in error.diagnostics:
                found.add(diagnostic)
    found.raise_errors()
    return ", ".join(names) if names else "no net in it"
