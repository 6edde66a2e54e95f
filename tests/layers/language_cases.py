"""Layers as a user writes them, one feature of the language each, with what PyTorch makes of it."""

from __future__ import annotations

from typing import Any

from case import Case, F, Tensors, torch

CONV2D = """
layer Conv2d(source[c, h, w], filters, kernel, stride = 1, pad = 0) {
    param weight[filters, c, kernel, kernel] = xavier(c * kernel * kernel)
    param bias[filters] = 0
    ensemble out[f: filters, y: (h + 2*pad - kernel) // stride + 1,
                 x: (w + 2*pad - kernel) // stride + 1] =
        Weighted(source[:, y*stride - pad ..+ kernel, x*stride - pad ..+ kernel],
                 weight[f], bias[f])
}
"""

RESPONSE = """
neuron Response(x, window[c], alpha, beta, k) {
    forward {
        let energy = k + alpha / size(c) * sum(c) window[c] ** 2
        value = x * energy ** -beta
    }
}
layer Responses(source[c, h, w]) {
    ensemble out[ch: c, y: h, x: w] =
        Response(source[ch, y, x], source[ch - 1 ..+ 3, y, x], 0.5, 0.75, 2)
}
"""

STANDARD = """
layer Standard(source[c, h, w]) {
    ensemble m[ch: c] = Mean(items(source)[:, ch, :, :])
    ensemble v[ch: c] = Variance(items(source)[:, ch, :, :], m[ch])
    ensemble out[ch: c, y: h, x: w] = Standardize(source[ch, y, x], m[ch], v[ch], 2, 1, 1e-3)
}
"""

TOWER = """
layer Tower(x[i...], depth) {
    if depth == 0 {
        out = x
    } else {
        out = Tower(Tanh(Linear(x, depth + 2)), depth - 1)
    }
}
"""

WORDS = """
neuron Words(x[i], y[i], at) {
    forward {
        let low = min(i) x[i]
        let first = argmin(i) x[i] * y[i]
        let both = if any(i) x[i] > 1.5 then 1 else 0
        let none = if all(i) x[i] < 9 then 2 else 0
        value = low + y[first] + both + none * prod(i) (1 + x[i] / 4) + at % 3 + at // 2
    }
}
layer Wordy(source[c, n]) {
    ensemble out[k: n] = Words(source[:, k], source[:, n - 1 - k], k)
}
"""

CORNER = """
neuron Corner(x[dy, dx], w[dy, dx]) =
    sum(dy, dx) (if dy == 0 then x[dy, dx] else (if dx < 2 then w[dy, dx] * x[dy, dx] else dx - dy))
layer Corners(source[c, h, w]) {
    param weight[3, 3] = gaussian(0, 1)
    ensemble out[ch: c, y: h, x: w - 2] = Corner(source[ch, y - 1 ..+ 3, x ..+ 3], weight)
}
"""

WEIGHT_NORM = """
neuron Length(w[i...]) = sqrt(sum(i) w[i] ** 2)
neuron Scaled(x[i...], w[i...], length, g) = g / length * sum(i) w[i] * x[i]
layer Normed(source[i...], size) {
    ensemble out[j: size] = Scaled(source[...], weight[j], length[j], gain[j])
    ensemble length[j: size] = Length(weight[j])
    param weight[size, i...] = gaussian(0, 1)
    param gain[size] = 1
}
"""

AMONG = """
neuron Crowd(x, others[n]) = sum(n) tanh(x * others[n]) / count(n)
layer Crowds(source[i...]) {
    ensemble out[p...: i] = Crowd(source[p], items(source)[:, p])
}
"""

LOOKUP = """
neuron Part(x[i], w[k, i], y[i]) = sum(k, i) w[k, i] * x[i] * (k + 1) + y[1]
layer Lookup(word, source[n]) {
    param table[8, n] = gaussian(0, 1)
    ensemble out = Part(source[:], table[word ..+ 3, :], table[word + 2, :])
}
"""

STRIPES = """
layer Stripes(source[c, h, w]) {
    half = c // 2
    ensemble out[y: 2 * h, x: w] = Mean(source[0 .. half, y // 2, x // 2 ..+ 2 by 2])
}
"""

VIEWS = """
layer Mixed(source[c, h, w]) {
    turned = transpose(source, [0, 2, 1])
    long = reshape(turned, [c * w, h])
    both = join(long, reshape(source, [c * w, h]), axis = 1)
    out = Conv(both, 3, kernel = 3, pad = 1, stride = 2, name = "conv")
}
"""

FEATURES = [
    Case(
        "axis_by_axis",
        "y = Conv2d(x, 4, kernel = 3, stride = 2, pad = 1)",
        lambda x, p, _: F.conv2d(x, p["y.weight"], p["y.bias"], stride=2, padding=1),
        definitions=CONV2D,
    ),
    Case(
        "own_response",
        "y = Responses(x)",
        lambda x, p, _: F.local_response_norm(x, 3, 0.5, 0.75, 2.0),
        definitions=RESPONSE,
        shape=(5, 2, 3),
    ),
    Case(
        "own_batch_norm",
        "y = Standard(x)",
        lambda x, p, _: 2 * F.batch_norm(x, None, None, training=True, eps=1e-3) + 1,
        definitions=STANDARD,
        batch=4,
    ),
    Case(
        "recursion",
        "y = Tower(x, 3)",
        lambda x, p, _: _tower(x, p, "y", 3),
        definitions=TOWER,
        shape=(4,),
    ),
    Case(
        "loop",
        """
        a = x
        for i in 0 .. 3 {
            a = Tanh(Linear(a, 4, name = "lin"))
        }
        y = a
        """,
        lambda x, p, _: _loop(x, p),
        shape=(4,),
    ),
    Case(
        "reductions",
        "y = Wordy(x)",
        lambda x, p, _: _wordy(x),
        definitions=WORDS,
        shape=(3, 5),
    ),
    Case(
        "positions_in_a_window",
        "y = Corners(x)",
        lambda x, p, _: _corners(x, p["y.weight"]),
        definitions=CORNER,
        shape=(2, 4, 5),
    ),
    Case(
        "weight_norm",
        "y = Normed(x, 4)",
        lambda x, p, _: (
            F.linear(x, p["y.weight"] / p["y.weight"].norm(dim=1, keepdim=True)) * p["y.gain"]
        ),
        definitions=WEIGHT_NORM,
        shape=(5,),
    ),
    Case(
        "among_items",
        "y = Crowds(x)",
        lambda x, p, _: (x[:, None] * x[None]).tanh().mean(1),
        definitions=AMONG,
        shape=(2, 3),
        batch=4,
    ),
    Case(
        "lookup_of_a_window",
        "y = Lookup(word, x)",
        lambda x, p, i: _lookup(x, p["y.table"], i["word"]),
        definitions=LOOKUP,
        shape=(4,),
        inputs={"word": 6},
        batch=5,
    ),
    Case(
        "floors_and_steps",
        "y = Stripes(x)",
        lambda x, p, _: _stripes(x),
        definitions=STRIPES,
        shape=(4, 3, 7),
    ),
    Case(
        "convolution_of_views",
        "y = Mixed(x)",
        lambda x, p, _: F.conv1d(
            torch.cat([x.transpose(2, 3).reshape(-1, 10, 4), x.reshape(-1, 10, 4)], 2),
            p["y.conv.weight"],
            p["y.conv.bias"],
            padding=1,
            stride=2,
        ),
        definitions=VIEWS,
        shape=(2, 4, 5),
    ),
    Case(
        "same_layer_twice",
        """
        a = Linear(x, 4)
        b = Linear(Tanh(a), 4)
        c = a * b + 2 * x - a / 3
        y = Concat(c, ReLU(-c), x)
        """,
        lambda x, p, _: _twice(x, p),
        shape=(4,),
    ),
    Case(
        "parts_by_name",
        "h = Softmax(x)\ny = h.top * 2 + h.total",
        lambda x, p, _: 2 * x.amax(1) + (x - x.amax(1, keepdim=True)).exp().sum(1),
    ),
    Case(
        "one_item_of_an_axis",
        'y = reshape(x, [3, 63]) -> Conv(2, kernel = 7, stride = 5, pad = 3, name = "c")',
        lambda x, p, _: F.conv1d(
            x.reshape(-1, 3, 63), p["c.weight"], p["c.bias"], stride=5, padding=3
        ),
    ),
]


def _tower(x: Any, p: Tensors, path: str, depth: int) -> Any:
    for _ in range(depth):
        x = F.linear(x, p[f"{path}.linear1.weight"], p[f"{path}.linear1.bias"]).tanh()
        path += ".out"
    return x


def _loop(x: Any, p: Tensors) -> Any:
    for k in range(3):
        x = F.linear(x, p[f"lin.{k}.weight"], p[f"lin.{k}.bias"]).tanh()
    return x


def _wordy(x: Any) -> Any:
    y = x.flip(2)
    k = torch.arange(x.shape[2])
    first = (x * y).argmin(1, keepdim=True)
    both = (x > 1.5).any(1).to(x.dtype)
    none = 2 * (x < 9).all(1).to(x.dtype)
    picked = y.gather(1, first)[:, 0]
    return x.amin(1) + picked + both + none * (1 + x / 4).prod(1) + k % 3 + k // 2


def _corners(x: Any, weight: Any) -> Any:
    n, c, h, w = x.shape
    total = x.new_zeros(n, c, h, w - 2)
    for y in range(h):
        for dy in range(3):
            row = y - 1 + dy
            if not 0 <= row < h:
                continue
            for dx in range(3):
                here = x[:, :, row, dx : dx + w - 2]
                term = here if dy == 0 else weight[dy, dx] * here if dx < 2 else dx - dy
                total[:, :, y] = total[:, :, y] + term
    return total


def _lookup(x: Any, table: Any, word: Any) -> Any:
    rows = torch.stack([table[word + k] for k in range(3)], 1)  # n, k, i
    scale = torch.arange(1, 4, dtype=x.dtype)
    return torch.einsum("nki,ni,k->n", rows, x, scale) + table[word + 2][:, 1]


def _stripes(x: Any) -> Any:
    w = x.shape[3]
    rows = x[:, :2].repeat_interleave(2, 2)  # y // 2
    starts = torch.arange(w) // 2
    return (rows[:, :, :, starts] + rows[:, :, :, starts + 2]).mean(1) / 2


def _twice(x: Any, p: Tensors) -> Any:
    a = F.linear(x, p["a.weight"], p["a.bias"])
    b = F.linear(a.tanh(), p["b.weight"], p["b.bias"])
    c = a * b + 2 * x - a / 3
    return torch.cat([c, F.relu(-c), x], 1)
