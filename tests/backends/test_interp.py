"""The oracle against NumPy written by hand: folds, guards, selects, scatters, time, randomness."""

import numpy as np
import pytest

from latte.codegen import interp
from latte.compiler import random
from latte.compiler.affine import axis, constant
from latte.compiler.expression import Apply, Axis, Fold, Load, Number, Position, Random
from latte.compiler.ir import Buffer, Kernel, Phase, Program, Serial, Write
from tests.compiler.programs import convolution

ROW, COLUMN, T = axis("i"), axis("j"), axis("t")


def _program(buffers: dict[str, tuple[Axis, ...]], *items: Kernel | Serial) -> Program:
    made = tuple(Buffer(name, axes, "value", name) for name, axes in buffers.items())
    return Program("test", made, (Phase("forward", items),))


@pytest.mark.parametrize("limit", [1 << 21, 40])
def test_convolution(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(interp, "LARGEST_GRID", limit)
    program = convolution()
    arrays = interp.allocate(program)
    draw = np.random.default_rng(0)
    arrays["image"][...] = draw.normal(size=arrays["image"].shape)
    arrays["weight"][...] = draw.normal(size=arrays["weight"].shape)
    interp.run(program, "forward", arrays, interp.Run(items=3))
    padded = np.pad(arrays["image"], [(0, 0), (0, 0), (1, 1)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, 3, axis=2)
    expected = np.einsum("fck,ncyk->nfy", arrays["weight"], windows)
    np.testing.assert_allclose(arrays["out"][:3], expected[:3])
    assert np.isnan(arrays["out"][3]).all(), "items that are not there are not computed"
    np.testing.assert_array_equal(arrays["best"][:3], expected[:3].argmax(-1))


def test_the_side_not_chosen_is_not_read() -> None:
    index = ROW - 1
    shifted = Apply("select", (Apply("gt", (Position(ROW), Number(0.0))), Load("x", (index,)), ONE))
    axes = (Axis("i", 3),)
    kernel = Kernel("y", axes, (), (Write("y", (ROW,), shifted),))
    program = _program({"x": axes, "y": axes}, kernel)
    arrays = interp.allocate(program)
    arrays["x"][...] = [5.0, 6.0, 7.0]
    interp.run(program, "forward", arrays, interp.Run())
    assert arrays["y"].tolist() == [1.0, 5.0, 6.0]


ONE = Number(1.0)


def test_an_index_outside_is_an_error() -> None:
    axes = (Axis("i", 3),)
    kernel = Kernel("y", axes, (), (Write("y", (ROW,), Load("x", (ROW + 1,))),))
    program = _program({"x": axes, "y": axes}, kernel)
    with pytest.raises(AssertionError, match="index 3 of x is outside"):
        interp.run(program, "forward", interp.allocate(program), interp.Run())


def test_a_scatter_adds_and_checks_its_index() -> None:
    axes, rows = (Axis("i", 4),), (Axis("r", 3),)
    write = Write("table", (Load("word", (ROW,)),), ONE, add=True)
    program = _program({"word": axes, "table": rows}, Kernel("s", axes, (), (write,)))
    arrays = interp.allocate(program)
    arrays["word"][...], arrays["table"][...] = [2, 0, 2, 2], 0
    interp.run(program, "forward", arrays, interp.Run())
    assert arrays["table"].tolist() == [1.0, 0.0, 3.0]
    arrays["word"][1] = 3
    with pytest.raises(interp.IndexOutOfRange, match="index 3 of table"):
        interp.run(program, "forward", arrays, interp.Run())


def test_serial_steps_see_the_one_before() -> None:
    time = Axis("t", 5, "t")
    before = Apply("select", (Apply("eq", (Position(T), Number(0.0))), ONE, Load("h", (T - 1,))))
    kernel = Kernel("h", (), (), (Write("h", (T,), Apply("mul", (before, Number(2.0)))),))
    program = _program({"h": (time,)}, Serial(time, False, (kernel,)))
    arrays = interp.allocate(program)
    interp.run(program, "forward", arrays, interp.Run(steps=4))
    assert arrays["h"][:4].tolist() == [2.0, 4.0, 8.0, 16.0]


def test_nan_wins_and_empty_folds_are_neutral() -> None:
    axes = (Axis("i", 2), Axis("j", 3))
    largest = Fold("max", axes[1:], Load("x", (ROW, COLUMN)))
    empty = Fold("sum", (Axis("k", 2),), ONE, where=())
    kernel = Kernel("m", axes[:1], (), (Write("m", (ROW,), largest), Write("c", (ROW,), empty)))
    program = _program({"x": axes, "m": axes[:1], "c": axes[:1]}, kernel)
    arrays = interp.allocate(program)
    arrays["x"][...] = [[1.0, np.nan, 3.0], [4.0, 9.0, 2.0]]
    interp.run(program, "forward", arrays, interp.Run())
    assert np.isnan(arrays["m"][0])
    assert arrays["m"][1] == 9.0
    assert arrays["c"].tolist() == [2.0, 2.0]


def test_draws_depend_on_seed_step_stream_and_index_alone() -> None:
    axes = (Axis("i", 1000),)

    def draws(kind: str, seed: int = 1, update: int = 2, stream: int = 3) -> np.ndarray:
        expression = Random(kind, stream, ROW + constant(7))
        return interp.evaluate(expression, axes, interp.Run(seed=seed, update=update))

    uniform, normal = draws("uniform"), draws("normal")
    assert uniform.min() >= 0 and uniform.max() < 1
    assert abs(uniform.mean() - 0.5) < 0.05
    assert abs(normal.mean()) < 0.1 and abs(normal.std() - 1) < 0.1
    for other in ({"seed": 2}, {"update": 3}, {"stream": 4}):
        assert np.mean(draws("uniform", **other) == uniform) < 0.01
    key = random.key(1, 2, 3)
    np.testing.assert_array_equal(uniform, random.uniform(key, np.arange(1000) + 7))
