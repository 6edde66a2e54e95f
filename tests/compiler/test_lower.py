"""Lowered code against the oracle: kinds of kernel, sizes, vector widths, layouts, orders."""

from dataclasses import replace

import numpy as np
import pytest

from latte.codegen.interp import Run
from latte.compiler.expression import Axis
from latte.compiler.ir import Buffer, Dim, Program
from tests.backends.lowered import Arrays, compare, run_lowered
from tests.compiler.kernels import MAKERS, embedding, pool, relu, softmax_rows

NOW = Run(items=3, steps=4, seed=123456789012, update=5,
          scalars={"items": 3.0, "solver.rate": 0.1})  # fmt: skip


def inputs(program: Program, seed: int = 0) -> Arrays:
    """Random values for all buffers; integers small enough for every index."""
    draw = np.random.default_rng(seed)
    made: Arrays = {}
    for buffer in program.buffers:
        shape = tuple(axis.size for axis in buffer.axes)
        if buffer.element == "f32":
            made[buffer.name] = draw.normal(size=shape).astype(np.float32)
        else:
            most = 3 if buffer.name != "label" else min(a.size for a in program.buffer("in").axes)
            made[buffer.name] = draw.integers(0, max(1, most), shape).astype(np.int32)
    return made


@pytest.mark.parametrize("width", [1, 4, 16])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 16, 19])
@pytest.mark.parametrize("name", MAKERS)
def test_equals_the_oracle(name: str, size: int, width: int) -> None:
    if size > 8 and width == 4:
        pytest.skip("sizes beyond two vectors are tested with 1 and 16 lanes")
    program = MAKERS[name](size)
    compare(program, inputs(program), NOW, width)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("name", [name for name in MAKERS if name not in ("softmax_rows",)])
def test_any_layout(name: str, seed: int) -> None:
    program = laid_out(MAKERS[name](5 + seed), seed)
    compare(program, inputs(program), NOW)


@pytest.mark.parametrize("size", [8, 12, 32])
@pytest.mark.parametrize("name", MAKERS)
def test_neighbouring_blocks_of_lanes(name: str, size: int) -> None:
    """Channels last, several vectors of them: long folds take their blocks together."""
    program = channels_last(MAKERS[name](size))
    compare(program, inputs(program), NOW, 4)


@pytest.mark.parametrize("name", MAKERS)
def test_any_order_of_units_gives_the_same_bits(name: str) -> None:
    program = MAKERS[name](17)
    forward, backward = inputs(program), inputs(program)
    run_lowered(program, "forward", forward, NOW)
    run_lowered(program, "forward", backward, NOW, reverse_units=True)
    for key, array in forward.items():
        np.testing.assert_array_equal(array, backward[key], err_msg=key)


def test_layouts_give_the_same_bits() -> None:
    """Where no sum is reassociated."""
    for seed in range(5):
        plain = relu(9) if seed % 2 else pool(9)
        changed, results = laid_out(plain, seed), []
        for program in (plain, changed):
            arrays = inputs(program)
            run_lowered(program, "forward", arrays, NOW)
            results.append(arrays["out"])
        np.testing.assert_array_equal(results[0], results[1])


def test_nan_and_infinity_pass() -> None:
    program = pool(9)
    arrays = inputs(program)
    flat = arrays["in"].reshape(-1)
    flat[::7], flat[::11], flat[::13] = np.nan, np.inf, -np.inf
    compare(program, arrays, NOW)


def test_ties_have_the_first_winner() -> None:
    program = pool(11)
    arrays = inputs(program)
    arrays["in"] = np.round(arrays["in"])
    compare(program, arrays, NOW)


@pytest.mark.parametrize("wrong", [-1, 7, 2**31 - 1])
@pytest.mark.parametrize("size", [1, 20])
def test_a_wrong_index_is_recorded(wrong: int, size: int) -> None:
    program = embedding(size)
    arrays = inputs(program)
    assert run_lowered(program, "forward", dict(arrays), NOW)[-2:].tolist() == [0, 0]
    arrays["word"][1, 2] = wrong
    block = run_lowered(program, "forward", arrays, NOW)
    assert block[-2] != 0 and block[-1] == wrong


def test_absent_items_are_not_touched() -> None:
    program = softmax_rows(6)
    arrays = inputs(program)
    before = arrays["out"].copy()
    run_lowered(program, "forward", arrays, NOW)
    np.testing.assert_array_equal(arrays["out"][3], before[3])
    assert not np.array_equal(arrays["out"][2], before[2])


def channels_last(program: Program) -> Program:
    """The second axis innermost, where there is one."""
    buffers = []
    for buffer in program.buffers:
        order = [place for place in range(len(buffer.axes)) if place != 1]
        order += [1] if len(buffer.axes) > 1 else []
        dims = tuple(Dim(place, buffer.axes[place].size) for place in order)
        buffers.append(replace(buffer, dims=dims))
    return replace(program, buffers=tuple(buffers))


def laid_out(program: Program, seed: int) -> Program:
    """The program with every buffer stored in some random way."""
    draw = np.random.default_rng(seed)
    return replace(program, buffers=tuple(_stored(buffer, draw) for buffer in program.buffers))


def _stored(buffer: Buffer, draw: np.random.Generator) -> Buffer:
    """Axes in any order, with borders; perhaps one of them split into blocks, inner or not."""
    order = draw.permutation(len(buffer.axes)).tolist()
    dims = [_bordered(place, buffer.axes[place], draw) for place in order]
    if dims and draw.integers(2):
        split = int(draw.integers(len(dims)))
        block = int(draw.choice([2, 4, 8, 16]))
        axis = dims[split].axis
        blocks = -(-buffer.axes[axis].size // block)
        dims[split] = Dim(axis, blocks + 1, divide=block, before=int(draw.integers(2)))
        inner = Dim(axis, block, modulo=block)
        dims.insert(int(draw.integers(split + 1, len(dims) + 1)), inner)
    return replace(buffer, dims=tuple(dims))


def _bordered(place: int, axis: Axis, draw: np.random.Generator) -> Dim:
    before, after = (int(x) for x in draw.integers(0, 3, 2))
    return Dim(place, before + axis.size + after, before=before)
