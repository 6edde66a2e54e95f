"""First values by generated code, straight into stored arrays: what `initial.First` says, in a
tenth of the time that NumPy takes.

In: a `First`, a buffer and its memory.  Out: whether it was filled; False where NumPy must do it.
One function serves all parameters of one form of expression, and is kept in the cache.
"""

from __future__ import annotations

import ctypes
import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np

from latte.codegen.llvm import module
from latte.compiler import random
from latte.compiler.expression import Expression, Number, Random
from latte.compiler.ir import Buffer
from latte.compiler.lower_initial import lower_initial, rows
from latte.compiler.machine import Machine
from latte.compiler.rewrite import rewrite, walk
from latte.runtime.arrays import Bytes
from latte.runtime.initial import First
from latte.runtime.jit import Jit

ALONE = 1 << 18  # elements that one thread draws while others would wake up


class Draws:
    """Fills arrays with first values."""

    def __init__(self, jit: Jit, machine: Machine, threads: int) -> None:
        self._jit = jit
        self._machine = machine
        self._threads = threads
        self._known: dict[Expression, Any] = {}

    def fill(self, first: First, buffer: Buffer, memory: Bytes) -> bool:
        """Writes all elements; padding is left as it is. False, and nothing done, where there is
        no code for the expression or for the layout."""
        form, stored = first.form, rows(buffer)
        run = None if isinstance(form, Number) else self._function(form)
        if run is None or stored is None or buffer.element != "f32":
            return False
        nodes = tuple(walk(form))
        words = np.array(stored.words(), np.int64)
        numbers = np.array([n.value for n in nodes if isinstance(n, Number)], np.float64)
        keys = [random.key(first.seed, 0, n.stream) for n in nodes if isinstance(n, Random)]
        streams = np.array(keys, np.uint32)
        tables = (memory, words, numbers, streams)
        table = np.array([each.ctypes.data for each in tables], np.int64)
        size = stored.count * stored.extent
        shares = min(stored.count, 1 if size < ALONE else self._threads)
        if shares == 1:
            run(table.ctypes.data, None, None, 0, stored.count)
            return True
        ends = [stored.count * share // shares for share in range(shares + 1)]
        with ThreadPoolExecutor(shares) as pool:
            list(pool.map(lambda k: run(table.ctypes.data, None, None, ends[k], ends[k + 1]),
                          range(shares)))  # fmt: skip
        return True

    def _function(self, form: Expression) -> Any:
        """The function of an expression, found once for all that differ in data only."""
        plain = rewrite(form, _without_data)
        if plain not in self._known:
            lowered = lower_initial(plain)
            text = None if lowered is None else module([lowered], self._machine.fma)
            self._known[plain] = None if text is None else self._callable(text)
        return self._known[plain]

    def _callable(self, text: str) -> Any:
        """The function of a module; Python goes on while it runs."""
        symbol = f"latte.{hashlib.sha256(text.encode()).hexdigest()}"
        address = self._jit.function(symbol, text.replace('@"initial', f'@"{symbol}'))
        pointer, long = ctypes.c_void_p, ctypes.c_int64
        return ctypes.CFUNCTYPE(None, pointer, pointer, pointer, long, long)(address)


def _without_data(node: Expression) -> Expression | None:
    match node:
        case Number():
            return Number(0.0)
        case Random():
            return replace(node, stream=0)
        case _:
            return None
