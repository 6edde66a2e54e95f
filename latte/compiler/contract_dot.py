"""Vector code of a contraction whose lanes are places of the sum.

In: a Contraction and a Plan with `summed_lanes`.  Out: as `contract_emit`. Every factor is a
vector, each lane of an accumulator has a sum of its own, and the lanes are added at the end.

    weight.grad[f, c, ky, kx] = sum [n, y, x] image[c, y + ky, x + kx, n] * out.grad[f, y, x, n]
    for unit: for tiles of f and kx: for c, ky:
        25 accumulators = 0
        for blocks of 16 n: for y, x:  10 vectors, 25 fma
        weight.grad = the sum of each accumulator's lanes
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

from latte.compiler.builder import Accumulator
from latte.compiler.contract_emit import Nest
from latte.compiler.contract_place import Point
from latte.compiler.contract_view import Access
from latte.compiler.values import Integer, Term
from latte.compiler.vector import F32, Type


@dataclass(slots=True)
class DotNest(Nest):
    """The loops of a sum in lanes; `mask` is open where a block of lanes is partial."""

    mask: Term | None = None

    def _tile(self, width: int) -> None:
        points = list(product(range(width), *(range(a.size) for a in self.plan.whole), (0,)))
        zero = self.b.splat(0.0, self.width)
        tile = {point: self.b.variable(Type("f32", self.width)) for point in points}
        self._fill(tile, lambda _: zero)
        self._summed(lambda: self._multiply(tile))
        self._finish_sums(tile)

    def _finish_sums(self, tile: dict[Point, Accumulator]) -> None:
        """One number of each accumulator: what is made of it needs no vectors."""
        lanes, self.width = self.width, 1
        numbers = {point: self.b.variable(F32) for point in tile}
        for point, accumulator in tile.items():
            total = self.b.reduce("sum", accumulator.value)
            numbers[point].set(self._initial(point) + total)
        self._finish(numbers)
        self.width = lanes

    def _summed(self, body: Callable[[], None]) -> None:
        """Whole blocks of lanes, then what is left of them with a mask."""
        length, width = self.length(self.plan.lane), self.width
        full = length // width
        with self.b.loop(0, full) as block:
            self._places(block * width, body)
        left = length - full * width
        if isinstance(left, int) and not left:
            return
        numbers, lanes = self.b.lane_numbers(width, "i32"), left
        if isinstance(left, Term):
            lanes = self.b.convert(self.b.materialized(left), "i32")
        with self.b.when(left > 0 if isinstance(left, Term) else True):
            self.mask = numbers < lanes
            self._places(full * width, body)
            self.mask = None

    def _places(self, start: Integer, body: Callable[[], None]) -> None:
        """The other summed loops, at one block of lanes."""
        self.env[self.plan.lane.name] = start
        Nest._summed(self, body)

    def _load(self, access: Access, point: Point) -> Term:
        if self.mask is None or not access.coefficient(self.plan.lane.name):
            return Nest._load(self, access, point)
        place = self._place(access, point)
        return self.b.load(self.pointers[access.buffer], place, self.width, mask=self.mask)
