"""Layers that no library has, with what PyTorch makes of them."""

from __future__ import annotations

from typing import Any

from case import Case, F, Tensors, torch

LOCAL = """
layer Local(source[c, h, w], filters, kernel) {
    param weight[filters, h - kernel + 1, w - kernel + 1, c, kernel, kernel] = xavier(c)
    param bias[filters] = 0
    ensemble out[f: filters, y: h - kernel + 1, x: w - kernel + 1] =
        Weighted(source[:, y ..+ kernel, x ..+ kernel], weight[f, y, x], bias[f])
}
"""

MAXOUT = """
neuron Maxout(x[i...], weight[k, i...], bias[k]) = max(k) (bias[k] + sum(i) weight[k, i] * x[i])
layer MaxoutLinear(source[i...], size, pieces) {
    param weight[size, pieces, i...] = xavier(size(i))
    param bias[size, pieces] = 0
    ensemble out[j: size] = Maxout(source[...], weight[j], bias[j])
}
"""

BY_HAND = """
neuron MaxByHand(x[i...]) {
    state at = argmax(i) x[i]
    forward  { value = x[at] }
    backward { x.grad[at] += value.grad }
}
layer Pool(source[c, h, w]) {
    ensemble out[ch: c, y: h - 2, x: w - 2] = MaxByHand(source[ch, y ..+ 3, x ..+ 3])
}
"""

TIED = """
layer Tied(source[i], size) {
    param weight[size, i] = xavier(i)
    ensemble code[j: size] = Product(source[:], weight[j])
    ensemble bent[j: size] = Tanh(code[j])
    ensemble out[k: i] = Product(bent[:], weight[:, k])
}
"""

LOOPS = """
neuron Loops(x[c, k], weight[c, k]) {
    forward {
        let total = 0
        let best = 0
        for c, k in x {
            let term = weight[c, k] * x[c, k]
            if term > best { best = term } else { total += sin(term) }
        }
        value = total + best * best
    }
}
layer Looping(source[c, n]) {
    param weight[c, 3] = xavier(3)
    ensemble out[p: n] = Loops(source[:, p - 1 ..+ 3], weight)
}
"""

POSITIONS = """
neuron Nearby(x[i], at, width) = sum(i) exp(-(width * (i - at)) ** 2) * x[i]
neuron Pick(x, y, k) = if k == 0 then x else y
layer Positions(source[n]) {
    param width = 0.3
    ensemble near[i: n] = Nearby(source[:], i, width)
    ensemble out[k: 2, j: n - 1] = Pick(near[j], source[j + 1], k)
}
"""

HALVES = """
layer Halves(source[c, n]) {
    ensemble left[k: n] = Sum(source[0 .. c // 2, k])
    ensemble right[k: n] = Sum(source[c // 2 .. c, n - 1 - k])
    out = join(left, right)
}
"""

OWN = [
    Case(
        "locally_connected",
        "y = Local(x, 4, kernel = 3)",
        lambda x, p, _: _local(x, p),
        definitions=LOCAL,
        shape=(2, 5, 6),
    ),
    Case(
        "maxout",
        "y = MaxoutLinear(x, 4, pieces = 3)",
        lambda x, p, _: (
            torch.einsum("ni,jki->njk", x.flatten(1), p["y.weight"].flatten(2)) + p["y.bias"]
        ).amax(2),
        definitions=MAXOUT,
        shape=(2, 3, 2),
    ),
    Case(
        "max_by_hand",
        "y = Pool(x)",
        lambda x, p, _: F.max_pool2d(x, 3, 1),
        definitions=BY_HAND,
    ),
    Case(
        "tied_weights",
        "y = Tied(x, 4)",
        lambda x, p, _: (x @ p["y.weight"].T).tanh() @ p["y.weight"],
        definitions=TIED,
        shape=(6,),
    ),
    Case(
        "loops",
        "y = Looping(x)",
        lambda x, p, _: _loops(x, p["y.weight"]),
        definitions=LOOPS,
        shape=(2, 5),
    ),
    Case(
        "positions",
        "y = Positions(x)",
        lambda x, p, _: _positions(x, p["y.width"]),
        definitions=POSITIONS,
        shape=(6,),
    ),
    Case(
        "halves",
        "y = Halves(x)",
        lambda x, p, _: torch.cat([x[:, :2].sum(1), x[:, 2:].sum(1).flip(1)], 1),
        definitions=HALVES,
        shape=(5, 4),
    ),
]


def _local(x: Any, p: Tensors) -> Any:
    windows = x.unfold(2, 3, 1).unfold(3, 3, 1)  # n, c, y, x, ky, kx
    return torch.einsum("ncyxij,fyxcij->nfyx", windows, p["y.weight"]) + p["y.bias"][:, None, None]


def _positions(x: Any, width: Any) -> Any:
    i = torch.arange(x.shape[1], dtype=x.dtype)
    near = x @ (-((width * (i[:, None] - i[None])) ** 2)).exp()
    return torch.stack([near[:, :-1], x[:, 1:]], 1)


def _loops(x: Any, weight: Any) -> Any:
    n, c, size = x.shape
    rows = []
    for p in range(size):
        total, best = x.new_zeros(n), x.new_zeros(n)
        for ch in range(c):
            for k in range(3):
                if not 0 <= p - 1 + k < size:
                    continue
                term = weight[ch, k] * x[:, ch, p - 1 + k]
                total = torch.where(term > best, total, total + term.sin())
                best = torch.where(term > best, term, best)
        rows.append(total + best * best)
    return torch.stack(rows, 1)
