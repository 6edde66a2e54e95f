"""Copies the operands of contractions that are stored in another order than their lanes want.

In: a Program with layouts.  Out: the same with scratch buffers, and the kernels that copy to and
from them.

    image.grad[n, c, y, x] = sum [f, ky, kx] weight[f, c, ky, kx] * conv.grad[n, f, ...]
->  weight.by.c[f, c, ky, kx] = weight[f, c, ky, kx]            stored [c / 64][ky][kx][f][c % 64]
    image.grad[n, c, y, x] = sum [f, ky, kx] weight.by.c[f, c, ky, kx] * conv.grad[n, f, ...]

What moves fewer elements is chosen: for a linear layer's many weights, the lanes become the batch,
its small gradient is copied, and so is the target.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import prod

from latte.compiler.affine import Affine, axis
from latte.compiler.contract_parts import Parts, find_parts
from latte.compiler.contract_plan import Plan, plan
from latte.compiler.contract_result import emits
from latte.compiler.contract_spread import spread_view
from latte.compiler.contract_wish import Option, Place, options, work
from latte.compiler.expression import Axis, Expression, Fold, Load
from latte.compiler.ir import (
    Buffer,
    Group,
    Item,
    Kernel,
    Phase,
    Program,
    Serial,
    Write,
    expressions,
    kernels,
)
from latte.compiler.layout import MOVE, beside, best_vectors, blocked, option_time, regrouped, row
from latte.compiler.lower_access import storage
from latte.compiler.machine import Machine
from latte.compiler.plan_memory import reads
from latte.compiler.rewrite import rewrite, walk

WORTH = 8  # multiply-adds for each element moved, from which a copy pays


def pack(program: Program, machine: Machine) -> Program:
    """Adds the copies that let contractions have lanes where their buffers' dims do not."""
    packer = _Packer(program, machine)
    phases = tuple(replace(phase, items=packer.phase(phase)) for phase in program.phases)
    if not packer.scratch:
        return program
    return replace(program, buffers=(*program.buffers, *packer.scratch.values()), phases=phases)


