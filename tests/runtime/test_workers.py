"""Threads between calls: all run, all return, errors and Ctrl-C come out at the end."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from latte.runtime.workers import Workers


def test_every_thread_runs_its_share_at_once() -> None:
    workers = Workers(4)
    meeting = threading.Barrier(4, timeout=10)
    seen: list[int] = []
    for _ in range(3):
        workers.run(lambda thread: (meeting.wait(), seen.append(thread)))
    assert sorted(seen) == sorted([0, 1, 2, 3] * 3)
    workers.close()


def test_threads_end_with_their_owner() -> None:
    before = threading.active_count()
    for _ in range(5):
        workers = Workers(3)
        workers.run(lambda thread: None)
        workers.close()
    for thread in threading.enumerate():
        if thread.name.startswith("latte-"):
            thread.join(timeout=0.2)
    assert threading.active_count() <= before + 3


def test_an_error_comes_out_after_all_have_returned() -> None:
    workers = Workers(3)

    def fail(thread: int) -> None:
        if thread == 1:
            raise ValueError("on a thread")

    with pytest.raises(ValueError, match="on a thread"):
        workers.run(fail)
    workers.run(lambda thread: None)
    workers.close()


def test_an_interruption_is_heard_after_all_have_returned() -> None:
    workers = Workers(2)
    returned: list[int] = []

    def task(thread: int) -> None:
        if thread == 0:
            signal.raise_signal(signal.SIGINT)
        returned.append(thread)

    with pytest.raises(KeyboardInterrupt):
        workers.run(task)
    assert sorted(returned) == [0, 1]
    workers.close()


def test_a_forked_process_makes_threads_of_its_own() -> None:
    workers = Workers(2)
    workers.run(lambda thread: None)
    child = os.fork()
    if child == 0:
        workers.run(lambda thread: None)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    workers.close()


def test_llvm_is_not_loaded_before_it_is_needed() -> None:
    code = (
        "import sys, latte\n"
        "net = latte.loads('net N { input x[3]; y = Linear(x, 2) }')\n"
        "net.summary(); net.compile(batch=2, target='interp').predict(x=[[1, 2, 3]])\n"
        "print('llvmlite' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr
