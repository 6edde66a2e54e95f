"""A net here and in its peers, in turn, in one process: who is how much faster.

In: a net, its settings, batches of data.  Out: `Comparison`s, each with a check that both sides
computed the same.

    step   latte 803 ms   torch channels_last 980 ms   1.22   largest difference 2e-5

What is told is each side's fastest run of all rounds, since others may use the machine too; the
median of the rounds' ratios tells how steady that is.
"""

from __future__ import annotations

import statistics
import time as clock
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from latte.compiler.expression import Random
from latte.compiler.net import Ensemble, Net
from latte.compiler.rewrite import walk

if TYPE_CHECKING:
    pass

PEERS = ("torch", "onnxruntime", "openvino")
TOLERANCE = 5e-3  # of the largest value; Winograd's algorithms differ by about 1e-4
TRAINING_TOLERANCE = 0.1  # of the update; batch normalisation makes much of near ties in a ReLU
PAUSE = 0.03  # seconds between sides: threads of one that still spin would slow the other
TINY_RATE = 1e-7

What = Literal["step", "predict"]
Run = Callable[[], object]
Fed = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One phase of a net beside one mode of one peer: seconds of the fastest run, their ratio
    (above 1: Latte is faster), and the median of the rounds' ratios.
    `difference` is the largest of results, relative to the largest value; None if not compared."""

    what: What
    peer: str
    mode: str
    ours: float
    theirs: float
    steady: float
    difference: float | None
    ready: float

    @property
    def ratio(self) -> float:
        return self.theirs / self.ours

    def as_json(self) -> dict[str, Any]:
        """Milliseconds, and what they mean."""
        return {
            "phase": self.what,
            "peer": self.peer,
            "mode": self.mode,
            "latte_ms": round(self.ours * 1e3, 4),
            "peer_ms": round(self.theirs * 1e3, 4),
            "ratio": round(self.ratio, 3),
            "median_ratio": round(self.steady, 3),
            "difference": self.difference,
            "peer_ready_seconds": round(self.ready, 2),
        }


@dataclass(frozen=True, slots=True)
class Side:
    """A peer's mode, ready to run: how long that took, and how far its results are from ours."""

    peer: str
    mode: str
    run: Run
    difference: float | None
    ready: float


def draws(net: Net) -> bool:
    """Whether a net's neurons draw random numbers in training: then sides cannot be compared."""
    bodies = (
        body
        for node in net.nodes
        if isinstance(node, Ensemble)
        for body in (*(let.expression for let in node.neuron.lets), node.neuron.value)
    )
    return any(isinstance(node, Random) for body in bodies for node in walk(body))


def differ(ours: NDArray[Any], theirs: NDArray[Any]) -> float:
    """The largest difference, relative to the largest value."""
    scale = max(float(np.abs(ours).max(initial=0.0)), 1e-30)
    return float(np.abs(ours.astype(np.float64) - theirs).max(initial=0.0)) / scale


def compare(
    what: What, ours: Run, sides: Sequence[Side], *, rounds: int, seconds: float
) -> list[Comparison]:
    """Runs Latte and the others in turn; each turn takes about `seconds`, at least one run."""
    turns = (ours, *(side.run for side in sides))
    for run in turns:
        run()
    found = [[_fastest(run, seconds) for run in turns] for _ in range(rounds)]
    mine, *others = (list(column) for column in zip(*found, strict=True))
    return [
        Comparison(
            what, side.peer, side.mode, min(mine), min(theirs),
            statistics.median(b / a for a, b in zip(mine, theirs, strict=True)),
            side.difference, side.ready,
        )
        for side, theirs in zip(sides, others, strict=True)
    ]  # fmt: skip


def best(found: Iterable[Comparison]) -> Comparison:
    """The peer that is hardest to beat."""
    return min(found, key=lambda each: each.ratio)


def _fastest(run: Run, seconds: float) -> float:
    """The fastest of the runs that fit in a turn, after a pause."""
    clock.sleep(PAUSE)
    shortest, end = float("inf"), clock.perf_counter() + seconds
    while shortest == float("inf") or clock.perf_counter() < end:
        start = clock.perf_counter()
        run()
        shortest = min(shortest, clock.perf_counter() - start)
    return shortest
