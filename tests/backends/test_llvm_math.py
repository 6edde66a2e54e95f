"""The elementary functions against float64, in units in the last place, over all floats."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from latte.compiler.builder import Builder
from latte.compiler.machine import host
from latte.compiler.vector import Function
from tests.backends.jit import aligned, call, compile_functions

Floats = NDArray[np.float32]
LANES = 16


def _function(name: str, lanes: int = LANES) -> Function:
    b = Builder(name)
    x, y, out = b.pointer("x", True), b.pointer("y", True), b.pointer("out")
    with b.loop(b.first, b.last) as unit:
        at = unit * lanes
        operands = [b.load(x, at, lanes), b.load(y, at, lanes)][: 2 if name == "pow" else 1]
        b.store(b.call(name, *operands), out, at)
    return b.function()


def _apply(name: str, x: Floats, y: Floats | None = None, lanes: int = LANES) -> Floats:
    count = -(-len(x) // lanes) * lanes
    first, second, out = (aligned(count, fill=0.5) for _ in range(3))
    first[: len(x)] = x
    if y is not None:
        second[: len(x)] = y
    [function] = compile_functions([_function(name, lanes)], host().fma)
    call(function, [first, second, out], np.zeros(8, np.int64), (), range(count // lanes))
    return np.asarray(out[: len(x)])


def _floats(least: float, most: float, count: int = 1 << 18) -> Floats:
    """Floats evenly spread over the bit patterns of a range around zero, both signs."""
    top = np.float32(most).view(np.int32)
    positive = np.linspace(0, int(top), count).astype(np.int32).view(np.float32)
    both = np.concatenate([positive, -positive])
    linear = np.linspace(least, most, count).astype(np.float32)
    return np.concatenate([both, linear])[: 3 * count]


def _distance(got: Floats, exact: NDArray[np.float64]) -> NDArray[np.float64]:
    """The error in units in the last place of the exact result; NaN must meet NaN."""
    with np.errstate(all="ignore"):
        rounded = exact.astype(np.float32)
        spacing = np.spacing(np.abs(rounded)).astype(np.float64)
        error = np.abs(got.astype(np.float64) - exact) / spacing
    same = (got == rounded) | (np.isnan(got) & np.isnan(rounded))
    return np.where(same, np.minimum(np.nan_to_num(error), 0.5), np.nan_to_num(error, nan=np.inf))


erf = np.vectorize(math.erf, otypes=[np.float64])
CASES: list[tuple[str, Callable[..., NDArray[np.float64]], float, float, float]] = [
    ("exp", np.exp, -110, 3e38, 2.0),
    ("log", np.log, -3e38, 3e38, 2.0),
    ("tanh", np.tanh, -12, 3e38, 2.0),
    (
        "sigmoid",
        lambda x: np.where(x < 0, np.exp(x), 1) / (1 + np.exp(-np.abs(x))),
        -110,
        3e38,
        2.5,
    ),
    ("erf", erf, -5, 3e38, 2.0),
    ("sin", np.sin, -1e5, 1e5, 2.0),
    ("cos", np.cos, -1e5, 1e5, 2.0),
]
SPECIAL = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 1e-38, 1.0, -1.0], "f4")


@pytest.mark.parametrize(("name", "exact", "least", "most", "bound"), CASES)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_errors(name: str, exact: Callable[..., NDArray[np.float64]], least: float, most: float,
                bound: float) -> None:  # fmt: skip
    x = np.concatenate([_floats(least, most), np.linspace(-20, 20, 100001).astype("f4"), SPECIAL])
    error = _distance(_apply(name, x), exact(x.astype(np.float64)))
    worst = int(error.argmax())
    assert error[worst] <= bound, f"{name}({x[worst]!r}) is wrong by {error[worst]} units"


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_powers() -> None:
    draw = np.random.default_rng(1)
    x = np.exp(draw.uniform(-80, 80, 1 << 18)).astype("f4")
    y = (draw.uniform(-88, 88, len(x)) / np.log(x)).astype("f4")
    error = _distance(_apply("pow", x, y), np.power(x.astype("f8"), y.astype("f8")))
    assert error.max() <= 2.0


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_special_powers() -> None:
    values = [0.0, 1.0, -1.0, 2.0, -2.0, 3.0, -3.0, 0.5, -0.5, np.inf, -np.inf, np.nan, 1e-45, 3e38]
    x, y = (grid.ravel().astype("f4") for grid in np.meshgrid(values, values))
    error = _distance(_apply("pow", x, y), np.power(x.astype("f8"), y.astype("f8")))
    wrong = [(float(a), float(b)) for a, b in zip(x[error > 2], y[error > 2], strict=True)]
    assert not wrong


@pytest.mark.parametrize("lanes", [1, 4, 8])
@pytest.mark.parametrize("name", ["exp", "tanh", "pow"])
def test_any_width_gives_the_same_bits(name: str, lanes: int) -> None:
    x = np.abs(np.linspace(-9, 9, 333).astype("f4"))
    wide, narrow = _apply(name, x, x), _apply(name, x, x, lanes)
    np.testing.assert_array_equal(wide.view(np.int32), narrow.view(np.int32))
