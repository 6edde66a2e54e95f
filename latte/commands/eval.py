"""`latte eval`: losses and metrics of trained weights on data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from latte.commands.command import (
    Command,
    Settings,
    compile_options,
    json_option,
    net_argument,
)

if TYPE_CHECKING:
    from latte.model import Net


@click.command(cls=Command)
@net_argument
@click.option("--data", required=True, metavar="SPEC", help="Its test split, if it has one")
@click.option("--weights", required=True, metavar="FILE", help="Weights, or a --save folder")
@compile_options
@json_option
def command(
    net: Net,
    as_json: bool,
    data: str,
    weights: str,
    settings: Settings,
) -> None:
    """Losses and metrics of a trained net, averaged over the data.

    \b
      latte eval lenet.latte --data mnist:DIR --weights trained
      latte eval lenet.latte --data mnist:DIR@train --weights w.safetensors --json
    """
    from latte.runtime.checkpoint import weights_file
    from latte.runtime.datasets import open_data, open_test, parse_spec
    from latte.runtime.progress import numbers_text
    from latte.runtime.train import evaluate

    spec, inputs = parse_spec(data, settings.time), net.elaborated.inputs
    tested = None if spec.explicit else open_test(spec, inputs)
    items = tested or open_data(spec, inputs)
    exe = settings.compile(net, mode="infer", time=items.steps)
    exe.load(weights_file(Path(weights)))
    found = evaluate(exe, items, exe.batch)
    if as_json:
        click.echo(json.dumps({"data": str(spec.at("test") if tested else spec), **found}))
    else:
        click.echo(f"{len(items):,} items of {spec.at('test') if tested else spec}", err=True)
        click.echo(numbers_text(found))
