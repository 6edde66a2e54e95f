"""Sliding contractions with fewer multiplications, by Winograd's short correlations.

In: a Program with layouts.  Out: one in which contractions that slide with stride 1 are four
stages: transforms of both factors, one contraction for each product of a tile, and results.

    conv.out[n, f, y, x] = bias[f] + sum [c, ky: 3, kx: 3] weight[f, c, ky, kx] * in[...]
    ->  conv.out.data, conv.out.taps, conv.out.sums, conv.out       (see `winograd_stages`)

Nothing here knows a layer: what slides is found by its indices (`winograd_view`), so that the
gradients of inputs and of weights are done alike, in any number of dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from latte.compiler.ir import Buffer, Group, Item, Kernel, Program, Role, Serial
from latte.compiler.machine import Machine
from latte.compiler.winograd_blocks import frame, lanes
from latte.compiler.winograd_cost import tilings
from latte.compiler.winograd_stages import Stages
from latte.compiler.winograd_tiles import Tiling
from latte.compiler.winograd_view import Sliding, find_sliding

Choice = Callable[[Sliding], tuple[Tiling, ...] | None]


def winograd(program: Program, machine: Machine, choose: Choice = tilings) -> Program:
    """The Program with stages in place of the contractions for which `choose` gives tiles."""
    maker = _Maker(program, machine, choose)
    phases = tuple(
        replace(phase, items=tuple(made for item in phase.items for made in maker.items(item)))
        for phase in program.phases
    )
    if not maker.scratch:
        return program
    scalars = tuple(dict.fromkeys((*program.scalars, *sorted(maker.scalars))))
    buffers = (*program.buffers, *maker.scratch.values())
    return replace(program, buffers=buffers, phases=phases, scalars=scalars)


@dataclass(slots=True)
class _Maker:
    program: Program
    machine: Machine
    choose: Choice
    scratch: dict[str, Buffer] = field(default_factory=dict)
    scalars: set[str] = field(default_factory=set)
    made: dict[Kernel, tuple[Item, ...]] = field(default_factory=dict)

    def items(self, item: Item) -> tuple[Item, ...]:
        """What stands for an item; a kernel of several phases is rewritten once."""
        if not isinstance(item, Kernel):
            return (item,)
        if item not in self.made:
            self.made[item] = self._stages(item)
        return self.made[item]

    def _stages(self, kernel: Kernel) -> tuple[Item, ...]:
        sliding = find_sliding(kernel, self.program)
        chosen = None if sliding is None else self.choose(sliding)
        if sliding is None or chosen is None:
            return (kernel,)
        blocks = frame(sliding, chosen, self.machine)
        rows = chosen[0].by_row
        role: Role = "private" if blocks.flat and rows else "scratch"
        width = lanes(sliding, blocks, chosen, self.machine)
        present = blocks.flat and blocks.items and not rows
        stages = Stages(sliding, chosen, blocks, role, width, present, self.program, self.machine)
        self.scratch.update((buffer.name, buffer) for buffer in stages.buffers())
        if present:
            self.scalars.add("items")
        return ordered(stages)


def ordered(stages: Stages) -> tuple[Item, ...]:
    """The stages as items: in a group, in a loop over blocks that are summed, or one by one."""
    blocks, outer = stages.frame, stages.frame.outer
    results = tuple(stages.results())
    if not blocks.flat or not outer:
        return (stages.data(), stages.taps(), stages.sums(), *results)
    if stages.rows:
        per = blocks.cuts[0].size if blocks.items else 0
        inner: tuple[Item, ...] = (stages.sums(), *results)
        if stages.steps.size > 1:
            inner = (Serial(stages.steps, False, inner),)
        return (stages.taps(), Group(outer, (stages.data(), *inner), per))
    several = any(a.size > 1 for a in outer)
    summed: tuple[Item, ...] = (stages.data(), stages.taps(), stages.sums(add=several))
    for a in reversed(outer):
        summed = (Serial(a, False, summed),)
    return (*((stages.clear(),) if several else ()), *summed, *results)
