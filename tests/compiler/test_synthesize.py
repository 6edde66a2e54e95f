"""Programs as text: what becomes of connections, and what gradients are made of."""

from textwrap import dedent

import numpy as np
import pytest

from latte import build
from latte.codegen.interp import Run, allocate, run
from latte.compiler.ir import Program, kernels
from latte.compiler.pipeline import program_of
from latte.compiler.show import show_item
from latte.compiler.verify import verify

FORWARD = {
    "a guard that always holds is dropped": (
        "input x[6]\nparam w[3] = 0\nensemble a[y: 6] = Product(x[y - 1 ..+ 3], w)\nloss a",
        """\
        kernel a [n: n, y: 6]
            a[n, y] = sum [i.0: 3] where i.0 + y - 1 >= 0, -i.0 - y + 6 >= 0: """
        "w[i.0] * x[n, i.0 + y - 1]",
    ),
    "a count is a length": (
        "input x[5]\nensemble a[y: 3] = Mean(x[2*y ..+ 2])\nloss a",
        """\
        kernel a [n: n, y: 3]
            a[n, y] = sum [i.0: 2] where -i.0 - 2*y + 4 >= 0: x[n, i.0 + 2*y] / """
        "max(0, min(1, (-2*y + 4)) + 1)",
    ),
    "a view is read through, without division": (
        "input x[2, 3]\nf = flatten(x)\nparam w[6] = 0\nensemble a = Product(f[:], w)\nloss a",
        """\
        kernel a [n: n]
            a[n] = sum [i.0: 2, i.0_2: 3] w[3*i.0 + i.0_2] * x[n, i.0, i.0_2]""",
    ),
    "groups become axes": (
        "input x[4]\nparam w[6, 2] = 0\n"
        "ensemble a[f: 6] = Product(x[f // 3 * 2 ..+ 2], w[f])\nloss a",
        """\
        kernel a [n: n, f: 2, f_2: 3]
            a[n, 3*f + f_2] = sum [i.0: 2] w[3*f + f_2, i.0] * x[n, 2*f + i.0]""",
    ),
    "a value as an index": (
        "input word: class(9)\nparam table[9, 2] = 0\n"
        "ensemble a[j: 2] = Identity(table[word, j])\nloss a",
        """\
        kernel a [n: n, j: 2]
            a[n, j] = table[word[n], j]""",
    ),
    "another step": (
        "input x[@time, 2]\nensemble a[j: 2] = Identity(next(x)[j])\nloss a",
        """\
        kernel a [n: n, t: t, j: 2]
            a[n, t, j] = if (t + 1) < lengths[n] then x[n, t + 1, j] else 0""",
    ),
    "steps that are there": (
        "input x[@time, 2]\nensemble a[j: 2] = Sum(steps(x)[:, j])\nloss a",
        """\
        kernel a [n: n, j: 2]
            a[n, j] = sum [i.0: t] (if i.0 < lengths[n] then x[n, i.0, j] else 0)""",
    ),
}

GRADIENTS = {
    "two readers, one sum": (
        "input x[2]\na = Tanh(x)\nb = Tanh(a)\nc = a + b\nloss c",
        "a.grad",
        ["a.grad[n, d0] = b.grad[n, d0] * (1 - b[n, d0] * b[n, d0]) + c.grad[n, d0]"],
    ),
    "slices that do not meet are set": (
        "input x[4, 2]\na = Tanh(x)\nensemble b[j: 2] = Output(a[0, j], a[2, j])\nloss b",
        "a.grad",
        [
            "a.grad[n, 0, d1] = ",
            "a.grad[n, 2, d1] = ",
            "a.grad[n, 1, d1] = 0",
            "a.grad[n, 3, d1] = 0",
        ],
    ),
    "what is read twice is set, then added to": (
        "input x[4]\na = Tanh(x)\nensemble b = Sum(a[0 ..+ 3])\nensemble c = Sum(a[2 ..+ 2])\n"
        "loss b\nloss c",
        "a.grad",
        ["a.grad[n, d0] = b.grad[n]", "a.grad[n, 3] = 0", "a.grad[n, d0 + 2] += c.grad[n]"],
    ),
    "an embedding scatters into a cleared table": (
        "input word[5]: class(9)\nparam table[9, 2] = 0\n"
        "ensemble a[i: 5, j: 2] = Identity(table[word[i], j])\nloss a",
        "table.grad",
        ["table.grad[d0, d1] = 0", "table.grad[word[n, i], j] += a.grad[n, i, j]"],
    ),
    "up-sampling sums what it repeated": (
        "input x[3]\na = Tanh(x)\nensemble b[y: 6] = Identity(a[y // 2])\nloss b",
        "a.grad",
        ["a.grad[n, d0] = sum [y_3: 2] b.grad[n, 2*d0 + y_3]"],
    ),
}


