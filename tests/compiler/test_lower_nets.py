"""Whole steps of random nets, every buffer stored in some random way, against the oracle."""

import numpy as np
import pytest

from latte import build
from latte.codegen.interp import Run
from latte.compiler.ir import Program
from latte.compiler.pipeline import program_of
from latte.compiler.simplify import simplify_program
from tests.backends.lowered import Arrays, compare
from tests.compiler.test_lower import laid_out
from tests.properties.random_nets import random_net

PERSISTENT = frozenset({"input", "parameter", "running", "state", "carried"})


@pytest.mark.parametrize("seed", [2, 7, 17, 28, 41, 54])
def test_random_layouts(seed: int) -> None:
    drawn = random_net(seed)
    net = build.elaborate(build.read_text(drawn.text, "random.latte"), None, {})
    steps, items = drawn.time or 1, max(1, drawn.batch - 1)
    program = laid_out(simplify_program(program_of(net, batch=drawn.batch, time=steps)), seed)
    known = {"items": float(items), "steps": float(items * steps)}
    scalars = {name: known.get(name, 0.01) for name in program.scalars}
    now = Run(items=items, steps=steps, seed=3, update=4, scalars=scalars)
    inputs = _inputs(program, seed, steps)
    compare(program, inputs, now, (1, 4, 8, 16)[seed % 4], phase="step", tolerance=2e-3)


def _inputs(program: Program, seed: int, steps: int) -> Arrays:
    draw = np.random.default_rng(seed)
    made: Arrays = {}
    for buffer in program.buffers:
        shape = tuple(axis.size for axis in buffer.axes)
        if buffer.role in PERSISTENT:
            normal = (draw.normal(size=shape) * 0.3).astype(np.float32)
            made[buffer.name] = normal if buffer.element == "f32" else draw.integers(0, 2, shape)
        if buffer.name == "lengths":
            made[buffer.name] = draw.integers(1, steps + 1, shape)
    return made
