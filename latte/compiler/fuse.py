"""Makes one kernel of two where the second computes, place by place, from what the first makes.

    kernel conv [n, f, y, x]  conv[n, f, y, x] = bias[f] + sum ...
    kernel relu [n, f, y, x]  relu[n, f, y, x] = max(conv[n, f, y, x], 0)
->  kernel conv [n, f, y, x]
        let value = bias[f] + sum ...
        conv[n, f, y, x] = value
        relu[n, f, y, x] = max(value, 0)

So activations, dropout, residuals, masks on gradients and the solver's update are computed in the
registers that hold the sum. `keep` then drops the store of conv if nobody else reads it. A reader
that is no such map (a window, a sum) stays apart; the reason of every pair is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from latte.compiler.affine import Affine
from latte.compiler.choices import Choices
from latte.compiler.contract_parts import affine_index, find_parts
from latte.compiler.contract_result import emits
from latte.compiler.contract_view import inside
from latte.compiler.expression import Apply, Expression, Let, Load, Local, Number
from latte.compiler.fuse_match import folds, loads_of, match, substituted
from latte.compiler.fuse_order import Order
from latte.compiler.fuse_pool import pooled
from latte.compiler.ir import READABLE, Buffer, Item, Kernel, Program, Write
from latte.compiler.keep import keep, waits
from latte.compiler.layout import best_vectors
from latte.compiler.machine import Machine
from latte.compiler.plan_memory import reads, writes
from latte.compiler.poly import ranges_of
from latte.compiler.rewrite import rewrite, substitute_locals

MOST_BUFFERS = 24  # that a fused contraction may touch, those that are dropped later too
REACH = 64  # items between a writer and a reader, beyond which caches have forgotten


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of a writer and a reader of `buffer`: `reason` is "" where they are one."""

    phase: str
    writer: str
    reader: str
    buffer: str
    kind: str
    reason: str

    def __str__(self) -> str:
        became = "fused" if not self.reason else f"apart: {self.reason}"
        return f"{self.phase}: {self.writer} -> {self.reader} ({self.kind}) {became}"


def fuse(program: Program, machine: Machine, choices: Choices) -> Program:
    """The program with every pair of kernels fused that may be."""
    return explained(program, machine, choices)[0]


def explained(
    program: Program, machine: Machine, choices: Choices
) -> tuple[Program, tuple[Decision, ...]]:
    """The program, and what was decided about every pair of neighbours."""
    program, decisions = _with_pools(program, choices)
    phases, order = [], Order(program)
    for phase in program.phases:
        work = _Fusing(program, choices, machine, phase.name, order)
        phases.append(replace(phase, items=work.sequence(phase.items)))
        decisions += work.decisions()
    changed = tuple(phases) != program.phases
    return keep(replace(program, phases=tuple(phases)) if changed else program, choices), (
        *decisions,
    )


def _with_pools(program: Program, choices: Choices) -> tuple[Program, list[Decision]]:
    """Masks behind maxima done for the pooled values, as far as that is not switched off."""
    made: dict[str, Buffer] = {}
    phases, decisions = [], []
    reason = "`pool` is switched off" if "pool" in choices.without else ""
    for phase in program.phases:
        found = pooled(phase.items, {b.name: b for b in program.buffers})
        told = [Decision(phase.name, *pair, "pool", reason) for pair in found.pairs]
        decisions += told
        if reason or phase.name in READABLE:
            phases.append(phase)
            continue
        phases.append(replace(phase, items=found.items))
        made |= {buffer.name: buffer for buffer in found.buffers}
    if not made:
        return program, decisions
    buffers = (*program.buffers, *made.values())
    return replace(program, buffers=buffers, phases=tuple(phases)), decisions


