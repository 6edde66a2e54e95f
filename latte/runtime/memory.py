"""The memory of a compiled Program: what outlives a phase, and the arenas of phases.

In: a Program.  Out: the bytes of each buffer, the same in every call.

    memory.lasting["conv1.weight"]      memory.of(phase).places["conv1.out"]

Forward, backward and update share an arena in which every value has its own place; all other phases
share one in which values take turns. What phases derive of parameters alone has a block of its own.
Nothing is allocated or cleared once a phase was run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from latte.compiler.ir import READABLE, Buffer, Item, Phase, Program, kernels
from latte.compiler.plan_memory import Plan, derived, is_transient, place_bytes, plan_memory, writes
from latte.runtime import arrays
from latte.runtime.arrays import Bytes

POISON = 0xFF  # bytes of a NaN, of an index that is never right

Places = Mapping[str, Bytes]


@dataclass(slots=True)
class Derived:
    """What the first items of a phase make of parameters, as those were at `version`."""

    places: Places
    version: int = -1


@dataclass(frozen=True, slots=True)
class PhaseMemory:
    """Where a phase finds its buffers: `shared` with other phases, or derived. Nothing has
    overwritten the `intact` ones at its end."""

    shared: Places
    derived: Derived
    intact: frozenset[str]

    @property
    def places(self) -> Places:
        """All of them."""
        return {**self.shared, **self.derived.places}


class Memory:
    """`keep` are buffers to leave readable after phases that share memory; each of the `workers`
    has private buffers of its own. `guard` gives every buffer pages of its own, and faults behind
    its end. `clear` are lasting ones that are all zero, as they were allocated."""

    def __init__(
        self, program: Program, *, workers: int, keep: frozenset[str], guard: bool
    ) -> None:
        self._program = program
        self._workers = workers
        self._keep = keep
        self._guard = guard
        self._buffers = {buffer.name: buffer for buffer in program.buffers}
        self._arenas: dict[bool, Bytes] = {}
        self._derived: dict[tuple[Item, ...], Derived] = {}
        self.clear: set[str] = set()

    @cached_property
    def lasting(self) -> Places:
        """What outlives every phase; borders and padding are zero from the start."""
        lasting = [b for b in self._program.buffers if not is_transient(b)]
        self.clear = set() if self._guard else {buffer.name for buffer in lasting}
        return self._places(lasting)

    def of(self, phase: Phase) -> PhaseMemory:
        """The memory of a phase."""
        plan = self._plan(phase)
        intact = plan.intact
        if phase.name not in READABLE:  # what was not written is what another phase left
            intact &= frozenset(name for kernel in kernels(phase.items) for name in writes(kernel))
        return PhaseMemory(self._arena(phase, plan), self._derivation(phase), intact)

    def _plan(self, phase: Phase) -> Plan:
        apart = phase.name in READABLE or self._guard
        return plan_memory(
            self._program, phase.name, reuse=not apart, keep=self._keep, workers=self._workers
        )

    def _arena(self, phase: Phase, plan: Plan) -> Places:
        """The places of a plan; phases of one kind share their memory. One that needs more than
        those compiled before it gets a block of its own, which the next ones share."""
        readable = phase.name in READABLE
        if self._guard:
            return self._guarded[readable]
        if readable not in self._arenas or self._arenas[readable].size < plan.size:
            self._arenas[readable] = arrays.allocate(plan.size)
        block = self._arenas[readable]
        return {name: block[at : at + self._bytes(name)] for name, at in plan.offsets}

    @cached_property
    def _guarded(self) -> tuple[Places, Places]:
        transient = [buffer for buffer in self._program.buffers if is_transient(buffer)]
        return self._places(transient), self._places(transient)

    def _derivation(self, phase: Phase) -> Derived:
        """Phases that derive the same share it."""
        steady = phase.items[: phase.steady]
        if steady not in self._derived:
            names = derived(self._program, phase)
            self._derived[steady] = Derived(self._places(self._buffers[n] for n in sorted(names)))
        return self._derived[steady]

    def _bytes(self, name: str) -> int:
        """As stored; a private buffer is there for every worker, on cache lines of its own."""
        buffer = self._buffers[name]
        if buffer.role == "private":
            return place_bytes(buffer, self._workers)
        return arrays.stored_bytes(buffer)

    def _places(self, buffers: Iterable[Buffer]) -> Places:
        sizes = {buffer.name: self._bytes(buffer.name) for buffer in buffers}
        if self._guard:
            places = {name: arrays.guarded(size) for name, size in sizes.items()}
            for name, place in places.items():
                place[:] = 0 if self._buffers[name].dims else POISON
            return places
        block = arrays.allocate(sum(map(arrays.padded, sizes.values())))
        places, at = {}, 0
        for name, size in sizes.items():
            places[name] = block[at : at + size]
            at += arrays.padded(size)
        return places
