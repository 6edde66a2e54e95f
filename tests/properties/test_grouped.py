"""Chains of grouped and depthwise convolutions with whole vectors of channels, as if large."""

from __future__ import annotations

import random

import numpy as np
import pytest
from test_fusion import agrees
from test_thresholds import THRESHOLDS


def chain(seed: int) -> tuple[str, dict[str, tuple[int, ...]]]:
    """The text of a net, and the shapes of what it is fed."""
    draw = random.Random(seed)
    channels, first = draw.choice((16, 32, 48, 64)), (draw.randint(5, 14), draw.randint(5, 14))
    size = first
    lines = [f"a = Conv(image, {channels}, kernel = 1)"]
    while len(lines) < draw.randint(4, 7):
        name = chr(ord("a") + len(lines))
        before = chr(ord(name) - 1)
        kernel, stride = draw.choice((1, 2, 3, 5)), draw.choice((1, 1, 1, 2))
        pad = draw.randint(0, kernel - 1)
        after = tuple((s + 2 * pad - kernel) // stride + 1 for s in size)
        window = f"kernel = {kernel}, stride = {stride}, pad = {pad}"
        groups = channels // draw.choice((2, 4, 8, 16))
        forms = [
            f"GroupConv({before}, {channels}, groups = {groups}, {window})",
            f"DepthwiseConv({before}, {window})",
            f"Conv({before}, {channels}, {window})",
        ]
        layer = draw.choice(forms)
        if min(after) < 2:
            continue
        if after == size and draw.random() < 0.4:
            layer = f"{before} + {layer}"
        around = draw.choice(("{0}", "ReLU({0})", "BatchNorm({0})", "ReLU(BatchNorm({0}))",
                              "Dropout({0}, rate = 0.3)", "MaxPool(ReLU({0}), 2)"))  # fmt: skip
        if "MaxPool" in around:
            after = tuple(s // 2 for s in after)
        lines.append(f"{name} = " + around.format(layer))
        size = after
        if min(size) < 4:
            break
    body = "\n".join(f"    {line}" for line in lines)
    last = lines[-1][0]
    return (
        f"""
net Chain {{
    input image[3, {first[0]}, {first[1]}]
    input target[{channels}]
{body}
    loss MeanSquaredLoss(GlobalMeanPool({last}), target)
}}
train Chain {{ solver Momentum(rate = 0.01) }}
""",
        {"image": (3, *first), "target": (channels,)},
    )


@pytest.mark.parametrize("seed", range(24))
def test_grouped_chains(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    draw, draws = random.Random(1000 + seed), np.random.default_rng(seed)
    for module, names in THRESHOLDS:
        for name, values in names.items():
            if draw.random() < 0.4:
                monkeypatch.setattr(module, name, draw.choice(values))
    monkeypatch.setenv("LATTE_CACHE", "off")
    monkeypatch.setenv("LATTE_GUARD", "1")
    text, shapes = chain(seed)
    batch = draw.choice((1, 2, 5, 16, 19))
    items = draw.randint(max(1, batch - 2), batch)
    given = {name: draws.normal(size=(items, *shape)).astype("f") for name, shape in shapes.items()}
    agrees(text, batch, given, (), winograd=draw.random() < 0.5)
