"""Every size from which a pass does something, set aside: what is small counts as large.

What pays for large nets alone is met by small ones then, in any company: numbers stay what the
oracle says.
"""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from random_nets import random_net
from test_fusion import agrees
from test_random_nets import feeds

from latte.compiler import (
    contract_chunks,
    contract_plan,
    contract_tile,
    crop,
    fuse,
    fuse_tiles,
    hasten,
    invariant,
    isolate,
    itemize,
    machine,
    pack,
    split_sums,
    sum_rows,
    sweep,
    tabulate,
    together,
    winograd_blocks,
    winograd_cost,
)

MUCH = 1 << 30
THRESHOLDS = (
    (contract_chunks, {"LEAST": (1, 5), "LEAST_INSIDE": (1,)}),
    (contract_plan, {"STREAMED": (0, MUCH), "ASKED": (0, MUCH), "COPIED": (0,), "PASSING": (0,)}),
    (contract_tile, {"MOST_VECTORS": (1, 2)}),
    (crop, {"LEAST": (1,), "GAIN": (-9.0,)}),
    (fuse, {"REACH": (1, 1000)}),
    (fuse_tiles, {"LEAST_PLACES": (1,), "SHARED": (0,), "AGAIN": (3.0,)}),
    (hasten, {"LARGE": (0,)}),
    (invariant, {"WORTH": (1,)}),
    (isolate, {"WORTH": (1,)}),
    (itemize, {"USES": (MUCH,), "FEWER": (0,), "LEAST_ITEMS": (1,)}),
    (pack, {"WORTH": (0, MUCH)}),
    (split_sums, {"MOST_OWNERS": (MUCH,), "LEAST_INNER": (2,), "LEAST_TERMS": (1,), "SLICE": (4,)}),
    (sum_rows, {"WORTH": (0,), "LEAST_TERMS": (1,)}),
    (sweep, {"LARGE": (0,), "ENOUGH": (1,), "BLOCKS": (1, 3)}),
    (tabulate, {"WORTH": (0,), "LEAST_TERMS": (1,)}),
    (together, {"LARGE": (0,), "REACH": (1, 1000), "ENOUGH": (1,)}),
    (winograd_blocks, {"MOST_ROWS": (1, 7), "MOST_SUMMED": (1, 9), "MOST_HELD": (1,)}),
    (winograd_cost, {"LEAST": (0,), "TRANSFORM": (0.0,), "STEPS": ((2,), (4, 2))}),
)


@pytest.mark.parametrize("seed", [*range(40), 307, 754])  # the last two found mistakes
def test_random_nets_as_if_they_were_large(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    draw, drawn = random.Random(seed), random_net(9000 + seed)
    for module, names in THRESHOLDS:
        for name, values in names.items():
            if draw.random() < 0.6:
                monkeypatch.setattr(module, name, draw.choice(values))
    if draw.random() < 0.4:
        l1, l2 = draw.choice((64, 1024)), draw.choice((512, 16384))
        other = replace(machine.host(), l1=l1, l2=l2, l3=4 * l2)
        monkeypatch.setattr(machine, "host", lambda: other)
    monkeypatch.setenv("LATTE_CACHE", "off")
    monkeypatch.setenv("LATTE_GUARD", "1")
    given = feeds(drawn, max(1, drawn.batch - 1), np.random.default_rng(seed))
    agrees(drawn.text, drawn.batch, given, (), drawn.time)


BACKWARDS = """
layer Backwards(source[i...], size) {
    param wx[size, i...] = xavier(size(i))
    param wh[size, size] = xavier(size)
    ensemble out[j: size] = Summed(source[...], wx[j], next(out)[:], wh[j])
}
neuron Summed(x[i...], wx[i...], h[k], wh[k]) = tanh(sum(i) wx[i] * x[i] + sum(k) wh[k] * h[k])
net Reversed {
    input xs[@time, 9]
    input ys[@time, 16]
    loss MeanSquaredLoss(Backwards(xs, 16), ys)
}
"""


@pytest.mark.parametrize("lengths", [(5, 5), (3, 5), (1, 2)])
def test_what_follows_the_last_step_is_not_read(
    lengths: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LATTE_GUARD", "1")
    rng = np.random.default_rng(0)
    given = {"lengths": np.array(lengths)} | {
        name: rng.normal(size=(2, 5, size)).astype(np.float32)
        for name, size in (("xs", 9), ("ys", 16))
    }
    agrees(BACKWARDS, 3, given, (), 5)
