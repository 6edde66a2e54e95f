"""Data on its way to a net: datasets, how they fit a net, and a loader that reads ahead.

In: a `Dataset` (items by number) and the net's inputs.  Out: batches of aligned arrays, the next
one filled by a thread while the net works on the current one.

    Loader(data, batch=64).run(shuffled(60_000, seed=0, epoch=3))
    ->  Batch({"image": float32[64, 1, 28, 28], "label": int32[64]}), ...  the last one partial
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from latte.compiler.net import Input
from latte.errors import fail

Array = NDArray[Any]
Items = NDArray[np.int64]

ALIGNMENT = 64  # bytes: a cache line, and the widest vector
PATIENCE = 120.0  # seconds that reading one batch may take
TICK = 0.2  # seconds between two looks at whether the other side is still there


@dataclass(frozen=True, slots=True)
class Field:
    """One array that a dataset has for every item. `scale` takes its numbers to their range."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    scale: float = 1.0


class Dataset(Protocol):
    """Items that can be read in any order."""

    @property
    def fields(self) -> tuple[Field, ...]: ...

    def __len__(self) -> int: ...

    def read(self, items: Items) -> Mapping[str, Array]:
        """For each field, the arrays of these items stacked along a first axis."""
        ...


@dataclass(frozen=True, slots=True)
class Arrays:
    """A dataset whose arrays are in memory, one item for each index of their first axis."""

    arrays: Mapping[str, Array]
    scale: Mapping[str, float]

    @property
    def fields(self) -> tuple[Field, ...]:
        return tuple(
            Field(name, array.shape[1:], array.dtype, self.scale.get(name, _scale(array)))
            for name, array in self.arrays.items()
        )

    def __len__(self) -> int:
        return min(len(array) for array in self.arrays.values())

    def read(self, items: Items) -> Mapping[str, Array]:
        """The arrays' rows of these numbers."""
        return {name: array[items] for name, array in self.arrays.items()}


def _scale(array: Array) -> float:
    """Pixels come as bytes: 0 .. 255 becomes 0 .. 1."""
    return 1 / 255 if array.dtype == np.uint8 else 1.0


@dataclass(frozen=True, slots=True)
class Pair:
    """A net's input and the field that feeds it."""

    input: Input
    field: Field

    def shape(self) -> tuple[int, ...]:
        """The shape of one item as the net takes it, steps in front."""
        steps = self.field.shape[:1] if self.input.time else ()
        return (*steps, *item_shape(self.input))


@dataclass(frozen=True, slots=True)
class Fitted:
    """A dataset seen through a net's inputs. `lengths` says that sequences have their own."""

    data: Dataset
    pairs: tuple[Pair, ...]
    lengths: bool = False

    def __len__(self) -> int:
        return len(self.data)

    @property
    def steps(self) -> int | None:
        """How many time steps the longest sequence has; None for a net without time."""
        return next((pair.field.shape[0] for pair in self.pairs if pair.input.time), None)

    def room(self, batch: int) -> dict[str, Array]:
        """Aligned arrays for as many items, by the names of the net's inputs."""
        arrays = {
            pair.input.name: aligned((batch, *pair.shape()), _element(pair.input))
            for pair in self.pairs
        }
        if self.lengths:
            arrays["lengths"] = aligned((batch,), np.int32)
        return arrays

    def fill(self, items: Items, room: Mapping[str, Array]) -> None:
        """Write these items to the front of the arrays that `room` made."""
        raw = self.data.read(items)
        for pair in self.pairs:
            values = raw[pair.field.name]
            into = room[pair.input.name][: len(items)]
            if pair.input.classes is None:
                np.multiply(
                    values.reshape(into.shape), pair.field.scale, out=into, casting="same_kind"
                )
            else:
                _check_classes(pair, items, values)
                into[...] = values.reshape(into.shape)
        if self.lengths:
            room["lengths"][: len(items)] = raw["lengths"]


def item_shape(wanted: Input) -> tuple[int, ...]:
    """The shape of one item, or of one step of it."""
    return tuple(axis.size for axis in wanted.axes)


