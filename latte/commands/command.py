"""What all commands share: arguments, and how their mistakes are told.

lenet.latte:LeNet -D classes=100   ->   load("lenet.latte", net="LeNet", classes=100)
"""

from __future__ import annotations

import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from latte.build import target_of
from latte.compiler.choices import FUSIONS
from latte.compiler.machine import LEVELS
from latte.errors import Diagnostic, LatteError, fail, render_all, to_json
from latte.options import __version__, color, debug

if TYPE_CHECKING:
    from latte.model import Net
    from latte.runtime.executable import Executable

Scalar = int | float | bool | str
Function = TypeVar("Function", bound=Callable[..., Any])

UNITS = {"s": 1, "m": 60, "h": 3600}

OUR_MISTAKE = 70


class Command(click.Command):
    """A command whose user never sees a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _show
                return super().invoke(ctx)
        except LatteError as error:
            tell(error, ctx.params.get("format", "text"))
            ctx.exit(1)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except OSError as problem:
            tell(_refused(problem), ctx.params.get("format", "text"))
            ctx.exit(1)
        except Exception as problem:
            _report(problem)
            ctx.exit(OUR_MISTAKE)


def tell(error: LatteError, form: str) -> None:
    """Show diagnostics: JSON on stdout for programs, else text on stderr for people."""
    if form == "json":
        click.echo(to_json(error.diagnostics))
    elif form == "concise":
        for diagnostic in error.diagnostics:
            click.echo(diagnostic.concise(), err=True)
    else:
        click.echo(render_all(error.diagnostics, colored(sys.stderr)), err=True, color=True)


def colored(stream: Any) -> bool:
    """Whether to write colours: the user's wish, else whether it is a terminal."""
    wish = color()
    return bool(stream.isatty()) if wish is None else wish


def _show(message: Warning | str, *_: object, **__: object) -> None:
    """A warning as a line on stderr, without the place in the code that has it."""
    text = str(message)
    click.echo(text if text.startswith("warning[") else f"warning: {text}", err=True)


def _refused(problem: OSError) -> LatteError:
    """What the system did not let us do with a file."""
    place = f"`{problem.filename}`" if problem.filename else "a file"
    return LatteError([Diagnostic("E0951", f"{place}: {problem.strerror or problem}")])


def _report(problem: Exception) -> None:
    """A line for the user, and the traceback in a file for us."""
    if debug():
        traceback.print_exception(problem)
        return
    line = f"latte: internal error: {type(problem).__name__}: {problem}"
    click.echo(line.splitlines()[0][:300], err=True)
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="latte-error-", suffix=".txt", delete=False
        ) as file:
            file.write(f"latte {__version__}, Python {sys.version}\n{sys.argv}\n\n")
            file.writelines(traceback.format_exception(problem))
        click.echo(f"This is our mistake. A report for us is in {file.name}", err=True)
    except OSError:
        click.echo("This is our mistake. LATTE_DEBUG=1 shows where it happened.", err=True)


def format_option(function: Function) -> Function:
    """`--format`: how mistakes are shown."""
    choice = click.Choice(["text", "concise", "json"])
    return click.option(
        "--format", type=choice, default="text", help="How mistakes are shown  [text]"
    )(function)


def net_argument(function: Function) -> Callable[..., Any]:
    """`FILE[:NET]`, `-D name=value` and `--format`: the command gets the `net`, loaded."""

    @wraps(function)
    def loaded(file: str, definitions: tuple[str, ...], format: str, **rest: Any) -> Any:
        return function(net=load_net(file, definitions), **rest)

    for option in (
        click.argument("file", metavar="FILE[:NET]"),
        definition_option,
        format_option,
    ):
        loaded = option(loaded)
    return loaded


def definition_option(function: Function) -> Function:
    """`-D name=value`, any number of times."""
    return click.option(
        "-D", "definitions", metavar="NAME=VALUE", multiple=True, help="An argument of the net"
    )(function)


def json_option(function: Function) -> Function:
    """`--json`: the result as one object on stdout."""
    return click.option("--json", "as_json", is_flag=True, help="The result as one JSON object")(
        function
    )


