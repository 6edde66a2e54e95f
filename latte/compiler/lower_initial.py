"""First values of parameters as vector code: uniform draws and float64 arithmetic, as the oracle's.

In: an initial expression, how a parameter is stored.  Out: a function, and the words it reads.

    low + (high - low) * random()     ->     for row: for e: b0[row, e] = n0 + n1 * draw(k0, index)

Sizes, layouts, constants and keys are data to the function: one serves every parameter with an
expression of that form. What is stored falls into *rows* of elements that are `stride` apart in
declared order; the digits of a row's number, in mixed radix, say where it begins.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from latte.compiler import random
from latte.compiler.builder import Builder
from latte.compiler.expression import Apply, Expression, Number, Random
from latte.compiler.ir import Buffer, Dim
from latte.compiler.lower_random import mix, signed
from latte.compiler.rewrite import walk
from latte.compiler.values import Integer, Term
from latte.compiler.vector import Function

LANES = 16
RANK = 6  # digits of a row's number, at most
LONGEST = 1 << 14  # elements of a row; longer ones are cut, for threads to share
OPERATORS = frozenset({"add", "sub", "mul", "div", "neg", "sqrt"})


@dataclass(frozen=True, slots=True)
class Digit:
    """One digit of a row's number: how many values it takes, and what one more of it adds to the
    row's place in declared order, takes from its length, and adds to its place as stored."""

    count: int
    stride: int
    shorter: int
    place: int


@dataclass(frozen=True, slots=True)
class Rows:
    """A stored array without its borders: rows of up to `extent` elements, `stride` apart in
    declared order; all have `length` in a row less what their digits take."""

    extent: int
    stride: int
    length: int
    digits: tuple[Digit, ...]

    @property
    def count(self) -> int:
        return prod(digit.count for digit in self.digits)

    def words(self) -> list[int]:
        """As the function reads them."""
        head = [self.extent, self.stride, self.length]
        spare = [Digit(1, 0, 0, 0)] * (RANK - len(self.digits))
        digits = (*spare, *self.digits)
        return head + [w for d in digits for w in (d.count, d.stride, d.shorter, d.place)]


def rows(buffer: Buffer) -> Rows | None:
    """The rows of a stored array; None where an outer dimension has padding or a border."""
    sizes = [axis.size for axis in buffer.axes]
    steps = [prod(sizes[place + 1 :]) for place in range(len(sizes))]
    dims = buffer.dims or tuple(Dim(place, size) for place, size in enumerate(sizes))
    dims = dims or (Dim(0, 1),)
    sizes, steps = sizes or [1], steps or [1]
    inner = dims[-1]
    ends = {axis: 1 + sum((d.extent - 1) * d.divide for d in dims if d.axis == axis)
            for axis in range(len(sizes))}  # fmt: skip
    padded = [axis for axis, size in enumerate(sizes) if ends[axis] != size and axis != inner.axis]
    if padded or any(dim.before for dim in dims) or inner.divide != 1 or prod(sizes) >= 1 << 32:
        return None
    places = [prod(dim.extent for dim in dims[number + 1 :]) for number in range(len(dims))]
    digits = tuple(
        Digit(d.extent, d.divide * steps[d.axis], d.divide if d.axis == inner.axis else 0, place)
        for d, place in zip(dims[:-1], places, strict=False)
    )
    return _cut(_joined(Rows(inner.extent, steps[inner.axis], sizes[inner.axis], digits)))


def _joined(whole: Rows) -> Rows | None:
    """Rows that follow one another in declared order too are one."""
    while whole.digits:
        last = whole.digits[-1]
        full = whole.length == whole.extent and not any(d.shorter for d in whole.digits)
        split = last.shorter == whole.extent and all(not d.shorter for d in whole.digits[:-1])
        if last.stride != whole.extent * whole.stride or not (full or split):
            break
        extent = whole.extent * last.count
        length = whole.length * last.count if full else whole.length
        whole = Rows(extent, whole.stride, length, whole.digits[:-1])
    return whole if len(whole.digits) < RANK else None


