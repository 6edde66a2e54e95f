"""The command `latte`: a table of commands, each loaded when it is used.

In: the command line.  Out: an exit code: 0 done, 1 the input is wrong, 2 usage, 70 our mistake,
75 try again, 130 interrupted. Results go to stdout, talk and mistakes to stderr.

A command is a file in latte/commands with a click command called `command`, and a line here.
"""

from __future__ import annotations

import importlib
import sys

import click

from latte.errors import closest
from latte.options import __version__

COMMANDS = {
    "new": "Begin a project: a net, a training script, a README",
    "check": "Look for mistakes: names, shapes, indices; fast",
    "fmt": "Lay files out in the canonical way",
    "summary": "Layers, shapes, parameters and work of a net",
    "compile": "Compile a net, or print it at any stage",
    "train": "Train a net on data",
    "eval": "Losses and metrics of trained weights",
    "predict": "What a trained net says of images or arrays",
    "gradcheck": "Compare backward with finite differences",
    "bench": "Time a net: forward, backward, step",
    "profile": "Where the time goes, layer by layer",
    "explain": "A diagnostic's code at length",
    "doctor": "What this machine has; for bug reports",
    "demo": "Train the shipped hand-written digits",
}

INTERRUPTED = 130


class Commands(click.Group):
    """Lists and finds commands without importing what is not used."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:  # perhaps while a command is imported
            click.echo("interrupted", err=True)
            ctx.exit(INTERRUPTED)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        found = importlib.import_module(f"latte.commands.{name}").command
        assert isinstance(found, click.Command)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            near = closest(args[0], COMMANDS)
            hint = f" Did you mean `{near}`?" if near else " `latte --help` lists them."
            ctx.fail(f"There is no command `{args[0]}`.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="`latte COMMAND --help` shows an example of each.",
)
@click.version_option(__version__, prog_name="latte")
def main() -> None:
    """Neural networks as a language: say what the neurons are, get fast code.

    \b
      latte demo digits                                  train and test in a few seconds
      latte check lenet.latte                            is the net sound?
      latte train lenet.latte --data mnist:DIR --epochs 4 --save trained
      latte eval lenet.latte --data mnist:DIR --weights trained
    """


def run() -> None:
    """The console script."""
    try:
        main(prog_name="latte")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    run()
