"""The same net for narrower vectors than this machine has: tried here, compared with the oracle."""

import numpy as np
import pytest

import latte
from latte.compiler.machine import LEVELS, limited
from latte.errors import LatteError

TEXT = """
net Small {
    input x[3, 14, 14]
    input y: class(7)
    h = x -> Conv(24, kernel = 3, pad = 1) -> ReLU -> MaxPool(2) -> Conv(20, kernel = 3) -> Tanh
    scores = Linear(h, 7)
    loss SoftmaxLoss(scores, y)
}
train Small { solver Momentum(rate = 0.01) }
"""


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("items", [1, 5])
def test_values_and_gradients(level: str, items: int) -> None:
    if limited(level) is None:
        pytest.skip(f"this machine has less than {level}")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(items, 3, 14, 14)).astype(np.float32)
    y = rng.integers(0, 7, items)
    oracle = latte.loads(TEXT).compile(5, target="interp")
    limits = latte.loads(TEXT).compile(5, target_cpu=level, threads=2)
    for name, value in oracle.params.items():
        limits.params[name] = value
    for exe in (oracle, limits):
        exe.forward(x=x, y=y)
        exe.backward()
    expected, found = oracle.grads, limits.grads
    for name, gradient in expected.items():
        scale = np.abs(gradient).max()
        np.testing.assert_allclose(found[name], gradient, rtol=2e-4, atol=2e-5 * scale)


def test_an_unknown_level_is_a_clear_error() -> None:
    with pytest.raises(LatteError, match="there is no CPU `z80`"):
        latte.loads(TEXT).compile(2, target_cpu="z80")
