"""Reads a large weight in one sweep of a step: its last reader and its update go block by block.

In: a Program, stored and packed.  Out: one in which a contraction that sums a weight along the axis
of its lanes, and the contraction that changes that weight, meet in each block of it.

    kernel x.grad   [n, i]      x.grad[n, i] = sum [j] weight[j, i] * y.grad[n, j]
    kernel weight   [j, i]      weight[j, i] = weight[j, i] - rate * sum [n] y.grad[n, j] * x[n, i]
->  group [i.part: 16]
        kernel x.grad.clear [n, i]
        serial [j.part: 48]
            kernel x.grad   [n, i: 192]         ... += sum [j: 64] ...
            kernel weight   [j: 64, i: 192]     ...

Both wait for memory, the more the fewer items there are: so it is read once, and in the order in
which it is stored.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import prod

from latte.compiler.affine import Affine, axis, constant
from latte.compiler.contract_parts import RESULT, SUM, Parts, affine_index, find_parts
from latte.compiler.expression import Axis, Expression, Fold, Number
from latte.compiler.ir import LOSS, Buffer, Group, Item, Kernel, Phase, Program, Serial, Write
from latte.compiler.machine import Machine
from latte.compiler.plan_memory import Use, buffer_bytes, writes
from latte.compiler.rewrite import rewrite
from latte.compiler.together import substituted

LARGE = 8 << 20  # bytes of a weight that no cache near a core keeps
ENOUGH = 16  # blocks that keep all workers busy
BLOCKS = 8  # of a weight, in the second cache


def sweep(program: Program, machine: Machine) -> Program:
    """The Program with such groups."""
    buffers = {buffer.name: buffer for buffer in program.buffers}
    phases = tuple(_phase(phase, buffers, machine) for phase in program.phases)
    return program if phases == program.phases else replace(program, phases=phases)


def _phase(phase: Phase, buffers: dict[str, Buffer], machine: Machine) -> Phase:
    items = list(phase.items)
    for update in phase.items:
        changed = _changed(update, buffers)
        if changed is not None:
            _join(items, update, changed, machine)
    return phase if tuple(items) == phase.items else replace(phase, items=tuple(items))


def _changed(item: Item, buffers: dict[str, Buffer]) -> Buffer | None:
    """The large parameter that a contraction changes."""
    if not isinstance(item, Kernel) or find_parts(item) is None:
        return None
    found = [buffers[name] for name in writes(item) if buffers[name].role == "parameter"]
    return found[0] if len(found) == 1 and buffer_bytes(found[0]) >= LARGE else None


def _join(items: list[Item], update: Item, weight: Buffer, machine: Machine) -> None:
    """Puts an update and the last reader of what it changes into a group, if that may be."""
    uses, last = [Use.of(item) for item in items], items.index(update)
    first = max((k for k in range(last) if weight.name in uses[k].read), default=last)
    reader, own, other = items[first], uses[first], uses[last]
    if not isinstance(reader, Kernel) or not isinstance(update, Kernel) or first == last:
        return
    between, later = uses[first + 1 : last], any(LOSS in use.written for use in uses[first:])
    blocks = _blocks(reader, update, weight, machine)
    if blocks is None or later or _bound(own, other, frozenset({weight.name})):
        return
    if not any(_bound(use, other) for use in between):
        place = first
    elif not any(_bound(own, use) for use in between):
        place = last - 1
    else:
        return
    del items[last], items[first]
    items.insert(place, blocks.group())


def _bound(first: Use, second: Use, but: frozenset[str] = frozenset()) -> bool:
    """Whether the order of two items matters, for other buffers than those named."""
    met = first.written & (second.read | second.written) | first.read & second.written
    return bool(met - but)


def _blocks(reader: Kernel, update: Kernel, weight: Buffer, machine: Machine) -> _Blocks | None:
    """How to cut both kernels; None where one has another form."""
    parts, changed = find_parts(reader), find_parts(update)
    if parts is None or changed is None or len(weight.dims) < 3 or not _plain(reader, parts):
        return None
    loads = [load for load in parts.factors if load.buffer == weight.name]
    targets = [store.target for store in changed.stores if store.write.buffer == weight.name]
    if len(loads) != 1 or len(targets) != 1 or reader.where or update.where or parts.fold.where:
        return None
    read, written = (_names(index, weight) for index in (affine_index(loads[0].index), targets[0]))
    if read is None or written is None or {a.name for a in update.axes} != set(written):
        return None
    summed = {name for name in read if any(a.name == name for a in parts.fold.axes)}
    lane = weight.dims[-1].axis
    if summed != {read[lane]} or len(parts.fold.axes) != 1:
        return None
    cuts = _cuts(weight, machine)
    return None if cuts is None else _Blocks(reader, update, parts, weight, read, written, cuts)


def _plain(kernel: Kernel, parts: Parts) -> bool:
    """Whether a kernel stores one sum as it is."""
    return len(kernel.writes) == 1 and not kernel.writes[0].add and (
        parts.result == SUM and parts.stores[0].value == RESULT
    )  # fmt: skip


def _names(index: tuple[Affine, ...] | None, weight: Buffer) -> tuple[str, ...] | None:
    """The axes that run over a weight's, if one runs over each."""
    names = [name for entry in index or () for name in entry.axes()]
    if index is None or len(set(names)) != len(weight.axes) or len(names) != len(weight.axes):
        return None
    if any(entry != axis(name) for entry, name in zip(index, names, strict=True)):
        return None
    return tuple(names)


