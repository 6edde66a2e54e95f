"""Into how many units a contraction is divided."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from latte.compiler.contract_units import MOST_UNITS, divide
from latte.compiler.machine import level

MACHINE = level("x86-64-v4")
ANY = 1e12  # places that fit the second cache


@pytest.mark.parametrize("cores", [1, 2, 3, 4, 8, 16])
@pytest.mark.parametrize(("fixed", "tiles", "others"), [(3, 11, 5), (1, 13, 13), (6, 32, 3)])
def test_all_cores_have_about_the_same_to_do(
    fixed: int, tiles: int, others: int, cores: int
) -> None:
    rows, columns = divide(fixed, (tiles, others), 150, ANY, 5.0, replace(MACHINE, cores=cores))
    units = [
        ((p + 1) * tiles // rows - p * tiles // rows)
        * ((q + 1) * others // columns - q * others // columns)
        for _ in range(fixed) for p in range(rows) for q in range(columns)
    ]  # fmt: skip
    assert len(units) <= MOST_UNITS
    ends = [k * len(units) // cores for k in range(cores + 1)]
    most = max(sum(units[a:b]) for a, b in pairwise(ends))
    assert most <= 1.2 * sum(units) / cores


def test_what_is_read_again_makes_units_larger() -> None:
    dear, cheap = (divide(3, (11, 5), 30, ANY, again, MACHINE) for again in (500.0, 1.0))
    assert dear[0] * dear[1] < cheap[0] * cheap[1]


def test_a_unit_stays_in_the_second_cache() -> None:
    rows, columns = divide(4, (64, 9), 6, 64 * 9, 5.0, MACHINE)
    assert -(-64 // rows) * -(-9 // columns) * 6 <= 64 * 9


def test_many_blocks_are_units_enough() -> None:
    assert divide(64, (11, 13), 6, ANY, 5.0, MACHINE) == (1, 1)
