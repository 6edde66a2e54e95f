"""Vector code: the last form before LLVM. Loops, mutable variables, typed scalars and vectors.

In: what `builder.Builder` records, statement by statement.  Out: `codegen/llvm.py` prints it one to
one. Everything is explicit: lanes, alignment, masks, which operations fuse.

    relu [pointers: readonly b0, b1]
      for v1 = first .. last step 1
        v2 = mul v1, 64 : i64
        v3 = load b0[v2 + 0] : f32x16 align 64
        v4 = fcmp ...

Values are in static single assignment form; only a `Variable` changes (an accumulator), and it is
promoted to a register later. Each value is defined before its use, in the same or an outer block.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Union, assert_never

Kind = Literal["f32", "f64", "i32", "i64", "u8", "i1", "ptr"]

BYTES: dict[Kind, int] = {"f32": 4, "f64": 8, "i32": 4, "i64": 8, "u8": 1, "i1": 1, "ptr": 8}
FLOATS = frozenset({"f32", "f64"})  # f64 for what is computed once, such as first values

# The run-time block of 8-byte slots that every function is given as `scalars`.
SLOT_ITEMS = 0  # i64: items in this call
SLOT_STEPS = 1  # i64: time steps in this call
SLOT_SEED = 2  # i64
SLOT_UPDATE = 3  # i64: updates so far
FIRST_SCALAR = 4  # f32 at the start of its slot: `Program.scalars` in order; then two fault slots


def fault_slot(scalars: int) -> int:
    """The slot after `scalars` named scalars. An index that leaves its axis stores the address of
    the kernel's argument table there, and the index in the slot behind; nothing else is harmed."""
    return FIRST_SCALAR + scalars


@dataclass(frozen=True, slots=True)
class Type:
    """A scalar (one lane) or a vector. "u8" counts from 0 to 255, "i1" is a truth value."""

    kind: Kind
    lanes: int = 1

    def __str__(self) -> str:
        return self.kind if self.lanes == 1 else f"{self.kind}x{self.lanes}"


F32, F64, I32, I64, U8, BOOL, POINTER = (
    Type("f32"),
    Type("f64"),
    Type("i32"),
    Type("i64"),
    Type("u8"),
    Type("i1"),
    Type("ptr"),
)

SCALAR_TYPES: dict[Kind, Type] = {
    "f32": F32,
    "f64": F64,
    "i32": I32,
    "i64": I64,
    "u8": U8,
    "i1": BOOL,
    "ptr": POINTER,
}


def vector_type(kind: Kind, lanes: int) -> Type:
    """The type of so many lanes; a scalar's is one of the named ones."""
    return SCALAR_TYPES[kind] if lanes == 1 else Type(kind, lanes)


@dataclass(frozen=True, slots=True)
class Value:
    """The result of a statement, a loop's counter or an argument, by its unique name."""

    name: str
    type: Type

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Constant:
    """A number, the same in all lanes, or a tuple with one for each lane."""

    value: int | float | tuple[int | float, ...]
    type: Type

    def __str__(self) -> str:
        return str(self.value)


Operand = Union[Value, Constant]

FIRST, LAST = Value("first", I64), Value("last", I64)
TABLE, SCALARS = Value("buffers", POINTER), Value("scalars", POINTER)
PLACES = Value("places", POINTER)  # i64: where the loops and groups around the kernel are

