"""Which lines are asked for ahead."""

from __future__ import annotations

from dataclasses import replace

from latte.compiler.affine import Affine
from latte.compiler.contract_ahead import Ahead, ahead
from latte.compiler.contract_view import Access
from latte.compiler.expression import Axis
from latte.compiler.machine import level

SMALL = replace(level("x86-64-v4"), l2=1 << 16)
DATA = Access("data", Affine((("xi", 8192), ("p", 64), ("c", 1)), 0), ())
TAPS = Access("taps", Affine((("xi", 4096), ("c", 64), ("k", 1)), 0), ())
SUMMED = frozenset({"c"})
SIZES = {"p": 128, "c": 64, "k": 64}


def test_neighbours_are_one_run() -> None:
    found = ahead((DATA, TAPS), (Axis("xi", 36), 1), SIZES, SIZES | {"xi": 36}, SUMMED, SMALL)
    assert found == (Ahead(0, 8192, ((16, 512),)), Ahead(1, 4096, ((16, 256),)))


def test_rows_with_a_gap_stay_apart() -> None:
    wide = Access("data", Affine((("xi", 16384), ("p", 128), ("k", 1)), 0), ())
    found = ahead((wide,), (Axis("xi", 36), 1), SIZES, SIZES | {"xi": 36}, SUMMED, SMALL)
    assert found == (Ahead(0, 16384, ((128, 128), (16, 4))),)


def test_a_window_is_asked_for_once() -> None:
    image = Access("in", Affine((("n", 40000), ("y", 3200), ("k", 3200), ("c", 1)), 0), ())
    sizes, summed = {"y": 7, "k": 3, "c": 32}, frozenset({"y"})
    found = ahead((image,), (Axis("n", 8), 1), sizes, sizes | {"n": 64}, summed, SMALL)
    assert found == (Ahead(0, 40000, ((3200, 7), (16, 2))),)


def test_what_a_cache_keeps_is_not_asked_for() -> None:
    large = replace(SMALL, l2=1 << 24)
    assert not ahead((DATA, TAPS), (Axis("xi", 36), 1), SIZES, SIZES | {"xi": 36}, SUMMED, large)


def test_long_rows_are_foreseen() -> None:
    summed = SIZES | {"c": 1024}
    assert not ahead((DATA,), (Axis("xi", 36), 1), summed, summed | {"xi": 36}, SUMMED, SMALL)


def test_windows_that_overlap_count_once_in_what_a_cache_keeps() -> None:
    """12 rows met by 5 taps are 16 rows, not 60."""
    rows = Access("in", Affine((("y", 1024), ("k", 1024), ("f", 16384), ("c", 1)), 0), ())
    whole, sizes = {"y": 12, "k": 5, "f": 4, "c": 1024}, {"f": 1, "c": 1024}
    enough = replace(SMALL, l2=4 * 2 * 4 * (16384 + 1024))
    assert not ahead((rows,), (Axis("f", 4), 1), sizes, whole, SUMMED, enough)
