"""Which axis is stored innermost, how it is padded, what is copied: as text."""

from __future__ import annotations

from dataclasses import replace

from latte.compiler.expression import Axis, Load, Number
from latte.compiler.ir import Buffer, Dim, Kernel, Phase, Program, Write
from latte.compiler.layout import best_vectors, layout
from latte.compiler.machine import Machine
from latte.compiler.pack import pack
from latte.compiler.show import show_item
from latte.compiler.verify import verify
from tests.compiler.contractions import Convolution, convolution, linear, names, with_role

WIDE = Machine("x86_64", width=16, registers=32, fma=True, l1=48 * 1024, l2=2 << 20)
FORM = Convolution(8, 20, 64, (9, 9), (3, 3), pad=1)


def stored(program: Program, name: str) -> str:
    """A buffer's dims as text: `[f / 64][c][f % 64]`."""
    buffer = program.buffer(name)
    return "".join(f"[{_dim(buffer, dim)}]" for dim in buffer.dims)


def _dim(buffer: Buffer, dim: Dim) -> str:
    axis = buffer.axes[dim.axis]
    text = f"{axis.name}{f' / {dim.divide}' if dim.divide > 1 else ''}"
    if dim.modulo:
        return f"{text} % {dim.modulo}"
    plain = dim.divide == 1 and dim.extent == axis.size
    border = f"{dim.before} + " if dim.before else ""
    return text if plain else f"{border}{text}: {dim.extent}"


def test_a_convolution_has_its_filters_innermost() -> None:
    program = layout(convolution("forward", FORM), WIDE)
    verify(program, "layout")
    assert stored(program, "out") == "[n][y0][y1][f]"
    assert stored(program, "w") == "[f / 64: 1][c][k0][k1][f % 64]"
    assert stored(program, "b") == "[f]"
    assert stored(program, "in") == ""


def test_a_parameter_its_gradient_and_its_state_are_stored_alike() -> None:
    program = convolution("forward", FORM)
    weight = program.buffer("w")
    others = (
        replace(weight, name="w.grad", role="parameter gradient"),
        replace(weight, name="w/history", role="state"),
    )
    program = layout(replace(program, buffers=(*program.buffers, *others)), WIDE)
    assert len({program.buffer(name).dims for name in ("w", "w.grad", "w/history")}) == 1


def test_maps_hand_the_choice_on() -> None:
    program = convolution("forward", FORM)
    out = program.buffer("out")
    place = names(out.axes)
    relu = Kernel("relu", out.axes, (), (Write("relu", place, Load("out", place)),))
    phase = replace(program.phases[0], items=(*program.phases[0].items, relu))
    program = replace(program, phases=(phase,), buffers=(*program.buffers, Buffer(
        "relu", out.axes, "value", "relu")))  # fmt: skip
    assert stored(layout(program, WIDE), "relu") == "[n][y0][y1][f]"


def test_rows_do_not_meet_in_few_sets_of_the_cache() -> None:
    program = layout(linear("forward", 8, (512,), 256), WIDE)
    assert stored(program, "out") == "[n][j: 272]"


def test_items_do_not_meet_in_few_sets_of_the_cache() -> None:
    """As rows of one tile, a multiple of a page apart, they would."""
    places = layout(convolution("forward", replace(FORM, size=(32, 16), filters=16)), WIDE)
    assert stored(places, "out") == "[n][y0: 33][y1: 17][f]"
    odd = layout(convolution("forward", replace(FORM, size=(13, 11))), WIDE)
    assert stored(odd, "out") == "[n][y0][y1][f]"


def test_inputs_have_a_border_of_zeros() -> None:
    program = layout(with_role(convolution("forward", FORM), "in", "input"), WIDE)
    assert stored(program, "in") == "[n][c][1 + x0: 11][1 + x1: 11]"


def test_what_no_contraction_reads_stays_plain() -> None:
    n, y = Axis("n", 4, "n"), Axis("y", 7)
    kernel = Kernel("a", (n, y), (), (Write("a", names((n, y)), Number(1.0)),))
    program = Program("test", (Buffer("a", (n, y), "value", "a"),), (Phase("forward", (kernel,)),))
    assert layout(program, WIDE).buffer("a").dims == ()


