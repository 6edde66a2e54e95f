"""Sums over looked-up rows are looked up in a table of sums; values stay what they were."""

import numpy as np
import pytest

from latte import build
from latte.codegen.interp import Arrays, Run, allocate, run
from latte.compiler.derive import derive
from latte.compiler.ir import Kernel, Program, kernels
from latte.compiler.pipeline import program_of
from latte.compiler.recur import recur
from latte.compiler.show import show_item
from latte.compiler.tabulate import tabulate
from latte.compiler.verify import verify

LAYERS = {
    "linear": "h = ReLU(Linear(Embedding(text, 9), 6))",
    "recurrent": "h = LSTM(Embedding(text, 9), 6)",
    "two": "e = Embedding(text, 9); h = Linear(e, 6) + Tanh(Linear(e, 6))",
    "chain": "h = Linear(Linear(Embedding(text, 9), 12), 6)",
}


def built(layers: str, classes: int = 7, batch: int = 4, time: int = 5, width: int = 6) -> Program:
    text = f"""
net Net {{
    input text[@time]: class({classes})
    input y[@time, {width}]
    {layers}
    loss MeanSquaredLoss(h, y)
}}
train Net {{ solver Adam(rate = 0.1) }}
"""
    net = build.elaborate(build.read_text(text, "test"), None, {})
    return program_of(net, batch=batch, time=time)


def tables(program: Program, phase: str) -> list[str]:
    return [k.name for k in kernels(program.phase(phase).items) if ".table" in k.name]


@pytest.mark.parametrize("layers", LAYERS.values(), ids=LAYERS)
def test_values_gradients_and_parameters_stay(layers: str) -> None:
    before = recur(built(layers))
    after = tabulate(before)
    verify(after, "tabulate")
    assert tables(after, "step")
    for phases in (("step",), ("forward", "backward", "update"), ("infer",)):
        expected, found = values(before, phases), values(after, phases)
        for buffer in before.buffers:
            np.testing.assert_allclose(
                found[buffer.name], expected[buffer.name], rtol=1e-12, atol=1e-12
            )


def values(program: Program, phases: tuple[str, ...]) -> Arrays:
    arrays = allocate(program)
    for buffer in program.buffers:
        rng = np.random.default_rng(len(buffer.name))
        if buffer.element == "f32" and buffer.role in ("input", "parameter", "state"):
            arrays[buffer.name][...] = rng.uniform(0.1, 1, arrays[buffer.name].shape)
    arrays["text"][...] = np.random.default_rng(0).integers(0, 7, arrays["text"].shape)
    arrays["lengths"][...] = (5, 3, 4, 1)
    scalars = dict.fromkeys(program.scalars, 0.5) | {"items": 3.0, "steps": 12.0, "carry": 0.0}
    for phase in phases:
        run(program, phase, arrays, Run(items=3, steps=5, scalars=scalars))
    return arrays


def test_a_table_has_a_sum_for_each_row() -> None:
    program = tabulate(built("h = Linear(Embedding(text, 9), 6)"))
    table, looking = (
        show_item(item).splitlines()[1].strip()
        for item in program.phase("predict").items
        if isinstance(item, Kernel) and item.writes[0].buffer != "embedding1.out"
    )
    assert table == (
        "h.out.table[row, j] = sum [i.0: 9] h.weight[j, i.0] * embedding1.weight[row, i.0]"
    )
    assert looking == "h.out[n, t, j] = h.bias[j] + h.out.table[text[n, t], j]"


def test_in_inference_it_depends_on_parameters_alone() -> None:
    phase = derive(tabulate(recur(built(LAYERS["recurrent"])))).phase("predict")
    assert [k.name for k in kernels(phase.items[: phase.steady])] == ["h.gate.input.table"]


@pytest.mark.parametrize(
    ("layers", "classes"),
    [
        ("h = Linear(Embedding(text, 9), 6)", 11),  # 20 places look up
        ("h = Linear(Embedding(text, 3), 6)", 7),  # sums are short
        ("h = Linear(Embedding(text, 9) * 2.0, 6)", 7),  # no mere lookup
        ("e = Embedding(text, 6); h = e * e", 7),
    ],
)
def test_where_it_would_not_pay_nothing_changes(layers: str, classes: int) -> None:
    program = built(layers, classes)
    assert tabulate(program) is program
