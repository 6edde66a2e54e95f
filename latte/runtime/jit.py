"""Kernels -> addresses of functions: lowered, printed, compiled, or found in the cache.

In: the kernels of a phase and how to lower one.  Out: an `Entry` for each.

    conv3, conv4, conv5 of one shape  ->  one fingerprint (compiler/alone.py)  ->  one function

Kernels that are equal alone are made once (`making.py`). Kept on disk are each kernel's function
under its fingerprint, and a phase's list of fingerprints under its Program, so that a warm start
neither lowers nor prints nor compiles, and a net that was changed does so for the changed kernels
alone. What a search (`tune.py`) found best for a fingerprint is kept there too, and is what is
compiled from then on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from latte.codegen.llvm_object import PASSES, Loader, Target, compile_object, host_target
from latte.compiler.collector import paused
from latte.compiler.ir import Phase, Program, nests
from latte.compiler.machine import Machine
from latte.compiler.vector import Units
from latte.runtime.cache import Cache, key, source_version

if TYPE_CHECKING:
    from latte.runtime.making import Lower


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

    def entries(
        self, program: Program, phase: Phase, lower: Lower, known: str = "",
        tell: Callable[[float], None] | None = None,
    ) -> list[Entry]:  # fmt: skip
        """The code of every kernel of a phase, in order. `known` is a name for this very Program,
        under which a later process finds the list without looking at the kernels. `tell` hears
        which share of what is missing is made."""
        with paused():
            name = key("phase", *self._made_for, known, phase.name)
            stored = self._cache.load(name) if known else None
            listed = None if stored is None else json.loads(stored)
            if listed is None or not all(self._found(kernel) for kernel, _ in listed):
                listed = self._compile(program, phase, lower, tell)
                if known:
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

    def _compile(
        self, program: Program, phase: Phase, lower: Lower, tell: Callable[[float], None] | None
    ) -> list[tuple[str, tuple[str, ...]]]:
        """Loads the code of kernels, each in its chosen variant: their fingerprints and buffers."""
        from latte.compiler.alone import alone
        from latte.runtime.making import Order, make

        listed: list[tuple[str, tuple[str, ...]]] = []
        asked: dict[str, int] = {}  # numbers of orders: whoever makes them, the earlier ones begin

        def missing() -> Iterator[Order]:
            """Found while others are at work on the first ones."""
            for kernel, around in nests(phase.items):
                part = alone(kernel, around, program)
                listed.append((part.fingerprint, part.buffers))
                if part.fingerprint not in asked and not self._found(part.fingerprint):
                    asked[part.fingerprint] = len(asked)
                    yield Order(part.fingerprint, part.text, self.chosen(part.fingerprint))

        for order, data in make(missing(), lower, self._machine, self._threads):
            self._cache.store(self._key(order.fingerprint), data)
            self._load(order.fingerprint, data)
            if tell is not None:
                tell((asked[order.fingerprint] + 1) / len(asked))
        return listed

    def _found(self, kernel: str) -> bool:
        """Whether the code of a fingerprint is loaded, now or before."""
        if (kernel, self.chosen(kernel)) in self._codes:
            return True
        stored = self._cache.load(self._key(kernel))
        if stored is None:
            return False
        self._load(kernel, stored)
        return True

    def _key(self, kernel: str) -> str:
        return key("kernel", *self._made_for, kernel, str(self.chosen(kernel)))

    def _load(self, kernel: str, stored: bytes) -> None:
        variant = self.chosen(kernel)
        head, _, data = stored.partition(b"\n")
        arguments, *units = json.loads(head)
        address = self._loader.load(symbol(kernel, variant), data)
        self._codes[kernel, variant] = _Code(address, tuple(arguments), Units(*units))


def symbol(kernel: str, variant: int) -> str:
    """The name of the function of a fingerprint."""
    return f"latte.{kernel}.{variant}"
