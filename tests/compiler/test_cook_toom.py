"""The matrices of short correlations are exact, whatever the numbers of outputs and taps."""

from fractions import Fraction
from itertools import product

import pytest

from latte.compiler.cook_toom import Matrix, cook_toom, matrices, points
from latte.compiler.expression import Apply, Expression, Local, Number
from latte.compiler.winograd_transform import Straight


def times(matrix: Matrix, values: list[Fraction]) -> list[Fraction]:
    return [sum((a * b for a, b in zip(row, values, strict=True)), Fraction(0)) for row in matrix]


def numbers(count: int, seed: int) -> list[Fraction]:
    return [Fraction((seed + 7 * k * k) % 19 - 9, 1 + (seed + k) % 5) for k in range(count)]


@pytest.mark.parametrize(("outputs", "taps"), list(product(range(1, 7), repeat=2)))
def test_products_of_transforms_are_the_correlation(outputs: int, taps: int) -> None:
    form = matrices(outputs, taps)
    data, weights = numbers(outputs + taps - 1, 3), numbers(taps, 5)
    expected = [sum(data[i + j] * weights[j] for j in range(taps)) for i in range(outputs)]
    pairs = zip(times(form.data, data), times(form.taps, weights), strict=True)
    assert times(form.outputs, [a * b for a, b in pairs]) == expected
    assert len(form.data) == outputs + taps - 1


def test_points_must_differ() -> None:
    with pytest.raises(AssertionError, match="different points"):
        cook_toom(2, 3, (Fraction(0), Fraction(1), Fraction(1)))


def test_points_come_in_pairs() -> None:
    assert points(7) == tuple(map(Fraction, ("0", "1", "-1", "2", "-2", "1/2", "-1/2")))
    assert all(-point in points(9) for point in points(9))


@pytest.mark.parametrize(("outputs", "taps", "operations"), [(4, 3, 12), (2, 3, 4), (4, 5, 24)])
def test_pairs_share_their_arithmetic(outputs: int, taps: int, operations: int) -> None:
    """The lets compute the matrix times a column, in few multiply-adds."""
    matrix, made = matrices(outputs, taps).data, Straight("v")
    size = len(matrix)
    results = made.product(matrix, [Local(f"x.{k}") for k in range(size)])
    values = numbers(size, 2)
    known = {f"x.{k}": value for k, value in enumerate(values)}
    for let in made.lets:
        known[let.name] = evaluate(let.expression, known)
    assert [evaluate(result, known) for result in results] == times(matrix, values)
    assert sum(adds(let.expression) for let in made.lets) <= operations


def evaluate(expression: Expression, known: dict[str, Fraction]) -> Fraction:
    match expression:
        case Local(name):
            return known[name]
        case Number(value):
            return Fraction(value)
        case Apply("add", (a, b)):
            return evaluate(a, known) + evaluate(b, known)
        case Apply("sub", (a, b)):
            return evaluate(a, known) - evaluate(b, known)
        case Apply("mul", (a, b)):
            return evaluate(a, known) * evaluate(b, known)
        case Apply("neg", (a,)):
            return -evaluate(a, known)
    raise AssertionError(expression)


def adds(expression: Expression) -> int:
    match expression:
        case Apply("add" | "sub", (a, b)):
            return 1 + adds(a) + adds(b)
    return 0
