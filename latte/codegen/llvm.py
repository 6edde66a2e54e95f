"""Prints vector code as LLVM IR, one to one.

    v3 = fma v1, v2, 1.0 : f32x16
->
    %v3 = call <16 x float> @llvm.fma.v16f32(<16 x float> %v1, <16 x float> %v2,
                                             <16 x float> splat (float 0x3FF0000000000000))

In: Functions.  Out: the text of a module. No optimiser is expected but sroa, simplifycfg and
instcombine: loops are bottom-tested, code is already hoisted, `Variable`s are allocas. No flag lets
LLVM reorder a sum or forget a NaN. The same function gives the same text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import assert_never

from latte.codegen.llvm_math import MATH, body
from latte.codegen.llvm_text import (
    CONVERSION,
    FLOAT,
    INTEGER,
    INTRINSIC,
    MANGLED,
    NAMES,
    mangled,
    plain,
    text,
    typed,
    vector,
)
from latte.compiler.vector import (
    FLOATS,
    Address,
    Assign,
    Function,
    If,
    Load,
    Loop,
    Operand,
    Operation,
    Prefetch,
    Read,
    Scratch,
    Shuffle,
    Statement,
    Store,
    Type,
    Value,
    Variable,
)

ATTRIBUTES = 'attributes #0 = { nounwind "prefer-vector-width"="512" "no-trapping-math"="true" }'
ARGUMENTS = "ptr noalias %buffers, ptr noalias %scalars, ptr noalias %places, i64 %first, i64 %last"


def module(functions: Iterable[Function], fma: bool = True) -> str:
    """The IR text of a module with these functions; `fma` says whether the machine has it
    (else a product and a sum stand for it, rounded twice)."""
    printer = Printer(fma)
    texts = [printer.function(function) for function in functions]
    footer = [ATTRIBUTES, "!0 = !{i32 1}"]
    return "\n".join([*texts, *sorted(printer.declarations.values()), *footer, ""])


class Printer:
    """Prints functions and collects the declarations that they need."""

    def __init__(self, fma: bool) -> None:
        self.fma = fma
        self.declarations: dict[str, str] = {}
        self._lines: list[str] = []
        self._allocas: list[str] = []
        self._ifs = 0

    def function(self, function: Function) -> str:
        """The function and the door in front of it, which loads the argument table."""
        self._lines, self._allocas, self._ifs = [], [], 0
        self._body(function.body)
        pointers = [
            f"ptr noalias {'readonly ' * p.readonly}align 64 %{p.name}" for p in function.pointers
        ]
        name = f'@"{function.name}.units"'
        head = f"define internal void {name}({', '.join([*pointers, ARGUMENTS])}) #0 {{"
        inner = [head, "entry:", *self._allocas, *self._lines, "  ret void", "}"]
        return "\n".join([*_door(function, name), *inner])

    def statements(self, body: tuple[Statement, ...]) -> str:
        """The lines of some statements alone."""
        self._body(body)
        return "\n".join(self._lines)

    def _body(self, body: tuple[Statement, ...]) -> None:
        for statement in body:
            self._statement(statement)

    def _statement(self, statement: Statement) -> None:
        match statement:
            case Operation():
                self._operation(statement)
            case Load():
                self._load(statement)
            case Read(result, variable):
                self._put(f"%{result} = load {text(result.type)}, ptr %{variable}")
            case Assign(variable, value):
                self._put(f"store {typed(value)}, ptr %{variable}")
            case Shuffle():
                self._shuffle(statement)
            case Store():
                self._store(statement)
            case Loop():
                self._loop(statement)
            case If():
                self._if(statement)
            case Variable(variable, type_):
                self._allocas.append(f"  %{variable} = alloca {text(type_)}, align 64")
            case Scratch(result, kind, count):
                array = f"[{count} x {NAMES[kind]}]"
                self._allocas.append(f"  %{result} = alloca {array}, align 64")
            case Prefetch(address, locality, write):
                self.declarations["prefetch"] = "declare void @llvm.prefetch(ptr, i32, i32, i32)"
                where = self._address(address, "float", f"p{len(self._lines)}")
                flags = f"i32 {int(write)}, i32 {locality}, i32 1"
                self._put(f"call void @llvm.prefetch(ptr {where}, {flags})")
            case _:
                assert_never(statement)

    def _put(self, line: str) -> None:
        self._lines.append("  " + line)

    # Operations

    def _operation(self, statement: Operation) -> None:
        result, operator, operands = statement.result, statement.operator, statement.operands
        type_ = operands[0].type
        table = FLOAT if type_.kind in FLOATS else INTEGER
        if operator in table:
            a, b = operands
            self._put(f"%{result} = {table[operator]} {text(type_)} {plain(a)}, {plain(b)}")
        elif operator == "fma":
            self._fma(result, operands)
        elif operator == "select":
            self._put(f"%{result} = select {', '.join(map(typed, operands))}")
        elif operator in MATH:
            self._expand(result, operator, operands)
        else:
            self._rare(result, operator, operands)

    def _fma(self, result: Value, operands: tuple[Operand, ...]) -> None:
        if self.fma:
            self._call(result, "llvm.fma", operands)
            return
        a, b, c = map(plain, operands)
        name = text(result.type)
        self._put(f"%{result}.p = fmul {name} {a}, {b}")
        self._put(f"%{result} = fadd {name} %{result}.p, {c}")

    def _rare(self, result: Value, operator: str, operands: tuple[Operand, ...]) -> None:
        a = operands[0]
        match operator:
            case "neg":
                self._put(f"%{result} = fneg {typed(a)}")
            case "splat":
                self._splat(result, a)
            case "convert":
                self._convert(result, a)
            case "truncate" | "bitcast":
                word = "fptosi" if operator == "truncate" else "bitcast"
                self._put(f"%{result} = {word} {typed(a)} to {text(result.type)}")
            case "extract":
                self._put(f"%{result} = extractelement {typed(a)}, {typed(operands[1])}")
            case "min" | "max":
                self._call(result, "llvm.smin" if operator == "min" else "llvm.smax", operands)
            case "sum":
                self._sum(result, a)
            case "any" | "all":
                word = "or" if operator == "any" else "and"
                self._reduce(result, word, a)
            case _:
                assert operator in INTRINSIC, operator
                self._call(result, "llvm." + INTRINSIC[operator], operands)

    def _splat(self, result: Value, scalar: Operand) -> None:
        name, lanes = text(result.type), result.type.lanes
        self._put(f"%{result}.s = insertelement {name} poison, {typed(scalar)}, i64 0")
        zeros = f"<{lanes} x i32> zeroinitializer"
        self._put(f"%{result} = shufflevector {name} %{result}.s, {name} poison, {zeros}")

    def _convert(self, result: Value, value: Operand) -> None:
        source, target = value.type.kind, result.type.kind
        if (source, target) in CONVERSION:
            word = CONVERSION[source, target]
            self._put(f"%{result} = {word} {typed(value)} to {text(result.type)}")
            return
        assert source == "f32", (source, target)
        word = "llvm.fptoui.sat" if target == "u8" else "llvm.fptosi.sat"
        name = f"{word}.{mangled(result.type)}.{mangled(value.type)}"
        self._declare(name, text(result.type), [text(value.type)])
        self._put(f"%{result} = call {text(result.type)} @{name}({typed(value)})")

    def _call(self, result: Value, intrinsic: str, operands: tuple[Operand, ...]) -> None:
        name, type_ = f"{intrinsic}.{mangled(result.type)}", text(result.type)
        self._declare(name, type_, [text(o.type) for o in operands])
        self._put(f"%{result} = call {type_} @{name}({', '.join(map(typed, operands))})")

    def _declare(self, name: str, result: str, operands: list[str]) -> None:
        if name not in self.declarations:
            self.declarations[name] = f"declare {result} @{name}({', '.join(operands)})"

    def _sum(self, result: Value, vector: Operand) -> None:
        """Lane i with lane i + half, down to one: a fixed order, which LLVM may not change."""
        lanes, name, current = vector.type.lanes, text(vector.type), plain(vector)
        half = lanes // 2
        while half:
            moved = ", ".join(f"i32 {(i + half) % lanes}" for i in range(lanes))
            order = f"<{lanes} x i32> <{moved}>"
            step = f"%{result}.{half}"
            self._put(f"{step}s = shufflevector {name} {current}, {name} poison, {order}")
            word = "fadd" if vector.type.kind == "f32" else "add"
            self._put(f"{step} = {word} {name} {current}, {step}s")
            current, half = step, half // 2
        self._put(f"%{result} = extractelement {name} {current}, i64 0")

    def _reduce(self, result: Value, word: str, vector: Operand) -> None:
        name = f"llvm.vector.reduce.{word}.{mangled(vector.type)}"
        self._declare(name, "i1", [text(vector.type)])
        self._put(f"%{result} = call i1 @{name}({typed(vector)})")

    def _expand(self, result: Value, function: str, operands: tuple[Operand, ...]) -> None:
        """An elementary function's statements in place: no call, and no inliner needed."""
        lines, needed, last = _expansion(function, operands[0].type.lanes, self.fma)
        lines = lines.replace("%v", f"%{result}.v")
        lines = lines.replace(f"%{result}.{last} =", f"%{result} =")
        for name, operand in zip("xy", operands, strict=False):
            lines = re.sub(rf"%{name}\b", plain(operand), lines)
        self._lines.append(lines)
        self.declarations.update(needed)

    def _shuffle(self, statement: Shuffle) -> None:
        name = text(statement.a.type)
        order = ", ".join("i32 poison" if i < 0 else f"i32 {i}" for i in statement.order)
        lanes = len(statement.order)
        pair = f"{name} {plain(statement.a)}, {name} {plain(statement.b)}"
        self._put(f"%{statement.result} = shufflevector {pair}, <{lanes} x i32> <{order}>")

    # Memory

    def _address(self, address: Address, element: str, name: str) -> str:
        where = plain(address.pointer)
        if address.index is not None:
            self._put(f"%{name}.i = getelementptr {element}, ptr {where}, {typed(address.index)}")
            where = f"%{name}.i"
        if address.offset:
            self._put(f"%{name}.o = getelementptr {element}, ptr {where}, i64 {address.offset}")
            where = f"%{name}.o"
        return where

    def _addresses(self, address: Address, element: str, name: str) -> str:
        """A vector of pointers: the base with its constant offset, then the lanes' indices."""
        assert address.index is not None
        base = self._address(Address(address.pointer, None, address.offset), element, name)
        self._put(f"%{name}.i = getelementptr {element}, ptr {base}, {typed(address.index)}")
        return f"%{name}.i"

    def _load(self, statement: Load) -> None:
        result, address, type_ = statement.result, statement.address, text(statement.result.type)
        element = NAMES[result.type.kind]
        if _is_vector(address.index):
            where = self._addresses(address, element, result.name)
            self._gather(result, where, statement)
            return
        where = self._address(address, element, result.name)
        if statement.mask is None:
            self._put(f"%{result} = load {type_}, ptr {where}, align {statement.alignment}")
        elif result.type.lanes == 1:
            self._masked_scalar_load(result, where, statement)
        else:
            self._masked_load(f"%{result}", result.type, where, typed(statement.mask), statement)

    def _masked_load(
        self, result: str, type_: Type, where: str, mask: str, statement: Load
    ) -> None:
        name, type_text = f"llvm.masked.load.v{type_.lanes}{MANGLED[type_.kind]}.p0", vector(type_)
        self._declare(name, type_text, ["ptr", f"<{type_.lanes} x i1>", type_text])
        pointer = f"ptr align {statement.alignment} {where}"
        rest = f"{mask}, {type_text} zeroinitializer"
        self._put(f"{result} = call {type_text} @{name}({pointer}, {rest})")

    def _masked_scalar_load(self, result: Value, where: str, statement: Load) -> None:
        assert statement.mask is not None
        one = f"<1 x i1> %{result}.m"
        self._put(f"%{result}.m = bitcast {typed(statement.mask)} to <1 x i1>")
        self._masked_load(f"%{result}.v", result.type, where, one, statement)
        self._put(f"%{result} = extractelement {vector(result.type)} %{result}.v, i64 0")

    def _gather(self, result: Value, where: str, statement: Load) -> None:
        lanes, type_ = result.type.lanes, text(result.type)
        name = f"llvm.masked.gather.{mangled(result.type)}.v{lanes}p0"
        self._declare(name, type_, [f"<{lanes} x ptr>", f"<{lanes} x i1>", type_])
        pointers = f"<{lanes} x ptr> align {statement.alignment} {where}"
        rest = f"{self._lanes_on(statement.mask, lanes)}, {type_} zeroinitializer"
        self._put(f"%{result} = call {type_} @{name}({pointers}, {rest})")

    def _lanes_on(self, mask: Operand | None, lanes: int) -> str:
        return f"<{lanes} x i1> splat (i1 true)" if mask is None else typed(mask)

    def _store(self, statement: Store) -> None:
        value, address = statement.value, statement.address
        name, element = f"s{len(self._lines)}", NAMES[value.type.kind]
        if _is_vector(address.index):
            where = self._addresses(address, element, name)
            self._masked_store("scatter", where, statement, value.type.lanes)
            return
        where = self._address(address, element, name)
        if statement.mask is None:
            past = ", !nontemporal !0" if statement.nontemporal else ""
            self._put(f"store {typed(value)}, ptr {where}, align {statement.alignment}{past}")
        elif value.type.lanes == 1:
            self._conditional_store(statement, where, name)
        else:
            self._masked_store("store", where, statement, 1)

    def _masked_store(self, word: str, where: str, statement: Store, pointers: int) -> None:
        type_ = statement.value.type
        scatter = word == "scatter"
        pointer = f"<{pointers} x ptr>" if scatter else "ptr"
        suffix = f"v{pointers}p0" if scatter else "p0"
        name = f"llvm.masked.{word}.{mangled(type_)}.{suffix}"
        self._declare(name, "void", [text(type_), pointer, f"<{type_.lanes} x i1>"])
        place = f"{pointer} align {statement.alignment} {where}"
        mask = self._lanes_on(statement.mask, type_.lanes)
        self._put(f"call void @{name}({typed(statement.value)}, {place}, {mask})")

    def _conditional_store(self, statement: Store, where: str, name: str) -> None:
        assert statement.mask is not None
        self._put(f"br {typed(statement.mask)}, label %{name}.yes, label %{name}.no")
        self._lines.append(f"{name}.yes:")
        self._put(f"store {typed(statement.value)}, ptr {where}, align {statement.alignment}")
        self._put(f"br label %{name}.no")
        self._lines.append(f"{name}.no:")

    # Control

    def _loop(self, loop: Loop) -> None:
        name, stop = loop.counter.name, plain(loop.stop)
        if loop.guarded:
            self._put(f"%{name}.any = icmp slt i64 {plain(loop.start)}, {stop}")
            self._put(f"br i1 %{name}.any, label %{name}.before, label %{name}.exit")
        else:
            self._put(f"br label %{name}.before")
        self._lines += [f"{name}.before:", f"  br label %{name}.body", f"{name}.body:"]
        again = f"[ %{name}.next, %{name}.latch ]"
        self._put(f"%{name} = phi i64 [ {plain(loop.start)}, %{name}.before ], {again}")
        self._body(loop.body)
        self._lines += [f"  br label %{name}.latch", f"{name}.latch:"]
        self._put(f"%{name}.next = add nsw i64 %{name}, {loop.step}")
        self._put(f"%{name}.more = icmp slt i64 %{name}.next, {stop}")
        self._put(f"br i1 %{name}.more, label %{name}.body, label %{name}.exit")
        self._lines.append(f"{name}.exit:")

    def _if(self, statement: If) -> None:
        self._ifs += 1
        name = f"if{self._ifs}"
        other = "else" if statement.otherwise else "end"
        self._put(f"br {typed(statement.condition)}, label %{name}.then, label %{name}.{other}")
        self._lines.append(f"{name}.then:")
        self._body(statement.body)
        self._put(f"br label %{name}.end")
        if statement.otherwise:
            self._lines.append(f"{name}.else:")
            self._body(statement.otherwise)
            self._put(f"br label %{name}.end")
        self._lines.append(f"{name}.end:")


@cache
def _expansion(function: str, lanes: int, fma: bool) -> tuple[str, dict[str, str], str]:
    """The lines of an elementary function over %x and %y, what they call, and their result."""
    printer = Printer(fma)
    statements, result = body(function, lanes)
    return printer.statements(statements), printer.declarations, result.name


def _door(function: Function, inner: str) -> list[str]:
    lines = [f'define void @"{function.name}"({ARGUMENTS}) #0 {{', "entry:"]
    for place, pointer in enumerate(function.pointers):
        lines.append(f"  %{pointer.name}.at = getelementptr ptr, ptr %buffers, i64 {place}")
        lines.append(f"  %{pointer.name} = load ptr, ptr %{pointer.name}.at, align 8")
    passed = [f"ptr %{pointer.name}" for pointer in function.pointers]
    lines.append(f"  call void {inner}({', '.join([*passed, _passed_on()])})")
    return [*lines, "  ret void", "}"]


def _passed_on() -> str:
    return re.sub("noalias ", "", ARGUMENTS)


def _is_vector(index: Operand | None) -> bool:
    return index is not None and index.type.lanes > 1
