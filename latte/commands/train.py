"""`latte train`: the training loop with a bar, a log and checkpoints."""

from __future__ import annotations

import json
import sys
import time as clock
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from latte.commands.command import (
    Command,
    Settings,
    compile_options,
    json_option,
    net_argument,
    not_in_this_build,
)
from latte.options import color

if TYPE_CHECKING:
    from latte.compiler import net as forms
    from latte.model import Net
    from latte.runtime.executable import Executable
    from latte.runtime.progress import Listener
    from latte.runtime.train import History


@click.command(cls=Command)
@net_argument
@click.option("--data", required=True, metavar="SPEC", help="What to train on: digits, mnist:DIR")
@click.option("--test", metavar="SPEC", help="What to test on  [the data's test split]")
@click.option("--epochs", type=click.IntRange(min=0), help="Passes over the data  [the net's]")
@click.option("--rate", type=float, help="The solver's rate, instead of its schedule")
@compile_options
@click.option("--save", metavar="DIR", help="Where to keep checkpoints and weights")
@click.option("--save-every", type=click.IntRange(min=1), help="Updates between checkpoints")
@click.option("--resume", metavar="DIR", help="Go on from the newest checkpoint there")
@click.option("--run", metavar="NAME", help="The folder in runs/ for log.jsonl  [net and time]")
@click.option("--ranks", type=click.IntRange(min=1), default=1, help="Processes (MPI)  [1]")
@json_option
def command(
    net: Net,
    as_json: bool,
    ranks: int,
    run: str | None,
    settings: Settings,
    **rest: Any,
) -> None:
    """Train a net; losses and metrics of each epoch, and of the test data.

    \b
      latte train lenet.latte --data mnist:DIR --epochs 4 --save trained
      latte train lenet.latte --data mnist:DIR --resume trained
      latte train mine.latte --data synthetic --epochs 1       does it learn at all?

    Data: digits, mnist:DIR, fashion:DIR, cifar10:DIR, images:DIR, npz:FILE, text:FILE, synthetic;
    `SPEC@test` is another split. Ctrl-C saves a checkpoint and stops; a second one just stops.
    """
    if ranks > 1:
        not_in_this_build("training on several ranks (`--ranks`)", "leave it out: one process")
    from latte.runtime.train import train

    name = run or f"{net.elaborated.name}-{clock.strftime('%Y%m%d-%H%M%S')}"
    history = train(
        Watched(net), run=Path("runs") / name, listeners=[listener()], **asdict(settings), **rest
    )
    result(history, as_json)


@dataclass(frozen=True, slots=True)
class Watched:
    """A net that shows how the code of its step is made."""

    net: Net

    @property
    def elaborated(self) -> forms.Net:
        return self.net.elaborated

    @property
    def training(self) -> forms.Training:
        return self.net.training

    def compile(self, batch: int | None = None, **chosen: Any) -> Executable:
        """The net compiled so, and its step with it."""
        from latte.runtime.compile_bar import compiled

        name, tuned = self.elaborated.name, bool(chosen.get("tune"))
        make = partial(self.net.compile, batch, **chosen)
        return compiled(name, make, () if tuned else ("step",), shown=not tuned)


def listener() -> Listener:
    """A bar on a terminal, lines elsewhere."""
    from latte.runtime.progress import Bar, Lines

    return Bar(sys.stderr, color()) if sys.stderr.isatty() else Lines(sys.stderr)


def result(history: History, as_json: bool) -> None:
    """The last epoch's figures on stdout."""
    from latte.runtime.progress import numbers_text

    if as_json:
        click.echo(json.dumps({"epochs": [epoch.as_json() for epoch in history]}))
    elif history:
        last = history[-1].as_json()
        shown = {k: v for k, v in last.items() if k not in {"epoch", "seconds", "items_per_second"}}
        click.echo(numbers_text({key.replace("_", " "): value for key, value in shown.items()}))
