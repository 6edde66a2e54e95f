"""Nets with a time axis: one operator where peers have one, else step by step."""

from __future__ import annotations

import numpy as np
import pytest

import latte
from latte.peers.translate import translate

STEPS = 5
BODIES = {
    "lstm": "y = LSTM(x, 6)",
    "two_lstms": "y = LSTM(LSTM(x, 6), 4)",
    "rnn": "y = RNN(x, 6)",
    "gru": "y = GRU(x, 6)",
    "last": "y = last(LSTM(x, 6)) -> Linear(3)",
    "steps": "y = Everything(x)",
    "backwards": "y = Backwards(x)",
    "before": "y = Before(x)",
    "gates_in_another_order": "y = Other(x, 6)",
}
LAYERS = """
neuron Sum2(x[t, i]) = sum(t, i) x[t, i]
neuron Keep(x, h) = tanh(x + h / 2)
neuron Slope(x, before) = x - before
layer Everything(source[i]) {
    ensemble out = Sum2(steps(source)[:, :])
}
layer Backwards(source[i]) {
    ensemble out[j: i] = Keep(source[j], next(out)[j])
}
layer Before(source[i]) {
    ensemble out[j: i] = Slope(source[j], prev(source)[j])
}
neuron State(keep, add, new, cell) = tanh(new) * sigmoid(add) + cell * sigmoid(keep)
layer Other(source[i], size) {
    param wx[4, size, i] = xavier(i)
    param wh[4, size, size] = xavier(size)
    param b[4, size] = 0
    ensemble gate[g: 4, j: size] = Affine2(source[:], wx[g, j], prev(out)[:], wh[g, j], b[g, j])
    ensemble state[j: size] = State(gate[3, j], gate[2, j], gate[0, j], prev(state)[j])
    ensemble out[j: size] = Output(gate[1, j], state[j])
}
"""


def text(body: str) -> str:
    return f"{LAYERS}net N {{ input x[@time, 3]\n {body}\n loss y * y }}"


def close(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("peer", ["torch", "onnxruntime", "openvino"])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_sequences(body: str, peer: str) -> None:
    pytest.importorskip(peer, reason=f"{peer} is not installed")
    exe = latte.loads(text(body)).compile(batch=2, time=STEPS, target="interp", mode="infer")
    x = np.random.default_rng(0).normal(size=(2, STEPS, 3)).astype(np.float32)
    expected = exe.evaluate(x=x)["y"]
    weights = {**dict(exe.params), **dict(exe.running)}
    if peer == "torch":
        from latte.peers.torch_net import inference

        run = inference(exe.net, weights, {"x": x}, items=2, steps=STEPS, mode="eager")
    else:
        pytest.importorskip("onnx", reason="onnx is not installed")
        from latte.peers.onnx_net import inference as onnx_inference

        run = onnx_inference(exe.net, weights, {"x": x}, items=2, steps=STEPS, peer=peer, threads=1)
    close(run(), expected)


@pytest.mark.parametrize("name", ["lstm", "two_lstms", "gates_in_another_order"])
def test_an_lstm_is_one_operator(name: str) -> None:
    graph = translate(
        latte.loads(text(BODIES[name])).elaborated, items=2, steps=STEPS, training=True
    )
    kinds = [operation.kind for operation in graph.operations]
    assert "LSTM" in kinds
    assert "Tanh" not in kinds
