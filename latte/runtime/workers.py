"""Threads that wait between calls, so that a phase costs one hand-over and not a start.

In: how many, and a native function.  Out: it runs on all of them at once, on the caller as the
first. Native code called through ctypes does not hold the interpreter's lock.

    Workers(2).run(lambda thread: phase(..., thread, 2))
"""

from __future__ import annotations

import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

Task = Callable[[int], object]


class Workers:
    """`count` threads, the caller's among them. They are made when first needed, and anew in a
    process that was forked."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._tasks: list[queue.SimpleQueue[Task | None]] = []
        self._done: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        self._process = os.getpid()

    def run(self, task: Task) -> None:
        """Calls `task(0)` here and `task(1)`, `task(2)`, ... on the others; all have returned
        when this returns. They wait for each other inside, so either all of them run or none:
        Ctrl-C is heard afterwards."""
        self._start()
        with _undisturbed():
            for tasks in self._tasks:
                tasks.put(task)
            errors = [_attempt(task, 0), *(self._done.get() for _ in self._tasks)]
        for error in errors:
            if error is not None:
                raise error

    def close(self) -> None:
        """Ends the threads."""
        for tasks in self._tasks:
            tasks.put(None)
        self._tasks = []

    def _start(self) -> None:
        if self._process != os.getpid():
            self._tasks, self._done, self._process = [], queue.SimpleQueue(), os.getpid()
        while len(self._tasks) < self.count - 1:
            tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
            self._tasks.append(tasks)
            arguments = (tasks, self._done, len(self._tasks))
            name = f"latte-{len(self._tasks)}"
            threading.Thread(target=_serve, args=arguments, name=name, daemon=True).start()


def _serve(
    tasks: queue.SimpleQueue[Task | None],
    done: queue.SimpleQueue[BaseException | None],
    thread: int,
) -> None:
    """A worker's life; it holds no reference to its owner, which can so be collected."""
    while (task := tasks.get()) is not None:
        error = _attempt(task, thread)
        task = None
        done.put(error)


def _attempt(task: Task, thread: int) -> BaseException | None:
    try:
        task(thread)
    except BaseException as error:
        return error
    return None


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Holds Ctrl-C back until the end. Only the main thread ever hears it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard: list[tuple[int, FrameType | None]] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: heard.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if heard and callable(before):
        before(*heard[0])
