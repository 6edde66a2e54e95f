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

from collections.abc import Iterator, Mapping
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
from latte.compiler.contract_parts import Parts, Store, affine_index, find_parts, product
from latte.compiler.expression import (
    Axis,
    Expression,
    Fold,
    Guard,
    Load,
    Position,
    Random,
)
from latte.compiler.ir import Buffer, Kernel, Program
from latte.compiler.once import once
from latte.compiler.rewrite import substitute_axes, walk


@dataclass(frozen=True, slots=True)
class Access:
    """An element of a buffer by its stored position, affine in the contraction's axes. `room`
    counts for each axis of coefficient 1 how many positions in a row belong to the same row. Where
    it is `spread` (by an axis, in groups of so many lanes), the lanes of each group read the one
    place of it that the axis says (see `contract_spread`)."""

    buffer: str
    offset: Affine
    room: tuple[tuple[str, int], ...]
    spread: tuple[str, int] | None = None

    def coefficient(self, name: str) -> int:
        """The stride along an axis."""
        return self.offset.coefficient(name)


@dataclass(frozen=True, slots=True)
class Output:
    """`target (+)= value`, an expression of `RESULT`."""

    target: Access
    value: Expression
    add: bool


@dataclass(frozen=True, slots=True)
class Contraction:
    """All `outputs` where all of `where` is >= 0; `SUM` in `result` is the sum over `summed` of the
    product of `factors` where all of `guards` is >= 0. `loads` gives the accesses in `result` and
    in the outputs' values."""

    axes: tuple[Axis, ...]
    summed: tuple[Axis, ...]
    where: tuple[Affine, ...]
    guards: tuple[Affine, ...]
    outputs: tuple[Output, ...]
    factors: tuple[Access, ...]
    result: Expression
    loads: tuple[tuple[Load, Access], ...]

    @property
    def ranges(self) -> Ranges:
        """Where each axis runs."""
        return {a.name: (0, a.size - 1) for a in (*self.axes, *self.summed)}

    @property
    def target(self) -> Access:
        """The first output's."""
        return self.outputs[0].target

    @property
    def add(self) -> bool:
        """Whether the result is added to what is there; such an output is the only one."""
        return self.outputs[0].add

    @property
    def partial(self) -> Access | None:
        """Where an unfinished sum can wait: an output that nothing reads meanwhile."""
        read = {load.buffer for load, _ in self.loads}
        targets = (output.target for output in self.outputs)
        return next((target for target in targets if target.buffer not in read), None)

    @property
    def accesses(self) -> tuple[Access, ...]:
        """The targets, the factors and the loads behind the sum."""
        targets = (output.target for output in self.outputs)
        return (*targets, *self.factors, *(access for _, access in self.loads))


def recognise(kernel: Kernel, program: Program) -> Contraction | None:
    """The kernel as a contraction of stored positions; None where it is none."""
    parts = find_parts(kernel)
    if parts is None:
        return None
    names = {load.buffer for load in _loads(parts)} | {s.write.buffer for s in parts.stores}
    return _recognised(kernel, *map(program.buffer, sorted(names)))


@once
def _recognised(kernel: Kernel, *stored: Buffer) -> Contraction | None:
    parts = find_parts(kernel)
    assert parts is not None
    targets = {store.write.buffer: store.target for store in parts.stores}
    if any(buffer.element != "f32" for buffer in stored):
        return None
    if any(load.buffer in targets for load in parts.factors):
        return None
    if any(load.index != targets.get(load.buffer, load.index) for load in _result_loads(parts)):
        return None  # what is written may be read before, at the same place
    if any(affine_index(load.index) is None for load in _result_loads(parts)):
        return None
    buffers = {buffer.name: buffer for buffer in stored}
    if not inside(parts, kernel.axes, buffers):
        return None
    return _place(_View(kernel.axes, kernel.where, parts), buffers)


