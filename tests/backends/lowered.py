"""Runs a Program through lower and LLVM on packed arrays, and compares it with the oracle."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latte.codegen import interp
from latte.compiler.expression import Axis
from latte.compiler.ir import Buffer, Kernel, Program, Serial, nests
from latte.compiler.ir import kernels as kernels_of
from latte.compiler.lower import lower
from latte.compiler.lower_access import storage
from latte.compiler.machine import Machine, host
from latte.compiler.vector import FIRST_SCALAR, Lowered
from tests.backends.jit import aligned, call, compile_functions

KINDS = {"f32": "f4", "i32": "i4", "u8": "u1"}
Arrays = dict[str, NDArray[Any]]
Lowering = Callable[[Kernel, Program, Machine, tuple[Axis, ...]], Lowered]


def machine(width: int | None = None) -> Machine:
    """This machine, perhaps with narrower vectors."""
    here = host()
    return Machine(here.architecture, width or here.width, here.registers, here.fma)


def places(buffer: Buffer) -> NDArray[np.int64]:
    """For every logical index, the number of its element in storage."""
    stored = storage(buffer)
    shape = tuple(axis.size for axis in buffer.axes)
    grid = np.indices(shape) if shape else np.zeros((0,), int)
    flat = np.zeros(shape, np.int64)
    for dim, stride in zip(stored.dims, stored.strides, strict=True):
        place = grid[dim.axis] // dim.divide
        flat += ((place % dim.modulo if dim.modulo else place) + dim.before) * stride
    return flat


def pack(program: Program, logical: Arrays) -> Arrays:
    """Stored arrays; padding holds NaN, or 113."""
    stored: Arrays = {}
    for buffer in program.buffers:
        array = aligned(max(storage(buffer).elements, 1), KINDS[buffer.element])
        array[places(buffer)] = logical[buffer.name]
        stored[buffer.name] = array
    return stored


def scalars(program: Program, now: interp.Run) -> NDArray[np.int64]:
    """The block of slots of a call."""
    block = np.zeros(FIRST_SCALAR + len(program.scalars) + 2, np.int64)
    block[:4] = now.items, now.steps, now.seed, now.update
    for place, name in enumerate(program.scalars):
        block[FIRST_SCALAR + place : FIRST_SCALAR + place + 1].view("f4")[0] = now.scalars[name]
    return block


def run_lowered(
    program: Program, phase: str, arrays: Arrays, now: interp.Run, width: int | None = None,
    reverse_units: bool = False, lowering: Lowering = lower,
) -> NDArray[np.int64]:  # fmt: skip
    """Runs a phase on logical arrays, changed in place; gives the scalars block with its faults.
    `reverse_units` runs the units one by one, last to first: it must not matter."""
    every = list(nests(program.phase(phase).items))
    kernels = [kernel for kernel, _ in every]
    lowered = [lowering(kernel, program, machine(width), around) for kernel, around in every]
    functions = compile_functions([_renamed(low, i) for i, low in enumerate(lowered)], host().fma)
    ready = {id(k): (low, f) for k, low, f in zip(kernels, lowered, functions, strict=True)}
    stored, block = pack(program, arrays), scalars(program, now)

    def run(kernel: Kernel, *around: int) -> None:
        low, function = ready[id(kernel)]
        total = low.units.count(now.items)
        spans = [range(u, u + 1) for u in reversed(range(total))] if reverse_units else []
        for span in spans or [range(total)]:
            call(function, [stored[name] for name in low.buffers], block, around, span)

    for item in program.phase(phase).items:
        if isinstance(item, Serial):
            steps = range(interp.length(item.axis, now))
            for t in reversed(steps) if item.reverse else steps:
                for kernel in kernels_of(item.items):
                    run(kernel, t)
        else:
            assert isinstance(item, Kernel)
            run(item)
    for buffer in program.buffers:
        arrays[buffer.name][...] = stored[buffer.name][places(buffer)]
    return block


def _renamed(low: Lowered, place: int) -> Any:
    return replace(low.function, name=f"k{place}")


def compare(
    program: Program, inputs: Arrays, now: interp.Run, width: int | None = None,
    phase: str = "forward", tolerance: float = 2e-5, reverse_units: bool = False,
) -> Arrays:  # fmt: skip
    """Runs both and asserts that they agree; gives the arrays of the lowered code."""
    expected = interp.allocate(program)
    got = {name: np.copy(array).astype(np.float32 if array.dtype.kind == "f" else array.dtype)
           for name, array in expected.items()}  # fmt: skip
    for name, array in inputs.items():
        expected[name][...] = array
        got[name][...] = array
    interp.run(program, phase, expected, now)
    run_lowered(program, phase, got, now, width, reverse_units)
    for name, array in expected.items():
        scale = np.nanmax(np.abs(array), initial=1.0, where=np.isfinite(array))
        np.testing.assert_allclose(
            got[name], array, rtol=tolerance, atol=tolerance * scale, err_msg=name
        )
    return got
