"""Sums of products get kernels of their own: what becomes of a kernel, as text."""

from __future__ import annotations

import numpy as np

from latte.codegen import interp
from latte.codegen.interp import Run
from latte.compiler.affine import axis
from latte.compiler.expression import Apply, Axis, Fold, Load, Number, Position
from latte.compiler.ir import Buffer, Kernel, Phase, Program, Write
from latte.compiler.isolate import factors, isolate, normal
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
