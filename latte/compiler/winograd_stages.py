"""The kernels that stand for a sliding contraction: two transforms, products, results.

In: a `Sliding` with the outputs and taps of each pair's tiles.  Out: kernels and scratch buffers.

    conv.data[xi: 36, n, y.tile, x.tile, c] = 36 combinations of 6 x 6 places of in[n, c]
    conv.taps[xi: 36, f, c]                 = 36 combinations of 3 x 3 places of weight[f, c]
    conv.sums[xi, n, y.tile, x.tile, f]     = sum [c] conv.data[...] * conv.taps[...]
    conv.out[n, f, 4 * y.tile + i, 4 * x.tile + j] = bias[f] + combinations of 36 conv.sums

What lies outside of the data or behind the last tap reads as 0. Tiles at an edge that have fewer
outputs get kernels of their own, so that no store is in question.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from math import prod

from latte.compiler.affine import Affine, axis, constant
from latte.compiler.contract_view import RESULT, SUM
from latte.compiler.cook_toom import Matrix, matrices
from latte.compiler.expression import (
    Apply,
    Axis,
    Expression,
    Fold,
    Let,
    Load,
    Number,
    Position,
)
from latte.compiler.ir import Buffer, Kernel, Program, Write
from latte.compiler.layout import best_vectors, blocked, row
from latte.compiler.machine import Machine
from latte.compiler.rewrite import rewrite, substitute_axes
from latte.compiler.simplify import simplify_kernel
from latte.compiler.winograd_transform import Place, Straight
from latte.compiler.winograd_view import Pair, Sliding, places

XI = "xi"


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
    def step(self) -> int:
        """How far it is from one tile to the next."""
        return self.outputs if self.by_row else self.taps

    @property
    def by_row(self) -> bool:
        """Whether the row axis is cut, else the summed one."""
        return self.taps >= self.pair.summed.size

    @property
    def tile(self) -> Axis:
        """The axis of the tiles."""
        cut = self.pair.row if self.by_row else self.pair.summed
        return Axis(f"{cut.name}.tile", -(-cut.size // self.step))

    @property
    def start(self) -> Affine:
        """The row and tap at which a tile begins, together."""
        return axis(self.tile.name) * self.step


@dataclass(frozen=True, slots=True)
class Stages:
    """Makes the kernels. `tilings` are those of all the pairs."""

    sliding: Sliding
    tilings: tuple[Tiling, ...]
    program: Program
    machine: Machine

    @property
    def name(self) -> str:
        return self.sliding.kernel.name

    @property
    def xi(self) -> Axis:
        return Axis(XI, prod(t.size for t in self.tilings))

    def places(self) -> Iterator[tuple[int, Place]]:
        """The products by number, and their places in a tile."""
        return enumerate(product(*(range(t.size) for t in self.tilings)))

    # What each stage's buffer is indexed by

    def data_axes(self) -> tuple[Axis, ...]:
        return (*self.sliding.axes_of(self.sliding.data), *(t.tile for t in self.tilings))

    def taps_axes(self) -> tuple[Axis, ...]:
        own = self.sliding.axes_of(self.sliding.taps)
        return (*own, *(t.tile for t in self.tilings if not t.by_row))

    def sums_axes(self) -> tuple[Axis, ...]:
        own = (a for a in self.sliding.kernel.axes if a.name not in self.sliding.sliding)
        return (*own, *(t.tile for t in self.tilings if t.by_row))

    # Buffers

    def buffers(self) -> tuple[Buffer, Buffer, Buffer]:
        """Scratch for both transforms and for the products' sums."""
        data, taps = (self._factor_lane(load) for load in (self.sliding.data, self.sliding.taps))
        return (
            self._plain("data", self.data_axes(), data),
            self._blocked("taps", self.taps_axes(), taps),
            self._plain("sums", self.sums_axes(), self.sliding.lane),
        )

    def _factor_lane(self, load: Load) -> str:
        """The sum's lanes where a factor has them, else what lies innermost in its source."""
        names = [a.name for a in self.sliding.axes_of(load)]
        dims = self.program.buffer(load.buffer).dims
        own = places(load)[dims[-1].axis if dims else -1].axes()
        found = next((name for name in names if name in own), names[-1])
        return self.sliding.lane if self.sliding.lane in names else found

    def _plain(self, what: str, axes: tuple[Axis, ...], lane: str) -> Buffer:
        buffer = self._scratch(what, axes)
        dims = row(buffer, _number(buffer, lane), self.machine)
        return replace(buffer, dims=dims)

    def _blocked(self, what: str, axes: tuple[Axis, ...], lane: str) -> Buffer:
        buffer = self._scratch(what, axes)
        number = _number(buffer, lane)
        block = best_vectors(buffer.axes[number].size, self.machine) * self.machine.width
        return replace(buffer, dims=blocked(buffer, number, block, ()))

    def _scratch(self, what: str, axes: tuple[Axis, ...]) -> Buffer:
        name = f"{self.name}.{what}"
        return Buffer(name, (self.xi, *axes), "scratch", self.sliding.kernel.origin)

    # Kernels

    def kernels(self) -> tuple[Kernel, ...]:
        """All stages in order."""
        return (self.data(), self.taps(), self.sums(), *self.results())

    def data(self) -> Kernel:
        """The transform of the data, which reads 0 outside of its source."""
        load, made = self.sliding.data, Straight("d")
        source = self.program.buffer(load.buffer)
        lines = []
        for t in self.tilings:
            places_ = [t.start + u + t.pair.start for u in range(t.size)]
            top = source.axes[t.pair.entry].size - 1
            lines.append([(at, _inside(made, at, top, t.tile)) for at in places_])
        values: dict[Place, Expression] = {}
        for _, place in self.places():
            index, holds = list(load.index), []
            for t, line, u in zip(self.tilings, lines, place, strict=True):
                index[t.pair.entry] = line[u][0]
                holds += line[u][1]
            values[place] = made.let(_only(holds, Load(load.buffer, tuple(index))))
        matrix = tuple(matrices(t.outputs, t.taps).data for t in self.tilings)
        return self._transform("data", self.data_axes(), made, matrix, values)

    def taps(self) -> Kernel:
        """The transform of the taps; 0 stands behind the last one."""
        made = Straight("t")
        values: dict[Place, Expression] = {}
        lines = []
        for t in self.tilings:
            taps = [(constant(0) if t.by_row else t.start) + j for j in range(t.taps)]
            top = t.pair.summed.size - 1
            lines.append([(t.pair.tap(at), _inside(made, at, top, t.tile)) for at in taps])
        for place in product(*(range(t.taps) for t in self.tilings)):
            index, holds = {}, []
            for t, line, j in zip(self.tilings, lines, place, strict=True):
                index[t.pair.summed.name] = line[j][0]
                holds += line[j][1]
            values[place] = made.let(_only(holds, substitute_axes(self.sliding.taps, index)))
        matrix = tuple(matrices(t.outputs, t.taps).taps for t in self.tilings)
        return self._transform("taps", self.taps_axes(), made, matrix, values)

    def _transform(
        self, what: str, axes: tuple[Axis, ...], made: Straight, matrix: tuple[Matrix, ...],
        values: dict[Place, Expression],
    ) -> Kernel:  # fmt: skip
        results = made.transform(matrix, values)
        name, place = f"{self.name}.{what}", tuple(axis(a.name) for a in axes)
        writes = tuple(Write(name, (constant(k), *place), results[xi]) for k, xi in self.places())
        return self._kernel(name, axes, tuple(made.lets), writes, f"transform of its {what}")

    def sums(self) -> Kernel:
        """The contraction that is left, one for each product."""
        tiles = tuple(t.tile for t in self.tilings if not t.by_row)
        fold = self.sliding.parts.fold
        summed = tuple(a for a in fold.axes if a.name not in self.sliding.sliding)
        data, taps = (
            Load(f"{self.name}.{what}", (axis(XI), *(axis(a.name) for a in axes)))
            for what, axes in (("data", self.data_axes()), ("taps", self.taps_axes()))
        )
        body = Fold("sum", (*summed, *tiles), Apply("mul", (data, taps)))
        axes = self.sums_axes()
        write = Write(f"{self.name}.sums", (axis(XI), *(axis(a.name) for a in axes)), body)
        return self._kernel(write.buffer, (self.xi, *axes), (), (write,), "its products")

    def results(self) -> Iterator[Kernel]:
        """What the sums mean, for whole tiles and for each kind of tile at an edge."""
        for number, regions in enumerate(product(*(_regions(t) for t in self.tilings))):
            yield self._result(number, regions)

    def _result(self, number: int, regions: tuple[Region, ...]) -> Kernel:
        made = Straight("r")
        tiles = {r.tiling.tile.name: r.place for r in regions if r.tiling.by_row}
        base = [axis(a.name).substitute(tiles) for a in self.sums_axes()]
        values: dict[Place, Expression] = {
            place: made.let(Load(f"{self.name}.sums", (constant(k), *base)))
            for k, place in self.places()
        }
        matrix = tuple(matrices(t.outputs, t.taps).outputs for t in self.tilings)
        matrix = tuple(m[: r.outputs] for m, r in zip(matrix, regions, strict=True))
        found = made.transform(matrix, values)
        axes = [a for a in self.sliding.kernel.axes if a.name not in self.sliding.sliding]
        axes += [r.axis for r in regions if r.axis is not None]
        writes = tuple(
            write for place, value in found.items()
            for write in self._outputs(made, regions, place, value)
        )  # fmt: skip
        name = f"{self.name}.{number}" if number else self.name
        kernel = self.sliding.kernel
        made_of = Kernel(name, tuple(axes), tuple(made.lets), writes, (), kernel.origin,
                         kernel.reason)  # fmt: skip
        return simplify_kernel(made_of)

    def _outputs(
        self, made: Straight, regions: tuple[Region, ...], place: Place, value: Expression
    ) -> Iterator[Write]:
        """The writes of one output of a tile, of what the contraction made of its sum."""
        rows = {r.tiling.pair.row.name: r.row(i) for r, i in zip(regions, place, strict=True)}
        parts = self.sliding.parts
        result = made.let(_replaced(substitute_axes(parts.result, rows), SUM, value))
        for store in parts.stores:
            index = tuple(entry.substitute(rows) for entry in store.target)
            expression = _replaced(substitute_axes(store.value, rows), RESULT, result)
            yield replace(store.write, index=index, expression=expression)

    def _kernel(
        self, name: str, axes: tuple[Axis, ...], lets: tuple[Let, ...], writes: tuple[Write, ...],
        reason: str,
    ) -> Kernel:  # fmt: skip
        kernel = self.sliding.kernel
        return Kernel(name, axes, lets, writes, (), kernel.origin, f"{kernel.reason}, {reason}")


