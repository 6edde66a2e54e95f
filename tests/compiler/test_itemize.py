"""Gradients of weights, item by item: where results are few, as the oracle has them."""

from __future__ import annotations

import numpy as np
import pytest

import latte
from latte.build import elaborate, read_text
from latte.compiler.ir import Program, kernels
from latte.compiler.machine import Machine
from latte.compiler.pipeline import program_of, stages
from latte.compiler.verify import verify

WIDE = Machine("x86_64", width=16, registers=32, fma=True, l1=48 * 1024, l2=2 << 20)

NET = """
net N {{
    input image[4, 20, 20]
    input label: class(3)
    a = Conv(image, {filters}, kernel = {kernel}, stride = {stride}, pad = 1, biased = false)
    loss SoftmaxLoss(Linear(GlobalMeanPool(ReLU(a)), 3), label)
}}
train N {{ solver Momentum(rate = 0.1, momentum = 0.9) }}
"""


def net(filters: int, kernel: int, stride: int = 1) -> str:
    return NET.format(filters=filters, kernel=kernel, stride=stride)


def itemized(text: str, batch: int) -> tuple[Program, list[str]]:
    """The Program after the pass, and what it sums item by item in a step."""
    program = program_of(elaborate(read_text(text, "<test>"), "N", {}), batch=batch)
    made = dict(stages(program, WIDE))["itemize"]
    verify(made, "itemize")
    names = [kernel.name for kernel in kernels(made.phase("step").items)]
    return made, [name for name in names if name.endswith(".items")]


@pytest.mark.parametrize("kernel", [1, 3])
def test_few_results_are_summed_item_by_item(kernel: int) -> None:
    made, found = itemized(net(64, kernel), 8)
    assert found == ["a.weight.grad.items"]
    axes = [a.size for a in made.buffer(found[0]).axes]
    assert axes == [8, 64, 4, kernel, kernel]
    assert len(made.buffer(found[0]).dims) == len(made.buffer("a.weight").dims) + 1


def test_many_results_or_few_items_are_not() -> None:
    assert itemized(net(64, 7), 8)[1] == []
    assert itemized(net(64, 3), 2)[1] == []


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2)])
def test_as_the_oracle(kernel: int, stride: int) -> None:
    """Of incomplete batches too; the update stands behind the last sum."""
    form = latte.loads(net(64, kernel, stride))
    both = [form.compile(batch=8, seed=3, target=target) for target in ("cpu", "interp")]
    draws = np.random.default_rng(0)
    for items in (1, 5, 8):
        image = draws.normal(size=(items, 4, 20, 20)).astype(np.float32)
        data = {"image": image, "label": draws.integers(0, 3, items)}
        for exe in both:
            exe.forward(**data)
            exe.backward()
        gradients = [exe.grads["a.weight"] for exe in both]
        np.testing.assert_allclose(*gradients, rtol=1e-4, atol=1e-5 * np.abs(gradients[1]).max())
        for exe in both:
            exe.update()
            exe.step(**data)
        weights = [exe.params["a.weight"] for exe in both]
        np.testing.assert_allclose(*weights, rtol=1e-4, atol=1e-5)
