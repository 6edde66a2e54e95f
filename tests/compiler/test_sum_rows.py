"""Gradients behind looked-up rows are summed over rows and stay what they were."""

from dataclasses import replace

import numpy as np
import pytest
from test_tabulate import built, values

from latte.compiler.expression import Axis, Fold
from latte.compiler.ir import Kernel, Program, changed, kernels
from latte.compiler.recur import recur
from latte.compiler.show import show_item
from latte.compiler.sum_rows import sum_rows
from latte.compiler.tabulate import tabulate
from latte.compiler.verify import verify

LAYERS = {
    "linear": "h = ReLU(Linear(Embedding(text, 9), 8))",
    "recurrent": "h = LSTM(Embedding(text, 9), 8)",
    "two users": "e = Embedding(text, 9); h = Linear(e, 8) + Tanh(Linear(e, 8))",
    "two tables": "h = Linear(Embedding(text, 9), 8) + Linear(Embedding(text, 12), 8)",
    "another user": "e = Embedding(text, 8); h = Linear(e, 8) + e",
}


def wide(layers: str, classes: int = 7) -> Program:
    """A net with eight results at each of 20 places."""
    return built(layers, classes, width=8)


def by_rows(program: Program, phase: str = "step") -> list[str]:
    """The kernels that add places up by rows."""
    return [k.name for k in kernels(program.phase(phase).items) if k.reason.endswith("by rows")]


@pytest.mark.parametrize("layers", LAYERS.values(), ids=LAYERS)
def test_gradients_and_parameters_stay(layers: str) -> None:
    before = tabulate(recur(wide(layers)))
    after = sum_rows(before)
    verify(after, "sum_rows")
    assert by_rows(after) and not by_rows(after, "backward")
    for phases in (("step",), ("step", "step"), ("forward", "backward", "update"), ("infer",)):
        expected, found = values(before, phases), values(after, phases)
        for buffer in before.buffers:
            np.testing.assert_allclose(
                found[buffer.name], expected[buffer.name], rtol=1e-9, atol=1e-12
            )


def test_places_are_added_up_once_for_all_who_sum_over_them() -> None:
    program = sum_rows(wide("h = Linear(Embedding(text, 9), 8)"))
    lines = "\n".join(show_item(item) for item in program.phase("step").items)
    assert by_rows(program) == ["h.out.grad.rows#2"]
    assert "h.out.grad.rows[text[n, t], j] += h.out.grad[n, t, j]" in lines
    assert (
        "h.weight.grad[size, i.0] = sum [row: 7] "
        "embedding1.weight[row, i.0] * h.out.grad.rows[row, size]" in lines
    )
    assert "embedding1.weight.grad[row, j] += sum [" in lines


@pytest.mark.parametrize(
    ("name", "axis", "size"), [("weight.grad#2", "j", 5), ("h.weight.grad", "t", 4)]
)
def test_sums_over_a_part_of_what_is_there(name: str, axis: str, size: int) -> None:
    """By hand: kernels that take only the first places of a buffer."""

    def less(axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
        return tuple(replace(a, size=size, symbol=None) if a.name == axis else a for a in axes)

    def part(kernel: Kernel) -> Kernel:
        if not kernel.name.endswith(name):
            return kernel
        [write] = kernel.writes
        fold = write.expression
        if isinstance(fold, Fold):
            fold = replace(fold, axes=less(fold.axes))
        return replace(kernel, axes=less(kernel.axes), writes=(replace(write, expression=fold),))

    whole = wide("h = Linear(Embedding(text, 9), 8)")
    phases = tuple(replace(p, items=changed(p.items, part)) for p in whole.phases)
    before = replace(whole, phases=phases)
    assert before != whole
    expected, found = values(before, ("step",)), values(sum_rows(before), ("step",))
    for buffer in before.buffers:
        np.testing.assert_allclose(found[buffer.name], expected[buffer.name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("layers", "classes"),
    [
        ("h = Linear(Embedding(text, 9), 8)", 11),  # 20 places look up
        ("h = Linear(Embedding(text, 3), 8)", 7),  # few sums for each row
        ("h = Linear(Embedding(text, 9) * 2.0, 8)", 7),  # no mere lookup
        ("h = Embedding(text, 8) * 3.0", 7),
    ],
)
def test_where_it_would_not_pay_nothing_changes(layers: str, classes: int) -> None:
    program = wide(layers, classes)
    assert sum_rows(program) is program
