"""Blocks of stages: few enough for the caches, large enough that little is read again.

In: a `Sliding` and its tilings.  Out: `Blocks`, of tiles and of the axes of the sums.

    64 items of 3 x 3 tiles, 256 -> 256       tiles: blocks of 8 items, 72 tiles
    16 items of 3 x 3 tiles, 1024 -> 1024     lanes: blocks of 8 items and 64 lanes
    gradient of 1024 x 1024 weights           sums: blocks of 128 x 64
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Literal

from latte.compiler.expression import Axis
from latte.compiler.machine import Machine
from latte.compiler.winograd_tiles import Cut, Frame, Tiling
from latte.compiler.winograd_view import Sliding

Order = Literal["apart", "tiles", "lanes", "added", "sums"]
NEAR: dict[Order, tuple[str, ...]] = {
    "tiles": ("data", "sums"),
    "lanes": ("sums",),
    "sums": ("sums",),
}

MOST_ROWS = 128  # tiles of a block whose products are stored for some lanes
MOST_SUMMED = 320  # tiles of a block that is summed, whose transforms are stored whole
MOST_HELD = 80 << 20  # bytes of both transforms that are there at once
READ_ROWS = 10.0  # tiles in the time of reading the taps' transform again
FAR = 1.1  # time of a block that the second cache does not hold
SPREAD = 1.12  # time where the data of all tiles are stored, and read for each block of lanes
READ_SUMMED = 24.0  # tiles in the time of reading and storing all sums again
READ_FACTORS = 1.05  # time where both transforms are read for each block of the sums
APART = 1.7  # time with whole stages one after the other, against ideal blocks
VECTORS = (4, 6, 5, 3)  # of lanes at a time, the best first
THREADS = ((2, 0.8), (4, 0.2))  # numbers of workers that blocks should suit


@dataclass(frozen=True, slots=True)
class Blocks:
    """How much of each stage is done at a time, and what stays in one worker's caches.

    apart   each stage whole
    tiles   rows: blocks of tiles; their data stay near, and their sums for some lanes
    lanes   rows: blocks of tiles and lanes, whose sums stay near
    added   sums: blocks of tiles, one after the other, whose products are added up
    sums    sums: blocks of the sums, which stay near

    `parts` cut axes of the sums."""

    order: Order
    frame: Frame
    parts: tuple[Cut, ...] = ()

    @property
    def spread(self) -> bool:
        """Whether the data of all blocks are there at once."""
        return self.order == "lanes"

    def near(self, what: str) -> bool:
        """Whether a stage's results stay in one worker's caches."""
        return what in NEAR.get(self.order, ())

    def open(self, what: str) -> dict[str, Cut]:
        """The cuts in whose loops a stage stands, by the names of their axes."""
        inside = what not in ("data", "taps")
        return {cut.whole.name: cut for cut in self.parts} if inside else {}


def blocks(sliding: Sliding, tilings: tuple[Tiling, ...], machine: Machine) -> Blocks:
    """The blocks that take least time, or no blocks."""
    tiles, rows = tuple(t.tile for t in tilings), tilings[0].by_row
    whole = Blocks("apart", Frame(tuple(Cut(a, 1, a.size) for a in tiles), False, False))
    items = _items(sliding)
    if len({t.by_row for t in tilings}) > 1 or _summed(items, sliding) == rows:
        return whole
    form = _Form(sliding, tilings, machine)
    frames = [Frame(cuts, items is not None, True) for cuts in _cuts(items, tiles)]
    options = list(form.of_rows(frames) if rows else form.of_sums(frames))
    costs = [(cost, number) for number, (cost, _) in enumerate(options)]
    least, number = min(costs, default=(APART, 0))
    return options[number][1] if least < APART else whole


@dataclass(frozen=True, slots=True)
class _Form:
    """What blocks are for. Times are against those of ideal blocks: places for nothing, what is
    read again for each block, workers without a block."""

    sliding: Sliding
    tilings: tuple[Tiling, ...]
    machine: Machine

    @property
    def products(self) -> int:
        return prod(t.size for t in self.tilings)

    @property
    def own(self) -> tuple[Axis, ...]:
        """The axes of the sums but for rows of tiles."""
        apart = self.sliding.sliding
        return tuple(a for a in self.sliding.kernel.axes if a.name not in apart and not a.symbol)

    @property
    def lane(self) -> Axis:
        return next(a for a in self.own if a.name == self.sliding.lane)

    def of_rows(self, frames: list[Frame]) -> Iterator[tuple[float, Blocks]]:
        """Blocks of tiles, and of tiles and lanes."""
        part = self._lanes()
        parts = (part,) if part.blocks > 1 else ()
        held = prod(a.size for a in self.sliding.axes_of(self.sliding.data) if not a.symbol)
        near = self.machine.l2 // self._bytes(held + VECTORS[0] * self.machine.width)
        most = self.machine.l2 // 2 // self._bytes(part.size)
        for frame in frames:
            places, count = _places(frame), _count(frame)
            if not frame.outer or places > MOST_ROWS:
                continue
            time = (1.0 + READ_ROWS / places) / _used(frame)
            far = FAR if places > near else 1.0
            yield far * _share(count) * time, Blocks("tiles", frame, parts)
            if frame.items and places <= most and parts:
                time *= SPREAD * _share(count * part.blocks)
                yield time, Blocks("lanes", frame, parts)

    def of_sums(self, frames: list[Frame]) -> Iterator[tuple[float, Blocks]]:
        """Blocks of tiles, or of what they are summed for."""
        size = self._bytes(prod(a.size for a in self.own))
        held = [prod(a.size for a in self.sliding.axes_of(load) if not a.symbol)
                for load in (self.sliding.data, self.sliding.taps)]  # fmt: skip
        parts = self._parts()
        for frame in frames:
            places, count = _places(frame), _count(frame)
            again = READ_SUMMED / places if count > 1 or size > self.machine.l2 else 0.0
            if frame.outer and places <= MOST_SUMMED:
                yield (1.0 + again) / _used(frame), Blocks("added", frame)
            if parts and frame.items and count == 1 and self._bytes(places * sum(held)) < MOST_HELD:
                share = _share(prod(cut.blocks for cut in parts))
                yield READ_FACTORS * share, Blocks("sums", frame, parts)

    def _bytes(self, places: int) -> int:
        """Of so many places of a transform or of sums."""
        return 4 * self.products * places

    def _lanes(self) -> Cut:
        """How many places of the lanes' axis are done at a time; all where data have them."""
        lane = self.lane
        if lane not in self.sliding.axes_of(self.sliding.taps):
            return Cut(lane, 1, lane.size)
        sizes = (v * self.machine.width for v in VECTORS)
        size = next((size for size in sizes if lane.size % size == 0), lane.size)
        return Cut(lane, lane.size // size, size)

    def _parts(self) -> tuple[Cut, ...]:
        """Blocks of the sums along the lanes and the longest other axis, or none."""
        others = sorted((a for a in self.own if a != self.lane), key=lambda a: a.size)
        sizes = (v * self.machine.width for v in VECTORS)
        lanes = next((size for size in sizes if self.lane.size % size == 0), 0)
        if not others or not lanes:
            return ()
        *rest, other = others
        most = self.machine.l2 * 3 // 5 // self._bytes(lanes * prod(a.size for a in rest))
        size = next((k for k in range(min(most, other.size), 0, -1) if other.size % k == 0), 0)
        if size < 2 * self.machine.width:
            return ()
        both = Cut(other, other.size // size, size), Cut(self.lane, self.lane.size // lanes, lanes)
        return tuple(cut for cut in both if cut.blocks > 1)


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


def _places(frame: Frame) -> int:
    """Tiles of a block."""
    return prod(a.size for a in frame.inner)


def _count(frame: Frame) -> int:
    return prod(cut.blocks for cut in frame.cuts)


def _used(frame: Frame) -> float:
    """The share of the blocks' places that stand for tiles."""
    return prod(cut.whole.size for cut in frame.cuts) / (_count(frame) * _places(frame))


def _share(blocks: int) -> float:
    """The time of the worker with most blocks, against equal shares."""
    return sum(weight * -(-blocks // k) * k / blocks for k, weight in THREADS)
