"""The one function that runs a phase on every thread: kernels, their shares, loops, barriers.

In: nothing of a net.  Out: IR text of `latte.phase`. A phase is data to it, a list of `Step`:

    call: wait at the barrier if it says so; run my share of its units
    loop, in order: for each place, all threads run what is inside, meeting where that says so
    loop, shared out: for each place of my share, I run all of what is inside alone
    stop: all meet, and leave if the loss is not finite or an index was wrong

so that kernels compiled at different times, or loaded from a cache, run without being linked.
A barrier is a counter and a generation: the last thread to arrive resets the first and raises
the second. Waiting spins a few times, then gives the core away between looks.

Numbers below 1e-38 count as zero while a phase runs: a processor takes a hundred times as long over
them, and a net that fits its data meets many.

`latte.traced` is the same function with a clock: it notes when each thread began and ended each of
its shares. Nothing of that is in the one that runs otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

SYMBOL, TRACED = "latte.phase", "latte.traced"
BARRIER_WORDS = 48  # counter at 0, generation at 16: apart by lines; and what nobody changes:
YIELD, PATIENCE = 32, 33  # address of sched_yield; looks before a thread gives its core away
SPINS = 50  # of them, 2 to 5 us, where every thread has a core
FLUSH = 0x8040  # of x86's control word: denormal results and operands are zero
WORDS = 12  # of a step
DEPTH = 16  # axes of loops around a kernel, at most
STEPS = -1  # `Loop.per` of a loop over time
LOG_HEAD, LOG_ENTRY = 3, 3  # words of a thread's log: entries so far, room, when the call came;
# of an entry: the step, when it began and ended


@dataclass(frozen=True, slots=True)
class Call:
    """One kernel: addresses of its function and argument table, its units (`fixed`, times the items
    where `batched`), whether the first thread runs it `alone`, and whether all threads `wait` for
    each other before it."""

    function: int
    arguments: int
    fixed: int
    batched: bool
    alone: bool
    wait: bool

    def words(self) -> tuple[int, ...]:
        """As the driver reads it."""
        return (
            0, int(self.wait), self.fixed, int(self.batched), int(self.alone), self.function,
            self.arguments, 0, 0, 0, 0, 0,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Loop:
    """The steps behind this one, up to number `end`, for every place of some axes, the first of
    them at `depth` among the loops around. The first axis has `first` places; with `per` > 0 as
    many as there are blocks of `per` items, with `STEPS` as there are steps of time. `inner` are
    the sizes of at most 3 others. `shared`: threads share the places out and do not meet inside.
    """

    end: int
    depth: int
    first: int
    per: int
    inner: tuple[int, ...]
    down: bool
    shared: bool
    alone: bool
    wait: bool

    def words(self) -> tuple[int, ...]:
        """As the driver reads it."""
        assert len(self.inner) <= 3
        sizes = (*self.inner, 1, 1, 1)[:3]
        return (
            1, int(self.wait), self.first, self.per, int(self.alone), self.end, self.depth,
            int(self.down), int(self.shared), *sizes,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stop:
    """The end of the phase, if the f32 at the address `loss` is infinite or not a number, or if the
    word at the address `fault` is not 0. Comes before the first step that changes a parameter."""

    loss: int
    fault: int

    def words(self) -> tuple[int, ...]:
        """As the driver reads it."""
        return (2, 1, 0, 0, 0, self.loss, self.fault, 0, 0, 0, 0, 0)


Step = Call | Loop | Stop


def driver(architecture: str, *, traced: bool = False) -> str:
    """The module: `void latte.phase(task, thread, threads)`. The task is six words: steps, first,
    last, scalars, barrier, table bytes. It runs steps first .. last - 1. Each thread has its own
    argument tables, that many bytes behind those of the thread before.

    `traced`: `latte.traced` instead, whose task has two more words: the first thread's log, and the
    bytes from one thread's log to the next. It notes calls, in ticks, while there is room.
    """
    x86 = architecture == "x86_64"
    pause = "call void @llvm.x86.sse2.pause()" if x86 else "; no hint for this architecture"
    declaration = DECLARATIONS if x86 else ""
    clock = "llvm.readcyclecounter" if x86 else "llvm.readsteadycounter"
    words = {f"word{k}": f"i64 {k}" for k in range(WORDS)}
    log = dict.fromkeys(("log", "begin", "end"), "")
    if traced:
        log = {"log": LOG, "begin": f"  %begin = call i64 @{clock}()", "end": END}
        log = {name: text.format(clock=clock, head=LOG_HEAD, entry=LOG_ENTRY, **words)
               for name, text in log.items()}  # fmt: skip
        declaration += f"\ndeclare i64 @{clock}()"
    return TEXT.format(
        symbol=TRACED if traced else SYMBOL, yield_at=YIELD, patience_at=PATIENCE, pause=pause,
        declaration=declaration, size=WORDS, depth=DEPTH, log=log["log"], begin=log["begin"],
        end=log["end"], flush=SET_FLUSH.format(flush=FLUSH) if x86 else "",
        restore=RESTORE if x86 else "", **words,
    )  # fmt: skip


DECLARATIONS = """
declare void @llvm.x86.sse2.pause()
declare void @llvm.x86.sse.stmxcsr(ptr)
declare void @llvm.x86.sse.ldmxcsr(ptr)
"""

SET_FLUSH = """
  %theirs = alloca i32
  %ours = alloca i32
  call void @llvm.x86.sse.stmxcsr(ptr %theirs)
  %control = load i32, ptr %theirs
  %flushing = or i32 %control, {flush}
  store i32 %flushing, ptr %ours
  call void @llvm.x86.sse.ldmxcsr(ptr %ours)
