"""Contractions of single items or channels: an interior without clipped windows, and its edges."""

from __future__ import annotations

import pytest

from latte.compiler.contract import view
from latte.compiler.contract_plan import plan
from latte.compiler.crop import crop, interior
from latte.compiler.ir import Kernel, Program, kernels
from latte.compiler.layout import layout
from latte.compiler.machine import Machine
from latte.compiler.pack import pack
from latte.compiler.verify import verify
from tests.compiler.contractions import Convolution, convolution
from tests.compiler.test_contract import check

WIDE = Machine("x86_64", width=16, registers=32, fma=True, l1=48 * 1024, l2=2 << 20)
FORMS = [
    Convolution(1, 16, 64, (13, 12), (3, 3), pad=1),
    Convolution(1, 5, 20, (19,), (4,), stride=2, pad=2),
    Convolution(1, 4, 40, (6, 14), (3, 3), pad=2, dilation=2),
    Convolution(1, 32, 64, (9, 4), (5, 3), pad=2, groups=2),
    Convolution(1, 16, 32, (5, 6, 7), (3, 3, 3), pad=1),
]

DEPTHWISE = [
    Convolution(16, 128, 128, (12, 13), (3, 3), pad=1, groups=128),
    Convolution(16, 40, 40, (11, 12), (5, 3), stride=2, pad=2, groups=40),
    Convolution(16, 64, 64, (4, 6, 9), (3, 3, 3), pad=1, groups=64),
    Convolution(16, 32, 32, (50,), (5,), pad=4, dilation=2, groups=32),
]


def single(form: Convolution) -> Program:
    return pack(layout(convolution("forward", form), WIDE), WIDE)


def first(form: Convolution) -> Kernel:
    return kernels(single(form).phases[0].items)[-1]


def test_an_interior_has_rows_and_edges_are_columns() -> None:
    made = crop(single(FORMS[0]), WIDE)
    verify(made, "crop")
    found = {k.name: tuple(a.size for a in k.axes[2:]) for k in kernels(made.phases[0].items)}
    assert found == {"out": (64, 11, 12), "out.edge.0": (64, 12), "out.edge.1": (64, 12)}


def test_several_items_are_rows_already() -> None:
    program = single(Convolution(8, 16, 64, (13, 12), (3, 3), pad=1))
    assert crop(program, WIDE) is program


@pytest.mark.parametrize(
    ("form", "places"),
    [(FORMS[0], (1, 12)), (FORMS[1], (1, 9)), (FORMS[2], (2, 4)), (FORMS[3], (2, 7))],
    ids=str,
)
def test_interiors(form: Convolution, places: tuple[int, int]) -> None:
    """No tap of a place between is outside of the source."""
    kernel = first(form)
    a = next(a for a in kernel.axes if a.name.endswith("0") and a.size == form.out[0])
    assert interior(kernel, a) == places


def test_windows_of_each_channel_are_taken_line_by_line() -> None:
    """Rows lie along x, where a depthwise convolution's windows overlap, also with many items."""
    program = single(DEPTHWISE[0])
    made = kernels(crop(program, WIDE).phases[0].items)
    assert [k.name for k in made] == ["out", "out.edge.0", "out.edge.1"]
    contraction = view(made[0], program, WIDE)
    chosen = contraction and plan(contraction, WIDE)
    assert chosen and chosen.by_lines and chosen.rows_inside
    assert chosen.rows and chosen.rows.axis.name == made[0].axes[-1].name
    assert not chosen.outer


@pytest.mark.parametrize("items", [1, 16])
@pytest.mark.parametrize("what", ["forward", "weights", "input"])
@pytest.mark.parametrize("form", DEPTHWISE, ids=str)
def test_depthwise_as_the_oracle(form: Convolution, what: str, items: int) -> None:
    if what != "input" or form.stride == 1:
        check(convolution(what, form), items, here=WIDE)


@pytest.mark.parametrize("what", ["forward", "weights", "input"])
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_as_the_oracle(form: Convolution, what: str) -> None:
    if what != "input" or form.stride == 1:
        check(convolution(what, form), 1)
