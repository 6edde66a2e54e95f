"""Reads a tensor at affine places: slices, sliding windows, tables of places where nothing better.

    select(x[@n, c, y, x], (@n, c, 2*y + ky - 1, 3))   ->   [@n, c, y, ky]: padded, Window, Select

Places outside the source read 0. Labels that occur in two axes read a diagonal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from latte.compiler.affine import Affine, axis, row_major
from latte.compiler.expression import Axis
from latte.peers.graph import Builder, Tensor
from latte.peers.labelled import combine, ordered, relabelled, reshaped

Sizes = Mapping[str, int]


def select(builder: Builder, tensor: Tensor, places: Sequence[Affine], sizes: Sizes) -> Tensor:
    """The tensor at one place for each of its axes, given over labels of these sizes."""
    mine = relabelled(tensor, [f"@{k}" for k in range(len(tensor.axes))])
    shared = _shared(places)
    if shared:
        mine, places = _flattened(builder, mine, places, shared)
    for label, place in zip(mine.labels, places, strict=True):
        mine = _along(builder, mine, label, place, sizes)
    return mine


def positions(index: Affine, sizes: Sizes) -> tuple[NDArray[np.int64], tuple[Axis, ...]]:
    """The value of an affine index at every place of its labels."""
    labels = sorted(index.axes(), key=list(sizes).index)
    shape = tuple(sizes[label] for label in labels)
    grid = dict(zip(labels, np.indices(shape), strict=True))
    values = np.broadcast_to(np.asarray(index.evaluate(grid), np.int64), shape)
    return values, tuple(Axis(label, sizes[label]) for label in labels)


def inside(index: Affine, size: int, sizes: Sizes) -> bool:
    """Whether an index stays in 0 .. size - 1."""
    low, high = index.bounds({name: (0, sizes[name] - 1) for name in index.axes()})
    if low >= 0 and high < size:
        return True
    values, _ = positions(index, sizes)
    return bool(values.min() >= 0 and values.max() < size)


def _shared(places: Sequence[Affine]) -> list[int]:
    """Numbers of the axes whose places have labels in common."""
    return [
        k
        for k, place in enumerate(places)
        if any(place.axes() & other.axes() for m, other in enumerate(places) if m != k)
    ]


def _flattened(
    builder: Builder, tensor: Tensor, places: Sequence[Affine], shared: list[int]
) -> tuple[Tensor, list[Affine]]:
    """Axes with common labels as one axis, in front."""
    rest = [k for k in range(len(places)) if k not in shared]
    labels = [tensor.labels[k] for k in (*shared, *rest)]
    mine = ordered(builder, tensor, labels)
    sizes = [tensor.axes[k].size for k in shared]
    one = Axis("@flat", int(np.prod(sizes)))
    mine = reshaped(builder, mine, (one, *mine.axes[len(shared) :]))
    flat = row_major([places[k] for k in shared], sizes)
    return mine, [flat, *(places[k] for k in rest)]


def _along(builder: Builder, tensor: Tensor, label: str, place: Affine, sizes: Sizes) -> Tensor:
    """The tensor with one axis replaced by what its place says."""
    number, size = tensor.labels.index(label), dict(_pairs(tensor))[label]
    match [(atom, factor) for atom, factor in place.terms]:
        case []:
            if 0 <= place.constant < size:
                kept = tensor.axes[:number] + tensor.axes[number + 1 :]
                return builder.emit(
                    "Select", (tensor,), kept, tensor.element, axis=number, index=place.constant
                )
        case [(str(name), factor)] if factor > 0:
            return _strided(builder, tensor, number, place, Axis(name, sizes[name]), factor)
        case [(str(a), m), (str(b), k)] if m > 0 and k > 0:
            outer, inner = (a, b) if sizes[a] * m >= sizes[b] * k else (b, a)
            return _window(builder, tensor, number, place, sizes, outer, inner)
    return _table(builder, tensor, number, place, sizes)


def _strided(
    builder: Builder, tensor: Tensor, number: int, place: Affine, entry: Axis, factor: int
) -> Tensor:
    """`2*y + 1` along an axis."""
    last = factor * (entry.size - 1) + place.constant
    mine = _cut(builder, tensor, number, place.constant, last + 1, factor)
    return _with_axis(mine, number, (entry,))


def _window(
    builder: Builder,
    tensor: Tensor,
    number: int,
    place: Affine,
    sizes: Sizes,
    outer: str,
    inner: str,
) -> Tensor:
    """`2*y + ky - 1` along an axis: the window becomes the last axis."""
    step, dilation = place.coefficient(outer), place.coefficient(inner)
    reach = dilation * (sizes[inner] - 1)
    last = step * (sizes[outer] - 1) + reach + place.constant
    mine = _cut(builder, tensor, number, place.constant, last + 1, 1)
    made = (Axis(outer, sizes[outer]),)
    axes = (*_replaced(mine.axes, number, made), Axis(inner, sizes[inner]))
    return builder.emit(
        "Window", (mine,), axes, tensor.element, axis=number, size=sizes[inner], step=step,
        dilation=dilation,
    )  # fmt: skip


def _cut(builder: Builder, tensor: Tensor, number: int, start: int, stop: int, step: int) -> Tensor:
    """Places start .. stop - 1 by step along an axis, zeros outside."""
    size = tensor.axes[number].size
    before, after = max(0, -start), max(0, stop - size)
    if before or after:
        grown = (Axis(tensor.labels[number], size + before + after),)
        tensor = builder.emit(
            "Pad", (tensor,), _replaced(tensor.axes, number, grown), tensor.element, axis=number,
            before=before, after=after, value=0.0,
        )  # fmt: skip
        start, stop, size = start + before, stop + before, size + before + after
    if (start, stop, step) == (0, size, 1):
        return tensor
    kept = (Axis(tensor.labels[number], (stop - start + step - 1) // step),)
    axes = _replaced(tensor.axes, number, kept)
    return builder.emit(
        "Slice", (tensor,), axes, tensor.element, axis=number, start=start, stop=stop, step=step
    )


def _table(builder: Builder, tensor: Tensor, number: int, place: Affine, sizes: Sizes) -> Tensor:
    """Any place: a constant table of numbers along the axis."""
    values, axes = positions(place, sizes)
    size = tensor.axes[number].size
    present = (values >= 0) & (values < size)
    found = gathered(builder, tensor, number, builder.constant(values.clip(0, size - 1), axes))
    if present.all():
        return found
    zero = builder.constant(0.0)
    return combine(builder, "Where", builder.constant(present, axes), found, zero)


def gathered(builder: Builder, tensor: Tensor, number: int, index: Tensor) -> Tensor:
    """The tensor at numbers along one axis, whose place the axes of the numbers take."""
    axes = _replaced(tensor.axes, number, index.axes)
    return builder.emit("Gather", (tensor, index), axes, tensor.element, axis=number)


def _with_axis(tensor: Tensor, number: int, axes: tuple[Axis, ...]) -> Tensor:
    return Tensor(tensor.name, _replaced(tensor.axes, number, axes), tensor.element)


def _replaced(axes: tuple[Axis, ...], number: int, new: tuple[Axis, ...]) -> tuple[Axis, ...]:
    return axes[:number] + new + axes[number + 1 :]


def _pairs(tensor: Tensor) -> list[tuple[str, int]]:
    return [(entry.name, entry.size) for entry in tensor.axes]


def whole(place: Affine, label: str, size: int, sizes: Sizes) -> bool:
    """Whether a place is just a label that runs over the whole axis."""
    return place == axis(label) and sizes[label] == size
