"""How near the contractions of a net come to the machine's peak of multiply-adds.

    python bench/contractions.py                             the nets of examples/nets
    python bench/contractions.py net.latte --batch 32 --threads 2

After each net follows a line for each class of contraction, by what it is the sum for.

Each kernel is called alone on random arrays; the peak is measured beside it by a loop of fma on
registers, so that a share means something on a machine whose speed wanders. With one thread the
clock is the thread's own processor time, which other processes do not disturb. GFLOP/s count every
place of a window, clipped ones too, as is usual.
"""

from __future__ import annotations

import argparse
import ctypes
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from latte.build import elaborate, program_of, read_file
from latte.codegen.llvm import module
from latte.compiler import contract
from latte.compiler.builder import Builder
from latte.compiler.choices import Choices
from latte.compiler.contract_view import Contraction
from latte.compiler.ir import Buffer, kernels
from latte.compiler.machine import Machine, host
from latte.compiler.pipeline import optimize
from latte.compiler.vector import FIRST_SCALAR, Function, Type
from latte.runtime import arrays
from latte.runtime.cache import Cache
from latte.runtime.jit import Jit
from latte.runtime.workers import Task, Workers

NETS = Path(__file__).parent.parent / "examples" / "nets"
DEFAULT = {"alexnet": 64, "overfeat": 16, "vgg_a": 8, "googlenet": 32, "resnet18": 16}
ALONE = Choices(without=frozenset({"winograd", "fuse"}))  # every contraction by itself
REPEATS = 3
ROUNDS = 4_000_000  # of the peak's loop for each thread


@dataclass(frozen=True, slots=True)
class Bench:
    """What runs a function: compiler, threads and clock."""

    jit: Jit
    workers: Workers
    machine: Machine

    def call(self, function: Function, table: NDArray[np.int64], items: int, units: int) -> float:
        """Seconds of the fastest of a few calls on all threads."""
        name = f"bench.{abs(hash(function)):x}"
        text = module([function], self.machine.fma).replace(f'@"{function.name}', f'@"{name}')
        address = self.jit.function(name, text)
        run = _callable(address)
        scalars = np.zeros(FIRST_SCALAR + 64, np.int64)
        scalars[:2] = items, 1

        @Task
        def share(_: int, thread: int, threads: int) -> None:
            first, last = thread * units // threads, (thread + 1) * units // threads
            run(table.ctypes.data, scalars.ctypes.data, 0, first, last)

        place = ctypes.cast(share, ctypes.c_void_p).value or 0
        return self._fastest(lambda: self.workers.run(place, 0))

    def _fastest(self, work: Callable[[], None]) -> float:
        clock = time.thread_time if self.workers.count == 1 else time.perf_counter
        work()
        times = []
        for _ in range(REPEATS):
            start = clock()
            work()
            times.append(clock() - start)
        return min(times)

    def peak(self) -> float:
        """GFLOP/s of multiply-adds on registers."""
        function, flops = _peak_loop(self.machine)
        seconds = self.call(function, np.zeros(1, np.int64), 1, self.workers.count)
        return flops * self.workers.count / seconds / 1e9


@dataclass(slots=True)
class Total:
    """Seconds and operations of some contractions."""

    seconds: float = 0.0
    work: float = 0.0

    def add(self, seconds: float, work: float) -> None:
        """Counts one more."""
        self.seconds, self.work = self.seconds + seconds, self.work + work


def main() -> None:
    """Prints a line for each contraction of the nets asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("net", nargs="?", help="a .latte file; those of examples/nets else")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    nets = [(NETS / f"{name}.latte", batch) for name, batch in DEFAULT.items()]
    nets = [(Path(given.net), given.batch)] if given.net else nets
    machine = host()
    bench = Bench(Jit(machine, Cache(None)), Workers(given.threads), machine)
    for path, batch in (each for each in nets if each[0].exists()):
        print(f"{path.stem}, batch {batch}, {given.threads} threads")
        for line in measure(path, batch, bench, ALONE):
            print(line, flush=True)


def measure(path: Path, batch: int, bench: Bench, choices: Choices) -> Iterator[str]:
    """The lines of one net."""
    net = elaborate(read_file(path), None, {})
    program = optimize(program_of(net, batch=batch), bench.machine, choices)
    totals: dict[str, Total] = {}
    for kernel in dict.fromkeys(kernels(program.phase("step").items)):
        lowered = contract.lower(kernel, program, bench.machine)
        contraction = contract.view(kernel, program, bench.machine)
        if lowered is None or contraction is None:
            continue
        work = 2.0 * contract.multiplications(contraction)
        memory = [_random(program.buffer(name)) for name in lowered.buffers]
        table = np.array([array.ctypes.data for array in memory], np.int64)
        peak = bench.peak()
        seconds = bench.call(lowered.function, table, batch, lowered.units.count(batch))
        for name in (_kind(contraction), "all"):
            totals.setdefault(name, Total()).add(seconds, work)
        yield _line(kernel.name, seconds, work, peak)
    peak = bench.peak()
    for name, total in sorted(totals.items()):
        yield _line(f"= {name}", total.seconds, total.work, peak)


def _kind(contraction: Contraction) -> str:
    """The class of a contraction: what it computes, with windows or without."""
    sums_items = any(a.symbol == "n" for a in contraction.summed)
    window = any(len(factor.offset.terms) > 3 for factor in contraction.factors)
    name = "weights" if sums_items else "values"
    return f"{name}, {'places' if window else 'linear'}"


def _line(name: str, seconds: float, work: float, peak: float) -> str:
    rate = work / seconds / 1e9
    return (
        f"  {name:28} {seconds * 1e3:8.2f} ms {rate:7.0f} GFLOP/s {rate / peak:6.0%} of {peak:.0f}"
    )


def _random(buffer: Buffer) -> NDArray[np.float32]:
    """Stored memory filled with numbers of usual size."""
    memory = arrays.allocate(arrays.stored_bytes(buffer)).view(np.float32)
    memory[:] = np.resize(np.random.default_rng(0).normal(size=8192), memory.size)
    return memory


def _peak_loop(machine: Machine) -> tuple[Function, float]:
    """Twelve independent chains of fma, and the operations of one unit."""
    b, chains = Builder("peak"), 12
    type_ = Type("f32", machine.width)
    sums = [b.variable(type_, 0.5 + k) for k in range(chains)]
    factor = b.splat(b.scalar(FIRST_SCALAR), machine.width)
    with b.loop(b.first, b.last), b.loop(0, ROUNDS):
        for total in sums:
            total.set(b.fma(total.value, factor, factor))
    result = sums[0].value
    for total in sums[1:]:
        result = result + total.value
    b.store(result, b.scratch(machine.width), 0)
    b.store(b.reduce("sum", result), b.scalars, 2 * FIRST_SCALAR + 2)
    return b.function(), 2.0 * ROUNDS * chains * machine.width


def _callable(address: int) -> Callable[[int, int, int, int, int], None]:
    long, pointer = ctypes.c_longlong, ctypes.c_void_p
    kind = ctypes.CFUNCTYPE(None, pointer, pointer, long, long, long)
    found: Callable[[int, int, int, int, int], None] = kind(address)
    return found


if __name__ == "__main__":
    main()
