"""A pleasant way to write vector code: operators on values, loops as context managers.

    b = Builder("double")
    source, target = b.pointer("in", readonly=True), b.pointer("out")
    with b.loop(b.first, b.last) as row:
        for k in range(4):
            x = b.load(source, row * 64 + k * 16, lanes=16)
            b.store(x + x, target, row * 64 + k * 16)
    function = b.function()

Pure operations move out of loops and are never recorded twice; see `values.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from latte.compiler.values import Block, Integer, Number, Operations, Term
from latte.compiler.vector import (
    BOOL,
    BYTES,
    F32,
    FIRST,
    I64,
    LAST,
    PLACES,
    POINTER,
    SCALARS,
    TABLE,
    Address,
    Assign,
    Function,
    If,
    Kind,
    Load,
    Loop,
    Pointer,
    Prefetch,
    Read,
    Scratch,
    Statement,
    Store,
    Type,
    Value,
    Variable,
    vector_type,
)


@dataclass(slots=True)
class Accumulator:
    """A mutable variable: `value` reads it, `set` changes it."""

    builder: Builder
    variable: Value
    type: Type

    @property
    def value(self) -> Term:
        result = self.builder.fresh(self.type)
        self.builder.add_statement(Read(result, self.variable))
        return Term(self.builder, result)

    def set(self, value: Number) -> None:
        self.builder.add_statement(Assign(self.variable, self.builder.operand(value, self.type)))


class Builder(Operations):
    """Records one `Function`."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self._pointers: dict[str, Pointer] = {}
        self.first, self.last = Term(self, FIRST), Term(self, LAST)
        self.table = Term(self, TABLE)
        self.scalars = Term(self, SCALARS)

    # Arguments and the result

    def pointer(self, name: str, readonly: bool = False) -> Term:
        """The base of the next buffer of the argument table."""
        assert name not in self._pointers, name
        self._pointers[name] = Pointer(name, readonly)
        return Term(self, Value(name, POINTER))

    def function(self) -> Function:
        """What was recorded."""
        return Function(self.name, tuple(self._pointers.values()), self.statements())

    # Statements

    def add_statement(self, statement: Statement) -> None:
        """Records a statement in the current block, in order."""
        self._blocks[-1].statements.append(statement)

    @contextmanager
    def loop(
        self, start: Integer, stop: Integer, step: int = 1, guarded: bool | None = None
    ) -> Iterator[Integer]:
        """Gives the counter: an int where the only trip is known. `guarded=False` promises at
        least one trip; None finds out, and guards where it cannot."""
        if isinstance(start, int) and isinstance(stop, int):
            guarded = False
            if start < stop <= start + step:
                yield start
                return
        counter = self._open_counter()
        yield Term(self, counter)
        body = tuple(self._blocks.pop().statements)
        if isinstance(start, int) and isinstance(stop, int) and start >= stop:
            return
        self.add_statement(
            Loop(
                counter,
                self.operand(start, I64),
                self.operand(stop, I64),
                step,
                body,
                guarded is not False,
            )
        )

    def _open_counter(self) -> Value:
        self._blocks.append(Block())
        return self.fresh(I64)

    @contextmanager
    def when(self, condition: Term | bool) -> Iterator[None]:
        """Runs the body where the scalar condition holds."""
        if condition is True:
            yield
            return
        self._blocks.append(Block())
        yield
        body = tuple(self._blocks.pop().statements)
        if isinstance(condition, Term):
            self.add_statement(If(self.operand(condition, BOOL), body))

    @contextmanager
    def otherwise(self) -> Iterator[None]:
        """What runs where the `when` just before did not."""
        last = self._blocks[-1].statements.pop()
        assert isinstance(last, If) and not last.otherwise
        self._blocks.append(Block())
        yield
        body = tuple(self._blocks.pop().statements)
        self.add_statement(If(last.condition, last.body, body))

    def variable(self, type_: Type, initial: Number | None = None) -> Accumulator:
        """A mutable variable, kept in a register."""
        self._count += 1
        accumulator = Accumulator(self, Value(f"a{self._count}", POINTER), type_)
        self.add_statement(Variable(accumulator.variable, type_))
        if initial is not None:
            accumulator.set(initial)
        return accumulator

    def scratch(self, count: int, kind: Kind = "f32") -> Term:
        """A pointer to `count` elements on the stack."""
        result = self.fresh(POINTER)
        self.add_statement(Scratch(result, kind, count))
        return Term(self, result)

    # Memory

    def load(
        self,
        pointer: Term,
        index: Integer,
        lanes: int = 1,
        kind: Kind = "f32",
        alignment: int | None = None,
        mask: Term | None = None,
    ) -> Term:
        """`lanes` elements from `index` on; a vector index gathers. The alignment in bytes is the
        element's unless a larger one is given."""
        if isinstance(index, Term) and index.type.lanes > 1:
            lanes = index.type.lanes
        result = self.fresh(vector_type(kind, lanes))
        self.add_statement(
            Load(
                result,
                self.address(pointer, index),
                alignment or BYTES[kind],
                None if mask is None else mask.operand,
            )
        )
        return Term(self, result)

    def store(
        self,
        value: Number,
        pointer: Term,
        index: Integer,
        type_: Type = F32,
        alignment: int | None = None,
        mask: Term | None = None,
        nontemporal: bool = False,
    ) -> None:
        """Stores the lanes of `value` from `index` on; a vector index scatters. `type_` is used
        for Python numbers only."""
        operand = self.operand(value, value.type if isinstance(value, Term) else type_)
        self.add_statement(
            Store(
                operand,
                self.address(pointer, index),
                alignment or BYTES[operand.type.kind],
                None if mask is None else mask.operand,
                nontemporal,
            )
        )

    def prefetch(
        self, pointer: Term, index: Integer, locality: int = 3, write: bool = False
    ) -> None:
        """Asks for the line of an f32 element."""
        self.add_statement(Prefetch(self.address(pointer, index), locality, write))

    def address(self, pointer: Term, index: Integer) -> Address:
        """The address of an element, with its constant part as offset."""
        if isinstance(index, int):
            return Address(pointer.operand, None, index)
        return Address(pointer.operand, index.operand, index.offset)

    def scalar(self, slot: int) -> Term:
        """The f32 in a slot of the scalars."""
        return self._pure_load(SCALARS, F32, slot * 2)

    def scalar_integer(self, slot: int) -> Term:
        """The i64 in a slot of the scalars."""
        return self._pure_load(SCALARS, I64, slot)

    def place(self, depth: int) -> Term:
        """Where the loop or group of that depth around the kernel is, the outermost at 0."""
        return self._pure_load(PLACES, I64, depth)

    def _pure_load(self, block: Value, type_: Type, offset: int) -> Term:
        known = self._blocks[0].known
        key = f"{block} {type_.kind} {offset}"
        if key not in known:
            result, address = self.fresh(type_, 0), Address(block, None, offset)
            self._blocks[0].statements.append(Load(result, address, BYTES[type_.kind]))
            known[key] = Term(self, result)
        return known[key]
