"""Native threads between calls: all run, all return, and they end with the last who uses them."""

import ctypes
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from latte.compiler.machine import host
from latte.runtime.cache import Cache
from latte.runtime.jit import Jit
from latte.runtime.workers import Task, Workers

COUNT = """
define void @"test.count"(ptr %words, i64 %thread, i64 %threads) {
  %place = getelementptr i64, ptr %words, i64 %thread
  %before = load i64, ptr %place
  %after = add i64 %before, %threads
  store i64 %after, ptr %place
  ret void
}
"""
RAISE = """
define void @"test.raise"(ptr %words, i64 %thread, i64 %threads) {
  %place = getelementptr i64, ptr %words, i64 %thread
  store i64 1, ptr %place
  %caller = icmp eq i64 %thread, 0
  br i1 %caller, label %raise, label %done
raise:
  %function.at = getelementptr i64, ptr %words, i64 8
  %function = load ptr, ptr %function.at
  %status = call i32 %function(i32 2)
  br label %done
done:
  ret void
}
"""


@cache
def jit() -> Jit:
    return Jit(host(), Cache(None))


@pytest.fixture
def count() -> tuple[int, np.ndarray, int]:
    """A function that adds the number of threads to each thread's word; the words; their place."""
    words = np.zeros(1024, np.int64)
    return jit().function("test.count", COUNT), words, words.ctypes.data


@pytest.fixture(autouse=True)
def _none_left() -> Iterator[None]:
    """Executables of other tests that wait to be collected keep helpers alive."""
    gc.collect()
    before = tasks()
    yield
    for _ in range(200):  # threads of Python are seen a moment longer
        if tasks() <= before:
            return
        time.sleep(0.01)
    raise AssertionError("helpers outlive their last user")


def tasks() -> set[str]:
    """The threads of this process that Python did not make."""
    python = {str(thread.native_id) for thread in threading.enumerate()}
    return {path.name for path in Path("/proc/self/task").iterdir()} - python


@pytest.mark.parametrize("threads", [1, 2, 3, 4, 7])
def test_every_thread_runs_once_in_each_call(threads: int, count: tuple) -> None:
    function, words, place = count
    workers = Workers(threads)
    for _ in range(300):
        workers.run(function, place)
    assert words[:threads].tolist() == [300 * threads] * threads and not words[threads:].any()
    workers.run(function, place, 1)
    assert words[0] == 300 * threads + 1
    workers.close()


def test_all_run_at_the_same_time() -> None:
    meeting, seen = threading.Barrier(4, timeout=10), []

    @Task
    def meet(_: int, thread: int, threads: int) -> None:
        meeting.wait()
        seen.append(thread)

    workers = Workers(4)
    for _ in range(3):
        workers.run(ctypes.cast(meet, ctypes.c_void_p).value, 0)
    assert sorted(seen) == sorted([0, 1, 2, 3] * 3)
    workers.close()


def test_helpers_are_shared_and_end_with_the_last_who_uses_them(count: tuple) -> None:
    function, _, place = count
    before = len(tasks())
    many = [Workers(threads) for threads in (2, 3, 3, 2) for _ in range(25)]
    for workers in many:
        workers.run(function, place)
        assert len(tasks()) <= before + 2
    for workers in many[:-1]:
        workers.close()
    assert len(tasks()) == before + 2
    many[-1].close()
    assert len(tasks()) == before
    many[0].run(function, place)
    assert len(tasks()) == before + 1
    many[0].close()


def test_helpers_hear_no_signal(count: tuple) -> None:
    function, _, place = count
    before = tasks()
    workers = Workers(3)
    workers.run(function, place)
    for task in tasks() - before:
        status = Path(f"/proc/self/task/{task}/status").read_text()
        blocked = int(status.split("SigBlk:")[1].split()[0], 16)
        assert blocked >> (signal.SIGINT - 1) & 1
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    workers.close()


def test_an_interruption_is_heard_after_all_have_returned() -> None:
    words = np.zeros(16, np.int64)
    words[8] = ctypes.cast(ctypes.CDLL(None)["raise"], ctypes.c_void_p).value
    workers = Workers(3)
    with pytest.raises(KeyboardInterrupt):
        workers.run(jit().function("test.raise", RAISE), words.ctypes.data)
    assert words[:3].tolist() == [1, 1, 1]
    workers.close()


def test_a_forked_process_makes_threads_of_its_own(count: tuple) -> None:
    function, words, place = count
    workers = Workers(2)
    workers.run(function, place)
    child = os.fork()
    if child == 0:
        workers.run(function, place)
        workers.close()
        os._exit(0 if words[:2].tolist() == [4, 4] else 1)
    assert os.waitpid(child, 0)[1] == 0
    workers.run(function, place)
    assert words[:2].tolist() == [4, 4]
    workers.close()


def test_calls_from_several_python_threads_do_not_wait_for_each_other(count: tuple) -> None:
    function, _, _ = count
    apart = [np.zeros(64, np.int64) for _ in range(4)]
    workers = [Workers(2) for _ in apart]

    def call(number: int) -> None:
        for _ in range(500):
            workers[number].run(function, apart[number].ctypes.data)

    callers = [threading.Thread(target=call, args=(number,)) for number in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(timeout=20)
    for words, each in zip(apart, workers, strict=True):
        alone = words[0] - words[1]  # calls that found the helper busy
        assert 0 <= alone <= 500 and words[0] == 2 * (500 - alone) + alone
        each.close()


def test_llvm_is_not_loaded_before_it_is_needed() -> None:
    code = (
        "import sys, latte\n"
        "net = latte.loads('net N { input x[3]; y = Linear(x, 2) }')\n"
        "net.summary(); net.compile(batch=2, target='interp').predict(x=[[1, 2, 3]])\n"
        "print('llvmlite' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr
