"""Sums of products as the operators that peers have for them: Conv, Gemm, MatMul.

    sum [c, ky, kx] weight[f, c, ky, kx] * x[@n, c, 2*y + ky - 1, 2*x + kx - 1]
->  Conv(x, weight; strides (2, 2), pads (1, 1, 1, 1))
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from latte.compiler.affine import Affine, Floor, axis
from latte.compiler.expression import Axis
from latte.peers.graph import ITEMS, STEPS, Builder, Tensor
from latte.peers.labelled import broadcast, combine, merged, ordered, reduce, reshaped
from latte.peers.select import Sizes, select, whole

BATCH = (ITEMS, STEPS)


@dataclass(frozen=True, slots=True)
class Read:
    """A tensor read at an affine place along each of its axes."""

    tensor: Tensor
    places: tuple[Affine, ...]

    def of(self, builder: Builder, sizes: Sizes) -> Tensor:
        """What is read, as a tensor over the labels of the places."""
        return select(builder, self.tensor, self.places, sizes)


@dataclass(frozen=True, slots=True)
class Slide:
    """A window along one axis: `step*outer + dilation*inner - before`."""

    outer: str
    inner: str
    step: int
    dilation: int
    before: int
    after: int


def slide(place: Affine, size: int, summed: frozenset[str], sizes: Sizes) -> Slide | None:
    """How a window slides along an axis of this size; None where a place is of another form."""
    names = [atom for atom, _ in place.terms if isinstance(atom, str)]
    inner = [name for name in names if name in summed]
    outer = [name for name in names if name not in summed]
    if len(names) != len(place.terms) or len(inner) > 1 or len(outer) != 1:
        return None
    step = place.coefficient(outer[0])
    dilation = place.coefficient(inner[0]) if inner else 1
    if step < 1 or dilation < 1:
        return None
    reach = dilation * (sizes[inner[0]] - 1) if inner else 0
    last = step * (sizes[outer[0]] - 1) + reach + place.constant
    return Slide(
        outer[0], inner[0] if inner else "", step, dilation, -place.constant, last - size + 1
    )


@dataclass(frozen=True, slots=True)
class _Sides:
    """The axes of a convolution's source by number: what is summed whole, slides, is a group."""

    channels: list[int]
    slides: dict[int, Slide]
    group: int | None
    groups: int


def convolve(
    builder: Builder,
    read: Read,
    weight: Tensor,
    summed: frozenset[str],
    sizes: Sizes,
    bias: Tensor | None,
) -> Tensor | None:
    """The sum as one convolution in 1, 2 or 3 dimensions, None where it is none."""
    sides = _sides(read, weight, summed, sizes)
    if sides is None or (bias is not None and not set(bias.labels) <= set(weight.labels)):
        return None
    columns = [label for label in weight.labels if label not in summed]
    own = [sides.slides[k].outer for k in sorted(sides.slides)]
    grouped = _group_label(read, sides)
    if grouped is not None:
        columns = [grouped, *(label for label in columns if label != grouped)]
    source, slides = _arranged(builder, read, sides)
    filters = _filters(builder, weight, read, sides, columns)
    names = [label for label in read.tensor.labels if label in BATCH]
    batch = tuple(a for a in read.tensor.axes if a.name in names)
    axes = tuple(Axis(label, sizes[label]) for label in columns)
    outs = tuple(Axis(label, sizes[label]) for label in own)
    merged_axes = (Axis("@items", source.shape[0]), Axis("@out", filters.shape[0]), *outs)
    given = _bias(builder, bias, axes)
    out = builder.emit(
        "Conv", (source, filters, given), merged_axes,
        strides=tuple(s.step for s in slides), dilations=tuple(s.dilation for s in slides),
        pads=tuple(max(0, s.before) for s in slides) + tuple(max(0, s.after) for s in slides),
        group=sides.groups,
    )  # fmt: skip
    return reshaped(builder, out, (*batch, *axes, *outs))


