"""`target="cpu"`: phases as machine code on threads of this process.

In: a scheduled Program.  Out: a `Backend`. A phase is compiled when it is first run:

    kernels --Jit--> functions --schedule--> records --`latte.phase` on every thread--> values

A call is one call of machine code, whatever the number of threads. What a phase derives of
parameters alone is computed when those have changed.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from latte.codegen.interp import IndexOutOfRange, Run
from latte.codegen.llvm_driver import (
    BARRIER_WORDS,
    PATIENCE,
    SPINS,
    SYMBOL,
    TRACED,
    YIELD,
    Stop,
    driver,
)  # fmt: skip
from latte.compiler.ir import LASTING, LOSS, Buffer, Phase, Program, commit, kernels
from latte.compiler.machine import Machine, host
from latte.compiler.plan_memory import buffer_bytes, is_transient
from latte.compiler.vector import FIRST_SCALAR, fault_slot
from latte.options import cores
from latte.runtime import arrays
from latte.runtime.arrays import Array, Place
from latte.runtime.backend import Span
from latte.runtime.cache import Cache
from latte.runtime.draws import Draws
from latte.runtime.initial import First
from latte.runtime.jit import Jit
from latte.runtime.memory import POISON, Memory, PhaseMemory
from latte.runtime.records import Schedule, schedule
from latte.runtime.trace import Log
from latte.runtime.workers import Workers

PARALLEL_WORK = 600_000  # elementary operations (20 us) of a phase that keep a thread busy


if TYPE_CHECKING:
    from latte.runtime.making import Lower
    from latte.runtime.tune import Summary, Tell


@dataclass(frozen=True, slots=True)
class _Task:
    """What `latte.phase` is told: steps first .. last - 1 of a schedule, as words at an address."""

    words: NDArray[np.int64]
    address: int


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A phase ready to run: `whole`, or without what it derives. `changes`: a parameter."""

    phase: Phase
    schedule: Schedule
    memory: PhaseMemory
    whole: _Task
    rest: _Task
    changes: bool


