"""Native threads that wait between calls, so that a phase is one call and no Python runs inside.

In: how many, and a native `void function(argument, thread, threads)`.  Out: it runs on all of them
at once, on the caller as the first.

    Workers(2, cache).run(function, argument)

All `Workers` of a process share its helpers, which end with the last of them. A forked process
makes its own. Helpers block every signal: Ctrl-C goes to the caller, whose Python hears it when the
call has returned, with every thread out of the phase.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import signal
import threading
from functools import cache

import numpy as np

from latte.codegen import llvm_workers as words
from latte.compiler.machine import host
from latte.options import cores
from latte.runtime.arrays import allocate
from latte.runtime.cache import Cache
from latte.runtime.jit import Jit

LIMIT = 1024  # threads of one process

Long, Pointer = ctypes.c_int64, ctypes.c_void_p
Task = ctypes.CFUNCTYPE(None, Pointer, Long, Long)
Run = ctypes.CFUNCTYPE(None, Pointer, Pointer, Pointer, Long)


class Workers:
    """`count` threads, the caller's among them; helpers are made when first needed."""

    def __init__(self, count: int, cache: Cache | None = None) -> None:
        self.count = min(count, LIMIT)
        self._cache = cache or Cache(None)
        self._crew: _Crew | None = None
        self._alone: dict[int, ctypes._FuncPointer] = {}

    def run(self, function: int, argument: int, threads: int | None = None) -> None:
        """Calls `function(argument, k, threads)` for k = 0 here and for the others on helpers; all
        have returned when this returns. Fewer threads than asked for, down to one, take part where
        the helpers are busy with another call or the system gives no more."""
        wanted = threads or self.count
        if wanted == 1 or not self._joined().run(function, argument, wanted):
            if function not in self._alone:
                self._alone[function] = Task(function)
            self._alone[function](argument, 0, 1)

    def close(self) -> None:
        """Ends the helpers if nobody else uses them. Needed once more, they are made anew."""
        if self._crew is not None and self._crew.process == os.getpid():
            self._crew.leave(id(self))
        self._crew = None

    def _joined(self) -> _Crew:
        if self._crew is None or self._crew.process != os.getpid():
            self._crew = _crew_of(os.getpid(), self._cache)
            self._crew.join(id(self))
        return self._crew


class _Crew:
    """The helpers of one process."""

    def __init__(self, process: int, cache: Cache) -> None:
        self.process = process
        self._users: set[int] = set()
        self._gate = threading.RLock()  # a finalizer may come in between
        self._busy = threading.Lock()
        self._helpers: list[ctypes.c_void_p] = []
        size = words.POOL_WORDS + LIMIT * words.SEAT_WORDS
        self._pool = np.frombuffer(allocate(8 * size), np.int64)
        self._place = self._pool.ctypes.data
        library = range(words.LIBRARY, words.LIBRARY + len(words.FUNCTIONS))
        self._pool[library] = [_address(name) for name in words.FUNCTIONS]
        architecture = host().architecture
        self._jit = Jit(host(), cache)
        self._run = Run(self._jit.function(words.RUN, words.module(words.RUN, architecture)))
        self._serve = self._jit.function(words.SERVE, words.module(words.SERVE, architecture))
        atexit.register(self._end)  # before the code that they wait in is gone

    def join(self, user: int) -> None:
        with self._gate:
            self._users.add(user)

    def leave(self, user: int) -> None:
        with self._gate:
            self._users.discard(user)
            if not self._users:
                self._end()

    def run(self, function: int, argument: int, threads: int) -> bool:
        """Whether there were helpers for it."""
        if not self._busy.acquire(blocking=False):
            return False
        try:
            if threads - 1 > len(self._helpers):
                self._hire(threads - 1)
            self._run(self._place, function, argument, min(threads, len(self._helpers) + 1))
        finally:
            self._busy.release()
        return True

    def _hire(self, count: int) -> None:
        """Makes helpers until there are `count`, or the system refuses."""
        with self._gate:
            before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            try:
                while len(self._helpers) < count and self._start():
                    pass
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
            crowded = len(self._helpers) >= cores()
            self._pool[words.PATIENCE] = 0 if crowded else words.SPINS

    def _start(self) -> bool:
        first = words.POOL_WORDS + len(self._helpers) * words.SEAT_WORDS
        seat, place = self._pool[first : first + words.SEAT_WORDS], self._place + 8 * first
        seat[:] = 0
        seat[words.OWN_NUMBER], seat[words.POOL] = len(self._helpers) + 1, self._place
        _libc().pthread_mutex_init(Pointer(place + 8 * words.MUTEX), None)
        _libc().pthread_cond_init(Pointer(place + 8 * words.CONDITION), None)
        helper = ctypes.c_void_p()
        arguments = (ctypes.byref(helper), None, Pointer(self._serve), Pointer(place))
        if _libc().pthread_create(*arguments) != 0:
            return False
        self._helpers.append(helper)
        return True

    def _end(self) -> None:
        if self.process != os.getpid() or not self._busy.acquire(blocking=False):
            return
        try:
            self._run(self._place, None, None, len(self._helpers) + 1)
            for helper in self._helpers:
                _libc().pthread_join(helper, None)
            self._helpers = []
        finally:
            self._busy.release()


_crews: dict[int, _Crew] = {}  # by process


def _crew_of(process: int, cache: Cache) -> _Crew:
    if process not in _crews:
        _crews[process] = _Crew(process, cache)
    return _crews[process]


def _address(name: str) -> int:
    address = ctypes.cast(getattr(_libc(), name), Pointer).value
    assert address is not None
    return address


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)
