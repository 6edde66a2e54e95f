"""Exact answers about integer indices, against enumeration."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latte.compiler.affine import Affine, axis, constant
from latte.compiler.expression import Axis, Guard
from latte.compiler.poly import (
    Box,
    always,
    bounds,
    disjoint,
    image,
    never,
    one_to_one,
    remainder,
    tidy,
)

RANGES = {"i": (0, 5), "j": (0, 3)}
small = st.integers(-4, 4)


@st.composite
def indices(draw: st.DrawFn) -> Affine:
    linear = axis("i") * draw(small) + axis("j") * draw(small) + draw(small)
    floor = (axis("i") * draw(small) + axis("j") + draw(small)) // draw(st.integers(2, 5))
    return linear + floor * draw(small)


def values(index: Affine) -> list[int]:
    return [int(index.evaluate({"i": i, "j": j})) for i, j in product(range(6), range(4))]


@settings(max_examples=60, deadline=None)
@given(indices())
def test_bounds_are_exact(index: Affine) -> None:
    assert bounds(index, RANGES) == (min(values(index)), max(values(index)))


@settings(max_examples=60, deadline=None)
@given(indices())
def test_tidying_changes_no_value(index: Affine) -> None:
    assert values(tidy(index, RANGES)) == values(index)


def test_tidying_removes_floors() -> None:
    assert tidy((axis("j") + axis("i") * 4) // 4, RANGES) == axis("i")
    assert tidy((axis("j") + axis("i") * 4) // 8, RANGES) == axis("i") // 2


@pytest.mark.parametrize(
    ("guard", "expected"),
    [
        (Guard(axis("i") - axis("j") + 3), (True, False)),
        (Guard(axis("i") - 6), (False, True)),
        (Guard(axis("i") - 2), (False, False)),
        (Guard(axis("i") * 4 + 2, 2), (True, False)),
        (Guard(axis("i") * 4 + 1, 2), (False, True)),
    ],
)
def test_guards(guard: Guard, expected: tuple[bool, bool]) -> None:
    assert (always(guard, RANGES), never(guard, RANGES)) == expected


def test_bounds_where_guards_hold() -> None:
    where = (Guard(axis("i") - axis("j") - 3), Guard(-axis("i") + 4))
    assert bounds(axis("i") * 2 + axis("j"), RANGES, where) == (6, 9)


boxes = st.tuples(
    *[st.tuples(st.integers(0, 4), st.integers(1, 5)).filter(lambda r: r[0] < r[1])] * 2
)


@settings(max_examples=100, deadline=None)
@given(boxes, st.lists(boxes, max_size=4))
def test_remainders_are_disjoint_and_complete(box: Box, others: list[Box]) -> None:
    rest = remainder(box, others)
    found = [point for piece in rest for point in points(piece)]
    covered = {point for other in others for point in points(other)}
    assert len(found) == len(set(found))
    assert set(found) == set(points(box)) - covered
    assert disjoint(box, others) == (not set(points(box)) & covered)


def points(box: Box) -> list[tuple[int, ...]]:
    return list(product(*(range(start, stop) for start, stop in box)))


def test_an_image_is_clipped_to_its_source() -> None:
    place = axis("i") * 2 + axis("j") - 1
    assert image((place, constant(2)), RANGES, (10, 4)) == ((0, 10), (2, 3))


def test_a_relation_knows_axes_by_name() -> None:
    axes = (Axis("y.0", 4), Axis("k'", 2))
    assert one_to_one(axes, (axis("y.0") * 2 + axis("k'"),))
    assert not one_to_one(axes, (axis("y.0") + axis("k'"),))
