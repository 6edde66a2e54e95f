"""Drops what nobody reads: a value that was used in registers is not stored as well.

    let value = bias + sum ...;  conv[...] = value;  relu[...] = max(value, 0)   only relu is read
->  let value = bias + sum ...;  relu[...] = max(value, 0)

After forward, backward and update every value stays readable, so nothing is dropped there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from latte.compiler.choices import Choices
from latte.compiler.contract_parts import find_parts
from latte.compiler.expression import Load
from latte.compiler.ir import READABLE, Buffer, Item, Kernel, Phase, Program, kernels
from latte.compiler.plan_memory import TRANSIENT, reads
from latte.compiler.rewrite import walk
from latte.compiler.simplify import simplify_kernel

ONE_SWEEP = 512  # places of a sum up to which no unfinished one has to wait in memory


def keep(program: Program, choices: Choices) -> Program:
    """The program without writes that no kernel of their phase reads, and without the kernels
    that are left with nothing to do."""
    phases = tuple(
        phase if phase.name in READABLE else _phase(program, phase, choices)
        for phase in program.phases
    )
    return program if phases == program.phases else replace(program, phases=phases)


def _phase(program: Program, phase: Phase, choices: Choices) -> Phase:
    """Until nothing changes: what a dropped kernel read may be dropped next."""
    carried = {b.origin for b in program.buffers if b.role == "carried"}
    dropping = _Dropping(
        {b.name: b for b in program.buffers}, frozenset(choices.keep | carried), frozenset()
    )
    while True:
        dropping.read = frozenset().union(*(reads(kernel) for kernel in kernels(phase.items)))
        items = tuple(each for item in phase.items for each in dropping.item(item))
        if items == phase.items:
            return phase
        phase = replace(phase, items=items)


class _Dropping:
    """One sweep over a phase; `read` are the buffers that its kernels load."""

    def __init__(
        self, buffers: dict[str, Buffer], kept: frozenset[str], read: frozenset[str]
    ) -> None:
        self.buffers, self.kept, self.read = buffers, kept, read

    def item(self, item: Item) -> Sequence[Item]:
        """The item with what is left of it, or nothing."""
        if isinstance(item, Kernel):
            return self._kernel(item)
        inner = tuple(each for old in item.items for each in self.item(old))
        return (replace(item, items=inner),) if inner else ()

    def _kernel(self, kernel: Kernel) -> tuple[Kernel, ...]:
        needed = [write for write in kernel.writes if not self._unread(write.buffer)]
        if len(needed) == len(kernel.writes):
            return (kernel,)
        left = replace(kernel, writes=tuple(needed))
        if needed and waits(left):
            return (kernel,)
        return (simplify_kernel(left),) if needed else ()

    def _unread(self, name: str) -> bool:
        if name in self.read or name in self.kept:
            return False
        return self.buffers[name].role in TRANSIENT


def waits(kernel: Kernel) -> bool:
    """Whether a contraction's sum takes several sweeps, and no place that it writes could hold
    the unfinished sum, because all of them are read."""
    parts = find_parts(kernel)
    if parts is None or prod(a.size for a in parts.fold.axes) <= ONE_SWEEP:
        return False
    behind = {n.buffer for e in parts.expressions for n in walk(e) if isinstance(n, Load)}
    return all(store.write.buffer in behind for store in parts.stores)
