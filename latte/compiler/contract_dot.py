"""Vector code of a contraction whose lanes are places of the sum.

In: a Contraction and a Plan with `summed_lanes`.  Out: as `contract_emit`. Every factor is a
vector, each lane of an accumulator has a sum of its own, and the lanes are added at the end.

    weight.grad[f, c, ky, kx] = sum [n, y, x] image[c, y + ky, x + kx, n] * out.grad[f, y, x, n]
    for unit: for tiles of f and kx: for c, ky:
        25 accumulators = 0
        for y, x: for blocks of 16 n:  10 vectors, 25 fma
        weight.grad = the sum of each accumulator's lanes
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

from latte.compiler.builder import Builder
from latte.compiler.contract_emit import Nest
from latte.compiler.contract_place import Point
from latte.compiler.contract_view import Access
from latte.compiler.expression import Axis
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
        self._summed(lambda: self._lanes(lambda: self._multiply(tile)))
        lanes, self.width = self.width, 1
        numbers = {point: self.b.variable(F32) for point in points}
        self._start_tile(numbers)
        for start in range(0, len(points), lanes):
            some = points[start : start + lanes]
            sums = lanes_added([tile[point].value for point in some], self.b)
            for point, total in zip(some, sums, strict=True):
                numbers[point].set(numbers[point].value + total)
        self._finish_tile(numbers)  # what is made of a number needs no vectors
        self.width = lanes

    def _unrolled(self, a: Axis, begin: Integer, end: Integer, body: Callable[[], None]) -> None:
        """The last loop but that over the lanes, which is in `body`."""
        with self.b.loop(begin, end) as place:
            self.env[a.name] = place
            body()

    def _lanes(self, body: Callable[[], None]) -> None:
        """Whole blocks of lanes, then what is left of them with a mask."""
        lane, width = self.plan.lane.name, self.width
        length = self.length(self.plan.lane)
        full = length // width
        with self.b.loop(0, full) as block:
            self.env[lane] = block * width
            body()
        left = length - full * width
        if isinstance(left, int) and not left:
            return
        lanes = self.b.convert(self.b.materialized(left), "i32") if isinstance(left, Term) else left
        with self.b.when(left > 0 if isinstance(left, Term) else True):
            self.mask = self.b.lane_numbers(width, "i32") < lanes
            self.env[lane] = full * width
            body()
            self.mask = None

    def _load(self, access: Access, point: Point) -> Term:
        if self.mask is None or not access.coefficient(self.plan.lane.name):
            return Nest._load(self, access, point)
        place = self._place(access, point)
        return self.b.load(self.pointers[access.buffer], place, self.width, mask=self.mask)


def lanes_added(vectors: list[Term], b: Builder) -> list[Term]:
    """The sum of each vector's lanes, for at most as many vectors as lanes. In each round two
    vectors become one that has the halves of both added: lanes of one vector stay together."""
    half = vectors[0].type.lanes // 2
    owners = [[number] * (2 * half) for number in range(len(vectors))]
    while half:
        pairs = [(k, min(k + 1, len(vectors) - 1)) for k in range(0, len(vectors), 2)]
        low, high = _halves(vectors[0].type.lanes, half)
        vectors = [
            b.shuffle(vectors[i], vectors[j], low) + b.shuffle(vectors[i], vectors[j], high)
            for i, j in pairs
        ]
        owners = [[(owners[i] + owners[j])[lane] for lane in low] for i, j in pairs]
        half //= 2
    return [b.extract(vectors[0], owners[0].index(k)) for k in range(max(owners[0]) + 1)]


def _halves(lanes: int, half: int) -> tuple[list[int], list[int]]:
    """Where the lower and the upper half of each block of `2 * half` lanes are, of two vectors."""
    blocks = range(0, lanes, 2 * half)
    low = [start + v + k for start in blocks for v in (0, lanes) for k in range(half)]
    return low, [lane + half for lane in low]
