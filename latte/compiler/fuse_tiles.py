"""Windows over a contraction's rows taken while the rows are in the cache: both in one Group.

    conv[n, f, y, x] = max(bias[f] + sum ..., 0)
    pool[n, f, p, q] = max [i: 2, j: 2] conv[n, f, 2*p + i, 2*q + j]
->  group p
        conv.rows[n, f, i, x] = max(bias[f] + sum ... 2*p + i ..., 0)       private: i < 2
        pool[n, f, p, q] = max [i: 2, j: 2] conv.rows[n, f, i, 2*q + j]

The reader's windows say which rows a place of the group needs: they are bounded by a constant, and
rows that two places need are computed by both, never shared. That pays where the rows fit a
worker's cache, what lay between is too large for any, and few rows are computed twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import islice

from latte.compiler.affine import Affine, axis
from latte.compiler.choices import Choices
from latte.compiler.contract_parts import affine_index, find_parts
from latte.compiler.expression import Axis, Expression, Fold, Load
from latte.compiler.fuse import Decision
from latte.compiler.fuse_match import loads_of
from latte.compiler.fuse_order import Order
from latte.compiler.ir import READABLE, Buffer, Group, Item, Kernel, Phase, Program, expressions
from latte.compiler.layout import row
from latte.compiler.machine import Machine
from latte.compiler.plan_memory import TRANSIENT, buffer_bytes, reads, writes
from latte.compiler.rewrite import rewrite, substitute_axes, substitute_guards, walk

LEAST_PLACES = 8  # of a group, so that every worker has some
SHARED = 16  # times a core's own cache: what may stay in the shared one until it is read
AGAIN = 1.05  # how many times the rows may be computed in all


def fuse_tiles(program: Program, machine: Machine, choices: Choices) -> Program:
    """The program with groups where a reader's windows suit the contraction before it."""
    return tiled(program, machine, choices)[0]


def tiled(
    program: Program, machine: Machine, choices: Choices
) -> tuple[Program, tuple[Decision, ...]]:
    """The program, and what was decided about each contraction and what takes windows of it."""
    work = _Tiling(program, machine, choices, Order(program))
    phases = tuple(work.phase(phase) for phase in program.phases)
    if not work.made:
        return program, tuple(work.decisions)
    buffers = (*program.buffers, *work.made.values())
    return replace(program, buffers=buffers, phases=phases), tuple(work.decisions)


@dataclass(frozen=True, slots=True)
class Rows:
    """Row `y` of the writer, dimension `number` of the buffer: the reader's place `p` needs rows
    `step * p + first` on, `count` of them."""

    number: int
    y: Axis
    p: Axis
    step: int
    first: int
    count: int


