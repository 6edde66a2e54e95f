"""Where each buffer of a phase lies in its arena, from the kernels between which it is alive.

In: a phase, and whether buffers may share memory.  Out: offsets in one block of bytes.

    a = f(image); b = g(a); c = h(b)      ->      a at 0, b at 4096, c at 0 (a is dead by then)

Parameters, solver states, running values, inputs and results outlive a phase and lie outside, and
so does what a phase derives of parameters alone. A buffer is alive from its first write to its
last use; inside a serial loop, from the loop's start to its end, because each step meets what the
one before left.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from latte.compiler.ir import Buffer, Item, Kernel, Phase, Program, kernels

ALIGNMENT = 64  # bytes
PROCESS = 135 * 2**20  # bytes: Python, NumPy, this package, LLVM while it compiles; measured
KERNEL = 100 * 2**10  # bytes for compiling a kernel and for its code, measured
BYTES = {"f32": 4, "i32": 4, "u8": 1}
TRANSIENT = frozenset({"value", "kept", "gradient", "parameter gradient", "scratch", "private"})


@dataclass(frozen=True, slots=True)
class Plan:
    """Byte offsets of a phase's transient buffers in an arena of `size` bytes. `intact` are those
    whose memory nothing else uses between their last write and the end of the phase."""

    size: int
    offsets: tuple[tuple[str, int], ...]
    intact: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Life:
    """A buffer's bytes, and the first and last item of the phase that touch it."""

    name: str
    size: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Use:
    """Names of the buffers that an item of a phase reads and writes."""

    read: frozenset[str]
    written: frozenset[str]

    @classmethod
    def of(cls, item: Item) -> Use:
        inside = kernels((item,))
        return cls(
            frozenset(name for kernel in inside for name in reads(kernel)),
            frozenset(name for kernel in inside for name in writes(kernel)),
        )


def plan_memory(
    program: Program,
    phase: str,
    *,
    reuse: bool,
    keep: frozenset[str] = frozenset(),
    workers: int = 1,
) -> Plan:
    """The arena of one phase. Without `reuse` every transient buffer of the *program* has its own
    place, the same in every phase, so that forward, backward and update see one memory. `keep`
    are buffers to leave readable after the phase. Each of the `workers` has private buffers."""
    if not reuse:
        return _apart(program, workers)
    lives = tuple(_lives(program, program.phase(phase), keep, workers))
    places: list[tuple[_Life, int]] = []
    for life in sorted(lives, key=lambda life: (-life.size, life.first, life.name)):
        insort(places, (life, _lowest(life, places)), key=lambda place: place[1])
    size = max((offset + life.size for life, offset in places), default=0)
    offsets = tuple(sorted((life.name, offset) for life, offset in places))
    return Plan(size, offsets, frozenset(_intact(places)))


def peak_bytes(program: Program, phase: str, workers: int = 1) -> int:
    """Bytes of a process that runs a phase: what outlives it, its arena with reuse, and what any
    net needs to be compiled. What the caller holds (data) is not in it."""
    outside = sum(buffer_bytes(b) for b in program.buffers if not is_transient(b))
    code = KERNEL * len(kernels(program.phase(phase).items))
    arena = plan_memory(program, phase, reuse=True, workers=workers).size
    return PROCESS + code + outside + arena


def is_transient(buffer: Buffer) -> bool:
    """Whether a buffer lies in the arena of a phase, and may be gone after it."""
    return buffer.role in TRANSIENT


def derived(program: Program, phase: Phase) -> frozenset[str]:
    """Names of the buffers that a phase fills only when a parameter has changed."""
    private = {buffer.name for buffer in program.buffers if buffer.role == "private"}
    steady = kernels(phase.items[: phase.steady])
    return frozenset(name for kernel in steady for name in writes(kernel)) - private


def place_bytes(buffer: Buffer, workers: int) -> int:
    """Bytes in the arena: a private buffer is there once for each worker."""
    return buffer_bytes(buffer) * (workers if buffer.role == "private" else 1)


def buffer_bytes(buffer: Buffer) -> int:
    """Bytes as stored, rounded up to whole cache lines."""
    extents = (d.extent for d in buffer.dims) if buffer.dims else (a.size for a in buffer.axes)
    return -(-prod(extents) * BYTES[buffer.element] // ALIGNMENT) * ALIGNMENT


def reads(kernel: Kernel) -> frozenset[str]:
    """Names of the buffers that a kernel loads from, in values and in indices, or adds to."""
    return kernel.reads()


def writes(kernel: Kernel) -> frozenset[str]:
    """Names of the buffers that a kernel stores to."""
    return frozenset(write.buffer for write in kernel.writes)


def loaded(phase: Phase) -> frozenset[str]:
    """Names of all buffers that a phase reads."""
    return frozenset(name for kernel in kernels(phase.items) for name in reads(kernel))


def _apart(program: Program, workers: int) -> Plan:
    offsets: list[tuple[str, int]] = []
    size = 0
    for buffer in filter(is_transient, program.buffers):
        offsets.append((buffer.name, size))
        size += place_bytes(buffer, workers)
    return Plan(size, tuple(offsets), frozenset(name for name, _ in offsets))


def _lives(program: Program, phase: Phase, keep: frozenset[str], workers: int) -> Iterator[_Life]:
    outside = derived(program, phase)
    transient = {b.name: b for b in program.buffers if is_transient(b) and b.name not in outside}
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for number, item in enumerate(phase.items):
        use = Use.of(item)
        for name in sorted(use.read | use.written):
            if name in transient:
                first.setdefault(name, number)
                last[name] = number
    end = len(phase.items)
    for name, start in first.items():
        stop = end if name in keep else last[name]
        yield _Life(name, place_bytes(transient[name], workers), start, stop)


def _lowest(life: _Life, places: list[tuple[_Life, int]]) -> int:
    """The lowest gap that is free during a life (first fit; large buffers choose first), among
    places in the order of their offsets."""
    offset = 0
    for other, start in places:
        if other.last < life.first or life.last < other.first:
            continue
        if offset + life.size <= start:
            break
        offset = max(offset, start + other.size)
    return offset


def _intact(places: list[tuple[_Life, int]]) -> Iterator[str]:
    for life, start in places:
        spoiled = any(
            other.first > life.last and at < start + life.size and start < at + other.size
            for other, at in places
        )
        if not spoiled:
            yield life.name
