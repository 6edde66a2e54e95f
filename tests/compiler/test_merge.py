"""Kernels of a loop over time become one; the values stay what they were."""

import numpy as np
import pytest

from latte import build
from latte.compiler.affine import axis
from latte.compiler.expression import Apply, Axis, Load
from latte.compiler.ir import Buffer, Kernel, Phase, Program, Serial, Write, kernels
from latte.compiler.isolate import isolate
from latte.compiler.merge import merge
from latte.compiler.pipeline import program_of
from latte.compiler.recur import recur
from latte.compiler.verify import verify
from tests.compiler.test_recur import step

NETS = {
    "LSTM": "h = LSTM(x, 3)",
    "GRU": "h = GRU(x, 3)",
    "RNN": "h = RNN(x, 3)",
    "two": "h = x -> LSTM(5) -> GRU(3)",
}


@pytest.mark.parametrize("layers", NETS.values(), ids=NETS)
def test_values_and_gradients_stay(layers: str) -> None:
    before = isolate(recur(built(layers)))
    after = merge(before)
    verify(after, "merge")
    expected, found = step(before), step(after)
    names = [b.name for b in before.buffers if b.role in ("value", "parameter gradient")]
    for name in names:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-12, err_msg=name)


def test_a_step_of_an_lstm_has_one_sum_and_one_map() -> None:
    program = merge(isolate(recur(built("h = LSTM(x, 3)"))))
    for phase in ("forward", "backward"):
        (loop,) = (item for item in program.phase(phase).items if isinstance(item, Serial))
        assert len(kernels(loop.items)) == 2


def test_a_neighbour_s_value_keeps_kernels_apart() -> None:
    """b reads a at another place of i: it has to wait for all of a; c does not."""
    i, t = Axis("i", 8), Axis("t", 4, "t")
    buffers = tuple(Buffer(name, (t, i), "value", name) for name in "abc")
    place, here = axis("i"), (axis("t"), axis("i"))

    def kernel(name: str, value: Load) -> Kernel:
        return Kernel(name, (i,), (), (Write(name, here, Apply("neg", (value,))),))

    a = Kernel("a", (i,), (), (Write("a", here, Load("x", (place,))),))
    b = kernel("b", Load("a", (axis("t"), (place + 1) % 8)))
    c = kernel("c", Load("b", here))
    loop = Serial(t, False, (a, b, c))
    program = Program(
        "P", (Buffer("x", (i,), "input", "x"), *buffers), (Phase("forward", (loop,)),)
    )
    (merged,) = merge(program).phases[0].items
    assert isinstance(merged, Serial)
    assert [len(each.writes) for each in kernels(merged.items)] == [1, 2]


def built(layers: str) -> Program:
    text = f"""
net Net {{
    input x[@time, 4]
    input y[@time, 3]
    {layers}
    loss MeanSquaredLoss(h, y)
}}
"""
    return program_of(build.elaborate(build.read_text(text, "test"), None, {}), batch=2, time=5)
