"""Whether Winograd's stages are faster than the contraction itself, and with which tiles.

In: a `Sliding` contraction, the machine.  Out: a tiling of each pair, or None.

    3 x 3 taps, 256 channels, 56 x 56 outputs   ->  tiles of 4 x 4 outputs
    3 x 3 taps, 3 channels                      ->  None
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from latte.compiler.expression import Axis, Load
from latte.compiler.machine import Machine
from latte.compiler.winograd_tiles import Tiling
from latte.compiler.winograd_view import Pair, Sliding

LARGEST = 8  # places of a tile along one dimension
STEPS = (4, 2)  # outputs, or taps, of a tile
GAIN = 1.3  # times fewer multiply-adds from which the stages pay


def tilings(sliding: Sliding, machine: Machine) -> tuple[Tiling, ...] | None:
    """The tiles that take least time; None where the contraction itself does."""
    direct = _multiplications(sliding)
    costs = [(_cost(sliding, chosen), chosen) for chosen in candidates(sliding)]
    if not costs:
        return None
    least, best = min(costs, key=lambda pair: pair[0])
    return best if least * GAIN < direct else None


def candidates(sliding: Sliding, steps: tuple[int, ...] = STEPS) -> Iterator[tuple[Tiling, ...]]:
    """All tilings to choose from, with the same step for all pairs."""
    for step in steps:
        chosen = tuple(_tiling(pair, step) for pair in sliding.pairs)
        if all(min(t.outputs, t.taps) > 1 and t.size <= LARGEST for t in chosen):
            yield chosen


def _tiling(pair: Pair, step: int) -> Tiling:
    """Tiles with all the taps, or all the rows, whichever are fewer."""
    if pair.summed.size <= pair.row.size:
        return Tiling(pair, step, pair.summed.size)
    return Tiling(pair, pair.row.size, step)


def _multiplications(sliding: Sliding) -> float:
    return prod(a.size for a in (*sliding.kernel.axes, *sliding.parts.fold.axes))


def _cost(sliding: Sliding, chosen: tuple[Tiling, ...]) -> float:
    """Multiply-adds of the products, and of the transforms as far as each takes: about four
    operations, a load and a store for each place and dimension."""
    tiles = prod(t.tile.size for t in chosen)
    places = prod(t.size for t in chosen)
    own = [a for a in (*sliding.kernel.axes, *sliding.parts.fold.axes)
           if a.name not in sliding.sliding]  # fmt: skip
    products = prod(a.size for a in own) * tiles * places
    data = _elements(sliding, sliding.data) * tiles
    taps = _elements(sliding, sliding.taps)
    taps *= prod(t.tile.size for t in chosen if not t.by_row)
    sums = prod(a.size for a in own if a in sliding.kernel.axes)
    sums *= prod(t.tile.size for t in chosen if t.by_row)
    return products + TRANSFORM * places * (data + taps + sums)


TRANSFORM = 8.0  # multiply-adds in the time of a transform, for each place


def _elements(sliding: Sliding, load: Load) -> float:
    own: tuple[Axis, ...] = sliding.axes_of(load)
    return prod(a.size for a in own)
