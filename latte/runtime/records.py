"""A phase as data for the driver: which function on what, by whom, and where threads must meet.

In: a phase's kernels as machine code, the address of every buffer.  Out: arrays of words.

    a = f(x); b = g(x); c = h(a, b)     ->     f; g; wait, h
    small: d = k(c)                     ->     wait, k on the first thread alone

Threads meet before a kernel only if it touches bytes that another one since the last meeting wrote,
or writes bytes that another one read. That is asked of addresses, so buffers that share memory one
after the other are seen too. None of it changes a bit of any result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from latte.codegen.interp import Run
from latte.codegen.llvm_driver import Record, Segment
from latte.compiler.ir import Item, Kernel, Phase, Serial
from latte.compiler.plan_memory import reads, writes
from latte.runtime.jit import Entry

ALONE_WORK = 30_000  # elementary operations below which a hand-over costs more than it saves

Range = tuple[int, int]  # addresses of the first byte, and of the first byte behind
Ranges = Mapping[str, Range]
Words = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Schedule:
    """What `latte.phase` reads, and the work of one item and of a whole call (all steps once).
    `commit` segments come before the first kernel that changes a parameter."""

    segments: Words
    records: Words
    tables: Words
    item_work: float
    fixed_work: float
    serial: bool
    commit: int

    def work(self, now: Run) -> float:
        """About how many elementary operations a call takes."""
        steps = now.steps if self.serial else 1
        return steps * (self.item_work * now.items + self.fixed_work)


@dataclass(frozen=True, slots=True)
class _Touch:
    """What one kernel reads and writes, and whether it runs on the first thread alone."""

    read: tuple[Range, ...]
    written: tuple[Range, ...]
    alone: bool


def schedule(
    phase: Phase, entries: Sequence[Entry], ranges: Ranges, batch: int, commit: int
) -> Schedule:
    """The records of a phase; `batch` is the compiled largest number of items, `commit` the first
    item that changes a parameter."""
    tables, starts = _argument_tables(entries, ranges)
    touches = _touches(phase, entries, ranges, batch)
    before = _segments(phase.items[:commit], 0)
    segments = (*before, *_segments(phase.items[commit:], before[-1].last if before else 0))
    waits = _waits(touches, segments)
    rows = [
        Record(
            entry.address, start, entry.units.fixed, entry.units.batched, touch.alone, wait
        ).words()
        for entry, start, touch, wait in zip(entries, starts, touches, waits, strict=True)
    ]
    work = [(e.units.batched, float(e.units.fixed * max(e.units.points, 1))) for e in entries]
    return Schedule(
        np.array([segment.words() for segment in segments], np.int64).reshape(-1, 3),
        np.array(rows, np.int64).reshape(-1, 6),
        tables,
        sum(amount for batched, amount in work if batched),
        sum(amount for batched, amount in work if not batched),
        any(segment.direction for segment in segments),
        len(before),
    )


def _argument_tables(entries: Sequence[Entry], ranges: Ranges) -> tuple[Words, list[int]]:
    """The addresses of every kernel's buffers one after another, and where each list begins. A
    kernel without buffers still has a word of its own: the address tells kernels apart."""
    rows = [[ranges[name][0] for name in entry.buffers] or [0] for entry in entries]
    tables = np.array([word for row in rows for word in row] or [0], np.int64)
    starts, at = [], tables.ctypes.data
    for row in rows:
        starts.append(at)
        at += 8 * len(row)
    return tables, starts


def _touches(
    phase: Phase, entries: Sequence[Entry], ranges: Ranges, batch: int
) -> tuple[_Touch, ...]:
    found = []
    for kernel, entry in zip(_kernels(phase.items), entries, strict=True):
        small = entry.units.count(batch) * max(entry.units.points, 1) < ALONE_WORK
        found.append(
            _Touch(
                tuple(ranges[name] for name in sorted(reads(kernel))),
                tuple(ranges[name] for name in sorted(writes(kernel))),
                small or entry.units.count(batch) == 1,
            )
        )
    return tuple(found)


def _kernels(items: Sequence[Item]) -> list[Kernel]:
    return [k for item in items for k in (item.items if isinstance(item, Serial) else (item,))]


def _segments(items: Sequence[Item], at: int) -> list[Segment]:
    """Neighbouring kernels in one segment, each serial loop in one of its own; `at` is the number
    of the first kernel."""
    found: list[Segment] = []
    for item in items:
        size = len(item.items) if isinstance(item, Serial) else 1
        direction = 0 if isinstance(item, Kernel) else 2 if item.reverse else 1
        if direction == 0 and found and found[-1].direction == 0:
            found[-1] = Segment(found[-1].first, at + size, 0)
        else:
            found.append(Segment(at, at + size, direction))
        at += size
    return found


def _waits(touches: Sequence[_Touch], segments: Sequence[Segment]) -> list[bool]:
    """Before which kernels the threads meet. A serial loop is walked twice: what its last kernels
    did in one step is met by its first ones in the next."""
    waits = [False] * len(touches)
    pending: list[_Touch] = []
    for segment in segments:
        for _ in range(2 if segment.direction else 1):
            for number in range(segment.first, segment.last):
                touch = touches[number]
                if waits[number] or any(_conflict(touch, other) for other in pending):
                    waits[number] = True
                    pending = []
                pending.append(touch)
    return waits


def _conflict(later: _Touch, earlier: _Touch) -> bool:
    if later.alone and earlier.alone:
        return False
    return (
        _overlap(later.written, earlier.written)
        or _overlap(later.written, earlier.read)
        or _overlap(later.read, earlier.written)
    )


def _overlap(a: Sequence[Range], b: Sequence[Range]) -> bool:
    return any(x[0] < y[1] and y[0] < x[1] for x in a for y in b)
