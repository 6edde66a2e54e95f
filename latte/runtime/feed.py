"""What the caller feeds, checked: names, shapes, class numbers, lengths.

In: anything NumPy can view, by the names of a net's inputs.  Out: a `Feed` of float32 and int32
arrays with the number of items and steps, or coded errors that name both shapes.

    feed(inputs, wanted, {"image": x, "label": y}, None, limits)
    error[E0903]: input `image` has the shape [64, 28, 28], expected [items, 1, 28, 28]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latte.compiler.ir import Program
from latte.compiler.net import Input
from latte.errors import Collector, did_you_mean, fail

Array = NDArray[Any]


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

    def part(self, start: int, stop: int) -> Feed:
        """Some of the items."""
        arrays = {name: array[start:stop] for name, array in self.arrays.items()}
        return Feed(arrays, stop - start, self.steps, self.lengths[start:stop])


def feed(
    inputs: Sequence[Input],
    wanted: frozenset[str],
    given: Mapping[str, object],
    lengths: object,
    limits: Limits,
) -> Feed:
    """Checks what is given against the declared inputs, of which `wanted` must be there. Any
    number of items; `limits.items` is not looked at here. Raises LatteError E0901 to E0906."""
    errors = Collector()
    _check_names(inputs, wanted, given, errors)
    arrays = {
        declared.name: _converted(declared, given[declared.name], errors)
        for declared in inputs
        if declared.name in given and declared.name in wanted
    }
    errors.raise_errors()
    known = {declared.name: declared for declared in inputs}
    items = _common({name: array.shape[0] for name, array in arrays.items()}, "items", errors)
    timed = {name: array.shape[1] for name, array in arrays.items() if known[name].time}
    steps = _common(timed, "steps", errors) if timed else 1
    if steps > limits.steps:
        text = f"the inputs have {steps} steps, compiled were {limits.steps}"
        errors.error("E0905", text, None, help=f"compile with time={steps}")
    each = _lengths(lengths, items, steps, errors)
    errors.raise_errors()
    return Feed(arrays, items, steps, each)


def as_array(value: object) -> Array:
    """Anything NumPy can view: nested lists, `__array__`, or DLPack's protocol."""
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
        if declared.name in wanted and declared.name not in given:
            text = f"missing input `{declared.name}`, of the shape {_expected(declared)}"
            errors.error("E0901", text, declared.span)
    for name in given:
        if name not in names:
            hint = did_you_mean(name, names) or f"the inputs are {', '.join(names)}"
            errors.error("E0902", f"unknown input `{name}`", None, help=hint)


def _converted(declared: Input, value: object, errors: Collector) -> Array:
    """The input as float32 or int32; whatever comes back after an error is not used."""
    try:
        array = as_array(value)
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        text = f"input `{declared.name}` cannot be read as an array: {error}"
        errors.error("E0903", text, declared.span)
        return np.zeros((1, 1))
    rank = 1 + declared.time + len(declared.axes)
    own = tuple(axis.size for axis in declared.axes)
    if array.ndim != rank or array.shape[rank - len(own) :] != own or 0 in array.shape:
        text = f"input `{declared.name}` has the shape {list(array.shape)}"
        errors.error("E0903", f"{text}, expected {_expected(declared)}", declared.span)
    elif array.dtype.kind not in "fiub":
        text = f"input `{declared.name}` holds {array.dtype}, expected numbers"
        errors.error("E0903", text, declared.span)
    elif declared.classes is not None:
        return _classes(declared, declared.classes, array, errors)
    return array.astype(np.float32, copy=False) if array.dtype.kind in "fiub" else array


def _classes(declared: Input, classes: int, array: Array, errors: Collector) -> Array:
    wrong = ~((array >= 0) & (array < classes))
    if array.dtype.kind == "f":
        wrong |= array != np.floor(array)
    if wrong.any():
        place = [int(i) for i in np.argwhere(wrong)[0]]
        found = array[tuple(place)]
        text = f"input `{declared.name}` is {found} at {place}, expected a class 0 .. {classes - 1}"
        errors.error("E0904", text, declared.span)
        return array
    return array.astype(np.int32, copy=False)


def _common(counts: Mapping[str, int], what: str, errors: Collector) -> int:
    """The number on which all inputs agree."""
    if len(set(counts.values())) > 1:
        text = ", ".join(f"`{name}` has {count}" for name, count in counts.items())
        errors.error("E0903", f"the inputs differ in their number of {what}: {text}", None)
    return next(iter(counts.values()), 1)


def _lengths(value: object, items: int, steps: int, errors: Collector) -> NDArray[np.int32]:
    if value is None:
        return np.full(items, steps, np.int32)
    try:
        array = as_array(value)
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        errors.error("E0906", f"`lengths` cannot be read as an array: {error}", None)
        return np.full(items, steps, np.int32)
    if array.shape != (items,) or array.dtype.kind not in "iu":
        text = f"`lengths` has the shape {list(array.shape)} of {array.dtype}"
        errors.error("E0906", f"{text}, expected [{items}] whole numbers", None)
        return np.full(items, steps, np.int32)
    if ((array < 1) | (array > steps)).any():
        text = f"`lengths` has values {array.min()} .. {array.max()}, expected 1 .. {steps}"
        errors.error("E0906", text, None)
    return array.astype(np.int32)


def _expected(declared: Input) -> str:
    hidden = ["items", "steps"] if declared.time else ["items"]
    return f"[{', '.join([*hidden, *(str(axis.size) for axis in declared.axes)])}]"
