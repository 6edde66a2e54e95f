"""Loops, branches and written backward compute what they say: run by the interpreter."""

from __future__ import annotations

import numpy as np
import pytest

import latte

LOOPS = """
neuron Total(x[i...], w[i...]) { forward {
    let s = 0
    for i in x { if x[i] > 0 { s += x[i] * w[i] } else { s -= x[i] } }
    value = s
} }
neuron TotalFold(x[i...], w[i...]) = sum(i) (if x[i] > 0 then x[i] * w[i] else -x[i])
neuron Best(x[a, b], w[a, b]) { forward {
    let best = -100
    let row = 0
    let column = 0
    for a, b in x { if x[a, b] > best { best = x[a, b]; row = a; column = b } }
    value = best * (1 + row + 10 * column)
} }
neuron BestFold(x[a, b], w[a, b]) {
    state at = argmax(a, b) x[a, b]
    forward { value = x[at] * (1 + at // 2 + 10 * (at % 2)) }
}
neuron ByHand(x[i...], w[i...]) {
    state at = 0
    forward {
        let best = -100
        for i in x { if x[i] > best { best = x[i]; at = i } }
        value = best
    }
    backward { x.grad[at] += value.grad }
}
neuron ByHandFold(x[i...], w[i...]) = max(i) x[i]
neuron Horner(x[i...], w[i...]) { forward {
    let s = 1
    for i in x { s = s * w[i] + x[i] }
    value = s
} }
layer Seen(x[h, w]) {
    param weight[3, 2] = 0.5 + 0.1 * position(0)
    ensemble total[a: h, b: w]     = Total(x[a - 1 ..+ 3, b ..+ 2], weight)
    ensemble total2[a: h, b: w]    = TotalFold(x[a - 1 ..+ 3, b ..+ 2], weight)
    ensemble best[a: h, b: w]      = Best(x[a - 1 ..+ 3, b ..+ 2], weight)
    ensemble best2[a: h, b: w]     = BestFold(x[a - 1 ..+ 3, b ..+ 2], weight)
    ensemble hand[a: h, b: w]      = ByHand(x[a - 1 ..+ 3, b ..+ 2], weight)
    ensemble hand2[a: h, b: w]     = ByHandFold(x[a - 1 ..+ 3, b ..+ 2], weight)
    ensemble horner[a: h, b: w]    = Horner(x[a - 1 ..+ 3, b ..+ 2], weight)
    out = horner
}
neuron Add(x, p) = x + p
net N {
    input image[4, 5]
    param p[4, 5] = 0
    ensemble x[a: 4, b: 5] = Add(image[a, b], p[a, b])
    seen = Seen(x)
    y = seen.PART
    loss Weigh(y, image)
}
neuron Weigh(y, image) = y * (image + 2)
"""
IMAGE = np.random.default_rng(3).normal(size=(3, 4, 5)).astype(np.float32)


def run(part: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The part's value, and the gradients of its source and of the weights."""
    net = latte.loads(LOOPS.replace("PART", part))
    exe = net.compile(batch=3, target="interp", keep=["y"])
    exe.forward(image=IMAGE)
    exe.backward()
    return exe.value("y"), exe.grads["p"], exe.grads["seen.weight"]


@pytest.mark.parametrize("part", ["total", "best", "hand"])
def test_a_loop_computes_what_its_fold_does(part: str) -> None:
    for one, other in zip(run(part), run(f"{part}2"), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)


def test_a_loop_written_out_meets_only_what_is_there() -> None:
    value, _, _ = run("horner")
    weight = np.repeat(0.5 + 0.1 * np.arange(3)[:, None], 2, axis=1)
    for item, a, b in np.ndindex(value.shape):
        expected = 1.0
        for i, j in np.ndindex(3, 2):
            if 0 <= a - 1 + i < 4 and b + j < 5:
                expected = expected * weight[i, j] + IMAGE[item, a - 1 + i, b + j]
        assert value[item, a, b] == pytest.approx(expected, rel=1e-5, abs=1e-6)
