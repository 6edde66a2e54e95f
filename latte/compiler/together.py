"""Puts neighbours into one Group where each reads what the other wrote, while caches have it.

In: a Program, stored and packed.  Out: one in which runs of kernels that meet in large buffers at
the same item, or the same rows of it, go item by item, or rows by rows, on one worker.

    kernel x.grad    [n, c, y: 28]          x.grad[n, c, 2*y]     = ...
    kernel x.grad#2  [n, c, y: 27]          x.grad[n, c, 2*y + 1] = ...
    kernel b.partial [n, y: 55, c]          b.partial[n, y, c]    = sum [x] x.grad[n, c, y, x]
->  group [item: n, rows: 28]
        kernel x.grad    [c]                x.grad[item, c, 2*rows]     = ...
        kernel x.grad#2  [c] rows <= 26     x.grad[item, c, 2*rows + 1] = ...
        kernel b.partial [r: 2, c] ...      b.partial[item, 2*rows + r, c] = sum [x] ...

Legal where every access to a buffer that one of them writes, by any of them, stays in the item and
in the rows of its place. A kernel moves up to its run past what it does not depend on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from math import prod

from latte.compiler.affine import Affine, axis
from latte.compiler.contract_view import recognise
from latte.compiler.expression import Axis, Guard, Index, Load
from latte.compiler.ir import Buffer, Group, Item, Kernel, Phase, Program, expressions, kernels
from latte.compiler.machine import Machine
from latte.compiler.plan_memory import reads, writes
from latte.compiler.rewrite import substitute_axes, substitute_guards, walk

LARGE = 1 << 20  # bytes of shared buffers from which it pays
REACH = 8  # items that a kernel may move up past
ENOUGH = 8  # blocks that keep all workers busy
ITEM_AXIS, ROW_AXIS = "item", "rows"


def together(program: Program, machine: Machine) -> Program:
    """The Program with such groups."""
    phases = tuple(_phase(program, phase, machine.l2 // 2) for phase in program.phases)
    return program if phases == program.phases else replace(program, phases=phases)


def _phase(program: Program, phase: Phase, cached: int) -> Phase:
    buffers = {buffer.name: buffer for buffer in program.buffers}
    items: list[Item | _Run] = []
    for item in phase.items:
        if not isinstance(item, Kernel) or not _eligible(item, program):
            items.append(item)
        elif (run := _run_for(item, items)) is not None:
            run.add(item)
        else:
            items.append(_Run(buffers, cached, [item]))
    made = tuple(item.item() if isinstance(item, _Run) else item for item in items)
    return phase if made == phase.items else replace(phase, items=made)


def _eligible(kernel: Kernel, program: Program) -> bool:
    """Whether a kernel goes item by item, and is no contraction: those have tiles of their own."""
    symbols = [entry.symbol for entry in kernel.axes]
    plain = all(isinstance(entry, Affine) for write in kernel.writes for entry in write.index)
    if symbols.count("n") != 1 or "t" in symbols or not plain:
        return False
    touched = (program.buffer(name) for name in reads(kernel) | writes(kernel))
    return not any(map(_by_items, touched)) and recognise(kernel, program) is None


def _by_items(buffer: Buffer) -> bool:
    """Whether neighbours in memory are different items."""
    last = buffer.dims[-1].axis if buffer.dims else len(buffer.axes) - 1
    return len(buffer.axes) > 1 and buffer.axes[last].symbol == "n"


def _run_for(kernel: Kernel, items: list[Item | _Run]) -> _Run | None:
    """The nearest run before a kernel that it may join."""
    for item in reversed(items[-REACH:]):
        if isinstance(item, _Run) and item.takes(kernel):
            return item
        if _bound(item.kernels if isinstance(item, _Run) else kernels((item,)), (kernel,)):
            return None
    return None


def _bound(earlier: Iterable[Kernel], later: Iterable[Kernel]) -> bool:
    """Whether the order of kernels matters."""
    first, second = _Touched.of(earlier), _Touched.of(later)
    return bool(first.written & (second.read | second.written) or first.read & second.written)


@dataclass(frozen=True, slots=True)
class _Touched:
    read: frozenset[str]
    written: frozenset[str]

    @staticmethod
    def of(found: Iterable[Kernel]) -> _Touched:
        every = tuple(found)
        read = frozenset(name for kernel in every for name in reads(kernel))
        return _Touched(read, frozenset(name for kernel in every for name in writes(kernel)))


@dataclass(slots=True)
class _Run:
    """Kernels that may go together, and the group that they make. `cached` are the bytes of an
    item that the second cache keeps."""

    buffers: dict[str, Buffer]
    cached: int
    kernels: list[Kernel] = field(default_factory=list)
    group: Group | None = None

    def takes(self, kernel: Kernel) -> bool:
        return self._grouped([*self.kernels, kernel]) is not None

    def add(self, kernel: Kernel) -> None:
        self.kernels.append(kernel)
        self.group = self._grouped(self.kernels)

    def item(self) -> Item:
        return self.group or self.kernels[0]

    def _grouped(self, members: list[Kernel]) -> Group | None:
        """The group of kernels, by rows where an item is large, else by items; or None."""
        shared = self._shared(members)
        sizes = [_bytes(self.buffers[name]) for name in shared]
        batches = {entry.size for kernel in members for entry in kernel.axes if entry.symbol == "n"}
        if len(batches) != 1 or sum(sizes) < LARGE:
            return None
        if not all(reads(m) & shared or writes(m) & shared for m in members):
            return None
        (batch,) = batches
        whole = _Blocks(shared, members)
        written = frozenset(name for m in members for name in writes(m)) | shared
        if sum(_bytes(self.buffers[name]) for name in written) // batch <= self.cached:
            return whole.group(batch, self.buffers)
        blocks = whole.by_rows(self.buffers)
        return blocks.group(batch, self.buffers) if blocks is not None else None

    def _shared(self, members: list[Kernel]) -> frozenset[str]:
        """The buffers that one of the kernels writes and another touches."""
        found: set[str] = set()
        for number, kernel in enumerate(members):
            others = members[:number] + members[number + 1 :]
            touched = (reads(other) | writes(other) for other in others)
            found |= writes(kernel) & frozenset().union(*touched)
        return frozenset(found)


@dataclass(frozen=True, slots=True)
class _Blocks:
    """A way to cut kernels: by items, and along one axis of each shared buffer, whose number `rows`
    gives, so many places of it in a block as `steps` says."""

    shared: frozenset[str]
    members: list[Kernel]
    rows: dict[str, int] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)

    def by_rows(self, buffers: dict[str, Buffer]) -> _Blocks | None:
        """Cut along the outermost stored axis of every shared buffer, if each has such a one."""
        rows: dict[str, int] = {}
        for name in self.shared:
            form = buffers[name]
            order = [dim.axis for dim in form.dims] or list(range(len(form.axes)))
            if len(order) <= 2 or form.axes[order[1]].symbol is not None:
                return None
            rows[name] = order[1]
        steps = dict.fromkeys(rows, 1)
        for member in self.members:
            for name, index in _accesses(member, self.shared):
                entry = index[rows[name]]
                factors = [k for _, k in entry.terms] if isinstance(entry, Affine) else []
                steps[name] = max((steps[name], *factors))
        return replace(self, rows=rows, steps=steps)

    def group(self, batch: int, buffers: dict[str, Buffer]) -> Group | None:
        """The kernels block by block, or None where one does not stay in its block."""
        sizes = {name: buffers[name].axes[row].size for name, row in self.rows.items()}
        count = max((-(-size // self.steps[name]) for name, size in sizes.items()), default=1)
        cut = [self._cut(kernel, count) for kernel in self.members]
        made = tuple(kernel for kernel in cut if kernel is not None)
        if len(made) < len(cut) or batch * count < ENOUGH:
            return None
        rows = (Axis(ROW_AXIS, count),) if self.rows else ()
        return Group((Axis(ITEM_AXIS, batch), *rows), made, 1)

    def _cut(self, kernel: Kernel, count: int) -> Kernel | None:
        """The part of a kernel that one block has to do."""
        batch = next(entry for entry in kernel.axes if entry.symbol == "n")
        if any(index[0] != axis(batch.name) for _, index in _accesses(kernel, self.shared)):
            return None
        values = {batch.name: axis(ITEM_AXIS)}
        axes = {entry.name: entry for entry in kernel.axes if entry is not batch}
        if not self.rows:
            return substituted(kernel, values, tuple(axes.values()), ())
        found = self._walked(kernel)
        if found is None:
            return None
        rows, inside = found
        place = axis(ROW_AXIS)
        if inside == 1:
            del axes[rows.name]
        else:
            axes[rows.name] = replace(rows, size=inside)
            place = place * inside + axis(rows.name)
        where = (Guard(-place + (rows.size - 1)),) if count * inside > rows.size else ()
        return substituted(kernel, values | {rows.name: place}, tuple(axes.values()), where)

    def _walked(self, kernel: Kernel) -> tuple[Axis, int] | None:
        """The axis with which a kernel goes along the rows, and how many of its places are in a
        block, if all that it touches of shared buffers there is in the block too."""
        own = {entry.name: entry for entry in kernel.axes if entry.symbol is None}
        found = set()
        for buffer, index in _accesses(kernel, self.shared):
            entry = index[self.rows[buffer]]
            walked = _walk(entry, own, self.steps[buffer]) if isinstance(entry, Affine) else None
            if walked is None:
                return None
            found.add(walked)
        return found.pop() if len(found) == 1 else None


def _walk(entry: Affine, own: dict[str, Axis], step: int) -> tuple[Axis, int] | None:
    """The axis of an index `factor * axis + offset` or `step * axis + digit` that does not leave
    its block of `step` places, and how many of the axis are in one."""
    if not entry.is_linear or not entry.axes() <= own.keys():
        return None
    terms = sorted((factor, str(name)) for name, factor in entry.terms)
    match terms:
        case [(factor, name)] if factor in (1, step) and 0 <= entry.constant < factor:
            return own[name], step // factor
        case [(1, digit), (factor, name)] if (
            factor == step == own[digit].size and entry.constant == 0
        ):
            return own[name], 1
        case _:
            return None


def _accesses(kernel: Kernel, names: frozenset[str]) -> Iterator[tuple[str, tuple[Index, ...]]]:
    for write in kernel.writes:
        if write.buffer in names:
            yield write.buffer, write.index
    for expression in expressions(kernel):
        for node in walk(expression):
            if isinstance(node, Load) and node.buffer in names:
                yield node.buffer, node.index


def substituted(
    kernel: Kernel, values: dict[str, Affine], axes: tuple[Axis, ...], where: tuple[Guard, ...]
) -> Kernel:
    """A kernel with other axes, and further guards, where `values` stand for its own."""
    lets = (replace(e, expression=substitute_axes(e.expression, values)) for e in kernel.lets)
    outs = (
        replace(
            write,
            index=tuple(e.substitute(values) for e in write.index if isinstance(e, Affine)),
            expression=substitute_axes(write.expression, values),
        )
        for write in kernel.writes
    )
    guards = (*substitute_guards(kernel.where, values), *where)
    return replace(kernel, axes=axes, lets=tuple(lets), writes=tuple(outs), where=guards)


def _bytes(buffer: Buffer) -> int:
    return prod(entry.size for entry in buffer.axes) * (1 if buffer.element == "u8" else 4)
