"""The seam between an `Executable` and what runs its phases, and the slowest of those: the oracle.

In: a Program.  Out: `run(phase)`, and its arrays in declared order, whatever the stored one.

    backend.write("image", images);  backend.run("forward", Run(items=64));  backend.read("scores")
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from latte.codegen import interp
from latte.codegen.interp import Run
from latte.compiler.ir import LOSS, Buffer, Kernel, Program, commit, kernels
from latte.runtime.initial import First

if TYPE_CHECKING:
    from latte.runtime.tune import Summary, Tell

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Span:
    """What one thread did in one stretch: a kernel, and seconds from the phase's begin."""

    thread: int
    kernel: Kernel
    begin: float
    end: float


class Backend(Protocol):
    """Runs the phases of one Program on one device, and owns its arrays."""

    target: str

    def run(self, phase: str, now: Run) -> None:
        """Runs a phase; raises `interp.IndexOutOfRange` where the user's indices are wrong."""

    def prepare(self, phase: str, tell: Callable[[float], None] | None = None) -> None:
        """Compiles a phase that was not run yet; `tell` hears which share of it is done."""

    def begin(self, first: First) -> None:
        """Gives a buffer its first values."""

    def write(self, buffer: str, values: Array) -> None:
        """Stores the first places of each axis."""

    def read(self, buffer: str, sizes: tuple[int, ...], phase: str) -> Array | None:
        """A copy of the first `sizes` places of each axis, as `phase` left them; None if it
        needed the memory for something else."""

    def traced(self, phase: str, now: Run) -> tuple[Span, ...]:
        """Runs a phase as `run` does: which thread did what when."""

    @property
    def buffers(self) -> Mapping[str, Buffer]:
        """The buffers of the Program that runs, by name."""

    def tune(self, phases: Iterable[str], seconds: float, tell: Tell | None) -> Summary | None:
        """Searches for faster code of these phases; None where there is nothing to choose."""

    def close(self) -> None:
        """Gives threads and memory back."""


class Interpreted:
    """`target="interp"`: NumPy in float64, every value kept."""

    target = "interp"

    def __init__(self, program: Program) -> None:
        self._program = program
        self._arrays = interp.allocate(program)

    def run(self, phase: str, now: Run) -> None:
        items = self._program.phase(phase).items
        first = commit(self._program, self._program.phase(phase))
        interp.run_items(items[:first], self._arrays, now)
        if first == 0 or np.isfinite(self._arrays.get(LOSS, np.zeros(()))):
            interp.run_items(items[first:], self._arrays, now)

    def prepare(self, phase: str, tell: Callable[[float], None] | None = None) -> None:
        """Nothing to do: a Program is run as it is."""

    def begin(self, first: First) -> None:
        self.write(first.name, first.values())

    def write(self, buffer: str, values: Array) -> None:
        self._arrays[buffer][tuple(slice(0, size) for size in values.shape)] = values

    def read(self, buffer: str, sizes: tuple[int, ...], phase: str) -> Array | None:
        return np.array(self._arrays[buffer][tuple(slice(0, size) for size in sizes)])

    def traced(self, phase: str, now: Run) -> tuple[Span, ...]:
        """One span for each kernel, loop or group, named by its last kernel."""
        spans, start = [], perf_counter()
        for item in self._program.phase(phase).items:
            begin = perf_counter() - start
            interp.run_items((item,), self._arrays, now)
            spans.append(Span(0, kernels((item,))[-1], begin, perf_counter() - start))
        return tuple(spans)

    @property
    def buffers(self) -> Mapping[str, Buffer]:
        return {buffer.name: buffer for buffer in self._program.buffers}

    def tune(self, phases: Iterable[str], seconds: float, tell: Tell | None) -> Summary | None:
        return None

    def close(self) -> None:
        self._arrays = {}
