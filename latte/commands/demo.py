"""`latte demo`: a net trained on the shipped digits, to see that all is well."""

from __future__ import annotations

import time
from dataclasses import asdict

import click

from latte.commands.command import Command, Settings, compile_options, format_option
from latte.commands.train import listener
from latte.options import demo_net


@click.command(cls=Command)
@click.argument("name", type=click.Choice(["digits"]), default="digits")
@click.option("--epochs", type=click.IntRange(min=1), help="Passes over the data  [the net's]")
@compile_options
@format_option
def command(name: str, format: str, epochs: int | None, settings: Settings) -> None:
    """Train the shipped 8x8 hand-written digits and print the test accuracy.

    \b
      latte demo digits
    """
    from latte.model import load
    from latte.runtime.train import train

    net = load(demo_net())
    click.echo(f"{demo_net().name}: {net.summary().totals()}", err=True)
    started = time.perf_counter()
    history = train(net, "digits", epochs=epochs, listeners=[listener()], **asdict(settings))
    seconds = time.perf_counter() - started
    accuracy = history[-1].test_metrics["accuracy"]
    click.echo(f"trained in {seconds:.1f} s; test accuracy {accuracy:.2%}")