def _sides(read: Read, weight: Tensor, summed: frozenset[str], sizes: Sizes) -> _Sides | None:
    """Takes a convolution apart; None where some axis has another part in it."""
    channels: list[int] = []
    slides: dict[int, Slide] = {}
    group, groups = None, 1
    for k, (along, place) in enumerate(zip(read.tensor.axes, read.places, strict=True)):
        if place == axis(along.name) and along.name in BATCH:
            continue
        name = next(iter(place.axes()), "")
        mixed = name in weight.labels and whole(place, name, along.size, sizes)
        if mixed and name in summed:
            channels.append(k)
        elif group is None and mixed:
            group, groups = k, along.size
        elif group is None and (share := _shared_channels(place, along.size, summed, sizes)):
            group, groups = k, share
        elif (window := slide(place, along.size, summed, sizes)) is not None:
            slides[k] = window
        else:
            return None
    found = _Sides(channels, slides, group, groups)
    return found if _convolves(found, read, weight, summed) else None


def _convolves(found: _Sides, read: Read, weight: Tensor, summed: frozenset[str]) -> bool:
    """Whether the sum is over the channels and taps found, each label in its own axis, and the
    weights are the same for all items and places."""
    slides, labels = found.slides.values(), set(weight.labels)
    taps = {window.inner for window in slides} - {""}
    known = taps | {next(iter(read.places[k].axes())) for k in found.channels}
    if found.group is not None:
        known |= read.places[found.group].axes() & summed
    return (
        bool(taps) and len(slides) <= 3 and known == summed and summed <= labels
        and _once(found) and not labels & {*BATCH, *(window.outer for window in slides)}
        and not (found.group is not None and found.channels)
    )  # fmt: skip


def _once(found: _Sides) -> bool:
    """Whether no label slides along two axes."""
    labels = [name for s in found.slides.values() for name in (s.outer, s.inner) if name]
    return len(labels) == len(set(labels))


def _shared_channels(place: Affine, size: int, summed: frozenset[str], sizes: Sizes) -> int:
    """The groups of `f // each * share + i`: 0 where a place is of another form."""
    inner = [atom for atom, factor in place.terms if factor == 1 and atom in summed]
    match [(atom, factor) for atom, factor in place.terms if atom not in inner]:
        case [(Floor(numerator, each), share)] if len(inner) == 1 and not place.constant:
            [label] = numerator.axes() or [""]
            fits = share * sizes[label] == each * size and share == sizes[str(inner[0])]
            return size // share if fits and numerator == axis(label) else 0
    return 0


def _group_label(read: Read, sides: _Sides) -> str | None:
    """The label of outputs that chooses a group of channels."""
    if sides.group is None:
        return None
    place = read.places[sides.group]
    floors = [atom for atom, _ in place.terms if isinstance(atom, Floor)]
    return next(iter(floors[0].numerator.axes() if floors else place.axes()))


def _arranged(builder: Builder, read: Read, sides: _Sides) -> tuple[Tensor, list[Slide]]:
    """The source as [items, channels, places...], cut where windows never reach."""
    tensor, slides = read.tensor, []
    for k, window in sorted(sides.slides.items()):
        start, stop = max(0, -window.before), tensor.axes[k].size + min(0, window.after)
        if window.after <= -window.step or start:
            kept = Axis(tensor.labels[k], stop - start)
            axes = (*tensor.axes[:k], kept, *tensor.axes[k + 1 :])
            tensor = builder.emit("Slice", (tensor,), axes, axis=k, start=start, stop=stop, step=1)
        slides.append(window)
    channels = sides.channels if sides.group is None else [sides.group]
    items = [label for label in tensor.labels if label in BATCH]
    mixed = [tensor.labels[k] for k in channels]
    places = [tensor.labels[k] for k in sorted(sides.slides)]
    mine = ordered(builder, tensor, [*items, *mixed, *places])
    size = {entry.name: entry.size for entry in mine.axes}
    axes = (
        Axis("@items", math.prod(size[label] for label in items)),
        Axis("@channels", math.prod(size[label] for label in mixed)),
        *(Axis(label, size[label]) for label in places),
    )
    return reshaped(builder, mine, axes), slides


