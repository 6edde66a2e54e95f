"""Values while vector code is being built: operators, constant folding, hoisting.

In: operators and calls on terms.  Out: `Operation`s, each recorded once (value numbering) and in
the outermost block that has its operands, so that loop-invariant code and the parts of addresses
leave the loops by themselves. Python numbers stand for constants. A constant added to an index
is kept apart, and becomes the offset of a load or store, which costs nothing:

    (row * 64 + 3) * 4     ->     v7 = mul row, 256   with offset 12
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Union

from latte.compiler.vector import (
    BYTES,
    F32,
    FLOATS,
    I64,
    Constant,
    Kind,
    Operand,
    Operation,
    Operator,
    Shuffle,
    Statement,
    Type,
    Value,
    vector_type,
)

Number = Union["Term", int, float]
Integer = Union["Term", int]


class Term:
    """A value while code is being built; `+ - * / & | ^ << >>` and comparisons record operations.

    `offset` is a constant not yet added (scalar i64 only). `>>` shifts zeros in. `==` stays
    Python's identity: use `eq`, `ne`.
    """

    __slots__ = ("offset", "operand", "operations", "type")

    def __init__(self, operations: Operations, operand: Operand, offset: int = 0) -> None:
        self.operations = operations
        self.operand = operand
        self.type = operand.type
        self.offset = offset

    @property
    def is_index(self) -> bool:
        """Whether this is an i64 scalar."""
        return self.type.kind == "i64" and self.type.lanes == 1

    def __add__(self, other: Number) -> Term:
        if self.is_index:
            return self.operations.add_index(self, other)
        return self.operations.binary("add", self, other)

    def __radd__(self, other: Number) -> Term:
        return self + other if self.is_index else self.operations.binary("add", other, self)

    def __sub__(self, other: Number) -> Term:
        if self.is_index and isinstance(other, int):
            return self + -other
        return self.operations.binary("sub", self, other)

    def __rsub__(self, other: Number) -> Term:
        return self.operations.binary("sub", other, self)

    def __mul__(self, other: Number) -> Term:
        if self.is_index and isinstance(other, int):
            return self.operations.scale_index(self, other)
        return self.operations.binary("mul", self, other)

    def __rmul__(self, other: Number) -> Term:
        return self * other if self.is_index else self.operations.binary("mul", other, self)

    def __truediv__(self, other: Number) -> Term:
        return self.operations.binary("div", self, other)

    def __rtruediv__(self, other: Number) -> Term:
        return self.operations.binary("div", other, self)

    def __floordiv__(self, divisor: int) -> Term:
        return self.operations.floor_divide(self, divisor)

    def __mod__(self, divisor: int) -> Term:
        return self.operations.modulo(self, divisor)

    def __neg__(self) -> Term:
        if self.type.kind in FLOATS:
            return self.operations.operation("neg", self.type, self)
        return self.operations.binary("sub", 0, self)

    def __and__(self, other: Number) -> Term:
        return self.operations.binary("and", self, other)

    def __or__(self, other: Number) -> Term:
        return self.operations.binary("or", self, other)

    def __xor__(self, other: Number) -> Term:
        return self.operations.binary("xor", self, other)

    def __lshift__(self, other: Number) -> Term:
        return self.operations.binary("shl", self, other)

    def __rshift__(self, other: Number) -> Term:
        return self.operations.binary("lshr", self, other)

    def __lt__(self, other: Number) -> Term:
        return self.operations.compare("lt", self, other)

    def __le__(self, other: Number) -> Term:
        return self.operations.compare("le", self, other)

    def __gt__(self, other: Number) -> Term:
        return self.operations.compare("gt", self, other)

    def __ge__(self, other: Number) -> Term:
        return self.operations.compare("ge", self, other)

    def eq(self, other: Number) -> Term:
        return self.operations.compare("eq", self, other)

    def ne(self, other: Number) -> Term:
        return self.operations.compare("ne", self, other)


@dataclass(slots=True)
class Block:
    """A body being recorded, and the pure operations in it by their text."""

    statements: list[Statement] = field(default_factory=list)
    known: dict[str, Term] = field(default_factory=dict)


class Operations:
    """Records pure operations in the open blocks. `builder.Builder` adds all else."""

    def __init__(self) -> None:
        self._blocks = [Block()]
        self._depths: dict[str, int] = {}
        self._count = 0

    def statements(self) -> tuple[Statement, ...]:
        """What was recorded in the outermost block."""
        assert len(self._blocks) == 1
        return tuple(self._blocks[0].statements)

    def fresh(self, type_: Type, depth: int | None = None) -> Value:
        """A new value of the block at a depth (the current one)."""
        self._count += 1
        name = f"v{self._count}"
        self._depths[name] = len(self._blocks) - 1 if depth is None else depth
        return Value(name, type_)

    def operation(self, operator: Operator, type_: Type, *operands: Number) -> Term:
        """Any `Operation`; Python numbers take the type of the first term operand."""
        like = next((o.type for o in operands if isinstance(o, Term)), type_)
        return self._pure(operator, type_, tuple(self.operand(o, like) for o in operands))

    def binary(self, operator: Operator, a: Number, b: Number) -> Term:
        """An operation whose result has the operands' type; a scalar operand is splat."""
        type_ = self._common(a, b)
        return self._pure(operator, type_, (self.operand(a, type_), self.operand(b, type_)))

    def compare(self, operator: Operator, a: Number, b: Number) -> Term:
        """lt, le, gt, ge, eq, ne (ult: unsigned): a truth value for each lane."""
        type_ = self._common(a, b)
        return self._pure(
            operator,
            vector_type("i1", type_.lanes),
            (self.operand(a, type_), self.operand(b, type_)),
        )

    def fma(self, a: Number, b: Number, c: Number) -> Term:
        """`a * b + c`, rounded once where the machine can."""
        type_ = _wider(self._common(a, b), self._common(b, c))
        operands = tuple(self.operand(x, type_) for x in (a, b, c))
        return self._pure("fma", type_, operands)

    def select(self, condition: Term | bool, a: Number, b: Number) -> Term:
        """Lanes of `a` where the condition holds, else of `b`."""
        type_ = self._common(a, b)
        if isinstance(condition, bool):
            return self.term(a if condition else b, type_)
        if condition.type.lanes > 1:
            type_ = vector_type(type_.kind, condition.type.lanes)
        chosen = (
            self.operand(condition, vector_type("i1", type_.lanes)),
            self.operand(a, type_),
            self.operand(b, type_),
        )
        return self._pure("select", type_, chosen)

    def minimum(self, a: Number, b: Number) -> Term:
        """Of integers the least; of floats NaN if one operand is NaN, the first in a tie."""
        return self._extreme("min", ("gt", "le"), a, b)

    def maximum(self, a: Number, b: Number) -> Term:
        """Of integers the greatest; of floats NaN if one operand is NaN, the first in a tie."""
        return self._extreme("max", ("lt", "ge"), a, b)

    def _extreme(
        self, operator: Operator, compares: tuple[Operator, Operator], a: Number, b: Number
    ) -> Term:
        """One select is enough where one operand is a number, which is never NaN."""
        if self._common(a, b).kind != "f32":
            return self.binary(operator, a, b)
        if _is_constant(a):
            return self.select(self.compare(compares[1], a, b), a, b)
        chosen = self.select(self.compare(compares[0], a, b), b, a)
        if _is_constant(b):
            return chosen
        assert isinstance(b, Term)
        return self.select(b.ne(b), b, chosen)

    def call(self, function: Operator, *operands: Term) -> Term:
        """One operand's type is the result's: sqrt, abs, floor, round, exp, log, tanh, ..."""
        return self.operation(function, operands[0].type, *operands)

    def convert(self, value: Term, kind: Kind) -> Term:
        """The same number in another type."""
        if value.type.kind == kind:
            return value
        return self.operation("convert", vector_type(kind, value.type.lanes), value)

    def reinterpret(self, value: Term, kind: Kind) -> Term:
        """The same bits in another type of the same size."""
        return self.operation("bitcast", vector_type(kind, value.type.lanes), value)

    def splat(self, value: Number, lanes: int, kind: Kind = "f32") -> Term:
        """A scalar in all lanes (a Python number of the given kind)."""
        scalar = value.type.kind if isinstance(value, Term) else kind
        return self.term(value, vector_type(scalar, lanes))

    def lane_numbers(self, lanes: int, kind: Kind = "i64") -> Term:
        """0, 1, ... lanes - 1."""
        if lanes == 1:
            return self.term(0, vector_type(kind, 1))
        return Term(self, Constant(tuple(range(lanes)), Type(kind, lanes)))

    def constant(self, numbers: Sequence[int | float], kind: Kind) -> Term:
        """A vector of numbers."""
        return Term(self, Constant(tuple(numbers), Type(kind, len(numbers))))

    def shuffle(self, a: Term, b: Term | None, order: Sequence[int]) -> Term:
        """Lanes of `a` and `b` in the given order; one lane gives a scalar."""
        if len(order) == 1:
            source = a if order[0] < a.type.lanes or b is None else b
            return self.extract(source, order[0] % a.type.lanes)
        second = a if b is None else b
        type_ = vector_type(a.type.kind, len(order))
        return self._pure(None, type_, (a.operand, second.operand), tuple(order))

    def extract(self, value: Term, lane: int) -> Term:
        """One lane as a scalar."""
        type_ = vector_type(value.type.kind, 1)
        if value.type.lanes == 1:
            return value
        return self._pure("extract", type_, (value.operand, Constant(lane, I64)))

    def reduce(self, operator: Operator, value: Term) -> Term:
        """sum, any or all of the lanes, as a scalar."""
        if value.type.lanes == 1:
            return value
        return self.operation(operator, vector_type(value.type.kind, 1), value)

    # Integers

    def add_index(self, a: Term, b: Number) -> Term:
        """`a + b` of i64 scalars; constants stay apart as the offset."""
        if isinstance(b, int):
            return Term(self, a.operand, a.offset + b) if b else a
        if isinstance(b, Term) and b.is_index:
            bare = self._pure("add", I64, (a.operand, b.operand))
            return Term(self, bare.operand, a.offset + b.offset)
        return self.binary("add", a, b)

    def scale_index(self, a: Term, factor: int) -> Term:
        """`a * factor` of an i64 scalar."""
        if factor == 1:
            return a
        if factor == 0:
            return Term(self, Constant(0, I64))
        bare = self._pure("mul", I64, (a.operand, Constant(factor, I64)))
        return Term(self, bare.operand, a.offset * factor)

    def floor_divide(self, a: Term, divisor: int) -> Term:
        """Rounds towards minus infinity; the divisor is positive."""
        if divisor == 1:
            return a
        if a.is_index and a.offset and a.offset % divisor == 0:
            return self.floor_divide(Term(self, a.operand), divisor) + a.offset // divisor
        if divisor & (divisor - 1) == 0:
            return self.binary("ashr", a, divisor.bit_length() - 1)
        return self._floored(a, divisor)

    def _floored(self, a: Term, divisor: int) -> Term:
        negative = self.binary("ashr", a, 8 * BYTES[a.type.kind] - 1)  # -1 or 0
        quotient = self.binary("div", self.binary("xor", a, negative), divisor)
        return self.binary("xor", quotient, negative)

    def modulo(self, a: Term, divisor: int) -> Term:
        """`a - divisor * (a // divisor)`."""
        if divisor & (divisor - 1) == 0:
            return self.binary("and", a, divisor - 1)
        return a - (a // divisor) * divisor

    def materialized(self, a: Term) -> Term:
        """The same value with its constant offset added."""
        return Term(self, self.operand(a, a.type)) if a.offset else a

    # Operands and recording

    def term(self, value: Number, type_: Type) -> Term:
        """A number as a term of that type; a scalar term splat to its lanes."""
        if isinstance(value, Term) and value.type == type_:
            return value
        return Term(self, self.operand(value, type_))

    def operand(self, value: Number, type_: Type) -> Operand:
        """What a statement holds: constants typed, offsets added, scalars splat."""
        if not isinstance(value, Term):
            return Constant(float(value) if type_.kind in FLOATS else int(value), type_)
        operand = value.operand
        if value.offset:
            operand = self._pure("add", I64, (operand, Constant(value.offset, I64))).operand
        if operand.type.lanes == type_.lanes:
            assert operand.type == type_, (operand, operand.type, type_)
            return operand
        assert operand.type.lanes == 1 and operand.type.kind == type_.kind, (operand.type, type_)
        if isinstance(operand, Constant):
            return Constant(operand.value, type_)
        return self._pure("splat", type_, (operand,)).operand

    def _common(self, a: Number, b: Number) -> Type:
        if not isinstance(a, Term):
            return b.type if isinstance(b, Term) else F32
        return _wider(a.type, b.type) if isinstance(b, Term) else a.type

    def _pure(
        self,
        operator: Operator | None,
        type_: Type,
        operands: tuple[Operand, ...],
        order: tuple[int, ...] | None = None,
    ) -> Term:
        depth, key = 0, f"{operator or order} {type_.kind} {type_.lanes}"
        for operand in operands:
            if isinstance(operand, Value):
                key += " " + operand.name
                depth = max(depth, self._depths.get(operand.name, 0))
            else:
                key += " " + repr(operand.value)
        block = self._blocks[depth]
        found = block.known.get(key)
        if found is None:
            result = self.fresh(type_, depth)
            block.statements.append(_statement(result, operator, operands, order))
            found = block.known[key] = Term(self, result)
        return found


def _statement(
    result: Value,
    operator: Operator | None,
    operands: tuple[Operand, ...],
    order: tuple[int, ...] | None,
) -> Statement:
    if operator is not None:
        return Operation(result, operator, operands)
    assert order is not None
    return Shuffle(result, operands[0], operands[1], order)


def _is_constant(a: Number) -> bool:
    return not isinstance(a, Term) or isinstance(a.operand, Constant)


def _wider(a: Type, b: Type) -> Type:
    assert a.kind == b.kind, (a, b)
    return b if b.lanes > a.lanes else a