def test_blocks_of_vectors_leave_little_over() -> None:
    filters = (10, 16, 64, 80, 96, 112, 192, 1000)
    assert [best_vectors(f, WIDE) for f in filters] == [1, 1, 4, 5, 6, 4, 4, 3]


def test_the_gradient_of_an_input_copies_the_weights() -> None:
    """The weights are stored by filter for the layer itself, and by channel for its gradient."""
    form = replace(FORM, channels=32)
    forward, backward = convolution("forward", form), convolution("input", form)
    kernels = (*forward.phases[0].items, *backward.phases[0].items)
    both = replace(forward, phases=(Phase("forward", kernels),))
    program = pack(layout(both, WIDE), WIDE)
    verify(program, "pack")
    copy = program.phases[0].items[1]
    place = "[f.0, c.1, k0.2, k1.3]"
    assert show_item(copy).splitlines()[1].strip() == f"w.by.c{place} = w{place}"
    assert stored(program, "w.by.c") == "[c / 32: 1][k0][k1][f][c % 32]"


def test_few_filters_leave_the_lanes_to_the_items() -> None:
    form = Convolution(60, 20, 20, (9, 9), (3, 3), pad=1)
    program = layout(convolution("forward", form), WIDE)
    assert stored(program, "out") == "[f][y0][y1][n: 64]"
    assert stored(program, "w") == ""


def test_a_sum_over_items_adds_lanes_where_both_factors_have_them() -> None:
    form = Convolution(60, 20, 20, (9, 9), (3, 3), pad=1)
    forward, backward = convolution("forward", form), convolution("weights", form)
    kernels = (*forward.phases[0].items, *backward.phases[0].items)
    program = pack(layout(replace(forward, phases=(Phase("forward", kernels),)), WIDE), WIDE)
    assert [kernel.name for kernel in program.phases[0].items] == ["out", "w"]


def test_groups_that_fill_no_vector_leave_the_lanes_to_the_items() -> None:
    """The last vector of a group would reach into the next one."""
    narrow, wide = (Convolution(16, c, c, (5, 5), (3, 3), groups=4) for c in (48, 64))
    assert stored(layout(convolution("forward", narrow), WIDE), "out") == "[f][y0][y1][n]"
    assert stored(layout(convolution("forward", wide), WIDE), "out") == "[n][y0][y1][f]"


def test_a_filter_for_each_channel_has_the_channels_innermost() -> None:
    """A group of one channel slides along nothing, though its sum has an axis."""
    form = Convolution(16, 64, 64, (5, 5), (3, 3), pad=1, groups=64)
    chosen = layout(convolution("forward", form), WIDE)
    assert {stored(chosen, name) for name in ("out", "in")} == {"[n][y0][y1][f]", "[n][x0][x1][c]"}
    assert len(pack(chosen, WIDE).phases[0].items) == 1


def test_what_runs_along_blocks_of_weights_has_room_for_whole_ones() -> None:
    """Its rows can then be places in a block."""
    sizes = (64, (40, 4, 4), 150)
    forward, backward = linear("forward", *sizes), linear("weights", *sizes)
    kernels = (*forward.phases[0].items, *backward.phases[0].items)
    program = layout(replace(forward, phases=(Phase("forward", kernels),)), WIDE)
    assert stored(program, "w") == "[j / 80: 2][i0][i1][i2][j % 80]"
    assert stored(program, "out") == "[j: 160][n]"


def test_a_large_linear_layer_keeps_its_weights() -> None:
    """Its gradient has the batch as lanes, so that a small array is copied instead."""
    forward, backward = linear("forward", 64, (512,), 256), linear("input", 64, (512,), 256)
    kernels = (*forward.phases[0].items, *backward.phases[0].items)
    program = pack(layout(replace(forward, phases=(Phase("forward", kernels),)), WIDE), WIDE)
    verify(program, "pack")
    assert [kernel.name for kernel in program.phases[0].items] == ["out", "out.by.n", "in"]
    assert stored(program, "in") == "[i0][n]"