Operator = Literal[
    "add", "sub", "mul", "div", "rem", "neg", "fma", "sqrt", "abs", "floor", "round",
    "and", "or", "xor", "shl", "lshr", "ashr",
    "lt", "le", "gt", "ge", "eq", "ne", "ult",
    "min", "max", "select", "splat", "convert", "truncate", "bitcast", "extract",
    "exp", "log", "tanh", "sigmoid", "erf", "sin", "cos", "pow",
    "sum", "any", "all",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Operation:
    """A pure operation on the operands' lanes.

    div and rem of integers round towards zero and are used with positive operands or exact
    divisions only ("floor division" is made of `ashr`, or with a bias); comparisons of floats are
    false for NaN except "ne"; min and max are of integers; "round" is to nearest even; "convert"
    between numbers saturates and makes NaN 0, "truncate" needs a float inside the range; "splat"
    of a scalar, "extract" of the lane given by a constant; "sum", "any" and "all" reduce the
    lanes, sum in a fixed binary tree: lane i with i + lanes/2 first.
    """

    result: Value
    operator: Operator
    operands: tuple[Operand, ...]


@dataclass(frozen=True, slots=True)
class Shuffle:
    """Lanes of `a` (0 .. lanes - 1) and `b` (lanes ..) in the given order; -1 is any value."""

    result: Value
    a: Operand
    b: Operand
    order: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Address:
    """`pointer[index + offset]`, counted in elements of what is loaded or stored there. A vector
    `index` names one element for each lane (gather, scatter), else the lanes are contiguous."""

    pointer: Operand
    index: Operand | None
    offset: int = 0

    def __str__(self) -> str:
        inside = str(self.offset) if self.index is None else f"{self.index} + {self.offset}"
        return f"{self.pointer}[{inside}]"


@dataclass(frozen=True, slots=True)
class Load:
    """Alignment in bytes. Lanes whose `mask` is false are not touched and become 0."""

    result: Value
    address: Address
    alignment: int
    mask: Operand | None = None


@dataclass(frozen=True, slots=True)
class Store:
    """Lanes whose `mask` is false are not touched. A nontemporal store passes by the caches."""

    value: Operand
    address: Address
    alignment: int
    mask: Operand | None = None
    nontemporal: bool = False


@dataclass(frozen=True, slots=True)
class Prefetch:
    """`locality` 3 is the nearest cache, 0 none; `write` where it will be stored to. The address
    counts in f32 elements."""

    address: Address
    locality: int = 3
    write: bool = False


@dataclass(frozen=True, slots=True)
class Scratch:
    """`result` points to `count` elements of the function's own stack, 64-byte aligned."""

    result: Value
    kind: Kind
    count: int


@dataclass(frozen=True, slots=True)
class Variable:
    """`variable` (a pointer by type) holds one value that `Assign` changes and `Read` gives."""

    variable: Value
    type: Type


@dataclass(frozen=True, slots=True)
class Read:
    result: Value
    variable: Value


@dataclass(frozen=True, slots=True)
class Assign:
    variable: Value
    value: Operand


@dataclass(frozen=True, slots=True)
class Loop:
    """`for counter = start; counter < stop; counter += step`, tested at the bottom; `guarded`
    tests at the top as well (zero trips are possible). step is positive."""

    counter: Value
    start: Operand
    stop: Operand
    step: int
    body: tuple[Statement, ...]
    guarded: bool


@dataclass(frozen=True, slots=True)
class If:
    condition: Operand
    body: tuple[Statement, ...]
    otherwise: tuple[Statement, ...] = ()


Statement = Union[
    Operation, Shuffle, Load, Store, Prefetch, Scratch, Variable, Read, Assign, Loop, If
]


@dataclass(frozen=True, slots=True)
class Pointer:
    """A buffer's base, 64-byte aligned. No two pointers of a function overlap, unless both are
    only read; `readonly` where the function stores nothing through it."""

    name: str
    readonly: bool


@dataclass(frozen=True, slots=True)
class Function:
    """`void name(ptr buffers, ptr scalars, ptr places, i64 first, i64 last)`: runs units first ..
    last - 1. `pointers` are loaded from the table `buffers` in order; the body sees them by name,
    and the five arguments as `TABLE, SCALARS, PLACES, FIRST, LAST`."""

    name: str
    pointers: tuple[Pointer, ...]
    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Units:
    """How much parallel work there is: `fixed`, times the items of the call where `batched`.
    `points` is about how many elementary operations a unit takes (for the choice of threads)."""

    fixed: int
    batched: bool
    points: int = 0

    def count(self, items: int) -> int:
        """The number of units for so many items."""
        return self.fixed * (items if self.batched else 1)


@dataclass(frozen=True, slots=True)
class Lowered:
    """One kernel's code. `buffers` name the argument table in the order of the pointers."""

    function: Function
    buffers: tuple[str, ...]
    units: Units


def show(function: Function) -> str:
    """The function as text, one statement a line."""
    pointers = ", ".join(f"{'readonly ' * p.readonly}{p.name}" for p in function.pointers)
    return "\n".join([f"{function.name} [pointers: {pointers}]", *_block(function.body, 1)])


def _block(body: tuple[Statement, ...], depth: int) -> Iterator[str]:
    for statement in body:
        yield "  " * depth + _line(statement)
        match statement:
            case Loop():
                yield from _block(statement.body, depth + 1)
            case If():
                yield from _block(statement.body, depth + 1)
                if statement.otherwise:
                    yield "  " * depth + "else"
                    yield from _block(statement.otherwise, depth + 1)


def _line(statement: Statement) -> str:
    match statement:
        case Operation(result, operator, operands):
            return f"{result} = {operator} {', '.join(map(str, operands))} : {result.type}"
        case Shuffle(result, a, b, order):
            return f"{result} = shuffle {a}, {b} {list(order)} : {result.type}"
        case Load(result, address, alignment, mask):
            return f"{result} = load {address} : {result.type} align {alignment}{_masked(mask)}"
        case Store(value, address, alignment, mask, nontemporal):
            past = " nontemporal" * nontemporal
            return f"store {value} -> {address} align {alignment}{_masked(mask)}{past}"
        case Prefetch(address, locality, write):
            return f"prefetch{' write' * write} {address} locality {locality}"
        case Scratch(result, kind, count):
            return f"{result} = scratch {kind}[{count}]"
        case Variable(variable, type_):
            return f"var {variable} : {type_}"
        case Read(result, variable):
            return f"{result} = {variable}"
        case Assign(variable, value):
            return f"{variable} := {value}"
        case Loop(counter, start, stop, step, _, guarded):
            return f"{'for' if guarded else 'do'} {counter} = {start} .. {stop} step {step}"
        case If(condition):
            return f"if {condition}"
        case _:
            assert_never(statement)


def _masked(mask: Operand | None) -> str:
    return "" if mask is None else f" where {mask}"