@dataclass(frozen=True, slots=True)
class Region:
    """Tiles with the same number of outputs: the first `count`, or the last one."""

    tiling: Tiling
    outputs: int
    first: int
    count: int

    @property
    def axis(self) -> Axis | None:
        """What runs over the tiles; None for one tile."""
        return replace(self.tiling.tile, size=self.count) if self.count > 1 else None

    @property
    def place(self) -> Affine:
        """The tile's number."""
        return axis(self.tiling.tile.name) if self.count > 1 else constant(self.first)

    def row(self, number: int) -> Affine:
        """The place of the row axis of one output."""
        return self.place * (self.tiling.outputs if self.tiling.by_row else 0) + number


def _regions(tiling: Tiling) -> Iterator[Region]:
    if not tiling.by_row:
        yield Region(tiling, tiling.outputs, 0, 1)
        return
    whole, rest = divmod(tiling.pair.row.size, tiling.outputs)
    if whole:
        yield Region(tiling, tiling.outputs, 0, whole)
    if rest:
        yield Region(tiling, rest, whole, 1)


def _replaced(expression: Expression, old: Expression, new: Expression) -> Expression:
    return rewrite(expression, lambda node: new if node == old else None)


def _number(buffer: Buffer, name: str) -> int:
    return next(k for k, a in enumerate(buffer.axes) if a.name == name)


def _inside(made: Straight, at: Affine, top: int, tile: Axis) -> list[Expression]:
    """Conditions for a place to be in 0 .. top that do not hold everywhere."""
    low, high = at.bounds({tile.name: (0, tile.size - 1)})
    conditions = []
    if low < 0:
        conditions.append(made.let(Apply("ge", (Position(at), Number(0.0)))))
    if high > top:
        conditions.append(made.let(Apply("ge", (Position(top - at), Number(0.0)))))
    return conditions


def _only(conditions: list[Expression], value: Expression) -> Expression:
    if not conditions:
        return value
    both = conditions[0]
    for condition in conditions[1:]:
        both = Apply("and", (both, condition))
    return Apply("select", (both, value, Number(0.0)))
