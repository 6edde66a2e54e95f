"""Gathers are the inverse of scatters: any stride, dilation, padding, floor, sign and view."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latte.codegen.interp import Run, allocate, run
from latte.compiler.affine import Affine, axis, constant, digits
from latte.compiler.expression import Apply, Axis, Expression, Guard, Load
from latte.compiler.gather import Piece, Scatter, gather
from latte.compiler.ir import Buffer, Kernel, Phase, Program, Write
from latte.compiler.poly import image, ranges_of
from latte.compiler.show import show_item
from latte.compiler.simplify import ZERO
from latte.compiler.split import split_axes
from latte.compiler.tables import Names
from latte.compiler.verify import verify


@st.composite
def indices(draw: st.DrawFn) -> tuple[Affine, int, int]:
    """An index of a neuron axis y and a window axis k, and their sizes."""
    neurons, taps = draw(st.integers(1, 7)), draw(st.integers(1, 5))
    neuron, tap = axis("y"), axis("k")
    sign = draw(st.sampled_from([1, -1]))
    match draw(st.sampled_from(["window", "floor", "groups", "single"])):
        case "window":
            stride, dilation = draw(st.integers(1, 5)), draw(st.integers(1, 4))
            place = neuron * stride * sign + tap * dilation
        case "floor":
            place = (neuron + draw(st.integers(0, 3))) // draw(st.integers(2, 4)) + tap
        case "groups":
            place = neuron // draw(st.integers(1, 3)) * taps + tap
        case _:
            place = neuron * draw(st.integers(1, 4)) * sign
    return place - draw(st.integers(-3, 5)), neurons, taps


@settings(max_examples=150, deadline=None)
@given(indices(), st.integers(1, 12))
def test_a_gather_is_its_scatter(drawn: tuple[Affine, int, int], size: int) -> None:
    index, neurons, taps = drawn
    axes = (Axis("y", neurons), Axis("k", taps))
    target = (Axis("s", size),)
    box = image((index,), ranges_of(axes), (size,))
    if box[0][0] >= box[0][1]:
        return
    clipped = (Guard(index), Guard(constant(size - 1) - index))
    scatter = Scatter(axes, (index,), product(axis("y"), axis("k")), clipped)
    agree(scatter, target, gather(scatter, target, Names({"s", "y", "k"}), box), (neurons, taps))


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_gather_goes_through_a_view(step: int) -> None:
    """Neurons along a flat view of [4, 6] read two places each."""
    axes = (Axis("y", 8), Axis("k", 2))
    flat = axis("y") * step + axis("k")
    target = (Axis("a", 4), Axis("b", 6))
    scatter = Scatter(axes, (flat,), product(axis("y"), axis("k")))
    places = (axis("a") * 6 + axis("b"),)
    pieces = gather(scatter, target, Names({"a", "b", "y", "k"}), places=places)
    forward = digits(flat, (4, 6))
    agree(Scatter(axes, forward, scatter.expression), target, pieces, (8, 2))


def test_convolution_with_stride_goes_by_residue_class() -> None:
    axes = (Axis("y", 4), Axis("k", 3))
    scatter = Scatter(axes, (axis("y") * 2 + axis("k") - 1,), product(axis("y"), axis("k")))
    pieces = gather(scatter, (Axis("s", 8),), Names({"s", "y", "k"}))
    assert text(pieces) == (
        "[s: 4] out[2*s] = up[s] * w[1]\n"
        "[s: 4] out[2*s + 1] = sum [k_2: 2] where k_2 - s + 2 >= 0: "
        "up[-k_2 + s + 1] * w[2*k_2]"
    )


def test_a_window_as_wide_as_its_stride_is_a_division() -> None:
    axes = (Axis("y", 4), Axis("k", 2))
    scatter = Scatter(axes, (axis("y") * 2 + axis("k"),), product(axis("y"), axis("k")))
    pieces = gather(scatter, (Axis("s", 8),), Names({"s", "y", "k"}))
    assert text(pieces) == "[s: 4, s_2: 2] out[2*s + s_2] = up[s] * w[s_2]"


def product(neuron: Affine, tap: Affine) -> Expression:
    return Apply("mul", (Load("up", (neuron,)), Load("w", (tap,))))


def kernel(piece: Piece) -> Kernel:
    value = ZERO if piece.expression is None else piece.expression
    return split_axes(Kernel("out", piece.axes, (), (Write("out", piece.index, value),)))


def text(pieces: list[Piece] | None) -> str:
    assert pieces is not None
    rows = [show_item(kernel(piece)).removeprefix("kernel out ") for piece in pieces]
    return "\n".join(" ".join(row.split()) for row in rows)


def agree(
    scatter: Scatter, target: tuple[Axis, ...], pieces: list[Piece] | None, sizes: tuple[int, int]
) -> None:
    """The pieces verify, and give what the scatter gives; every element is set at most once."""
    assert pieces is not None
    add = Write("out", scatter.index, scatter.expression, add=True)
    first = Kernel("scatter", scatter.axes, (), (add,), scatter.where)
    buffers = (
        Buffer("out", target, "scratch", "out"),
        Buffer("up", (Axis("y", sizes[0]),), "input", "up"),
        Buffer("w", (Axis("k", sizes[1]),), "input", "w"),
    )
    kernels = tuple(kernel(piece) for piece in pieces)
    phases = (Phase("one", (first,)), Phase("two", kernels))
    program = Program("gather", buffers, phases)
    verify(replace(program, phases=phases[1:]))
    rng = np.random.default_rng(0)
    arrays = allocate(program)
    arrays["up"][...], arrays["w"][...] = rng.normal(size=sizes[0]), rng.normal(size=sizes[1])
    results = []
    for phase in ("one", "two"):
        arrays["out"][...] = 0
        run(program, phase, arrays, Run())
        results.append(arrays["out"].copy())
    np.testing.assert_allclose(results[1], results[0], atol=1e-12)