def _cuts(weight: Buffer, machine: Machine) -> tuple[Axis, ...] | None:
    """For each axis of a weight, the loop over its blocks: those that lie one after the other, in
    vectors of lanes; None where it is not stored in blocks of lanes."""
    outer, *others, inner = weight.dims
    lane, last = outer.axis, others[-1].axis
    size, most = weight.axes[lane].size, machine.l2 // BLOCKS // 4 // inner.extent
    if lane != inner.axis or outer.divide != inner.extent or size % inner.extent:
        return None
    counts = {dim.axis: dim.extent for dim in others[:-1]}
    counts[lane] = size // inner.extent
    whole, long = prod(dim.extent for dim in others[:-1]), weight.axes[last].size
    most = min(most, long * whole // ENOUGH)
    block = next((k for k in range(min(most, long), 0, -1) if long % k == 0), 0)
    if block < 2 * machine.width:
        return None
    counts[last] = long // block
    return tuple(Axis(f"{a.name}.part", counts[k]) for k, a in enumerate(weight.axes))


@dataclass(frozen=True, slots=True)
class _Blocks:
    """Both kernels; `read` and `written` name the axes with which each goes over the weight's, of
    which `cuts` are the loops over blocks."""

    reader: Kernel
    update: Kernel
    parts: Parts
    weight: Buffer
    read: tuple[str, ...]
    written: tuple[str, ...]
    cuts: tuple[Axis, ...]

    def group(self) -> Group:
        """Sums of some places at a time, the summed axis in blocks that are updated at once."""
        lane = self.weight.dims[-1].axis
        order = [dim.axis for dim in self.weight.dims[1:-1]]
        around = tuple(self.cuts[k] for k in order if self.cuts[k].size > 1)
        inner = Serial(self.cuts[lane], False, (self._read(), self._updated()))
        return Group(around, (self._clear(), inner))

    def _inside(self, axes: Iterable[Axis], names: tuple[str, ...]) -> tuple[Axis, ...]:
        """What is left of axes inside of a block."""
        counts = {name: cut.size for name, cut in zip(names, self.cuts, strict=True)}
        cut = (replace(a, size=a.size // counts.get(a.name, 1)) for a in axes)
        return tuple(a for a in cut if a.size > 1 or a.name not in names)

    def _values(self, names: tuple[str, ...]) -> dict[str, Affine]:
        """Where a block's places are on whole axes."""
        values = {}
        for a, name, cut in zip(self.weight.axes, names, self.cuts, strict=True):
            size = a.size // cut.size
            first = axis(cut.name) * size if cut.size > 1 else constant(0)
            values[name] = first + axis(name) if size > 1 else first
        return values

    def _read(self) -> Kernel:
        """The reader's sum over a block of the summed axis, added to what is there."""
        whole = substituted(
            self.reader, self._values(self.read), self._inside(self.reader.axes, self.read), ()
        )
        fold = self.parts.fold

        def cut(node: Expression) -> Expression | None:
            if isinstance(node, Fold) and node.axes == fold.axes:
                return replace(node, axes=self._inside(fold.axes, self.read))
            return None

        lets = tuple(replace(let, expression=rewrite(let.expression, cut)) for let in whole.lets)
        (write,) = whole.writes
        write = replace(write, expression=rewrite(write.expression, cut), add=True)
        return replace(whole, lets=lets, writes=(write,))

    def _clear(self) -> Kernel:
        """Nothing summed yet."""
        axes = self._inside(self.reader.axes, self.read)
        index = (entry.substitute(self._values(self.read)) for entry in self.parts.target)
        write = Write(self.parts.write.buffer, tuple(index), Number(0.0))
        name = f"{self.reader.name}.clear"
        return replace(self.reader, name=name, axes=axes, lets=(), writes=(write,))

    def _updated(self) -> Kernel:
        axes = self._inside(self.update.axes, self.written)
        return substituted(self.update, self._values(self.written), axes, ())
