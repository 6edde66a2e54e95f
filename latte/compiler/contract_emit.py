"""Vector code of a planned contraction: loops around one register tile.

In: a Contraction and its Plan.  Out: a Function whose units run lane blocks and parts of the tiles.

    for unit: for chunk: for tile: for others:
        accumulators = start, or what the chunk before left in the target
        for summed, within chunk and guards:
            a vector of each lane factor, a splat of the others, one fma for each accumulator
        target = accumulators, after the last chunk what `result` makes of them
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import product

from latte.compiler.affine import Affine
from latte.compiler.builder import Accumulator, Builder
from latte.compiler.contract_access import known
from latte.compiler.contract_ask import UNROLL
from latte.compiler.contract_integers import difference, digits, least, less, most, share
from latte.compiler.contract_near import Near
from latte.compiler.contract_parts import RESULT, SUM
from latte.compiler.contract_place import Point, chunk_of
from latte.compiler.contract_plan import Plan
from latte.compiler.contract_result import Registers, additive
from latte.compiler.contract_spread import spread_axis
from latte.compiler.contract_tile import Tiles
from latte.compiler.contract_view import Access, Contraction, Output
from latte.compiler.expression import Axis, Expression, Load, Position, Random, Scalar
from latte.compiler.lower_random import drawn, number_kind
from latte.compiler.lower_scope import Value
from latte.compiler.values import Integer, Term
from latte.compiler.vector import (
    BYTES,
    FIRST_SCALAR,
    Function,
    Type,
)


def emit(
    name: str, contraction: Contraction, plan: Plan, width: int, scalars: tuple[str, ...],
    around: tuple[Axis, ...], kind: type[Nest] | None = None,
) -> tuple[Function, tuple[str, ...]]:  # fmt: skip
    """The function, and its buffers in the order of its pointers. `scalars` are the program's;
    `around` the axes of the loops it is in; `kind` writes other tiles than the usual ones."""
    b = Builder(name)
    names = tuple(dict.fromkeys(access.buffer for access in contraction.accesses))
    written = {output.target.buffer for output in contraction.outputs}
    pointers = {
        buffer: b.pointer(f"b{number}", readonly=buffer not in written)
        for number, buffer in enumerate(names)
    }
    nest = (kind or Nest)(b, contraction, plan, width, pointers, scalars, around)
    with b.loop(b.first, b.last) as unit:
        nest.unit(unit)
    return b.function(), names


@dataclass(slots=True)
class Nest(Near):
    """The loops. Lanes are places of the target; `contract_dot` has the other kind."""

    waiting: list[Affine] = field(default_factory=list)
    first_chunk: list[Term] = field(default_factory=list)
    last_chunk: list[Term] = field(default_factory=list)

    # Loops

    def unit(self, unit: Integer) -> None:
        """Decodes a unit's number, innermost part first, and runs it."""
        plan = self.plan
        self.env = {a.name: self.b.place(depth) for depth, a in enumerate(self.around)}
        self.waiting = list(self.contraction.where)
        sizes = (*(a.size for a in plan.outer), plan.blocks, plan.row_parts, plan.other_parts)
        *outer, self.block, row_part, other_part = digits(unit, sizes)
        self.env[plan.lane.name] = self.block * (plan.vectors * self.width)
        for a, place in zip(plan.outer, outer, strict=True):
            self.env[a.name] = place
        with ExitStack() as stack:
            for a in (plan.lane, *plan.outer):
                if a.symbol:
                    stack.enter_context(self.b.when(less(self.env[a.name], self.length(a))))
            self._chunks(row_part, other_part)

    def _chunks(self, row_part: Integer, other_part: Integer) -> None:
        self.first_chunk, self.last_chunk = [], []
        with ExitStack() as stack:
            for chunk in self.plan.chunks:
                end = self.length(chunk.axis)
                start = stack.enter_context(self.b.loop(0, end, chunk.size))
                self.env[chunk_of(chunk.axis)] = start
                if isinstance(start, Term):
                    self.first_chunk.append(start.eq(0))
                    self.last_chunk.append(start + chunk.size >= end)
            self._tiles(row_part, other_part)

    def _tiles(self, row_part: Integer, other_part: Integer) -> None:
        rows = self.plan.rows
        self.tile_number = 0
        self._copy_chunk()
        if rows is not None:
            begin, _ = share(row_part, rows.count, self.plan.row_parts)
            self.env[rows.axis.name] = self._tile_start(rows, begin)
        self._begin_asking(other_part)
        if self.plan.rows_inside:
            self._others(other_part, lambda: self._rows(row_part, self._asked_tile))
        else:
            self._rows(row_part, lambda w: self._others(other_part, lambda: self._asked_tile(w)))

    def _asked_tile(self, width: int) -> None:
        self._ask()
        self._ask_next_line(width)
        self._tile(width)

    def _rows(self, part: Integer, body: Callable[[int], None]) -> None:
        rows, parts, number = self.plan.rows, self.plan.row_parts, self.tile_number
        if rows is None:
            body(1)
            return
        begin, end = share(part, rows.count, parts)
        with self.b.loop(begin, end) as tile:
            start = self._tile_start(rows, tile)
            self.tile_number = number * self.plan.row_tiles + (tile - begin)
            with ExitStack() as stack:
                if rows.axis.symbol:
                    stack.enter_context(self.b.when(less(start, self.length(rows.axis))))
                self.env[rows.axis.name] = start
                self._widths(rows, tile, body)
        self.tile_number = number

    def _tile_start(self, rows: Tiles, tile: Integer) -> Integer:
        if not rows.extra:
            return tile * rows.base
        if isinstance(tile, int):
            return tile * rows.base + min(tile, rows.extra)
        return tile * rows.base + self.b.minimum(tile, rows.extra)

    def _widths(self, rows: Tiles, tile: Integer, body: Callable[[int], None]) -> None:
        if not rows.extra or isinstance(tile, int):
            wide = isinstance(tile, int) and tile < rows.extra
            body(rows.base + wide)
            return
        with self.b.when(tile < rows.extra):
            body(rows.base + 1)
        with self.b.otherwise():
            body(rows.base)

    def _others(self, part: Integer, body: Callable[[], None]) -> None:
        outside, waiting, tile = dict(self.env), list(self.waiting), self.tile_number
        counts = dict(self.plan.others_counts)
        with ExitStack() as stack:
            for number, a in enumerate(self.plan.others):
                parts = self.plan.other_parts if not number else 1
                first, end = share(part if not number else 0, a.size, parts)
                if a.symbol:
                    end = least(self.b, end, self.length(a))
                begin, end = self._open_guards(a, first, end)
                self.env[a.name] = stack.enter_context(self.b.loop(begin, end))
                self.tile_number = self.tile_number * counts[a.name] + (self.env[a.name] - first)
            body()
        self.env, self.waiting, self.tile_number = outside, waiting, tile

    def _open_guards(self, a: Axis, begin: Integer, end: Integer) -> tuple[Integer, Integer]:
        """A loop's range within the guards that no inner loop can bound."""
        later = self._later(a)
        own = [guard for guard in self.waiting if a.name in guard.axes()]
        own = [guard for guard in own if not guard.axes() & later]
        self.waiting = [guard for guard in self.waiting if guard not in own]
        for guard in own:
            begin, end = self._bound(guard, a.name, begin, end)
        return begin, end

    def _later(self, a: Axis) -> set[str]:
        """The axes whose loops are inside this one."""
        order = (*self.plan.others, *self.plan.summed)
        return {b.name for b in order[order.index(a) + 1 :]}

    def _bound(
        self, guard: Affine, name: str, begin: Integer, end: Integer
    ) -> tuple[Integer, Integer]:
        """The places of an axis where `factor * place + rest >= 0`."""
        factor = guard.coefficient(name)
        rest = self.integer(guard - Affine(((name, factor),), 0))
        if factor > 0:
            return most(self.b, begin, -(rest // factor)), end
        return begin, least(self.b, end, rest // -factor + 1)

    def _summed(self, body: Callable[[], None]) -> None:
        """Opens the summed loops; a chunk's loop covers its places only."""
        outside, waiting = dict(self.env), self.waiting
        inner = {a.name for a in self.plan.summed}
        guards = self.contraction.guards
        self.waiting = [guard for guard in guards if guard.axes() & inner]
        whole = [self._holds(guard) for guard in guards if not guard.axes() & inner]
        with ExitStack() as stack:
            stack.enter_context(self.b.when(self._together(whole)))
            loops = tuple(a for a in self.plan.summed if a is not self.plan.lane)
            if not loops:
                body()
            for a in loops[:-1]:
                begin, end = self._open_guards(a, *self._summed_range(a))
                self.env[a.name] = stack.enter_context(self.b.loop(begin, end))
            for a in loops[-1:]:
                self._prefetch_neighbours(a)
                self._unrolled(a, *self._open_guards(a, *self._summed_range(a)), body)
        self.env, self.waiting = outside, waiting

    def _holds(self, guard: Affine) -> Term:
        index = self.integer(guard)
        return self.b.compare("ge", index, 0)

    def _unrolled(self, a: Axis, begin: Integer, end: Integer, body: Callable[[], None]) -> None:
        """The innermost loop, several places at a time: a long series of short branches is
        foreseen badly. The rest, if there may be one, follows one by one."""
        if a.name == spread_axis(self.contraction):
            for number in range(a.size):
                self.env[a.name] = number
                body()
            return
        count = most(self.b, 0, difference(end, begin))
        whole = count - count % UNROLL
        middle, rest = begin + whole, count - whole
        parts = ((begin, middle, UNROLL, whole), (middle, end, 1, rest))
        for start, stop, step, places in parts:
            if isinstance(places, int) and places == 0:
                continue
            with self.b.loop(start, stop, step, guarded=not isinstance(count, int)) as place:
                if step == UNROLL:
                    self._ask_steadily(place, begin)
                    self._ask_behind(place, begin)
                    self._ask_next_rows(place, begin)
                for number in range(step):
                    self.env[a.name] = place + number
                    body()

    # The register tile

    def _tile(self, width: int) -> None:
        plan = self.plan
        wholes = [range(a.size) for a in plan.whole]
        points = list(product(range(width), *wholes, range(plan.vectors)))
        type_ = Type("f32", self.width)
        tile = {point: self.b.variable(type_) for point in points}
        self._start_tile(tile)
        self._summed(lambda: self._multiply(tile))
        self._finish_tile(tile)

    def _start_tile(self, tile: dict[Point, Accumulator]) -> None:
        first = self._together(self.first_chunk)
        with self.b.when(first):
            self._fill(tile, self._initial)
        if first is not True:
            with self.b.otherwise():
                self._fill(tile, self._unfinished)
        with self.b.when(self._together(self.last_chunk)):
            self._ask_ahead(tile)

    def _ask_ahead(self, tile: dict[Point, Accumulator]) -> None:
        """Asks for what will follow the sum: it is read once, and seldom near in memory."""
        written = {output.target.buffer for output in self.contraction.outputs}
        for access in self._behind():
            if not self._follows(access):
                for shift in dict.fromkeys(self._shift(access, point) for point in tile):
                    place = self._place(access, self.origin) + shift
                    pointer = self.pointers[access.buffer]
                    self.b.prefetch(pointer, place, write=access.buffer in written)

    def _fill(self, tile: dict[Point, Accumulator], value: Callable[[Point], Term]) -> None:
        for point, accumulator in tile.items():
            accumulator.set(value(point))

    def _unfinished(self, point: Point) -> Term:
        """What the chunk before left."""
        assert self.contraction.partial is not None
        return self._load(self.contraction.partial, point)

    def _initial(self, point: Point) -> Term:
        """What an accumulator starts from: the terms beside the sum, else 0."""
        terms = additive(self.contraction.result)
        values = [self._at(point).real(term, self.width) for term in terms or ()]
        if self.contraction.add and terms is not None:
            values.append(self._load(self.contraction.target, point))
        if not values:
            return self.b.splat(0.0, self.width)
        start = values[0]
        for value in values[1:]:
            start = start + value
        return start

    def _multiply(self, tile: dict[Point, Accumulator]) -> None:
        self._prefetch_next_rows()
        loaded: dict[tuple[int, int], Term] = {}
        for point, accumulator in tile.items():
            factors = []
            for number, factor in enumerate(self.contraction.factors):
                key = (number, self._shift(factor, point))
                if key not in loaded:
                    loaded[key] = self._load(factor, point)
                factors.append(loaded[key])
            *others, last = sorted(factors, key=lambda term: term.type.lanes)
            value = others[0]
            for other in others[1:]:
                value = value * other
            accumulator.set(self.b.fma(self._wide(value), last, accumulator.value))

    def _finish_tile(self, tile: dict[Point, Accumulator]) -> None:
        partial = self.contraction.partial
        last = self._together(self.last_chunk)
        if last is True or self._plain:
            self._finish(tile)
            return
        assert partial is not None
        with self.b.when(last):
            self._finish(tile)
        with self.b.otherwise():
            for point, accumulator in tile.items():
                self._store(partial, point, accumulator.value)

    @property
    def _plain(self) -> bool:
        """Whether the accumulators are stored as they are."""
        values = [output.value for output in self.contraction.outputs]
        return values == [RESULT] and additive(self.contraction.result) is not None

    def _finish(self, tile: dict[Point, Accumulator]) -> None:
        """All outputs of all places; what a place reads it reads before it writes."""
        for point, accumulator in tile.items():
            at = self._at(point)
            at.known[SUM] = accumulator.value
            started = additive(self.contraction.result) is not None
            at.known[RESULT] = at.value(SUM if started else self.contraction.result)
            outputs = self.contraction.outputs
            made = [self._made(output, at, point, started) for output in outputs]
            for output, value in zip(outputs, made, strict=True):
                self._store(output.target, point, value)

    def _made(self, output: Output, at: Registers, point: Point, started: bool) -> Term:
        value = at.real(output.value, self.width)
        add = output.add and not started
        return value + self._load(output.target, point) if add else value

    def _store(self, target: Access, point: Point, value: Term) -> None:
        past = self.plan.passing
        alignment = BYTES["f32"] * (self.width if past else 1)
        pointer, place = self.pointers[target.buffer], self._place(target, point)
        self.b.store(value, pointer, place, alignment=alignment, nontemporal=past)

    def _at(self, point: Point) -> Registers:
        """Expressions at a place of the tile."""

        def leaf(node: Expression) -> Value:
            match node:
                case Load():
                    return self._load(dict(self.contraction.loads)[node], point)
                case Scalar(name):
                    return self.b.scalar(FIRST_SCALAR + self.scalars.index(name))
                case Position(index):
                    return self._number(index, point, "i32")
                case Random(kind, stream, index) if index is not None:
                    most = index.bounds(known(index, self.contraction.ranges))[1]
                    place = self._number(index, point, number_kind(index, most))
                    return drawn(self.b, kind, stream, place, most)
                case _:
                    raise AssertionError(node)

        return Registers(self.b, leaf, {})

    def _together(self, conditions: list[Term]) -> Term | bool:
        if not conditions:
            return True
        total = conditions[0]
        for condition in conditions[1:]:
            total = total & condition
        return total
