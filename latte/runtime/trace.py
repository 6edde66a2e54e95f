"""When each thread began and ended each kernel: the memory for it, and what it says afterwards.

In: words that `latte.traced` wrote, in ticks of the processor's clock.  Out: `Span`s in seconds.

    [2, room, 90, 0, 100, 900, 3, 950, 990]   ->   Span(0, conv1, 0.0, 8e-7), Span(0, pool1, ...)

How long a tick is follows from two calls some time apart, on both clocks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter, sleep

import numpy as np

from latte.codegen.llvm_driver import LOG_ENTRY, LOG_HEAD
from latte.compiler.ir import Kernel
from latte.runtime.arrays import allocate
from latte.runtime.backend import Span

ROOM = 1 << 16  # entries of a thread
APART = 0.01  # seconds between two calls


class Log:
    """A log for each of some threads. `task` are the words that tell the driver where it is."""

    def __init__(self, threads: int, room: int = ROOM) -> None:
        words = LOG_HEAD + LOG_ENTRY * room
        self._words = np.frombuffer(allocate(8 * words * threads), np.int64).reshape(threads, -1)
        self._words[:, :LOG_HEAD] = 0, room, 0
        self._came: list[tuple[float, int]] = []

    @property
    def task(self) -> tuple[int, int]:
        """The address of the first log, and the bytes to the next."""
        return self._words.ctypes.data, self._words.strides[0]

    def call(self, run: Callable[[], None]) -> None:
        """Runs what fills the logs, and looks at the clock. Twice at least, with time between."""
        if self._came:
            sleep(APART)
        now = perf_counter()
        run()
        self._came.append((now, int(self._words[0, 2])))

    def spans(self, calls: Sequence[int], kernels: Sequence[Kernel]) -> tuple[Span, ...]:
        """What was noted, in order: `calls[k]` is the step that runs `kernels[k]`."""
        names = dict(zip(calls, kernels, strict=True))
        (first, early), *_, (last, came) = self._came
        tick = (last - first) / max(came - early, 1)
        start = min(word for word in self._words[:, 2].tolist() if word)
        found = [
            Span(thread, names[step], (begin - start) * tick, (end - start) * tick)
            for thread, words in enumerate(self._words)
            for step, begin, end in words[LOG_HEAD:].reshape(-1, LOG_ENTRY)[: words[0]].tolist()
        ]
        return tuple(sorted(found, key=lambda span: (span.begin, span.thread)))
