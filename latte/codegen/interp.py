"""The oracle: runs any Program as it is written, in NumPy float64.

In: a Program's phase, a dictionary of arrays in logical order (`allocate` makes them), the values
of its scalars. Out: the arrays, changed in place. Every pass, backend and layer is compared with
it. It knows no layout, no tile and no thread, and it checks what it does: an index outside its
buffer at a point that counts is an error, a read of what was never written shows as NaN.

    arrays = allocate(program)
    arrays["image"][...] = images
    run(program, "forward", arrays, Run(items=64))
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from latte.compiler import random
from latte.compiler.affine import Affine
from latte.compiler.expression import (
    Apply,
    Argument,
    Axis,
    Count,
    Expression,
    Fold,
    Guard,
    Index,
    Load,
    Local,
    Number,
    Position,
    Random,
    Scalar,
    Training,
)
from latte.compiler.ir import Group, Item, Kernel, Program, Serial, Write
from latte.compiler.show import show

Array = NDArray[Any]  # real numbers, integers or truth values
Arrays = dict[str, Array]

NOWHERE: Mapping[str, Array] = {}
LARGEST_GRID = 1 << 21  # elements evaluated at once; larger folds are walked piece by piece


@dataclass(frozen=True, slots=True)
class Run:
    """What is known only when a program runs: items and steps in this call, the seed, the number
    of updates so far, and the value of each scalar."""

    items: int = 1
    steps: int = 1
    seed: int = 0
    update: int = 0
    scalars: Mapping[str, float] = field(default_factory=dict)


class IndexOutOfRange(Exception):
    """A value-dependent index left its axis: the user's data are wrong."""


def allocate(program: Program, real: type = np.float64) -> Arrays:
    """Arrays for all buffers, in logical order, real ones full of NaN."""
    kinds = {"f32": real, "i32": np.int32, "u8": np.uint8}
    arrays: Arrays = {}
    for buffer in program.buffers:
        shape = tuple(axis.size for axis in buffer.axes)
        fill = np.nan if buffer.element == "f32" else 0
        arrays[buffer.name] = np.full(shape, fill, kinds[buffer.element])
    return arrays


def run(program: Program, phase: str, arrays: Arrays, now: Run) -> None:
    """Runs one phase on the arrays. Raises IndexOutOfRange for a bad value-dependent index."""
    run_items(program.phase(phase).items, arrays, now)


def run_items(items: tuple[Item, ...], arrays: Arrays, now: Run) -> None:
    """Runs some items of a phase, in order."""
    with np.errstate(all="ignore"):
        _run_inside(items, arrays, now, NOWHERE)


