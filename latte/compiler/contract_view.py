"""The view of a Kernel as a contraction: a sum of products at stored positions.

In: any Kernel of a Program.  Out: the view, or None where the kernel is no contraction. Nothing
here knows a layer: convolutions, their gradients, linear layers, gates and attention are found by
body and relations.

    kernel conv.out [n, f: 64, y: 27, x: 27]
        conv.out[n, f, y, x] = bias[f] + sum [c: 16, ky: 3, kx: 3] where y + ky - 1 >= 0 ...
            weight[f, c, ky, kx] * image[n, c, y + ky - 1, x + kx - 1]
    ->
    axes n, f, y, x; summed c, ky, kx; factors as stored positions, such as
    weight: 64*kx + 192*ky + 576*c + f
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from latte.compiler.affine import Affine, axis, constant
from latte.compiler.contract_access import (
    Ranges,
    capacity,
    clear_floors,
    known,
    position,
    room,
    settle,
)
from latte.compiler.expression import Apply, Axis, Expression, Fold, Guard, Load, Local
from latte.compiler.ir import Buffer, Kernel, Program, Write
from latte.compiler.rewrite import inline_lets, rewrite, substitute_axes, walk

SUM = Local("sum")  # stands for the fold in `Contraction.result`


@dataclass(frozen=True, slots=True)
class Access:
    """An element of a buffer by its stored position, affine in the contraction's axes. `room`
    counts for each axis of coefficient 1 how many positions in a row belong to the same row."""

    buffer: str
    offset: Affine
    room: tuple[tuple[str, int], ...]

    def coefficient(self, name: str) -> int:
        """The stride along an axis."""
        return self.offset.coefficient(name)


@dataclass(frozen=True, slots=True)
class Contraction:
    """`target (+)= result` where all of `where` is >= 0; `SUM` in `result` is the sum over
    `summed` of the product of `factors` where all of `guards` is >= 0. `loads` gives the accesses
    in `result`."""

    axes: tuple[Axis, ...]
    summed: tuple[Axis, ...]
    where: tuple[Affine, ...]
    guards: tuple[Affine, ...]
    target: Access
    factors: tuple[Access, ...]
    result: Expression
    loads: tuple[tuple[Load, Access], ...]
    add: bool

    @property
    def accesses(self) -> tuple[Access, ...]:
        """The target, the factors and the result's loads."""
        return (self.target, *self.factors, *(access for _, access in self.loads))


@dataclass(frozen=True, slots=True)
class Parts:
    """What makes a kernel a contraction, before any thought of storage."""

    write: Write
    target: tuple[Affine, ...]
    fold: Fold
    factors: tuple[Load, ...]
    result: Expression


def find_parts(kernel: Kernel) -> Parts | None:
    """The one write, its one sum of a product of loads, and what is made of the sum."""
    if len(kernel.writes) != 1:
        return None
    (write,) = kernel.writes
    target = affine_index(write.index)
    expression = inline_lets(kernel.lets, write.expression)
    folds = {node for node in walk(expression) if isinstance(node, Fold)}
    if target is None or len(folds) != 1:
        return None
    (fold,) = folds
    factors = product(fold.body) if fold.operator == "sum" else None
    if factors is None or any(guard.modulus for guard in (*fold.where, *kernel.where)):
        return None
    result = rewrite(expression, lambda node: SUM if node == fold else None)
    return Parts(write, target, fold, factors, result)


def product(body: Expression) -> tuple[Load, ...] | None:
    """The loads that are multiplied, if there are at least two and nothing else."""
    match body:
        case Apply("mul", (left, right)):
            sides = [(s,) if isinstance(s, Load) else product(s) for s in (left, right)]
            if sides[0] is None or sides[1] is None:
                return None
            loads = sides[0] + sides[1]
            return loads if all(affine_index(load.index) is not None for load in loads) else None
        case _:
            return None


def affine_index(index: tuple[Affine | Expression, ...]) -> tuple[Affine, ...] | None:
    """The index, if no entry of it depends on a value."""
    places = tuple(place for place in index if isinstance(place, Affine))
    return places if len(places) == len(index) else None


def recognise(kernel: Kernel, program: Program) -> Contraction | None:
    """The kernel as a contraction of stored positions; None where it is none."""
    parts = find_parts(kernel)
    if parts is None:
        return None
    names = {load.buffer for load in _loads(parts)} | {parts.write.buffer}
    buffers = {buffer.name: buffer for buffer in program.buffers if buffer.name in names}
    if any(buffer.element != "f32" for buffer in buffers.values()):
        return None
    if parts.write.buffer in {load.buffer for load in _loads(parts)}:
        return None
    return _place(_View(kernel.axes, kernel.where, parts), buffers)


@dataclass(frozen=True, slots=True)
class _View:
    """A contraction on its way to stored positions: axes are split until no floor is left."""

    axes: tuple[Axis, ...]
    where: tuple[Guard, ...]
    parts: Parts

    @property
    def ranges(self) -> Ranges:
        return {a.name: (0, a.size - 1) for a in (*self.axes, *self.parts.fold.axes)}


