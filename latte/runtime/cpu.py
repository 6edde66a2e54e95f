"""`target="cpu"`: phases as machine code on threads of this process.

In: a scheduled Program.  Out: a `Backend`. A phase is compiled when it is first run:

    kernels --Jit--> functions --schedule--> records --`latte.phase` on every thread--> values

Parameters and all else that outlives a phase lie in one block of memory. Forward, backward and
update share an arena in which every value has its own place; all other phases share one in which
values take turns.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from latte.codegen.interp import IndexOutOfRange, Run
from latte.codegen.llvm_driver import BARRIER_WORDS, SYMBOL, driver
from latte.compiler.ir import LOSS, READABLE, Buffer, Kernel, Phase, Program, commit, kernels
from latte.compiler.machine import Machine, host
from latte.compiler.plan_memory import (
    Plan,
    buffer_bytes,
    is_transient,
    place_bytes,
    plan_memory,
    writes,
)
from latte.compiler.vector import FIRST_SCALAR, fault_slot
from latte.runtime import arrays
from latte.runtime.arrays import Array, Bytes
from latte.runtime.cache import Cache
from latte.runtime.draws import Draws
from latte.runtime.initial import First
from latte.runtime.jit import Jit, Lower
from latte.runtime.records import Schedule, schedule
from latte.runtime.workers import Workers

PARALLEL_WORK = 30_000_000  # elementary operations (0.3 ms) of a phase that pay for waking threads

Places = Mapping[str, Bytes]


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A phase ready to run: its records, the memory of its transient buffers, and which buffers
    hold what it says at its end."""

    phase: Phase
    schedule: Schedule
    places: Places
    intact: frozenset[str]


