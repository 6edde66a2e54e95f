"""How threads get a task and wait for the next: one call from Python, none between kernels.

In: nothing of a net.  Out: IR text of each of these functions, and where their words lie.

    latte.run(pool, function, argument, threads)    the caller posts a task, runs
        function(argument, 0, threads) itself, and waits until the others have returned
    latte.serve(seat)    a helper's life: wait for a task, run function(argument, k, threads);
        the function null ends it

A helper that waits looks at its seat a few times, then gives its core away between looks, and after
a while sleeps at a condition variable of the C library. The caller stores a task's number into each
seat and wakes whoever says that it sleeps; both sides order the two words strictly, so no wake is
lost. Addresses of the library's functions are words of the pool: nothing is linked.
"""

from __future__ import annotations

from typing import Final

RUN, SERVE = "latte.run", "latte.serve"

# Words of 8 bytes. What different threads write lies apart by two cache lines.
FUNCTION, ARGUMENT, THREADS, NUMBER, PATIENCE = 0, 1, 2, 3, 4  # of the task; looks
LEFT: Final = 16  # helpers that have not returned yet
LIBRARY: Final = 32  # addresses of these functions:
FUNCTIONS = (
    "sched_yield", "pthread_mutex_lock", "pthread_mutex_unlock", "pthread_cond_wait",
    "pthread_cond_signal",
)  # fmt: skip
POOL_WORDS: Final = 48
POSTED, ASLEEP, OWN_NUMBER, POOL = 0, 1, 2, 3  # of a seat: numbers of a task and of the helper
MUTEX, CONDITION = 16, 32  # room for 128 bytes each, more than any C library needs
SEAT_WORDS: Final = 48
SPINS = 50  # looks before a thread gives its core away, where every thread has a core
YIELDS = 1000  # looks more before a helper sleeps: about 0.5 ms


def module(symbol: str, architecture: str) -> str:
    """The module of one of the functions."""
    x86 = architecture == "x86_64"
    pause = "call void @llvm.x86.sse2.pause()" if x86 else "; no hint for this architecture"
    declaration = "declare void @llvm.x86.sse2.pause()" if x86 else ""
    return TEXTS[symbol].format(
        symbol=symbol, patience=PATIENCE, yields=YIELDS, pause=pause, declaration=declaration,
        seat_words=SEAT_WORDS, pool_words=POOL_WORDS, left=LEFT, number=NUMBER,
        argument=ARGUMENT, threads=THREADS, asleep=ASLEEP, own_number=OWN_NUMBER, pool=POOL,
        mutex=MUTEX, condition=CONDITION, sched_yield=LIBRARY, lock=LIBRARY + 1,
        unlock=LIBRARY + 2, wait=LIBRARY + 3, signal=LIBRARY + 4,
    )  # fmt: skip


RUN_TEXT = """
define void @"{symbol}"(ptr %pool, ptr %function, ptr %argument, i64 %threads) nounwind {{
entry:
  %argument.at = getelementptr i64, ptr %pool, i64 {argument}
  %threads.at = getelementptr i64, ptr %pool, i64 {threads}
  %number.at = getelementptr i64, ptr %pool, i64 {number}
  %left.at = getelementptr i64, ptr %pool, i64 {left}
  %yield.at = getelementptr i64, ptr %pool, i64 {sched_yield}
  %sched.yield = load ptr, ptr %yield.at
  %patience.at = getelementptr i64, ptr %pool, i64 {patience}
  %patience = load i64, ptr %patience.at
  store ptr %function, ptr %pool
  store ptr %argument, ptr %argument.at
  store i64 %threads, ptr %threads.at
  %number.before = load i64, ptr %number.at
  %number = add i64 %number.before, 1
  store i64 %number, ptr %number.at
  %helpers = sub i64 %threads, 1
  store atomic i64 %helpers, ptr %left.at monotonic, align 8
  br label %post.test
post.test:
  %helper = phi i64 [0, %entry], [%helper.next, %post]
  %more = icmp slt i64 %helper, %helpers
  br i1 %more, label %post, label %own
post:
  %words = mul i64 %helper, {seat_words}
  %word = add i64 %words, {pool_words}
  %seat = getelementptr i64, ptr %pool, i64 %word
  call void @post(ptr %pool, ptr %seat, i64 %number)
  %helper.next = add i64 %helper, 1
  br label %post.test
own:
  %ends = icmp eq ptr %function, null
  br i1 %ends, label %done, label %share
share:
  call void %function(ptr %argument, i64 0, i64 %threads)
  br label %look
look:
  %spins = phi i64 [0, %share], [%spins.next, %spin], [%spins, %yield]
  %left = load atomic i64, ptr %left.at acquire, align 8
  %all = icmp eq i64 %left, 0
  br i1 %all, label %done, label %patient
patient:
  %spinning = icmp slt i64 %spins, %patience
  br i1 %spinning, label %spin, label %yield
spin:
  {pause}
  %spins.next = add i64 %spins, 1
  br label %look
yield:
  %status = call i32 %sched.yield()
  br label %look
done:
  ret void
}}

define internal void @post(ptr %pool, ptr %seat, i64 %number) nounwind {{
entry:
  store atomic i64 %number, ptr %seat seq_cst, align 8
  %asleep.at = getelementptr i64, ptr %seat, i64 {asleep}
  %asleep = load atomic i64, ptr %asleep.at seq_cst, align 8
  %sleeps = icmp ne i64 %asleep, 0
  br i1 %sleeps, label %wake, label %done
wake:
  %mutex = getelementptr i64, ptr %seat, i64 {mutex}
  %condition = getelementptr i64, ptr %seat, i64 {condition}
  %lock.at = getelementptr i64, ptr %pool, i64 {lock}
  %unlock.at = getelementptr i64, ptr %pool, i64 {unlock}
  %signal.at = getelementptr i64, ptr %pool, i64 {signal}
  %lock = load ptr, ptr %lock.at
  %unlock = load ptr, ptr %unlock.at
  %signal = load ptr, ptr %signal.at
  %locked = call i32 %lock(ptr %mutex)
  %signalled = call i32 %signal(ptr %condition)
  %unlocked = call i32 %unlock(ptr %mutex)
  br label %done
done:
  ret void
}}
{declaration}
"""

