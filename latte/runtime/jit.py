"""Kernels -> addresses of functions: lowered, printed, compiled, or found in the cache.

In: the kernels of a phase and how to lower one.  Out: an `Entry` for each.

    conv3, conv4, conv5 of one shape  ->  one fingerprint (compiler/alone.py)  ->  one function

Kernels that are equal alone are lowered once; LLVM works in threads of its own while the next one
is lowered. Kept on disk are each kernel's function under its fingerprint, and a phase's list of
fingerprints under its Program, so that a warm start neither lowers nor prints nor compiles, and a
net that was changed does so for the changed kernels alone. What a search (`tune.py`) found best for
a fingerprint is kept there too, and is what is compiled from then on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property

from latte.codegen.llvm import module
from latte.codegen.llvm_object import PASSES, Compilers, Loader, Target, compile_object, host_target
from latte.compiler.alone import Alone, alone
from latte.compiler.collector import paused
from latte.compiler.ir import Phase, Program, kernels, nests
from latte.compiler.machine import Machine
from latte.compiler.plan_memory import loaded, writes
from latte.compiler.structure import fingerprint
from latte.compiler.vector import Lowered, Units
from latte.runtime.cache import Cache, key, source_version

Lower = Callable[..., Lowered]  # of a kernel, program, machine, axes around, variant if not 0


@dataclass(frozen=True, slots=True)
class Entry:
    """One kernel as machine code: `void address(buffers, scalars, places, first, last)`."""

    address: int
    buffers: tuple[str, ...]
    units: Units


@dataclass(frozen=True, slots=True)
class _Code:
    """A loaded function. `arguments` are numbers of the buffers of an `Alone`."""

    address: int
    arguments: tuple[int, ...]
    units: Units


class Jit:
    """Compiles for one machine, LLVM in `threads` threads; code lives as long as this does."""

    def __init__(self, machine: Machine, cache: Cache, threads: int = 1) -> None:
        self._machine = machine
        self._cache = cache
        self._threads = threads
        self._codes: dict[tuple[str, int], _Code] = {}
        self._chosen: dict[str, int] = {}

    @cached_property
    def target(self) -> Target:
        return host_target(self._machine)

    @cached_property
    def _loader(self) -> Loader:
        return Loader(self.target)

    @cached_property
    def _made_for(self) -> tuple[str, ...]:
        """All but the kernels that decides their code."""
        machine = replace(self._machine, flags=frozenset())  # a set has no fixed order
        return source_version(), self.target.key(), repr(PASSES), repr(machine)

    def function(self, symbol: str, text: str) -> int:
        """The address of a module's only exported function."""
        if address := self._loader.address(symbol):
            return address
        name = key("object", self.target.key(), repr(PASSES), text)
        data = self._cache.load(name)
        if data is None:
            data = compile_object(text, self.target)
            self._cache.store(name, data)
        return self._loader.load(symbol, data)

    def entries(self, program: Program, phase: Phase, lower: Lower) -> list[Entry]:
        """The code of every kernel of a phase, in order."""
        with paused():
            return self._entries(program, phase, lower)

    def _entries(self, program: Program, phase: Phase, lower: Lower) -> list[Entry]:
        name = key("phase", *self._made_for, _described(program, phase))
        stored = self._cache.load(name)
        listed = None if stored is None else json.loads(stored)
        if listed is None or not all(self._found(kernel) for kernel, _ in listed):
            parts = [alone(kernel, around, program) for kernel, around in nests(phase.items)]
            self.compile(parts, lower)
            listed = [(part.fingerprint, part.buffers) for part in parts]
            self._cache.store(name, json.dumps(listed).encode())
        return [self._entry(kernel, buffers) for kernel, buffers in listed]

    def _entry(self, kernel: str, buffers: tuple[str, ...]) -> Entry:
        code = self._codes[kernel, self.chosen(kernel)]
        return Entry(code.address, tuple(buffers[k] for k in code.arguments), code.units)

    # Variants

    def chosen(self, kernel: str) -> int:
        """The variant of a fingerprint to compile: what a search found best, else 0."""
        if kernel not in self._chosen:
            found = self.search(kernel)
            self._chosen[kernel] = int(found.get("best", 0)) if found else 0
        return self._chosen[kernel]

    def choose(self, kernel: str, variant: int) -> None:
        """From now on this variant, in this process."""
        self._chosen[kernel] = variant

    def search(self, kernel: str) -> dict[str, float]:
        """What a search for the best variant of a fingerprint found so far; {} at first."""
        stored = self._cache.load(key("tuned", *self._made_for, kernel))
        return {} if stored is None else dict(json.loads(stored))

    def note_search(self, kernel: str, found: Mapping[str, float]) -> None:
        """Remembers where a search stands."""
        name = key("tuned", *self._made_for, kernel)
        self._cache.store(name, json.dumps(dict(found), sort_keys=True).encode())

    # Making

    def compile(self, parts: Iterable[Alone], lower: Lower) -> None:
        """Loads the code of kernels, each in its chosen variant."""
        with paused():
            self._compile(parts, lower)

    def _compile(self, parts: Iterable[Alone], lower: Lower) -> None:
        missing = {p.fingerprint: p for p in parts if not self._found(p.fingerprint)}
        if missing:
            with closing(Compilers(self.target, self._threads)) as compilers:
                begun = {k: self._begun(part, lower, compilers) for k, part in missing.items()}
                for kernel, (head, data) in begun.items():
                    self._store(kernel, head, data.result())

    def _begun(
        self, part: Alone, lower: Lower, compilers: Compilers
    ) -> tuple[bytes, Future[bytes]]:
        """A kernel's arguments and units as they are stored, and its object file to come."""
        variant = self.chosen(part.fingerprint)
        rest = (variant,) if variant else ()
        lowered = lower(part.kernel, part.program, self._machine, part.around, *rest)
        names = [buffer.name for buffer in part.program.buffers]
        arguments = [names.index(name) for name in lowered.buffers]
        units = lowered.units
        function = replace(lowered.function, name=_symbol(part.fingerprint, variant))
        head = json.dumps([arguments, units.fixed, units.batched, units.points])
        return head.encode(), compilers.object(module([function], self._machine.fma))

    def _store(self, kernel: str, head: bytes, data: bytes) -> None:
        self._cache.store(self._key(kernel), head + b"\n" + data)
        self._load(kernel, head, data)

    def _found(self, kernel: str) -> bool:
        """Whether the code of a fingerprint is loaded, now or before."""
        if (kernel, self.chosen(kernel)) in self._codes:
            return True
        stored = self._cache.load(self._key(kernel))
        if stored is None:
            return False
        head, _, data = stored.partition(b"\n")
        self._load(kernel, head, data)
        return True

    def _key(self, kernel: str) -> str:
        return key("kernel", *self._made_for, kernel, str(self.chosen(kernel)))

    def _load(self, kernel: str, head: bytes, data: bytes) -> None:
        variant = self.chosen(kernel)
        arguments, *units = json.loads(head)
        address = self._loader.load(_symbol(kernel, variant), data)
        self._codes[kernel, variant] = _Code(address, tuple(arguments), Units(*units))


def _symbol(kernel: str, variant: int) -> str:
    return f"latte.{kernel}.{variant}"


def _described(program: Program, phase: Phase) -> str:
    """All that decides the code of a phase."""
    used = {name for kernel in kernels(phase.items) for name in writes(kernel)} | loaded(phase)
    buffers = tuple(buffer for buffer in program.buffers if buffer.name in used)
    return fingerprint((phase, buffers, program.scalars))
