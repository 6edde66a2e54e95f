"""`latte bench`: how long a net takes, whole and layer by layer, beside what the machine can do and
beside what others make of the same net."""

from __future__ import annotations

import json
import math
import time as clock
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from latte.commands.command import (
    Command,
    Settings,
    compile_options,
    json_option,
    net_argument,
)
from latte.commands.tables import Figures, Line, show_comparisons, show_figures
from latte.errors import fail
from latte.peers.compare import TINY_RATE

if TYPE_CHECKING:
    from latte.model import Net
    from latte.peers.compare import Comparison
    from latte.runtime.executable import Executable

PEERS = ("torch", "onnxruntime", "openvino")
TORCH_MODES = ("eager", "channels_last", "compile")
ROUNDS = 5
TURN = 0.3  # seconds of a round for each side, at most


@click.command(cls=Command)
@net_argument
@click.option("--seconds", type=float, default=2.0, help="How long to measure each pass  [2]")
@click.option(
    "--peer", "peers", type=click.Choice(PEERS), multiple=True,
    help="Run the same net there too, in turn with ours; repeatable",
)  # fmt: skip
@click.option(
    "--mode", "modes", type=click.Choice(TORCH_MODES), multiple=True, default=TORCH_MODES,
    help="How PyTorch runs it; repeatable  [all]",
)  # fmt: skip
@click.option(
    "--rounds", type=click.IntRange(min=1), default=ROUNDS, help="Turns of each side  [5]"
)
@click.option("--only-peers", is_flag=True, help="No figures of passes and layers")
@compile_options
@json_option
def command(
    net: Net,
    as_json: bool,
    seconds: float,
    peers: tuple[str, ...],
    modes: tuple[str, ...],
    rounds: int,
    only_peers: bool,
    settings: Settings,
) -> None:
    """Time forward, backward, a whole step and inference on made-up data; then each layer.

    The best of several runs counts. GFLOP/s are the operations of the specification, whatever
    the compiler made of them; the peak is multiply-adds in registers, bandwidth is reading
    memory, both measured now. Bytes are those that have to move if each moves once.

    With --peer, the same net is derived for others from this file (pip install
    'latte-lang[peers]'), its results are compared with ours, and both sides run in turn: a
    training step in PyTorch, inference in all.

    \b
      latte bench alexnet.latte --batch 64 --threads 2
      latte bench alexnet.latte --peer torch --peer openvino
    """
    exe, fed, ready = made_ready(net, settings)
    found = _compared(exe, fed, peers, modes, rounds, min(TURN, seconds)) if peers else []
    figures = None if only_peers else measured(exe, fed, seconds, ready)
    if as_json:
        facts = {"net": exe.net.name, "batch": exe.batch, "threads": exe.threads}
        facts |= figures.as_json() if figures else {}
        click.echo(json.dumps(facts | {"peers": [each.as_json() for each in found]}))
        return
    click.echo(f"{exe.net.name}, batch {exe.batch}, {exe.threads} threads, ready in {ready:.2f} s")
    if figures:
        show_figures(figures)
    if found:
        show_comparisons(found)


def made_ready(net: Net, settings: Settings) -> tuple[Executable, dict[str, Any], float]:
    """The net compiled, one whole batch of synthetic data for it, and the seconds until a first
    training step was done."""
    start = clock.perf_counter()
    exe, fed = made_up(net, settings)
    exe.step(**fed)
    return exe, fed, clock.perf_counter() - start


def made_up(net: Net, settings: Settings) -> tuple[Executable, dict[str, Any]]:
    """The net compiled, and one whole batch of synthetic data for it."""
    from latte.runtime.synthetic import STEPS

    timed = any(entry.time for entry in net.elaborated.inputs)
    exe = settings.compile(net, time=STEPS if timed else None)
    return exe, synthetic_batch(exe)


def synthetic_batch(exe: Executable) -> dict[str, Any]:
    """One whole batch of made-up data, sequences at their full length."""
    import numpy as np

    from latte.runtime.datasets import open_data, parse_spec

    data = open_data(parse_spec("synthetic", exe.time), exe.inputs)
    fed: dict[str, Any] = data.room(exe.batch)
    data.fill(np.arange(exe.batch) % len(data), fed)
    return fed


def settle(exe: Executable) -> None:
    """Makes the solver's steps tiny: on one batch again and again a loss soon leaves the finite
    numbers, and a step ends early where it does."""
    if any(hyper.name == "rate" for hyper in exe.net.training.solver.hypers):
        exe.set_hyper("rate", TINY_RATE)


def measured(exe: Executable, fed: dict[str, Any], seconds: float, ready: float) -> Figures:
    """Passes and layers, and the machine's limits beside them."""
    from latte.runtime.limits import measured_bandwidth, measured_peak
    from latte.runtime.profile import by_layer, profiled

    settle(exe)
    passes = _passes(exe, fed)
    for run in passes.values():
        run()
    peak, bandwidth = measured_peak(exe.threads), measured_bandwidth(exe.threads)
    lines = [_measured(exe, name, run, seconds) for name, run in passes.items()]
    exe.step(**fed)
    layers = by_layer(exe, profiled(exe, "step"))
    check_finite(exe)
    rows = [Line(r.name, r.part, r.seconds, r.operations, r.bytes) for r in layers]
    return Figures(ready, peak, bandwidth, tuple(lines), tuple(rows))


def check_finite(exe: Executable) -> None:
    """Raise E0956 where the loss is no number any more: the steps that were timed ended early."""
    if not math.isfinite(exe.losses.get("loss", 0.0)):
        fail("E0956", "the loss is not finite on made-up data: the figures would be of no use")


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
    return Line(name, "", best, operations_of(exe, name), 0)


def _compared(
    exe: Executable,
    fed: dict[str, Any],
    peers: tuple[str, ...],
    modes: tuple[str, ...],
    rounds: int,
    turn: float,
) -> list[Comparison]:
    """A training step and inference beside those of the peers."""
    from latte.compiler.plan_memory import loaded
    from latte.peers.compare import compare
    from latte.peers.sides import case, inference_sides, needed_packages, training_sides

    needed_packages(peers, exe.threads)
    exe.initialize()
    made, found = case(exe, fed), []
    if "torch" in peers and exe.net.losses and exe.net.parameters:
        sides = training_sides(made, modes)
        found += compare("step", lambda: exe.step(**fed), sides, rounds=rounds, seconds=turn)
        check_finite(exe)
        del sides
    made = case(exe, fed)
    read = loaded(exe.program.phase("predict"))
    needs = {name: array for name, array in fed.items() if name in read}

    def predict() -> Any:
        return exe.predict(**needs)

    asked = {peer: modes if peer == "torch" else ("f32",) for peer in peers}
    others = inference_sides(made, predict, asked)
    return found + compare("predict", predict, others, rounds=rounds, seconds=turn)
