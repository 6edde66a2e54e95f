"""Winograd's stages against the oracle: the same numbers, in exact arithmetic nearly the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import latte
from latte.build import lower_kernel, program_of
from latte.codegen import interp
from latte.codegen.interp import Run
from latte.compiler import winograd_blocks
from latte.compiler.ir import Buffer, Program, kernels
from latte.compiler.layout import layout
from latte.compiler.machine import host
from latte.compiler.pack import pack
from latte.compiler.pipeline import optimize
from latte.compiler.verify import verify
from latte.compiler.winograd import Choice, winograd
from latte.compiler.winograd_cost import tiles
from latte.compiler.winograd_tiles import Tiling
from latte.compiler.winograd_view import Sliding, find_sliding
from latte.runtime import cpu, records
from latte.runtime.cache import Cache
from latte.runtime.cpu import Native
from tests.backends.lowered import Arrays
from tests.compiler.contractions import Convolution, activated, convolution, linear

CONVOLUTIONS = [
    Convolution(3, 16, 32, (13, 9), (3, 3), pad=1),
    Convolution(3, 16, 16, (9, 6), (5, 5), pad=2),
    Convolution(5, 16, 16, (13,), (3,)),
    Convolution(4, 16, 16, (5, 6), (2, 3), pad=1),
    Convolution(3, 32, 32, (9, 7), (3, 3), pad=1, groups=2),
    Convolution(1, 16, 16, (4, 4), (3, 3), pad=1),
    Convolution(4, 16, 16, (20, 5), (3, 3), pad=1),
]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    """Compiled code is shared between these tests."""
    return Cache(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True)
def always_parallel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "PARALLEL_WORK", 0)
    monkeypatch.setattr(records, "ALONE_WORK", 0)


def fixed(outputs: int) -> Choice:
    """A choice of tiles with so many outputs (taps, of a gradient of weights), always."""

    def choose(sliding: Sliding) -> tuple[Tiling, ...] | None:
        return tiles(sliding, (outputs,))

    return choose


@pytest.mark.parametrize("order", ["apart", "far", "near"])
@pytest.mark.parametrize("what", ["forward", "weights", "input"])
@pytest.mark.parametrize("form", CONVOLUTIONS, ids=str)
def test_as_the_oracle(
    form: Convolution, what: str, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In whole stages, and in blocks of at most some tiles; with all items and with fewer."""
    in_blocks(monkeypatch, order)
    program = layout(convolution(what, form), host())
    made = winograd(program, host(), fixed(2 if order == "apart" else 4))
    assert made is not program
    verify(made, "winograd")
    for items in {form.items, max(1, form.items - 2)}:
        compare(program, made, items)


NATIVE = [
    ("forward", 4, "far"), ("forward", 2, "apart"), ("forward", 4, "near"), ("weights", 4, "far"),
    ("weights", 2, "far"), ("weights", 4, "near"), ("input", 5, "far"), ("input", 4, "near"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "outputs", "order"), NATIVE)
def test_as_machine_code(
    what: str, outputs: int, order: str, monkeypatch: pytest.MonkeyPatch, shared: Cache
) -> None:
    """The same bits for any number of workers, inside its buffers."""
    in_blocks(monkeypatch, order)
    program = layout(convolution(what, Convolution(5, 32, 64, (9, 6), (3, 3), pad=1)), host())
    made = winograd(program, host(), fixed(outputs))
    for items in (5, 3):
        compare(program, made, items, 1e-5, shared)


ORDERS = {
    ("forward", "apart"): "apart", ("forward", "far"): "tiles", ("forward", "near"): "lanes",
    ("weights", "apart"): "apart", ("weights", "far"): "added", ("weights", "near"): "sums",
}  # fmt: skip


