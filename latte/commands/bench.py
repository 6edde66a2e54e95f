"""`latte bench`: how long a net takes, whole and layer by layer, beside what the machine can do."""

from __future__ import annotations

import json
import time as clock
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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
    from latte.runtime.executable import Executable

LAYERS = 20  # shown


@dataclass(frozen=True, slots=True)
class Line:
    """One measured thing: its best time and its arithmetic."""

    name: str
    seconds: float
    operations: int

    def as_json(self, peak: float) -> dict[str, Any]:
        speed = self.operations / self.seconds if self.seconds else 0.0
        return {
            "name": self.name,
            "ms": round(self.seconds * 1e3, 4),
            "gflops": round(speed / 1e9, 2),
            "share_of_peak": round(speed / peak, 4),
        }


@click.command(cls=Command)
@net_argument
@click.option("--seconds", type=float, default=2.0, help="How long to measure each pass  [2]")
@compile_options
@json_option
def command(
    net: Net,
    as_json: bool,
    seconds: float,
    settings: Settings,
) -> None:
    """Time forward, backward, a whole step and inference on made-up data; then each layer.

    The best of several runs counts. GFLOP/s are the operations of the specification, whatever
    the compiler made of them; the peak is multiply-adds in registers, measured now.

    \b
      latte bench alexnet.latte --batch 64 --threads 2
    """
    from latte.runtime.profile import by_layer, measured_peak, timings

    started = clock.perf_counter()
    exe, fed = made_up(net, settings)
    passes = _passes(exe, fed)
    for run in passes.values():
        run()
    compiled = clock.perf_counter() - started
    peak = measured_peak(exe.threads)
    lines = [_measured(exe, name, run, seconds) for name, run in passes.items()]
    exe.step(**fed)
    layers = [
        Line(row.origin, row.seconds, row.operations) for row in by_layer(timings(exe, "step"))
    ]
    if as_json:
        facts = {
            "net": net.elaborated.name,
            "batch": exe.batch,
            "threads": exe.threads,
            "compile_seconds": round(compiled, 3),
            "peak_gflops": round(peak / 1e9, 1),
            "passes": [line.as_json(peak) for line in lines],
            "layers": [line.as_json(peak) for line in layers],
        }
        click.echo(json.dumps(facts))
        return
    click.echo(f"{net.elaborated.name}, batch {exe.batch}, {exe.threads} threads")
    click.echo(f"ready in {compiled:.2f} s; peak {peak / 1e9:,.0f} GFLOP/s")
    _table("pass", lines, peak)
    click.echo("\nof a step, kernels one after another:")
    _table("layer", layers[:LAYERS], peak)


def made_up(net: Net, settings: Settings) -> tuple[Executable, dict[str, Any]]:
    """The net compiled, and one whole batch of synthetic data for it."""
    import numpy as np

    from latte.runtime.datasets import open_data, parse_spec

    data = open_data(parse_spec("synthetic", settings.time), net.elaborated.inputs)
    exe = settings.compile(net, time=data.steps)
    fed: dict[str, Any] = data.room(exe.batch)
    data.fill(np.arange(exe.batch) % len(data), fed)
    return exe, fed


def _passes(exe: Executable, fed: dict[str, Any]) -> dict[str, Callable[[], object]]:
    """What is measured, by phase."""

    def forward() -> None:
        exe.forward(**fed)

    def backward() -> None:
        exe.backward()

    def step() -> None:
        exe.step(**fed)

    def infer() -> None:
        exe.evaluate(**fed)

    return {"forward": forward, "backward": backward, "step": step, "infer": infer}


def _measured(exe: Executable, name: str, run: Callable[[], object], seconds: float) -> Line:
    """The best of as many runs as fit in the time, at least three."""
    from latte.runtime.profile import operations_of

    best, runs, end = float("inf"), 0, clock.perf_counter() + seconds
    while runs < 3 or (clock.perf_counter() < end and runs < 1000):
        start = clock.perf_counter()
        run()
        best, runs = min(best, clock.perf_counter() - start), runs + 1
    return Line(name, best, operations_of(exe, name))


def _table(head: str, lines: list[Line], peak: float) -> None:
    width = max(len(head), *(len(line.name) for line in lines))
    click.echo(f"{head:{width}}  {'ms':>10}  {'GFLOP/s':>9}  {'of peak':>7}")
    for line in lines:
        facts = line.as_json(peak)
        share = f"{facts['share_of_peak']:.1%}"
        click.echo(f"{line.name:{width}}  {facts['ms']:10.3f}  {facts['gflops']:9.1f}  {share:>7}")
