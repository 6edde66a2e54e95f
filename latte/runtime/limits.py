"""What the machine could do: its peak of multiply-adds, and how fast its memory is read.

In: nothing.  Out: operations and bytes a second of all threads, measured now.

    measured_peak(2)   ->   478e9
"""

from __future__ import annotations

import ctypes
from time import perf_counter

import numpy as np

from latte.compiler.machine import Machine, host
from latte.options import options
from latte.runtime.cache import Cache
from latte.runtime.jit import Jit
from latte.runtime.workers import Workers

CHAINS = 12  # independent multiply-adds: more than latency times units
TURNS = 400_000
TRIES = 50
SUM_APART = 64  # floats between the results of two threads
READ_BYTES = 192 << 20  # more than the caches hold
READ_TRIES = 6
AHEAD = 4096  # bytes: how far ahead memory is asked for
UNROLLED = 4


def measured_peak(threads: int) -> float:
    """Multiply-adds in registers on all threads: operations a second, about 0.1 s long."""
    machine = host()
    sums = (ctypes.c_float * (SUM_APART * threads))()
    best = _fastest("latte.peak", _peak_text(machine), ctypes.addressof(sums), threads, TRIES)
    return 2.0 * CHAINS * machine.width * TURNS * threads / best


def measured_bandwidth(threads: int) -> float:
    """Bytes a second that all threads together read of an array larger than the caches."""
    memory = np.ones(READ_BYTES // 4 + SUM_APART * threads, np.float32)
    text = _read_text(host(), threads)
    best = _fastest("latte.read", text, memory.ctypes.data, threads, READ_TRIES)
    return READ_BYTES / best


def _fastest(symbol: str, text: str, argument: int, threads: int, tries: int) -> float:
    """Seconds of the fastest of some calls on all threads."""
    cache = Cache(options().cache)
    jit, workers = Jit(host(), cache), Workers(threads, cache)
    function = jit.function(symbol, text)
    workers.run(function, argument)
    best = min(_seconds(workers, function, argument) for _ in range(tries))
    workers.close()
    return best


def _read_text(machine: Machine, threads: int) -> str:
    """Each thread adds up its share of the array; its sum goes behind the array."""
    vector, step = f"<{machine.width} x float>", 4 * machine.width
    share = READ_BYTES // threads // (step * UNROLLED) * step * UNROLLED
    zero = "zeroinitializer"
    phis = [f"%a{k} = phi {vector} [ {zero}, %entry ], [ %b{k}, %loop ]" for k in range(UNROLLED)]
    loads = [
        line
        for k in range(UNROLLED)
        for line in (
            f"%p{k} = getelementptr i8, ptr %at, i64 {k * step}",
            f"%v{k} = load {vector}, ptr %p{k}, align 4",
            f"%q{k} = getelementptr i8, ptr %at, i64 {k * step + AHEAD}",
            f"call void @llvm.prefetch.p0(ptr %q{k}, i32 0, i32 3, i32 1)",
            f"%b{k} = fadd {vector} %a{k}, %v{k}",
        )
    ]
    sums = [f"%s0 = fadd {vector} %b0, %b1"]
    sums += [f"%s{k} = fadd {vector} %s{k - 1}, %b{k + 1}" for k in range(1, UNROLLED - 1)]
    lines = [
        'define void @"latte.read"(ptr %memory, i64 %thread, i64 %threads) {', "entry:",
        f"%first = mul i64 %thread, {share}", "br label %loop", "loop:",
        "%done = phi i64 [ 0, %entry ], [ %next, %loop ]", *phis, "%place = add i64 %first, %done",
        "%at = getelementptr i8, ptr %memory, i64 %place", *loads,
        f"%next = add i64 %done, {step * UNROLLED}", f"%more = icmp slt i64 %next, {share}",
        "br i1 %more, label %loop, label %end", "end:", *sums,
        f"%sum = extractelement {vector} %s{UNROLLED - 2}, i32 0",
        f"%slot = mul i64 %thread, {4 * SUM_APART}", f"%behind = add i64 %slot, {READ_BYTES}",
        "%out = getelementptr i8, ptr %memory, i64 %behind", "store float %sum, ptr %out",
        "ret void", "}", "declare void @llvm.prefetch.p0(ptr, i32, i32, i32)", "",
    ]  # fmt: skip
    return "\n".join(lines)


def _seconds(workers: Workers, function: int, argument: int) -> float:
    start = perf_counter()
    workers.run(function, argument)
    return perf_counter() - start


def _peak_text(machine: Machine) -> str:
    """A loop of independent chains acc = acc * x + y, summed and stored at the end."""
    vector = f"<{machine.width} x float>"
    x, y = (_splat(machine.width, value) for value in ("0x3FEFFFFFE0000000", "1.0"))
    phis = [f"%a{k} = phi {vector} [ {y}, %entry ], [ %b{k}, %loop ]" for k in range(CHAINS)]
    steps = [_multiply_add(machine, k, vector, x, y) for k in range(CHAINS)]
    sums = [f"%s0 = fadd {vector} %b0, %b1"]
    sums += [f"%s{k} = fadd {vector} %s{k - 1}, %b{k + 1}" for k in range(1, CHAINS - 1)]
    lines = [
        *phis, "%i = phi i64 [ 0, %entry ], [ %j, %loop ]", *steps, "%j = add i64 %i, 1",
        f"%more = icmp slt i64 %j, {TURNS}", "br i1 %more, label %loop, label %done", "done:",
        *sums,
        f"%first = extractelement {vector} %s{CHAINS - 2}, i32 0",
        f"%place = mul i64 %thread, {SUM_APART}",
        "%out = getelementptr float, ptr %sums, i64 %place",
        "store float %first, ptr %out", "ret void",
    ]  # fmt: skip
    intrinsic = f"llvm.fma.v{machine.width}f32"
    head = f"declare {vector} @{intrinsic}({vector}, {vector}, {vector})\n"
    body = "\n".join(lines)
    start = 'define void @"latte.peak"(ptr %sums, i64 %thread, i64 %threads)'
    return f"{head}{start} {{\nentry:\nbr label %loop\nloop:\n{body}\n}}\n"


def _multiply_add(machine: Machine, k: int, vector: str, x: str, y: str) -> str:
    if machine.fma:
        intrinsic = f"@llvm.fma.v{machine.width}f32"
        return f"%b{k} = call {vector} {intrinsic}({vector} %a{k}, {vector} {x}, {vector} {y})"
    return f"%m{k} = fmul {vector} %a{k}, {x}\n%b{k} = fadd {vector} %m{k}, {y}"


def _splat(width: int, value: str) -> str:
    return f"<{', '.join([f'float {value}'] * width)}>"
