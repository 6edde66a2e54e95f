"""What a search may choose from: every variant of a contraction gives the bits of the default."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from latte.codegen.interp import Run
from latte.compiler import contract, lower
from latte.compiler.contract_plan import plan
from latte.compiler.contract_variants import variants
from latte.compiler.contract_view import recognise
from latte.compiler.expression import Axis
from latte.compiler.ir import Kernel, Program, kernels
from latte.compiler.machine import Machine
from latte.compiler.vector import Lowered
from tests.backends.lowered import machine, run_lowered
from tests.compiler.contractions import (
    Convolution,
    activated,
    adding,
    convolution,
    linear,
    locally_connected,
)
from tests.compiler.test_contract import prepared, random_arrays

FORM = Convolution(7, 20, 80, (6, 5), (3, 3), pad=1)
TINY = replace(machine(), l1=2048, l2=8192)  # so that sums are cut into chunks

PROGRAMS = {
    "forward": convolution("forward", FORM),
    "weights": convolution("weights", FORM),
    "input": convolution("input", FORM),
    "groups": convolution("forward", Convolution(4, 32, 64, (5, 3), (3, 3), pad=1, groups=2)),
    "linear": linear("forward", 13, (90,), 70),
    "linear weights": linear("weights", 13, (90,), 70),
    "added": adding(activated(linear("input", 20, (40,), 30))),
    "local": locally_connected(5, 12, 20, 6, 2),
    "one item": linear("forward", 1, (90,), 700),
}


def lowering(number: int) -> object:
    """Takes the variant of that number of each contraction, the last where it has fewer."""

    def lowered(
        kernel: Kernel, program: Program, here: Machine, around: tuple[Axis, ...]
    ) -> Lowered:
        count = contract.count_variants(kernel, program, TINY)
        variant = min(number, count - 1) if count else 0
        tiled = contract.lower(kernel, program, TINY, around, variant)
        return tiled or lower.lower(kernel, program, TINY, around)

    return lowered


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_variant_gives_the_same_bits(name: str) -> None:
    program = prepared(PROGRAMS[name], TINY)
    count = max(contract.count_variants(k, program, TINY) for k in kernels(program.phases[0].items))
    assert count or name == "input"
    first = None
    for number in sorted({0, 1, count // 2, count - 1} - {-1}):
        arrays = random_arrays(program)
        run_lowered(
            program, "forward", arrays, Run(items=3, steps=1), None, False, lowering(number)
        )
        found = {b.name: arrays[b.name] for b in PROGRAMS[name].buffers}
        found = {n: a[:3] if n in ("in", "out") else a for n, a in found.items()}
        first = first or found
        for each, array in found.items():
            np.testing.assert_array_equal(array, first[each], f"{each} of variant {number}")


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_default_comes_first_and_none_twice(name: str) -> None:
    for here in (machine(), TINY):
        program = prepared(PROGRAMS[name], here)
        for kernel in kernels(program.phases[0].items):
            contraction = recognise(kernel, program)
            if contraction is not None:
                found = variants(contraction, here)
                assert not found or found[0] == plan(contraction, here)
                assert len(set(found)) == len(found)
                assert len({(v.lane, v.summed, v.chunks) for v in found}) <= 1
