"""What a name can stand for while a specification is elaborated.

A compile-time number (int, exact Fraction, float, bool), a pack of them (tuple), a text, a function
passed by name, a whole source (`Reference`), an indexed one (`Draft`), a layer call (`Instance`),
several sources (`Sources`), an index expression (`Affine`), or arithmetic on any of these that
only a neuron can do (`Formula`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Literal, Union

from latte.compiler.affine import Affine
from latte.compiler.expression import Argument, Axis, Expression, Number, Position
from latte.compiler.net import Moment

Scalar = Union[int, float, Fraction]


class Poisoned(Exception):
    """A mistake was reported here, or this depends on one: nothing more to say about it."""


class Fault(Exception):
    """A mistake in arithmetic on values; whoever knows the place reports it."""

    def __init__(self, code: str, message: str, help: str = "") -> None:
        super().__init__(message)
        self.code, self.message, self.help = code, message, help


@dataclass(frozen=True, slots=True)
class Poison:
    """Stands for a value that could not be made; reading it raises `Poisoned`."""


@dataclass(frozen=True, slots=True)
class Function:
    """`floor` in `MaxPool(a, 3, round = floor)`."""

    name: str


@dataclass(frozen=True, slots=True)
class Reference:
    """A whole input, parameter, running value, ensemble or view, at some moment.

    `axes` are the source's own; `items` and Moment.ALL put the batch and time axes in front.
    """

    node: str
    axes: tuple[Axis, ...]
    classes: int | None = None
    moment: Moment = Moment.SAME
    initial: Reference | None = None
    items: bool = False

    @property
    def visible(self) -> tuple[Axis, ...]:
        """All axes that an index can name: batch, time, then its own."""
        front = (BATCH,) if self.items else ()
        return (*front, *((TIME,) if self.moment is Moment.ALL else ()), *self.axes)

    def __str__(self) -> str:
        text = self.node
        if self.moment is not Moment.SAME:
            text = f"{WORDS[self.moment]}({text})"
        return f"items({text})" if self.items else text


# Sizes that only the compiled batch and length of sequences give are 0 in a Net.
BATCH = Axis("n", 0, "n")
TIME = Axis("t", 0, "t")
WORDS = {Moment.PREVIOUS: "prev", Moment.NEXT: "next", Moment.LAST: "last", Moment.ALL: "steps"}


@dataclass(frozen=True, slots=True)
class Single:
    """One place of an axis: an index expression, after the value of `chosen` if there is one."""

    index: Affine
    chosen: Draft | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """`count` places from `start`, `step` apart; `count` is 0 along the batch and time axes."""

    start: Affine
    count: int
    step: int = 1
    symbol: Literal["n", "t"] | None = None
    chosen: Draft | None = None


Entry = Union[Single, Span]


@dataclass(frozen=True, slots=True)
class Draft:
    """An indexed source, `a[:, y ..+ 3]`, whose windows have no names yet. `offset` is added to
    the value where it is used as an index (`table[word + 1, :]`)."""

    reference: Reference
    entries: tuple[Entry, ...]
    offset: Affine = field(default_factory=lambda: Affine((), 0))

    @property
    def windows(self) -> tuple[Span, ...]:
        return tuple(entry for entry in self.entries if isinstance(entry, Span))

    def __str__(self) -> str:
        return f"{self.reference}[{', '.join(map(str, self.entries))}]"


@dataclass(frozen=True, slots=True)
class Formula:
    """Arithmetic that runs in a neuron: its arguments are named after what they read."""

    expression: Expression
    sources: tuple[tuple[str, Reference | Draft], ...] = ()


@dataclass(frozen=True, slots=True)
class Sources:
    """What `sources...` was given."""

    items: tuple[Value, ...]


@dataclass(slots=True)
class Instance:
    """A layer call: its value is `out`, its parts are reached by name."""

    kind: str
    path: str
    members: dict[str, Value]


Value = Union[
    Scalar,
    str,
    tuple["Value", ...],
    Affine,
    Formula,
    Draft,
    Reference,
    Instance,
    Sources,
    Function,
    Poison,
]


def formula(value: Value) -> Formula:
    """A value as arithmetic of a neuron; a Fault where it is no number and no source."""
    match value:
        case bool() | int() | float() | Fraction():
            return Formula(Number(float(value)))
        case Affine():
            return Formula(Position(value))
        case Formula():
            return value
        case Reference() | Draft():
            name = str(value)
            return Formula(Argument(name), ((name, value),))
        case Instance():
            return formula(source(value))
        case _:
            raise Fault("E0405", f"{describe(value)} takes no part in arithmetic")


def source(value: Value) -> Reference:
    """The source that a value stands for; a Fault where it is none."""
    match value:
        case Reference():
            return value
        case Instance():
            out = value.members.get("out", Poison())
            if isinstance(out, Poison):
                raise Poisoned
            return source(out)
        case Poison():
            raise Poisoned
        case _:
            raise Fault("E0405", f"expected an ensemble, found {describe(value)}")


def whole(reference: Reference) -> Draft:
    """`source[...]`: a window over every visible axis."""
    entries = tuple(whole_axis(axis) for axis in reference.visible)
    return Draft(reference, entries)


def whole_axis(axis: Axis) -> Span:
    """`:` along one axis."""
    return Span(Affine((), 0), axis.size, 1, axis.symbol)


def moved(reference: Reference, moment: Moment, initial: Reference | None = None) -> Reference:
    """The same source at another moment."""
    return replace(reference, moment=moment, initial=initial)


def sizes(axes: tuple[Axis, ...]) -> tuple[int, ...]:
    """How many places each axis has."""
    return tuple(axis.size for axis in axes)


def shape(axes: tuple[Axis, ...]) -> str:
    """A shape as text: `[20, 24, 24]`."""
    return "[" + ", ".join(axis.symbol or str(axis.size) for axis in axes) + "]"


def describe(value: Value) -> str:
    """What a value is, in a message."""
    match value:
        case bool():
            return "the truth value " + ("true" if value else "false")
        case int() | float() | Fraction():
            return f"the number {value}"
        case str():
            return f'the text "{value}"'
        case tuple():
            return "the numbers (" + ", ".join(str(item) for item in value) + ")"
        case Affine():
            return f"the index {value}"
        case Function():
            return f"the function `{value.name}`"
        case Reference():
            return f"`{value}` of shape {shape(value.visible)}"
        case Draft():
            return f"an indexed `{value.reference}`"
        case Instance():
            return f"the layer `{value.kind}`"
        case Sources():
            return f"{len(value.items)} sources"
        case Formula():
            return "an expression of ensembles" if value.sources else "an expression of axes"
        case Poison():
            raise Poisoned
