"""Where the time of a phase goes.

In: an executable that has been fed.  Out: seconds and bytes of each kernel; with the operations
of the specification, of each layer and phase.

    timings(exe, "step")   ->   (Timing((("conv1.out", "forward"),), 0.0011, 2_100_000), ...)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from latte.compiler.ir import kernels
from latte.compiler.work import bytes_moved, operations

if TYPE_CHECKING:
    from latte.runtime.executable import Executable

PHASES = ("forward", "backward", "update")


Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Timing:
    """A kernel, a loop or a group with its kernels, run alone: the best of several runs. `covers`
    are the origins and reasons of its kernels, that with the most work first; `bytes` those that
    have to move if every place of a buffer moves once."""

    covers: tuple[Key, ...]
    seconds: float
    bytes: int


@dataclass(frozen=True, slots=True)
class Share:
    """Some timings together, under two names: a layer and a phase, or an ensemble and what was
    computed for it. `operations` are those of the specification, however they were done."""

    name: str
    part: str
    seconds: float
    operations: int
    bytes: int


def timings(exe: Executable, phase: str, repeats: int = 5) -> tuple[Timing, ...]:
    """The kernels of a phase in order, each run alone on all threads. Changes the weights if the
    phase does."""
    runs = [exe.backend.timed(phase, exe.now(phase)) for _ in range(repeats)]
    found = []
    for k, (listed, _) in enumerate(runs[0]):
        seconds = min(run[k][1] for run in runs)
        buffers = exe.backend.buffers
        moved = sum(bytes_moved(kernel, buffers, exe.batch, exe.time) for kernel in listed)
        ordered = sorted(listed, key=lambda kernel: -operations(kernel, exe.batch, exe.time))
        covers = dict.fromkeys((each.origin or each.name, each.reason) for each in ordered)
        found.append(Timing(tuple(covers), seconds, moved))
    return tuple(found)


def operations_of(exe: Executable, phase: str) -> int:
    """Operations of a whole phase as specified, before the compiler changed anything."""
    return sum(operations(k, exe.batch, exe.time) for k in kernels(exe.program.phase(phase).items))


def by_layer(exe: Executable, phase: str, found: Iterable[Timing]) -> tuple[Share, ...]:
    """Timings of a phase by layer and what they are for, in the order of the net."""
    rows = _shares(exe, phase, found, lambda o, r: (layer_of(o), phase_of(r)))
    order = {layer_of(node.name): number for number, node in enumerate(exe.net.nodes)}
    return tuple(sorted(rows, key=lambda r: (order.get(r.name, len(order)), PHASES.index(r.part))))


def by_ensemble(exe: Executable, phase: str, found: Iterable[Timing]) -> tuple[Share, ...]:
    """Timings of a phase by ensemble and reason, in the order in which they run."""
    return tuple(_shares(exe, phase, found, lambda origin, reason: (origin, reason)))


def _shares(
    exe: Executable, phase: str, found: Iterable[Timing], key: Callable[[str, str], Key]
) -> list[Share]:
    """Timings added up under the names of what does most of their work, to which the operations
    of all that has no time of its own belong as well."""
    work: dict[Key, int] = {}
    for kernel in kernels(exe.program.phase(phase).items):
        name = key(kernel.origin or kernel.name, kernel.reason)
        work[name] = work.get(name, 0) + operations(kernel, exe.batch, exe.time)
    timed = [(tuple(dict.fromkeys(key(*each) for each in t.covers)), t) for t in found]
    totals: dict[Key, tuple[float, int]] = {}
    for (name, *_), timing in timed:
        seconds, moved = totals.get(name, (0.0, 0))
        totals[name] = seconds + timing.seconds, moved + timing.bytes
    for (name, *others), _ in timed:
        for other in others:
            if other not in totals:
                work[name] = work.get(name, 0) + work.pop(other, 0)
    return [
        Share(*name, seconds, work.get(name, 0), moved) for name, (seconds, moved) in totals.items()
    ]


def layer_of(origin: str) -> str:
    """The layer call that a node or parameter belongs to: `conv1` of "conv1.weight"."""
    path = origin.split("/")[0].removesuffix(".grad").rpartition(".")
    return path[0] or path[2]


def phase_of(reason: str) -> str:
    """What a kernel of a step is for."""
    if reason == "update":
        return "update"
    return "forward" if reason in ("forward", "loss", "metric") else "backward"
