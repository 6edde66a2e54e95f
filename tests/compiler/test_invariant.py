"""What few axes decide is computed once; values stay what they were."""

import numpy as np
import pytest

from latte import build
from latte.codegen.interp import Run, allocate, run
from latte.compiler.affine import axis
from latte.compiler.expression import Apply, Axis, Load, Number
from latte.compiler.invariant import invariant
from latte.compiler.ir import Buffer, Kernel, Phase, Program, Write
from latte.compiler.pipeline import program_of
from latte.compiler.show import show_item
from latte.compiler.verify import verify

NORM = "x = image -> Conv(4, kernel = 3) -> BatchNorm -> ReLU"
NETS = {
    "batch norm": NORM,
    "layer norm": "x = image -> Conv(4, kernel = 3) -> LayerNorm",
    "group norm": "x = image -> Conv(4, kernel = 3) -> GroupNorm(2)",
    "two": NORM + " -> Conv(4, kernel = 3) -> BatchNorm",
}


def built(layers: str) -> Program:
    text = f"""
net Net {{
    input image[2, 12, 12]
    input y[3]
    {layers}
    out = Linear(x, 3)
    loss MeanSquaredLoss(out, y)
}}
train Net {{ solver Momentum(rate = 0.1) }}
"""
    return program_of(build.elaborate(build.read_text(text, "test"), None, {}), batch=4)


@pytest.mark.parametrize("layers", NETS.values(), ids=NETS)
def test_values_gradients_and_parameters_stay(layers: str) -> None:
    before = built(layers)
    after = invariant(before)
    verify(after, "invariant")
    for phase in ("step", "infer", "predict"):
        expected, found = allocate(before), allocate(after)
        rng = np.random.default_rng(0)
        for buffer in before.buffers:
            if buffer.element == "f32":
                expected[buffer.name][...] = rng.uniform(0.5, 2, expected[buffer.name].shape)
                found[buffer.name][...] = expected[buffer.name]
        now = Run(items=3, scalars=dict.fromkeys(before.scalars, 0.5) | {"items": 3.0})
        run(before, phase, expected, now)
        run(after, phase, found, now)
        for buffer in before.buffers:
            np.testing.assert_allclose(
                found[buffer.name], expected[buffer.name], rtol=1e-9, atol=1e-9
            )


def test_in_inference_it_is_in_front_of_all() -> None:
    first, *rest = invariant(built(NORM)).phase("predict").items
    assert show_item(first).splitlines()[1].strip() == (
        "batchnorm1.out.steady1[ch] = 1 / sqrt(batchnorm1.variance[ch] + 1e-05)"
    )
    assert all("sqrt" not in show_item(item) for item in rest)


@pytest.mark.parametrize("changes", [False, True])
def test_what_changes_in_between_is_computed_again(changes: bool) -> None:
    """out = x / sqrt(v), then v = 4 perhaps, then again = x / sqrt(v): one root, or two."""
    n, c = Axis("n", 32), Axis("c", 3)
    place = (axis("n"), axis("c"))
    root = Apply("sqrt", (Load("v", (axis("c"),)),))
    ratio = Apply("div", (Load("x", place), root))
    out, again = (Kernel(k, (n, c), (), (Write(k, place, ratio),)) for k in ("out", "again"))
    change = Kernel("v", (c,), (), (Write("v", (axis("c"),), Number(4.0)),))
    items = (out, change, again) if changes else (out, again)
    buffers = tuple(Buffer(name, (n, c), "value", name) for name in ("x", "out", "again"))
    whole = (*buffers, Buffer("v", (c,), "value", "v"))
    before = Program("P", whole, (Phase("forward", items),))
    after = invariant(before)
    verify(after, "invariant")
    assert len(after.phases[0].items) - len(items) == 1 + changes
    arrays = allocate(after)
    arrays["x"][...], arrays["v"][...] = 6.0, 9.0
    run(after, "forward", arrays, Run())
    np.testing.assert_allclose(arrays["out"], 2.0)
    np.testing.assert_allclose(arrays["again"], 3.0 if changes else 2.0)
