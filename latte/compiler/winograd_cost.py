"""Whether Winograd's stages are faster than the contraction itself, and with which tiles.

In: a `Sliding` contraction.  Out: a tiling of each pair, or None.

    3 x 3 taps, 256 channels, 56 x 56 outputs   ->  tiles of 4 x 4 outputs
    3 x 3 taps, 256 channels, 13 x 13 outputs   ->  tiles of 5 x 5 outputs, of which 3 x 3 cover it
    3 x 3 taps, 3 channels                      ->  None
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from latte.compiler.expression import Axis
from latte.compiler.winograd_tiles import Tiling
from latte.compiler.winograd_view import Pair, Sliding

LARGEST = 8  # places of a tile along one dimension: rounding grows with each of them
STEPS = (4, 5, 2)  # outputs, or taps, of a tile
TRANSFORM = 20.0  # multiply-adds of a contraction in the time of one place of a transform
SMALL = 10  # places of a tile that count as much as the products themselves
GAIN = 1.0  # how much less time pays: sums run at no more of the peak than products
LEAST = 2e7  # multiply-adds below which nothing is gained that is worth more code


def tilings(sliding: Sliding) -> tuple[Tiling, ...] | None:
    """The tiles that take least time; None where the contraction itself does."""
    direct = _size(sliding.kernel.axes) * _size(sliding.parts.fold.axes)
    chosen = tiles(sliding)
    if chosen is None or direct < LEAST:
        return None
    return chosen if GAIN * _time(sliding, chosen) < direct else None


def tiles(sliding: Sliding, steps: tuple[int, ...] = STEPS) -> tuple[Tiling, ...] | None:
    """For each pair the tiles with few products, and few in a tile, which cost exactness and time
    in transforms; None where a pair has none."""
    options = [[t for t in (_tiling(pair, step) for step in steps) if _good(t)]
               for pair in sliding.pairs]  # fmt: skip
    if not all(options):
        return None
    return tuple(
        min(each, key=lambda t: t.size * t.tile.size * (SMALL + t.size)) for each in options
    )


def _tiling(pair: Pair, step: int) -> Tiling:
    """Tiles with all the taps, or all the rows, whichever are fewer."""
    if pair.summed.size <= pair.row.size:
        return Tiling(pair, step, pair.summed.size)
    return Tiling(pair, pair.row.size, step)


def _good(tiling: Tiling) -> bool:
    return min(tiling.outputs, tiling.taps) > 1 and tiling.size <= LARGEST


def _time(sliding: Sliding, chosen: tuple[Tiling, ...]) -> float:
    """Multiply-adds of the products, and those in the time of the transforms."""
    own = [a for a in (*sliding.kernel.axes, *sliding.parts.fold.axes)
           if a.name not in sliding.sliding]  # fmt: skip
    tiles, places = (prod(t.tile.size for t in chosen), prod(t.size for t in chosen))
    rows = prod(t.tile.size for t in chosen if t.by_row)
    data = _size(sliding.axes_of(sliding.data)) * tiles
    taps = _size(sliding.axes_of(sliding.taps)) * (tiles // rows)
    sums = _size(a for a in own if a in sliding.kernel.axes) * rows
    products = prod(a.size for a in own) * tiles
    return places * (products + TRANSFORM * (data + taps + sums))


def _size(axes: Iterable[Axis]) -> float:
    return float(prod(a.size for a in axes))
