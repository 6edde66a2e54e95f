"""The one function that runs a phase on every thread: kernels, their shares, barriers between.

In: nothing of a net.  Out: IR text of `latte.phase`. A phase is data to it (`Record`, `Segment`):

    for segment: for t in its steps (once, up, or down):
        for record: wait at the barrier if it says so; run my share of its units

so that kernels compiled at different times, or loaded from a cache, run without being linked.
A barrier is a counter and a generation: the last thread to arrive resets the first and raises
the second. Waiting spins a bounded number of times, then gives the core away between looks.
"""

from __future__ import annotations

from dataclasses import dataclass

SYMBOL = "latte.phase"
BARRIER_WORDS = 48  # counter at 0, generation at 16, address of sched_yield at 32: apart by lines
SPINS = 2000


@dataclass(frozen=True, slots=True)
class Record:
    """One kernel of a phase, as six words: addresses of its function and argument table, its
    units (`fixed`, times the items where `batched`), whether the first thread runs it `alone`,
    and whether all threads `wait` for each other before it."""

    function: int
    arguments: int
    fixed: int
    batched: bool
    alone: bool
    wait: bool

    def words(self) -> tuple[int, ...]:
        """As the driver reads it."""
        return (
            self.function, self.arguments, self.fixed, int(self.batched), int(self.alone),
            int(self.wait),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Segment:
    """Records first .. last - 1, run once (0), for t = 0, 1, ... (1) or for t = ..., 1, 0 (2)."""

    first: int
    last: int
    direction: int

    def words(self) -> tuple[int, ...]:
        """As the driver reads it."""
        return (self.first, self.last, self.direction)


def driver(architecture: str) -> str:
    """The module: `void latte.phase(segments, count, records, scalars, barrier, thread, threads)`,
    the integers of 64 bits."""
    x86 = architecture == "x86_64"
    pause = "call void @llvm.x86.sse2.pause()" if x86 else "; no hint for this architecture"
    declaration = "declare void @llvm.x86.sse2.pause()" if x86 else ""
    return TEXT.format(symbol=SYMBOL, spins=SPINS, pause=pause, declaration=declaration)


TEXT = """
define void @"{symbol}"(ptr %segments, i64 %count, ptr %records, ptr %scalars, ptr %barrier,
                        i64 %thread, i64 %threads) nounwind {{
entry:
  %items = load i64, ptr %scalars
  %steps.at = getelementptr i64, ptr %scalars, i64 1
  %steps = load i64, ptr %steps.at
  br label %segment.test
segment.test:
  %segment = phi i64 [0, %entry], [%segment.next, %segment.end]
  %segment.more = icmp slt i64 %segment, %count
  br i1 %segment.more, label %segment.body, label %done
segment.body:
  %segment.word = mul i64 %segment, 3
  %segment.at = getelementptr i64, ptr %segments, i64 %segment.word
  %record.first = load i64, ptr %segment.at
  %last.at = getelementptr i64, ptr %segment.at, i64 1
  %record.last = load i64, ptr %last.at
  %direction.at = getelementptr i64, ptr %segment.at, i64 2
  %direction = load i64, ptr %direction.at
  %once = icmp eq i64 %direction, 0
  %rounds = select i1 %once, i64 1, i64 %steps
  %down = icmp eq i64 %direction, 2
  br label %round.test
round.test:
  %round = phi i64 [0, %segment.body], [%round.next, %round.end]
  %round.more = icmp slt i64 %round, %rounds
  br i1 %round.more, label %round.body, label %segment.end
round.body:
  %from.end = sub i64 %rounds, %round
  %mirrored = sub i64 %from.end, 1
  %t = select i1 %down, i64 %mirrored, i64 %round
  br label %record.test
record.test:
  %record = phi i64 [%record.first, %round.body], [%record.next, %record.end]
  %record.more = icmp slt i64 %record, %record.last
  br i1 %record.more, label %record.body, label %round.end
record.body:
  %record.word = mul i64 %record, 6
  %record.at = getelementptr i64, ptr %records, i64 %record.word
  %function = load ptr, ptr %record.at
  %arguments.at = getelementptr i64, ptr %record.at, i64 1
  %arguments = load ptr, ptr %arguments.at
  %fixed.at = getelementptr i64, ptr %record.at, i64 2
  %fixed = load i64, ptr %fixed.at
  %batched.at = getelementptr i64, ptr %record.at, i64 3
  %batched = load i64, ptr %batched.at
  %alone.at = getelementptr i64, ptr %record.at, i64 4
  %alone = load i64, ptr %alone.at
  %wait.at = getelementptr i64, ptr %record.at, i64 5
  %wait = load i64, ptr %wait.at
  %several = icmp sgt i64 %threads, 1
  %must.wait = icmp ne i64 %wait, 0
  %waits = and i1 %several, %must.wait
  br i1 %waits, label %meet, label %share
meet:
  call void @meet(ptr %barrier, i64 %threads)
  br label %share
share:
  %is.batched = icmp ne i64 %batched, 0
  %factor = select i1 %is.batched, i64 %items, i64 1
  %units = mul i64 %fixed, %factor
  %is.alone = icmp ne i64 %alone, 0
  %parts = select i1 %is.alone, i64 1, i64 %threads
  %next.thread = add i64 %thread, 1
  %low.product = mul i64 %thread, %units
  %low = udiv i64 %low.product, %parts
  %high.product = mul i64 %next.thread, %units
  %high = udiv i64 %high.product, %parts
  %mine = icmp slt i64 %thread, %parts
  %any = icmp slt i64 %low, %high
  %runs = and i1 %mine, %any
  br i1 %runs, label %call, label %record.end
call:
  call void %function(ptr %arguments, ptr %scalars, i64 %t, i64 %low, i64 %high)
  br label %record.end
record.end:
  %record.next = add i64 %record, 1
  br label %record.test
round.end:
  %round.next = add i64 %round, 1
  br label %round.test
segment.end:
  %segment.next = add i64 %segment, 1
  br label %segment.test
done:
  ret void
}}

define internal void @meet(ptr %barrier, i64 %threads) nounwind {{
entry:
  %generation.at = getelementptr i64, ptr %barrier, i64 16
  %yield.at = getelementptr i64, ptr %barrier, i64 32
  %before = load atomic i64, ptr %generation.at acquire, align 8
  %others = atomicrmw add ptr %barrier, i64 1 acq_rel
  %arrived = add i64 %others, 1
  %is.last = icmp eq i64 %arrived, %threads
  br i1 %is.last, label %open, label %look
open:
  store atomic i64 0, ptr %barrier monotonic, align 8
  %raised = add i64 %before, 1
  store atomic i64 %raised, ptr %generation.at release, align 8
  ret void
look:
  %spins = phi i64 [0, %entry], [%spins.next, %spin], [%spins, %yield]
  %now = load atomic i64, ptr %generation.at acquire, align 8
  %opened = icmp ne i64 %now, %before
  br i1 %opened, label %done, label %patience
patience:
  %spinning = icmp slt i64 %spins, {spins}
  br i1 %spinning, label %spin, label %yield
spin:
  {pause}
  %spins.next = add i64 %spins, 1
  br label %look
yield:
  %sched.yield = load ptr, ptr %yield.at
  %status = call i32 %sched.yield()
  br label %look
done:
  ret void
}}
{declaration}
"""
