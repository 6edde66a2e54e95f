"""Peers made ready: translated, given our weights, compiled, and checked against our results.

In: an executable that was fed.  Out: `Side`s for `compare`.
"""

from __future__ import annotations

import math
import time as clock
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from latte.errors import fail
from latte.peers.compare import TINY_RATE, TOLERANCE, TRAINING_TOLERANCE, Side, differ, draws
from latte.peers.needs import needed
from latte.peers.solver import solver_of

if TYPE_CHECKING:
    from latte.runtime.executable import Executable

Fed = Mapping[str, Any]
Predict = Callable[[], NDArray[Any]]


def needed_packages(peers: Iterable[str], threads: int) -> None:
    """Imports what the peers need, all before the first is run. Raises E0961."""
    for peer in peers:
        package = needed(peer)
        if peer == "torch":
            package.set_num_threads(threads)
        else:
            needed("onnx")


@dataclass(frozen=True, slots=True)
class Case:
    """A compiled net, one batch for it, and its weights before anything was run."""

    exe: Executable
    fed: Fed
    weights: dict[str, NDArray[Any]]

    @property
    def steps(self) -> int:
        return self.exe.time


def case(exe: Executable, fed: Fed) -> Case:
    """What peers are told of a net."""
    weights = {**dict(exe.params), **dict(exe.running)}
    return Case(exe, fed, {name: np.asarray(array) for name, array in weights.items()})


def training_sides(made: Case, modes: tuple[str, ...]) -> list[Side]:
    """PyTorch's modes of a training step. The losses of two steps are compared, and what the first
    changed. Afterwards both sides train on at a tiny rate."""
    from latte.peers.torch_net import TorchTraining

    exe, net = made.exe, made.exe.net
    ours = _two_steps(lambda: exe.step(**made.fed), lambda: exe.params)
    sides = []
    for mode in modes:
        start = clock.perf_counter()
        peer = TorchTraining(
            net, made.weights, made.fed, exe.hypers(), items=exe.batch, steps=made.steps, mode=mode
        )
        theirs = _two_steps(peer.step, peer.parameters)
        difference = None if draws(net) else _differ(made, ours, theirs)
        _check(f"torch {mode}", difference, TRAINING_TOLERANCE)
        peer.set_rate(TINY_RATE)
        sides.append(Side("torch", mode, peer.step, difference, clock.perf_counter() - start))
    if any(hyper.name == "rate" for hyper in net.training.solver.hypers):
        exe.set_hyper("rate", TINY_RATE)
    return sides


Steps = tuple[float, float, dict[str, NDArray[Any]]]


def _two_steps(step: Callable[[], float], parameters: Callable[[], Fed]) -> Steps:
    """The losses of two steps, and the parameters between them."""
    first = step()
    between = {name: np.array(array) for name, array in parameters().items()}
    return first, step(), between


def _differ(made: Case, ours: Steps, theirs: Steps) -> float:
    """How far apart training is: losses, and the first update as a whole (one value that takes
    the other way through a ReLU changes single gradients by a percent). Solvers that divide by
    the gradient's size make noise of what is nearly zero: then the losses alone are compared."""
    losses = max(abs(a - b) / max(abs(a), 1e-3) for a, b in zip(ours[:2], theirs[:2], strict=True))
    if solver_of(made.exe.net.training.solver) not in ("SGD", "Momentum", "Nesterov"):
        return losses
    pairs = [(ours[2][name], theirs[2][name], made.weights[name]) for name in theirs[2]]
    wrong = sum(float(np.square(a - b, dtype=np.float64).sum()) for a, b, _ in pairs)
    moved = sum(float(np.square(b - start, dtype=np.float64).sum()) for _, b, start in pairs)
    return max(losses, math.sqrt(wrong / max(moved, 1e-30)))


def inference_sides(
    made: Case, predict: Predict, peers: Mapping[str, tuple[str, ...]]
) -> list[Side]:
    """Each peer's modes of inference, checked against `predict`."""
    ours, sides = predict(), []
    for peer, modes in peers.items():
        for mode in modes:
            start = clock.perf_counter()
            run = _inference(made, peer, mode)
            difference = differ(ours, run())
            _check(f"{peer} {mode}", difference, TOLERANCE)
            sides.append(Side(peer, mode, run, difference, clock.perf_counter() - start))
    return sides


def _inference(made: Case, peer: str, mode: str) -> Predict:
    exe = made.exe
    if peer == "torch":
        from latte.peers.torch_net import inference

        return inference(
            exe.net, made.weights, made.fed, items=exe.batch, steps=made.steps, mode=mode
        )
    from latte.peers.onnx_net import inference as onnx_inference

    return onnx_inference(
        exe.net, made.weights, made.fed, items=exe.batch, steps=made.steps, peer=peer,
        threads=exe.threads,
    )  # fmt: skip


def _check(peer: str, difference: float | None, tolerance: float) -> None:
    """Raise E0962 where a peer computes something else: its time would say nothing."""
    if difference is not None and not difference <= tolerance:
        text = f"{peer} computes something else: a relative difference of {difference:.2g}"
        fail("E0962", text, help="this is a mistake of ours: please send us the net")
