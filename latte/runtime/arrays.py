"""Memory that we own, and the way between the declared and the stored order of a buffer.

In: a `Buffer` with its `dims`.  Out: aligned bytes, NumPy arrays in declared order.

    scores[n: 64, j: 10] stored [n: 64, j/16: 1, j%16: 16]
        write   (5, 10) array  ->  the first 5 rows of a (64, 1, 16) array, other lanes 0
        read    the same back

Compiled code relies on the alignment, so nothing it sees is ever allocated by NumPy.
"""

from __future__ import annotations

import ctypes
import mmap
from dataclasses import dataclass
from functools import cache
from math import prod

import numpy as np
from numpy.typing import DTypeLike, NDArray

from latte.compiler.ir import Buffer, Dim
from latte.errors import fail

ALIGNMENT = 64  # bytes: one cache line, one widest vector
HUGE = 2 * 2**20  # bytes of a large page
PAGE = mmap.PAGESIZE

TYPES: dict[str, DTypeLike] = {"f32": np.float32, "i32": np.int32, "u8": np.uint8}

Bytes = NDArray[np.uint8]
Array = NDArray[np.generic]


def padded(size: int) -> int:
    """A number of bytes rounded up to whole cache lines."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def allocate(size: int) -> Bytes:
    """`size` zero bytes, 64-byte aligned; from 2 MB on, in large pages where there are any.
    Raises LatteError E0912 where the system has not so much."""
    if size < HUGE:
        return np.frombuffer(_map(max(size, 1)), np.uint8)[:size]
    region = _map(size + HUGE)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        region.madvise(mmap.MADV_HUGEPAGE)
    whole = np.frombuffer(region, np.uint8)
    start = -whole.ctypes.data % HUGE
    return whole[start : start + size]


def guarded(size: int) -> Bytes:
    """As `allocate`, full of NaN, with the end of the last cache line at a page that faults when
    it is touched: an access behind a buffer ends the process instead of finding something."""
    room = -(-max(padded(size), 1) // PAGE) * PAGE
    whole = np.frombuffer(mmap.mmap(-1, room + PAGE), np.uint8)
    whole[:room] = 0xFF
    _forbid(whole.ctypes.data + room, PAGE)
    return whole[room - padded(size) :][:size]


def element_type(buffer: Buffer) -> np.dtype[np.generic]:
    """The NumPy type of one stored element."""
    return np.dtype(TYPES[buffer.element])


def stored_shape(buffer: Buffer) -> tuple[int, ...]:
    """Extents as stored, outermost first; the axes' sizes where no layout is given."""
    if buffer.dims:
        return tuple(dim.extent for dim in buffer.dims)
    return tuple(axis.size for axis in buffer.axes)


def stored_bytes(buffer: Buffer) -> int:
    """Bytes of the whole buffer, borders and padding included."""
    return prod(stored_shape(buffer)) * element_type(buffer).itemsize


class Place:
    """A buffer's memory, written and read in declared order."""

    def __init__(self, buffer: Buffer, memory: Bytes) -> None:
        self._buffer = buffer
        used = memory[: stored_bytes(buffer)]
        self.stored: Array = used.view(element_type(buffer)).reshape(stored_shape(buffer))
        self._foldings: dict[tuple[int, ...], _Folding] = {}
        self._views: dict[tuple[int, ...], Array | None] = {}

    def write(self, values: Array) -> None:
        """Stores values. An axis may be shorter than declared (fewer items or steps): the first
        places are written. Padding behind the last block written is written too; borders are left
        alone."""
        view = self._view(values.shape)
        if view is not None and not self._padded(values.shape):
            view[...] = values
            return
        folding = self._folding(values.shape)
        if not any(values.strides):  # one number everywhere
            self.stored[folding.window] = values.flat[0]
            return
        padding = [(0, full - size) for full, size in zip(folding.full, values.shape, strict=True)]
        wide = np.pad(values, padding) if any(after for _, after in padding) else values
        blocks = wide.reshape(folding.pieces).transpose(folding.order)
        self.stored[folding.window] = blocks.reshape(folding.extents)

    def read(self, sizes: tuple[int, ...]) -> Array:
        """A copy of the first `sizes` places of each axis."""
        view = self._view(sizes)
        return (self._unfolded(sizes) if view is None else view).copy()

    def _view(self, sizes: tuple[int, ...]) -> Array | None:
        """The first `sizes` places in declared order, without a copy; None where strides cannot
        tell them."""
        if sizes not in self._views:
            found = self._unfolded(sizes)
            self._views[sizes] = found if np.may_share_memory(found, self.stored) else None
        return self._views[sizes]

    def _padded(self, sizes: tuple[int, ...]) -> bool:
        """Whether there is padding behind the first `sizes` places."""
        return bool(self._buffer.dims) and self._folding(sizes).full != sizes

    def _unfolded(self, sizes: tuple[int, ...]) -> Array:
        places = tuple(map(slice, sizes))
        if not self._buffer.dims:
            return self.stored[places]
        folding = self._folding(sizes)
        pieces = self.stored[folding.window].reshape(folding.blocks).transpose(folding.inverse)
        return pieces.reshape(folding.full)[places]

    def _folding(self, sizes: tuple[int, ...]) -> _Folding:
        if sizes not in self._foldings:
            self._foldings[sizes] = _folding(self._buffer, sizes)
        return self._foldings[sizes]


