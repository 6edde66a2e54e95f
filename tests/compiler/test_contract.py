"""Contractions against the oracle: through isolate, layout and pack, as machine code."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

import latte
from latte.build import program_of
from latte.codegen import interp
from latte.codegen.interp import Run
from latte.compiler import contract, contract_plan, lower
from latte.compiler.choices import Choices
from latte.compiler.contract_plan import Plan, plan
from latte.compiler.contract_view import recognise
from latte.compiler.crop import crop
from latte.compiler.expression import Axis
from latte.compiler.ir import Kernel, Program, nests
from latte.compiler.isolate import isolate
from latte.compiler.layout import layout
from latte.compiler.machine import Machine, level
from latte.compiler.pack import pack
from latte.compiler.pipeline import optimize
from latte.compiler.vector import Lowered
from latte.compiler.verify import verify
from tests.backends.lowered import Arrays, machine, run_lowered
from tests.compiler.contractions import (
    Convolution,
    activated,
    adding,
    attention,
    convolution,
    linear,
    locally_connected,
    recurrent,
)

CONVOLUTIONS = [
    Convolution(6, 16, 64, (5, 5), (3, 3), pad=1),
    Convolution(3, 5, 20, (7, 6), (3, 2), stride=2, pad=1),
    Convolution(8, 16, 40, (4, 4), (1, 1)),
    Convolution(7, 3, 80, (13, 12), (5, 5), stride=4, pad=2),
    Convolution(2, 3, 7, (6, 5), (3, 3), pad=2, dilation=2),
    Convolution(5, 20, 33, (9,), (4,), stride=3, pad=1),
    Convolution(3, 2, 17, (4, 3, 5), (2, 3, 2), pad=1),
    Convolution(4, 32, 64, (5, 3), (3, 3), pad=1, groups=2),
    Convolution(4, 48, 48, (5, 3), (3, 3), pad=1, groups=48),
    Convolution(1, 4, 16, (11, 1), (11, 1)),
    Convolution(13, 1, 1, (7, 7), (3, 3)),
    Convolution(64, 3, 20, (3, 3), (2, 2), stride=2),
    Convolution(3, 4, 16, (4, 4), (1, 1), pad=1),
    Convolution(40, 3, 5, (5, 4), (3, 3), pad=1),
    Convolution(31, 2, 20, (5,), (2,)),
    Convolution(16, 12, 24, (5, 4), (3, 2), pad=1, groups=4),
]

WIDE = """
net Wide {
    input image[40]
    input label: class(128)
    loss SoftmaxLoss(Linear(ReLU(Linear(image, 320)), 128), label)
}
train Wide { solver Momentum(rate = 0.1) }
"""


@pytest.mark.parametrize("what", ["forward", "weights", "input"])
@pytest.mark.parametrize("form", CONVOLUTIONS, ids=str)
def test_convolutions(form: Convolution, what: str) -> None:
    if what == "input" and form.stride > 1:
        pytest.skip("synthesize makes kernels of stride 1 for each residue class")
    program = convolution(what, form)
    for items in {form.items, max(1, form.items - 2), 1}:
        check(program, items)


@pytest.mark.parametrize("what", ["forward", "weights", "input"])
@pytest.mark.parametrize("items", [1, 5, 16, 33])
@pytest.mark.parametrize("sizes", [((7,), 10), ((20, 3, 3), 40), ((200,), 130), ((100,), 1)])
def test_linear_layers(what: str, items: int, sizes: tuple[tuple[int, ...], int]) -> None:
    program = linear(what, items, *sizes)
    check(program, items)
    check(program, max(1, items // 2))


@pytest.mark.parametrize("width", [4, 8])
@pytest.mark.parametrize("what", ["forward", "weights", "input"])
def test_narrower_vectors(what: str, width: int) -> None:
    check(convolution(what, Convolution(3, 10, 24, (5, 5), (3, 3), pad=1)), 3, width)
    check(linear(what, 6, (18, 2), 24), 5, width)


@pytest.mark.parametrize("what", ["forward", "weights", "input"])
def test_sums_in_chunks(what: str) -> None:
    """Tiny caches make small shapes take the ways of large ones."""
    here = replace(machine(), l1=2048, l2=8192)
    for form in (CONVOLUTIONS[0], CONVOLUTIONS[7], Convolution(6, 40, 96, (7, 5), (3, 3), pad=1)):
        check(convolution(what, form), form.items, here=here)
        check(convolution(what, form), form.items - 3, here=here)
    for program in (linear(what, 13, (30, 3, 3), 200), linear(what, 70, (90,), 40)):
        check(program, 13, here=here)
        check(adding(program), 5, here=here)
    check(locally_connected(9, 40, 20, 6, 3), 9, here=here)
    for program in (convolution(what, CONVOLUTIONS[0]), linear(what, 70, (90,), 40)):
        check(activated(program), 6, here=here)
        check(adding(activated(program)), 6, here=here)


def test_the_number_of_cores_orders_no_sum() -> None:
    here = replace(machine(16), l1=48 << 10, l2=2 << 20)
    form = Convolution(8, 512, 512, (7, 7), (3, 3), pad=1)
    program = prepared(convolution("forward", form), here)
    for kernel, _ in nests(program.phase("forward").items):
        contraction, orders = recognise(kernel, program), set()
        assert contraction is not None
        for cores in (1, 2, 4, 16, 64):
            chosen = plan(contraction, replace(here, cores=cores))
            assert chosen is not None
            orders.add((chosen.summed, chosen.chunks))
        assert len(orders) == 1, kernel.name


@pytest.mark.parametrize(
    "program",
    [
        attention(3, 2, 5, 7, 12),
        attention(2, 1, 20, 20, 40),
        locally_connected(5, 3, 20, 6, 2),
        recurrent(6, 4, 12, 20),
        adding(convolution("forward", CONVOLUTIONS[0])),
        adding(linear("input", 20, (40,), 30)),
    ],
    ids=["attention", "larger attention", "local", "recurrent", "add", "add linear"],
)
def test_other_contractions(program: Program) -> None:
    items = next(a.size for b in program.buffers for a in b.axes if a.symbol == "n")
    check(program, items)
    check(program, max(1, items - 2))


@pytest.mark.parametrize(
    "program",
    [
        linear("forward", 1, (40,), 512),
        linear("forward", 1, (5, 2, 2), 700),
        locally_connected(1, 3, 70, 12, 2),
    ],
    ids=["linear", "uneven", "local"],
)
def test_a_single_item_reads_several_blocks_of_lanes_side_by_side(program: Program) -> None:
    check(program, 1)
    chosen = chosen_plan(program, machine())
    assert chosen.rows is not None
    assert max(chosen.rows.widths)[0] > 1 and chosen.row_parts == chosen.rows.count


def test_places_far_apart_are_copied_for_the_tiles_that_read_them_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(contract_plan, "COPIED", 4)  # what a larger and slower test would have
    program = convolution("weights", Convolution(6, 40, 144, (13, 9), (3, 3), stride=2, pad=1))
    here = replace(machine(), l1=4096 - 64, l2=1 << 14)
    assert chosen_plan(program, here).near is not None
    for items in (6, 4, 1):
        check(program, items, here=here)
        check(adding(activated(program)), items, here=here)


@pytest.mark.parametrize(("l2", "sizes"), [(1 << 15, {1}), (1 << 20, set())])
def test_a_large_weight_that_nothing_reads_twice_is_read_from_begin_to_end(
    l2: int, sizes: set[int]
) -> None:
    here, net = replace(machine(), l2=l2), latte.loads(WIDE).elaborated
    program = optimize(program_of(net, batch=32), here, Choices(without=frozenset({"fuse"})))
    views = [
        contract.view(kernel, program, here) for kernel, _ in nests(program.phase("step").items)
    ]
    chosen = [plan(view, here) for view in views if view is not None]
    over_items = [each for each in chosen if each is not None and each.lane.symbol == "n"]
    assert over_items and all({c.size for c in each.chunks} == sizes for each in over_items)


def test_rows_that_share_lines_go_on_before_other_places() -> None:
    program = convolution("forward", Convolution(2, 3, 64, (19, 35), (5, 5), stride=2))
    chosen = chosen_plan(program, machine())
    assert chosen.rows_inside and [a.name for a in chosen.others] == ["n", "y0"]
    check(program, 2)


@pytest.mark.parametrize("what", ["forward", "weights", "input"])
def test_any_order_of_units_gives_the_same_bits(what: str) -> None:
    program = prepared(convolution(what, Convolution(7, 40, 48, (6, 6), (3, 3), pad=1)), machine())
    found = []
    for reverse in (False, True):
        arrays = random_arrays(program)
        run_lowered(program, "forward", arrays, Run(items=6), None, reverse, lowering)
        found.append(arrays[{"forward": "out", "weights": "w", "input": "in"}[what]])
    np.testing.assert_array_equal(found[0][:6], found[1][:6])


def test_what_is_recognised() -> None:
    """Every large sum of products has register tiles; only copies and maps are left."""
    form = Convolution(16, 32, 64, (6, 6), (3, 3), pad=1)
    programs = [convolution(what, form) for what in ("forward", "weights", "input")]
    programs += [linear(what, 16, (64, 2, 2), 128) for what in ("forward", "weights", "input")]
    programs += [recurrent(8, 3, 32, 48), attention(4, 2, 16, 16, 32)]
    counts: Counter[str] = Counter()
    for program in programs:
        ready = prepared(program, machine())
        for phase in ready.phases:
            for kernel, around in nests(phase.items):
                tiled = contract.lower(kernel, ready, machine(), around) is not None
                counts["tiled" if tiled else "map"] += 1
    assert counts["tiled"] == 9


def lowering(kernel: Kernel, program: Program, here: Machine, around: tuple[Axis, ...]) -> Lowered:
    """As the compiler does: register tiles where they fit."""
    tiled = contract.lower(kernel, program, here, around)
    return tiled or lower.lower(kernel, program, here, around)


def prepared(program: Program, here: Machine) -> Program:
    """The program as the passes make it; each is verified."""
    verify(program)
    for change in (isolate, lambda p: layout(p, here), lambda p: pack(p, here),
                   lambda p: crop(p, here)):  # fmt: skip
        program = change(program)
        verify(program, str(change))
    return program


def chosen_plan(program: Program, here: Machine) -> Plan:
    """The plan of the first contraction of the program as the passes make it."""
    ready = prepared(program, here)
    views = [contract.view(kernel, ready, here) for kernel, _ in nests(ready.phases[0].items)]
    chosen = plan(next(view for view in views if view is not None), here)
    assert chosen is not None
    return chosen


def random_arrays(program: Program) -> Arrays:
    draw = np.random.default_rng(0)
    return {
        b.name: draw.normal(size=tuple(a.size for a in b.axes)).astype(np.float32)
        for b in program.buffers
    }


def check(
    program: Program, items: int, width: int | None = None, here: Machine | None = None
) -> None:
    """Compares the result of the program's passes with the oracle's, for that many items."""
    here = here or machine(width)
    ready, now = prepared(program, here), Run(items=items, steps=3)
    arrays = random_arrays(program)
    expected = interp.allocate(program)
    for name, array in arrays.items():
        expected[name][...] = array
    got = random_arrays(ready) | {name: array.copy() for name, array in arrays.items()}
    interp.run(program, "forward", expected, now)
    run_lowered(
        ready, "forward", got, now, width,
        lowering=lambda kernel, program, _, around: lowering(kernel, program, here, around),
    )  # fmt: skip
    for buffer in program.buffers:
        whole, array = expected[buffer.name], got[buffer.name]
        if buffer.axes and buffer.axes[0].symbol == "n":
            whole, array = whole[:items], array[:items]
        scale = np.abs(whole).max()
        np.testing.assert_allclose(array, whole, rtol=2e-5, atol=2e-5 * scale)


def test_few_items_read_a_large_weight_once() -> None:
    """Its rows are divided among units; each tile of them meets all items while it is near."""
    text = """
net N() {
    input image[64]
    input label: class(8)
    hidden = ReLU(Linear(ReLU(Linear(image, 2048)), 2048))
    loss SoftmaxLoss(Linear(hidden, 8), label)
}
"""
    here, net = level("x86-64-v4"), latte.loads(text).elaborated
    program = optimize(program_of(net, batch=4), here, Choices())
    [kernel] = [k for k, _ in nests(program.phase("backward").items) if k.name == "relu1.grad"]
    view = contract.view(kernel, program, here)
    chosen = view and plan(view, here)
    assert chosen and chosen.summed_lanes and chosen.other_parts == 1 and chosen.row_parts > 1
    assert [a.symbol for a in chosen.others] == ["n"]
