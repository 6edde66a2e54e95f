"""`latte gradcheck`: every neuron's backward against finite differences, in float64."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from latte.commands.command import Command, json_option, net_argument

if TYPE_CHECKING:
    from latte.model import Net


@click.command(cls=Command)
@net_argument
@click.option("--seed", type=int, default=0, help="Of the values tried  [0]")
@json_option
def command(net: Net, seed: int, as_json: bool) -> None:
    """Compare the gradients of each kind of neuron, written or derived, with finite differences.

    \b
      latte gradcheck mine.latte

    Exits with 1 if one is wrong.
    """
    from latte.gradcheck import check_gradients

    checks = check_gradients(net.elaborated, seed)
    if as_json:
        rows = [
            {
                "ensemble": check.ensemble,
                "neuron": check.neuron,
                "argument": check.formal,
                "written": check.written,
                "difference": check.difference,
                "passed": check.passed,
            }
            for check in checks
        ]
        click.echo(json.dumps({"checks": rows, "passed": all(check.passed for check in checks)}))
    else:
        for check in checks:
            verdict = "ok   " if check.passed else "WRONG"
            how = "written" if check.written else "derived"
            name = f"{check.neuron}.{check.formal}"
            click.echo(f"{verdict}  {name:24} {how}  {check.difference:.1e}  in {check.ensemble}")
    if not all(check.passed for check in checks):
        raise click.exceptions.Exit(1)
