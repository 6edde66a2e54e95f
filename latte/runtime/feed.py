"""What the caller feeds, checked: names, shapes, class numbers, lengths.

In: anything NumPy can view, by the names of a net's inputs.  Out: a `Feed` of float32 and int32
arrays with the number of items and steps, or coded errors that name both shapes.

    Feeder(inputs, wanted, limits)({"image": x, "label": y}, None)
    error[E0903]: input `image` has the shape [64, 28, 28], expected [items, 1, 28, 28]
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latte.compiler.ir import Program
from latte.compiler.net import Input
from latte.errors import Collector, did_you_mean, fail

Array = NDArray[Any]
Kind = tuple[np.dtype[Any], tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest numbers of items and steps that were compiled."""

    items: int
    steps: int

    @classmethod
    def of(cls, program: Program) -> Limits:
        """The sizes of a Program's batch and time axes; 1 where there is none."""
        axes = [axis for buffer in program.buffers for axis in buffer.axes]
        items, steps = (
            max((axis.size for axis in axes if axis.symbol == symbol), default=1)
            for symbol in ("n", "t")
        )
        return cls(items, steps)


@dataclass(frozen=True, slots=True)
class Feed:
    """Arrays by name, in declared order; `lengths` has one number of steps for each item."""

    arrays: Mapping[str, Array]
    items: int
    steps: int
    lengths: NDArray[np.int32]

    @property
    def total(self) -> int:
        """The steps of all items."""
        same = not any(self.lengths.strides)
        return self.items * self.steps if same else int(self.lengths.sum())

    def part(self, start: int, stop: int) -> Feed:
        """Some of the items."""
        if start == 0 and stop == self.items:
            return self
        arrays = {name: array[start:stop] for name, array in self.arrays.items()}
        return Feed(arrays, stop - start, self.steps, self.lengths[start:stop])


class Feeder:
    """Checks what a phase is fed against the declared inputs, of which `wanted` must be there."""

    def __init__(self, inputs: Sequence[Input], wanted: frozenset[str], limits: Limits) -> None:
        self._inputs = inputs
        self._wanted = wanted
        self._limits = limits
        self._taken = tuple(_Taken.of(entry) for entry in inputs if entry.name in wanted)
        self._known: dict[str, Kind | None] = {}
        self._extent: tuple[int, int, NDArray[np.int32]] | None = None

    def __call__(self, given: Mapping[str, object], lengths: object) -> Feed:
        """Any number of items: `limits.items` is not looked at here. Raises LatteError E0901 to
        E0906. Arrays of the kinds of the last ones are right too, unless they hold classes."""
        if self._extent and lengths is None and _kinds(given) == self._known:
            return Feed(given, *self._extent)  # type: ignore[arg-type]
        fed = self._checked(given, lengths)
        self._known, self._extent = _kinds(given), None
        plain = all(each.declared.classes is None for each in self._taken)
        if plain and lengths is None and _kinds(fed.arrays) == self._known:
            self._extent = fed.items, fed.steps, fed.lengths
        return fed

    def _checked(self, given: Mapping[str, object], lengths: object) -> Feed:
        errors = Collector()
        _check_names(self._inputs, self._wanted, given, errors)
        taken = [each for each in self._taken if each.declared.name in given]
        arrays = {
            each.declared.name: each.converted(given[each.declared.name], errors) for each in taken
        }
        errors.raise_errors()
        items = _common(((n, array.shape[0]) for n, array in arrays.items()), "items", errors)
        timed = [each.declared.name for each in taken if each.declared.time]
        steps = _common(((name, arrays[name].shape[1]) for name in timed), "steps", errors)
        if steps > self._limits.steps:
            text = f"the inputs have {steps} steps, compiled were {self._limits.steps}"
            errors.error("E0905", text, None, help=f"compile with time={steps}")
        whole = lengths is None
        each_item = _full(items, steps) if whole else _lengths(lengths, items, steps, errors)
        errors.raise_errors()
        return Feed(arrays, items, steps, each_item)


def named(
    unnamed: Sequence[object],
    given: Mapping[str, object],
    inputs: Sequence[Input],
    reads: frozenset[str],
) -> dict[str, object]:
    """What was given, by name: an array without one is the only input that is read. Raises
    LatteError E0902 where that does not say which."""
    needed = [declared.name for declared in inputs if declared.name in reads]
    if len(unnamed) == len(needed) == 1 and needed[0] not in given:
        return {**given, needed[0]: unnamed[0]}
    told = " and ".join(f"`{name}`" for name in needed) or "no input"
    found = "an array" if len(unnamed) == 1 else f"{len(unnamed)} arrays"
    hint = f"write predict({', '.join(f'{name}=...' for name in needed)})"
    fail("E0902", f"`predict` needs {told}, and was given {found} without a name", help=hint)


def _kinds(given: Mapping[str, object]) -> dict[str, Kind | None]:
    """What decides whether arrays are right: names, types and shapes, which an array may change."""
    return {n: (v.dtype, v.shape) if type(v) is np.ndarray else None for n, v in given.items()}