def run_item(item: Item, arrays: Arrays, now: Run, outer: Mapping[str, Array] = NOWHERE) -> None:
    """Runs one kernel, loop or group; `outer` says where the loops and groups around it are."""
    match item:
        case Kernel():
            _run_kernel(item, arrays, now, outer)
        case Serial(axis, reverse, items):
            steps = range(length(axis, now))
            for step in reversed(steps) if reverse else steps:
                _run_inside(items, arrays, now, {**outer, axis.name: np.asarray(step)})
        case Group(axes, items, per):
            sizes = [length(axis, now) for axis in axes]
            if per:
                sizes[0] = -(-now.items // per)
            for place in np.ndindex(*sizes):
                here = {a.name: np.asarray(k) for a, k in zip(axes, place, strict=True)}
                _run_inside(items, arrays, now, {**outer, **here})
        case _:
            assert_never(item)


def _run_inside(
    items: tuple[Item, ...], arrays: Arrays, now: Run, outer: Mapping[str, Array]
) -> None:
    for item in items:
        run_item(item, arrays, now, outer)


def length(axis: Axis, now: Run) -> int:
    """How many places an axis has in this call."""
    return {"n": now.items, "t": now.steps, None: axis.size}[axis.symbol]


def evaluate(expression: Expression, axes: tuple[Axis, ...], now: Run) -> Array:
    """The value of an expression without loads at every index of `axes`: initial values."""
    grid = _Grid({}, now, {}, {}, None, 0).extended(axes)
    shape = tuple(axis.size for axis in axes)
    return np.broadcast_to(grid.value(expression), shape)


def _run_kernel(kernel: Kernel, arrays: Arrays, now: Run, outer: Mapping[str, Array]) -> None:
    """Walks the outermost axes one index at a time where the whole grid would be too large."""
    grid = _Grid(arrays, now, dict(outer), {}, None, 0)
    _walk(grid, kernel.axes, lambda inner: _run_points(kernel, inner))


def _run_points(kernel: Kernel, grid: _Grid) -> None:
    grid = grid.guarded(kernel.where)
    for let in kernel.lets:
        grid.locals[let.name] = (grid.rank, grid.value(let.expression))
    values = [grid.value(write.expression) for write in kernel.writes]
    for write, value in zip(kernel.writes, values, strict=True):
        _store(write, value, grid)


def _store(write: Write, value: Array, grid: _Grid) -> None:
    target = grid.arrays[write.buffer]
    index = grid.places(write.buffer, write.index)
    shape = grid.shape()
    mask = np.broadcast_to(True if grid.mask is None else grid.mask, shape)
    spots = tuple(np.broadcast_to(place, shape)[mask] for place in index)
    chosen = np.broadcast_to(value, shape)[mask]
    if not index:  # one number: NumPy wants no array of values for it
        spots, target = (np.zeros(chosen.shape, int),), target.reshape(1)
    if write.add:
        np.add.at(target, spots, chosen)
    else:
        target[spots] = chosen


def _walk(grid: _Grid, axes: tuple[Axis, ...], visit: Callable[[_Grid], None]) -> None:
    """Visits the grid extended by `axes`, in pieces of at most LARGEST_GRID points, in order."""
    points = math.prod(length(axis, grid.now) for axis in axes)
    if points * grid.points() <= LARGEST_GRID or not axes:
        visit(grid.extended(axes))
        return
    first, rest = axes[0], axes[1:]
    for place in range(length(first, grid.now)):
        _walk(grid.extended((replace(first, size=1, symbol=None),), place), rest, visit)


@dataclass(slots=True)
class _Grid:
    """A block of points: the index array of every axis, each with its own dimension.

    `rank` counts dimensions; a value computed at a smaller rank gets trailing dimensions when it
    is used further in. `mask` says which points count.
    """

    arrays: Arrays
    now: Run
    index: dict[str, Array]
    locals: dict[str, tuple[int, Array]]
    mask: Array | None
    rank: int
    sizes: tuple[int, ...] = ()

    def shape(self) -> tuple[int, ...]:
        return self.sizes

    def points(self) -> int:
        return math.prod(self.sizes)

    def extended(self, axes: tuple[Axis, ...], start: int = 0) -> _Grid:
        """The grid with one more dimension for each axis, beginning at `start`."""
        more = len(axes)
        lengths = tuple(length(axis, self.now) for axis in axes)
        index = {name: _deeper(array, more) for name, array in self.index.items()}
        for place, (axis, size) in enumerate(zip(axes, lengths, strict=True)):
            shape = [1] * (self.rank + more)
            shape[self.rank + place] = size
            index[axis.name] = np.arange(start, start + size).reshape(shape)
        mask = None if self.mask is None else _deeper(self.mask, more)
        rank, sizes = self.rank + more, self.sizes + lengths
        return _Grid(self.arrays, self.now, index, dict(self.locals), mask, rank, sizes)

    def guarded(self, where: tuple[Guard, ...]) -> _Grid:
        """The grid with points masked off where a guard does not hold."""
        grid = self
        for guard in where:
            value = np.asarray(guard.index.evaluate(self.index))
            grid = grid.only(value % guard.modulus == 0 if guard.modulus else value >= 0)
        return grid

    def only(self, condition: Array) -> _Grid:
        """The grid with the points masked off where a condition is false."""
        mask = condition if self.mask is None else self.mask & condition
        return replace(self, mask=mask)

    def value(self, expression: Expression) -> Array:
        """The expression at every point: float64, int64 or bool."""
        match expression:
            case Number(number):
                return np.asarray(float(number))
            case Position(place):
                return np.asarray(place.evaluate(self.index))
            case Local(name):
                rank, value = self.locals[name]
                return _deeper(value, self.rank - rank)
            case Load(buffer, index):
                loaded = self.arrays[buffer][self.places(buffer, index)]
                return loaded.astype(np.int64) if loaded.dtype.kind in "iu" else loaded
            case Scalar(name):
                return np.asarray(self.now.scalars[name])
            case Random(kind, stream, place) if place is not None:
                key = random.key(self.now.seed, self.now.update, stream)
                draw = random.uniform if kind == "uniform" else random.normal
                return np.asarray(draw(key, np.asarray(place.evaluate(self.index))))
            case Apply("select", (condition, yes, no)):
                return self._select(condition, yes, no)
            case Apply(operator, operands):
                return APPLY[operator](*map(self.value, operands))
            case Fold():
                return _fold(expression, self)
            case Argument() | Count() | Training() | Random():
                raise AssertionError(f"not a Program's expression: {show(expression)}")
            case _:
                assert_never(expression)

    def _select(self, condition: Expression, yes: Expression, no: Expression) -> Array:
        chosen = np.asarray(self.value(condition), bool)
        return np.where(chosen, self.only(chosen).value(yes), self.only(~chosen).value(no))

    def places(self, buffer: str, index: tuple[Index, ...]) -> tuple[Array, ...]:
        """The index arrays of an access; 0 at points that do not count."""
        shape = self.arrays[buffer].shape
        assert len(index) == len(shape), f"{buffer} has {len(shape)} axes, indexed by {len(index)}"
        return tuple(
            self._place(buffer, entry, size) for entry, size in zip(index, shape, strict=True)
        )

    def _place(self, buffer: str, entry: Index, size: int) -> Array:
        if isinstance(entry, Affine):
            place = np.asarray(entry.evaluate(self.index))
        else:
            place = np.asarray(self.value(entry)).astype(np.int64)
        wrong = (place < 0) | (place >= size)
        if not wrong.any():
            return place
        counts = wrong if self.mask is None else wrong & self.mask
        if counts.any():
            self._out_of_range(buffer, entry, size, np.broadcast_to(place, counts.shape)[counts])
        return np.where(wrong, 0, place)

    def _out_of_range(self, buffer: str, entry: Index, size: int, places: Array) -> None:
        text = f"index {places.flat[0]} of {buffer} is outside 0 .. {size - 1}"
        if not isinstance(entry, Affine):
            raise IndexOutOfRange(text)
        raise AssertionError(f"{text}: {entry}")


def _deeper(array: Array, more: int) -> Array:
    return array.reshape(array.shape + (1,) * more) if array.ndim and more else array


def _fold(fold: Fold, grid: _Grid) -> Array:
    """Reduces piece by piece: pieces are combined in row-major order."""
    places = {axis.name: (stride, axis) for axis, stride in _strides(fold.axes)}
    partial: list[tuple[Array, Array]] = []

    def visit(inner: _Grid) -> None:
        inner = inner.guarded(fold.where)
        depth = inner.rank - grid.rank
        body = np.asarray(inner.value(fold.body))
        flat = sum(inner.index[name] * stride for name, (stride, _) in places.items())
        partial.append(_reduce(fold.operator, body, np.asarray(flat), inner, depth))

    _walk(grid, fold.axes, visit)
    result, position = partial[0]
    for value, place in partial[1:]:
        result, position = _combine(fold.operator, result, position, value, place)
    return position if fold.operator.startswith("arg") else result


def _strides(axes: tuple[Axis, ...]) -> list[tuple[Axis, int]]:
    strides = [math.prod(axis.size for axis in axes[place + 1 :]) for place in range(len(axes))]
    return list(zip(axes, strides, strict=True))


NEUTRAL: dict[str, float] = {
    "sum": 0.0, "prod": 1.0, "max": -np.inf, "min": np.inf,
    "argmax": -np.inf, "argmin": np.inf, "any": 0.0, "all": 1.0,
}  # fmt: skip


def _reduce(
    operator: str, body: Array, flat: Array, grid: _Grid, depth: int
) -> tuple[Array, Array]:
    """The reduction of the last `depth` dimensions, and the position of an extreme value."""
    present = True if grid.mask is None else grid.mask
    body = np.where(present, body, NEUTRAL[operator]).astype(np.float64)
    body = np.broadcast_to(body, np.broadcast_shapes(body.shape, (1,) * grid.rank))
    body = np.broadcast_to(body, body.shape[: grid.rank - depth] + grid.sizes[grid.rank - depth :])
    outer = grid.rank - depth
    body = body.reshape((*body.shape[:outer], math.prod(body.shape[outer:])))
    if operator in ("argmax", "argmin"):
        place = getattr(np, operator)(body, axis=-1)
        inside = np.broadcast_to(flat, flat.shape[: grid.rank - depth] + grid.sizes[-depth:])
        where = inside.reshape(-1)[place]
        return np.take_along_axis(body, place[..., None], -1)[..., 0], where
    reduce = {"any": np.any, "all": np.all}.get(operator, getattr(np, operator))
    return np.asarray(reduce(body, axis=-1)), np.zeros(1)


def _combine(
    operator: str, result: Array, position: Array, value: Array, place: Array
) -> tuple[Array, Array]:
    match operator:
        case "argmax" | "argmin":
            better = value > result if operator == "argmax" else value < result
            better |= np.isnan(value) & ~np.isnan(result)
            return np.where(better, value, result), np.where(better, place, position)
        case "any" | "all":
            return (np.logical_or if operator == "any" else np.logical_and)(result, value), position
        case _:
            binary = {"sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum}
            return binary[operator](result, value), position


def _sigmoid(x: Array) -> Array:
    return np.asarray(1.0 / (1.0 + np.exp(-np.asarray(x, np.float64))))


def _power(x: Array, y: Array) -> Array:
    return np.power(np.asarray(x, np.float64), y)


_erf = np.vectorize(math.erf, otypes=[np.float64])

APPLY: dict[str, Callable[..., Array]] = {
    "neg": lambda x: np.negative(x * 1), "not": np.logical_not, "exp": np.exp, "log": np.log,
    "sqrt": np.sqrt, "tanh": np.tanh, "sigmoid": _sigmoid, "abs": lambda x: np.abs(x * 1),
    "floor": np.floor, "erf": _erf, "sin": np.sin, "cos": np.cos, "stop": lambda x: x,
    "add": lambda x, y: x * 1 + y, "sub": lambda x, y: x * 1 - y, "mul": lambda x, y: x * 1 * y,
    "div": np.divide, "floordiv": np.floor_divide, "mod": np.mod, "pow": _power,
    "min": np.minimum, "max": np.maximum, "lt": np.less, "le": np.less_equal,
    "gt": np.greater, "ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal,
    "and": np.logical_and, "or": np.logical_or,
}  # fmt: skip
