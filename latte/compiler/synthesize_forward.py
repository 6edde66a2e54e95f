"""What computes values: a kernel for every ensemble, join, loss and metric.

    ensemble pool1.out[c: 20, y: 12, x: 12] = Max(conv1.out[c, 2*y ..+ 2, 2*x ..+ 2])
->  kernel pool1.out [n, c: 20, y: 12, x: 12]
        pool1.out[n, c, y, x] = max [i.1: 2, i.2: 2] conv1.out[n, c, 2*y + i.1, 2*x + i.2]
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from latte.compiler.affine import Affine, axis
from latte.compiler.expression import (
    Apply,
    Axis,
    Expression,
    Fold,
    Let,
    Load,
    Local,
    Number,
    Scalar,
)
from latte.compiler.instance import Instance
from latte.compiler.ir import LOSS, Item, Kernel, Serial, Write
from latte.compiler.net import Ensemble, Join, Loss, Metric, Moment, Net, Node, View
from latte.compiler.poly import ranges_of
from latte.compiler.share import Group
from latte.compiler.simplify import ZERO, simplify_kernel
from latte.compiler.split import split_axes
from latte.compiler.tables import Names, Point, Tables, before_end, element


@dataclass(frozen=True, slots=True)
class Frame:
    """The axes of a node's kernels: all of them, those a kernel lists (not `t` inside a Serial),
    and where a neuron is."""

    axes: tuple[Axis, ...]
    listed: tuple[Axis, ...]
    point: Point
    names: Names

    @property
    def index(self) -> tuple[Affine, ...]:
        """The element of the node's buffers that belongs to this point."""
        return tuple(axis(entry.name) for entry in self.axes)


def frame(tables: Tables, node: Node, serial: bool = False, names: Names | None = None) -> Frame:
    """Axes for all neurons of a node under fresh names; batch and time first."""
    names = names or Names()
    front = [tables.items] if node.batch else []
    front += [tables.steps] if node.time else []
    hidden = [names.fresh(entry) for entry in front]
    own = [names.fresh(entry) for entry in node.axes]
    item = axis(hidden[0].name) if node.batch else None
    step = axis(hidden[-1].name) if node.time else None
    places = {a.name: axis(b.name) for a, b in zip(node.axes, own, strict=True)}
    listed = [entry for entry in hidden if not (serial and entry.symbol == "t")] + own
    return Frame((*hidden, *own), tuple(listed), Point(places, item, step), names)


def instance(tables: Tables, node: Ensemble, frame: Frame) -> Instance:
    """The node's neuron at the point of a frame."""
    return Instance(
        tables, node.neuron, node.bindings, node.axes, frame.point, frame.names,
        ranges_of(frame.axes), {}, {},
    )  # fmt: skip


def forward(
    tables: Tables, groups: Sequence[Group], kept: Mapping[str, tuple[str, ...]], stored: set[str]
) -> list[Item]:
    """Everything that computes values, in order. `kept` names the lets that backward reads;
    views that are `stored` get a copy of their values."""
    items: list[Item] = []
    for group in groups:
        serial = group.moment is not None
        kernels: list[Kernel] = []
        for node in group.nodes:
            kernels += _node(tables, node, kept.get(node.name, ()), stored, serial)
        if serial:
            reverse = group.moment == Moment.NEXT
            items.append(Serial(tables.steps, reverse, tuple(kernels)))
        else:
            items += kernels
    return items


def _node(
    tables: Tables, node: Node, kept: tuple[str, ...], stored: set[str], serial: bool
) -> list[Kernel]:  # fmt: skip
    match node:
        case Ensemble():
            return [_ensemble(tables, node, kept, serial)]
        case Join():
            return _join(tables, node, serial)
        case View():
            return [_view(tables, node, serial)] if node.name in stored else []


