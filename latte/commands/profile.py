"""`latte profile`: where the time goes, layer by layer."""

from __future__ import annotations

import click

from latte.commands.command import Command, compile_options, net_argument, not_in_this_build


@click.command(cls=Command)
@net_argument
@compile_options
def command(**_: object) -> None:
    """A table of the time that each layer takes, and trace.json.

    \b
      latte profile lenet.latte
    """
    not_in_this_build("profiling (`latte profile`)", "`latte bench FILE` times whole passes")
