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

from latte.compiler.expression import Axis
from latte.compiler.ir import Buffer, Group, Item, Kernel, Program, Serial
from latte.compiler.machine import Machine
from latte.compiler.winograd_blocks import blocks
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
        cut = blocks(sliding, chosen, self.machine)
        present = cut.frame.flat and cut.frame.items and not chosen[0].by_row
        stages = Stages(sliding, chosen, cut, present, self.program, self.machine)
        self.scratch.update((buffer.name, buffer) for buffer in stages.buffers())
        if present:
            self.scalars.add("items")
        return ordered(stages)


def ordered(stages: Stages) -> tuple[Item, ...]:
    """The stages as items, in the loops that their blocks ask for."""
    frame, results = stages.frame, tuple(stages.results())
    outer, parts = frame.outer, tuple(cut.block for cut in stages.blocks.parts)
    per = frame.cuts[0].size if frame.items else 0
    match stages.blocks.order:
        case "apart":
            return (stages.data(), stages.taps(), stages.sums(), *results)
        case "tiles":
            inner = _serial(parts, (stages.sums(), *results))
            return (stages.taps(), Group(outer, (stages.data(), *inner), per))
        case "lanes":
            factors = (*_serial(outer, (stages.data(),)), stages.taps())
            return (*factors, Group((*outer, *parts), (stages.sums(), *results), per))
        case "added":
            several = any(a.size > 1 for a in outer)
            summed = _serial(outer, (stages.data(), stages.taps(), stages.sums(add=several)))
            return (*((stages.clear(),) if several else ()), *summed, *results)
        case "sums":
            factors = _serial(outer, (stages.data(), stages.taps()))
            return (*factors, Group(parts, (stages.sums(), *results)))


def _serial(axes: tuple[Axis, ...], items: tuple[Item, ...]) -> tuple[Item, ...]:
    """The items in loops, one inside the other."""
    for a in reversed(axes):
        items = (Serial(a, False, items),)
    return items