class Native:
    """Machine code, memory and threads of one Program.

    `keep` are buffers to leave readable after phases that share memory. `guard` gives each buffer
    pages of its own, faults behind its end, and NaN in all transient ones before each phase.
    """

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
    ) -> None:
        self._program = program
        self._lower = lower
        self._keep = keep | {b.origin for b in program.buffers if b.role == "carried"}
        self._guard = guard
        self._machine = machine or host()
        self._jit = Jit(self._machine, cache or Cache(None), threads)
        self._draws = Draws(self._jit, self._machine, threads)
        self._workers = Workers(threads, cache)
        self._phases: dict[str, _Compiled] = {}
        self._clear: set[str] = set()  # what lasts and is all zero, as it was allocated
        self._arenas: dict[str, Bytes] = {}
        self._views: dict[str, Array] = {}
        self._buffers = {buffer.name: buffer for buffer in program.buffers}
        self._scalars = np.frombuffer(
            arrays.allocate(8 * (fault_slot(len(program.scalars)) + 2)), np.int64
        )
        self._barrier = _barrier()
        self._finalizer = weakref.finalize(self, self._workers.close)

    def run(self, phase: str, now: Run) -> None:
        self._clear.clear()
        compiled = self._phases.get(phase) or self._compile(phase)
        self._set_scalars(now)
        if self._guard and phase not in ("backward", "update"):
            for place in compiled.places.values():
                place[:] = 0xFF
        threads = self._workers.count if compiled.schedule.work(now) >= PARALLEL_WORK else 1
        plan = compiled.schedule
        first, commit, last = 0, plan.starts[plan.commit], plan.starts[-1]
        if first < commit < last:
            self._call(plan, first, commit, threads)
            self._check_fault(compiled)
            if self._diverged(phase):
                return
            first = commit
        self._call(plan, first, last, threads)
        self._check_fault(compiled)

    def _diverged(self, phase: str) -> bool:
        """Whether the loss is infinite or not a number: then a step changes no parameter."""
        loss = self.read(LOSS, (), phase) if LOSS in self._buffers else None
        return loss is not None and not np.isfinite(loss)

    def prepare(self, phase: str) -> None:
        if phase not in self._phases:
            self._compile(phase)

    def timed(self, phase: str, now: Run) -> list[tuple[tuple[Kernel, ...], float]]:
        """Runs a phase one kernel (or loop, or group) after another: the seconds of each."""
        self._clear.clear()
        compiled = self._phases.get(phase) or self._compile(phase)
        self._set_scalars(now)
        plan = compiled.schedule
        threads = self._workers.count if plan.work(now) >= PARALLEL_WORK else 1
        found = []
        for item, (first, last) in zip(compiled.phase.items, pairwise(plan.starts), strict=True):
            start = perf_counter()
            self._call(plan, first, last, threads)
            found.append((kernels((item,)), perf_counter() - start))
        return found

    def begin(self, first: First) -> None:
        name, memory = first.name, self._persistent[first.name]
        if first.is_zero and name in self._clear:
            return
        if self._draws.fill(first, self._buffers[name], memory):
            self._clear.discard(name)
        else:
            self.write(name, first.values())

    def write(self, buffer: str, values: Array) -> None:
        self._clear.discard(buffer)
        if buffer not in self._views:
            form = self._buffers[buffer]
            self._views[buffer] = arrays.view(form, self._persistent[buffer])
        arrays.pack(self._buffers[buffer], values, self._views[buffer])

    def read(self, buffer: str, sizes: tuple[int, ...], phase: str) -> Array | None:
        form = self._buffers[buffer]
        places = self._persistent
        compiled = self._phases.get(phase)
        if is_transient(form):
            if compiled is None or buffer not in compiled.intact:
                return None
            places = compiled.places
        elif form.role == "parameter gradient" and compiled and buffer not in compiled.intact:
            return None
        return arrays.unpack(form, arrays.view(form, places[buffer]), sizes)

    def close(self) -> None:
        self._finalizer()

    # Running

    def _call(self, plan: Schedule, first: int, last: int, threads: int) -> None:
        words = (
            plan.steps.ctypes.data, first, last, self._scalars.ctypes.data,
            self._barrier.ctypes.data, plan.table_bytes,
        )  # fmt: skip
        task = np.array(words, np.int64)
        self._workers.run(self._driver, task.ctypes.data, threads)

    def _set_scalars(self, now: Run) -> None:
        """Fills the block of slots that every kernel reads (`compiler/vector.py`)."""
        seed = now.seed & 0xFFFFFFFFFFFFFFFF
        self._scalars[:FIRST_SCALAR] = (
            now.items, now.steps, seed - (seed >> 63 << 64), now.update,
        )  # fmt: skip
        self._scalars[fault_slot(len(self._program.scalars)) :] = 0
        floats = self._scalars.view(np.float32)
        for place, name in enumerate(self._program.scalars):
            floats[2 * (FIRST_SCALAR + place)] = now.scalars.get(name, np.nan)

    def _check_fault(self, compiled: _Compiled) -> None:
        slot = fault_slot(len(self._program.scalars))
        table, index = int(self._scalars[slot]), int(self._scalars[slot + 1])
        if table == 0:
            return
        kernel = kernels(compiled.phase.items)[compiled.schedule.kernel_of(table)]
        raise IndexOutOfRange(f"index {index} in `{kernel.origin or kernel.name}`")

    # Making

    @cached_property
    def _driver(self) -> int:
        """The address of `latte.phase`."""
        return self._jit.function(SYMBOL, driver(self._machine.architecture))

    def _compile(self, name: str) -> _Compiled:
        phase = self._program.phase(name)
        entries = self._jit.entries(self._program, phase, self._lower)
        plan = plan_memory(
            self._program, name, reuse=name not in READABLE and not self._guard, keep=self._keep,
            workers=self._workers.count,
        )  # fmt: skip
        places = self._arena("readable" if name in READABLE else "lean", plan)
        batch = max(
            (a.size for b in self._program.buffers for a in b.axes if a.symbol == "n"), default=1
        )
        ranges = {
            name: (place.ctypes.data, place.ctypes.data + place.nbytes)
            for name, place in (*self._persistent.items(), *places.items())
        }
        private = {b.name: buffer_bytes(b) for b in self._program.buffers if b.role == "private"}
        built = schedule(
            phase, entries, ranges, private, batch=batch, threads=self._workers.count,
            commit=commit(self._program, phase),
        )  # fmt: skip
        intact = plan.intact | {b.name for b in self._program.buffers if not is_transient(b)}
        if name not in READABLE:  # what was not written is what another phase left
            intact &= frozenset().union(*map(writes, kernels(phase.items)))
        compiled = self._phases[name] = _Compiled(phase, built, places, intact)
        return compiled

    @cached_property
    def _persistent(self) -> Places:
        """What outlives a phase; borders and padding are zero from the start."""
        lasting = [b for b in self._program.buffers if not is_transient(b)]
        self._clear = set() if self._guard else {buffer.name for buffer in lasting}
        return self._places(lasting)

    def _arena(self, kind: str, plan: Plan) -> Places:
        """The places of a plan; phases of one kind share their memory."""
        if self._guard:
            return self._guarded_arena(kind)
        if kind not in self._arenas:
            size = plan.size if kind == "readable" else self._lean_size()
            self._arenas[kind] = arrays.allocate(size)
        block = self._arenas[kind]
        return {
            name: block[at : at + self._bytes(self._buffers[name])] for name, at in plan.offsets
        }

    def _bytes(self, buffer: Buffer) -> int:
        """As stored; a private buffer is there for every worker, on cache lines of its own."""
        if buffer.role == "private":
            return place_bytes(buffer, self._workers.count)
        return arrays.stored_bytes(buffer)

    def _lean_size(self) -> int:
        """Bytes of the largest of the phases that share memory; only what is touched is used."""
        names = [phase.name for phase in self._program.phases if phase.name not in READABLE]
        plans = (
            plan_memory(self._program, n, reuse=True, keep=self._keep, workers=self._workers.count)
            for n in names
        )
        return max(plan.size for plan in plans)

    @cached_property
    def _guarded(self) -> dict[str, Places]:
        return {}

    def _guarded_arena(self, kind: str) -> Places:
        if kind not in self._guarded:
            self._guarded[kind] = self._places(filter(is_transient, self._program.buffers))
        return self._guarded[kind]

    def _places(self, buffers: Iterable[Buffer]) -> Places:
        sizes = {buffer.name: self._bytes(buffer) for buffer in buffers}
        if self._guard:
            places = {name: arrays.guarded(size) for name, size in sizes.items()}
            for name, place in places.items():
                place[:] = 0 if self._buffers[name].dims else 0xFF
            return places
        block = arrays.allocate(sum(map(arrays.padded, sizes.values())))
        places, at = {}, 0
        for name, size in sizes.items():
            places[name] = block[at : at + size]
            at += arrays.padded(size)
        return places


def _barrier() -> NDArray[np.int64]:
    """The words at which threads meet: zero, and where to give the core away."""
    words = np.frombuffer(arrays.allocate(8 * BARRIER_WORDS), np.int64)
    address = ctypes.cast(ctypes.CDLL(None).sched_yield, ctypes.c_void_p).value
    assert address is not None
    words[32] = address
    return words