def _place(view: _View, buffers: dict[str, Buffer]) -> Contraction | None:
    """Computes stored positions; where floors are left, splits an axis and tries again."""
    view = _drop_single(view)
    ranges, parts = view.ranges, view.parts
    needless = {g for load in parts.factors for g in _bordered(buffers[load.buffer], load, ranges)}
    inside = tuple(guard for guard in parts.fold.where if guard.index not in needless)
    where, guards = (_guards(each, ranges) for each in (view.where, inside))
    target = _access(buffers[parts.write.buffer], parts.target, ranges)
    factors = tuple(_load(buffers, load, ranges) for load in parts.factors)
    outer = [load for load in _result_loads(parts) if affine_index(load.index) is not None]
    if len(outer) < len(_result_loads(parts)):
        return None
    loads = tuple((load, _load(buffers, load, ranges)) for load in outer)
    everything = (target, *factors, *(access for _, access in loads))
    offsets = (*where, *guards, *(access.offset for access in everything))
    if all(offset.is_linear for offset in offsets):
        return Contraction(
            view.axes, parts.fold.axes, where, guards, target, factors, parts.result, loads,
            parts.write.add,
        )  # fmt: skip
    cut = clear_floors(offsets)
    split = None if cut is None else _split(view, buffers, *cut)
    return None if split is None else _place(split, buffers)


def _guards(guards: tuple[Guard, ...], ranges: Ranges) -> tuple[Affine, ...]:
    """What must be >= 0, without what always is."""
    settled = tuple(settle(guard.index, ranges) for guard in guards)
    return tuple(index for index in settled if index.bounds(known(index, ranges))[0] < 0)


def _bordered(buffer: Buffer, load: Load, ranges: Ranges) -> Iterator[Affine]:
    """Guards that a stored border of zeros answers: an input's (see `layout.bordered`)."""
    index = affine_index(load.index)
    if buffer.role != "input" or index is None:
        return
    for dim in buffer.dims:
        place, size = index[dim.axis], buffer.axes[dim.axis].size
        if dim.divide == 1 and not dim.modulo:
            low, high = place.bounds(known(place, ranges))
            if low >= -dim.before and high < dim.extent - dim.before:
                yield from (place, constant(size - 1) - place)


def _access(buffer: Buffer, index: tuple[Affine, ...], ranges: Ranges) -> Access:
    offset = position(buffer, index, ranges)
    names = [str(a) for a, factor in offset.terms if factor == 1 and isinstance(a, str)]
    return Access(
        buffer.name, offset, tuple((name, room(buffer, index, name, ranges)) for name in names)
    )


def _load(buffers: dict[str, Buffer], load: Load, ranges: Ranges) -> Access:
    index = affine_index(load.index)
    assert index is not None
    return _access(buffers[load.buffer], index, ranges)


def _split(view: _View, buffers: dict[str, Buffer], name: str, block: int) -> _View | None:
    """`axis` becomes `block * axis.outer + axis.inner`. Places past the axis' end are guarded
    away where they would be summed, and must fall into padding where they are written."""
    ranges = view.ranges
    if name not in ranges:
        return None
    size = ranges[name][1] + 1
    outer, inner = Axis(f"{name}.outer", -(-size // block)), Axis(f"{name}.inner", block)
    parts, values = view.parts, {name: axis(outer.name) * block + axis(inner.name)}
    summed = any(a.name == name for a in parts.fold.axes)
    exact = size % block == 0
    if _symbolic(view, name) or not (exact or summed or _padded(view, buffers, name, block)):
        return None
    end = () if exact or not summed else (Guard(constant(size - 1) - values[name]),)
    fold = substitute_axes(parts.fold, values)
    assert isinstance(fold, Fold)
    fold = Fold(fold.operator, _replace(fold.axes, name, outer, inner), fold.body, fold.where + end)
    factors, target = product(fold.body), tuple(i.substitute(values) for i in parts.target)
    assert factors is not None
    result = substitute_axes(parts.result, values)
    where = tuple(Guard(guard.index.substitute(values)) for guard in view.where)
    axes = _replace(view.axes, name, outer, inner)
    return _View(axes, where, Parts(parts.write, target, fold, factors, result))


def _padded(view: _View, buffers: dict[str, Buffer], name: str, block: int) -> bool:
    """Whether all buffers that use an output axis have storage for whole blocks of it."""
    size = view.ranges[name][1] + 1
    whole = -(-size // block) * block
    uses = [(view.parts.write.buffer, view.parts.target)]
    uses += [(load.buffer, affine_index(load.index) or ()) for load in _loads(view.parts)]
    return all(
        place == axis(name) and capacity(buffers[buffer], number) >= whole
        for buffer, index in uses
        for number, place in enumerate(index)
        if name in place.axes()
    )


def _drop_single(view: _View) -> _View:
    """Axes of one place are gone: their position is 0."""
    single = {a.name: constant(0) for a in (*view.axes, *view.parts.fold.axes) if a.size == 1}
    if not single:
        return view
    parts = view.parts
    body = substitute_axes(parts.fold.body, single)
    where = tuple(Guard(guard.index.substitute(single)) for guard in parts.fold.where)
    summed = tuple(a for a in parts.fold.axes if a.name not in single)
    fold, factors = Fold("sum", summed, body, where), product(body)
    assert factors is not None
    target = tuple(place.substitute(single) for place in parts.target)
    result = substitute_axes(parts.result, single)
    outer = tuple(Guard(guard.index.substitute(single)) for guard in view.where)
    axes = tuple(a for a in view.axes if a.name not in single)
    return _View(axes, outer, Parts(parts.write, target, fold, factors, result))


def _loads(parts: Parts) -> tuple[Load, ...]:
    return (*parts.factors, *_result_loads(parts))


def _result_loads(parts: Parts) -> tuple[Load, ...]:
    return tuple({node: None for node in walk(parts.result) if isinstance(node, Load)})


def _symbolic(view: _View, name: str) -> bool:
    return any(a.symbol for a in (*view.axes, *view.parts.fold.axes) if a.name == name)


def _replace(axes: tuple[Axis, ...], name: str, *new: Axis) -> tuple[Axis, ...]:
    return tuple(b for a in axes for b in (new if a.name == name else (a,)))
