"""Every form of connection, backwards: derived gradients against finite differences."""

import numpy as np
import pytest

from latte import build
from latte.codegen.interp import Arrays, Run, allocate, run
from latte.compiler.ir import Program
from latte.compiler.pipeline import program_of
from latte.compiler.verify import verify

BATCH, TIME, STEP = 2, 4, 1e-6

CASES = {
    "a stride, a dilation and a border": """input x[2, 9, 8]
        param w[2, 3, 3] = normal()
        ensemble a[y: 5, z: 4] = Product(x[:, 2*y - 1 ..+ 3, 2*z - 2 ..+ 3 by 2], w)""",
    "a window wider than what it slides over": """input x[4]
        param w[7] = normal()
        ensemble a[y: 3] = Product(x[3*y - 3 ..+ 7], w)""",
    "backwards": "input x[6]\nensemble a[y: 3] = Sum(x[5 - 2*y ..+ 2])",
    "up-sampling by what does not divide": """input x[3]
        ensemble a[y: 5] = Identity(x[(y + 1) // 2])""",
    "groups of channels": """input x[6, 3]
        param w[4, 3, 2] = normal()
        ensemble a[f: 4, y: 2] = Product(x[f // 2 * 3 ..+ 3, y ..+ 2], w[f])""",
    "a diagonal": "input x[4, 4]\nensemble a[i: 4] = Identity(x[i, i])",
    "a constant place and a slice": """input x[5]
        ensemble a = Identity(x[3])
        ensemble b[i: 2] = Identity(x[i + 2])""",
    "windows that overlap and leave a gap": """input x[9]
        ensemble a[y: 2] = Max(x[5*y ..+ 3])
        ensemble b[y: 2] = Mean(x[y + 1 ..+ 2])""",
    "a join of different things": """input x[3, 2]
        param p[2, 2] = normal()
        c = Tanh(x)
        d = reshape(flatten(c), [2, 3])
        ensemble e[i: 2, j: 2] = Identity(p[i, j])
        j = join(c, transpose(d, [1, 0]), e, axis = 0)
        a = Tanh(j)""",
    "a convolution over another shape": """input x[4, 6]
        param w[3, 2] = normal()
        r = reshape(x, [3, 8])
        ensemble a[y: 3, z: 4] = Product(r[y - 1 ..+ 3, 2*z ..+ 2], w)""",
    "an embedding": """input x[3]
        input word[3]: class(4)
        param table[4, 2] = normal()
        ensemble a[i: 3, j: 2] = Identity(table[word[i], j])
        ensemble b[i: 3, j: 2] = Output(a[i, j], x[i])""",
    "a window that begins at a value": """input x[6]
        input word: class(6)
        ensemble a = Sum(x[word - 1 ..+ 3])""",
    "all items": """input x[3]
        ensemble m[i: 3] = Mean(items(x)[:, i])
        ensemble v[i: 3] = Variance(items(x)[:, i], m[i])
        ensemble a[i: 3] = Standardize(x[i], m[i], v[i], m[0], 1, 0.1)""",
    "each item sees all": "input x[3]\nensemble a[i: 3] = Max(items(x)[:, i])\nb = a * x",
    "the step before, with a first value": """input x[@time, 2]
        param h0[2] = normal()
        ensemble h[j: 2] = Cell(x[j], x[1 - j], prev(h, initial = h0)[j], prev(x)[j])""",
    "the step after, with a first value": """input x[@time, 2]
        param h0[2] = normal()
        param w[2, 2] = normal()
        ensemble s[j: 2] = Product(next(h, initial = h0)[:], w[j])
        h = Tanh(s + x)""",
    "the last step": "input x[@time, 2]\nh = RNN(x, 3)\nensemble a[j: 3] = Tanh(last(h)[j])",
    "all steps": """input x[@time, 2]
        param w[2] = normal()
        ensemble a[j: 2] = Max(steps(x)[:, j])
        ensemble b[j: 2] = Mean(steps(x)[:, j])
        ensemble c[j: 2] = Product(a[:], w)
        d = c + b""",
    "each step sees all": """input x[@time, 2]
        ensemble score = Sum(x[:])
        ensemble top = Max(steps(score)[:])
        ensemble total = ShiftedTotal(steps(score)[:], top)
        a = SoftmaxShare(score, top, total)""",
    "items of sequences": "input x[@time, 2]\nensemble m[j: 2] = Mean(items(x)[:, j])\na = x * m",
    "a product and a least": """input x[2, 4]
        ensemble a[i: 2] = Together(x[i])""",
}
NEURONS = """
neuron Together(x[i]) = prod(i) (x[i] + 1) * min(i) x[i] ** 2
"""


@pytest.mark.parametrize("case", CASES)
def test_gradient(case: str) -> None:
    body = CASES[case]
    names = [line.split("=")[0].split("[")[0].split()[-1] for line in body.splitlines()]
    names = [n for n in names if n not in ("x", "word", "d" if "join" in body else "")]
    losses = "\n".join(f"loss Wave({name})" for name in names if name in ("a", "b", "d", "h"))
    text = f"{NEURONS}\nneuron Wave(x) = sin(2 * x) + x\nnet Net {{\n{body}\n{losses}\n}}"
    net = build.elaborate(build.read_text(text, "test"), None, {})
    program = program_of(net, batch=BATCH, time=TIME, gradients=("x",))
    verify(program)
    check(program, ["x", *(entry.name for entry in net.parameters)])


def check(program: Program, names: list[str]) -> None:
    """All elements of the named buffers, moved a little in either direction."""
    arrays = filled(program)
    loss(program, arrays)
    run(program, "backward", arrays, now())
    for name in names:
        derived = arrays[f"{name}.grad"].copy()
        measured = np.zeros_like(derived)
        for place in np.ndindex(derived.shape):
            values = []
            kept = arrays[name][place]
            for move in (STEP, -STEP):
                arrays[name][place] = kept + move
                values.append(loss(program, arrays))
            arrays[name][place] = kept
            measured[place] = (values[0] - values[1]) / (2 * STEP)
        np.testing.assert_allclose(derived, measured, atol=1e-7, err_msg=name)


def loss(program: Program, arrays: Arrays) -> float:
    run(program, "forward", arrays, now())
    return float(arrays["result.loss"])


def now() -> Run:
    return Run(BATCH, TIME, scalars={"items": BATCH, "steps": TIME + 2, "carry": 0.0})


def filled(program: Program) -> Arrays:
    rng = np.random.default_rng(1)
    arrays = allocate(program)
    for buffer in program.buffers:
        array = arrays[buffer.name]
        if buffer.name == "lengths":
            array[...] = (TIME, 2)
        elif buffer.element == "i32":
            array[...] = rng.integers(0, 4, array.shape)
        elif buffer.role in ("input", "parameter", "running", "carried"):
            array[...] = rng.normal(size=array.shape)
    return arrays
