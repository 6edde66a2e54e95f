"""What lowered code looks like: the shape of its loops, not only its results."""

from dataclasses import replace

from latte.compiler.ir import Dim, Program
from latte.compiler.lower import lower
from latte.compiler.vector import Lowered, show
from tests.backends.lowered import machine
from tests.compiler.kernels import (
    embedding,
    linear,
    masked,
    momentum,
    normalize,
    pool,
    relu,
    softmax_rows,
    tiles,
    turned,
)


def lowered(program: Program, width: int = 16) -> Lowered:
    return lower(program.phase("forward").items[0], program, machine(width))


def text(program: Program, width: int = 16) -> str:
    return show(lowered(program, width).function)


def test_a_map_is_one_loop_over_all_axes() -> None:
    assert text(relu(6)) == RELU


RELU = """\
kernel [pointers: b0, readonly b1]
  for v1 = first .. last step 1
    v3 = mul v1, 336 : i64
    do v2 = 0 .. 21 step 1
      v4 = mul v2, 16 : i64
      v5 = add v4, v3 : i64
      v6 = load b1[v5 + 0] : f32x16 align 64
      v7 = lt v6, 0.0 : i1x16
      v8 = select v7, 0.0, v6 : f32x16
      store v8 -> b0[v5 + 0] align 64"""


def test_maximum_and_winner_read_the_window_once() -> None:
    code = text(pool(9))
    assert code.count("load b2") == (9 + 3) * 2  # the interior written out; lanes 2 apart


def test_places_inside_ask_nothing() -> None:
    program = _stored(tiles(16), {0: None, 2: None, 3: None, 1: None})
    code = text(replace(program, buffers=(program.buffers[0], tiles(16).buffers[1])))
    inside, border = code[code.index("  if ") :].split("else")
    assert inside.count("load b1") == border.count("load b1") == 9
    assert "where" not in inside and border.count("where") == 5  # above and left


def test_what_an_item_shares_is_computed_once_for_it() -> None:
    lines = text(softmax_rows(40)).splitlines()
    exponentials = [line for line in lines if "= exp" in line]
    assert len(exponentials) == 3  # of the sum's full blocks, of its rest, of the results
    assert max(len(line) - len(line.lstrip()) for line in exponentials) == 6


def test_what_several_selects_choose_among_is_computed_once() -> None:
    code = text(masked(6))
    assert code.count(" = load ") == 4 and code.count(" = sub ") == 1


def test_lanes_across_blocks_need_no_gather() -> None:
    program = _stored(normalize(32), {0: None, 1: 16, 2: None, 3: None})
    code = text(program)
    assert "x16 align 4 where" in code
    assert not any("load" in line and " + 0]" in line and "v" not in line for line in code)


def test_updates_run_over_padded_memory_as_one_axis() -> None:
    plain = momentum(30)
    dims = (Dim(1, 33), Dim(0, 32))
    program = replace(plain, buffers=tuple(replace(b, dims=dims) for b in plain.buffers))
    code = text(program)
    assert "where" not in code and code.count(" = first ..") == 1
    assert code.count(" do ") + code.count("for ") <= 2


def test_a_copy_that_turns_lanes_uses_shuffles() -> None:
    code = text(turned(4))
    assert code.count("shuffle") == 24 and code.count("f32x8") == 8 + 24


def test_large_weights_are_read_once_for_all_items() -> None:
    assert lowered(linear(8)).units.batched
    assert not lowered(linear(512)).units.batched


def test_a_table_is_owned_by_columns() -> None:
    program = embedding(100)
    add = program.phase("forward").items[2]
    code = lower(add, program, machine(16))
    assert not code.units.batched
    loops = [line.strip() for line in show(code.function).splitlines() if " .. " in line]
    assert [loop.split(" = ")[0].split()[0] for loop in loops] == ["for", "do", "for", "do"]


def test_units_count_what_threads_share() -> None:
    units = lowered(relu(6)).units
    assert (units.count(1), units.count(4)) == (1, 4)
    assert lowered(momentum(400)).units.count(1) > 8


def _stored(program: Program, blocks: dict[int, int | None]) -> Program:
    """Every buffer with one axis in blocks, the places in a block innermost."""
    buffers = []
    for buffer in program.buffers:
        dims = [
            Dim(axis, -(-buffer.axes[axis].size // (block or 1)), divide=block or 1)
            for axis, block in blocks.items()
        ]
        inner = [Dim(axis, block, modulo=block) for axis, block in blocks.items() if block]
        buffers.append(replace(buffer, dims=(*dims, *inner)))
    return replace(program, buffers=tuple(buffers))
