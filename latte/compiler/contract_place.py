"""Where the open loops of a contraction stand in its buffers.

In: positions of axes (`env`), an access.  Out: the place it names, and loads from there.

    taps: 64*c + f with f = 64*block, c = the loop's counter   ->   4096*block + 64*counter
"""

from __future__ import annotations

from dataclasses import dataclass, field

from latte.compiler.affine import Affine
from latte.compiler.builder import Builder
from latte.compiler.contract_integers import least
from latte.compiler.contract_plan import Plan
from latte.compiler.contract_view import Access, Contraction
from latte.compiler.expression import Axis
from latte.compiler.lower_scope import Value
from latte.compiler.values import Integer, Term
from latte.compiler.vector import SLOT_ITEMS, SLOT_STEPS, Kind

Point = tuple[int, ...]  # place in the tile: row, each whole axis, vector


@dataclass(slots=True)
class Places:
    """The open loops: `env` gives each axis its position, outermost first."""

    b: Builder
    contraction: Contraction
    plan: Plan
    width: int
    pointers: dict[str, Term]
    scalars: tuple[str, ...]
    around: tuple[Axis, ...]
    env: dict[str, Integer] = field(default_factory=dict)

    @property
    def origin(self) -> Point:
        """The first place of a tile."""
        return (0,) * (2 + len(self.plan.whole))

    def length(self, a: Axis) -> Integer:
        """How many places an axis has in this call."""
        if a.symbol is None:
            return a.size
        return self.b.scalar_integer(SLOT_ITEMS if a.symbol == "n" else SLOT_STEPS)

    def integer(self, expression: Affine) -> Integer:
        """Its value at the open loops' positions, outer ones first, so that they are hoisted."""
        total: Integer = expression.constant
        order = {name: number for number, name in enumerate(self.env)}
        for atom, factor in sorted(expression.terms, key=lambda t: order.get(str(t[0]), -1)):
            assert isinstance(atom, str)
            place = self.env[atom]
            total = place * factor + total if isinstance(place, Term) else total + place * factor
        return total

    def _place(self, access: Access, point: Point) -> Integer:
        inside = {a.name for a in self.plan.whole}
        terms = tuple(term for term in access.offset.terms if term[0] not in inside)
        return self.integer(Affine(terms, access.offset.constant)) + self._shift(access, point)

    def _shift(self, access: Access, point: Point) -> int:
        """How far a place in the tile is from the tile's first place."""
        plan = self.plan
        row, *whole, vector = point
        shift = row * access.coefficient(plan.rows.axis.name) if plan.rows else 0
        for a, place in zip(plan.whole, whole, strict=True):
            shift += place * access.coefficient(a.name)
        return shift + vector * self.width * access.coefficient(plan.lane.name)

    def _number(self, index: Affine, point: Point, kind: Kind) -> Value:
        """An index as numbers, one for each lane where it changes along them."""
        place = self._place(Access("", index, ()), point)
        if isinstance(place, Term):
            place = self.b.convert(self.b.materialized(place), kind)
        step = index.coefficient(self.plan.lane.name)
        if not step:
            return place
        return self.b.lane_numbers(self.width, kind) * step + place

    def _load(self, access: Access, point: Point) -> Term:
        """A vector along the lanes, or the scalar that is the same in all of them."""
        lanes = self.width if access.coefficient(self.plan.lane.name) else 1
        pointer, place = self.pointers[access.buffer], self._place(access, point)
        if access.spread is None:
            return self.b.load(pointer, place, lanes)
        name, group = access.spread
        own = self._number_of(name, point)
        order = [lane - lane % group + own for lane in range(lanes)]
        return self.b.shuffle(self.b.load(pointer, place - own, lanes), None, order)

    def _number_of(self, name: str, point: Point) -> int:
        """The place of an axis whose loop is unrolled, or that a tile takes whole."""
        whole = [a.name for a in self.plan.whole]
        place = point[1 + whole.index(name)] if name in whole else self.env[name]
        assert isinstance(place, int), name
        return place

    def _summed_range(self, a: Axis) -> tuple[Integer, Integer]:
        size = next((chunk.size for chunk in self.plan.chunks if chunk.axis == a), None)
        if size is None:
            return 0, self.length(a)
        begin = self.env[chunk_of(a)]
        if size == 1 or (a.symbol is None and a.size % size == 0):
            return begin, begin + size
        return begin, least(self.b, begin + size, self.length(a))

    def _wide(self, value: Term) -> Term:
        return self.b.splat(value, self.width)


def chunk_of(a: Axis) -> str:
    """What `env` calls the start of the chunk at hand."""
    return f"{a.name}.chunk"
