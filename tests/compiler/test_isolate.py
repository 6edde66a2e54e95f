"""Sums of products get kernels of their own: what becomes of a kernel, as text."""

from __future__ import annotations

import numpy as np

from latte import build
from latte.codegen import interp
from latte.codegen.interp import Run
from latte.compiler.affine import axis
from latte.compiler.contract_parts import find_parts
from latte.compiler.expression import Apply, Axis, Fold, Load, Number, Position
from latte.compiler.ir import Buffer, Kernel, Phase, Program, Write, expressions, kernels
from latte.compiler.isolate import factors, isolate, normal
from latte.compiler.machine import host
from latte.compiler.pipeline import program_of, stages
from latte.compiler.rewrite import walk
from latte.compiler.show import show, show_program
from latte.compiler.verify import verify
from tests.compiler.contractions import names, recurrent

N, J, K = Axis("n", 4, "n"), Axis("j", 12), Axis("k", 10)
WEIGHT, SOURCE = Load("w", names((J, K))), Load("x", names((N, K)))
PRODUCT = Apply("mul", (WEIGHT, SOURCE))
LATER = Apply("ge", (Position(axis("n") - 1), Number(0.0)))


def test_sums_of_a_recurrent_kernel() -> None:
    program = isolate(recurrent(4, 3, 10, 12))
    verify(program, "isolate")
    text = show_program(program)
    assert "h.sum[n, t, j] = sum [i: 10] wx[j, i] * x[n, t, i]" in text
    assert "h.sum1[n, j] = sum [k: 12] where t - 1 >= 0: wh[j, k] * h[n, t - 1, k]" in text
    assert text.index("h.sum[n, t, j] =") < text.index("serial t")


def test_signs_factors_and_conditions_move_out_of_sums() -> None:
    body = Apply("neg", (Apply("select", (LATER, PRODUCT, Number(0.0))),))
    moved = normal(Fold("sum", (K,), body))
    assert moved is not None
    assert show(moved) == "-(if (n - 1) >= 0 then sum [k: 10] w[j, k] * x[n, k] else 0)"


def test_a_condition_inside_a_sum_goes_to_a_factor() -> None:
    early = Apply("ge", (Position(axis("k") - 1), Number(0.0)))
    parts = factors(Apply("select", (early, PRODUCT, Number(0.0))))
    assert [show(part) for part in parts] == ["if (k - 1) >= 0 then w[j, k] else 0", "x[n, k]"]


def test_a_factor_that_is_more_than_a_load_gets_a_buffer() -> None:
    program = with_body(Apply("mul", (WEIGHT, Apply("tanh", (SOURCE,)))))
    after = isolate(program)
    verify(after, "isolate")
    assert "out.factor[n, k] = tanh(x[n, k])" in show_program(after)
    results = []
    for each in (program, after):
        arrays = interp.allocate(each)
        draw = np.random.default_rng(0)
        for name in ("w", "x"):
            arrays[name][...] = draw.normal(size=arrays[name].shape)
        interp.run(each, "forward", arrays, Run(items=3))
        results.append(arrays["out"][:3])
    np.testing.assert_allclose(results[0], results[1])


def test_sums_without_reuse_are_left_alone() -> None:
    """Each element of `x` is used once: nothing is gained by a buffer."""
    program = with_body(Apply("mul", (SOURCE, SOURCE)))
    assert isolate(program) is program


def with_body(body: Apply) -> Program:
    """`out[n, j] = sum [k] body`."""
    buffers = (
        Buffer("w", (J, K), "parameter", "w"),
        Buffer("x", (N, K), "value", "x"),
        Buffer("out", (N, J), "value", "out"),
    )
    write = Write("out", names((N, J)), Fold("sum", (K,), body))
    kernel = Kernel("out", (N, J), (), (write,))
    return Program("test", buffers, (Phase("forward", (kernel,)),))


def test_sums_inside_a_maximum_and_its_gradients_are_contractions() -> None:
    """A maxout convolution: one sum for the maximum and its winner; where the winner was, in the
    gradients, is a factor of its own."""
    text = """
neuron Best(x[i...], weight[k, i...]) = max(k) sum(i) weight[k, i] * x[i]
layer Maxout(source[c, h, w], filters) {
    param weight[filters, 3, c, 3, 3] = xavier(c * 9)
    ensemble out[f: filters, y: h, x: w] =
        Best(source[:, y - 1 ..+ 3, x - 1 ..+ 3], weight[f])
}
net Net {
    input image[4, 6, 5]
    input y[2]
    one = Maxout(Tanh(Maxout(image, 6)), 4)
    out = Linear(one, 2)
    loss MeanSquaredLoss(out, y)
}
"""
    net = build.elaborate(build.read_text(text, "test"), None, {})
    before = program_of(net, batch=3)
    after = isolate(before)
    verify(after, "isolate")
    found = show_program(after)
    assert found.count("max [") > 0 and ".sum1[n, f, y, x, k" in found
    kernels = [k for phase in after.phases for k in phase.items if isinstance(k, Kernel)]
    folds = [n for k in kernels for e in expressions(k) for n in walk(e) if isinstance(n, Fold)]
    nested = [fold for fold in folds if any(isinstance(n, Fold) for n in walk(fold.body))]
    assert nested == []
    expected, got = interp.allocate(before), interp.allocate(after)
    rng = np.random.default_rng(0)
    for buffer in before.buffers:
        if buffer.role in ("input", "parameter"):
            expected[buffer.name][...] = rng.normal(size=expected[buffer.name].shape)
            got[buffer.name][...] = expected[buffer.name]
    now = Run(items=2, scalars={"items": 2.0})
    for phase in ("forward", "backward"):
        interp.run(before, phase, expected, now)
        interp.run(after, phase, got, now)
    for buffer in before.buffers:
        if buffer.role in ("value", "gradient", "parameter gradient"):
            np.testing.assert_allclose(
                got[buffer.name], expected[buffer.name], rtol=1e-9, atol=1e-12, err_msg=buffer.name
            )


def test_a_factor_of_the_step_before_is_computed_ahead() -> None:
    """max(prev(h), 0) is made for all steps at once: the gradient of what it is multiplied with is
    a contraction over items and steps."""
    text = """
neuron Rectified(x[i...], wx[i...], h[k], wh[k]) =
    tanh(sum(i) wx[i] * x[i] + sum(k) wh[k] * max(h[k], 0))
layer Own(source[i...], size) {
    param wx[size, i...] = xavier(size(i))
    param wh[size, size] = xavier(size)
    ensemble out[j: size] = Rectified(source[...], wx[j], prev(out)[:], wh[j])
}
net Net {
    input xs[@time, 9]
    input ys[@time, 32]
    loss MeanSquaredLoss(Own(xs, 32), ys)
}
"""
    net = build.elaborate(build.read_text(text, "test"), None, {})
    after = dict(stages(program_of(net, batch=16, time=5), host()))["isolate"]
    made = {k.name: k for k in kernels(after.phase("backward").items)}
    parts = find_parts(made["own1.wh.grad.sum"])
    assert parts is not None and [a.symbol for a in parts.fold.axes] == ["n", "t"]
    assert "own1.wh.grad.factor" in {load.buffer for load in parts.factors}