def _cut(whole: Rows | None) -> Rows | None:
    if whole is None or whole.extent <= LONGEST:
        return whole
    digit = Digit(-(-whole.extent // LONGEST), LONGEST * whole.stride, LONGEST, LONGEST)
    return Rows(LONGEST, whole.stride, whole.length, (*whole.digits, digit))


def lower_initial(initial: Expression) -> Function | None:
    """The function of an expression: its buffers are the array, the words of its `Rows`, its
    numbers and the keys of its draws, both in the order of a walk. None where it holds more than
    numbers, uniform draws and arithmetic that rounds in one way."""
    for node in walk(initial):
        match node:
            case Number() | Random("uniform"):
                continue
            case Apply(operator) if operator in OPERATORS:
                continue
        return None
    return _Emitter(initial).function()


class _Emitter:
    def __init__(self, initial: Expression) -> None:
        self.b = Builder("initial")
        self.initial = initial
        self.target = self.b.pointer("b0")
        self.words, self.numbers, self.keys = (
            self.b.pointer(f"b{place}", readonly=True) for place in (1, 2, 3)
        )
        nodes = tuple(walk(initial))
        numbers = sum(isinstance(node, Number) for node in nodes)
        draws = sum(isinstance(node, Random) for node in nodes)
        self.known = [self.b.load(self.numbers, k, 1, "f64") for k in range(numbers)]
        self.streams = [self.b.load(self.keys, k, 1, "i32") for k in range(draws)]

    def function(self) -> Function:
        b = self.b
        extent, stride, length = (self._word(k) for k in range(3))
        with b.loop(b.first, b.last) as row:
            place, first, left = self._row(row, length)
            count = b.binary("min", left, extent)
            with b.loop(0, count, LANES) as e:
                self._store(place, first, stride, e, count)
        return b.function()

    def _word(self, number: int) -> Term:
        return self.b.load(self.words, number, 1, "i64")

    def _row(self, row: Integer, length: Term) -> tuple[Term, Term, Term]:
        """Where a row begins, as stored and as declared, and how long it is."""
        b = self.b
        rest: Term = b.term(row, length.type)
        place, first = b.term(0, length.type), b.term(0, length.type)
        for number in reversed(range(RANK)):
            count, stride, shorter, apart = (self._word(3 + 4 * number + k) for k in range(4))
            digit = b.binary("rem", rest, count)
            rest = b.binary("div", rest, count)
            place, first = place + b.binary("mul", digit, apart), first + digit * stride
            length = length - digit * shorter
        return place, first, length

    def _store(self, place: Term, first: Term, stride: Term, e: Integer, count: Term) -> None:
        """One vector of values; the row may end inside it."""
        b = self.b
        lanes = b.lane_numbers(LANES, "i32")
        start = b.convert(b.materialized(first + b.binary("mul", stride, e)), "i32")
        index = b.binary("add", b.binary("mul", lanes, b.convert(stride, "i32")), start)
        inside = lanes < b.convert(b.materialized(count - e), "i32")
        words, numbers = iter(self.streams), iter(self.known)

        def value(node: Expression) -> Term:
            match node:
                case Number():
                    return b.splat(next(numbers), LANES)
                case Random():
                    return self._draw(index, next(words))
                case Apply("neg", (a,)):
                    return b.operation("neg", value(a).type, value(a))
                case Apply("sqrt", (a,)):
                    return b.call("sqrt", value(a))
                case Apply("add" | "sub" | "mul" | "div" as operator, operands):
                    left, right = map(value, operands)
                    return b.binary(operator, left, right)
            raise AssertionError(node)

        b.store(b.convert(value(self.initial), "f32"), self.target, place + e, mask=inside)

    def _draw(self, index: Term, key: Term) -> Term:
        """`random.uniform` at indices below 2**32: the high word is 0."""
        high = signed(int(random.mix(np.zeros(1, np.uint32) ^ random.HIGH)[0]))
        bits = mix(mix(index) ^ key ^ high)
        return self.b.convert(bits >> 8, "f64") * 2.0**-24
