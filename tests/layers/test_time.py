"""The forms of time as a user writes them, against PyTorch: prev, next, last, steps, initial."""

from __future__ import annotations

from typing import Any

import pytest
from test_recurrent import ITEMS, SIZE, STEPS, agree

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

LENGTHS = [None, [8, 3, 1, 6]]

OWN_LSTM = """
neuron Gates(x[i...], wx[i...], h[k], wh[k], b) =
    b + sum(i) wx[i] * x[i] + sum(k) wh[k] * h[k]
neuron Cell(i, f, g, c) = sigmoid(f) * c + sigmoid(i) * tanh(g)
neuron Out(o, c) = sigmoid(o) * tanh(c)
layer Memory(source[i...], size) {
    param wx[4, size, i...] = xavier(size(i))
    param wh[4, size, size] = xavier(size)
    param b[4, size] = 0
    ensemble gate[g: 4, j: size] = Gates(source[...], wx[g, j], prev(out)[:], wh[g, j], b[g, j])
    ensemble cell[j: size] = Cell(gate[0, j], gate[1, j], gate[2, j], prev(cell)[j])
    ensemble out[j: size] = Out(gate[3, j], cell[j])
}
"""

BACKWARDS = """
layer Backwards(source[i...], size) {
    param wx[size, i...] = xavier(size(i))
    param wh[size, size] = xavier(size)
    param b[size] = 0
    ensemble out[j: size] = Recurrent(source[...], wx[j], next(out)[:], wh[j], b[j])
}
"""

ATTEND = """
neuron Attend(q[k], keys[t, k], values[t]) {
    forward {
        let total = sum(t) exp(sum(k) q[k] * keys[t, k])
        value = sum(t) (exp(sum(k) q[k] * keys[t, k]) * values[t]) / total
    }
}
layer Attention(h[d]) {
    ensemble out[j: d] = Attend(h[:], steps(h)[:, :], steps(h)[:, j])
}
"""

STARTED = """
neuron Decay(x, h) = x + sin(h)
layer Started(source[n], start[n]) {
    ensemble out[j: n] = Decay(source[j], prev(out, initial = start)[n - 1 - j])
}
"""

DELAYED = """
neuron Difference(x, before, after) = x * before - after
layer Delayed(source[n]) {
    ensemble out[j: n] = Difference(source[j], prev(source)[j], next(source)[n - 1 - j])
}
"""


@pytest.mark.parametrize("lengths", LENGTHS, ids=["whole", "lengths"])
def test_lstm_as_the_language_page_writes_it(lengths: list[int] | None) -> None:
    from test_recurrent import lstm

    agree("h = Memory(xs, 5)\ny = h * 1", lstm, lengths, definitions=OWN_LSTM)


@pytest.mark.parametrize("lengths", LENGTHS, ids=["whole", "lengths"])
def test_both_directions(lengths: list[int] | None) -> None:
    from test_recurrent import rnn

    def model(p: dict[str, Any], xs: Any) -> Any:
        return torch.cat([rnn(p, xs, "a"), _backwards(p, xs, lengths)], 2)

    agree("a = RNN(xs, 5)\nb = Backwards(xs, 5)\ny = Concat(a, b)", model, lengths,
          definitions=BACKWARDS)  # fmt: skip


def _backwards(p: dict[str, Any], xs: Any, lengths: list[int] | None) -> Any:
    h, rows = xs.new_zeros(ITEMS, SIZE), []
    ends = torch.tensor(lengths or [STEPS] * ITEMS)[:, None]
    for t in reversed(range(STEPS)):
        new = torch.tanh(xs[:, t] @ p["b.wx"].T + h @ p["b.wh"].T + p["b.b"])
        h = torch.where(t < ends, new, torch.zeros_like(new))
        rows.insert(0, h)
    return torch.stack(rows, 1)


@pytest.mark.parametrize("lengths", LENGTHS, ids=["whole", "lengths"])
def test_attention_over_steps(lengths: list[int] | None) -> None:
    from test_recurrent import rnn

    def model(p: dict[str, Any], xs: Any) -> Any:
        h = rnn(p, xs, "h")
        scores = h @ h.transpose(1, 2)
        here = torch.arange(STEPS) < torch.tensor(lengths or [STEPS] * ITEMS)[:, None]
        return scores.masked_fill(~here[:, None], -torch.inf).softmax(2) @ h

    agree("h = RNN(xs, 5)\ny = Attention(h)", model, lengths, definitions=ATTEND)


def test_initial_value() -> None:
    def model(p: dict[str, Any], xs: Any) -> Any:
        h, rows = xs.mean(1) @ p["s.weight"].T + p["s.bias"], []
        for t in range(STEPS):
            h = xs[:, t] + h.flip(1).sin()
            rows.append(h)
        return torch.stack(rows, 1)

    body = "s = Linear(Middle(xs), 3)\ny = Started(xs, s)"
    middle = """
    layer Middle(xs[n]) { ensemble out[j: n] = Mean(steps(xs)[:, j]) }
    """
    agree(body, model, None, definitions=STARTED + middle)


@pytest.mark.parametrize("lengths", LENGTHS, ids=["whole", "lengths"])
def test_neighbouring_steps(lengths: list[int] | None) -> None:
    def model(p: dict[str, Any], xs: Any) -> Any:
        x = xs @ p["x.weight"].T + p["x.bias"]
        ends = torch.tensor(lengths or [STEPS] * ITEMS)
        zero = torch.zeros_like(x[:, :1])
        before = torch.cat([zero, x[:, :-1]], 1)
        after = torch.cat([x[:, 1:], zero], 1)
        after[torch.arange(ITEMS), ends - 1] = 0
        return x * before - after.flip(2)

    agree("x = Linear(xs, 4)\ny = Delayed(x)", model, lengths, definitions=DELAYED)