@dataclass(slots=True)
class _Packer:
    """`scratch` are the buffers made so far; `fresh` those that hold what their source holds."""

    program: Program
    machine: Machine
    scratch: dict[str, Buffer] = field(default_factory=dict)
    fresh: dict[str, str] = field(default_factory=dict)
    buffers: dict[str, Buffer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.buffers = {buffer.name: buffer for buffer in self.program.buffers}

    def phase(self, phase: Phase) -> tuple[Item, ...]:
        self.fresh = {}
        items: list[Item] = []
        for item in phase.items:
            items += self._item(item)
        return tuple(items)

    def _item(self, item: Item) -> list[Item]:
        return list(self._kernel(item)) if isinstance(item, Kernel) else self._loop(item)

    def _loop(self, loop: Serial | Group) -> list[Item]:
        """Copies of what the loop does not write go in front of it; the others belong to the
        worker where the loop is a group."""
        written = {write.buffer for kernel in kernels(loop.items) for write in kernel.writes}
        outside: list[Item] = []
        inside: list[Item] = []
        for item in loop.items:
            for made in self._item(item):
                free = isinstance(made, Kernel) and self._free(made, written)
                (outside if free else inside).append(made)
        self.fresh = {s: p for s, p in self.fresh.items() if s.split(" ")[0] not in written}
        if isinstance(loop, Group):
            self._make_private(tuple(inside))
        return [*outside, replace(loop, items=tuple(inside))]

    def _free(self, kernel: Kernel, written: set[str]) -> bool:
        """Whether this is a copy of a factor that can stand in front of a loop that writes some
        buffers; what is copied back where it belongs follows the sum."""
        source, own = _copied(kernel), {a.name for a in kernel.axes}
        if source is None or source in written or kernel.writes[0].buffer not in self.scratch:
            return False
        index = (entry for write in kernel.writes for entry in write.index)
        return not any(entry.axes() - own for entry in index if isinstance(entry, Affine))

    def _make_private(self, items: tuple[Item, ...]) -> None:
        for kernel in kernels(items):
            for write in kernel.writes:
                if made := self.scratch.get(write.buffer):
                    own = replace(made, role="private")
                    self.scratch[made.name] = self.buffers[made.name] = own

    def _kernel(self, kernel: Kernel) -> list[Kernel]:
        made = self._packed(kernel) if self._wants(kernel) else [kernel]
        for each in made:
            for write in each.writes:
                if write.buffer not in self.scratch:
                    self.fresh = {
                        s: p for s, p in self.fresh.items() if s.split(" ")[0] != write.buffer
                    }
        return made

    def _wants(self, kernel: Kernel) -> bool:
        """Whether this is a contraction whose results cannot have the lanes as they are stored."""
        parts = find_parts(kernel)
        if parts is None or not emits(parts):
            return False
        named = {store.write.buffer for store in parts.stores} | set(_factors(parts))
        elements = [self.buffers[buffer].element for buffer in named]
        if any(element != "f32" for element in elements):
            return False
        found = self._plan(kernel)
        return found is None or found.summed_lanes

    def _plan(self, kernel: Kernel) -> Plan | None:
        """The plan of a kernel, of whose factors some may be copies."""
        program = self.program
        if any(name in self.scratch for name in reads(kernel)):
            program = replace(program, buffers=tuple(self.buffers.values()))
        contraction = spread_view(kernel, program, self.machine)
        return None if contraction is None else plan(contraction, self.machine)

    def _packed(self, kernel: Kernel) -> list[Kernel]:
        """The kernel with the option that moves least, and the copies for it."""
        parts = find_parts(kernel)
        found = [option for option in options(kernel) if option.run * 2 >= self.machine.width]
        if parts is None or not found:
            return [kernel]
        best = min(found, key=lambda option: self._cost(option, kernel))
        if self._moved(best) * WORTH > work(kernel):
            return [kernel]
        copies = [self._copy_factor(parts, best, place) for place in self._others(best)
                  if place != best.target]  # fmt: skip
        copies += [self._copy_factor(parts, best, (buffer, number), groups)
                   for buffer, number, groups in best.regrouped]  # fmt: skip
        names = {copy.source: copy.name for copy in copies}
        changed = _with_fold(kernel, parts.fold, self._renamed(parts, names))
        before = [copy.kernel for copy in copies if copy.kernel is not None]
        if best.target is None or (self._stays(best) and self._plan(changed) is not None):
            return [*before, changed]
        return [*before, *self._copy_target(changed, parts, best)]

    def _cost(self, option: Option, kernel: Kernel) -> float:
        """Multiply-adds of whole vectors, and what the copies take in their place."""
        return option_time(option, kernel, self.machine) + MOVE * self._moved(option)

    def _moved(self, option: Option) -> int:
        moved = [buffer for buffer, _ in self._others(option)]
        moved += [buffer for buffer, _, _ in option.regrouped]
        return sum(prod(a.size for a in self.buffers[buffer].axes) for buffer in moved)

    def _others(self, option: Option) -> list[Place]:
        """What an option needs stored otherwise. Lanes that are summed need no padding."""
        padded = option.target is not None
        places = [place for place in option.factors if not self._leads(*place, padded=padded)]
        moved = None if self._stays(option) else option.target
        return places if moved is None else [*places, moved]

    def _stays(self, option: Option) -> bool:
        """Whether what follows the sum can be done at once."""
        if option.target is None:
            return True
        return all(self._leads(*place) for place in (option.target, *option.loads))

    def _leads(self, buffer: str, number: int, *, padded: bool = True) -> bool:
        """Whether an axis is innermost in a buffer, `padded` with room for whole vectors."""
        form = self.buffers[buffer]
        inner = storage(form).dims[-1]
        unit = self.machine.width if padded else 1
        whole = -(-form.axes[number].size // unit) * unit
        return (
            inner.axis == number
            and inner.divide == 1
            and (
                inner.extent >= whole
                or (inner.modulo > 0 and padded and inner.extent % self.machine.width == 0)
            )
        )

    def _renamed(self, parts: Parts, names: dict[str, str]) -> Fold:
        def rule(node: Expression) -> Expression | None:
            if isinstance(node, Load) and node.buffer in names and node in parts.factors:
                return replace(node, buffer=names[node.buffer])
            return None

        return replace(parts.fold, body=rewrite(parts.fold.body, rule))

    def _copy_factor(
        self, parts: Parts, option: Option, place: tuple[str, int], groups: int | None = None
    ) -> _Copy:
        """A scratch buffer with a factor's lanes innermost, and the kernel that fills it."""
        buffer, number = place
        source = self.buffers[buffer]
        own = next(load for load in parts.factors if load.buffer == buffer)
        other = next((load for load in parts.factors if load is not own), own)
        name = f"{buffer}.by.{source.axes[number].name}"
        key = f"{buffer} {name}"
        if self.fresh.get(key) == name:
            return _Copy(buffer, name, None)
        if name not in self.buffers:
            self._make(name, source, number, option.run, own, other, groups)
        self.fresh[key] = name
        fresh = tuple(Axis(f"{a.name}.{k}", a.size, a.symbol) for k, a in enumerate(source.axes))
        index = tuple(axis(a.name) for a in fresh)
        kernel = Kernel(name, fresh, (), (Write(name, index, Load(buffer, index)),), (),
                        source.origin, f"copy of {buffer}")  # fmt: skip
        return _Copy(buffer, name, kernel)

    def _make(
        self, name: str, like: Buffer, number: int, run: int, own: Load, other: Load,
        groups: int | None = None,
    ) -> None:  # fmt: skip
        block = best_vectors(run, self.machine) * self.machine.width
        made = Buffer(name, like.axes, "scratch", like.origin)
        order = beside(made, number, own, other, self.buffers[other.buffer])
        batched = like.axes[number].symbol is not None
        if groups is not None:
            dims = regrouped(made, number, groups, block, order)
        elif batched:
            dims = row(made, number, self.machine)
        else:
            dims = blocked(made, number, block, order)
        made = replace(made, dims=dims)
        self.buffers[name] = self.scratch[name] = made

    def _copy_target(self, kernel: Kernel, parts: Parts, option: Option) -> Iterator[Kernel]:
        """The contraction into a scratch buffer, and the kernel that makes the result of it."""
        assert option.target is not None
        buffer, number = option.target
        target = self.buffers[buffer]
        name = f"{buffer}.by.{target.axes[number].name}"
        own = Load(name, parts.target)
        other = next((load for load in parts.factors if load.buffer not in
                      {b for b, _ in option.factors}), parts.factors[0])  # fmt: skip
        if name not in self.buffers:
            self._make(name, target, number, option.run, own, other)
        fold = next(n for e in expressions(kernel) for n in walk(e) if isinstance(n, Fold))
        write = Write(name, parts.target, fold)
        yield replace(kernel, name=f"{kernel.name}.by", lets=(), writes=(write,))
        yield _with_fold(kernel, fold, own)


@dataclass(frozen=True, slots=True)
class _Copy:
    """A copy of `source` called `name`; no kernel where it is there already."""

    source: str
    name: str
    kernel: Kernel | None


def _with_fold(kernel: Kernel, fold: Fold, new: Expression) -> Kernel:
    """The kernel with another expression in the place of its sum."""

    def changed(expression: Expression) -> Expression:
        return rewrite(expression, lambda node: new if node == fold else None)

    lets = tuple(replace(let, expression=changed(let.expression)) for let in kernel.lets)
    writes = tuple(replace(w, expression=changed(w.expression)) for w in kernel.writes)
    return replace(kernel, lets=lets, writes=writes)


def _factors(parts: Parts) -> list[str]:
    return [load.buffer for load in parts.factors]


def _copied(kernel: Kernel) -> str | None:
    """The buffer that a kernel copies, if it is a copy."""
    match kernel.writes:
        case (Write(expression=Load(buffer)),) if not kernel.lets:
            return buffer
        case _:
            return None
