"""Every kind of statement, printed, compiled and run."""

from collections.abc import Callable

import numpy as np
import pytest

from latte.codegen.llvm import module
from latte.compiler.builder import Builder
from latte.compiler.values import Term
from latte.compiler.vector import F32, I32
from tests.backends.jit import aligned, call, compile_functions

Body = Callable[[Builder, Term, Term], None]


def run(body: Body, count: int = 32, fma: bool = True) -> np.ndarray:
    """Runs a body on x = 0, 1, 2, ... and gives the output, -1 where nothing was stored."""
    b = Builder("test")
    body(b, b.pointer("x", readonly=True), b.pointer("out"))
    [function] = compile_functions([b.function()], fma)
    x, out = aligned(count), aligned(count, fill=-1.0)
    x[:] = np.arange(count)
    call(function, [x, out], np.zeros(8, np.int64), (3,), range(1))
    return out


@pytest.mark.parametrize("lanes", [2, 4, 8, 16])
def test_masks_touch_no_other_lane(lanes: int) -> None:
    def body(b: Builder, x: Term, out: Term) -> None:
        mask = b.lane_numbers(lanes, "i32") < lanes - 1
        value = b.load(x, 1, lanes, mask=mask)
        b.store(value, out, 0)
        b.store(b.splat(7.0, lanes), out, lanes, mask=mask)

    got = run(body)
    assert got[: lanes - 1].tolist() == list(range(1, lanes))
    assert got[lanes - 1] == 0 and got[2 * lanes - 1] == -1
    assert (got[lanes : 2 * lanes - 1] == 7).all()


def test_a_masked_scalar_may_lie_outside() -> None:
    def body(b: Builder, x: Term, out: Term) -> None:
        absent = b.place(0) > 5
        b.store(b.load(x, b.place(0) * (1 << 40), mask=absent), out, 0)
        b.store(9.0, out, b.place(0) * (1 << 40), mask=absent)
        b.store(b.load(x, b.place(0), mask=b.place(0) > 2), out, 1)

    assert run(body)[:3].tolist() == [0, 3, -1]


def test_gather_and_scatter() -> None:
    def body(b: Builder, x: Term, out: Term) -> None:
        numbers = b.lane_numbers(8, "i32")
        value = b.load(x, numbers * 3)
        b.store(value, out, 7 - numbers, mask=numbers.ne(2))

    assert run(body)[:8].tolist() == [21, 18, 15, 12, 9, -1, 3, 0]


def test_shuffles() -> None:
    def body(b: Builder, x: Term, out: Term) -> None:
        low, high = b.load(x, 0, 4), b.load(x, 4, 4)
        b.store(b.shuffle(high, low, range(2 * high.type.lanes)), out, 0)
        b.store(b.shuffle(low, high, [7, 0, 6, 1]), out, 8)
        b.store(b.extract(high, 2), out, 12)

    assert run(body)[:13].tolist() == [4, 5, 6, 7, 0, 1, 2, 3, 7, 0, 6, 1, 6]


def test_conversions_saturate() -> None:
    def body(b: Builder, x: Term, out: Term) -> None:
        large = b.load(x, 1, 4) * 1e20
        as_integer = b.convert(large, "i32")
        b.store(b.convert(as_integer, "f32"), out, 0)
        infinite = large * float("inf")
        nothing = infinite - infinite
        b.store(b.convert(b.convert(nothing, "i32"), "f32"), out, 4)
        b.store(b.convert(b.convert(b.load(x, 0, 4) + 254.0, "u8"), "f32"), out, 8)

    got = run(body)
    assert (got[:4] == 2.0**31).all() and (got[4:8] == 0).all()
    assert got[8:12].tolist() == [254, 255, 255, 255]


def test_reductions_add_in_one_order() -> None:
    def body(b: Builder, x: Term, out: Term) -> None:
        values = b.load(x, 0, 4) + 0.1
        b.store(b.reduce("sum", values), out, 0)
        b.store(b.convert(b.reduce("any", values > 3.0), "f32"), out, 1)
        b.store(b.convert(b.reduce("all", values > 3.0), "f32"), out, 2)

    x = np.arange(4, dtype=np.float32) + np.float32(0.1)
    assert run(body)[:3].tolist() == [(x[0] + x[2]) + (x[1] + x[3]), 1, 0]


def test_loops_variables_and_branches() -> None:
    def body(b: Builder, x: Term, out: Term) -> None:
        total, places = b.variable(F32, 0.0), b.variable(I32, 0)
        with b.loop(b.place(0), 10, 2) as place:
            with b.when(b.load(x, place) > 6.0):
                total.set(total.value + b.load(x, place))
            with b.otherwise():
                places.set(places.value + 1)
            b.prefetch(x, place + 4)
        with b.loop(10, b.place(0)):
            total.set(-1.0)
        b.store(total.value, out, 0)
        b.store(b.convert(places.value, "f32"), out, 1)

    assert run(body)[:2].tolist() == [16, 2]


def test_integers_divide_downwards() -> None:
    def body(b: Builder, x: Term, out: Term) -> None:
        numbers = b.lane_numbers(16, "i32") - 8
        b.store(b.convert(numbers // 3, "f32"), out, 0)
        b.store(b.convert(numbers % 3, "f32"), out, 16)

    expected = np.arange(-8, 8)
    got = run(body)
    assert got[:16].tolist() == (expected // 3).tolist()
    assert got[16:].tolist() == (expected % 3).tolist()


def test_scratch_and_nontemporal_stores() -> None:
    def body(b: Builder, x: Term, out: Term) -> None:
        memory = b.scratch(16)
        b.store(b.load(x, 0, 16), memory, 0, alignment=64)
        b.store(b.load(memory, 8, 8), out, 0, alignment=32, nontemporal=True)

    assert run(body)[:8].tolist() == list(range(8, 16))


def test_without_fma_a_product_and_a_sum() -> None:
    def body(b: Builder, x: Term, out: Term) -> None:
        value = b.load(x, 1, 4) * (1.0 + 2.0**-12)
        b.store(b.fma(value, value, -1.0), out, 0)

    assert "llvm.fma" not in module([], fma=False)
    x = np.arange(1, 5, dtype=np.float32) * np.float32(1 + 2.0**-12)
    assert run(body, fma=False)[:4].tolist() == (x * x - np.float32(1)).tolist()
    assert run(body)[0] == np.float32(float(x[0]) ** 2 - 1)


def test_text_is_the_same_every_time() -> None:
    def made() -> str:
        b = Builder("test")
        value = b.call("exp", b.load(b.pointer("x"), 0, 16))
        b.store(value, b.pointer("out"), 0)
        return module([b.function()])

    assert made() == made()
    assert "fast" not in made() and "reassoc" not in made()