"""

RESTORE = "  call void @llvm.x86.sse.ldmxcsr(ptr %theirs)"

LOG = """
  %logs.at = getelementptr i64, ptr %task, {word6}
  %logs = load ptr, ptr %logs.at
  %log.bytes.at = getelementptr i64, ptr %task, {word7}
  %log.bytes = load i64, ptr %log.bytes.at
  %log.shift = mul i64 %thread, %log.bytes
  %log = getelementptr i8, ptr %logs, i64 %log.shift
  %log.at = getelementptr %state, ptr %state, i64 0, i32 5
  store ptr %log, ptr %log.at
  %came.at = getelementptr i64, ptr %log, {word2}
  %came = call i64 @{clock}()
  store i64 %came, ptr %came.at
"""

END = """
  %end.time = call i64 @{clock}()
  %my.log.at = getelementptr %state, ptr %state, i64 0, i32 5
  %my.log = load ptr, ptr %my.log.at
  %count = load i64, ptr %my.log
  %room.at = getelementptr i64, ptr %my.log, {word1}
  %room = load i64, ptr %room.at
  %fits = icmp slt i64 %count, %room
  br i1 %fits, label %note, label %call.end
note:
  %entry.word = mul i64 %count, {entry}
  %entry.from = add i64 %entry.word, {head}
  %entry.at = getelementptr i64, ptr %my.log, i64 %entry.from
  store i64 %number, ptr %entry.at
  %begin.at = getelementptr i64, ptr %entry.at, {word1}
  store i64 %begin, ptr %begin.at
  %end.time.at = getelementptr i64, ptr %entry.at, {word2}
  store i64 %end.time, ptr %end.time.at
  %one.more = add i64 %count, 1
  store i64 %one.more, ptr %my.log
"""

TEXT = """
%state = type {{ ptr, ptr, ptr, i64, [{depth} x i64], ptr }}

define void @"{symbol}"(ptr %task, i64 %thread, i64 %threads) nounwind {{
entry:
  %first.at = getelementptr i64, ptr %task, {word1}
  %last.at = getelementptr i64, ptr %task, {word2}
  %their.scalars.at = getelementptr i64, ptr %task, {word3}
  %their.barrier.at = getelementptr i64, ptr %task, {word4}
  %table.bytes.at = getelementptr i64, ptr %task, {word5}
  %steps = load ptr, ptr %task
  %first = load i64, ptr %first.at
  %last = load i64, ptr %last.at
  %scalars = load ptr, ptr %their.scalars.at
  %barrier = load ptr, ptr %their.barrier.at
  %table.bytes = load i64, ptr %table.bytes.at
  %state = alloca %state
  store ptr %steps, ptr %state
  %scalars.at = getelementptr %state, ptr %state, i64 0, i32 1
  store ptr %scalars, ptr %scalars.at
  %barrier.at = getelementptr %state, ptr %state, i64 0, i32 2
  store ptr %barrier, ptr %barrier.at
  %shift = mul i64 %thread, %table.bytes
  %shift.at = getelementptr %state, ptr %state, i64 0, i32 3
  store i64 %shift, ptr %shift.at
{log}
{flush}  call void @run(ptr %state, i64 %first, i64 %last, i64 %thread, i64 %threads)
{restore}
  ret void
}}

