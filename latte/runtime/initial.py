"""First values: what a net's `= xavier(25)` means for every element of a parameter.

In: an expression of positions and random draws, the axes, a seed.  Out: a float32 array.

Every draw is a pure function of (seed, the parameter's path, the element), so that all targets
and all numbers of threads start from the same values, and a parameter keeps its values when
others are added to the net.
"""

from __future__ import annotations

import math
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from latte.codegen.interp import Run, evaluate
from latte.compiler.affine import Affine, axis, row_major
from latte.compiler.expression import Axis, Expression, Number, Position, Random
from latte.compiler.rewrite import rewrite, substitute_locals, walk

PIECE = 1 << 16  # elements evaluated at once: the temporaries stay in the second-level cache

Floats = NDArray[np.float32]


def initial_values(
    path: str, axes: tuple[Axis, ...], initial: Expression, seed: int, threads: int = 1
) -> Floats:
    """The first values of a parameter or running value, in declared order."""
    nodes = tuple(walk(initial))
    shape = tuple(axis.size for axis in axes)
    if any(isinstance(node, Position) for node in nodes):
        place = row_major((axis(a.name) for a in axes), shape)
        values = evaluate(_placed(initial, path, place), axes, Run(seed=seed))
        return np.ascontiguousarray(values, np.float32)
    if any(isinstance(node, Random) for node in nodes):
        return _drawn(path, prod(shape), initial, seed, threads).reshape(shape)
    return np.full(shape, evaluate(initial, (), Run()), np.float32)


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

    def draw(start: int) -> None:
        size = min(PIECE, count - start)
        piece = _placed(initial, path, axis("i") + start)
        values[start : start + size] = evaluate(piece, (Axis("i", size),), Run(seed=seed))

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(draw, range(0, count, PIECE)))
    return values


def _placed(initial: Expression, path: str, place: Affine) -> Expression:
    """The expression with every draw given its place, and a stream of its own for each draw."""
    number = iter(range(len(tuple(walk(initial)))))

    def rule(node: Expression) -> Expression | None:
        if not isinstance(node, Random):
            return None
        stream = zlib.crc32(f"{path}#{next(number)}".encode())
        return replace(node, stream=stream, index=place)

    return rewrite(initial, rule)
