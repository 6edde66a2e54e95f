"""The kernels that stand for a sliding contraction: two transforms, products, results.

In: a `Sliding`, the tiles of its pairs and the blocks they are in.  Out: kernels and buffers.

    conv.data[xi: 36, n, y.tile, x.tile, c] = 36 combinations of 6 x 6 places of in[n, c]
    conv.taps[xi: 36, f, c]                 = 36 combinations of 3 x 3 places of weight[f, c]
    conv.sums[xi, n, y.tile, x.tile, f]     = sum [c] conv.data[...] * conv.taps[...]
    conv.out[n, f, 4 * y.tile + i, 4 * x.tile + j] = bias[f] + combinations of 36 conv.sums

What lies outside of the data or behind the last tap reads as 0. Tiles at an edge that have fewer
outputs get kernels of their own, so that no store is in question.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from math import prod

from latte.compiler.affine import Affine, axis, constant
from latte.compiler.contract_parts import RESULT, SUM
from latte.compiler.cook_toom import Matrix, matrices
from latte.compiler.expression import (
    Apply,
    Axis,
    Expression,
    Fold,
    Load,
    Number,
    Position,
    Scalar,
)
from latte.compiler.ir import Buffer, Dim, Kernel, Program, Write
from latte.compiler.layout import best_vectors, blocked, row
from latte.compiler.machine import Machine
from latte.compiler.rewrite import rewrite, substitute_axes
from latte.compiler.simplify import simplify, used_lets
from latte.compiler.winograd_blocks import Blocks
from latte.compiler.winograd_tiles import Frame, Region, Tiling, regions
from latte.compiler.winograd_transform import Place, Straight
from latte.compiler.winograd_view import Sliding, places

XI = "xi"
SETS = 4096  # bytes after which addresses meet in the same set of the first cache
APART = 256  # bytes


@dataclass(frozen=True, slots=True)
class Stages:
    """Makes the kernels. `tilings` are those of all the pairs, `blocks` says how much is done at a
    time; items that are not `present` in a call count as 0."""

    sliding: Sliding
    tilings: tuple[Tiling, ...]
    blocks: Blocks
    present: bool
    program: Program
    machine: Machine

    @property
    def name(self) -> str:
        return self.sliding.kernel.name

    @property
    def xi(self) -> Axis:
        """Numbers the products of a tile."""
        return Axis(XI, prod(t.size for t in self.tilings))

    @property
    def lane(self) -> Axis:
        """The axis of the target's lanes."""
        return next(a for a in self.sliding.kernel.axes if a.name == self.sliding.lane)

    @property
    def frame(self) -> Frame:
        """The blocks of tiles."""
        return self.blocks.frame

    @property
    def rows(self) -> bool:
        """Whether tiles are rows of the products, else they are summed."""
        return any(t.by_row for t in self.tilings)

    def places(self) -> Iterator[tuple[int, Place]]:
        """The products by number, and their places in a tile."""
        return enumerate(product(*(range(t.size) for t in self.tilings)))

    # Axes and buffers

    def own(self, axes: Iterable[Axis]) -> tuple[Axis, ...]:
        """Those that neither slide nor belong to the frame."""
        without = self.sliding.sliding | self.frame.taken
        return tuple(a for a in axes if a.name not in without)

    def tiles_of(self, what: str) -> tuple[Axis, ...]:
        """The tiles' axes of a stage."""
        if what == "data":
            before = self.frame.outer if self.blocks.spread else ()
            return (*before, *self.frame.axes(self.tilings))
        by_row = what == "sums"
        if self.frame.flat:
            return self.frame.axes(self.tilings) if self.rows == by_row else ()
        return self.frame.axes(self.tilings, by_row)

    def _tile_index(self, what: str) -> tuple[Affine, ...]:
        """Where a stage's buffer holds the tile at hand."""
        tiles = self.tiles_of(what)
        if what == "data" and self.blocks.spread:
            return (*(axis(a.name) for a in self.frame.outer), *self.frame.index(tiles))
        return self.frame.index(tiles) if tiles else ()

    def axes_of(self, what: str) -> tuple[Axis, ...]:
        """A stage's own axes, whole: neither products nor tiles."""
        if what in ("data", "taps"):
            return self.own(self.sliding.axes_of(getattr(self.sliding, what)))
        return self.own(self.sliding.kernel.axes)

    def loops_of(self, what: str) -> tuple[Axis, ...]:
        """The loops of a stage over its own axes, of which blocks may be open around it."""
        cuts = self.blocks.open(what)
        return tuple(cuts[a.name].inner if a.name in cuts else a for a in self.axes_of(what))

    def _places(self, what: str) -> dict[str, Affine]:
        """Where a stage is on the axes of which a block is open around it."""
        return {name: cut.place for name, cut in self.blocks.open(what).items()}

    def _index(self, buffer: str, what: str) -> tuple[Affine, ...]:
        """The entries for own axes of a stage's buffer, from the loops of the stage `what`."""
        if self.blocks.near(buffer):
            return tuple(axis(a.name) for a in self.loops_of(buffer))
        return tuple(axis(a.name).substitute(self._places(what)) for a in self.axes_of(buffer))

    def buffers(self) -> tuple[Buffer, Buffer, Buffer]:
        """For both transforms and for the products' sums."""
        data, taps = (self._factor_lane(load) for load in (self.sliding.data, self.sliding.taps))
        return (
            self._buffer("data", data),
            self._buffer("taps", taps),
            self._buffer("sums", self.lane),
        )

    def _factor_lane(self, load: Load) -> Axis:
        """The sum's lanes where a factor has them, else what lies innermost in its source."""
        own = self.own(self.sliding.axes_of(load))
        dims = self.program.buffer(load.buffer).dims
        inner = places(load)[dims[-1].axis if dims else -1]
        best = max(own, key=lambda a: (inner.coefficient(a.name) == 1, a.size))
        return self.lane if self.lane in own else best

    def _buffer(self, what: str, lane: Axis) -> Buffer:
        """`[products][...][lanes]`; where blocks of lanes are used apart from one another,
        `[blocks of lanes][products][...][lanes of a block]`."""
        near, number = self.blocks.near(what), 1 + self.axes_of(what).index(lane)
        axes = self.loops_of(what) if near else self.axes_of(what)
        buffer = Buffer(
            f"{self.name}.{what}", (self.xi, *axes, *self.tiles_of(what)),
            "private" if near else "scratch", self.sliding.kernel.origin,
        )  # fmt: skip
        block = self._lanes_apart(what, lane)
        if near or block is None:
            return replace(buffer, dims=apart(row(buffer, number, self.machine), 0))
        return replace(buffer, dims=apart(blocked(buffer, number, block, ()), 1))

    def _lanes_apart(self, what: str, lane: Axis) -> int | None:
        """How many lanes of a shared buffer are used together, where that is not all."""
        cuts = self.blocks.open("sums")
        if lane.name in cuts:
            return cuts[lane.name].size
        packed = what == "taps" and self.rows
        return best_vectors(lane.size, self.machine) * self.machine.width if packed else None

    # Transforms

    def data(self) -> Kernel:
        """The transform of the data, which reads 0 outside of its source."""
        load, made = self.sliding.data, Straight("d")
        source = self.program.buffer(load.buffer)
        here = self._here(made)
        lines = []
        for t, cut in zip(self.tilings, self.frame.tiles, strict=True):
            first = cut.place * t.step + t.pair.start
            top = source.axes[t.pair.entry].size - 1
            lines.append([(at, self._within(made, at, top))
                          for at in (first + u for u in range(t.size))])  # fmt: skip
        values: dict[Place, Expression] = {}
        inside = [entry.substitute(self.frame.values) for entry in places(load)]
        for _, place in self.places():
            index, holds = list(inside), list(here)
            for t, line, u in zip(self.tilings, lines, place, strict=True):
                index[t.pair.entry] = line[u][0]
                holds += line[u][1]
            values[place] = made.let(_only(holds, Load(load.buffer, tuple(index))))
        matrix = tuple(matrices(t.outputs, t.taps).data for t in self.tilings)
        return self._transform("data", made, matrix, values)

    def taps(self) -> Kernel:
        """The transform of the taps; 0 stands behind the last one."""
        made = Straight("t")
        here = [] if self.rows else self._here(made)
        lines = []
        for t, cut in zip(self.tilings, self.frame.tiles, strict=True):
            first = constant(0) if t.by_row else cut.place * t.step
            top = t.pair.summed.size - 1
            lines.append([(t.pair.tap(at), self._within(made, at, top))
                          for at in (first + j for j in range(t.taps))])  # fmt: skip
        values: dict[Place, Expression] = {}
        for place in product(*(range(t.taps) for t in self.tilings)):
            index, holds = dict(self.frame.values), list(here)
            for t, line, j in zip(self.tilings, lines, place, strict=True):
                index[t.pair.summed.name] = line[j][0]
                holds += line[j][1]
            values[place] = made.let(_only(holds, substitute_axes(self.sliding.taps, index)))
        matrix = tuple(matrices(t.outputs, t.taps).taps for t in self.tilings)
        return self._transform("taps", made, matrix, values)

    def _here(self, made: Straight) -> list[Expression]:
        """The condition that an item takes part in this call, where it may not."""
        if not self.present:
            return []
        (item,) = self.frame.values.values()
        return [made.let(Apply("lt", (Position(item), Scalar("items"))))]

    def _within(self, made: Straight, at: Affine, top: int) -> list[Expression]:
        """Conditions for a place to be in 0 .. top that do not hold everywhere."""
        every = (*self.frame.outer, *self.frame.inner)
        low, high = at.bounds({a.name: (0, a.size - 1) for a in every})
        conditions = []
        if low < 0:
            conditions.append(made.let(Apply("ge", (Position(at), Number(0.0)))))
        if high > top:
            conditions.append(made.let(Apply("ge", (Position(top - at), Number(0.0)))))
        return conditions

    def _transform(
        self, what: str, made: Straight, matrix: tuple[Matrix, ...], values: dict[Place, Expression]
    ) -> Kernel:
        results = made.transform(matrix, values)
        tiles, name = self.tiles_of(what), f"{self.name}.{what}"
        place = (*self._index(what, what), *self._tile_index(what))
        writes = tuple(Write(name, (constant(k), *place), results[xi]) for k, xi in self.places())
        loops = (self.frame.inner if self.frame.flat else tiles) if tiles else ()
        kernel = self._kernel(name, (*self.loops_of(what), *loops), f"transform of its {what}")
        where = self.frame.guards() if self.rows and tiles else ()
        return replace(kernel, lets=tuple(made.lets), writes=writes, where=where)

    # Products

    def sums(self, add: bool = False) -> Kernel:
        """The contraction that is left, one for each product."""
        summed = self.own(self.sliding.parts.fold.axes)
        tiles = () if self.rows and self.frame.flat else self.tiles_of("taps")
        data, taps = (self._transformed(what) for what in ("data", "taps"))
        body = Fold("sum", (*summed, *tiles), Apply("mul", (data, taps)))
        name = f"{self.name}.sums"
        axes = (*self.loops_of("sums"), *self.tiles_of("sums"))
        write = Write(name, (axis(XI), *(axis(a.name) for a in axes)), body, add)
        return replace(self._kernel(name, (self.xi, *axes), "its products"), writes=(write,))

    def _transformed(self, what: str) -> Load:
        """A factor of the products."""
        tiles = (axis(a.name) for a in self.tiles_of(what))
        return Load(f"{self.name}.{what}", (axis(XI), *self._index(what, "sums"), *tiles))

    def clear(self) -> Kernel:
        """Nothing summed yet."""
        name = f"{self.name}.sums"
        axes = (self.xi, *self.loops_of("clear"), *self.tiles_of("sums"))
        write = Write(name, tuple(axis(a.name) for a in axes), Number(0.0))
        return replace(self._kernel(f"{name}.clear", axes, "clear"), writes=(write,))

    # Results

    def results(self) -> Iterator[Kernel]:
        """What the sums mean, for whole tiles and for each kind of tile at an edge."""
        pairs = zip(self.tilings, self.frame.tiles, strict=True)
        for number, chosen in enumerate(product(*(tuple(regions(t, cut)) for t, cut in pairs))):
            yield self._result(number, chosen)

    def _result(self, number: int, chosen: tuple[Region, ...]) -> Kernel:
        made = Straight("r")
        edge = {name: value for region in chosen for name, value in region.values.items()}
        base = [*self._index("sums", "results")]
        base += [entry.substitute(edge) for entry in self._tile_index("sums")]
        values: dict[Place, Expression] = {
            place: made.let(Load(f"{self.name}.sums", (constant(k), *base)))
            for k, place in self.places()
        }
        matrix = tuple(
            matrices(t.outputs, t.taps).outputs[: r.outputs]
            for t, r in zip(self.tilings, chosen, strict=True)
        )
        found = made.transform(matrix, values)
        fixed = self.frame.values | self._places("results")
        writes: list[Write] = []
        for place, value in found.items():
            rows = {r.tiling.pair.row.name: r.row(i) for r, i in zip(chosen, place, strict=True)}
            writes += self._outputs(made, rows | fixed, value)
        items = self.frame.inner[:1] if self.frame.items and self.rows else ()
        loops = (*items, *(r.axis for r in chosen if r.axis is not None))
        kernel = self.sliding.kernel
        guards = self.frame.guards() if self.rows else ()
        lets = used_lets(tuple(made.lets), tuple((write.expression,) for write in writes))
        return Kernel(
            f"{self.name}.{number}" if number else self.name,
            (*self.loops_of("results"), *loops), lets, tuple(writes),
            (*guards, *(g for r in chosen for g in r.where)), kernel.origin, kernel.reason,
        )  # fmt: skip

    def _outputs(
        self, made: Straight, rows: dict[str, Affine], value: Expression
    ) -> Iterator[Write]:
        """The writes of one output of a tile, at its `rows`, of what the contraction made of its
        sum."""
        parts = self.sliding.parts
        result = made.let(simplify(_replaced(substitute_axes(parts.result, rows), SUM, value)))
        for store in parts.stores:
            index = tuple(entry.substitute(rows) for entry in store.target)
            expression = simplify(_replaced(substitute_axes(store.value, rows), RESULT, result))
            yield replace(store.write, index=index, expression=expression)

    def _kernel(self, name: str, axes: tuple[Axis, ...], reason: str) -> Kernel:
        kernel = self.sliding.kernel
        ordered = tuple(sorted(axes, key=lambda a: a.symbol != "n"))
        return Kernel(name, ordered, (), (), (), kernel.origin, f"{kernel.reason}, {reason}")


def apart(dims: tuple[Dim, ...], number: int) -> tuple[Dim, ...]:
    """Dims in which neighbours of dim `number` do not meet in the same sets of a cache."""
    for place in range(number + 1, len(dims) - 1):
        extent, inside = dims[place].extent, dims[number + 1 :]
        others = 4 * prod(dim.extent for dim in inside) // extent
        sizes = range(extent, extent + SETS // APART + 1)
        found = next((e for e in sizes if APART <= e * others % SETS <= SETS - APART), None)
        if found is not None:
            return (*dims[:place], replace(dims[place], extent=found), *dims[place + 1 :])
    return dims


def _replaced(expression: Expression, old: Expression, new: Expression) -> Expression:
    return rewrite(expression, lambda node: new if node == old else None)


def _only(conditions: list[Expression], value: Expression) -> Expression:
    if not conditions:
        return value
    both = conditions[0]
    for condition in conditions[1:]:
        both = Apply("and", (both, condition))
    return Apply("select", (both, value, Number(0.0)))
