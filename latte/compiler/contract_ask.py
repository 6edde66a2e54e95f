"""Asks for operands before they are needed: `contract_ahead` says which, here is when.

A unit's tiles share the lines of the next chunk evenly. Few lines are asked for before a tile;
many that follow one another, steadily inside the innermost loop: a processor waits for few lines at
once. So is what the next tile splats, and what it reads behind its sum, where it follows what this
one reads. What else a tile a little further along splats from is asked for before each innermost
loop.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product

from latte.compiler.contract_ahead import LINE, Ahead
from latte.compiler.contract_integers import digits, least, share
from latte.compiler.contract_place import Places, chunk_of
from latte.compiler.contract_result import additive
from latte.compiler.contract_tile import Window, window
from latte.compiler.contract_view import Access
from latte.compiler.expression import Axis, Load
from latte.compiler.rewrite import walk
from latte.compiler.values import Integer

NEIGHBOURS = 3  # places ahead whose operands are asked for
FEW = 8  # lines asked for at once before a tile
SHORT = 64  # floats in a row that are asked for at once
RUN = 256  # floats in a row that are asked for steadily; longer ones a processor foresees
UNROLL = 4  # summed places in one body: 96 multiply-adds


@dataclass(slots=True)
class Asking(Places):
    """`tile_number` counts the tiles of a unit, `block` the blocks of lanes; `begin` is where the
    next chunk's share begins in each factor."""

    tile_number: Integer = 0
    block: Integer = 0
    begin: dict[int, Integer] = field(default_factory=dict)

    def _begin_asking(self, other_part: Integer) -> None:
        """Notes where a chunk of this unit begins in each factor that is asked for ahead."""
        outside = dict(self.env)
        self.env |= {a.name: self.env.get(chunk_of(a), 0) for a in self.plan.summed}
        for number, a in enumerate(self.plan.others):
            parts = self.plan.other_parts if not number else 1
            self.env[a.name], _ = share(other_part if not number else 0, a.size, parts)
        for each in self.plan.ahead:
            factor = self.contraction.factors[each.factor]
            self.begin[each.factor] = self._place(factor, self.origin) + each.shift
        self.env = outside

    def _ask(self) -> None:
        """Asks for this tile's share of the lines that are not asked for steadily."""
        for each in self.plan.ahead:
            if self._steady(each):
                continue
            own = self._share(each)
            first = self._turn(each) * own
            with self.b.loop(first, least(self.b, first + own, each.lines)) as line:
                place = self.begin[each.factor]
                counts = tuple(count for _, count in each.runs)
                for digit, (stride, _) in zip(digits(line, counts), each.runs, strict=True):
                    place = place + digit * stride
                self._want(each, place)

    def _ask_next_line(self, width: int) -> None:
        """Where windows are taken line by line, asks for what the next line of places is the first
        to read."""
        plan, rows = self.plan, self.plan.rows
        if not plan.by_lines or rows is None:
            return
        outside = dict(self.env)
        self.env |= {a.name: 0 for a in plan.summed}
        for factor in self.contraction.factors:
            along = window(self.contraction, factor, rows.axis)
            found = (window(self.contraction, factor, a) for a in plan.others)
            lines = [w for w in found if w and w.overlaps]
            if along and lines:
                self._ask_fresh(factor, lines[-1], along, width)
        self.env = outside

    def _ask_fresh(self, factor: Access, down: Window, along: Window, width: int) -> None:
        """Asks for the lines that the next place `down` reads and this one does not, as much of
        them as `width` places `along` read."""
        beyond = down.taps if down.step > 0 else 1
        first = self._place(factor, self.origin) + beyond * abs(down.step)
        with self.b.loop(0, down.stride) as line:
            for x, vector in product(range(width * along.stride), range(self.plan.vectors)):
                place = first + line * abs(down.step) + x * abs(along.step) + vector * self.width
                self.b.prefetch(self.pointers[factor.buffer], place, 2)

    def _want(self, each: Ahead, place: Integer) -> None:
        buffer = self.contraction.factors[each.factor].buffer
        self.b.prefetch(self.pointers[buffer], place, 2)

    def _steady(self, each: Ahead) -> int:
        """How many lines to ask for in each body of the innermost loop; 0 where they are few, or
        do not follow one another."""
        outer = self.plan.summed[:-1]
        if len(each.runs) > 1 or not self.plan.summed or any(self._extent(a) > 1 for a in outer):
            return 0
        lines = self._share(each)
        return -(-lines // self._bodies) if lines > FEW else 0

    def _share(self, each: Ahead) -> int:
        """How many lines a tile asks for; where blocks of lanes read the same, they share it."""
        return -(-each.lines // (self.plan.tiles * (self.plan.blocks if each.shared else 1)))

    def _turn(self, each: Ahead) -> Integer:
        """The number of this tile among those that share the lines."""
        return self.tile_number + (self.block * self.plan.tiles if each.shared else 0)

    @property
    def _bodies(self) -> int:
        """How often the body of the innermost loop runs for a tile."""
        return max(1, self._extent(self.plan.summed[-1]) // UNROLL)

    def _extent(self, a: Axis) -> int:
        """How many places of a summed axis a chunk has, at most."""
        return next((chunk.size for chunk in self.plan.chunks if chunk.axis == a), a.size)

    def _ask_steadily(self, place: Integer, begin: Integer) -> None:
        """Asks for the lines that fall to the body at `place` of a loop from `begin` on."""
        for each in self.plan.ahead:
            count = self._steady(each)
            for k in range(count):
                start = self.begin[each.factor] + self._turn(each) * (count * self._bodies * LINE)
                ahead = start + (place - begin) * (count * LINE // UNROLL) + k * LINE
                self._want(each, ahead)

    def _ask_behind(self, place: Integer, begin: Integer) -> None:
        """Asks for what the next tile reads behind its sum, as far as it falls to this body."""
        rows = self.plan.rows
        width = 0 if rows is None else rows.base + (rows.extra > 0)
        lines = width * self.plan.vectors * self.width // LINE
        each = -(-lines // self._bodies)
        for access in self._behind():
            if self._follows(access):
                next_tile = self._place(access, self.origin) + lines * LINE
                ahead = next_tile + (place - begin) * (each * LINE // UNROLL)
                for line in range(each):
                    self.b.prefetch(self.pointers[access.buffer], ahead + line * LINE)

    def _behind(self) -> list[Access]:
        """What is read along the lanes behind the sum, each place once."""
        started = additive(self.contraction.result) is not None
        first = {n for n in walk(self.contraction.result) if isinstance(n, Load)} if started else ()
        return [
            access for load, access in self.contraction.loads
            if load not in first and access.coefficient(self.plan.lane.name)
        ]  # fmt: skip

    def _follows(self, access: Access) -> bool:
        """Whether a sum in one loop is long enough to ask for the next tile's places, which follow
        this tile's."""
        plan, loops = self.plan, len(self.plan.summed)
        if plan.rows is None or plan.whole or plan.chunks or loops != 1:
            return False
        long = self._extent(plan.summed[0]) >= UNROLL
        return long and access.coefficient(plan.rows.axis.name) == plan.vectors * self.width

    def _ask_next_rows(self, place: Integer, begin: Integer) -> None:
        """Asks for what the next tile splats, where it follows what this one does, as far as it
        falls to this body."""
        rows, summed = self.plan.rows, self.plan.summed[-1]
        width = 0 if rows is None else rows.base + (rows.extra > 0)
        for factor in self._splats():
            if rows is not None and self._in_one_run(factor):
                lines = width * factor.coefficient(rows.axis.name) // LINE
                each = -(-lines // self._bodies)
                self.env[summed.name] = begin
                next_tile = self._place(factor, self.origin) + lines * LINE
                ahead = next_tile + (place - begin) * (each * LINE // UNROLL)
                for line in range(each):
                    self.b.prefetch(self.pointers[factor.buffer], ahead + line * LINE, 2)

    def _in_one_run(self, factor: Access) -> bool:
        """Whether a tile splats whole lines that follow one another, as the next tile's do."""
        plan, last = self.plan, self.plan.summed[-1]
        if plan.rows is None or plan.whole or plan.chunks or len(plan.summed) > 1:
            return False
        step = factor.coefficient(plan.rows.axis.name)
        lines = LINE < last.size <= RUN and last.size % LINE == 0 == step % LINE
        follow = factor.coefficient(last.name) == 1 and last.size <= step <= last.size * 5 // 4
        return lines and follow and not self._far_apart

    def _prefetch_neighbours(self, a: Axis) -> None:
        """Asks for the lines that a tile a little further along will splat from: the innermost
        summed axis `a` then reads them to their end."""
        rows, others = self.plan.rows, self.plan.others if self._far_apart else ()
        if rows is None:
            return
        self.env[a.name], _ = self._summed_range(a)
        short = range(0, a.size if a.size <= SHORT and not others else 1, LINE)
        for factor in self._splats():
            if factor.coefficient(a.name) == 1 and not self._in_one_run(factor):
                step = others[-1] if others else rows.axis
                places = NEIGHBOURS if others else rows.base
                ahead = factor.coefficient(step.name) * places
                for row, line in product(range(rows.base), short):
                    place = self._place(factor, (row, *self.origin[1:])) + ahead + line
                    self.b.prefetch(self.pointers[factor.buffer], place, 2)

    def _prefetch_next_rows(self) -> None:
        """Asks for the line behind the one that holds a tile's rows, where no chunk keeps it."""
        rows, asked = self.plan.rows, {each.factor for each in self.plan.ahead}
        if rows is None or self._far_apart or self.plan.chunks:
            return
        for number, factor in enumerate(self.contraction.factors):
            along = factor in self._splats() and factor.coefficient(rows.axis.name) == 1
            if along and number not in asked:
                place = self._place(factor, self.origin) + LINE
                self.b.prefetch(self.pointers[factor.buffer], place)

    @property
    def _far_apart(self) -> bool:
        """Whether another loop is between one tile of rows and the next."""
        return bool(self.plan.others) and not self.plan.rows_inside

    def _splats(self) -> list[Access]:
        lane = self.plan.lane.name
        return [f for f in self.contraction.factors if not f.coefficient(lane)]
