"""Reductions of sliding windows as the pools that peers have: MaxPool, AveragePool.

max [ky, kx] x[@n, c, 2*y + ky, 2*x + kx]   ->   MaxPool(x; kernel (3, 3), strides (2, 2))
"""

from __future__ import annotations

import math
from typing import Literal

from latte.compiler.affine import axis
from latte.compiler.expression import Axis
from latte.peers.contraction import Read, Slide, slide
from latte.peers.graph import Builder, Tensor
from latte.peers.labelled import ordered, reshaped
from latte.peers.select import Sizes, whole

Pool = Literal["MaxPool", "AveragePool"]


def pool(
    builder: Builder, kind: Pool, read: Read, summed: frozenset[str], sizes: Sizes
) -> Tensor | None:
    """The reduction over the places present as one pool, None where it is none."""
    slides: dict[int, Slide] = {}
    for k, (along, place) in enumerate(zip(read.tensor.axes, read.places, strict=True)):
        name = next(iter(place.axes()), "")
        if name not in summed and name in sizes and whole(place, name, along.size, sizes):
            continue
        window = slide(place, along.size, summed, sizes)
        if window is None or not window.inner:
            return None
        slides[k] = window
    labels = [name for s in slides.values() for name in (s.outer, s.inner)]
    if not 1 <= len(slides) <= 3 or len(labels) != len(set(labels)):
        return None
    if {s.inner for s in slides.values()} != summed or any(s.before < 0 for s in slides.values()):
        return None
    if any(_unmerged(read, k, set(labels)) for k in range(len(read.places)) if k not in slides):
        return None
    if kind == "AveragePool" and any(s.dilation > 1 for s in slides.values()):
        return None
    return _pooled(builder, kind, read, slides, sizes)


def _unmerged(read: Read, number: int, sliding: set[str]) -> bool:
    """Whether an axis that stays is read along a label that slides elsewhere."""
    return bool(read.places[number].axes() & sliding)


def _pooled(
    builder: Builder, kind: Pool, read: Read, slides: dict[int, Slide], sizes: Sizes
) -> Tensor:
    tensor, windows = read.tensor, [slides[k] for k in sorted(slides)]
    rest = [k for k in range(len(tensor.axes)) if k not in slides]
    mine = ordered(builder, tensor, [tensor.labels[k] for k in (*rest, *sorted(slides))])
    front = tuple(Axis(_name(read, k), tensor.axes[k].size) for k in rest)
    flat = (front[0], Axis("@rest", math.prod(a.size for a in front[1:]))) if front else (
        Axis("@one", 1), Axis("@rest", 1)
    )  # fmt: skip
    source = reshaped(builder, mine, (*flat, *mine.axes[len(rest) :]))
    outs = tuple(Axis(w.outer, sizes[w.outer]) for w in windows)
    after = tuple(max(0, w.after) for w in windows)
    out = builder.emit(
        kind, (source,), (*flat, *outs),
        kernel_shape=tuple(sizes[w.inner] for w in windows),
        strides=tuple(w.step for w in windows), dilations=tuple(w.dilation for w in windows),
        pads=(*(w.before for w in windows), *after),
    )  # fmt: skip
    return reshaped(builder, out, (*front, *outs))


def _name(read: Read, number: int) -> str:
    place = read.places[number]
    name = next(iter(place.axes()))
    assert place == axis(name)
    return name
