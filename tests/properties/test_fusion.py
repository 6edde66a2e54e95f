"""Kinds of fusion switched off, each and at random: every number stays what the oracle says."""

from __future__ import annotations

import random

import numpy as np
import pytest
from random_nets import random_net
from test_random_nets import close, feeds

import latte
from latte import build
from latte.compiler import fuse_tiles
from latte.compiler.choices import FUSIONS
from latte.compiler.ir import Group
from latte.compiler.machine import host
from latte.compiler.pipeline import optimize
from tests.compiler.test_fuse import JOINED, POOLED


@pytest.mark.parametrize("seed", range(30))
def test_any_kinds_switched_off_change_nothing(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(seed)
    off = tuple(kind for kind in FUSIONS if draw.random() < 0.4)
    if seed % 3 == 0:
        monkeypatch.setenv("LATTE_GUARD", "1")
    if seed % 2 == 0:  # however small: rows of a contraction that windows take at once
        monkeypatch.setenv("LATTE_CACHE", "off")
        monkeypatch.setattr(fuse_tiles, "SHARED", 0)
        monkeypatch.setattr(fuse_tiles, "LEAST_PLACES", 1)
        monkeypatch.setattr(fuse_tiles, "AGAIN", 3)
    drawn = random_net(1000 + seed)
    rng = np.random.default_rng(seed)
    agrees(drawn.text, drawn.batch, feeds(drawn, max(1, drawn.batch - 1), rng), off, drawn.time)


@pytest.mark.parametrize("off", [(), *((kind,) for kind in FUSIONS), tuple(FUSIONS)])
@pytest.mark.parametrize("text", [POOLED, JOINED])
def test_every_switch(text: str, off: tuple[str, ...]) -> None:
    rng = np.random.default_rng(0)
    net = latte.loads(text)
    given = {
        entry.name: rng.normal(size=(5, *(a.size for a in entry.axes))).astype(np.float32)
        if entry.classes is None
        else rng.integers(0, entry.classes, 5)
        for entry in net.elaborated.inputs
    }
    agrees(text, 8, given, off)


def agrees(
    text: str, batch: int, given: dict[str, np.ndarray], off: tuple[str, ...], time: int = 0,
    winograd: bool = True,
) -> None:  # fmt: skip
    """Two steps and what comes of them, against the oracle."""
    net = latte.loads(text)
    options = {"batch": batch, "time": time or None}
    ours = net.compile(no_fuse=off, winograd=winograd, **options)
    oracle = net.compile(target="interp", **options)
    for _ in range(2):
        close(ours.step(**given), oracle.step(**given), 1e-3, "loss")
    for name in oracle.params:
        close(ours.params[name], oracle.params[name], 2e-3, name)
    for name in oracle.running:
        close(ours.running[name], oracle.running[name], 2e-3, name)
    ours.close()


ROWS = """
net Rows {
    input image[3, 37, 21]
    input label: class(4)
    a = MaxPool(ReLU(Conv(image, 20, kernel = 3, pad = 1)), 2)
    b = MeanPool(Conv(a, 16, kernel = 3, pad = 1), kernel = 2, stride = (2, 1))
    c = LRN(Conv(b, 16, kernel = 1), size = 3)
    loss SoftmaxLoss(Linear(MaxPool(c, 3, stride = 2), 4), label)
}
train Rows { solver Momentum(rate = 0.01) }
"""


@pytest.mark.parametrize("items", [8, 3])
def test_rows_are_taken_while_they_are_in_the_cache(
    items: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However small, and with rows computed again where windows overlap."""
    for name, value in (("SHARED", 0), ("LEAST_PLACES", 1), ("AGAIN", 3)):
        monkeypatch.setattr(fuse_tiles, name, value)
    monkeypatch.setenv("LATTE_CACHE", "off")
    monkeypatch.setenv("LATTE_GUARD", "1")
    net = latte.loads(ROWS).elaborated
    choices = build.choices(net, winograd=False)
    program = optimize(build.program_of(net, batch=8), host(), choices)
    groups = [item for item in program.phase("step").items if isinstance(item, Group)]
    assert len(groups) >= 2
    rng = np.random.default_rng(0)
    given = {
        "image": rng.normal(size=(items, 3, 37, 21)).astype(np.float32),
        "label": rng.integers(0, 4, items),
    }
    agrees(ROWS, 8, given, (), winograd=False)
