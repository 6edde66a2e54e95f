"""How the axes of a sliding contraction are cut: into tiles, and tiles into blocks.

In: pairs, with outputs and taps of a tile.  Out: `Tiling`s, and a `Frame` that says which loops
run over the tiles of a block, and where each of them lies.

    rows 0 .. 55 in tiles of 4, 7 tile rows to a block
    ->  y.part = 0 .. 1, y.within = 0 .. 6, y.tile = 7 * y.part + y.within, y = 4 * y.tile + i
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod

from latte.compiler.affine import Affine, axis, constant, row_major
from latte.compiler.expression import Axis, Guard
from latte.compiler.winograd_view import Pair

PLACE = "place"  # the axis of a block's tiles, all in a row


@dataclass(frozen=True, slots=True)
class Tiling:
    """A pair cut into tiles of so many outputs and taps; one of them covers its axis whole."""

    pair: Pair
    outputs: int
    taps: int

    @property
    def size(self) -> int:
        """Places of the data in a tile, and products."""
        return self.outputs + self.taps - 1

    @property
    def by_row(self) -> bool:
        """Whether the row axis is cut, else the summed one."""
        return self.taps >= self.pair.summed.size

    @property
    def step(self) -> int:
        """How far it is from one tile to the next."""
        return self.outputs if self.by_row else self.taps

    @property
    def tile(self) -> Axis:
        """The axis of the tiles."""
        cut = self.pair.row if self.by_row else self.pair.summed
        return Axis(f"{cut.name}.tile", -(-cut.size // self.step))


@dataclass(frozen=True, slots=True)
class Cut:
    """An axis in `blocks` blocks of `size` places: `place = size * block + inner`. Items are
    always in blocks, so that a call may have fewer of them."""

    whole: Axis
    blocks: int
    size: int

    @property
    def looped(self) -> bool:
        """Whether there is a loop over blocks."""
        return self.blocks > 1 or self.whole.symbol is not None

    @property
    def block(self) -> Axis:
        return Axis(f"{self.whole.name}.part", self.blocks)

    @property
    def inner(self) -> Axis:
        """The loop in a block; the axis itself where there is one block."""
        return Axis(f"{self.whole.name}.within", self.size) if self.looped else self.whole

    @property
    def first(self) -> Affine:
        """The first place of a block."""
        return axis(self.block.name) * self.size if self.looped else constant(0)

    @property
    def place(self) -> Affine:
        return self.first + axis(self.inner.name)

    @property
    def ragged(self) -> bool:
        """Whether the last block reaches behind the axis."""
        return self.blocks * self.size > self.whole.size


@dataclass(frozen=True, slots=True)
class Frame:
    """The loops over the tiles of a block. `cuts` has the tile axes in the order of the pairs, and
    before them that of the items where blocks hold whole items. `flat`: a buffer has one axis for
    all of them, else each its own."""

    cuts: tuple[Cut, ...]
    items: bool
    flat: bool

    @property
    def tiles(self) -> tuple[Cut, ...]:
        """Of the pairs."""
        return self.cuts[1:] if self.items else self.cuts

    @property
    def outer(self) -> tuple[Axis, ...]:
        """The loops around the blocks."""
        return tuple(cut.block for cut in self.cuts if cut.looped)

    @property
    def inner(self) -> tuple[Axis, ...]:
        return tuple(cut.inner for cut in self.cuts)

    @property
    def values(self) -> dict[str, Affine]:
        """The item by the name of its axis, if blocks hold items."""
        return {cut.whole.name: cut.place for cut in self.cuts[:1] if self.items}

    @property
    def taken(self) -> frozenset[str]:
        """The names of the axes that the frame's loops stand for."""
        return frozenset(cut.whole.name for cut in self.cuts)

    def axes(self, tilings: tuple[Tiling, ...], by_row: bool | None = None) -> tuple[Axis, ...]:
        """A buffer's axes for the tiles: all, or of the pairs that are cut in one way only."""
        if self.flat:
            return (Axis(PLACE, prod(a.size for a in self.inner)),)
        return tuple(cut.inner for cut, t in zip(self.cuts, tilings, strict=True)
                     if by_row is None or t.by_row == by_row)  # fmt: skip

    def index(self, axes: tuple[Axis, ...]) -> tuple[Affine, ...]:
        """The place in a buffer with such axes."""
        if self.flat:
            inner = self.inner
            return (row_major((axis(a.name) for a in inner), (a.size for a in inner)),)
        return tuple(axis(a.name) for a in axes)

    def guards(self) -> tuple[Guard, ...]:
        """That the item exists at all."""
        return tuple(
            Guard(constant(cut.whole.size - 1) - cut.place)
            for cut in self.cuts[:1] if self.items and cut.ragged
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Region:
    """Tiles of a pair with the same number of outputs. `axis` runs over them (None: one tile),
    `tile` is the number; `values` replace the inner loop's axis, where `where` holds."""

    tiling: Tiling
    outputs: int
    axis: Axis | None
    tile: Affine
    values: dict[str, Affine]
    where: tuple[Guard, ...]

    def row(self, number: int) -> Affine:
        """The place of the row axis of one output."""
        return (self.tile * self.tiling.step if self.tiling.by_row else constant(0)) + number


def regions(tiling: Tiling, cut: Cut) -> Iterator[Region]:
    """The whole tiles of a pair, then the one that reaches over the edge."""
    if not tiling.by_row:
        yield Region(tiling, tiling.outputs, None, constant(0), {}, ())
        return
    whole, rest = divmod(tiling.pair.row.size, tiling.step)
    if whole and cut.blocks == 1:
        yield Region(tiling, tiling.step, replace(cut.inner, size=whole), cut.place, {}, ())
    elif whole:
        exists = Guard(constant(whole - 1) - cut.place)
        where = (exists,) if cut.blocks * cut.size > whole else ()
        yield Region(tiling, tiling.step, cut.inner, cut.place, {}, where)
    if rest:
        inner = constant(whole) - cut.first
        here = (Guard(inner), Guard(constant(cut.size - 1) - inner)) if cut.blocks > 1 else ()
        yield Region(tiling, rest, None, constant(whole), {cut.inner.name: inner}, here)
