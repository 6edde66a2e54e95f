"""Blocks of work with buffers of a worker's own: as the oracle has it, whoever runs them."""

from pathlib import Path

import numpy as np
import pytest
import tiny

from latte.codegen import interp
from latte.codegen.interp import Run
from latte.compiler.affine import axis
from latte.compiler.expression import Apply, Axis, Guard, Load, Number
from latte.compiler.ir import Buffer, Group, Kernel, Phase, Program, Serial, Write
from latte.compiler.verify import find_problems
from latte.runtime import cpu, records

ITEMS, WIDTH, PER = 8, 24, 3


def program() -> Program:
    """out[n, i] = sum [k: 4] x[n, i]**2 * (k + 1), by blocks of 3 items and halves of i: a square
    in a private buffer, added up in order in another, then written out."""
    n, i = Axis("n", ITEMS, "n"), Axis("i", WIDTH)
    block, half, k = Axis("block", -(-ITEMS // PER)), Axis("half", 2), Axis("k", 4)
    inner, place = Axis("inner", PER), Axis("place", WIDTH // 2)
    item = axis("block") * PER + axis("inner")
    at = (axis("inner"), axis("place"))
    whole = (item, axis("half") * (WIDTH // 2) + axis("place"))
    inside = (Guard(ITEMS - 1 - item),)
    axes, x = (inner, place), Load("x", whole)
    square = Kernel("square", axes, (), (Write("s", at, Apply("mul", (x, x))),), inside)
    clear = Kernel("clear", axes, (), (Write("total", at, Number(0.0)),))
    scaled = Apply("mul", (Load("s", at), Load("scale", (axis("k"),))))
    add = Kernel("add", axes, (), (Write("total", at, scaled, add=True),))
    out = Kernel("out", axes, (), (Write("out", whole, Load("total", at)),), inside)
    after = Apply("add", (Load("out", (axis("n"), axis("i"))), Number(1.0)))
    last = Kernel("last", (n, i), (), (Write("y", (axis("n"), axis("i")), after),))
    buffers = (
        Buffer("x", (n, i), "input", "x"), Buffer("scale", (k,), "input", "scale"),
        Buffer("s", axes, "private", "s"), Buffer("total", axes, "private", "s"),
        Buffer("out", (n, i), "value", "out"), Buffer("y", (n, i), "value", "y"),
    )  # fmt: skip
    group = Group((block, half), (square, clear, Serial(k, True, (add,)), out), PER)
    return Program("Grouped", buffers, (Phase("forward", (group, last)),))


@pytest.mark.parametrize("items", [1, 3, 7, 8])
@pytest.mark.parametrize("guard", [False, True])
def test_groups_as_the_oracle(
    items: int, guard: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cpu, "PARALLEL_WORK", 0)
    monkeypatch.setattr(records, "ALONE_WORK", 0)
    made = program()
    assert list(find_problems(made)) == []
    expected, rng = interp.allocate(made), np.random.default_rng(0)
    for name in ("x", "scale"):
        expected[name][...] = rng.normal(size=expected[name].shape)
    interp.run(made, "forward", expected, Run(items))
    for threads in (1, 2, 3, 4):
        native = tiny.native(made, threads=threads, guard=guard)
        for name in ("x", "scale"):
            native.write(name, expected[name].astype(np.float32))
        native.run("forward", Run(items))
        found = native.read("y", (items, WIDTH), "forward")
        assert found is not None
        np.testing.assert_allclose(found, expected["y"][:items], rtol=1e-5)


def test_two_places_may_not_write_the_same() -> None:
    made = program()
    (group, *_) = made.phases[0].items
    assert isinstance(group, Group)
    *others, out = group.items
    assert isinstance(out, Kernel)
    same = Kernel("out", out.axes, (), (Write("out", (axis("inner"), axis("place")), Number(0)),))
    wrong = Group(group.axes, (*others, same), group.per)
    changed = Program("Wrong", made.buffers, (Phase("forward", (wrong,)),))
    assert any("two places of the group write out" in each for each in find_problems(changed))
    outside = Program("Wrong", made.buffers, (Phase("forward", tuple(others)),))
    assert any("no group is around" in each for each in find_problems(outside))