@dataclass(slots=True)
class _Tiling:
    program: Program
    machine: Machine
    choices: Choices
    order: Order
    made: dict[str, Buffer] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)
    buffers: dict[str, Buffer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.buffers = {buffer.name: buffer for buffer in self.program.buffers}

    def phase(self, phase: Phase) -> Phase:
        """The phase with every pair in a group that may be."""
        items = list(phase.items)
        for writer in phase.items[phase.steady :]:
            if isinstance(writer, Kernel) and find_parts(writer) is not None:
                self._writer(phase, items, writer)
        return replace(phase, items=tuple(items))

    def _writer(self, phase: Phase, items: list[Item], writer: Kernel) -> None:
        written = writes(writer)
        behind = items[next(k for k, item in enumerate(items) if item is writer) + 1 :]
        takes = (item for item in behind if self.order.touched(item).read & written)
        readers = list(islice(takes, 2))
        if not readers or not isinstance(reader := readers[0], Kernel) or reader is writer:
            return
        if not any(isinstance(node, Fold) for e in expressions(reader) for node in walk(e)):
            return
        found = self._group(phase, items, writer, reader, len(readers))
        reason = found if isinstance(found, str) else ""
        name = min(written & reads(reader))
        self.decisions.append(Decision(phase.name, writer.name, reader.name, name, "tiles", reason))
        if not isinstance(found, str):
            group, place = found
            items.insert(place + 1, group)
            items[:] = [item for item in items if item is not writer and item is not reader]

    def _group(
        self, phase: Phase, items: list[Item], writer: Kernel, reader: Kernel, readers: int
    ) -> tuple[Group, int] | str:
        """The group of both and behind which item it stands, or why there is none."""
        if "tiles" in self.choices.without:
            return "`tiles` is switched off"
        if find_parts(reader) is not None:
            return "the reader sums products of all of it"
        if readers > 1 or len(writer.writes) != 1 or phase.name in READABLE:
            return "it is read elsewhere too"
        (write,) = writer.writes
        others = (item for item in items if item is not writer and item is not reader)
        if write.add or any(write.buffer in self.order.touched(o).written for o in others):
            return "other kernels write parts of it"
        form = self.buffers[write.buffer]
        if form.role not in TRANSIENT or write.buffer in self.choices.keep:
            return "it is to be kept"
        rows = self._rows(writer, reader, form)
        if isinstance(rows, str):
            return rows
        own = self._private(form, rows)
        if problem := self._unsuited(form, own, rows, writer):
            return problem
        first, second = (
            next(k for k, item in enumerate(items) if item is each) for each in (writer, reader)
        )
        place = self.order.meeting(items, first, second)
        if not isinstance(place, int):
            return "another kernel stands between them"
        self.made[own.name] = own
        return _grouped(writer, reader, write.buffer, own, rows), place

    def _rows(self, writer: Kernel, reader: Kernel, form: Buffer) -> Rows | str:
        """An axis of the writer along which the reader's places need a few rows each."""
        index = affine_index(writer.writes[0].index)
        assert index is not None
        lane = form.dims[-1].axis if form.dims else len(form.axes) - 1
        problem = "the reader's windows take it whole"
        for number, entry in enumerate(index):
            y = next((a for a in writer.axes if entry == axis(a.name) and not a.symbol), None)
            if y is None or number == lane or any(y.name in g.index.axes() for g in writer.where):
                continue
            found = _rows(reader, form.name, number, y)
            if isinstance(found, Rows):
                return found
            problem = found or problem
        return problem

    def _private(self, form: Buffer, rows: Rows) -> Buffer:
        axes = list(form.axes)
        axes[rows.number] = Axis(f"{axes[rows.number].name}.rows", rows.count)
        own = replace(form, name=f"{form.name}.rows", axes=tuple(axes), role="private", dims=())
        return replace(own, dims=row(own, form.dims[-1].axis, self.machine)) if form.dims else own

    def _unsuited(self, form: Buffer, own: Buffer, rows: Rows, writer: Kernel) -> str:
        """Why it would not pay, "" if it does."""
        parts = find_parts(writer)
        assert parts is not None
        if any(dim.divide > 1 or dim.modulo for dim in form.dims):
            return "it is stored in blocks"
        if rows.p.size < LEAST_PLACES:
            return "too few places to share out"
        again = rows.count * rows.p.size / min(rows.y.size, rows.step * rows.p.size)
        if again > AGAIN:
            return f"windows overlap: rows would be computed {again:.2g} times"
        if buffer_bytes(form) <= SHARED * self.machine.l2:
            return "the shared cache keeps it"
        steady = [self.buffers[load.buffer] for load in parts.factors
                  if not any(rows.y.name in entry.axes() for entry in load.index
                             if isinstance(entry, Affine))]  # fmt: skip
        if buffer_bytes(own) + sum(map(buffer_bytes, steady)) > self.machine.l2 * 3 // 4:
            return "its rows and what they need do not fit a worker's cache"
        return ""


def _rows(reader: Kernel, buffer: str, number: int, y: Axis) -> Rows | str:
    """What rows each place of the reader needs, or why that is not a few."""
    own = {a.name: a for a in reader.axes}
    inner = {
        a.name: (0, a.size - 1)
        for e in expressions(reader) for node in walk(e) if isinstance(node, Fold)
        for a in node.axes
    }  # fmt: skip
    found: set[tuple[str, int]] = set()
    low, high = 1 << 30, -(1 << 30)
    for load in loads_of(reader, buffer):
        index = affine_index(load.index)
        if index is None:
            return "places are chosen by values"
        outer = [(name, k) for name, k in index[number].terms if name in own]
        if len(outer) != 1 or outer[0][1] < 1:
            return ""
        rest = index[number] - axis(str(outer[0][0])) * outer[0][1]
        if not rest.axes() <= inner.keys():
            return ""
        found.add((str(outer[0][0]), outer[0][1]))
        low, high = min(low, rest.bounds(inner)[0]), max(high, rest.bounds(inner)[1])
    if len(found) != 1:
        return "it is read at several places at once"
    ((name, step),) = found
    p = own[name]
    if low < 0 or step * (p.size - 1) + high >= y.size:
        return "windows reach over the border"
    return Rows(number, y, p, step, low, high - low + 1)


def _grouped(writer: Kernel, reader: Kernel, buffer: str, own: Buffer, rows: Rows) -> Group:
    """Both kernels for one place of the group."""
    place = Axis(f"{own.name}.{rows.p.name}", rows.p.size)
    inner = Axis(f"{rows.y.name}.rows", rows.count)
    start = axis(place.name) * rows.step + rows.first
    made = _placed(writer, {rows.y.name: start + axis(inner.name)})
    made = _moved(made, buffer, own.name, rows.number, start)
    axes = tuple(inner if a.name == rows.y.name else a for a in writer.axes)
    taken = _placed(reader, {rows.p.name: axis(place.name)})
    taken = _moved(taken, buffer, own.name, rows.number, start)
    left = tuple(a for a in reader.axes if a.name != rows.p.name)
    return Group((place,), (replace(made, axes=axes), replace(taken, axes=left)))


def _placed(kernel: Kernel, values: dict[str, Affine]) -> Kernel:
    """The kernel with axes replaced everywhere but in its own list."""
    lets = tuple(
        replace(let, expression=substitute_axes(let.expression, values)) for let in kernel.lets
    )
    written = tuple(
        replace(
            write,
            index=tuple(e.substitute(values) if isinstance(e, Affine) else e for e in write.index),
            expression=substitute_axes(write.expression, values),
        )
        for write in kernel.writes
    )
    return replace(kernel, lets=lets, writes=written, where=substitute_guards(kernel.where, values))


def _moved(kernel: Kernel, buffer: str, own: str, number: int, start: Affine) -> Kernel:
    """The kernel with another buffer in the place of one, whose rows begin at `start`."""

    def at(index: tuple[Affine | Expression, ...]) -> tuple[Affine | Expression, ...]:
        return tuple(
            e - start if k == number and isinstance(e, Affine) else e for k, e in enumerate(index)
        )

    def rule(node: Expression) -> Expression | None:
        if isinstance(node, Load) and node.buffer == buffer:
            return Load(own, at(node.index))
        return None

    lets = tuple(replace(let, expression=rewrite(let.expression, rule)) for let in kernel.lets)
    written = tuple(
        replace(
            write,
            buffer=own if write.buffer == buffer else write.buffer,
            index=at(write.index) if write.buffer == buffer else write.index,
            expression=rewrite(write.expression, rule),
        )
        for write in kernel.writes
    )
    return replace(kernel, lets=lets, writes=written)
