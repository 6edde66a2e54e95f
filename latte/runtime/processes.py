"""Other Pythons that make machine code beside this one.

In: orders.  Out: what the others made of some of them, by number.

    places of orders in a pipe that all read: who reads one makes that order, until it is empty

The orders are in one file that all may read, and each process writes a file of its own, so that
none waits for another. They are begun as programs, not forked, hence know nothing of this process's
threads; they need nothing of it but its paths, and end with it. One that cannot begin, fails, or
hangs leaves its orders to whoever looks at what is missing in the end. The pipe ends when nobody
can write to it, hence a child that some other thread forks meanwhile lets go of it.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from struct import Struct
from tempfile import TemporaryFile
from threading import Timer
from typing import IO, TYPE_CHECKING
from weakref import WeakSet

from latte.compiler.machine import Machine
from latte.options import PACKAGE, cores

if TYPE_CHECKING:
    from latte.runtime.making import Lower, Order

EACH = 16  # orders that are worth a process: about 0.2 s to begin it, 0.02 s for an order
MOST = 7  # others: each takes 0.1 GB
LONGEST = 30.0  # seconds that others are waited for in the end, each with one order at most
PLACE = Struct("<QII")  # of an order in the file: its first byte, its size; its number

BEGIN = """
import os, sys
os.environ["OPENBLAS_NUM_THREADS"] = "1"
sys.path[:] = sys.argv[5:]
from latte.runtime.processes import serve
serve(*map(int, sys.argv[1:4]), sys.argv[4])
"""

AT_WORK: WeakSet[Processes] = WeakSet()  # whose pipes a fork of this process lets go of


class Processes:
    """As many as are worth it, for up to `threads` with this one; begun while orders come in."""

    def __init__(self, lower: Lower, machine: Machine, threads: int) -> None:
        name = f"{lower.__module__}:{lower.__qualname__}"
        able = _is_python() and _named(name) is lower
        self._most = min(threads - 1, cores() - 1, MOST) if able else 0
        known = {**asdict(machine), "flags": sorted(machine.flags)}
        self._work = json.dumps((os.getpid(), name, known))
        self._orders: list[Order] = []
        self._untold: deque[int] = deque()
        self._told: IO[bytes] | None = None
        self._pipe: list[int] = []  # its end to read, its end to write
        self._others: list[tuple[subprocess.Popen[bytes], IO[bytes]]] = []
        AT_WORK.add(self)

    def add(self, order: Order) -> None:
        """One more, for whoever takes it; numbers count from 0."""
        self._untold.append(len(self._orders))
        self._orders.append(order)
        count = len(self._others)
        if count < self._most and len(self._orders) >= EACH * (count + 2):
            try:
                self._begin()
            except OSError:
                self._most = count
        if self._others:
            self._tell()

    def mine(self) -> Iterator[int]:
        """The numbers of orders that this process is to make, once no more are added."""
        if self._pipe:
            os.close(self._pipe[1])
            self._pipe.pop()
            yield from (number for _, _, number in _taken(self._pipe[0]))
        yield from self._untold

    def made(self) -> Iterator[tuple[int, bytes]]:
        """What the others made, once they are done, or were ended for taking too long."""
        self._wait()
        for _, file in self._others:
            file.seek(0)
            while len(line := file.readline().split()) == 2:
                number, size = map(int, line)
                if len(data := file.read(size)) == size:
                    yield number, data

    def close(self) -> None:
        """Ends those that are still at work."""
        self._end()
        for process, file in self._others:
            process.wait()
            file.close()
        for end in self._pipe:
            os.close(end)
        if self._told is not None:
            self._told.close()
        self._others, self._pipe, self._told = [], [], None

    def let_go(self) -> None:
        """In a fork of this process, which makes nothing: of what others wait for the end of."""
        for end in self._pipe:
            with suppress(OSError):  # closed while this one was forked
                os.close(end)
        self._pipe = []

    def _wait(self) -> None:
        """Until the last one is gone, in whatever way."""
        late = Timer(LONGEST, self._end)  # `wait` with a limit would look only now and then
        late.start()
        try:
            for process, _ in self._others:
                process.wait()
        finally:
            late.cancel()

    def _end(self) -> None:
        for process, _ in self._others:
            process.kill()

    def _begin(self) -> None:
        if self._told is None:
            self._told = TemporaryFile(buffering=0)  # noqa: SIM115 (closed by `close`)
            self._pipe += os.pipe()
            os.set_blocking(self._pipe[1], False)
        made = TemporaryFile()  # noqa: SIM115 (closed by `close`)
        files = (self._pipe[0], self._told.fileno(), made.fileno())
        words = [sys.executable, "-c", BEGIN, *map(str, files), self._work, *_paths()]
        nothing = subprocess.DEVNULL
        try:
            process = subprocess.Popen(
                words, stdin=nothing, stdout=nothing, stderr=nothing, pass_fds=files
            )
        except OSError:
            made.close()
            raise
        self._others.append((process, made))

    def _tell(self) -> None:
        """The others of new orders, as far as there is room in the pipe and the file."""
        assert self._told is not None
        while self._untold:
            order = self._orders[self._untold[0]]
            words = (order.fingerprint, order.text, order.variant)
            text, first = json.dumps(words).encode(), self._told.tell()
            try:
                if self._told.write(text) < len(text):
                    return
                os.write(self._pipe[1], PLACE.pack(first, len(text), self._untold[0]))
            except OSError:
                return
            self._untold.popleft()


def serve(shared: int, told: int, made: int, work: str) -> None:
    """What another process does: takes orders until there are none, or nobody to make them for."""
    from latte.codegen.llvm_object import compile_object, host_target
    from latte.runtime.making import Order, printed

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends who asked, and so this one
    gc.disable()
    parent, name, known = json.loads(work)
    machine, lower = Machine(**{**known, "flags": frozenset(known["flags"])}), _named(name)
    assert lower is not None
    with os.fdopen(made, "wb") as file:
        for first, size, number in _taken(shared):
            if os.getppid() != parent:
                return
            order = Order(*json.loads(os.pread(told, size, first)))
            head, text = printed(order, lower, machine)
            data = head + compile_object(text, host_target(machine))
            file.write(f"{number} {len(data)}\n".encode() + data)


def _paths() -> list[str]:
    """Where to import from: the same, but never from a folder that this process is in by now."""
    return [path if os.path.isabs(path) else str(PACKAGE.parent) for path in sys.path]


def _taken(shared: int) -> Iterator[tuple[int, int, int]]:
    """What nobody has taken yet, until it is certain that nothing will come."""
    while word := os.read(shared, PLACE.size):
        yield PLACE.unpack(word)


def _named(name: str) -> Lower | None:
    """What can be found again in another process: a function of a module."""
    module, _, attribute = name.partition(":")
    found: Lower | None = getattr(import_module(module), attribute, None)
    return found


def _forked() -> None:
    for each in list(AT_WORK):
        each.let_go()


os.register_at_fork(after_in_child=_forked)


def _is_python() -> bool:
    """Whether this is no other program that has Python inside."""
    return Path(sys.executable or "").name.startswith(("python", "pypy"))