class Duration(click.ParamType[float]):
    """`90`, `60s`, `5m`, `1h`: a number of seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, float):
            return value
        number, unit = (value[:-1], value[-1]) if value[-1:] in UNITS else (value, "s")
        with suppress(ValueError):
            seconds = float(number) * UNITS[unit]
            if 0 <= seconds < float("inf"):
                return seconds
        self.fail(f"`{value}` is not a time such as 60s or 5m", param, ctx)


@dataclass(frozen=True, slots=True)
class Settings:
    """How a net is compiled; None where the command line does not say."""

    batch: int | None
    threads: int | None
    target: str
    seed: int
    time: int | None
    winograd: bool
    no_fuse: tuple[str, ...]
    tune: float
    target_cpu: str | None

    def compile(
        self, net: Net, *, mode: str = "train", batch: int | None = None, time: int | None = None
    ) -> Executable:
        """The net compiled so; `batch` and `time` hold where the user chose none."""
        return net.compile(
            self.batch or batch, target=self.target, threads=self.threads, mode=mode,
            time=self.time or time, seed=self.seed, winograd=self.winograd,
            no_fuse=self.no_fuse, tune=self.tune, target_cpu=self.target_cpu,
        )  # fmt: skip


def compile_options(function: Function) -> Callable[..., Any]:
    """How a net is compiled, `--batch` to `--winograd`: the command gets it as `settings`."""
    names = [field.name for field in fields(Settings)]

    @wraps(function)
    def gathered(**given: Any) -> Any:
        target_of(given["target"])
        settings = Settings(**{name: given.pop(name) for name in names})
        return function(settings=settings, **given)

    positive = click.IntRange(min=1)
    for option in (
        click.option(
            "--winograd/--no-winograd",
            default=True,
            help="Whether convolutions may have fewer multiplications  [yes]",
        ),
        click.option(
            "--no-fuse",
            type=click.Choice(list(FUSIONS)),
            multiple=True,
            help="A kind of fusion to leave out",
        ),
        click.option(
            "--tune",
            type=Duration(),
            default=0.0,
            help="How long to search for faster code, and remember it: 60s, 5m",
        ),
        click.option(
            "--target-cpu",
            type=click.Choice(list(LEVELS)),
            help="Use the instructions of this level of processors only  [all here]",
        ),
        click.option("--time", type=positive, help="Steps of the longest sequence"),
        click.option("--seed", type=int, default=0, help="Of first weights and draws  [0]"),
        click.option("--target", default="cpu", help="cpu, or interp: the slow oracle  [cpu]"),
        click.option("--threads", type=positive, help="Workers  [all cores]"),
        click.option("--batch", type=positive, help="Items in a batch  [the net's]"),
    ):
        gathered = option(gathered)
    return gathered


def split_name(text: str) -> tuple[str, str | None]:
    """`FILE:Net` as file and net; a file may have colons in its name."""
    file, colon, name = text.rpartition(":")
    if colon and name.isidentifier() and not Path(text).exists():
        return file, name
    return text, None


def parse_definitions(definitions: tuple[str, ...]) -> dict[str, Scalar]:
    """`name=value` pairs; values are numbers, true, false, or text. Raises a usage error."""
    found: dict[str, Scalar] = {}
    for definition in definitions:
        name, equals, value = definition.partition("=")
        if not equals or not name.strip().isidentifier():
            raise click.BadParameter(f"`{definition}` is not NAME=VALUE", param_hint="-D")
        found[name.strip()] = _scalar(value.strip())
    return found


def _scalar(value: str) -> Scalar:
    if value in {"true", "false"}:
        return value == "true"
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value


def load_net(file: str, definitions: tuple[str, ...]) -> Net:
    """The net that the command line names. Raises LatteError."""
    from latte.model import load

    path, name = split_name(file)
    return load(path, name, **parse_definitions(definitions))


def not_in_this_build(what: str, instead: str = "") -> NoReturn:
    """Raise E0950: promised, and not made yet."""
    fail("E0950", f"{what} is not in this build", help=instead)
