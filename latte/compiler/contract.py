"""Contractions, which are nearly all the arithmetic: one generator of register-tiled code.

In: any Kernel of a Program.  Out: vector code at 60 to 100 % of the machine's multiply-adds, or
None where the kernel is no contraction, or no axis can have the lanes; lower.py takes those.

    kernel conv.out [n, f: 64, y: 27, x: 27]  =  bias[f] + sum [c, ky, kx] weight * image
    ->  units: blocks of 4 vectors of f x tiles of 6 n;  chunks of c;  y, x;
        24 accumulators summed over ky, kx, c

`contract_view` finds the sum of products, `contract_join` joins its axes,
`contract_spread` lets lanes run over several groups,
`contract_plan` chooses lanes, tile and order,
`contract_emit` writes the loops, `contract_dot` those whose lanes are summed,
`contract_result` what is made of the sum.
"""

from __future__ import annotations

from math import prod

from latte.compiler.contract_dot import DotNest
from latte.compiler.contract_emit import Nest, emit
from latte.compiler.contract_join import join
from latte.compiler.contract_plan import plan
from latte.compiler.contract_result import emits
from latte.compiler.contract_spread import spread_view
from latte.compiler.contract_variants import variants
from latte.compiler.contract_view import Contraction
from latte.compiler.expression import Axis
from latte.compiler.ir import Kernel, Program
from latte.compiler.machine import Machine
from latte.compiler.vector import Lowered, Units


def lower(
    kernel: Kernel, program: Program, machine: Machine, around: tuple[Axis, ...] = (),
    variant: int = 0,
) -> Lowered | None:  # fmt: skip
    """The code of a contraction for this machine, or None where another lowering must do.
    `around` are the axes of the loops and groups it is in, the outermost first; `variant` numbers
    the plans of `contract_variants`, which all give the same bits."""
    contraction = view(kernel, program, machine)
    if contraction is None or not emits(contraction):
        return None
    chosen = variants(contraction, machine)[variant] if variant else plan(contraction, machine)
    if chosen is None:
        return None
    nest = DotNest if chosen.summed_lanes else Nest
    function, buffers = emit(
        kernel.name, contraction, chosen, machine.width, program.scalars, around, nest
    )
    points = multiplications(contraction) // chosen.units
    return Lowered(function, buffers, Units(chosen.units, False, points))


def count_variants(kernel: Kernel, program: Program, machine: Machine) -> int:
    """How many variants of a contraction there are to choose from; 0 for other kernels."""
    contraction = view(kernel, program, machine)
    if contraction is None or not emits(contraction):
        return 0
    return len(variants(contraction, machine))


def view(kernel: Kernel, program: Program, machine: Machine) -> Contraction | None:
    """The kernel as a contraction with as few axes as can be, or None where it is none."""
    found = spread_view(kernel, program, machine)
    return None if found is None else join(found)


def multiplications(contraction: Contraction) -> int:
    """How many multiply-adds the contraction takes where no window is clipped."""
    return prod(a.size for a in (*contraction.axes, *contraction.summed))
