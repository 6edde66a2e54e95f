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

from latte.compiler.ir import Buffer, Item, Kernel, Program
from latte.compiler.machine import Machine
from latte.compiler.winograd_cost import tilings
from latte.compiler.winograd_stages import Stages, Tiling
from latte.compiler.winograd_view import Sliding, find_sliding

Choice = Callable[[Sliding, Machine], tuple[Tiling, ...] | None]


def winograd(program: Program, machine: Machine, choose: Choice = tilings) -> Program:
    """The Program with stages in place of the contractions for which `choose` gives tiles."""
    maker = _Maker(program, machine, choose)
    phases = tuple(
        replace(phase, items=tuple(made for item in phase.items for made in maker.items(item)))
        for phase in program.phases
    )
    if not maker.scratch:
        return program
    return replace(program, buffers=(*program.buffers, *maker.scratch.values()), phases=phases)


@dataclass(slots=True)
class _Maker:
    program: Program
    machine: Machine
    choose: Choice
    scratch: dict[str, Buffer] = field(default_factory=dict)
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
        chosen = None if sliding is None else self.choose(sliding, self.machine)
        if sliding is None or chosen is None:
            return (kernel,)
        stages = Stages(sliding, chosen, self.program, self.machine)
        self.scratch.update((buffer.name, buffer) for buffer in stages.buffers())
        return stages.kernels()
