"""First values: what a net's `= xavier(25)` means for every element of a parameter.

In: an expression of positions and random draws, the axes, a seed.  Out: a float32 array.

Every draw is a pure function of (seed, the parameter's path, the element), so that all targets
and all numbers of threads start from the same values, and a parameter keeps its values when
others are added to the net.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from latte.codegen.interp import APPLY, Run, evaluate
from latte.compiler import random
from latte.compiler.affine import Affine, axis, constant, row_major
from latte.compiler.expression import Apply, Axis, Expression, Number, Position, Random
from latte.compiler.net import Net
from latte.compiler.rewrite import rewrite, substitute_locals, walk

PIECE = 1 << 14  # elements evaluated at once: the temporaries stay in the second-level cache

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class First:
    """The first values of one array: `initial` for every element of `axes`. Every draw depends on
    the `seed` and on `name`."""

    name: str
    axes: tuple[Axis, ...]
    initial: Expression
    seed: int
    threads: int = 1

    def values(self) -> Floats:
        """In declared order. Not to be written to: if they are all the same, they take no
        memory."""
        return initial_values(self.name, self.axes, self.initial, self.seed, self.threads)

    @property
    def form(self) -> Expression:
        """The expression with what is constant in it computed, and the place's stream in every
        draw."""
        return rewrite(_placed(self.initial, self.name, constant(0)), _folded)

    @property
    def is_zero(self) -> bool:
        return self.form == Number(0.0)


def first_values(net: Net, seed: int, threads: int = 1) -> Iterator[First]:
    """The first values of all parameters, their solver's states, and running values."""
    for parameter in net.parameters:
        path, axes = parameter.name, parameter.axes
        yield First(path, axes, parameter.initial, seed, threads)
        for state in net.training.solver.states:
            yield First(f"{path}/{state.name}", axes, state.initial, seed, threads)
    for running in net.runnings:
        yield First(running.name, running.axes, running.initial, seed)


def initial_values(
    path: str, axes: tuple[Axis, ...], initial: Expression, seed: int, threads: int = 1
) -> Floats:
    """The first values of a parameter or running value, in declared order. Not to be written to:
    those that are all the same take no memory."""
    nodes = tuple(walk(initial))
    shape = tuple(axis.size for axis in axes)
    if any(isinstance(node, Position) for node in nodes):
        place = row_major((axis(a.name) for a in axes), shape)
        values = evaluate(_placed(initial, path, place), axes, Run(seed=seed))
        return np.ascontiguousarray(values, np.float32)
    if any(isinstance(node, Random) for node in nodes):
        return _drawn(path, prod(shape), initial, seed, threads).reshape(shape)
    return np.broadcast_to(np.float32(evaluate(initial, (), Run())), shape)


def scheduled(schedule: Expression, update: int, epoch: float, total: int) -> float:
    """The value of a solver's argument before the update numbered `update` (from 0). A run of
    unknown length (`total` 0) never comes nearer to its end."""
    if isinstance(schedule, Number):
        return schedule.value
    known = {"t": update, "epoch": epoch, "total": total or math.inf}
    numbers: dict[str, Expression] = {name: Number(float(v)) for name, v in known.items()}
    with np.errstate(all="ignore"):
        return float(evaluate(substitute_locals(schedule, numbers), (), Run()))


def _drawn(path: str, count: int, initial: Expression, seed: int, threads: int) -> Floats:
    values = np.empty(count, np.float32)
    placed = _placed(initial, path, constant(0))
    part = -(-count // (threads * PIECE)) * PIECE
    with ThreadPoolExecutor(threads) as pool:
        starts = range(0, count, part)
        list(pool.map(lambda s: _fill(values[s : s + part], s, placed, seed), starts))
    return values


def _fill(values: Floats, first: int, placed: Expression, seed: int) -> None:
    """The values from the element `first` on, piece by piece."""
    draws = tuple(node for node in walk(placed) if isinstance(node, Random))
    keys = [random.key(seed, 0, node.stream) for node in draws]
    uniform, room = random.Uniform(PIECE), np.empty((len(draws), PIECE))
    for start in range(0, values.size, PIECE):
        out = values[start : start + PIECE]
        drawn: dict[Expression, NDArray[np.float64]] = {}
        for node, key, place in zip(draws, keys, room, strict=True):
            drawn[node] = place[: out.size]
            if node.kind == "uniform" and first + start + out.size <= 1 << 32:
                uniform.draw(key, first + start, drawn[node])
            else:
                index = np.arange(first + start, first + start + out.size)
                drawn[node] = getattr(random, node.kind)(key, index)
        out[:] = _value(placed, drawn)


def _value(
    expression: Expression, drawn: Mapping[Expression, NDArray[np.float64]]
) -> NDArray[np.float64]:
    """An expression of numbers and draws, as the interpreter evaluates it."""
    match expression:
        case Random():
            return drawn[expression]
        case Apply("select", operands):
            return np.where(*(_value(operand, drawn) for operand in operands))
        case Apply(operator, operands):
            return APPLY[operator](*(_value(operand, drawn) for operand in operands))
        case _:
            return np.asarray(evaluate(expression, (), Run()))


def _folded(node: Expression) -> Expression | None:
    """Arithmetic of numbers alone, as the interpreter computes it."""
    if isinstance(node, Apply) and all(isinstance(o, Number) for o in node.operands):
        return Number(float(evaluate(node, (), Run())))
    return None


def _placed(initial: Expression, path: str, place: Affine) -> Expression:
    """The expression with every draw given its place, and a stream of its own for each draw."""
    number = iter(range(len(tuple(walk(initial)))))

    def rule(node: Expression) -> Expression | None:
        if not isinstance(node, Random):
            return None
        stream = zlib.crc32(f"{path}#{next(number)}".encode())
        return replace(node, stream=stream, index=place)

    return rewrite(initial, rule)
