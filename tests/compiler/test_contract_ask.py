"""Where a tile asks for what the next one reads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from latte.compiler import contract
from latte.compiler.affine import axis
from latte.compiler.expression import Apply, Axis, Fold, Load
from latte.compiler.ir import Buffer, Dim, Kernel, Phase, Program, Write
from latte.compiler.machine import level
from latte.compiler.vector import If, Loop, Prefetch, Statement

MACHINE = level("x86-64-v4")


def asked(places: int, apart: int) -> list[int]:
    """How many lines each loop asks for, of `out[r, n] = sum [j] weight[r, j] * x[j, n]` with rows
    of the weight `apart` floats apart."""
    r, j, n = Axis("r", 56), Axis("j", places), Axis("n", 16, "n")
    weight = Buffer("weight", (r, j), "parameter", "", dims=(Dim(0, 56), Dim(1, apart)))
    x, out = Buffer("x", (j, n), "value", ""), Buffer("out", (r, n), "value", "")
    factors = (Load("weight", (axis("r"), axis("j"))), Load("x", (axis("j"), axis("n"))))
    total = Fold("sum", (j,), Apply("mul", factors))
    kernel = Kernel("out", (r, n), (), (Write("out", (axis("r"), axis("n")), total),))
    program = Program("p", (weight, x, out), (Phase("forward", (kernel,)),))
    lowered = contract.lower(kernel, program, MACHINE)
    assert lowered is not None
    return [count for count in counts(lowered.function.body) if count]


def counts(body: tuple[Statement, ...]) -> Iterator[int]:
    """The prefetches of each block, not of those inside it."""
    yield sum(isinstance(each, Prefetch) for each in body)
    for each in body:
        if isinstance(each, Loop | If):
            yield from counts(each.body)


def test_rows_that_follow_one_another_are_asked_for_steadily() -> None:
    """28 rows of 4 lines, in 16 bodies of 4 places: 7 lines in each."""
    assert asked(64, 64) == [7]


def test_rows_with_a_small_gap_are_asked_for_with_it() -> None:
    """28 rows of 5 lines, in 16 bodies: 9 lines in each."""
    assert asked(64, 80) == [9]


@pytest.mark.parametrize("apart", [96, 128])
def test_rows_with_a_gap_are_asked_for_before_the_sum(apart: int) -> None:
    assert asked(64, apart) == [28 * 64 // 16]


def test_long_rows_are_foreseen() -> None:
    assert sum(asked(1024, 1024)) <= 28
