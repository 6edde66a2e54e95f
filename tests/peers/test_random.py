"""Random nets as peers compute them, against the oracle; sequences at their full length."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import latte

sys.path.append(str(Path(__file__).parent.parent / "properties"))

from random_nets import random_net
from test_random_nets import feeds


@pytest.mark.parametrize("seed", range(60))
def test_random_nets(seed: int) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    from latte.peers.torch_net import inference

    drawn = random_net(seed)
    exe = latte.loads(drawn.text).compile(
        batch=drawn.batch, time=drawn.time or None, target="interp", mode="infer"
    )
    fed = feeds(drawn, drawn.batch, np.random.default_rng(seed))
    fed.pop("lengths", None)
    expected = exe.evaluate(**fed)[exe.net.output]
    weights = {**dict(exe.params), **dict(exe.running)}
    found = inference(
        exe.net, weights, fed, items=drawn.batch, steps=drawn.time or 1, mode="eager"
    )()
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-3 * max(np.abs(expected).max(), 1e-3)
