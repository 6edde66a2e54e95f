"""Views and moments: the same values in another order, or at another time. No neurons.

flatten(a)        with a [8, 5, 5]   ->  View [200], index (d0 // 25, d0 // 5 % 5, d0 % 5)
join(a, b)        with [8], [12]     ->  Join [20]
prev(h)                              ->  h, one step before
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from latte.compiler.affine import Affine, axis, digits, row_major
from latte.compiler.elaborate.context import ELEMENTS, Run
from latte.compiler.elaborate.values import Fault, Reference, shape, sizes
from latte.compiler.expression import Axis
from latte.compiler.net import Join, Moment, View
from latte.errors import Span

MOMENTS = {
    "prev": Moment.PREVIOUS, "next": Moment.NEXT, "last": Moment.LAST, "steps": Moment.ALL,
}  # fmt: skip


def moment(name: str, of: Reference, initial: Reference | None) -> Reference:
    """`prev(h, initial = h0)`, `next(h)`, `last(h)`, `steps(h)`, `items(h)`."""
    if name == "items":
        if of.items:
            raise Fault("E0610", f"`{of}` shows its items already")
        return replace(of, items=True)
    if of.moment is not Moment.SAME or of.items:
        raise Fault("E0610", f"`{name}` takes an ensemble, found `{of}`")
    if initial is not None and sizes(initial.axes) != sizes(of.axes):
        raise Fault(
            "E0504",
            f"`initial` has shape {shape(initial.axes)}, but `{of}` has {shape(of.axes)}",
        )
    return replace(of, moment=MOMENTS[name], initial=initial)


def join(run: Run, path: str, parts: Sequence[Reference], along: int, span: Span) -> Reference:
    """The parts one after another along one axis."""
    first, rank = parts[0], len(parts[0].axes)
    if rank == 0:
        raise Fault("E0509", "single values cannot be joined: they have no axis")
    if not -rank <= along < rank:
        raise Fault(
            "E0509", f"axis {along} of a join of {shape(first.axes)} is outside 0 .. {rank - 1}"
        )
    along %= rank
    for part in parts[1:]:
        other = [size for k, size in enumerate(sizes(part.axes)) if k != along]
        if len(part.axes) != rank or other != [
            size for k, size in enumerate(sizes(first.axes)) if k != along
        ]:
            raise Fault(
                "E0509",
                f"`{first}` of shape {shape(first.axes)} and `{part}` of shape "
                f"{shape(part.axes)} do not join along axis {along}",
            )
    total = sum(part.axes[along].size for part in parts)
    axes = _axes(total if k == along else size for k, size in enumerate(sizes(first.axes)))
    check_size(sizes(axes))
    run.take(path, span)
    run.nodes.append(Join(path, axes, tuple(part.node for part in parts), along, span=span))
    run.names[path] = path
    classes = {part.classes for part in parts}
    return Reference(path, axes, classes.pop() if len(classes) == 1 else None)


def reshape(run: Run, path: str, of: Reference, to: tuple[int, ...], span: Span) -> Reference:
    """The same values in row-major order in another shape."""
    if math.prod(to) != math.prod(sizes(of.axes)):
        text = ", ".join(map(str, to))
        raise Fault(
            "E0508",
            f"`{of}` of shape {shape(of.axes)} has {math.prod(sizes(of.axes))} values, "
            f"[{text}] has {math.prod(to)}",
        )
    axes = _axes(to)
    flat = row_major((axis(a.name) for a in axes), to)
    places = tuple(f"s.{k}" for k in range(len(of.axes)))
    back = row_major((axis(name) for name in places), sizes(of.axes))
    return _view(run, path, of, axes, digits(flat, sizes(of.axes)), digits(back, to), span)


def transpose(run: Run, path: str, of: Reference, order: tuple[int, ...], span: Span) -> Reference:
    """Axis k of the result is axis `order[k]` of the source."""
    if sorted(order) != list(range(len(of.axes))):
        text = ", ".join(map(str, order))
        raise Fault(
            "E0512", f"[{text}] does not name each of the {len(of.axes)} axes of `{of}` once"
        )
    axes = _axes(of.axes[k].size for k in order)
    index = [Affine((), 0)] * len(order)
    for place, k in enumerate(order):
        index[k] = axis(axes[place].name)
    inverse = tuple(axis(f"s.{k}") for k in order)
    return _view(run, path, of, axes, tuple(index), inverse, span)


def check_size(dims: Sequence[int]) -> None:
    """No array may have more values than a machine could hold."""
    if math.prod(dims) > ELEMENTS:
        text = " x ".join(map(str, dims))
        most = ELEMENTS.bit_length() - 1
        raise Fault("E0506", f"{text} values are too many: the most is 2**{most}")


def _view(
    run: Run,
    path: str,
    of: Reference,
    axes: tuple[Axis, ...],
    index: tuple[Affine, ...],
    inverse: tuple[Affine, ...],
    span: Span,
) -> Reference:
    run.take(path, span)
    run.nodes.append(View(path, axes, of.node, index, inverse, span=span))
    run.names[path] = path
    return Reference(path, axes, of.classes)


def _axes(dims: object) -> tuple[Axis, ...]:
    return tuple(Axis(f"d{k}", size) for k, size in enumerate(dims))  # type: ignore[arg-type, var-annotated]
