"""Where sequences go on from: what `prev` reads at a call's first step.

In: the values of a call's last steps.  Out: the first values of the next, if it carries.

    step(text=first, carry=True);  step(text=second, carry=True)   # as one long text
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latte.compiler.ir import Buffer
from latte.compiler.net import Net
from latte.errors import fail
from latte.runtime.contents import Contents
from latte.runtime.feed import Feed, numbers
from latte.runtime.nodes import find_node

Array = NDArray[Any]


class Carried:
    """The state of a net; `goes_on` is whether the call at hand begins with it."""

    def __init__(self, net: Net, contents: Contents) -> None:
        self.goes_on = False
        self._net = net
        self._contents = contents
        self._buffers = [b for b in contents.buffers.values() if b.role == "carried"]
        self._state: dict[str, Array] | None = {}

    def state(self) -> dict[str, Array]:
        """The last step's values of the ensembles that `prev` reads, read when first asked for."""
        if self._state is None:
            pairs = ((buffer.origin, self._last(buffer)) for buffer in self._buffers)
            self._state = {name: values for name, values in pairs if values is not None}
        return self._state

    def put(self, values: Mapping[str, object]) -> None:
        """Replaces the state."""
        self._state = {
            find_node(self._net, name): numbers(f"the state of `{name}`", value)
            for name, value in values.items()
        }

    def begin(self, phase: str, fed: Feed | None) -> None:
        """Writes what a phase goes on from, if it carries (`fed` is not None): nothing is carried
        into the first call. Raises E0907 if the items are others."""
        self.goes_on = fed is not None and bool(self.state())
        if fed is None or not self.goes_on:
            return
        reads = self._contents.reads(phase)
        for buffer in (b for b in self._buffers if b.name in reads):
            self._contents.backend.write(buffer.name, self._first(buffer, fed.items))

    def end(self) -> None:
        """A phase has run: the state is another now."""
        self._state = None

    def _first(self, buffer: Buffer, items: int) -> Array:
        shape = (items, *(axis.size for axis in buffer.axes[1:]))
        values = self.state().get(buffer.origin)
        if values is None or values.shape != shape:
            found = "nothing" if values is None else f"the shape {list(values.shape)}"
            text = f"the state of `{buffer.origin}` is {found}, expected {list(shape)}"
            fail("E0907", text, help="carry=True needs the same items in every call")
        return np.asarray(values, np.float32)

    def _last(self, carried: Buffer) -> Array | None:
        """An ensemble's values at every item's last step; None if the last run has none."""
        fed = self._contents.feed
        assert fed is not None
        values = self._contents.read(self._contents.buffers[carried.origin])
        if values is None:
            return None
        return np.asarray(values[np.arange(fed.items), fed.lengths - 1])
