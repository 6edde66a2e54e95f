"""Blocks of tiles: enough that the taps' transform is read seldom, few enough for the caches.

In: a `Sliding` and its tilings.  Out: a `Frame`, and how many lanes are done at a time.

    64 items of 4 x 4 tiles   ->  blocks of 6 items, 96 tiles
    8 items of 28 x 28 tiles  ->  blocks of 3 rows of tiles of one item, 84 tiles
"""

from __future__ import annotations

from math import prod

from latte.compiler.expression import Axis
from latte.compiler.machine import Machine
from latte.compiler.winograd_tiles import Cut, Frame, Tiling
from latte.compiler.winograd_view import Sliding

MOST_ROWS = 128  # tiles of a block whose products are stored for some lanes
MOST_SUMMED = 320  # tiles of a block that is summed, whose transforms are stored whole
READ_ROWS = 12.0  # tiles in the time of reading the taps' transform again
READ_SUMMED = 24.0  # tiles in the time of reading and storing all sums again
APART = 1.5  # time with whole stages one after the other, against ideal blocks
VECTORS = (4, 6, 5, 3)  # of lanes at a time, the best first
THREADS = ((2, 0.6), (4, 0.4))  # numbers of workers that blocks should suit


def frame(sliding: Sliding, tilings: tuple[Tiling, ...]) -> Frame:
    """The blocks that take least time, or no blocks."""
    tiles = tuple(t.tile for t in tilings)
    whole = Frame(tuple(Cut(a, 1, a.size) for a in tiles), False, False)
    items = _items(sliding)
    by_row = {t.by_row for t in tilings}
    if len(by_row) > 1 or _summed(items, sliding) == by_row.pop():
        return whole
    rows = tilings[0].by_row
    options = [Frame(cuts, items is not None, True) for cuts in _cuts(items, tiles)]
    costs = [(_cost(option, rows), number) for number, option in enumerate(options)]
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


def _cost(option: Frame, rows: bool) -> float:
    """Time against that of ideal blocks: places for nothing, what is read again for each block,
    workers without a block."""
    places = prod(a.size for a in option.inner)
    blocks = prod(cut.blocks for cut in option.cuts)
    used = prod(cut.whole.size for cut in option.cuts) / (blocks * places)
    if places > (MOST_ROWS if rows else MOST_SUMMED):
        return 1e9
    if not rows:
        return (1.0 + READ_SUMMED / places) / used if blocks > 1 else 1.0
    share = sum(weight * -(-blocks // k) * k / blocks for k, weight in THREADS)
    return share * (1.0 + READ_ROWS / places) / used
