"""Kernels -> addresses of functions: lowered, printed, compiled, or found in the cache.

In: the kernels of a phase and how to lower one.  Out: an `Entry` for each. Kept on disk are each
function under its text, and a phase's list of functions under its Program, so that a warm start
neither lowers nor prints nor compiles.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

from latte.codegen.llvm import module
from latte.codegen.llvm_object import PASSES, Loader, Target, compile_object, host_target
from latte.compiler.expression import Axis
from latte.compiler.ir import Kernel, Phase, Program, kernels, nests
from latte.compiler.machine import Machine
from latte.compiler.plan_memory import loaded, writes
from latte.compiler.vector import Lowered, Units
from latte.runtime.cache import Cache, key, source_version

Lower = Callable[[Kernel, Program, Machine, tuple[Axis, ...]], Lowered]


@dataclass(frozen=True, slots=True)
class Entry:
    """One kernel as machine code: `void address(buffers, scalars, places, first, last)`."""

    address: int
    buffers: tuple[str, ...]
    units: Units


class Jit:
    """Compiles for one machine; code lives as long as this does."""

    def __init__(self, machine: Machine, cache: Cache) -> None:
        self._machine = machine
        self._cache = cache

    @cached_property
    def target(self) -> Target:
        return host_target(self._machine)

    @cached_property
    def _loader(self) -> Loader:
        return Loader(self.target)

    def function(self, symbol: str, text: str) -> int:
        """The address of a module's only exported function."""
        text_hash = hashlib.sha256(text.encode()).hexdigest()
        return self._address(symbol, text_hash, text)

    def entries(self, program: Program, phase: Phase, lower: Lower) -> list[Entry]:
        """The code of every kernel of a phase, in order."""
        name = key(
            "phase", source_version(), self.target.key(),
            repr(replace(self._machine, flags=frozenset())),  # a set has no fixed order
            _described(program, phase),
        )  # fmt: skip
        stored = self._cache.load(name)
        if stored is not None and (found := self._stored(stored)) is not None:
            return found
        entries, saved = [], []
        for kernel, around in nests(phase.items):
            lowered = lower(kernel, program, self._machine, around)
            symbol, text = _named(lowered, self._machine)
            address = self._address(symbol, symbol, text)
            entries.append(Entry(address, lowered.buffers, lowered.units))
            units = lowered.units
            saved.append([symbol, lowered.buffers, units.fixed, units.batched, units.points])
        self._cache.store(name, json.dumps(saved).encode())
        return entries

    def _stored(self, stored: bytes) -> list[Entry] | None:
        """The entries of a warm start; None if a function is not in the cache any more."""
        entries = []
        for symbol, buffers, *units in json.loads(stored):
            address = self._address(symbol, symbol, None)
            if not address:
                return None
            entries.append(Entry(address, tuple(buffers), Units(*units)))
        return entries

    def _address(self, symbol: str, name: str, text: str | None) -> int:
        """The function's address; 0 if it is not in the cache and there is no text."""
        known = self._loader.address(symbol)
        if known:
            return known
        object_key = key("object", self.target.key(), repr(PASSES), name)
        data = self._cache.load(object_key)
        if data is None and text is None:
            return 0
        if data is None:
            assert text is not None
            data = compile_object(text, self.target)
            self._cache.store(object_key, data)
        return self._loader.load(symbol, data)


def _named(lowered: Lowered, machine: Machine) -> tuple[str, str]:
    """The text of a kernel's module, its function named by the text: equal code has one name."""
    plain = module([replace(lowered.function, name="kernel")], machine.fma)
    symbol = f"latte.{hashlib.sha256(plain.encode()).hexdigest()}"
    return symbol, plain.replace('@"kernel', f'@"{symbol}')


def _described(program: Program, phase: Phase) -> str:
    """All that decides the code of a phase."""
    used = {name for kernel in kernels(phase.items) for name in writes(kernel)} | loaded(phase)
    buffers = [buffer for buffer in program.buffers if buffer.name in used]
    return repr((phase, buffers, program.scalars))
