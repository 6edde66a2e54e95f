"""A matrix times values, along each dimension of a tile, as lets with few operations.

In: matrices of fractions and the expressions of a tile.  Out: lets, and the results' expressions.

    y = ((0, 1, 1, 0), (0, -1, 1, 0)) x   ->  y.0 = x.2 + x.1;  y.1 = x.2 - x.1

Rows that differ in the signs of some columns only share both parts; so do such columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from itertools import combinations

from latte.compiler.cook_toom import Matrix
from latte.compiler.expression import Apply, Expression, Let, Local, Number
from latte.compiler.simplify import simplify

Place = tuple[int, ...]
Term = tuple[Fraction, Expression]


@dataclass(slots=True)
class Straight:
    """Lets in the making, called `name.0`, `name.1`, ...; `first` come before them."""

    name: str
    lets: list[Let] = field(default_factory=list)
    first: int = 0

    def let(self, expression: Expression) -> Expression:
        """A name for an expression; what is one already keeps it."""
        if isinstance(expression, Local | Number):
            return expression
        self.lets.append(Let(f"{self.name}.{self.first + len(self.lets)}", expression))
        return Local(self.lets[-1].name)

    def transform(
        self, matrices: tuple[Matrix, ...], values: Mapping[Place, Expression]
    ) -> dict[Place, Expression]:
        """Values at the places of a tile, multiplied by one matrix along each of its dimensions.
        The same lets, as objects too, for the same values."""
        first = self.first + len(self.lets)
        lets, results = _transformed(self.name, first, matrices, tuple(values.items()))
        self.lets += lets
        return dict(results)

    def along(
        self, number: int, matrix: Matrix, values: dict[Place, Expression]
    ) -> dict[Place, Expression]:
        """The matrix times each line of a tile along one dimension."""
        made: dict[Place, Expression] = {}
        for line in sorted({(*p[:number], *p[number + 1 :]) for p in values}):
            before, after = line[:number], line[number:]
            old = [values[(*before, k, *after)] for k in range(len(matrix[0]))]
            for k, value in enumerate(self.product(matrix, old)):
                made[(*before, k, *after)] = value
        return made

    def product(self, matrix: Matrix, values: list[Expression]) -> list[Expression]:
        """The matrix times a column of values."""
        pair = _column_twins(matrix)
        return self._column_pair(matrix, values, *pair) if pair else self._rows(matrix, values)

    def _column_pair(
        self, matrix: Matrix, values: list[Expression], a: int, b: int
    ) -> list[Expression]:
        """Columns that are equal but for signs: of their values' sum, and of their difference."""
        both = self.let(Apply("add", (values[a], values[b])))
        other = self.let(Apply("sub", (values[a], values[b])))
        rest = [k for k in range(len(values)) if k not in (a, b)]
        rows = tuple(
            (*(row[k] for k in rest), *((row[a], Fraction(0)) if row[a] == row[b]
                                        else (Fraction(0), row[a])))
            for row in matrix
        )  # fmt: skip
        return self.product(rows, [*(values[k] for k in rest), both, other])

    def _rows(self, matrix: Matrix, values: list[Expression]) -> list[Expression]:
        made: dict[int, Expression] = {}
        for a, (row, twin) in enumerate(zip(matrix, _row_twins(matrix), strict=True)):
            if a in made:
                continue
            if twin is None:
                made[a] = self.let(combination(zip(row, values, strict=True)))
            else:
                made[a], made[twin] = self._row_pair(row, matrix[twin], values)
        return [made[a] for a in range(len(matrix))]

    def _row_pair(
        self, row: tuple[Fraction, ...], twin: tuple[Fraction, ...], values: list[Expression]
    ) -> tuple[Expression, Expression]:
        """Rows that are equal but for signs: the part they share, plus and minus the other."""
        parts = list(zip(row, twin, values, strict=True))
        even = self.let(combination((x, value) for x, y, value in parts if x == y))
        odd = [(x, value) for x, y, value in parts if x != y]
        scale = next((x for x, _ in reversed(odd)), Fraction(1))
        rest = self.let(combination((x / scale, value) for x, value in odd))
        plus = combination(((Fraction(1), even), (scale, rest)))
        minus = combination(((Fraction(1), even), (-scale, rest)))
        return self.let(plus), self.let(minus)


@cache
def _transformed(
    name: str,
    first: int,
    matrices: tuple[Matrix, ...],
    values: tuple[tuple[Place, Expression], ...],
) -> tuple[tuple[Let, ...], tuple[tuple[Place, Expression], ...]]:
    """What `Straight.transform` adds, and its results: few are distinct in a net."""
    made, results = Straight(name, [], first), dict(values)
    for number, matrix in enumerate(matrices):
        results = made.along(number, matrix, results)
    lets = tuple(Let(let.name, simplify(let.expression)) for let in made.lets)
    return lets, tuple(results.items())


def combination(terms: Iterable[Term]) -> Expression:
    """The sum of numbers times values; first what needs no multiplication."""
    wanted = sorted((t for t in terms if t[0]), key=lambda t: (t[0] != 1, abs(t[0]) != 1))
    if not wanted:
        return Number(0.0)
    total = _scaled(*wanted[0])
    for factor, value in wanted[1:]:
        if factor == -1:
            total = Apply("sub", (total, value))
        else:
            total = Apply("add", (total, _scaled(factor, value)))
    return total


def _scaled(factor: Fraction, value: Expression) -> Expression:
    match factor:
        case 1:
            return value
        case -1:
            return Apply("neg", (value,))
        case _:
            return Apply("mul", (_number(factor), value))


@cache
def _number(factor: Fraction) -> Number:
    return Number(float(factor))


@cache
def _column_twins(matrix: Matrix) -> tuple[int, int] | None:
    """The first two columns that are alike, of a matrix that has more columns than rows."""
    columns = tuple(zip(*matrix, strict=True))
    if len(matrix) >= len(columns):
        return None
    pairs = combinations(range(len(columns)), 2)
    return next(((a, b) for a, b in pairs if _alike(columns[a], columns[b])), None)


@cache
def _row_twins(matrix: Matrix) -> tuple[int | None, ...]:
    """For each row the first one behind it that is like it."""
    count = len(matrix)
    return tuple(
        next((b for b in range(a + 1, count) if _alike(matrix[a], matrix[b])), None)
        for a in range(count)
    )


def _alike(a: tuple[Fraction, ...], b: tuple[Fraction, ...]) -> bool:
    """Whether two lines are equal but for signs, and share something either way."""
    same = [x == y for x, y in zip(a, b, strict=True) if x or y]
    equal = all(abs(x) == abs(y) for x, y in zip(a, b, strict=True))
    return equal and any(same) and not all(same)
