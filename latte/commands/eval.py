"""`latte eval`: losses and metrics of trained weights on data."""

from __future__ import annotations

import json
from pathlib import Path

import click

from latte.commands.command import (
    Command,
    compile_options,
    json_option,
    load_net,
    net_argument,
)


@click.command(cls=Command)
@net_argument
@click.option("--data", required=True, metavar="SPEC", help="Its test split, if it has one")
@click.option("--weights", required=True, metavar="FILE", help="Weights, or a --save folder")
@compile_options
@json_option
def command(
    file: str,
    definitions: tuple[str, ...],
    format: str,
    as_json: bool,
    data: str,
    weights: str,
    batch: int | None,
    threads: int | None,
    target: str,
    seed: int,
    time: int | None,
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

    net = load_net(file, definitions)
    spec, inputs = parse_spec(data, time), net.elaborated.inputs
    tested = None if spec.explicit else open_test(spec, inputs)
    items = tested or open_data(spec, inputs)
    size = batch or net.training.batch
    exe = net.compile(
        size, target=target, threads=threads, mode="infer", time=time or items.steps, seed=seed
    )
    exe.load(weights_file(Path(weights)))
    found = evaluate(exe, items, size)
    if as_json:
        click.echo(json.dumps({"data": str(spec.at("test") if tested else spec), **found}))
    else:
        click.echo(f"{len(items):,} items of {spec.at('test') if tested else spec}", err=True)
        click.echo(numbers_text(found))