@pytest.mark.parametrize("case", FORWARD)
def test_values(case: str) -> None:
    body, expected = FORWARD[case]
    program = built(body)
    found = show_item(next(k for k in kernels(program.phase("infer").items) if k.name == "a"))
    assert found.replace("  # forward", "") == dedent(expected)


@pytest.mark.parametrize("case", GRADIENTS)
def test_gradients(case: str) -> None:
    body, buffer, expected = GRADIENTS[case]
    program = built(body, gradients=("x",) if "input x" in body else ())
    found = [
        show_item(kernel).splitlines()[-1].strip()
        for kernel in kernels(program.phase("backward").items)
        if kernel.writes[0].buffer == buffer
    ]
    assert len(found) == len(expected)
    for line, start in zip(found, expected, strict=True):
        assert line.startswith(start)


def test_the_loss_is_a_mean_over_steps_that_are_there() -> None:
    program = built("input x[@time, 2]\na = 3 * x\nloss a")
    arrays = allocate(program)
    arrays["x"][...] = np.arange(16.0).reshape(2, 4, 2)
    arrays["lengths"][...] = (4, 1)
    run(program, "infer", arrays, Run(2, 4, scalars={"items": 2.0, "steps": 5.0}))
    present = [*range(8), 8, 9]
    assert arrays["result.loss"] == pytest.approx(3 * np.mean(present))


def test_inference_computes_no_batch_statistics() -> None:
    program = built("input x[3]\na = BatchNorm(x)\nloss a")
    assert {kernel.name for kernel in kernels(program.phase("predict").items)} == {"a.out"}


def test_a_program_for_inference_has_no_gradients() -> None:
    body = "input x[3]\na = Linear(x, 2)\nloss a"
    program = built(body, mode="infer")
    assert [phase.name for phase in program.phases] == ["infer", "predict"]
    assert not any(buffer.name.endswith(".grad") for buffer in program.buffers)


def test_gradients_of_inputs_on_request() -> None:
    body = "input x[3]\na = Linear(x, 2)\nloss a"
    names = {buffer.name for buffer in built(body, gradients=("x",)).buffers}
    assert "x.grad" in names
    assert "x.grad" not in {buffer.name for buffer in built(body).buffers}


def test_a_solver_with_a_total_norm_sees_all_parameters_first() -> None:
    body = """solver Clipped(rate = 1) {
        update { param -= rate * grad / max(1, total_norm(grad)) }
    }
    train Net { solver Clipped() }"""
    program = built("input x[3]\na = Linear(x, 2)\nloss a", more=body)
    names = [kernel.name for kernel in kernels(program.phase("update").items)]
    assert names[-2:] == ["a.weight", "a.bias"]
    assert all("norm" in name for name in names[:-2])


def built(
    body: str, more: str = "", mode: str = "train", gradients: tuple[str, ...] = ()
) -> Program:
    text = f"net Net {{\n{body}\n}}\n{more}"
    net = build.elaborate(build.read_text(text, "test"), None, {})
    program = program_of(net, batch=2, time=4, mode=mode, gradients=gradients)
    verify(program)
    return program
