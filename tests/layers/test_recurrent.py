"""Recurrent layers over 8 steps against PyTorch: whole sequences, shorter ones, the last step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_against_torch import close

import latte

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

STEPS, ITEMS, SIZE, INPUTS = 8, 4, 5, 3
TEXT = """
neuron Wobble(y) = sin(2 * y) + y ** 2 / 2
net Sequence {
    input xs[@time, 3]
    %s
    loss Wobble(y)
}
"""


def rnn(p: dict[str, Any], xs: Any, name: str = "h") -> Any:
    h, rows = xs.new_zeros(len(xs), SIZE), []
    for t in range(STEPS):
        h = torch.tanh(xs[:, t] @ p[f"{name}.wx"].T + h @ p[f"{name}.wh"].T + p[f"{name}.b"])
        rows.append(h)
    return torch.stack(rows, 1)


def lstm(p: dict[str, Any], xs: Any, name: str = "h") -> Any:
    return _torch_layer(torch.nn.LSTM, 4, p, xs, name)


def gru(p: dict[str, Any], xs: Any, name: str = "h") -> Any:
    return _torch_layer(torch.nn.GRU, 3, p, xs, name)


def _torch_layer(
    kind: Any, gates: int, p: dict[str, Any], xs: Any, name: str, size: int = SIZE
) -> Any:
    wx, wh, b = p[f"{name}.wx"], p[f"{name}.wh"], p[f"{name}.b"]
    layer = kind(wx.shape[-1], size, batch_first=True).double()
    weights = {
        "weight_ih_l0": wx.reshape(gates * size, -1),
        "weight_hh_l0": wh.reshape(gates * size, size),
        "bias_ih_l0": b.reshape(-1),
        "bias_hh_l0": torch.zeros(gates * size, dtype=torch.float64),
    }
    return torch.func.functional_call(layer, weights, (xs,))[0]


LAYERS = {"RNN": rnn, "LSTM": lstm, "GRU": gru}


@pytest.mark.parametrize("lengths", [None, [8, 3, 1, 6]], ids=["whole", "lengths"])
@pytest.mark.parametrize("layer", LAYERS)
def test_every_step(layer: str, lengths: list[int] | None) -> None:
    def model(p: dict[str, Any], xs: Any) -> Any:
        return LAYERS[layer](p, xs)

    agree(f"h = {layer}(xs, 5)\ny = h * 1", model, lengths)


@pytest.mark.parametrize("lengths", [None, [8, 3, 1, 6]], ids=["whole", "lengths"])
def test_last_step(lengths: list[int] | None) -> None:
    def model(p: dict[str, Any], xs: Any) -> Any:
        ends = torch.tensor(lengths or [STEPS] * ITEMS) - 1
        last = lstm(p, xs)[torch.arange(ITEMS), ends]
        return torch.nn.functional.linear(last, p["y.weight"], p["y.bias"])

    agree("h = LSTM(xs, 5)\ny = Linear(last(h), 2)", model, lengths, every_step=False)


def test_two_layers() -> None:
    def model(p: dict[str, Any], xs: Any) -> Any:
        return gru(p, rnn(p, xs, "a"), "b")

    agree('y = xs -> RNN(5, name = "a") -> GRU(5, name = "b") -> Identity', model, None)


def agree(
    body: str,
    model: Any,
    lengths: list[int] | None,
    every_step: bool = True,
    definitions: str = "",
) -> None:
    """One step in both: the loss, `y` where a step is present, all gradients."""
    exe = latte.loads(definitions + TEXT % body).compile(batch=ITEMS, time=STEPS)
    rng = np.random.default_rng(3)
    xs = rng.normal(size=(ITEMS, STEPS, INPUTS)).astype(np.float32)
    drawn = {
        name: (0.5 * rng.normal(size=value.shape)).astype(np.float32)
        for name, value in exe.params.items()
    }
    for name, value in drawn.items():
        exe.params[name] = value
    options = {} if lengths is None else {"lengths": np.array(lengths)}
    out = exe.forward(xs=xs, **options)
    exe.backward()

    tensors = {name: torch.tensor(v).double().requires_grad_() for name, v in drawn.items()}
    y = model(tensors, torch.tensor(xs).double())
    here = np.arange(STEPS) < np.array(lengths or [STEPS] * ITEMS)[:, None]
    present = y[torch.tensor(here)] if every_step else y
    loss = ((2 * present).sin() + present**2 / 2).mean()
    loss.backward()

    close(out["y"][here] if every_step else out["y"], present, 1e-4, "y")
    close(np.asarray(out["loss"]), loss, 1e-4, "loss")
    for name, tensor in tensors.items():
        close(exe.grads[name], tensor.grad, 1e-3, f"gradient of {name}")


CHARACTERS = """
net Characters {
    input words[@time]: class(30)
    input following[@time]: class(30)
    h = words -> Embedding(24) -> LSTM(40, name = "h")
    y = Linear(h, 30)
    loss SoftmaxLoss(y, following)
}
"""


def test_text_of_several_lengths() -> None:
    items, steps, size = 20, 33, 40
    exe = latte.loads(CHARACTERS).compile(batch=32, time=steps)
    rng = np.random.default_rng(1)
    words, following = rng.integers(0, 30, (2, items, steps))
    lengths = rng.integers(1, steps + 1, items)
    out = exe.forward(words=words, following=following, lengths=lengths)
    exe.backward()

    tensors = {k: torch.tensor(v.copy()).double().requires_grad_() for k, v in exe.params.items()}
    seen = torch.nn.functional.embedding(torch.tensor(words), tensors["embedding1.weight"])
    h = _torch_layer(torch.nn.LSTM, 4, tensors, seen, "h", size)
    y = h @ tensors["y.weight"].T + tensors["y.bias"]
    here = torch.arange(steps) < torch.tensor(lengths)[:, None]
    loss = torch.nn.functional.cross_entropy(y[here], torch.tensor(following)[here])
    loss.backward()

    close(np.asarray(out["loss"]), loss, 1e-4, "loss")
    for name, tensor in tensors.items():
        close(exe.grads[name], tensor.grad, 1e-3, f"gradient of {name}")