SERVE_TEXT = """
define ptr @"{symbol}"(ptr %seat) nounwind {{
entry:
  %number.at = getelementptr i64, ptr %seat, i64 {own_number}
  %pool.at = getelementptr i64, ptr %seat, i64 {pool}
  %thread = load i64, ptr %number.at
  %pool = load ptr, ptr %pool.at
  %argument.at = getelementptr i64, ptr %pool, i64 {argument}
  %threads.at = getelementptr i64, ptr %pool, i64 {threads}
  %left.at = getelementptr i64, ptr %pool, i64 {left}
  br label %wait
wait:
  %before = phi i64 [0, %entry], [%number, %share]
  %number = call i64 @next(ptr %pool, ptr %seat, i64 %before)
  %function = load ptr, ptr %pool
  %ends = icmp eq ptr %function, null
  br i1 %ends, label %done, label %share
share:
  %argument = load ptr, ptr %argument.at
  %threads = load i64, ptr %threads.at
  call void %function(ptr %argument, i64 %thread, i64 %threads)
  %others = atomicrmw sub ptr %left.at, i64 1 release
  br label %wait
done:
  ret ptr null
}}

define internal i64 @next(ptr %pool, ptr %seat, i64 %before) nounwind {{
entry:
  %patience.at = getelementptr i64, ptr %pool, i64 {patience}
  %patience = load i64, ptr %patience.at
  %yield.at = getelementptr i64, ptr %pool, i64 {sched_yield}
  %sched.yield = load ptr, ptr %yield.at
  %crowded = icmp eq i64 %patience, 0
  %yields = select i1 %crowded, i64 0, i64 {yields}
  %end = add i64 %patience, %yields
  br label %look
look:
  %looks = phi i64 [0, %entry], [%looks.next, %again]
  %posted = load atomic i64, ptr %seat acquire, align 8
  %fresh = icmp ne i64 %posted, %before
  br i1 %fresh, label %found, label %patient
patient:
  %spinning = icmp slt i64 %looks, %patience
  br i1 %spinning, label %spin, label %polite
spin:
  {pause}
  br label %again
polite:
  %yielding = icmp slt i64 %looks, %end
  br i1 %yielding, label %yield, label %sleep
yield:
  %status = call i32 %sched.yield()
  br label %again
again:
  %looks.next = add i64 %looks, 1
  br label %look
found:
  ret i64 %posted
sleep:
  %asleep.at = getelementptr i64, ptr %seat, i64 {asleep}
  %mutex = getelementptr i64, ptr %seat, i64 {mutex}
  %condition = getelementptr i64, ptr %seat, i64 {condition}
  %lock.at = getelementptr i64, ptr %pool, i64 {lock}
  %unlock.at = getelementptr i64, ptr %pool, i64 {unlock}
  %wait.at = getelementptr i64, ptr %pool, i64 {wait}
  %lock = load ptr, ptr %lock.at
  %unlock = load ptr, ptr %unlock.at
  %wait = load ptr, ptr %wait.at
  %locked = call i32 %lock(ptr %mutex)
  store atomic i64 1, ptr %asleep.at seq_cst, align 8
  br label %doze
doze:
  %word = load atomic i64, ptr %seat seq_cst, align 8
  %called = icmp ne i64 %word, %before
  br i1 %called, label %wake, label %rest
rest:
  %woken = call i32 %wait(ptr %condition, ptr %mutex)
  br label %doze
wake:
  store atomic i64 0, ptr %asleep.at seq_cst, align 8
  %unlocked = call i32 %unlock(ptr %mutex)
  ret i64 %word
}}
{declaration}
"""

TEXTS = {RUN: RUN_TEXT, SERVE: SERVE_TEXT}
