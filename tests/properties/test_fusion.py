"""Kinds of fusion switched off, each and at random: every number stays what the oracle says."""

from __future__ import annotations

import random

import numpy as np
import pytest
from random_nets import random_net
from test_random_nets import close, feeds

import latte
from latte.compiler.choices import FUSIONS
from tests.compiler.test_fuse import JOINED, POOLED


@pytest.mark.parametrize("seed", range(30))
def test_any_kinds_switched_off_change_nothing(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(seed)
    off = tuple(kind for kind in FUSIONS if draw.random() < 0.4)
    if seed % 3 == 0:
        monkeypatch.setenv("LATTE_GUARD", "1")
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
    text: str, batch: int, given: dict[str, np.ndarray], off: tuple[str, ...], time: int = 0
) -> None:
    """Two steps and what comes of them, against the oracle."""
    net = latte.loads(text)
    options = {"batch": batch, "time": time or None}
    ours, oracle = net.compile(no_fuse=off, **options), net.compile(target="interp", **options)
    for _ in range(2):
        close(ours.step(**given), oracle.step(**given), 1e-3, "loss")
    for name in oracle.params:
        close(ours.params[name], oracle.params[name], 2e-3, name)
    for name in oracle.running:
        close(ours.running[name], oracle.running[name], 2e-3, name)
    ours.close()
