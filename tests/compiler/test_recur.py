"""Sums over inputs leave the serial loop; the values stay what they were."""

import numpy as np

from latte import build
from latte.codegen.interp import Arrays, Run, allocate, run
from latte.compiler.ir import Program, Serial
from latte.compiler.pipeline import program_of
from latte.compiler.recur import recur
from latte.compiler.show import show_item
from latte.compiler.verify import verify

NET = """
net Net {
    input x[@time, 4]
    input y[@time, 3]
    h = RNN(x, 3)
    loss MeanSquaredLoss(h, y)
}
"""


def test_the_input_part_is_one_kernel_over_all_steps() -> None:
    program = recur(built())
    items = program.phase("infer").items
    assert show_item(items[0]).splitlines() == [
        "kernel h.out.input [n: n, t: t, j: 3]  # forward",
        "    h.out.input[n, t, j] = sum [i.0: 4] h.wx[j, i.0] * x[n, t, i.0]",
    ]
    loop = next(item for item in items if isinstance(item, Serial))
    assert "h.wx" not in show_item(loop)


def test_values_and_gradients_stay() -> None:
    before, after = built(), recur(built())
    verify(after, "recur")
    expected, found = step(before), step(after)
    for name in ("h.out", "h.wx.grad", "h.wh.grad", "h.b.grad"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-12)


def built() -> Program:
    net = build.elaborate(build.read_text(NET, "test"), None, {})
    return program_of(net, batch=2, time=5)


def step(program: Program) -> Arrays:
    rng = np.random.default_rng(0)
    arrays = allocate(program)
    for buffer in program.buffers:
        if buffer.role in ("input", "parameter", "carried") and buffer.element == "f32":
            arrays[buffer.name][...] = rng.normal(size=arrays[buffer.name].shape)
    arrays["lengths"][...] = (5, 3)
    now = Run(items=2, steps=5, scalars={"items": 2.0, "steps": 8.0, "carry": 1.0})
    for phase in ("forward", "backward"):
        run(program, phase, arrays, now)
    return arrays