def _element(wanted: Input) -> type:
    return np.float32 if wanted.classes is None else np.int32


def _check_classes(pair: Pair, items: Items, values: Array) -> None:
    classes = pair.input.classes
    assert classes is not None
    wrong = (values < 0) | (values >= classes)
    if wrong.any():
        at = tuple(int(index) for index in np.argwhere(wrong)[0])
        fail(
            "E0855",
            f"item {items[at[0]]} of `{pair.field.name}` is class {values[at]}, but the input "
            f"`{pair.input.name}` has the classes 0 .. {classes - 1}",
            help="give the net as many classes as the data has, or correct the data",
        )


def aligned(shape: tuple[int, ...], dtype: type) -> Array:
    """An array of zeros that begins at a multiple of 64 bytes."""
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    memory = np.zeros(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size].view(dtype).reshape(shape)


def shuffled(count: int, seed: int, epoch: int) -> Items:
    """The order of the items in an epoch: a pure function of its arguments.

    Sorts raw Philox numbers, whose stream NumPy promises to keep, by (number, item).
    """
    key = (seed % 2**64) | (epoch % 2**64) << 64
    return np.argsort(np.random.Philox(key=key).random_raw(count), kind="stable")


@dataclass(frozen=True, slots=True)
class Batch:
    """Items as the net takes them; the arrays hold until the next batch is asked for."""

    arrays: Mapping[str, Any]
    count: int

    @property
    def weight(self) -> int:
        """How many values the batch's averages stand for: items, or steps present."""
        lengths = self.arrays.get("lengths")
        return self.count if lengths is None else int(lengths.sum())


class Loader:
    """Reads batches ahead: two sets of arrays, one with the net, one being filled by a thread."""

    def __init__(self, data: Fitted, batch: int) -> None:
        self._data = data
        self._batch = batch
        self._rooms = (data.room(batch), data.room(batch))

    def count(self, items: int) -> int:
        """How many batches so many items make."""
        return -(-items // self._batch)

    def run(self, order: Items) -> Generator[Batch, None, None]:
        """The items in this order, batch by batch; one run at a time."""
        free: queue.Queue[dict[str, Array]] = queue.Queue()
        full: queue.Queue[Batch | BaseException] = queue.Queue()
        stop = threading.Event()
        for room in self._rooms:
            free.put(room)
        reader = threading.Thread(
            target=self._read, args=(order, free, full, stop), name="latte-loader", daemon=True
        )
        reader.start()
        try:
            for number in range(self.count(len(order))):
                yield _next(full, reader)
                free.put(self._rooms[number % 2])
        finally:
            stop.set()
            reader.join(PATIENCE)

    def _read(
        self,
        order: Items,
        free: queue.Queue[dict[str, Array]],
        full: queue.Queue[Batch | BaseException],
        stop: threading.Event,
    ) -> None:
        """The reading thread: what goes wrong in it is raised where the batch is awaited."""
        try:
            for start in range(0, len(order), self._batch):
                room = _wait(free, stop)
                if room is None:
                    return
                items = order[start : start + self._batch]
                self._data.fill(items, room)
                full.put(Batch({k: v[: len(items)] for k, v in room.items()}, len(items)))
        except BaseException as problem:
            full.put(problem)


def _wait(free: queue.Queue[dict[str, Array]], stop: threading.Event) -> dict[str, Array] | None:
    """The next free arrays, or None when nobody wants more."""
    while not stop.is_set():
        try:
            return free.get(timeout=TICK)
        except queue.Empty:
            continue
    return None


def _next(full: queue.Queue[Batch | BaseException], reader: threading.Thread) -> Batch:
    """The next filled batch; raises what the reader raised, or that it takes too long."""
    waited = 0.0
    while waited < PATIENCE:
        try:
            found = full.get(timeout=TICK)
        except queue.Empty:
            waited += TICK
            assert reader.is_alive() or not full.empty(), "the loader ended without a word"
            continue
        if isinstance(found, BaseException):
            raise found
        return found
    fail(
        "E0957", f"no batch could be read in {PATIENCE:.0f} seconds", help="is the disk reachable?"
    )