def _ensemble(tables: Tables, node: Ensemble, kept: tuple[str, ...], serial: bool) -> Kernel:
    place = frame(tables, node, serial)
    body = instance(tables, node, place)
    lets = []
    for let in node.neuron.lets:
        lets.append(Let(let.name, body.expression(let.expression)))
    writes = [Write(node.name, place.index, body.expression(node.neuron.value))]
    writes += [Write(kept_name(node.name, name), place.index, Local(name)) for name in kept]
    kernel = Kernel(
        node.name, place.listed, tuple(lets), tuple(writes), origin=node.name, reason="forward"
    )
    return split_axes(simplify_kernel(kernel))


def kept_name(node: str, local: str) -> str:
    """The buffer that keeps a let of a neuron from forward to backward."""
    return f"{node}.kept.{local}"


def _join(tables: Tables, node: Join, serial: bool) -> list[Kernel]:
    kernels, start = [], 0
    for part in node.parts:
        source = tables.sources[part]
        place = frame(tables, replace(node, axes=source.axes), serial)
        own = tuple(place.point.own[entry.name] for entry in source.axes)
        value = element(tables, part, own, place.point.item, place.point.step)
        front = place.index[: len(place.axes) - len(own)]
        shifted = tuple(e + start if k == node.axis else e for k, e in enumerate(own))
        write = Write(node.name, front + shifted, value)
        kernels.append(
            Kernel(node.name, place.listed, (), (write,), origin=node.name, reason="forward")
        )
        start += source.axes[node.axis].size
    return [split_axes(kernel) for kernel in kernels]


def _view(tables: Tables, node: View, serial: bool) -> Kernel:
    place = frame(tables, node, serial)
    own = tuple(place.point.own[entry.name] for entry in node.axes)
    value = element(tables, node.name, own, place.point.item, place.point.step)
    write = Write(node.name, place.index, value)
    kernel = Kernel(node.name, place.listed, (), (write,), origin=node.name, reason="forward")
    return split_axes(kernel)


def results(tables: Tables, net: Net) -> list[Item]:
    """Kernels for every loss and metric, and for the weighted sum of the losses."""
    items: list[Item] = [_mean(tables, entry) for entry in net.losses]
    items += [_mean(tables, entry) for entry in net.metrics]
    if net.losses:
        items.append(_weighted_sum(net))
    return items


def result_name(entry: Loss | Metric) -> str:
    """The buffer of a reported number."""
    return f"result.{entry.name}"


def _mean(tables: Tables, entry: Loss | Metric) -> Kernel:
    """The mean over a node's own axes and all items and steps present."""
    source = tables.sources[entry.node]
    names = Names()
    axes = tuple(names.fresh(each) for each in tables.stored_axes(source))
    index = [axis(each.name) for each in axes]
    item = index.pop(0) if source.batch else None
    step = index.pop(0) if source.time else None
    value: Expression = element(tables, entry.node, tuple(index), item, step)
    if item is not None and step is not None:
        value = Apply("select", (before_end(tables, item, step), value, ZERO))
    total = Fold("sum", axes, value) if axes else value
    write = Write(result_name(entry), (), Apply("div", (total, places(tables, entry.node))))
    what = "metric" if isinstance(entry, Metric) else "loss"
    kernel = Kernel(write.buffer, (), (), (write,), origin=entry.node, reason=what)
    return split_axes(simplify_kernel(kernel))


def places(tables: Tables, name: str) -> Expression:
    """Over how many values the mean of a node is taken."""
    source = tables.sources[name]
    own = Number(float(math.prod(each.size for each in source.axes)))
    if source.time and not source.batch:
        present: Expression = Fold("sum", (tables.steps,), Number(1.0))
    elif source.batch:
        present = Scalar("steps" if source.time else "items")
    else:
        return own
    return present if own == Number(1.0) else Apply("mul", (own, present))


def _weighted_sum(net: Net) -> Kernel:
    total: Expression = ZERO
    for loss in net.losses:
        value: Expression = Load(result_name(loss), ())
        if loss.weight != 1.0:
            value = Apply("mul", (Number(loss.weight), value))
        total = value if total == ZERO else Apply("add", (total, value))
    write = Write(LOSS, (), total)
    return Kernel(LOSS, (), (), (write,), reason="loss")
