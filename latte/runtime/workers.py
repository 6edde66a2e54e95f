"""Threads that wait between calls, so that a phase costs one hand-over and not a start.

In: how many, and a native function.  Out: it runs on all of them at once, on the caller as the
first. Native code called through ctypes does not hold the interpreter's lock.

    Workers(2).run(lambda thread: phase(..., thread, 2))
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

Task = Callable[[int], object]


class Workers:
    """`count` threads, the caller's among them. They are made when first needed."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._tasks: list[queue.SimpleQueue[Task | None]] = []
        self._done: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    def run(self, task: Task) -> None:
        """Calls `task(0)` here and `task(1)`, `task(2)`, ... on the others; all have returned
        when this returns."""
        self._start()
        for tasks in self._tasks:
            tasks.put(task)
        try:
            task(0)
        finally:
            failed = [self._done.get() for _ in self._tasks]
        for error in failed:
            if error is not None:
                raise error

    def close(self) -> None:
        """Ends the threads."""
        for tasks in self._tasks:
            tasks.put(None)
        self._tasks = []

    def _start(self) -> None:
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
        try:
            task(thread)
        except BaseException as error:
            done.put(error)
        else:
            done.put(None)
        task = None
