"""Sums of products over all items with few results, item by item.

In: a Program with layouts.  Out: one in which contractions that would read their operands again for
every few results sum each item apart, near the core, and add those sums afterwards.

    weight.grad[f: 32, c: 32, ky, kx] = sum [n, y, x] out.grad[n, f, y, x] * in[n, c, y + ky, ...]
    ->
    items[n, f, c, ky, kx] = sum [y, x] out.grad[n, f, y, x] * in[n, c, y + ky, x + kx]
    weight.grad[f, c, ky, kx] = sum [n] items[n, f, c, ky, kx]

A tile takes a part of the results and all places of the sum; so all operands are read once for
each of them, from memory. The results of one item are few enough to stay in a cache while its
operands do. What is summed apart depends on shapes alone, never on threads.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import prod

from latte.compiler.affine import axis
from latte.compiler.contract_parts import Parts, find_parts
from latte.compiler.contract_plan import plan
from latte.compiler.contract_spread import spread_view
from latte.compiler.expression import Axis, Expression, Fold, Load
from latte.compiler.ir import Buffer, Dim, Item, Kernel, Phase, Program, Write, recomputed
from latte.compiler.machine import Machine
from latte.compiler.rewrite import rewrite

USES = 400  # multiply-adds with an element above which it may well be read again
FEWER = 4  # times as many elements are read for an item as it has results
LEAST_ITEMS = 4  # that share the work


def itemize(program: Program, machine: Machine) -> Program:
    """The Program with the sums of single items where that pays."""
    itemizer = _Itemizer(program, machine)
    phases = tuple(itemizer.phase(phase) for phase in program.phases)
    if phases == program.phases:
        return program
    return replace(program, phases=phases, buffers=(*program.buffers, *itemizer.made.values()))


@dataclass(frozen=True, slots=True)
class _Itemizer:
    program: Program
    machine: Machine
    made: dict[str, Buffer] = field(default_factory=dict)

    def phase(self, phase: Phase) -> Phase:
        """The phase with two kernels for each that is parted."""
        items: list[Item] = []
        for item in phase.items:
            items += self._parted(item) if isinstance(item, Kernel) else (item,)
        return replace(phase, items=tuple(items))

    def _parted(self, kernel: Kernel) -> tuple[Kernel, ...]:
        parts = find_parts(kernel)
        batch = None if parts is None else _batch(kernel, parts)
        if parts is None or batch is None or not self._pays(kernel, parts, batch):
            return (kernel,)
        buffer = self._buffer(kernel, parts, batch)
        inner = replace(parts.fold, axes=tuple(a for a in parts.fold.axes if a != batch))
        place = (axis(batch.name), *parts.target)
        single = replace(
            kernel, name=buffer.name, axes=(batch, *kernel.axes), lets=(),
            writes=(Write(buffer.name, place, inner),), reason=f"{kernel.reason}, item by item",
        )  # fmt: skip
        if not self._has_tiles(kernel) or not self._has_tiles(single, buffer):
            return (kernel,)
        self.made[buffer.name] = buffer
        whole = Fold("sum", (batch,), Load(buffer.name, place))
        return single, _added(kernel, whole)

    def _pays(self, kernel: Kernel, parts: Parts, batch: Axis) -> bool:
        """Whether each element is used a few times only, and results take less room than those."""
        results = prod(a.size for a in kernel.axes)
        places = prod(a.size for a in parts.fold.axes) // batch.size
        read = sum(
            prod(a.size for a in self.program.buffer(load.buffer).axes) for load in parts.factors
        )
        each = read // batch.size
        return results * places < USES * each and FEWER * results <= each

    def _buffer(self, kernel: Kernel, parts: Parts, batch: Axis) -> Buffer:
        """An item's results, stored as the whole ones are."""
        target = self.program.buffer(parts.write.buffer)
        dims = tuple(replace(dim, axis=dim.axis + 1) for dim in target.dims)
        dims = (Dim(0, batch.size), *dims) if dims else ()
        axes = (batch, *target.axes)
        return Buffer(f"{kernel.name}.items", axes, "scratch", kernel.origin, dims=dims)

    def _has_tiles(self, kernel: Kernel, *more: Buffer) -> bool:
        """Whether the kernel is a contraction with lanes that are places of its target."""
        program = replace(self.program, buffers=(*self.program.buffers, *more))
        contraction = spread_view(kernel, program, self.machine)
        found = None if contraction is None else plan(contraction, self.machine)
        return found is not None and not found.summed_lanes


def _batch(kernel: Kernel, parts: Parts) -> Axis | None:
    """The items, if all of them are summed and each result has a place of its own."""
    found = [a for a in parts.fold.axes if a.symbol == "n" and a.size >= LEAST_ITEMS]
    symbols = any(a.symbol for a in kernel.axes) or len(parts.fold.axes) < 2
    places = [entry for entry in parts.target if entry.terms]
    plain = sorted(map(str, places)) == sorted(a.name for a in kernel.axes)
    return found[0] if len(found) == 1 and plain and not symbols and not kernel.where else None


def _added(kernel: Kernel, whole: Fold) -> Kernel:
    """The kernel with another sum instead of its own."""

    def rule(node: Expression) -> Expression | None:
        return whole if isinstance(node, Fold) else None

    return recomputed(kernel, lambda expression: rewrite(expression, rule))
