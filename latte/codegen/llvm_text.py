"""How LLVM writes the types, operators and operands of vector code.

typed(Constant(1.0, f32x16))  ->  <16 x float> splat (float 0x3FF0000000000000)
"""

from __future__ import annotations

import struct

from latte.compiler.vector import FLOATS, Operand, Type, Value

NAMES = {
    "f32": "float",
    "f64": "double",
    "i32": "i32",
    "i64": "i64",
    "u8": "i8",
    "i1": "i1",
    "ptr": "ptr",
}
MANGLED = {"f32": "f32", "f64": "f64", "i32": "i32", "i64": "i64", "u8": "i8", "i1": "i1"}

FLOAT = {
    "add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv",
    "lt": "fcmp olt", "le": "fcmp ole", "gt": "fcmp ogt", "ge": "fcmp oge",
    "eq": "fcmp oeq", "ne": "fcmp une",
}  # fmt: skip
INTEGER = {
    "add": "add", "sub": "sub", "mul": "mul", "div": "sdiv", "rem": "srem",
    "lt": "icmp slt", "le": "icmp sle", "gt": "icmp sgt", "ge": "icmp sge",
    "eq": "icmp eq", "ne": "icmp ne", "ult": "icmp ult",
    "and": "and", "or": "or", "xor": "xor", "shl": "shl", "lshr": "lshr", "ashr": "ashr",
}  # fmt: skip
INTRINSIC = {"sqrt": "sqrt", "abs": "fabs", "floor": "floor", "round": "rint"}
CONVERSION = {
    ("i32", "f32"): "sitofp", ("i64", "f32"): "sitofp", ("u8", "f32"): "uitofp",
    ("i1", "f32"): "uitofp", ("i32", "i64"): "sext", ("i64", "i32"): "trunc",
    ("u8", "i32"): "zext", ("u8", "i64"): "zext", ("i1", "i32"): "zext", ("i1", "i64"): "zext",
    ("i32", "f64"): "sitofp", ("f32", "f64"): "fpext", ("f64", "f32"): "fptrunc",
    ("i1", "u8"): "zext", ("i32", "u8"): "trunc", ("i64", "u8"): "trunc",
}  # fmt: skip


def text(type_: Type) -> str:
    """`<16 x float>`, `i64`."""
    name = NAMES[type_.kind]
    return name if type_.lanes == 1 else f"<{type_.lanes} x {name}>"


def vector(type_: Type) -> str:
    """The type as a vector, of one lane too."""
    return f"<{type_.lanes} x {NAMES[type_.kind]}>"


def mangled(type_: Type) -> str:
    """`v16f32`, as in the names of intrinsics."""
    name = MANGLED[type_.kind]
    return name if type_.lanes == 1 else f"v{type_.lanes}{name}"


def typed(operand: Operand) -> str:
    """`<16 x float> %v3`."""
    return f"{text(operand.type)} {plain(operand)}"


def plain(operand: Operand) -> str:
    """`%v3`, or a constant without its outer type."""
    if isinstance(operand, Value):
        return "%" + operand.name
    value, type_ = operand.value, operand.type
    if isinstance(value, tuple):
        name = NAMES[type_.kind]
        return f"<{', '.join(f'{name} {number(x, type_)}' for x in value)}>"
    if type_.lanes == 1:
        return number(value, type_)
    return f"splat ({NAMES[type_.kind]} {number(value, type_)})"


def number(value: float, type_: Type) -> str:
    """A scalar constant; floats by the bits of the double that equals the float32."""
    if type_.kind in FLOATS:
        rounded = _single(value) if type_.kind == "f32" else value
        return f"0x{struct.unpack('<Q', struct.pack('<d', rounded))[0]:016X}"
    if type_.kind == "i1":
        return "true" if value else "false"
    return str(int(value))


def _single(value: float) -> float:
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
