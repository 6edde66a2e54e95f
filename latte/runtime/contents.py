"""What the memory of a net holds, by name.

In: a Net, its Program, the backend that owns the arrays.  Out: copies in declared axis order.

    contents.node("conv1.out")  ->  [64, 20, 24, 24], or error[E0911] if its memory is used again

Parameters get their first values when something first needs them. Values and gradients are those
of the last run.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latte.compiler.ir import Buffer, Program
from latte.compiler.net import Join, Net, View
from latte.compiler.plan_memory import loaded
from latte.errors import fail
from latte.runtime.backend import Backend
from latte.runtime.feed import Feed
from latte.runtime.initial import first_values
from latte.runtime.nodes import viewed
from latte.runtime.stored import Stored

Array = NDArray[Any]


class Contents:
    """The arrays of one net. `phase` is what ran last, on `feed`; `seed` decides first values."""

    def __init__(
        self, net: Net, program: Program, backend: Backend, seed: int, threads: int
    ) -> None:
        self.backend = backend
        self.buffers = {buffer.name: buffer for buffer in program.buffers}
        self.seed = seed
        self.phase = ""
        self.feed: Feed | None = None
        self._net = net
        self._program = program
        self._threads = threads
        self._begun = False
        self._loaded: dict[str, frozenset[str]] = {}

    def begin(self) -> None:
        """Gives parameters, running values and solver states their first values."""
        self._begun = True
        for first in first_values(self._net, self.seed, self._threads):
            if first.name in self.buffers:
                self.backend.begin(first)

    def prepare(self) -> None:
        """Begins, unless that was done."""
        if not self._begun:
            self.begin()

    def stored(self, kind: str, role: str) -> Stored:
        """The arrays of a role, which can be assigned; gradients by their parameters' names."""
        chosen = {
            buffer.origin if role == "parameter gradient" else buffer.name: buffer
            for buffer in self.buffers.values()
            if buffer.role == role
        }
        return Stored(kind, chosen, self.fetch, self._write)

    def node(self, name: str, suffix: str = "") -> Array:
        """A node's array; those of views and joins are made of their sources where not stored."""
        if name + suffix in self.buffers:
            return self.fetch(self.buffers[name + suffix])
        form = next((entry for entry in self._net.nodes if entry.name == name), None)
        if isinstance(form, View) and not suffix:
            return viewed(form, self.node(form.source))
        if isinstance(form, Join) and not suffix:
            parts = [self.node(part) for part in form.parts]
            return np.concatenate(parts, axis=form.axis - len(form.axes))
        what = "gradient" if suffix else "value"
        fail("E0911", f"`{name}` has no {what} in this net", help="nothing reads it")

    def fetch(self, buffer: Buffer) -> Array:
        """A buffer's array. Raises E0909 before the first run, E0911 if the last kept none."""
        if buffer.role in ("parameter", "running", "state"):
            self.prepare()
        elif not self.phase:
            fail("E0909", f"nothing was run yet: `{buffer.origin}` has no value")
        array = self.read(buffer)
        if array is None:
            what = "gradient" if buffer.role.endswith("gradient") else "value"
            hint = f'compile with keep=["{buffer.origin}"], or run forward and backward'
            text = f"`{self.phase}` does not keep the {what} of `{buffer.origin}`"
            fail("E0911", text, help=hint)
        return array

    def read(self, buffer: Buffer) -> Array | None:
        """As many items and steps as were run; None if the memory is used again."""
        fed = self.feed
        known = {"n": fed.items if fed else 0, "t": fed.steps if fed else 0, None: 0}
        sizes = tuple(known[axis.symbol] or axis.size for axis in buffer.axes)
        return self.backend.read(buffer.name, sizes, self.phase)

    def values(self) -> Iterator[tuple[str, Array]]:
        """The value of every node that can be read, in the order of the net."""
        for node in self._net.nodes:
            buffer = self.buffers.get(node.name)
            array = None if buffer is None else self.read(buffer)
            if array is not None:
                yield node.name, array

    def reads(self, phase: str) -> frozenset[str]:
        """The buffers that a phase loads from."""
        if phase not in self._loaded:
            self._loaded[phase] = loaded(self._program.phase(phase))
        return self._loaded[phase]

    def _write(self, buffer: Buffer, values: Array) -> None:
        self.prepare()
        self.backend.write(buffer.name, values)
