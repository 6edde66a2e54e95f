"""Where the time of a phase goes, and what the machine could do.

In: an executable that has been fed.  Out: seconds and operations of each kernel, and the peak.

    timings(exe, "step")   ->   (Timing("conv1.out", "forward", 0.0011, 94_000_000), ...)
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

from latte.compiler.ir import kernels
from latte.compiler.machine import Machine, host
from latte.compiler.work import operations
from latte.options import options

if TYPE_CHECKING:
    from latte.runtime.executable import Executable
    from latte.runtime.workers import Workers

CHAINS = 12  # independent multiply-adds: more than latency times units
TURNS = 400_000
TRIES = 50
SUM_APART = 64  # floats between the results of two threads


@dataclass(frozen=True, slots=True)
class Timing:
    """A kernel, or a loop over time with its kernels: the best of several runs."""

    origin: str
    reason: str
    seconds: float
    operations: int


def timings(exe: Executable, phase: str, repeats: int = 5) -> tuple[Timing, ...]:
    """The kernels of a phase in order, each run alone on all threads. Changes the weights if the
    phase does."""
    runs = [exe.backend.timed(phase, exe.now(phase)) for _ in range(repeats)]
    found = []
    for k, (listed, _) in enumerate(runs[0]):
        seconds = min(run[k][1] for run in runs)
        work = sum(operations(kernel, exe.batch, exe.time) for kernel in listed)
        found.append(Timing(listed[0].origin or listed[0].name, listed[0].reason, seconds, work))
    return tuple(found)


def operations_of(exe: Executable, phase: str) -> int:
    """Operations of a whole phase as specified, before the compiler changed anything."""
    return sum(operations(k, exe.batch, exe.time) for k in kernels(exe.program.phase(phase).items))


def by_layer(found: Iterable[Timing]) -> tuple[Timing, ...]:
    """Timings added up by layer path, the slowest first."""
    totals: dict[str, tuple[float, int]] = {}
    for timing in found:
        path = timing.origin.split("/")[0].removesuffix(".grad").rpartition(".")
        name = path[0] or path[2]
        seconds, work = totals.get(name, (0.0, 0))
        totals[name] = (seconds + timing.seconds, work + timing.operations)
    rows = (Timing(name, "", seconds, work) for name, (seconds, work) in totals.items())
    return tuple(sorted(rows, key=lambda row: -row.seconds))


def measured_peak(threads: int) -> float:
    """Multiply-adds in registers on all threads: operations a second, about 0.1 s long."""
    from latte.runtime.cache import Cache
    from latte.runtime.jit import Jit
    from latte.runtime.workers import Workers

    machine, cache = host(), Cache(options().cache)
    jit, workers = Jit(machine, cache), Workers(threads, cache)
    function = jit.function("latte.peak", _peak_text(machine))
    sums = (ctypes.c_float * (SUM_APART * threads))()
    workers.run(function, ctypes.addressof(sums))
    best = min(_seconds(workers, function, ctypes.addressof(sums)) for _ in range(TRIES))
    workers.close()
    return 2.0 * CHAINS * machine.width * TURNS * threads / best


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
