"""Lanes over several groups: grouped convolutions whose groups fill no vector."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import latte
from latte.compiler import contract
from latte.compiler.contract_plan import plan
from latte.compiler.ir import kernels
from latte.compiler.machine import level
from tests.backends.lowered import machine
from tests.compiler.contractions import Convolution, convolution
from tests.compiler.test_contract import check, prepared

WIDE = level("x86-64-v4")
FORMS = [
    Convolution(5, 32, 32, (7, 9), (3, 3), pad=1, groups=8),
    Convolution(4, 48, 48, (6, 5), (3, 3), stride=2, pad=1, groups=6),
    Convolution(3, 64, 64, (8,), (5,), pad=2, groups=32),
    Convolution(3, 16, 16, (5, 5), (1, 1), groups=4),
    Convolution(2, 160, 160, (4, 3), (3, 2), groups=40),
    Convolution(4, 24, 24, (5, 5), (3, 3), pad=1, groups=6),
    Convolution(4, 32, 64, (5, 5), (3, 3), pad=1, groups=8),
]


def spread(what: str, form: Convolution) -> list[tuple[str, int]]:
    """The axes by which lanes are spread, and their groups, where the plan has whole vectors."""
    ready = prepared(convolution(what, form), WIDE)
    found = [contract.view(kernel, ready, WIDE) for kernel in kernels(ready.phases[0].items)]
    views = [view for view in found if view is not None and plan(view, WIDE) is not None]
    return [factor.spread for view in views for factor in view.factors if factor.spread]


@pytest.mark.parametrize(("what", "by"), [("forward", "c"), ("weights", "c"), ("input", "j")])
def test_groups_that_fill_no_vector_share_one(what: str, by: str) -> None:
    assert set(spread(what, FORMS[0])) == {(by, 4)}


@pytest.mark.parametrize(
    "form",
    [
        Convolution(4, 64, 64, (5, 5), (3, 3), pad=1, groups=4),  # a group fills a vector
        Convolution(4, 24, 24, (5, 5), (3, 3), pad=1, groups=8),  # no whole groups in a vector
        Convolution(4, 32, 64, (5, 5), (3, 3), pad=1, groups=8),  # more filters than channels
    ],
    ids=str,
)
def test_other_groups_do_not(form: Convolution) -> None:
    assert not spread("forward", form)


@pytest.mark.parametrize("width", [4, 8, 16])
@pytest.mark.parametrize("what", ["forward", "weights", "input"])
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_as_the_oracle(form: Convolution, what: str, width: int) -> None:
    if what != "input" or form.stride == 1:
        check(convolution(what, form), form.items - 1, width, replace(machine(width), width=width))


NET = """
net N() {
    input image[32, 9, 10]
    input label: class(4)
    a = ReLU(BatchNorm(GroupConv(Conv(image, 32, kernel = 1), 32, kernel = 3, groups = 8, pad = 1)))
    b = MaxPool(ReLU(GroupConv(a, 32, kernel = 3, groups = 16, pad = 1)), 2)
    c = Dropout(GroupConv(b, 32, kernel = 2, groups = 4), rate = 0.3)
    d = c + GroupConv(c, 32, kernel = 1, groups = 8)
    loss SoftmaxLoss(Linear(d, 4), label)
}
train N {
    solver Momentum(rate = 0.05)
    batch 6
}
"""


def test_a_net_of_them_trains_as_in_the_oracle() -> None:
    fed = {
        "image": np.random.default_rng(3).standard_normal((6, 32, 9, 10)).astype("f"),
        "label": np.arange(6) % 4,
    }
    ours, oracle = (latte.loads(NET).compile(target=target, seed=2) for target in ("cpu", "interp"))
    for _ in range(3):
        assert ours.step(**fed) == pytest.approx(oracle.step(**fed), rel=1e-5)
    for name in oracle.params:
        np.testing.assert_allclose(
            ours.params[name], oracle.params[name], rtol=1e-4, atol=1e-6, err_msg=name
        )
