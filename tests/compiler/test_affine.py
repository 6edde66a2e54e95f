"""Affine expressions: normal form, division, substitution, bounds, checked against integers."""

from hypothesis import given
from hypothesis import strategies as st

from latte.compiler.affine import Affine, axis, constant, digits, row_major

Y, K = axis("y"), axis("k")
small = st.integers(-9, 9)
divisors = st.integers(1, 6)


@st.composite
def affines(draw: st.DrawFn) -> Affine:
    linear = Y * draw(small) + K * draw(small) + draw(small)
    return linear // draw(divisors) + linear % draw(divisors) if draw(st.booleans()) else linear


def test_terms_cancel() -> None:
    assert Y * 2 + K - Y * 2 == K
    assert constant(0) == (Y - Y)


def test_division_takes_out_what_is_divisible() -> None:
    assert (Y * 4 + 6) // 2 == Y * 2 + 3
    assert row_major(digits(Y, (4, 5)), (4, 5)) == Y


def test_text_reads_as_written() -> None:
    assert str(Y * 2 - 1 + K) == "k + 2*y - 1"
    assert str(-Y + 3) == "-y + 3"
    assert str(constant(-2)) == "-2"


@given(affines(), affines(), small, divisors, st.integers(-20, 20), st.integers(-20, 20))
def test_operators_agree_with_integers(
    a: Affine, b: Affine, factor: int, divisor: int, y: int, k: int
) -> None:
    at = {"y": y, "k": k}
    left, right = a.evaluate(at), b.evaluate(at)
    assert (a + b).evaluate(at) == left + right
    assert (a - b * factor).evaluate(at) == left - right * factor
    assert (a // divisor).evaluate(at) == left // divisor
    assert (a % divisor).evaluate(at) == left % divisor


@given(affines(), affines(), st.integers(-20, 20), st.integers(-20, 20))
def test_substitution_agrees_with_evaluation(a: Affine, b: Affine, y: int, k: int) -> None:
    at = {"y": y, "k": k}
    inside = {"y": b.evaluate(at), "k": k}
    assert a.substitute({"y": b}).evaluate(at) == a.evaluate(inside)


@given(affines(), st.integers(-5, 5), st.integers(0, 6), st.integers(-5, 5), st.integers(0, 6))
def test_bounds_hold_everywhere(a: Affine, y: int, height: int, k: int, width: int) -> None:
    low, high = a.bounds({"y": (y, y + height), "k": (k, k + width)})
    for row in range(y, y + height + 1):
        for column in range(k, k + width + 1):
            assert low <= a.evaluate({"y": row, "k": column}) <= high