@dataclass(slots=True)
class _Fusing:
    """One phase; `made` are the pairs that became one, `apart` why others did not."""

    program: Program
    choices: Choices
    machine: Machine
    phase: str
    order: Order
    made: list[Decision] = field(default_factory=list)
    apart: dict[tuple[str, str, str], Decision] = field(default_factory=dict)
    buffers: dict[str, Buffer] = field(default_factory=dict)
    contractions: dict[int, tuple[Kernel, bool]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.buffers = {buffer.name: buffer for buffer in self.program.buffers}

    def decisions(self) -> Iterator[Decision]:
        """About every pair, those that are one first."""
        yield from self.made
        yield from self.apart.values()

    def sequence(self, items: Sequence[Item]) -> tuple[Item, ...]:
        """Kernels of one sequence fused, each reader with a writer before it."""
        found = [self._inner(item) for item in items]
        place = 1
        while place < len(found):
            place = self._reader(found, place)
        return tuple(found)

    def _inner(self, item: Item) -> Item:
        return item if isinstance(item, Kernel) else replace(item, items=self.sequence(item.items))

    def _reader(self, items: list[Item], place: int) -> int:
        """Fuses the kernel at a place with one before; the next place to look at."""
        reader = items[place]
        if not isinstance(reader, Kernel):
            return place + 1
        waiting = set(self.order.touched(reader).read)
        for first in range(place - 1, max(place - REACH, 0) - 1, -1):
            writer = items[first]
            met = waiting & self.order.touched(writer).written
            waiting -= met  # who wrote it before does not matter
            if not met or not isinstance(writer, Kernel):
                continue
            kind = self._kind(writer, reader)
            found = self._pair(items, first, place, kind)
            reason = found if isinstance(found, str) else ""
            told = Decision(self.phase, writer.name, reader.name, min(met), kind, reason)
            if isinstance(found, str):
                self.apart.setdefault((writer.name, reader.name, min(met)), told)
                continue
            self.made.append(told)
            made, behind = found
            between, rest = items[first + 1 : behind + 1], items[behind + 1 : place]
            items[first : place + 1] = [*between, made, *rest]
            return max(behind, 1)  # the fused kernel may follow another one
        return place + 1

    def _pair(
        self, items: list[Item], first: int, second: int, kind: str
    ) -> tuple[Kernel, int] | str:
        """The kernel that stands for both, and behind which item; or why there is none."""
        writer, reader = items[first], items[second]
        assert isinstance(writer, Kernel) and isinstance(reader, Kernel)
        if kind in self.choices.without:
            return f"`{kind}` is switched off"
        if folds(reader):
            return "the reader takes a window or a sum of it"
        place = self.order.meeting(items, first, second)
        if not isinstance(place, int):
            return f"{_name(place)} stands between them"
        made = self._fused(writer, reader)
        return made if isinstance(made, str) else (made, place)

    def _kind(self, writer: Kernel, reader: Kernel) -> str:
        if self.order.touched(reader).lasts:
            return "update"
        return "epilogue" if self._contracts(writer) else "maps"

    def _contracts(self, kernel: Kernel) -> bool:
        """Whether a kernel is a contraction; asked once for each."""
        found = self.contractions.get(id(kernel))
        if found is None:
            found = self.contractions[id(kernel)] = kernel, find_parts(kernel) is not None
        return found[1]

    def _fused(self, writer: Kernel, reader: Kernel) -> Kernel | str:
        """Both in one, or why not."""
        if any(affine_index(write.index) is None for write in reader.writes):
            return "places are chosen by values"
        reader = replace(reader, writes=tuple(map(_plain, reader.writes)))
        values: dict[str, Affine] = {}
        for buffer in sorted(reads(reader) & writes(writer)):
            found = match(writer, reader, buffer)
            if isinstance(found, str):
                return found
            if values and found != values:
                return "they meet at different places"
            values = found
        reader = substituted(reader, values)
        if problem := self._clash(writer, reader):
            return problem
        made = joined(writer, reader)
        if self._contracts(writer) and (problem := self._no_contraction(made)):
            return problem
        return made

    def _clash(self, writer: Kernel, reader: Kernel) -> str:
        """Why the reader may not write at once what it writes, "" if it may."""
        for write in reader.writes:
            loads = loads_of(writer, write.buffer)
            if any(load.index != write.index for load in loads):
                return f"{write.buffer} is read elsewhere before it is written"
            own = [other for other in writer.writes if other.buffer == write.buffer]
            if any(other.index != write.index for other in own):
                return f"{write.buffer} is written at other places"
        return ""

    def _no_contraction(self, made: Kernel) -> str:
        """Why a contraction's code cannot do what follows, "" if it can."""
        parts = find_parts(made)
        if parts is None:
            return "it would be no contraction any more"
        if not emits(parts):
            return "there is no code for it in a contraction's registers"
        names = {store.write.buffer for store in parts.stores} | reads(made)
        if any(self.buffers[name].element != "f32" for name in names):
            return "it has integers"
        if len(names) > MOST_BUFFERS:
            return "it touches too many buffers"
        if not inside(parts, made.axes, self.buffers):
            return "a condition keeps an index inside"
        if any(self._beside(store.write.buffer, store.target, made) for store in parts.stores):
            return "whole vectors would reach into the next part of a join"
        if {load.buffer for load in parts.factors} & {s.write.buffer for s in parts.stores}:
            return "it would change a factor"
        return "the unfinished sum would have no place" if waits(made) else ""

    def _beside(self, buffer: str, index: tuple[Affine, ...], kernel: Kernel) -> bool:
        """Whether an axis that blocks of lanes do not fill is written into a part of a buffer's."""
        ranges = ranges_of(kernel.axes)
        for entry, a in zip(index, self.buffers[buffer].axes, strict=True):
            if entry.axes() <= ranges.keys() and entry.bounds(ranges) != (0, a.size - 1):
                low, high = entry.bounds(ranges)
                size = high - low + 1
                if size % (best_vectors(size, self.machine) * self.machine.width):
                    return True
        return False


def joined(writer: Kernel, reader: Kernel) -> Kernel:
    """A kernel that does what both do, the reader's axes being the writer's already."""
    writer = named(writer)
    values = {write.buffer: write.expression for write in writer.writes}
    lets, names = list(writer.lets), dict[str, Expression]()

    def seen(expression: Expression) -> Expression:
        def rule(node: Expression) -> Expression | None:
            return values.get(node.buffer) if isinstance(node, Load) else None

        return rewrite(substitute_locals(expression, names), rule)

    for let in reader.lets:
        lets.append(Let(_fresh(let.name, lets), seen(let.expression)))
        names[let.name] = Local(lets[-1].name)
    written = tuple(replace(w, expression=seen(w.expression)) for w in reader.writes)
    over = {write.buffer for write in written}
    kept = tuple(write for write in writer.writes if write.buffer not in over)
    reason = f"{writer.reason}, {reader.name}"
    return replace(writer, lets=tuple(lets), writes=(*kept, *written), reason=reason)


def named(kernel: Kernel) -> Kernel:
    """The kernel with a let for each value that it writes."""
    lets, plain = list(kernel.lets), []
    for write in map(_plain, kernel.writes):
        if not isinstance(write.expression, Local | Number):
            lets.append(Let(_fresh("value", lets), write.expression))
            write = replace(write, expression=Local(lets[-1].name))
        plain.append(write)
    return replace(kernel, lets=tuple(lets), writes=tuple(plain))


def _plain(write: Write) -> Write:
    """The write without `add`: the sum with what is there."""
    if not write.add:
        return write
    total = Apply("add", (write.expression, Load(write.buffer, write.index)))
    return replace(write, expression=total, add=False)


def _fresh(name: str, lets: Sequence[Let]) -> str:
    while name in {let.name for let in lets}:
        name += "'"
    return name


def _name(item: Item) -> str:
    return item.name if isinstance(item, Kernel) else "a loop"