; `me` of `us` share what follows: all threads, or a thread that is alone in its place of a loop
define internal void @run(ptr %state, i64 %first, i64 %last, i64 %me, i64 %us) nounwind {{
entry:
  %steps = load ptr, ptr %state
  %scalars.at = getelementptr %state, ptr %state, i64 0, i32 1
  %scalars = load ptr, ptr %scalars.at
  %barrier.at = getelementptr %state, ptr %state, i64 0, i32 2
  %barrier = load ptr, ptr %barrier.at
  %shift.at = getelementptr %state, ptr %state, i64 0, i32 3
  %shift = load i64, ptr %shift.at
  %places = getelementptr %state, ptr %state, i64 0, i32 4
  %items = load i64, ptr %scalars
  %time.at = getelementptr i64, ptr %scalars, i64 1
  %time = load i64, ptr %time.at
  br label %test
test:
  %number = phi i64 [%first, %entry], [%after.call, %call.end], [%end, %loop.end]
  %more = icmp slt i64 %number, %last
  br i1 %more, label %body, label %done
body:
  %word = mul i64 %number, {size}
  %at = getelementptr i64, ptr %steps, i64 %word
  %kind = load i64, ptr %at
  %wait.at = getelementptr i64, ptr %at, {word1}
  %wait = load i64, ptr %wait.at
  %fixed.at = getelementptr i64, ptr %at, {word2}
  %fixed = load i64, ptr %fixed.at
  %per.at = getelementptr i64, ptr %at, {word3}
  %per = load i64, ptr %per.at
  %alone.at = getelementptr i64, ptr %at, {word4}
  %alone = load i64, ptr %alone.at
  %several = icmp sgt i64 %us, 1
  %must.wait = icmp ne i64 %wait, 0
  %waits = and i1 %several, %must.wait
  br i1 %waits, label %meet, label %which
meet:
  call void @meet(ptr %barrier, i64 %us)
  br label %which
which:
  %is.alone = icmp ne i64 %alone, 0
  %parts = select i1 %is.alone, i64 1, i64 %us
  %mine = icmp slt i64 %me, %parts
  %next = add i64 %me, 1
  switch i64 %kind, label %call [ i64 1, label %loop i64 2, label %stop ]

call:
  %is.batched = icmp ne i64 %per, 0
  %factor = select i1 %is.batched, i64 %items, i64 1
  %units = mul i64 %fixed, %factor
  %low.product = mul i64 %me, %units
  %low = udiv i64 %low.product, %parts
  %high.product = mul i64 %next, %units
  %high = udiv i64 %high.product, %parts
  %any = icmp slt i64 %low, %high
  %runs = and i1 %mine, %any
  br i1 %runs, label %do, label %call.end
do:
  %function.at = getelementptr i64, ptr %at, {word5}
  %function = load ptr, ptr %function.at
  %arguments.at = getelementptr i64, ptr %at, {word6}
  %arguments = load ptr, ptr %arguments.at
  %table = getelementptr i8, ptr %arguments, i64 %shift
{begin}
  call void %function(ptr %table, ptr %scalars, ptr %places, i64 %low, i64 %high)
{end}
  br label %call.end
call.end:
  %after.call = add i64 %number, 1
  br label %test

loop:
  %end.at = getelementptr i64, ptr %at, {word5}
  %end = load i64, ptr %end.at
  %depth.at = getelementptr i64, ptr %at, {word6}
  %depth = load i64, ptr %depth.at
  %down.at = getelementptr i64, ptr %at, {word7}
  %down = load i64, ptr %down.at
  %shared.at = getelementptr i64, ptr %at, {word8}
  %shared = load i64, ptr %shared.at
  %size1.at = getelementptr i64, ptr %at, {word9}
  %size1 = load i64, ptr %size1.at
  %size2.at = getelementptr i64, ptr %at, {word10}
  %size2 = load i64, ptr %size2.at
  %size3.at = getelementptr i64, ptr %at, {word11}
  %size3 = load i64, ptr %size3.at
  %timed = icmp eq i64 %per, -1
  %by.time = select i1 %timed, i64 %time, i64 %fixed
  %blocked = icmp sgt i64 %per, 0
  %divisor = select i1 %blocked, i64 %per, i64 1
  %up = add i64 %items, %divisor
  %filled = sub i64 %up, 1
  %blocks = udiv i64 %filled, %divisor
  %outermost = select i1 %blocked, i64 %blocks, i64 %by.time
  %size23 = mul i64 %size2, %size3
  %size123 = mul i64 %size1, %size23
  %rounds = mul i64 %outermost, %size123
  %is.shared = icmp ne i64 %shared, 0
  %from.product = mul i64 %me, %rounds
  %from.share = udiv i64 %from.product, %parts
  %to.product = mul i64 %next, %rounds
  %to.share = udiv i64 %to.product, %parts
  %to.mine = select i1 %mine, i64 %to.share, i64 %from.share
  %from = select i1 %is.shared, i64 %from.share, i64 0
  %to = select i1 %is.shared, i64 %to.mine, i64 %rounds
  %inner.me = select i1 %is.shared, i64 0, i64 %me
  %inner.us = select i1 %is.shared, i64 1, i64 %us
  %inside = add i64 %number, 1
  %is.down = icmp ne i64 %down, 0
  %place0 = getelementptr i64, ptr %places, i64 %depth
  %place1 = getelementptr i64, ptr %place0, i64 1
  %place2 = getelementptr i64, ptr %place0, i64 2
  %place3 = getelementptr i64, ptr %place0, i64 3
  br label %round.test
round.test:
  %round = phi i64 [%from, %loop], [%round.next, %round.body]
  %round.more = icmp slt i64 %round, %to
  br i1 %round.more, label %round.body, label %loop.end
round.body:
  %from.end = sub i64 %rounds, %round
  %mirrored = sub i64 %from.end, 1
  %flat = select i1 %is.down, i64 %mirrored, i64 %round
  %digit0 = udiv i64 %flat, %size123
  %rest0 = urem i64 %flat, %size123
  %digit1 = udiv i64 %rest0, %size23
  %rest1 = urem i64 %rest0, %size23
  %digit2 = udiv i64 %rest1, %size3
  %digit3 = urem i64 %rest1, %size3
  store i64 %digit0, ptr %place0
  store i64 %digit1, ptr %place1
  store i64 %digit2, ptr %place2
  store i64 %digit3, ptr %place3
  call void @run(ptr %state, i64 %inside, i64 %end, i64 %inner.me, i64 %inner.us)
  %round.next = add i64 %round, 1
  br label %round.test
loop.end:
  br label %test

; nobody goes on to what may write these words before everybody has read them
stop:
  %loss.at.at = getelementptr i64, ptr %at, {word5}
  %loss.at = load ptr, ptr %loss.at.at
  %fault.at.at = getelementptr i64, ptr %at, {word6}
  %fault.at = load ptr, ptr %fault.at.at
  %loss = load i32, ptr %loss.at
  %exponent = and i32 %loss, 2139095040
  %infinite = icmp eq i32 %exponent, 2139095040
  %fault = load i64, ptr %fault.at
  %faulty = icmp ne i64 %fault, 0
  %stops = or i1 %infinite, %faulty
  br i1 %several, label %meet.again, label %decide
meet.again:
  call void @meet(ptr %barrier, i64 %us)
  br label %decide
decide:
  br i1 %stops, label %done, label %call.end

done:
  ret void
}}

define internal void @meet(ptr %barrier, i64 %threads) nounwind {{
entry:
  %generation.at = getelementptr i64, ptr %barrier, i64 16
  %yield.at = getelementptr i64, ptr %barrier, i64 {yield_at}
  %patience.at = getelementptr i64, ptr %barrier, i64 {patience_at}
  %patience = load i64, ptr %patience.at
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
  br i1 %opened, label %done, label %patient
patient:
  %spinning = icmp slt i64 %spins, %patience
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
