"""Random nets: in a seed, out the text of a net with what to feed it.

Small and odd on purpose: sizes 1, 2, 3 and primes, strides that leave a rest, windows that hang
over the border, branches that meet again, layers that no library has.

    random_net(7).text   ->   net Random { input image[2, 5, 1] ... loss Wobble(y) }
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

DEFINITIONS = """
neuron Wobble(y) = sin(2 * y) + y ** 2 / 2
neuron Bent(x, k) = x / (1 + abs(x)) + k / 8
neuron Greater(x[i...], weight[i...]) = max(i) weight[i] * x[i]
neuron Third(x[i...]) {
    forward {
        let total = 0
        let seen = 1
        for i in x {
            if x[i] > 0 { total += x[i] } else { seen += 1 }
        }
        value = total / seen
    }
}

layer Local(source[c, h, w], filters) {
    param weight[filters, h, w, c, 3, 2] = gaussian(0, 0.3)
    ensemble out[f: filters, y: h, x: w] =
        Product(source[:, y - 1 ..+ 3, x ..+ 2], weight[f, y, x])
}

layer Dilate(source[c, s...]) {
    param weight[c] = gaussian(0, 1)
    ensemble out[ch: c, p...: s] = Greater(source[:, p], weight)
}

layer Half(source[c, h, w]) {
    ensemble out[ch: c, y: (h + 1) // 2, x: w] = Third(source[ch, 2*y ..+ 3, x - 1 ..+ 2])
}

neuron Attend(q[k], keys[t, k], values[t]) =
    sum(t) (tanh(sum(k) q[k] * keys[t, k]) * values[t]) / count(t)
layer Attending(h[d]) {
    ensemble out[j: d] = Attend(h[:], steps(h)[:, :], steps(h)[:, j])
}

neuron Shifted(x, before, after) = x * before - after / 2
layer Delayed(source[n]) {
    ensemble out[j: n] = Shifted(source[j], prev(source)[n - 1 - j], next(source)[j])
}

layer Backwards(source[i...], size) {
    param wx[size, i...] = xavier(size(i))
    param wh[size, size] = xavier(size)
    param b[size] = 0.1 * normal()
    ensemble out[j: size] = Recurrent(source[...], wx[j], next(out)[:], wh[j], b[j])
}

neuron Crowd(x, others[n]) = sum(n) tanh(x * others[n]) / count(n)
layer Crowds(source[i...]) {
    ensemble out[p...: i] = Crowd(source[p], items(source)[:, p])
}

layer Tied(source[c, s...], size) {
    param weight[size, c] = gaussian(0, 0.5)
    ensemble code[j: size, p...: s] = Product(source[:, p], weight[j])
    ensemble out[k: c, p...: s] = Product(code[:, p], weight[:, k])
}

layer Stripes(source[c, h, w]) {
    ensemble out[y: 2 * h, x: w, k: 2] = Mean(source[0 .. (c + 1) // 2, y // 2, x // 2 ..+ 2 by 2])
}

layer Turn(source[c, h, w]) {
    ensemble out[x: w, ch: c, y: h] = Bent(source[ch, h - 1 - y, x], ch - y)
}
"""

SIZES = (1, 2, 3, 5, 7)


@dataclass(frozen=True)
class RandomNet:
    """A net's text, the shape (or number of classes) of each input, its largest batch, and how many
    time steps (0: none)."""

    text: str
    inputs: dict[str, tuple[int, ...] | int]
    batch: int
    time: int = 0


@dataclass
class _Draft:
    """A net while lines are added; `known` are all ensembles so far with their shapes."""

    rng: random.Random
    lines: list[str] = field(default_factory=list)
    known: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)

    def bind(self, call: str, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
        name = f"a{len(self.known)}"
        self.lines.append(f"{name} = {call}")
        self.known.append((name, shape))
        return name, shape


Rule = Callable[[_Draft, str, tuple[int, ...]], "tuple[str, tuple[int, ...]] | None"]


def random_net(seed: int) -> RandomNet:
    """The net of a seed: a quarter of them have time."""
    rng = random.Random(seed)
    return _sequence(rng) if seed % 4 == 3 else _image(rng)


def _image(rng: random.Random) -> RandomNet:
    shape = tuple(rng.choice(SIZES) for _ in range(3))
    draft = _Draft(rng, known=[("image", shape)])
    _grow(draft, rng.randint(2, 5), IMAGE_RULES)
    if rng.random() < 0.5:
        draft.bind(f"Linear({draft.known[-1][0]}, 3)", (3,))
    return _finish(draft, f"input image{_list(shape)}", {"image": shape}, 0)


def _sequence(rng: random.Random) -> RandomNet:
    shape = tuple(rng.choice(SIZES) for _ in range(rng.randint(1, 2)))
    draft = _Draft(rng, known=[("xs", shape)])
    _grow(draft, rng.randint(1, 3), SEQUENCE_RULES)
    name = draft.known[-1][0]
    if rng.random() < 0.5:
        draft.bind(f"Linear(last({name}), 2)", (2,))
    inside = ", ".join(("@time", *map(str, shape)))
    return _finish(draft, f"input xs[{inside}]", {"xs": shape}, rng.choice((1, 2, 5)))


def _grow(draft: _Draft, count: int, rules: list[Rule]) -> None:
    while count:
        name, shape = draft.known[-1] if draft.rng.random() < 0.7 else draft.rng.choice(draft.known)
        if draft.rng.choice(rules)(draft, name, shape):
            count -= 1


def _finish(
    draft: _Draft, declaration: str, inputs: dict[str, tuple[int, ...] | int], time: int
) -> RandomNet:
    lines = [declaration, *draft.lines, f"loss Wobble({draft.known[-1][0]})"]
    if draft.rng.random() < 0.5 and len(draft.known) > 2:
        lines.append(f"loss 0.3 * Wobble({draft.rng.choice(draft.known[1:])[0]})")
    text = DEFINITIONS + "\nnet Random {\n    " + "\n    ".join(lines) + "\n}\n"
    return RandomNet(text, inputs, draft.rng.choice((1, 2, 3, 5)), time)


def _list(shape: tuple[int, ...]) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"


# Rules: each binds a new ensemble, or gives None where the shape does not allow it


def _conv(draft: _Draft, name: str, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]] | None:
    rng, filters = draft.rng, draft.rng.choice(SIZES)
    if len(shape) < 2:
        return None
    kernel = [rng.choice((1, 2, 3)) for _ in shape[1:]]
    stride = [rng.choice((1, 1, 2, 3)) for _ in shape[1:]]
    dilation = [rng.choice((1, 1, 2)) for _ in shape[1:]]
    pad = [rng.choice((0, 1, 2)) for _ in shape[1:]]
    spans = [
        s + 2 * p - d * (k - 1) - 1
        for s, k, d, p in zip(shape[1:], kernel, dilation, pad, strict=True)
    ]
    if min(spans) < 0:
        return None
    groups = rng.choice([g for g in (1, 2, 3) if shape[0] % g == 0 and filters % g == 0])
    options = f"stride = {_each(stride)}, pad = {_each(pad)}, dilation = {_each(dilation)}"
    if groups > 1 or rng.random() < 0.3:
        options += f", groups = {groups}, biased = {rng.choice(('true', 'false'))}"
    places = tuple(span // s + 1 for span, s in zip(spans, stride, strict=True))
    call = f"Conv({name}, {filters}, kernel = {_each(kernel)}, {options})"
    return draft.bind(call, (filters, *places))


def _pool(draft: _Draft, name: str, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]] | None:
    rng = draft.rng
    if len(shape) < 2:
        return None
    kernel = [rng.choice((1, 2, 3)) for _ in shape[1:]]
    stride = [rng.choice((1, 2, 3)) for _ in shape[1:]]
    pad = [rng.randint(0, k // 2) for k in kernel]
    spans = [s + 2 * p - k for s, k, p in zip(shape[1:], kernel, pad, strict=True)]
    if min(spans) < 0:
        return None
    options = f"stride = {_each(stride)}, pad = {_each(pad)}"
    steps = [span // s for span, s in zip(spans, stride, strict=True)]
    if rng.random() < 0.4:
        options += ", round = ceil"
        starts = zip(spans, stride, shape[1:], pad, strict=True)
        steps = [min(-(-span // s), (size + p - 1) // s) for span, s, size, p in starts]
    kind = rng.choice(("MaxPool", "MeanPool"))
    if kind == "MeanPool" and rng.random() < 0.5:
        options += ", include_pad = true"
    call = f"{kind}({name}, kernel = {_each(kernel)}, {options})"
    return draft.bind(call, (shape[0], *(step + 1 for step in steps)))


def _each(numbers: list[int]) -> str:
    return str(numbers[0]) if len(set(numbers)) == 1 else "(" + ", ".join(map(str, numbers)) + ")"


def _pointwise(draft: _Draft, name: str, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
    forms = (
        "ReLU({0})", "Tanh({0})", "GELU({0})", "LeakyReLU({0}, 0.1)", "Sigmoid({0})", "ELU({0})",
        "{0} * Tanh({0}) + 1", "Bent({0}, 2)", "LayerNorm({0})", "Softplus({0})",
    )  # fmt: skip
    return draft.bind(draft.rng.choice(forms).format(name), shape)


def _own(draft: _Draft, name: str, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]] | None:
    if len(shape) != 3:
        return None
    c, h, w = shape
    calls: dict[str, tuple[int, ...]] = {
        f"Local({name}, 2)": (2, h, w),
        f"Dilate({name})": shape,
        f"Half({name})": (c, (h + 1) // 2, w),
        f"Turn({name})": (w, c, h),
        f"LRN({name}, size = 3, alpha = 0.2)": shape,
        f"BatchNorm({name}, epsilon = 0.1)": shape,
        f"Upsample({name})": (c, 2 * h, 2 * w),
        f"transpose({name}, [2, 0, 1])": (w, c, h),
        f"reshape({name}, [{w}, {c}, {h}])": (w, c, h),
        f"DepthwiseConv({name}, kernel = 3, pad = 1)": shape,
        f"GroupNorm({name}, {c}, epsilon = 0.1)": shape,
        f"Softmax({name})": shape,
        f"Crowds({name})": shape,
        f"Tied({name}, 2)": shape,
        f"Stripes({name})": (2 * h, w, 2),
        f"GlobalMeanPool({name})": (c,),
        f"MultiHeadAttention(reshape({name}, [{c}, {h * w}]), 1)": (c, h * w),
    }
    call = draft.rng.choice(list(calls))
    return draft.bind(call, calls[call])


def _meet(draft: _Draft, name: str, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]] | None:
    """Two ensembles of a shape added, multiplied, or one after the other along an axis."""
    other = draft.rng.choice([known for known, size in draft.known if size == shape])
    axis = draft.rng.randrange(len(shape))
    joined = tuple(2 * size if k == axis else size for k, size in enumerate(shape))
    calls = {
        f"Add({name}, {other})": shape,
        f"ReLU({name} + {other})": shape,
        f"{name} * {other}": shape,
        f"Concat({name}, {other}, axis = {axis})": joined,
    }
    call = draft.rng.choice(list(calls))
    return draft.bind(call, calls[call])


def _linear(draft: _Draft, name: str, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
    size = draft.rng.choice(SIZES)
    return draft.bind(f"Linear({name}, {size})", (size,))


def _recurrent(draft: _Draft, name: str, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
    kind, size = draft.rng.choice(("RNN", "LSTM", "GRU")), draft.rng.choice(SIZES)
    return draft.bind(f"{kind}({name}, {size})", (size,))


def _in_time(
    draft: _Draft, name: str, shape: tuple[int, ...]
) -> tuple[str, tuple[int, ...]] | None:
    """Forms of time that no layer of the library has."""
    if len(shape) != 1:
        return None
    size = draft.rng.choice(SIZES)
    calls = {
        f"Attending({name})": shape,
        f"Delayed({name})": shape,
        f"Backwards({name}, {size})": (size,),
        f"{name} * Linear(last({name}), {shape[0]})": shape,
        f"LayerNorm(Tanh({name}))": shape,
        f"Concat({name}, prev({name}))": (2 * shape[0],),
    }
    call = draft.rng.choice(list(calls))
    return draft.bind(call, calls[call])


IMAGE_RULES: list[Rule] = [_conv, _conv, _pool, _pointwise, _own, _own, _meet]
SEQUENCE_RULES: list[Rule] = [_recurrent, _recurrent, _linear, _pointwise, _meet, _in_time]
