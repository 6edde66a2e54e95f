"""`latte summary`: layers, shapes, parameters, work; before anything is compiled."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from latte.commands.command import Command, colored, json_option, net_argument

if TYPE_CHECKING:
    from latte.model import Net


@click.command(cls=Command)
@net_argument
@json_option
def command(net: Net, as_json: bool) -> None:
    """The layers of a net, their shapes, parameters and work.

    \b
      latte summary lenet.latte
      latte summary models.latte:LeNet -D classes=100
    """
    summary = net.summary()
    if as_json:
        facts = {**asdict(summary), "parameters": summary.parameters, "flops": summary.flops}
        click.echo(json.dumps(facts))
    elif sys.stdout.isatty():
        from rich.console import Console

        Console(no_color=not colored(sys.stdout)).print(summary.table())
    else:
        click.echo(summary.text())
