"""Solvers over several steps against PyTorch's; a bias has twice the rate and no decay."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import latte

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

TEXT = """
net Fit {
    input x[3]
    input target[2]
    y = Linear(x, 2)
    loss MeanSquaredLoss(y, target)
}
train Fit { solver %s }
"""
STEPS = 7

SOLVERS: dict[str, Callable[[Any], Any]] = {
    "SGD(rate = 0.1, decay = 0.01)": lambda g: torch.optim.SGD(g),
    "Momentum(rate = 0.1, momentum = 0.8, decay = 0.01)": lambda g: torch.optim.SGD(
        g, momentum=0.8
    ),
    "Nesterov(rate = 0.1, momentum = 0.8, decay = 0.01)": lambda g: torch.optim.SGD(
        g, momentum=0.8, nesterov=True
    ),
    "AdaGrad(rate = 0.1, decay = 0.01)": lambda g: torch.optim.Adagrad(g),
    "RMSprop(rate = 0.1, decay = 0.01)": lambda g: torch.optim.RMSprop(g),
    "Adam(rate = 0.1, decay = 0.01)": lambda g: torch.optim.Adam(g),
    "AdamW(rate = 0.1, decay = 0.01)": lambda g: torch.optim.AdamW(g),
}


@pytest.mark.parametrize("solver", SOLVERS)
def test_solver_agrees_with_torch(solver: str) -> None:
    exe, (x, target) = _start(solver)
    weight = torch.tensor(exe.params["y.weight"].copy()).double().requires_grad_()
    bias = torch.tensor(exe.params["y.bias"].copy()).double().requires_grad_()
    optimizer = SOLVERS[solver](
        [
            {"params": [weight], "lr": 0.1, "weight_decay": 0.01},
            {"params": [bias], "lr": 0.2, "weight_decay": 0.0},
        ]
    )
    for _ in range(STEPS):
        exe.step(x=x, target=target)
        y = torch.nn.functional.linear(torch.tensor(x).double(), weight, bias)
        optimizer.zero_grad()
        ((y - torch.tensor(target).double()) ** 2).mean().backward()
        optimizer.step()
    np.testing.assert_allclose(exe.params["y.weight"], weight.detach().numpy(), atol=2e-5)
    np.testing.assert_allclose(exe.params["y.bias"], bias.detach().numpy(), atol=2e-5)


SCHEDULES: dict[str, Callable[[int], float]] = {
    "constant(0.1)": lambda t: 0.1,
    "step(0.1, every = 2, gamma = 0.5)": lambda t: 0.1 * 0.5 ** (t // 2),
    "exponential(0.1, 0.9)": lambda t: 0.1 * 0.9**t,
    "inv(0.1, gamma = 0.2, power = 0.75)": lambda t: 0.1 * (1 + 0.2 * t) ** -0.75,
    "warmup(0.1, over = 4)": lambda t: 0.1 * min(1, (t + 1) / 4),
    "warmup(exponential(0.1, 0.9), over = 4)": lambda t: 0.1 * 0.9**t * min(1, (t + 1) / 4),
}


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedule(schedule: str) -> None:
    exe, (x, target) = _start(f"SGD(rate = {schedule})")
    weight, bias = exe.params["y.weight"].copy(), exe.params["y.bias"].copy()
    for t in range(STEPS):
        exe.step(x=x, target=target)
        slope = (x @ weight.T + bias - target) / len(x)  # the mean is over 2 axes
        rate = SCHEDULES[schedule](t)
        weight, bias = weight - rate * slope.T @ x, bias - 2 * rate * slope.sum(0)
    np.testing.assert_allclose(exe.params["y.weight"], weight, atol=2e-5)
    np.testing.assert_allclose(exe.params["y.bias"], bias, atol=2e-5)


def _start(solver: str) -> tuple[Any, tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(math.floor(len(solver)))
    exe = latte.loads(TEXT % solver).compile(batch=6)
    x = rng.normal(size=(6, 3)).astype(np.float32)
    target = rng.normal(size=(6, 2)).astype(np.float32)
    return exe, (x, target)