@pytest.mark.parametrize(("what", "order"), ORDERS)
def test_each_order_is_tried(what: str, order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    in_blocks(monkeypatch, order)
    assert blocks_of(what, Convolution(5, 32, 64, (9, 11), (3, 3), pad=1)) == ORDERS[what, order]


WIDE = Convolution(16, 512, 512, (12, 12), (3, 3), pad=1)
NARROW = Convolution(16, 64, 64, (32, 32), (3, 3), pad=1)


@pytest.mark.parametrize(
    ("what", "form", "order"),
    [("forward", WIDE, "lanes"), ("weights", WIDE, "sums"),
     ("forward", NARROW, "tiles"), ("weights", NARROW, "added")],
)  # fmt: skip
def test_wide_layers_keep_their_sums_near(what: str, form: Convolution, order: str) -> None:
    """Where taps, or sums, do not fit a cache and tiles are few."""
    assert blocks_of(what, form) == order


def blocks_of(what: str, form: Convolution) -> str:
    """The order that a convolution's blocks get."""
    machine = replace(host(), width=16, registers=32, l2=2 << 20)
    program = layout(convolution(what, form), machine)
    sliding = find_sliding(kernels(program.phases[0].items)[0], program)
    assert sliding is not None
    chosen = tiles(sliding, (4,))
    assert chosen is not None
    return winograd_blocks.blocks(sliding, chosen, machine).order


def test_taps_of_five(shared: Cache) -> None:
    program = layout(convolution("forward", Convolution(2, 32, 16, (8, 8), (5, 5), pad=2)), host())
    compare(program, winograd(program, host(), fixed(4)), 2, 3e-5, shared)


def test_three_dimensions() -> None:
    form = Convolution(2, 16, 16, (3, 4, 5), (2, 3, 2), pad=1)
    program = layout(convolution("forward", form), host())
    compare(program, winograd(program, host(), fixed(2)), 2)


def test_what_is_made_of_the_sum_is_kept(shared: Cache) -> None:
    plain = convolution("forward", Convolution(2, 16, 20, (6, 7), (3, 3), pad=1))
    program = layout(activated(plain), host())
    made = winograd(program, host(), fixed(2))
    assert made is not program
    compare(program, made, 2, 1e-4, shared)


def in_blocks(monkeypatch: pytest.MonkeyPatch, order: str) -> None:
    """Whole stages, or small blocks of tiles, or with the sums near; however many there are."""
    most = 0 if order == "apart" else 9
    near = order == "near"
    monkeypatch.setattr(winograd_blocks, "MOST_ROWS", most)
    monkeypatch.setattr(winograd_blocks, "MOST_SUMMED", most)
    monkeypatch.setattr(winograd_blocks, "MOST_HELD", 1e9 if near else 0)
    monkeypatch.setattr(winograd_blocks, "SPREAD", 0.0 if near else 1e6)
    monkeypatch.setattr(winograd_blocks, "READ_FACTORS", 0.0)
    monkeypatch.setattr(winograd_blocks, "VECTORS", (1,))
    monkeypatch.setattr(winograd_blocks, "APART", 1e8)


def compare(
    program: Program, made: Program, items: int, tolerance: float = 0, cache: Cache | None = None
) -> None:
    """Both in the oracle, and the second as machine code, on the same random arrays."""
    (phase,) = program.phases
    (kernel,) = kernels(phase.items)
    target, rng = program.buffer(kernel.writes[0].buffer), np.random.default_rng(0)
    given = {b.name: rng.normal(size=[a.size for a in b.axes])
             for b in program.buffers if b != target}  # fmt: skip
    expected, exact = (interpreted(p, given, items)[target.name] for p in (program, made))
    present = slice(items if target.axes[0].symbol else None)
    assert np.abs(expected[present]).max() > 0.1
    close(exact[present], expected[present], 1e-12)
    if cache is not None:
        found = [native(made, given, target, items, t, cache) for t in (1, 3)]
        close(found[0], expected[present], tolerance)
        np.testing.assert_array_equal(*found)


def interpreted(program: Program, given: Arrays, items: int) -> Arrays:
    arrays = interp.allocate(program)
    for name, array in given.items():
        arrays[name][...] = array
    interp.run(program, program.phases[0].name, arrays, run_of(items))
    return arrays


def native(
    program: Program, given: Arrays, target: Buffer, items: int, threads: int, cache: Cache
) -> np.ndarray:
    """The target as machine code makes it, with a faulting page behind every buffer."""
    fed = tuple(replace(b, role="input") if b.name in given and b.role == "value" else b
                for b in program.buffers)  # fmt: skip
    packed, name = pack(replace(program, buffers=fed), host()), program.phases[0].name
    made = Native(
        packed,
        lower_kernel,
        threads=threads,
        guard=True,
        cache=cache,
        keep=frozenset({target.name}),
    )
    for buffer, array in given.items():
        made.write(buffer, array.astype(np.float32))
    made.run(name, run_of(items))
    sizes = tuple(items if a.symbol else a.size for a in target.axes)
    found = made.read(target.name, sizes, name)
    assert found is not None
    made.close()
    return found


def run_of(items: int) -> Run:
    return Run(items, scalars={"items": float(items)})


def close(found: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    """Near each other by the largest value; NaN is near nothing."""
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize(
    "form",
    [
        Convolution(2, 16, 16, (9, 9), (3, 3), stride=2),
        Convolution(2, 16, 16, (9, 9), (3, 3), dilation=2),
        Convolution(2, 16, 16, (9, 9), (1, 1)),
    ],
    ids=str,
)
def test_other_windows_do_not_slide_so(form: Convolution) -> None:
    program = layout(convolution("forward", form), host())
    assert winograd(program, host(), fixed(4)) is program


def test_linear_layers_do_not_slide() -> None:
    program = layout(linear("forward", 8, (64,), 32), host())
    assert winograd(program, host(), fixed(4)) is program


def test_other_conditions_are_refused() -> None:
    """A guard that says more than that the data are inside is not the transform's to answer."""
    program = layout(convolution("forward", Convolution(2, 16, 16, (9,), (3,), pad=1)), host())
    (kernel,) = kernels(program.phases[0].items)
    assert find_sliding(kernel, program) is not None
    fold = kernel.lets[0].expression
    assert isinstance(fold, interp.Fold)
    tight = replace(fold, where=tuple(replace(g, index=g.index - 1) for g in fold.where))
    changed = replace(kernel, lets=(replace(kernel.lets[0], expression=tight),))
    assert find_sliding(changed, program) is None


def test_lanes_along_the_items_stay_whole() -> None:
    """Few channels and many items: the lanes are items, along which tiles would lie."""
    net = latte.loads(
        "net A { input x[1, 28, 28]\ninput label: class(10)\n"
        "a = MaxPool(Conv(x, 20, kernel = 5), kernel = 2)\n"
        "b = MaxPool(Conv(a, 50, kernel = 5), kernel = 2)\n"
        "loss SoftmaxLoss(Linear(b, 10), label) }"
    )
    assert optimize(program_of(net.elaborated, batch=64), host()).phases