class Native:
    """Machine code, memory and threads of one Program.

    `keep` are buffers to leave readable after phases that share memory. `guard` gives each buffer
    pages of its own, faults behind its end, and NaN in all transient ones before each phase.
    `known` is a name for this very Program, if there is one.
    """

    target = "cpu"

    def __init__(
        self,
        program: Program,
        lower: Lower,
        *,
        threads: int = 1,
        cache: Cache | None = None,
        keep: frozenset[str] = frozenset(),
        guard: bool = False,
        machine: Machine | None = None,
        known: str = "",
    ) -> None:
        self._program = program
        self._known = known
        self._lower = lower
        self._guard = guard
        self._machine = machine or host()
        self._cache = cache or Cache(None)
        self._jit = Jit(self._machine, self._cache, threads)
        self._draws = Draws(self._jit, self._machine, threads)
        self._workers = Workers(threads, cache)
        self._buffers = {buffer.name: buffer for buffer in program.buffers}
        carried = {b.origin for b in program.buffers if b.role == "carried"}
        self._memory = Memory(
            program, workers=self._workers.count, keep=keep | carried, guard=guard
        )
        self._phases: dict[str, _Compiled] = {}
        self._places: dict[tuple[str, str], Place] = {}
        self._version = 0  # of the parameters
        self._fault = fault_slot(len(program.scalars))
        self._scalars = np.frombuffer(arrays.allocate(8 * (self._fault + 2)), np.int64)
        self._floats = self._scalars[FIRST_SCALAR:].view(np.float32)[::2]
        self._told: Run | None = None  # what the slots hold
        self._barrier = _barrier(self._workers.count)
        self._finalizer = weakref.finalize(self, self._workers.close)

    def run(self, phase: str, now: Run) -> None:
        self._memory.clear.clear()
        compiled = self._phases.get(phase) or self._compile(phase)
        self._set_scalars(now)
        if self._guard and phase not in ("backward", "update"):
            for place in compiled.memory.shared.values():
                place[:] = POISON
        derived = compiled.memory.derived
        task = compiled.rest if derived.version == self._version else compiled.whole
        self._workers.run(self._driver, task.address, self._threads(compiled.schedule, now))
        derived.version = self._version
        if compiled.changes:
            self._version += 1
        self._check_fault(compiled)

    def prepare(self, phase: str, tell: Callable[[float], None] | None = None) -> None:
        if phase not in self._phases:
            self._compile(phase, tell)

    def traced(self, phase: str, now: Run) -> tuple[Span, ...]:
        """Runs a phase whole, with a clock: what each thread did in it."""
        self.prepare(phase)
        self._set_scalars(now)
        compiled = self._phases[phase]
        text, log = driver(self._machine.architecture, traced=True), Log(self._workers.count)
        function, plan = self._jit.function(TRACED, text), compiled.schedule
        for first in (plan.starts[-1], 0):  # nothing, for the clock; then the whole phase
            task = self._task(plan, first, plan.starts[-1], log.task)
            log.call(partial(self._workers.run, function, task.address, self._threads(plan, now)))
        self._version += compiled.changes
        self._check_fault(compiled)
        return log.spans(plan.calls, kernels(compiled.phase.items))

    def begin(self, first: First) -> None:
        name, memory = first.name, self._memory.lasting[first.name]
        if first.is_zero and name in self._memory.clear:
            return
        if self._draws.fill(first, self._buffers[name], memory):
            self._changed(name)
        else:
            self.write(name, first.values())

    def write(self, buffer: str, values: Array) -> None:
        self._changed(buffer)
        self._lasting(buffer).write(values)

    def read(self, buffer: str, sizes: tuple[int, ...], phase: str) -> Array | None:
        if not is_transient(self._buffers[buffer]):
            return self._lasting(buffer).read(sizes)
        compiled = self._phases.get(phase)
        if compiled is None:
            return None
        if (buffer, phase) not in self._places:
            derived, shared = compiled.memory.derived.places, compiled.memory.shared
            if buffer not in derived and buffer not in compiled.memory.intact:
                return None
            memory = derived[buffer] if buffer in derived else shared[buffer]
            self._places[buffer, phase] = Place(self._buffers[buffer], memory)
        return self._places[buffer, phase].read(sizes)

    @property
    def buffers(self) -> Mapping[str, Buffer]:
        return self._buffers

    def tune(self, phases: Iterable[str], seconds: float, tell: Tell | None = None) -> Summary:
        """Searches for faster variants of the phases' contractions, which are used from now on.
        What a phase left readable is gone."""
        from latte.runtime.tune import search  # which makes backends of its own

        summary, best = search(
            self._program, phases, self._lower, seconds=seconds, threads=self._workers.count,
            cache=self._cache, machine=self._machine, tell=tell,
        )  # fmt: skip
        for kernel, variant in best.items():
            self._jit.choose(kernel, variant)
        self._phases.clear()
        self._places.clear()
        return summary

    def close(self) -> None:
        self._finalizer()

    # Running

    def _changed(self, buffer: str) -> None:
        self._memory.clear.discard(buffer)
        if self._buffers[buffer].role in LASTING:
            self._version += 1

    def _lasting(self, buffer: str) -> Place:
        place = self._places.get((buffer, ""))
        if place is None:
            place = Place(self._buffers[buffer], self._memory.lasting[buffer])
            self._places[buffer, ""] = place
        return place

    def _threads(self, plan: Schedule, now: Run) -> int:
        """As many as have enough to do."""
        work, count = plan.work(now), self._workers.count
        return count if work >= count * PARALLEL_WORK else max(1, int(work / PARALLEL_WORK))

    def _set_scalars(self, now: Run) -> None:
        """Fills the block of slots that every kernel reads (`compiler/vector.py`)."""
        if now is self._told:
            return
        self._told = now
        seed = now.seed & 0xFFFFFFFFFFFFFFFF
        self._scalars[:FIRST_SCALAR] = (
            now.items, now.steps, seed - (seed >> 63 << 64), now.update,
        )  # fmt: skip
        for place, name in enumerate(self._program.scalars):
            self._floats[place] = now.scalars.get(name, np.nan)

    def _check_fault(self, compiled: _Compiled) -> None:
        table = int(self._scalars[self._fault])
        if table == 0:
            return
        self._scalars[self._fault] = 0
        kernel = kernels(compiled.phase.items)[compiled.schedule.kernel_of(table)]
        index = self._scalars[self._fault + 1]
        raise IndexOutOfRange(f"index {index} in `{kernel.origin or kernel.name}`")

    # Making

    @cached_property
    def _driver(self) -> int:
        """The address of `latte.phase`."""
        return self._jit.function(SYMBOL, driver(self._machine.architecture))

    def _compile(self, name: str, tell: Callable[[float], None] | None = None) -> _Compiled:
        phase = self._program.phase(name)
        entries = self._jit.entries(self._program, phase, self._lower, self._known, tell)
        memory = self._memory.of(phase)
        ranges = {
            name: (place.ctypes.data, place.ctypes.data + place.nbytes)
            for name, place in (*self._memory.lasting.items(), *memory.places.items())
        }
        private = {b.name: buffer_bytes(b) for b in self._program.buffers if b.role == "private"}
        batch = [a.size for b in self._program.buffers for a in b.axes if a.symbol == "n"]
        fault = self._scalars.ctypes.data + 8 * self._fault
        first_change = commit(self._program, phase)
        built = schedule(
            phase, entries, ranges, private, batch=max(batch, default=1),
            threads=self._workers.count, commit=first_change,
            stop=Stop(ranges[LOSS][0] if LOSS in ranges else fault, fault),
        )  # fmt: skip
        last = built.starts[-1]
        compiled = self._phases[name] = _Compiled(
            phase, built, memory, self._task(built, 0, last),
            self._task(built, built.starts[phase.steady], last),
            first_change < len(phase.items),
        )  # fmt: skip
        return compiled

    def _task(self, plan: Schedule, first: int, last: int, log: tuple[int, ...] = ()) -> _Task:
        words = (
            plan.steps.ctypes.data, first, last, self._scalars.ctypes.data,
            self._barrier.ctypes.data, plan.table_bytes, *log,
        )  # fmt: skip
        array = np.array(words, np.int64)
        return _Task(array, array.ctypes.data)


def _barrier(threads: int) -> NDArray[np.int64]:
    """The words at which threads meet: zero, and how they wait."""
    words = np.frombuffer(arrays.allocate(8 * BARRIER_WORDS), np.int64)
    address = ctypes.cast(ctypes.CDLL(None).sched_yield, ctypes.c_void_p).value
    assert address is not None
    words[YIELD] = address
    words[PATIENCE] = SPINS if threads <= cores() else 0
    return words
