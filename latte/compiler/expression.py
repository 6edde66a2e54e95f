"""Scalar expressions: what one neuron computes. Used in the Net (leaves `Argument`) and in the
Program (leaves `Load`); all other nodes are the same in both, so one `rewrite` serves both.

Kinds of value: a real number, a truth value (comparisons, and, or, not) and an integer
(`Position`, argmax, argmin, loads of integer elements, `floordiv`/`mod` of integers). An integer
or truth value used in arithmetic counts as a real number (true is 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Union

from latte.compiler.affine import Affine


@dataclass(frozen=True, slots=True)
class Axis:
    """A named range 0 .. size - 1.

    `symbol` is "n" for the batch axis and "t" for the time axis: their length is known when the
    program runs (1 <= length <= size, the compiled largest); None for all others.
    """

    name: str
    size: int
    symbol: Literal["n", "t"] | None = None

    def __str__(self) -> str:
        return f"{self.name}: {self.symbol or self.size}"


@dataclass(frozen=True, slots=True)
class Number:
    """A real constant."""

    value: float


@dataclass(frozen=True, slots=True)
class Position:
    """An index expression used as a number: `if dy == 0 then ...`, `i - j`."""

    index: Affine


@dataclass(frozen=True, slots=True)
class Local:
    """A value named by an earlier `Let` of the same body, or one of the bodies' own names:
    "value" and "value.grad" in a neuron's backward; "param", "grad", the states and arguments
    of a solver in its update."""

    name: str


@dataclass(frozen=True, slots=True)
class Argument:
    """Net only. What a formal sees at a place of its window: `x[i]`; a scalar formal has `()`.

    Each index is affine in window axes, or an integer-valued expression (`x[at]`).
    """

    formal: str
    index: tuple[Index, ...] = ()


@dataclass(frozen=True, slots=True)
class Load:
    """Program only. An element of a buffer at its LOGICAL index (layout is not seen here).

    Each index is affine in the kernel's and the folds' axes, or an integer-valued expression
    (value-dependent: an embedding's row), which must be inside the axis: checked when it runs.
    """

    buffer: str
    index: tuple[Index, ...]


@dataclass(frozen=True, slots=True)
class Scalar:
    """A number known when the program runs: "items" (items in this batch), "steps" (time steps
    present, summed over items), "update" (the language's t), or a solver argument such as
    "solver.rate"."""

    name: str


@dataclass(frozen=True, slots=True)
class Count:
    """Net only. How many places of these window axes are present (`count(i)`)."""

    axes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Training:
    """Net only. True in training, false in inference."""


@dataclass(frozen=True, slots=True)
class Random:
    """A draw that is a pure function of (seed, step, stream, index): asked again it is the same,
    so backward draws it again and nothing is kept. `latte/compiler/random.py` defines the bits.

    `stream` numbers the place in the net (ensemble and occurrence); `index` is None in the Net
    and, in the Program, ONE flat position: the row-major position of (item, step, neuron index),
    with the compiled number of steps, whatever the layout.
    """

    kind: Literal["uniform", "normal"]
    stream: int
    index: Affine | None = None


Unary = Literal[
    "neg", "not", "exp", "log", "sqrt", "tanh", "sigmoid", "abs", "floor", "erf", "sin", "cos"
]
Binary = Literal[
    "add", "sub", "mul", "div", "floordiv", "mod", "pow", "min", "max",
    "lt", "le", "gt", "ge", "eq", "ne", "and", "or",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Apply:
    """A primitive of one, two or three operands; "select" is `if a then b else c`, which computes
    as if only the chosen side were evaluated (no NaN leaks from the other).

    floordiv and mod are Python's. min and max give NaN if one operand is NaN, and the first operand
    in a tie. "stop" is the identity whose derivative is 0.
    """

    operator: Unary | Binary | Literal["select", "stop"]
    operands: tuple[Expression, ...]


FoldOperator = Literal["sum", "prod", "min", "max", "argmax", "argmin", "any", "all"]


@dataclass(frozen=True, slots=True)
class Guard:
    """A condition on axes: `index >= 0`, or `index % modulus == 0` where a modulus is given."""

    index: Affine
    modulus: int = 0

    def __str__(self) -> str:
        return f"({self.index}) % {self.modulus} == 0" if self.modulus else f"{self.index} >= 0"


@dataclass(frozen=True, slots=True)
class Fold:
    """A reduction over axes, in row-major order, of the places where all guards hold.

    An empty sum is 0, prod 1, any false, all true, min +inf, max -inf. argmax and argmin give the
    row-major position in `axes` (unclipped) of the first winner. max and min pass NaN on.
    In the Net `where` is empty: presence follows from the connections, synthesize adds it.
    """

    operator: FoldOperator
    axes: tuple[Axis, ...]
    body: Expression
    where: tuple[Guard, ...] = ()


Expression = Union[
    Number, Position, Local, Argument, Load, Scalar, Count, Training, Random, Apply, Fold
]
Index = Union[Affine, Expression]


@dataclass(frozen=True, slots=True)
class Let:
    """A named value, computed once for each point of the surrounding body, in order."""

    name: str
    expression: Expression