@dataclass(frozen=True, slots=True)
class _Folding:
    """How declared axes fall apart into stored dimensions: `pieces` is the shape of the declared
    array (extended to `full` blocks) with every axis split, `order` the stored order of the
    pieces, `window` the part of the stored array they fill, of those `extents`. Back again:
    `blocks` are the pieces in stored order, `inverse` their declared order."""

    full: tuple[int, ...]
    pieces: tuple[int, ...]
    order: tuple[int, ...]
    window: tuple[slice, ...]

    @property
    def blocks(self) -> tuple[int, ...]:
        return tuple(self.pieces[place] for place in self.order)

    @property
    def inverse(self) -> tuple[int, ...]:
        return tuple(sorted(range(len(self.order)), key=self.order.__getitem__))

    @property
    def extents(self) -> tuple[int, ...]:
        return tuple(part.stop - part.start for part in self.window)


def _folding(buffer: Buffer, sizes: tuple[int, ...]) -> _Folding:
    pieces: list[int] = []
    full: list[int] = []
    places: dict[int, int] = {}
    window = [slice(0, 0)] * len(buffer.dims)
    unstored: list[int] = []
    for axis, size in enumerate(sizes):
        dims = _chain(buffer, axis)
        inner = dims[0][1].divide if dims else 1
        counts = [-(-size // inner), *(dim.modulo for _, dim in dims[1:])]
        for (number, dim), count in zip(dims, counts, strict=False):
            places[number] = len(pieces)
            pieces.append(count)
            window[number] = slice(dim.before, dim.before + count)
        if not dims:
            unstored.append(len(pieces))
            pieces.append(size)
        full.append(counts[0] * inner)
    order = (*(places[number] for number in range(len(buffer.dims))), *unstored)
    return _Folding(tuple(full), tuple(pieces), order, tuple(window))


def _chain(buffer: Buffer, axis: int) -> list[tuple[int, Dim]]:
    """The stored dimensions of one axis, outermost first: each counts what the next one wraps."""
    found = [(number, dim) for number, dim in enumerate(buffer.dims) if dim.axis == axis]
    found.sort(key=lambda entry: -entry[1].divide)
    assert found or buffer.axes[axis].size == 1, f"{buffer.name}: axis {axis} is not stored"
    outer = 0
    for _, dim in found:
        assert dim.modulo * dim.divide == outer, f"{buffer.name}: {dim} does not wrap at {outer}"
        outer = dim.divide
    assert not found or outer == 1, f"{buffer.name}: places of axis {axis} are merged"
    return found


def _map(size: int) -> mmap.mmap:
    """Private, so that a forked process has its own, and that the system may use large pages."""
    try:
        return mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except (OSError, OverflowError, MemoryError):
        text = f"{size / 2**20:,.0f} MB of memory cannot be had"
        fail("E0912", text, help="compile for a smaller batch; `latte summary` predicts the need")


def _forbid(address: int, size: int) -> None:
    """Takes all rights from whole pages."""
    status = _libc().mprotect(ctypes.c_void_p(address), ctypes.c_size_t(size), 0)
    assert status == 0, "mprotect failed"


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
