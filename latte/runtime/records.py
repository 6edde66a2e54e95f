"""A phase as data for the driver: which function on what, by whom, and where threads must meet.

In: a phase's kernels as machine code, the address of every buffer.  Out: arrays of words.

    a = f(x); b = g(x); c = h(a, b)     ->     f; g; wait, h
    small: d = k(c)                     ->     wait, k on the first thread alone
    group: e = l(d); f = m(e)           ->     wait, l and m for every place of my share

Threads meet before a kernel only if it touches bytes that another one since the last meeting wrote,
or writes bytes that another one read. That is asked of addresses, so buffers that share memory one
after the other are seen too. None of it changes a bit of any result.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from latte.codegen.interp import Run
from latte.codegen.llvm_driver import STEPS, WORDS, Call, Loop, Step, Stop
from latte.compiler.ir import Group, Item, Kernel, Phase, Serial, kernels
from latte.compiler.plan_memory import reads, writes
from latte.runtime.jit import Entry

ALONE_WORK = 10_000  # elementary operations below which a hand-over costs more than it saves

Range = tuple[int, int]  # addresses of the first byte, and of the first byte behind
Ranges = Mapping[str, Range]
Words = NDArray[np.int64]

TABLE = 6  # the word of a call with its argument table


@dataclass(frozen=True, slots=True)
class Schedule:
    """What `latte.phase` reads: `steps`, and `tables` for one thread after another; the work of one
    item and of a whole call (all steps of time once). `starts` are the steps at which the phase's
    items begin, and the number of steps."""

    steps: Words
    tables: Words
    starts: tuple[int, ...]
    item_work: float
    fixed_work: float
    serial: bool

    @property
    def calls(self) -> tuple[int, ...]:
        """The numbers of the steps that are kernels, in the order of the phase's kernels."""
        return tuple(np.flatnonzero(self.steps[:, 0] == 0).tolist())

    @property
    def table_bytes(self) -> int:
        """From one thread's argument tables to the next one's."""
        return int(self.tables.strides[0])

    def work(self, now: Run) -> float:
        """About how many elementary operations a call takes."""
        steps = now.steps if self.serial else 1
        return steps * (self.item_work * now.items + self.fixed_work)

    def kernel_of(self, table: int) -> int:
        """The number of the kernel whose argument table, of any thread, has this address."""
        offset = (table - self.tables.ctypes.data) % self.table_bytes + self.tables.ctypes.data
        calls = [step for step in self.steps.tolist() if step[0] == 0]
        return [step[TABLE] for step in calls].index(offset)


@dataclass(frozen=True, slots=True)
class Touch:
    """What one kernel or group reads and writes, and whether the first thread runs it alone."""

    read: tuple[Range, ...]
    written: tuple[Range, ...]
    alone: bool


def schedule(
    phase: Phase,
    entries: Sequence[Entry],
    ranges: Ranges,
    private: Mapping[str, int],
    *,
    batch: int,
    threads: int,
    commit: int,
    stop: Stop,
) -> Schedule:
    """The steps of a phase. `private` says for each private buffer how far a worker's own lies
    from that of the one before; `batch` is the compiled largest number of items, `commit` the
    first item that changes a parameter: `stop` comes before it."""
    tables, starts = _argument_tables(entries, ranges, private, threads)
    maker = _Maker(ranges, batch, iter(zip(entries, starts, strict=True)))
    begins = []
    for number, item in enumerate(phase.items):
        if 0 < number == commit:
            maker.stop(stop)
        begins.append(len(maker.steps))
        maker.item(item, 0)
    waits = meetings(maker.walk)
    steps = [_words(step, number in waits) for number, step in enumerate(maker.steps)]
    return Schedule(
        np.array(steps, np.int64).reshape(-1, WORDS),
        tables,
        (*begins, len(steps)),
        maker.item_work,
        maker.fixed_work,
        any(isinstance(item, Serial) and item.axis.symbol for item in phase.items),
    )


def _words(step: Step, wait: bool) -> tuple[int, ...]:
    return (step if isinstance(step, Stop) else replace(step, wait=wait)).words()


def _argument_tables(
    entries: Sequence[Entry], ranges: Ranges, private: Mapping[str, int], threads: int
) -> tuple[Words, list[int]]:
    """For each thread the addresses of every kernel's buffers one after another, and where each
    list of the first thread begins. A kernel without buffers still has a word of its own: the
    address tells kernels apart."""
    rows = [[(ranges[n][0], private.get(n, 0)) for n in e.buffers] or [(0, 0)] for e in entries]
    words = [word for row in rows for word in row] or [(0, 0)]
    tables = np.array([[at + thread * far for at, far in words] for thread in range(threads)])
    starts, at = [], tables.ctypes.data
    for row in rows:
        starts.append(at)
        at += 8 * len(row)
    return tables, starts


