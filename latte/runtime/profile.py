"""Where the time of a phase goes: by kernel, by layer, by worker.

In: an executable that has been fed.  Out: what each worker did when, added up under names, with the
operations of the specification and the bytes that have to move.

    by_layer(exe, profiled(exe, "step"))   ->   (Share("conv1", "forward", 0.0011, ...), ...)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from latte.compiler.ir import Kernel, kernels
from latte.compiler.work import bytes_moved, operations
from latte.runtime.backend import Span

if TYPE_CHECKING:
    from latte.runtime.executable import Executable

PARTS = ("forward", "backward", "update", "layout")
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Profile:
    """One run of a phase: from its begin to the end of the last span, on so many workers."""

    phase: str
    spans: tuple[Span, ...]

    @property
    def seconds(self) -> float:
        return max((span.end for span in self.spans), default=0.0)

    @property
    def workers(self) -> int:
        """How many took part."""
        return len({span.thread for span in self.spans}) or 1

    @property
    def waiting(self) -> float:
        """Seconds in which a worker on average did nothing."""
        return self.seconds - sum(span.end - span.begin for span in self.spans) / self.workers


@dataclass(frozen=True, slots=True)
class Share:
    """What was run under two names: a layer and a part of the step, or an ensemble and what was
    computed for it. `seconds` are those of a worker on average, `slowest` of the one that took
    longest; `operations` those of the specification, however they were done; `bytes` those that
    have to move if every place of a buffer moves once."""

    name: str
    part: str
    seconds: float
    slowest: float
    operations: int
    bytes: int

    def as_json(self) -> dict[str, Any]:
        """Milliseconds, and what was done in them."""
        return {
            "name": self.name,
            "part": self.part,
            "ms": round(self.seconds * 1e3, 4),
            "slowest_worker_ms": round(self.slowest * 1e3, 4),
            "operations": self.operations,
            "bytes": self.bytes,
        }


def profiled(exe: Executable, phase: str, repeats: int = 5) -> Profile:
    """The fastest of several runs of a phase. Changes the weights if the phase does."""
    runs = (Profile(phase, exe.backend.traced(phase, exe.now(phase))) for _ in range(repeats))
    return min(runs, key=lambda run: run.seconds)


def operations_of(exe: Executable, phase: str) -> int:
    """Operations of a whole phase as specified, before the compiler changed anything."""
    return sum(operations(k, exe.batch, exe.time) for k in kernels(exe.program.phase(phase).items))


def by_layer(exe: Executable, found: Profile) -> tuple[Share, ...]:
    """A phase by layer and part, in the order of the net."""
    rows = _shares(exe, found, lambda name, reason: (layer_of(name), part_of(reason)))
    order = {layer_of(node.name): number for number, node in enumerate(exe.net.nodes)}
    return tuple(sorted(rows, key=lambda r: (order.get(r.name, len(order)), PARTS.index(r.part))))


def by_kernel(exe: Executable, found: Profile) -> tuple[Share, ...]:
    """A phase by ensemble and by what was computed for it, in the order in which it ran."""
    return tuple(_shares(exe, found, lambda name, reason: (name, reason)))


def _shares(exe: Executable, found: Profile, key: Callable[[str, str], Key]) -> list[Share]:
    """Spans added up; the operations of what was computed on the way belong to what ran."""
    specified = {k.name: k for k in kernels(exe.program.phase(found.phase).items)}
    work: dict[Key, int] = {}
    for kernel in specified.values():
        name = key(*_key(kernel))
        work[name] = work.get(name, 0) + operations(kernel, exe.batch, exe.time)
    busy: dict[Key, dict[int, float]] = {}
    ran: dict[Kernel, Key] = {}
    for span in found.spans:
        name = ran.setdefault(span.kernel, key(*_key(span.kernel)))
        threads = busy.setdefault(name, {})
        threads[span.thread] = threads.get(span.thread, 0.0) + span.end - span.begin
    moved: dict[Key, int] = {}
    for kernel, name in ran.items():
        amount = bytes_moved(kernel, exe.backend.buffers, exe.batch, exe.time)
        moved[name] = moved.get(name, 0) + amount
        for other in kernel.reason.split(", ")[1:]:
            inside = key(*_key(specified[other])) if other in specified else name
            if inside not in busy:
                work[name] = work.get(name, 0) + work.pop(inside, 0)
    return [
        Share(*name, sum(threads.values()) / found.workers, max(threads.values()),
              work.get(name, 0), moved[name])
        for name, threads in busy.items()
    ]  # fmt: skip


def _key(kernel: Kernel) -> Key:
    """What a kernel belongs to and is for; what else became part of it follows in its reason."""
    return kernel.origin or kernel.name, kernel.reason.split(", ")[0]


def layer_of(origin: str) -> str:
    """The layer call that a node or parameter belongs to: `conv1` of "conv1.weight"."""
    path = origin.split("/")[0].removesuffix(".grad").rpartition(".")
    return path[0] or path[2]


def part_of(reason: str) -> str:
    """The part of a step that a kernel belongs to."""
    match reason.replace(",", " ").split(" ")[0]:
        case "forward" | "loss" | "metric":
            return "forward"
        case "update" | "norm":
            return "update"
        case "copy":
            return "layout"
        case _:
            return "backward"
