"""Every layer's gradients in float64 against central differences, in the oracle.

For each parameter (the input among them, through `Probe`) some elements are moved by a step h; the
derivative is taken from two steps, so that its error is of the order of h^4.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from cases import CASES, PROBE, Case
from draws import draw_inputs

import latte
from latte.build import program_of
from latte.codegen import interp

STEP = 1e-5
SAMPLES = 6  # elements of each parameter
TOLERANCE = 1e-6

SEQUENCE = """
net Case {
    input xs[@time, 3]
    x = Probe(xs)
    %s
    loss Wobble(y)
}
"""

BODIES = {
    "rnn": "y = RNN(x, 4)",
    "lstm": "y = LSTM(x, 4)",
    "gru": "y = GRU(x, 4)",
    "last": "y = Linear(last(RNN(x, 4)), 2)",
    "next": "y = Shifted(x)",
    "initial": "y = Started(x)",
}

TIME = """
neuron Difference(x, y) = x * tanh(y)
neuron Decayed(x, h) = x + sin(h)
layer Shifted(source[n]) {
    ensemble out[i: n] = Difference(source[i], next(source)[n - 1 - i])
}
layer Started(source[n]) {
    param start[n] = 0
    ensemble out[i: n] = Decayed(source[i], prev(out, initial = start)[i])
}
"""


class Oracle:
    """The loss and its gradients as functions of the parameters, in float64."""

    def __init__(self, text: str, batch: int, time: int, inputs: dict[str, np.ndarray]) -> None:
        self.program = program_of(latte.loads(text).elaborated, batch=batch, time=time)
        self.arrays = interp.allocate(self.program)
        for name, value in inputs.items():
            self.arrays[name][...] = value
        for name in self.of_role("running"):
            self.arrays[name][...] = 1.0
        if "lengths" in self.arrays:
            self.arrays["lengths"][...] = time
        scalars = {"items": batch, "steps": batch * time, "carry": 0}
        self.now = interp.Run(items=batch, steps=time, seed=1, scalars=scalars)

    def of_role(self, role: str) -> list[str]:
        return [buffer.name for buffer in self.program.buffers if buffer.role == role]

    def loss(self) -> float:
        interp.run(self.program, "forward", self.arrays, self.now)
        return float(self.arrays["result.loss"])

    def gradients(self) -> dict[str, np.ndarray]:
        self.loss()
        interp.run(self.program, "backward", self.arrays, self.now)
        return {name: self.arrays[f"{name}.grad"].copy() for name in self.of_role("parameter")}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_layer_gradients(case: Case) -> None:
    rng = np.random.default_rng(len(case.name))
    check(Oracle(case.text, case.batch, 1, draw_inputs(case, case.batch, rng)), rng)


@pytest.mark.parametrize("name", BODIES)
def test_gradients_through_time(name: str) -> None:
    rng = np.random.default_rng(len(name))
    xs = rng.normal(size=(2, 5, 3))
    check(Oracle(PROBE + TIME + SEQUENCE % BODIES[name], 2, 5, {"xs": xs}), rng)


def check(oracle: Oracle, rng: np.random.Generator) -> None:
    """Each parameter's gradient agrees with differences of the loss."""
    for name in oracle.of_role("parameter"):
        oracle.arrays[name][...] = 0.5 * rng.normal(size=oracle.arrays[name].shape)
    for name, gradient in oracle.gradients().items():
        greatest = max(np.abs(gradient).max(), 1e-3)
        for spot in _spots(gradient.shape, rng):
            measured = _derivative(oracle, oracle.arrays[name], spot)
            assert abs(gradient[spot] - measured) <= TOLERANCE * greatest, (name, spot)


def _spots(shape: tuple[int, ...], rng: np.random.Generator) -> list[tuple[int, ...]]:
    places = list(product(*(range(size) for size in shape)))
    chosen = rng.permutation(len(places))[:SAMPLES]
    return [places[k] for k in chosen]


def _derivative(oracle: Oracle, values: np.ndarray, spot: tuple[int, ...]) -> float:
    """(8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12 h"""
    before, total = values[spot], 0.0
    for moves, weight in ((1, 8), (-1, -8), (2, -1), (-2, 1)):
        values[spot] = before + moves * STEP
        total += weight * oracle.loss()
    values[spot] = before
    return total / (12 * STEP)