@dataclass(slots=True)
class _Maker:
    """Collects the steps of items, and in `walk` how threads go through them: (number of a step,
    what it touches), a loop in order twice, because its last steps meet its first ones; None where
    all threads meet anyway."""

    ranges: Ranges
    batch: int
    entries: Iterator[tuple[Entry, int]]
    steps: list[Step] = field(default_factory=list)
    walk: list[tuple[int, Touch | None]] = field(default_factory=list)
    item_work: float = 0
    fixed_work: float = 0

    def item(self, item: Item, depth: int, places: float = 1, per_item: float = 0) -> None:
        """Adds a kernel, loop or group; `places` of loops around it, some for each item."""
        match item:
            case Kernel():
                self._call(item, places, per_item)
            case Serial():
                self._serial(item, depth, places, per_item)
            case Group():
                self._group(item, depth, places)
            case _:
                assert_never(item)

    def stop(self, step: Stop) -> None:
        """Adds the end of the phase if something is wrong."""
        self.walk.append((len(self.steps), None))
        self.steps.append(step)

    def _call(self, kernel: Kernel, places: float, per_item: float) -> None:
        entry, table = next(self.entries)
        units = entry.units
        work = float(units.fixed * max(units.points, 1)) * places
        if units.batched or per_item:
            self.item_work += work * (per_item or 1)
        else:
            self.fixed_work += work
        count = units.count(self.batch)
        alone = count == 1 or count * max(units.points, 1) < ALONE_WORK
        self.walk.append((len(self.steps), self._touch((kernel,), alone)))
        self.steps.append(Call(entry.address, table, units.fixed, units.batched, alone, False))

    def _serial(self, loop: Serial, depth: int, places: float, per_item: float) -> None:
        number, start = len(self.steps), len(self.walk)
        timed = loop.axis.symbol == "t"
        per = STEPS if timed else 1 if loop.axis.symbol == "n" else 0
        made = Loop(0, depth, loop.axis.size, per, (), loop.reverse, False, False, False)
        self.steps.append(made)
        for item in loop.items:
            self.item(item, depth + 1, places * (1 if timed else loop.axis.size), per_item)
        self.steps[number] = replace(made, end=len(self.steps))
        self.walk += self.walk[start:]

    def _group(self, group: Group, depth: int, places: float) -> None:
        number, start = len(self.steps), len(self.walk)
        first, *inner = (a.size for a in group.axes)
        count = prod((first, *inner))
        made = Loop(0, depth, first, group.per, tuple(inner), False, True, count == 1, False)
        self.steps.append(made)
        per_item = prod(inner) / group.per if group.per else 0.0
        for item in group.items:
            self.item(item, depth + len(group.axes), places * (1 if per_item else count), per_item)
        self.steps[number] = replace(made, end=len(self.steps))
        del self.walk[start:]
        self.walk.append((number, self._touch(kernels(group.items), count == 1)))

    def _touch(self, inside: Sequence[Kernel], alone: bool) -> Touch:
        read = {name for kernel in inside for name in reads(kernel)}
        written = {name for kernel in inside for name in writes(kernel)}
        return Touch(
            tuple(self.ranges[name] for name in sorted(read)),
            tuple(self.ranges[name] for name in sorted(written)),
            alone,
        )


def meetings(walk: Iterable[tuple[int, Touch | None]]) -> frozenset[int]:
    """The steps before which the threads meet, from the order in which they go through them."""
    waits: set[int] = set()
    pending: list[Touch] = []
    for number, touch in walk:
        if touch is None:
            pending = []
        elif number in waits or any(_conflict(touch, other) for other in pending):
            waits.add(number)
            pending = [touch]
        else:
            pending.append(touch)
    return frozenset(waits)


def _conflict(later: Touch, earlier: Touch) -> bool:
    if later.alone and earlier.alone:
        return False
    return (
        _overlap(later.written, earlier.written)
        or _overlap(later.written, earlier.read)
        or _overlap(later.read, earlier.written)
    )


def _overlap(a: Sequence[Range], b: Sequence[Range]) -> bool:
    return any(x[0] < y[1] and y[0] < x[1] for x in a for y in b)