def as_array(value: object) -> Array:
    """Anything NumPy can view: nested lists, `__array__`, or DLPack's protocol."""
    if isinstance(value, np.ndarray):
        return value
    if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
        return np.asarray(np.from_dlpack(value))
    return np.asarray(value)


def numbers(what: str, value: object) -> NDArray[np.float32]:
    """A value that was assigned to `what`, as float32. Raises LatteError E0907."""
    try:
        array = as_array(value)
        if array.dtype.kind in "fiub":
            return np.asarray(array, np.float32)
        found = f"holds {array.dtype}"
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        found = f"cannot be read as an array: {error}"
    fail("E0907", f"what {what} was given {found}", help="give it numbers")


def _check_names(
    inputs: Sequence[Input], wanted: frozenset[str], given: Mapping[str, object], errors: Collector
) -> None:
    names = [declared.name for declared in inputs]
    for declared in inputs:
        if declared.name not in given and declared.name in wanted:
            text = f"missing input `{declared.name}`, of the shape {_expected(declared)}"
            errors.error("E0901", text, declared.span)
    for name in given:
        if name not in names:
            hint = did_you_mean(name, names) or f"the inputs are {', '.join(names)}"
            errors.error("E0902", f"unknown input `{name}`", None, help=hint)


@dataclass(frozen=True, slots=True)
class _Taken:
    """An input that is read, of `rank` axes, the last of the sizes `own`."""

    declared: Input
    own: tuple[int, ...]
    rank: int

    @classmethod
    def of(cls, declared: Input) -> _Taken:
        own = tuple(axis.size for axis in declared.axes)
        return cls(declared, own, 1 + declared.time + len(own))

    def converted(self, value: object, errors: Collector) -> Array:
        """The input as float32 or int32; whatever comes back after an error is not used."""
        declared = self.declared
        try:
            array = as_array(value)
        except (TypeError, ValueError, RuntimeError, BufferError) as error:
            text = f"input `{declared.name}` cannot be read as an array: {error}"
            errors.error("E0903", text, declared.span)
            return np.zeros((1, 1))
        shape, kind = array.shape, array.dtype.kind
        if len(shape) != self.rank or shape[self.rank - len(self.own) :] != self.own or 0 in shape:
            text = f"input `{declared.name}` has the shape {list(shape)}"
            errors.error("E0903", f"{text}, expected {_expected(declared)}", declared.span)
        elif kind not in "fiub":
            text = f"input `{declared.name}` holds {array.dtype}, expected numbers"
            errors.error("E0903", text, declared.span)
        elif declared.classes is not None:
            return _classes(declared, declared.classes, array, errors)
        return array.astype(np.float32, copy=False) if kind in "fiub" else array


def _classes(declared: Input, classes: int, array: Array, errors: Collector) -> Array:
    whole = array.dtype.kind != "f"
    if whole and 0 <= np.minimum.reduce(array, None) <= np.maximum.reduce(array, None) < classes:
        return array.astype(np.int32, copy=False)
    wrong = ~((array >= 0) & (array < classes))
    if not whole:
        wrong |= array != np.floor(array)
    if wrong.any():
        place = [int(i) for i in np.argwhere(wrong)[0]]
        found = array[tuple(place)]
        text = f"input `{declared.name}` is {found} at {place}, expected a class 0 .. {classes - 1}"
        errors.error("E0904", text, declared.span)
        return array
    return array.astype(np.int32, copy=False)


def _common(counts: Iterable[tuple[str, int]], what: str, errors: Collector) -> int:
    """The number on which all inputs agree; 1 where there are none."""
    known = dict(counts)
    if len(set(known.values())) > 1:
        text = ", ".join(f"`{name}` has {count}" for name, count in known.items())
        errors.error("E0903", f"the inputs differ in their number of {what}: {text}", None)
    return next(iter(known.values()), 1)


@lru_cache(maxsize=64)
def _full(items: int, steps: int) -> NDArray[np.int32]:
    """All items of full length. Not to be written to."""
    return np.broadcast_to(np.int32(steps), (items,))


def _lengths(value: object, items: int, steps: int, errors: Collector) -> NDArray[np.int32]:
    try:
        array = as_array(value)
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        errors.error("E0906", f"`lengths` cannot be read as an array: {error}", None)
        return _full(items, steps)
    if array.shape != (items,) or array.dtype.kind not in "iu":
        text = f"`lengths` has the shape {list(array.shape)} of {array.dtype}"
        errors.error("E0906", f"{text}, expected [{items}] whole numbers", None)
        return _full(items, steps)
    if ((array < 1) | (array > steps)).any():
        text = f"`lengths` has values {array.min()} .. {array.max()}, expected 1 .. {steps}"
        errors.error("E0906", text, None)
    return array.astype(np.int32)


def _expected(declared: Input) -> str:
    hidden = ["items", "steps"] if declared.time else ["items"]
    return f"[{', '.join([*hidden, *(str(axis.size) for axis in declared.axes)])}]"
