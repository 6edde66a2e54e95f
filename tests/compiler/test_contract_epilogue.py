"""What follows a sum does not keep it from whole vectors, however its operands are stored."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest

import latte
from latte.build import choices, program_of
from latte.compiler import contract
from latte.compiler.contract_parts import find_parts
from latte.compiler.contract_plan import plan
from latte.compiler.ir import kernels
from latte.compiler.machine import host
from latte.compiler.pipeline import optimize

BATCH = 20
REGRESSION = """
net N(size = 784) {
    input image[40]
    input target[size]
    scores = Sigmoid(Linear(ReLU(Linear(image, 64)), size))
    loss MeanSquaredLoss(scores, target)
}
train N {
    solver Momentum(rate = 0.1)
    batch 20
}
"""
PICTURE = """
net N(size = 24) {
    input image[16, 8, 7]
    input target[size, 8, 7]
    scores = Conv(ReLU(Conv(image, 32, kernel = 3, pad = 1)), size, kernel = 3, pad = 1)
    loss L1Loss(scores, target)
}
train N {
    solver Momentum(rate = 0.01)
    batch 20
}
"""
NORMALISED = """
net N(size = 112) {
    input image[16, 8, 7]
    input target[4]
    a = BatchNorm(Conv(image, size, kernel = 3))
    loss MeanSquaredLoss(Linear(GlobalMeanPool(a), 4), target)
}
train N {
    solver Momentum(rate = 0.01)
    batch 20
}
"""
CASES = [
    (REGRESSION, 784), (REGRESSION, 98), (PICTURE, 24), (PICTURE, 70), (NORMALISED, 112),
    (NORMALISED, 56),
]  # fmt: skip
LARGE = 100_000  # multiply-adds that are worth vectors


@pytest.mark.parametrize("phase", ["step", "predict"])
@pytest.mark.parametrize(("text", "size"), CASES)
def test_all_sums_have_tiles(text: str, size: int, phase: str) -> None:
    net, machine = latte.loads(text, size=size).elaborated, host()
    program = optimize(program_of(net, batch=BATCH), machine, choices(net, winograd=False))
    for kernel in kernels(program.phase(phase).items):
        parts = find_parts(kernel)
        axes = (*kernel.axes, *(parts.fold.axes if parts else ()))
        if parts is not None and prod(a.size for a in axes) > LARGE:
            view = contract.view(kernel, program, machine)
            assert view is not None and plan(view, machine) is not None, kernel.name


@pytest.mark.parametrize(("text", "size"), CASES)
def test_as_the_oracle(text: str, size: int) -> None:
    net, draws = latte.loads(text, size=size), np.random.default_rng(size)
    fed = {
        node.name: draws.random((BATCH, *(a.size for a in node.axes))).astype("f")
        for node in net.elaborated.inputs
    }  # fmt: skip
    ours, oracle = (net.compile(target=target, seed=3) for target in ("cpu", "interp"))
    for _ in range(2):
        assert ours.step(**fed) == pytest.approx(oracle.step(**fed), rel=1e-5)
    image = fed["image"][:7]
    np.testing.assert_allclose(
        ours.predict(image=image), oracle.predict(image=image), rtol=1e-4, atol=1e-5
    )
