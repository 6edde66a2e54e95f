"""Operators on tensors whose axes have labels: shapes are brought together by label.

combine(builder, "Mul", weight[f, c], x[@n, c])   ->   [@n, c, f]: transposed, ones put in
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from latte.compiler.expression import Axis
from latte.peers.graph import Builder, Element, Tensor

TRUTHS = frozenset(
    {"Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal", "And", "Or", "Not"}
)


def ordered(builder: Builder, tensor: Tensor, labels: Sequence[str]) -> Tensor:
    """The tensor with its axes in this order."""
    if tensor.labels == tuple(labels):
        return tensor
    places = tuple(tensor.labels.index(label) for label in labels)
    axes = tuple(tensor.axes[place] for place in places)
    return builder.emit("Transpose", (tensor,), axes, tensor.element, perm=places)


def reshaped(builder: Builder, tensor: Tensor, axes: tuple[Axis, ...]) -> Tensor:
    """The same values in the same order with other axes."""
    shape = tuple(axis.size for axis in axes)
    if shape == tensor.shape:
        return Tensor(tensor.name, axes, tensor.element)
    return builder.emit("Reshape", (tensor,), axes, tensor.element, shape=shape)


def relabelled(tensor: Tensor, labels: Sequence[str]) -> Tensor:
    """The same tensor with other labels."""
    pairs = zip(labels, tensor.axes, strict=True)
    axes = tuple(Axis(label, axis.size) for label, axis in pairs)
    return Tensor(tensor.name, axes, tensor.element)


def spread(builder: Builder, tensor: Tensor, axes: Sequence[Axis]) -> Tensor:
    """The tensor with an axis of one place where it lacks one of these, for broadcasting."""
    mine = ordered(builder, tensor, [a.name for a in axes if a.name in tensor.labels])
    first = next((k for k, axis in enumerate(axes) if axis.name in tensor.labels), len(axes))
    shape = [axis if axis.name in tensor.labels else Axis(axis.name, 1) for axis in axes[first:]]
    return reshaped(builder, mine, tuple(shape))


def union(tensors: Iterable[Tensor]) -> tuple[Axis, ...]:
    """All axes, in the order of the tensor that has most."""
    by_rank = sorted(tensors, key=lambda tensor: -len(tensor.axes))
    return tuple({axis.name: axis for tensor in by_rank for axis in tensor.axes}.values())


def combine(builder: Builder, kind: str, *tensors: Tensor, **attributes: float) -> Tensor:
    """An operator applied place by place."""
    axes = union(tensors)
    element: Element = "bool" if kind in TRUTHS else tensors[-1].element
    spreads = tuple(spread(builder, tensor, axes) for tensor in tensors)
    return builder.emit(kind, spreads, axes, element, **attributes)


def cast(builder: Builder, tensor: Tensor, element: Element) -> Tensor:
    """The values as other elements."""
    if tensor.element == element:
        return tensor
    if (value := builder.number(tensor)) is not None and element == "f32":
        return builder.constant(float(value))
    return builder.emit("Cast", (tensor,), tensor.axes, element, to=element)


def reduce(builder: Builder, kind: str, tensor: Tensor, labels: Iterable[str]) -> Tensor:
    """ReduceSum, ReduceMax, ... over some axes."""
    gone = frozenset(labels)
    kept = tuple(axis for axis in tensor.axes if axis.name not in gone)
    places = tuple(k for k, axis in enumerate(tensor.axes) if axis.name in gone)
    if not places:
        return tensor
    return builder.emit(kind, (tensor,), kept, tensor.element, axes=places)


def merged(
    builder: Builder, tensor: Tensor, labels: Sequence[str], name: str, front: bool = False
) -> Tensor:
    """The tensor with these axes as one, the last (or first)."""
    others = [label for label in tensor.labels if label not in labels]
    order = [*labels, *others] if front else [*others, *labels]
    mine = ordered(builder, tensor, order)
    sizes = {axis.name: axis.size for axis in tensor.axes}
    one = Axis(name, math.prod(sizes[label] for label in labels))
    rest = tuple(Axis(label, sizes[label]) for label in others)
    return reshaped(builder, mine, (one, *rest) if front else (*rest, one))


def broadcast(builder: Builder, tensor: Tensor, axes: tuple[Axis, ...]) -> Tensor:
    """The tensor with exactly these axes, values repeated along those it lacks."""
    mine = ordered(builder, tensor, [a.name for a in axes if a.name in tensor.labels])
    if mine.axes == axes:
        return mine
    shape = tuple(axis.size for axis in axes)
    return builder.emit("Expand", (spread(builder, mine, axes),), axes, tensor.element, shape=shape)
