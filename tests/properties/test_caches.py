"""Machines with other caches: what is cut, copied and fused changes, the numbers do not.

What a compiler does with large nets follows from sizes beside those of caches, so that small nets
meet it where the caches are smaller still.
"""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from random_nets import random_net
from test_fusion import agrees
from test_random_nets import feeds

from latte.compiler import fuse_tiles, machine

BRANCHES = """
layer Branches(source[c, s...], filters) {
    one = source -> Conv(filters, kernel = 1) -> ReLU
    two = source -> Conv(3, kernel = 1) -> ReLU -> Conv(filters, kernel = 3, pad = 1) -> ReLU
    pool = source -> MaxPool(3, stride = 1, pad = 1) -> Conv(filters, kernel = 1) -> ReLU
    out = Concat(one, two, pool)
}
net Meeting {
    input image[3, 20, 22]
    input label: class(4)
    a = MaxPool(ReLU(Conv(image, 20, kernel = 3, pad = 1)), 3, stride = 2, round = ceil)
    b = Branches(Branches(a, 18), 7)
    loss SoftmaxLoss(Linear(MaxPool(b, 3, stride = 2), 4), label)
}
train Meeting { solver Momentum(rate = 0.01) }
"""


def small(monkeypatch: pytest.MonkeyPatch, draw: random.Random, l2: int, shared: int) -> None:
    """This machine with caches too small for nearly everything."""
    l1, cores = draw.choice((64, 256, 1024)), draw.choice((1, 2, 3, 8))
    other = replace(machine.host(), l1=l1, l2=l2, l3=4 * l2, cores=cores)
    monkeypatch.setattr(machine, "host", lambda: other)
    monkeypatch.setattr(fuse_tiles, "LEAST_PLACES", 2)
    monkeypatch.setattr(fuse_tiles, "SHARED", shared)
    monkeypatch.setenv("LATTE_CACHE", "off")
    monkeypatch.setenv("LATTE_GUARD", "1")


@pytest.mark.parametrize("seed", range(24))
def test_random_nets_with_small_caches(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    draw, drawn = random.Random(seed), random_net(5000 + seed)
    small(monkeypatch, draw, draw.choice((512, 4096, 65536)), draw.choice((0, 16)))
    given = feeds(drawn, max(1, drawn.batch - 1), np.random.default_rng(seed))
    agrees(drawn.text, drawn.batch, given, (), drawn.time, winograd=draw.random() < 0.5)


@pytest.mark.parametrize("winograd", [True, False])
@pytest.mark.parametrize("l2", [1024, 65536])
def test_branches_that_meet_in_one_gradient(
    l2: int, winograd: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    small(monkeypatch, random.Random(l2), l2, shared=0)
    rng = np.random.default_rng(l2)
    given = {
        "image": rng.normal(size=(3, 3, 20, 22)).astype(np.float32),
        "label": rng.integers(0, 4, 3),
    }
    agrees(BRANCHES, 4, given, (), winograd=winograd)
