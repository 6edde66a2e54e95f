"""Named arrays of an executable as a Mapping: `exe.params["conv1.weight"]`, assignable.

In: names of buffers, and two functions that read and write one.  Out: copies in declared order,
whatever the stored one; an assignment is checked against the declared shape.

    exe.params["conv1.weight"] = array       exe.params["conv1.bias"] += 1
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from numpy.typing import NDArray

from latte.compiler.ir import Buffer
from latte.errors import did_you_mean, fail
from latte.runtime.feed import numbers

Array = NDArray[Any]
Read = Callable[[Buffer], Array]
Write = Callable[[Buffer, Array], None]


class Stored(Mapping[str, Array]):
    """Arrays by name. Reading gives a copy; unknown names and wrong shapes are coded errors."""

    def __init__(self, kind: str, buffers: Mapping[str, Buffer], read: Read, write: Write) -> None:
        self._kind = kind
        self._buffers = buffers
        self._read = read
        self._write = write

    def __getitem__(self, name: str) -> Array:
        return self._read(self._buffer(name))

    def __setitem__(self, name: str, value: object) -> None:
        buffer = self._buffer(name)
        array = numbers(f"{self._kind} `{name}`", value)
        shape = tuple(axis.size for axis in buffer.axes)
        if array.shape != shape:
            text = f"{self._kind} `{name}` was given the shape {list(array.shape)}"
            fail("E0907", f"{text}, expected {list(shape)}")
        self._write(buffer, array)

    def __iter__(self) -> Iterator[str]:
        return iter(self._buffers)

    def __len__(self) -> int:
        return len(self._buffers)

    def __contains__(self, name: object) -> bool:
        return name in self._buffers

    def __repr__(self) -> str:
        shapes = (f"{name}: {[a.size for a in b.axes]}" for name, b in self._buffers.items())
        return f"<{self._kind}s {', '.join(shapes)}>"

    def update(self, values: Mapping[str, object]) -> None:
        """Assigns several; names that are not here are errors, names left out stay."""
        for name, value in values.items():
            self[name] = value

    def _buffer(self, name: str) -> Buffer:
        if name not in self._buffers:
            hint = did_you_mean(name, self._buffers)
            fail("E0908", f"there is no {self._kind} `{name}`", help=hint)
        return self._buffers[name]
