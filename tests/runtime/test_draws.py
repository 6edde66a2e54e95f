"""First values by generated code are those of NumPy, bit for bit, in every layout."""

from dataclasses import replace

import numpy as np
import pytest

import latte
from latte.compiler.affine import axis
from latte.compiler.expression import Apply, Axis, Number, Position, Random
from latte.compiler.ir import Buffer, Dim
from latte.compiler.lower_initial import LONGEST, lower_initial, rows
from latte.compiler.machine import host
from latte.runtime import arrays
from latte.runtime.cache import Cache
from latte.runtime.draws import Draws
from latte.runtime.initial import First, first_values
from latte.runtime.jit import Jit
from tests.runtime import small

DRAW = Random("uniform", 0)
XAVIER = Apply("sub", (Apply("mul", (DRAW, Number(0.7))), Apply("sqrt", (Number(0.1),))))

LAYOUTS = {
    "row major": ((5, 3, 3), ()),
    "nothing": ((), ()),
    "one long row": ((LONGEST + 77, 3), ()),
    "blocks of lanes": ((37, 5, 3), (Dim(0, 3, 16), Dim(2, 3), Dim(1, 5), Dim(0, 16, 1, 16))),
    "whole blocks": ((32, 6), (Dim(0, 2, 16), Dim(1, 6), Dim(0, 16, 1, 16))),
    "inner rows first": ((4, 50), (Dim(1, 4, 16), Dim(0, 4), Dim(1, 16, 1, 16))),
    "transposed": ((6, 7), (Dim(1, 7), Dim(0, 6))),
    "three levels": ((6, 24), (Dim(1, 2, 16), Dim(0, 6), Dim(1, 4, 4, 4), Dim(1, 4, 1, 4))),
    "padded at the end": ((6, 7), (Dim(0, 6), Dim(1, 16))),
}


def draws() -> Draws:
    return Draws(Jit(host(), Cache(None)), host(), 2)


def buffer(sizes: tuple[int, ...], dims: tuple[Dim, ...]) -> Buffer:
    axes = tuple(Axis(f"a{place}", size) for place, size in enumerate(sizes))
    return Buffer("w", axes, "parameter", "w", dims=dims)


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_has_the_values_of_the_oracle(name: str) -> None:
    form = buffer(*LAYOUTS[name])
    memory = arrays.allocate(arrays.stored_bytes(form) + 64)
    first = First("conv.weight", form.axes, XAVIER, seed=11)
    assert draws().fill(first, form, memory)
    found, expected = arrays.Place(form, memory), arrays.Place(form, np.zeros_like(memory))
    assert np.array_equal(found.read(tuple(a.size for a in form.axes)), first.values())
    expected.write(first.values())
    assert np.array_equal(found.stored, expected.stored), "padding was touched"


def test_borders_and_padding_between_rows_are_left_to_numpy() -> None:
    for dims in ((Dim(0, 8, before=1), Dim(1, 8)), (Dim(0, 8), Dim(1, 8))):
        assert rows(buffer((6, 8), dims)) is None


def test_what_is_not_arithmetic_of_uniform_draws_is_left_to_numpy() -> None:
    assert lower_initial(Random("normal", 0)) is None
    assert lower_initial(Position(axis("f"))) is None
    assert lower_initial(Apply("exp", (DRAW,))) is None


def test_one_function_serves_all_parameters_of_a_net() -> None:
    net = latte.load("examples/02_lenet_mnist/net.latte").elaborated
    forms = [first.form for first in first_values(net, 0)]
    drawn = {lower_initial(form) for form in forms if not isinstance(form, Number)}
    assert len(drawn) == 1 and None not in drawn


@pytest.mark.parametrize("guard", ["0", "1"])
def test_initialize_begins_again(guard: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """States are zero again too, and the seed alone decides."""
    monkeypatch.setenv("LATTE_GUARD", guard)
    fresh, used = (small.net().compile(seed=5) for _ in range(2))
    for key in used.params:
        used.params[key] = np.ones_like(used.params[key])
    data = {name: array[:8] for name, array in small.data().items()}
    used.step(**data)
    used.initialize()
    assert small.same(small.weights(fresh), small.weights(used))
    for name, state in used.solver_state.items():
        assert not state.any(), name
    used.initialize(6)
    assert not small.same(small.weights(fresh), small.weights(used))


def test_a_number_everywhere_and_a_running_value() -> None:
    first = First("b", (Axis("f", 3),), Number(0.5), 0)
    assert first.values().tolist() == [0.5] * 3 and not first.is_zero
    assert replace(first, initial=Apply("sub", (Number(0.5), Number(0.5)))).is_zero
