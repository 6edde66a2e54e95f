"""Axes that memory holds as one are one."""

from __future__ import annotations

from latte.compiler import contract
from latte.compiler.contract_view import Contraction
from latte.compiler.ir import Kernel, Program
from latte.compiler.isolate import isolate
from latte.compiler.layout import layout
from latte.compiler.pack import pack
from tests.backends.lowered import machine
from tests.compiler.contractions import Convolution, convolution, linear


def sizes(program: Program) -> tuple[list[int], list[int]]:
    """Sizes of the output and summed axes after layout and pack."""
    stored = pack(layout(isolate(program), machine()), machine())
    views = [
        contract.view(item, stored, machine())
        for item in stored.phases[0].items
        if isinstance(item, Kernel)
    ]
    (found,) = [view for view in views if isinstance(view, Contraction)]
    return [a.size for a in found.axes], [a.size for a in found.summed]


def test_a_linear_layer_on_a_window_is_a_plain_one() -> None:
    assert sizes(linear("forward", 8, (6, 6, 256), 64)) == ([8, 64], [9216])


def test_a_convolution_of_single_places_is_one_row() -> None:
    axes, summed = sizes(convolution("forward", Convolution(4, 32, 64, (5, 7), (1, 1))))
    assert 35 in axes and summed == [32]


def test_windows_stay_apart() -> None:
    axes, summed = sizes(convolution("forward", Convolution(4, 32, 64, (5, 7), (3, 3), pad=1)))
    assert {5, 7} <= set(axes) and sorted(summed) == [3, 3, 32]
