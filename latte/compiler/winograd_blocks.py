"""Blocks of tiles: enough that the taps' transform is read seldom, few enough for the caches.

In: a `Sliding` and its tilings.  Out: a `Frame`, and how many lanes are done at a time.

    64 items of 3 x 3 tiles   ->  blocks of 8 items, 72 tiles
    8 items of 14 x 14 tiles  ->  blocks of 7 rows of tiles of one item, 98 tiles
"""

from __future__ import annotations

from math import prod

from latte.compiler.expression import Axis
from latte.compiler.machine import Machine
from latte.compiler.winograd_tiles import Cut, Frame, Tiling
from latte.compiler.winograd_view import Sliding

MOST_ROWS = 128  # tiles of a block whose products are stored for some lanes
MOST_SUMMED = 320  # tiles of a block that is summed, whose transforms are stored whole
READ_ROWS = 10.0  # tiles in the time of reading the taps' transform again
FAR = 1.1  # time of a block that the second cache does not hold
READ_SUMMED = 24.0  # tiles in the time of reading and storing all sums again
APART = 1.7  # time with whole stages one after the other, against ideal blocks
VECTORS = (4, 6, 5, 3)  # of lanes at a time, the best first
THREADS = ((2, 0.8), (4, 0.2))  # numbers of workers that blocks should suit


def frame(sliding: Sliding, tilings: tuple[Tiling, ...], machine: Machine) -> Frame:
    """The blocks that take least time, or no blocks."""
    tiles = tuple(t.tile for t in tilings)
    whole = Frame(tuple(Cut(a, 1, a.size) for a in tiles), False, False)
    items = _items(sliding)
    by_row = {t.by_row for t in tilings}
    if len(by_row) > 1 or _summed(items, sliding) == by_row.pop():
        return whole
    rows = tilings[0].by_row
    options = [Frame(cuts, items is not None, True) for cuts in _cuts(items, tiles)]
    options = [option for option in options if option.outer]
    near = machine.l2 // _bytes(sliding, tilings, machine)
    costs = [(_cost(option, rows, near), number) for number, option in enumerate(options)]
    least, number = min(costs, default=(APART, 0))
    return options[number] if least < APART else whole


def lanes(sliding: Sliding, chosen: Frame, tilings: tuple[Tiling, ...], machine: Machine) -> int:
    """How many places of the lanes' axis a block does at a time."""
    size = next(a.size for a in sliding.kernel.axes if a.name == sliding.lane)
    own = any(a.name == sliding.lane for a in sliding.axes_of(sliding.taps))
    if not (chosen.flat and tilings[0].by_row and own):
        return size
    fitting = (v * machine.width for v in VECTORS if size % (v * machine.width) == 0)
    return next(fitting, size)


def _items(sliding: Sliding) -> Axis | None:
    """The axis of the items, where the data have it alone in an entry."""
    axes = (*sliding.kernel.axes, *sliding.parts.fold.axes)
    found = [a for a in axes if a.symbol == "n"]
    return found[0] if found and found[0] in sliding.axes_of(sliding.data) else None


def _summed(items: Axis | None, sliding: Sliding) -> bool:
    return items is not None and items in sliding.parts.fold.axes


def _cuts(items: Axis | None, tiles: tuple[Axis, ...]) -> list[tuple[Cut, ...]]:
    """Blocks of several items, or of some rows of the tiles of one."""
    rest = tuple(Cut(a, 1, a.size) for a in tiles[1:])
    first, found = tiles[0], []
    for size in range(1, first.size + 1):
        cut = Cut(first, -(-first.size // size), size)
        if items is None:
            found.append((cut, *rest))
            continue
        for some in range(1, items.size + 1 if cut.blocks == 1 else 2):
            found.append((Cut(items, -(-items.size // some), some), cut, *rest))
    return found


def _bytes(sliding: Sliding, tilings: tuple[Tiling, ...], machine: Machine) -> int:
    """Of a tile's transform and of its sums for some lanes."""
    summed = prod(a.size for a in sliding.axes_of(sliding.data) if a.symbol is None)
    return 4 * prod(t.size for t in tilings) * (summed + VECTORS[0] * machine.width)


def _cost(option: Frame, rows: bool, near: int) -> float:
    """Time against that of ideal blocks: places for nothing, what is read again for each block,
    workers without a block. `near` places are in the second cache."""
    places = prod(a.size for a in option.inner)
    blocks = prod(cut.blocks for cut in option.cuts)
    used = prod(cut.whole.size for cut in option.cuts) / (blocks * places)
    if places > (MOST_ROWS if rows else MOST_SUMMED):
        return 1e9
    if not rows:
        return (1.0 + READ_SUMMED / places) / used if blocks > 1 else 1.0
    share = sum(weight * -(-blocks // k) * k / blocks for k, weight in THREADS)
    far = FAR if places > near else 1.0
    return far * share * (1.0 + READ_ROWS / places) / used