def _filters(
    builder: Builder, weight: Tensor, read: Read, sides: _Sides, columns: Sequence[str]
) -> Tensor:
    """The weights as [filters, channels of a group, taps...]."""
    mixed = [next(iter(read.places[k].axes())) for k in sides.channels]
    if sides.group is not None:
        mixed = [str(a) for a, _ in read.places[sides.group].terms if isinstance(a, str)]
        mixed = [label for label in mixed if label not in columns]
    taps = [sides.slides[k].inner for k in sorted(sides.slides)]
    mine = ordered(builder, weight, [*columns, *mixed, *filter(None, taps)])
    size = {entry.name: entry.size for entry in weight.axes}
    axes = (
        Axis("@out", math.prod(size[label] for label in columns)),
        Axis("@in", math.prod(size[label] for label in mixed)),
        *(Axis(label or f"@tap{k}", size.get(label, 1)) for k, label in enumerate(taps)),
    )
    return reshaped(builder, mine, axes)


def _bias(builder: Builder, bias: Tensor | None, columns: Sequence[Axis]) -> Tensor | None:
    if bias is None:
        return None
    whole_bias = broadcast(builder, bias, tuple(columns))
    return merged(builder, whole_bias, whole_bias.labels, "@out")


def multiply(
    builder: Builder, a: Tensor, b: Tensor, summed: frozenset[str], bias: Tensor | None
) -> Tensor:
    """The sum as a product of matrices; b is the side with fewer labels of the batch."""
    a, b = (_reduced(builder, one, other, summed) for one, other in ((a, b), (b, a)))
    gone = [label for label in b.labels if label in summed]
    both = [label for label in a.labels if label in b.labels and label not in summed]
    rows = [label for label in a.labels if label not in summed and label not in both]
    columns = [label for label in b.labels if label not in summed and label not in both]
    sizes = {entry.name: entry for entry in (*a.axes, *b.axes)}
    axes = tuple(sizes[label] for label in (*both, *rows, *columns))
    if not gone:
        product = combine(builder, "Mul", a, b)
        return product if bias is None else combine(builder, "Add", product, bias)
    if not both:
        return _gemm(builder, a, b, (rows, columns, gone), axes, bias)
    left = _matrices(builder, a, (both, rows, gone))
    right = _matrices(builder, b, (both, gone, columns))
    shape = (left.axes[0], left.axes[1], right.axes[2])
    out = reshaped(builder, builder.emit("MatMul", (left, right), shape), axes)
    return out if bias is None else combine(builder, "Add", out, bias)


def _reduced(builder: Builder, one: Tensor, other: Tensor, summed: frozenset[str]) -> Tensor:
    """A side without the summed axes that only it has."""
    alone = [name for name in one.labels if name in summed and name not in other.labels]
    return reduce(builder, "ReduceSum", one, alone)


def _gemm(
    builder: Builder,
    a: Tensor,
    b: Tensor,
    labels: tuple[list[str], list[str], list[str]],
    axes: tuple[Axis, ...],
    bias: Tensor | None,
) -> Tensor:
    """One product of two matrices, b transposed: [rows, sum] x [columns, sum]."""
    rows, columns, gone = labels
    left = _matrices(builder, a, ([], rows, gone), flat=True)
    right = _matrices(builder, b, ([], columns, gone), flat=True)
    inside = bias is not None and set(bias.labels) <= set(columns)
    wide = tuple(entry for entry in axes if entry.name in columns)
    given = _bias(builder, bias, wide) if inside else None
    shape = (left.axes[0], right.axes[0])
    out = builder.emit("Gemm", (left, right, given), shape, transB=1)
    out = reshaped(builder, out, axes)
    return out if inside or bias is None else combine(builder, "Add", out, bias)


def _matrices(
    builder: Builder, tensor: Tensor, sides: tuple[list[str], ...], flat: bool = False
) -> Tensor:
    """The tensor with each list of labels as one axis."""
    mine = ordered(builder, tensor, [label for side in sides for label in side])
    size: Mapping[str, int] = {entry.name: entry.size for entry in tensor.axes}
    axes = tuple(
        Axis(f"@{k}", math.prod(size[label] for label in side)) for k, side in enumerate(sides)
    )
    return reshaped(builder, mine, axes[1:] if flat else axes)