def inside(parts: Parts, axes: tuple[Axis, ...], buffers: Mapping[str, Buffer]) -> bool:
    """Whether no load behind the sum needs a condition to stay inside its buffer: all are made."""
    ranges = {a.name: (0, a.size - 1) for a in axes}
    written = {
        (entry, a.size)
        for store in parts.stores
        for entry, a in zip(store.target, buffers[store.write.buffer].axes, strict=True)
    }
    return all(
        (entry, a.size) in written or _within(entry, a.size, ranges)
        for load in _result_loads(parts)
        for entry, a in zip(affine_index(load.index) or (), buffers[load.buffer].axes, strict=True)
    )


def _within(entry: Affine, size: int, ranges: Ranges) -> bool:
    """Whether a place is inside an axis; of a loop around the kernel nothing is known."""
    if not entry.axes() <= ranges.keys():
        return False
    low, high = entry.bounds(ranges)
    return low >= 0 and high < size


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
    outputs = tuple(
        Output(_target(buffers[s.write.buffer], s.target, ranges), s.value, s.write.add)
        for s in parts.stores
    )
    factors = tuple(_load(buffers, load, ranges) for load in parts.factors)
    loads = tuple((load, _load(buffers, load, ranges)) for load in _result_loads(parts))
    everything = (*(o.target for o in outputs), *factors, *(access for _, access in loads))
    offsets = (*where, *guards, *(access.offset for access in everything), *_positions(parts))
    if all(offset.is_linear for offset in offsets):
        return Contraction(
            view.axes, parts.fold.axes, where, guards, outputs, factors, parts.result, loads
        )
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


def _target(buffer: Buffer, index: tuple[Affine, ...], ranges: Ranges) -> Access:
    """A place that is written: behind its end there is room only where no element follows, as one
    does behind a part of a join."""
    access = _access(buffer, index, ranges)
    last = [entry.bounds(known(entry, ranges))[1] + 1 for entry in index]
    room = (
        (name, space if all(end == a.size for entry, end, a in zip(index, last, buffer.axes,
                            strict=True) if name in entry.axes()) else ranges[name][1] + 1)
        for name, space in access.room
    )  # fmt: skip
    return Access(access.buffer, access.offset, tuple(room))


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
    where = tuple(Guard(guard.index.substitute(values)) for guard in view.where)
    axes = _replace(view.axes, name, outer, inner)
    return _View(axes, where, _substituted(parts, fold, values))


def _padded(view: _View, buffers: dict[str, Buffer], name: str, block: int) -> bool:
    """Whether all buffers that use an output axis have storage for whole blocks of it."""
    size = view.ranges[name][1] + 1
    whole = -(-size // block) * block
    uses = [(store.write.buffer, store.target) for store in view.parts.stores]
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
    outer = tuple(Guard(guard.index.substitute(single)) for guard in view.where)
    axes = tuple(a for a in view.axes if a.name not in single)
    return _View(axes, outer, _substituted(parts, Fold("sum", summed, body, where), single))


def _substituted(parts: Parts, fold: Fold, values: dict[str, Affine]) -> Parts:
    """The parts with another fold, and axes of the outputs replaced."""
    factors = product(fold.body)
    assert factors is not None
    stores = tuple(
        Store(
            store.write,
            tuple(place.substitute(values) for place in store.target),
            substitute_axes(store.value, values),
        )
        for store in parts.stores
    )
    return Parts(stores, fold, factors, substitute_axes(parts.result, values))


def _loads(parts: Parts) -> tuple[Load, ...]:
    return (*parts.factors, *_result_loads(parts))


def _result_loads(parts: Parts) -> tuple[Load, ...]:
    nodes = (node for expression in parts.expressions for node in walk(expression))
    return tuple({node: None for node in nodes if isinstance(node, Load)})


def _positions(parts: Parts) -> Iterator[Affine]:
    """Indices used as numbers, and of random draws."""
    for expression in parts.expressions:
        for node in walk(expression):
            if isinstance(node, Position | Random) and isinstance(node.index, Affine):
                yield node.index


def _symbolic(view: _View, name: str) -> bool:
    return any(a.symbol for a in (*view.axes, *view.parts.fold.axes) if a.name == name)


def _replace(axes: tuple[Axis, ...], name: str, *new: Axis) -> tuple[Axis, ...]:
    return tuple(b for a in axes for b in (new if a.name == name else (a,)))
