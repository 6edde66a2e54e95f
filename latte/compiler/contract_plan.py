"""How a contraction is computed: lanes, register tile, order of loops, blocks, parallel units.

In: a Contraction, the Machine.  Out: a Plan, which changes no bit of the result except by the
order in which a sum is cut into chunks (a function of shapes and machine alone); None where no
output axis is contiguous, so that there are no lanes.

    conv.out [n, f: 64, y, x]  ->  lanes f in blocks of 4 vectors, rows n in tiles of 6 and 5,
                                   chunks of 16 c, loops y, x, then ky, kx, c summed in registers

The rules were measured; docs/decisions/0005-contractions.md has the figures.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from math import prod

from latte.compiler.contract_ahead import LINE, Ahead, ahead, span
from latte.compiler.contract_chunks import (
    BYTES,
    Chunk,
    cut_rows,
    cut_sum,
    cuts,
    cuttable,
    slides,
    whole_lines,
)
from latte.compiler.contract_spread import spread_axis
from latte.compiler.contract_tile import (
    Tile,
    Tiles,
    best_tile,
    guarded,
    is_batch,
    lanes_in_all,
    least_time,
    overlapping,
    vectors_of,
)
from latte.compiler.contract_units import ENOUGH, divide
from latte.compiler.contract_view import Access, Contraction
from latte.compiler.expression import Axis
from latte.compiler.machine import Machine
from latte.compiler.once import once

STREAMED = 32  # tiles for which a lane factor is read, below which memory is the limit
USUAL = 2  # cores for which sums are cut: how many there are must not change a result
ASKED = 4  # multiply-adds of a tile for each line that it asks for, below which asking is the work
COPIED = 32  # tiles that pay for a copy of what they all read
PASSING = 64 << 20  # bytes of a target that no cache keeps until it is read
PASSING_STREAMS = 8  # second caches, from whose size on stores would wait for memory
AGAIN, AGAIN_NEAR = 24.0, 5.0  # places in the time in which a unit's chunk comes into the caches


@dataclass(frozen=True, slots=True)
class Plan:
    """Loops from the outside: units (`outer`, lane block, part of the tiles, part of the first of
    `others`), chunks, tiles, others, then `summed` with one register tile of accumulators:
    tile's width x all of `whole` x `vectors`. `ahead` says what to ask for early; `passing` results
    are stored past the caches; with `rows_inside` tiles of rows go on before the others do; `near`
    is the number of a factor whose chunks are copied into one run of memory."""

    lane: Axis
    vectors: int
    blocks: int
    rows: Tiles | None
    whole: tuple[Axis, ...]
    outer: tuple[Axis, ...]
    others: tuple[Axis, ...]
    row_parts: int
    other_parts: int
    chunks: tuple[Chunk, ...]
    summed: tuple[Axis, ...]
    ahead: tuple[Ahead, ...] = ()
    passing: bool = False
    rows_inside: bool = False
    by_lines: bool = False
    near: int | None = None

    @property
    def summed_lanes(self) -> bool:
        """Whether the lanes are places of the sum."""
        return self.lane in self.summed

    @property
    def units(self) -> int:
        """How many independent pieces of work there are."""
        return self.blocks * prod(a.size for a in self.outer) * self.row_parts * self.other_parts

    @property
    def tiles(self) -> int:
        """How many tiles a unit has in each chunk, at most."""
        return prod(count for _, count in self.others_counts) * self.row_tiles

    @property
    def row_tiles(self) -> int:
        """How many tiles along the rows a unit has, at most."""
        return -(-self.rows.count // self.row_parts) if self.rows else 1

    @property
    def others_counts(self) -> tuple[tuple[str, int], ...]:
        """How many places of each of `others` a unit has, at most."""
        parts = (self.other_parts, *(1 for _ in self.others[1:]))
        return tuple(
            (a.name, -(-a.size // part)) for a, part in zip(self.others, parts, strict=False)
        )


@once
def plan(contraction: Contraction, machine: Machine) -> Plan | None:
    """The schedule of a contraction, or None where it has no lanes."""
    lane = _lane(contraction, machine)
    if lane is None:
        return _summed_plan(contraction, machine)
    return scheduled(contraction, lane, best_tile(contraction, lane, machine), machine)


def cycles(contraction: Contraction, machine: Machine) -> float | None:
    """About how many cycles a multiply-add of vectors takes; None where lanes would be summed."""
    lane = _lane(contraction, machine)
    return None if lane is None else least_time(contraction, lane, machine)


def scheduled(contraction: Contraction, lane: Axis, tile: Tile, machine: Machine) -> Plan | None:
    """The schedule around a register tile, or None where a unit would have no loop that a
    condition could bound."""
    vectors, rows, whole = tile
    taken = {lane.name, *(a.name for a in whole), rows.axis.name if rows else ""}
    rest = tuple(a for a in contraction.axes if a.name not in taken)
    by_lines = _by_lines(contraction, lane, rows, rest)
    outer = tuple(a for a in rest if is_batch(contraction, a.name, lane.name) and not by_lines)
    others = tuple(a for a in rest if a not in outer)
    others = tuple(sorted(others, key=lambda a: -contraction.target.coefficient(a.name)))
    if _unbound(contraction, {lane.name, *taken, *(a.name for a in outer)}):
        return None
    blocks = -(-vectors_of(lane, machine) // vectors)
    fixed = blocks * prod(a.size for a in outer)
    place = vectors * machine.width * BYTES  # of the streamed factor, for a place of the sum
    cached = machine.l2 / 3 / place if cuts(contraction, lane, place, False, machine) else 1e12
    cost = AGAIN_NEAR if whole_lines(contraction, lane) else AGAIN
    single = rows is not None and is_batch(contraction, rows.axis.name, lane.name)
    parts = partial(_parts, fixed, rows, others, cached, cost, single)
    row_parts, other_parts = parts(machine)
    again = rows.count if rows and not single else 1
    streamed = reused(contraction, lane.name)
    by = spread_axis(contraction)
    order = {a.name: (a.name == by, -abs(streamed.coefficient(a.name))) for a in contraction.summed}
    summed = tuple(sorted(contraction.summed, key=lambda a: order[a.name]))
    places = again * prod(a.size for a in others)
    streams = places // prod(parts(replace(machine, cores=USUAL))) < STREAMED
    cut = places > 1 and cuttable(contraction) and cuts(contraction, lane, place, streams, machine)
    chunks = cut_sum(contraction, lane, summed, place, streams, machine) if cut else ()
    chosen = Plan(
        lane, vectors, blocks, rows, whole, outer, others, row_parts, other_parts, chunks, summed,
        (), not chunks and _passes(contraction, lane, machine),
        by_lines or _rows_inside(contraction, lane, rows, others),
        by_lines,
    )  # fmt: skip
    chosen = replace(chosen, near=_copied(contraction, chosen, machine))
    return replace(chosen, ahead=asked_ahead(contraction, chosen, machine))


def _copied(contraction: Contraction, chosen: Plan, machine: Machine) -> int | None:
    """The factor that all tiles read again, where its places do not follow one another and enough
    tiles use a copy."""
    streamed, place = reused(contraction, chosen.lane.name), chosen.vectors * machine.width
    own = [a for a in chosen.summed if streamed.coefficient(a.name)]
    sizes = {a.name: a.size for a in own} | {c.axis.name: c.size for c in chosen.chunks}
    if not chosen.chunks or not own or streamed.coefficient(own[-1].name) == place:
        return None
    tiles = (*chosen.others, *chosen.whole, *((chosen.rows.axis,) if chosen.rows else ()))
    if streamed.spread or any(streamed.coefficient(a.name) for a in tiles):
        return None
    room = prod(sizes[a.name] for a in own) * place * BYTES
    fits = room <= machine.l1 and chosen.tiles >= COPIED
    return contraction.factors.index(streamed) if fits else None


def asked_ahead(contraction: Contraction, chosen: Plan, machine: Machine) -> tuple[Ahead, ...]:
    """What to ask for while the innermost chunk, or the last of the outer loops, goes on."""
    whole = {a.name: a.size for a in (*contraction.axes, *contraction.summed)}
    sizes = {name: count for name, count in whole.items() if name not in _names(chosen.outer)}
    sizes |= {chunk.axis.name: chunk.size for chunk in chosen.chunks}
    sizes |= dict(chosen.others_counts) | {chosen.lane.name: chosen.vectors * machine.width}
    if chosen.rows:
        sizes[chosen.rows.axis.name] = -(-chosen.rows.axis.size // chosen.row_parts)
    steps = [(chunk.axis, chunk.size) for chunk in chosen.chunks]
    if not steps and chosen.row_parts * chosen.other_parts == 1:
        steps = [(a, 1) for a in chosen.outer]
    summed = frozenset(_names(contraction.summed))
    found = ahead(contraction.factors, steps[-1], sizes, whole, summed, machine) if steps else ()
    owned = {n for n, f in enumerate(contraction.factors) if f.coefficient(chosen.lane.name)}
    shared = not chosen.chunks
    found = tuple(replace(each, shared=shared and each.factor not in owned) for each in found)
    lines = sum(each.lines / (chosen.blocks if each.shared else 1) for each in found)
    width = chosen.rows.base if chosen.rows else 1
    own = prod(sizes[a.name] for a in (*chosen.whole, *chosen.summed)) * width * chosen.vectors
    return found if lines * ASKED <= own * chosen.tiles else ()


def _by_lines(
    contraction: Contraction, lane: Axis, rows: Tiles | None, rest: tuple[Axis, ...]
) -> bool:
    """Whether windows on operands that all have the lanes are taken in the order in which they are
    stored, all lanes of a row of places before the next: where that leaves enough for units."""
    if rows is None or not lanes_in_all(contraction, lane.name):
        return False
    most = rows.count * max((a.size for a in rest), default=1)
    return bool(overlapping(contraction, rows.axis)) and most >= ENOUGH


def _rows_inside(
    contraction: Contraction, lane: Axis, rows: Tiles | None, others: tuple[Axis, ...]
) -> bool:
    """Whether rows of splat factors lie closer together than the places of all other axes, so that
    what a tile leaves over of a line is used by the next one. Where a window slides along another
    axis, its places share more than tiles do, unless those go on within the same lines."""
    if rows is None:
        return False
    splats = [factor for factor in contraction.factors if not factor.coefficient(lane.name)]
    steps = [splat.coefficient(rows.axis.name) for splat in splats]
    shared = whole_lines(contraction, lane) and max(steps) < LINE
    if any(slides(contraction, a) for a in others) and not shared:
        return False
    return all(
        0 < step < splat.coefficient(a.name)
        for splat, step in zip(splats, steps, strict=True)
        for a in others
        if splat.coefficient(a.name)
    )


def _names(axes: tuple[Axis, ...]) -> set[str]:
    return {a.name for a in axes}


def _summed_plan(contraction: Contraction, machine: Machine) -> Plan | None:
    """The schedule with lanes along a summed axis, which is contiguous in every factor."""
    lanes = [a for a in contraction.summed if _is_summed_lane(contraction, a, machine)]
    lane = max(lanes, key=lambda a: a.size, default=None)
    if lane is None or contraction.where:
        return None
    _, rows, whole = best_tile(contraction, lane, machine)
    taken = {*(a.name for a in whole), rows.axis.name if rows else ""}
    rest = tuple(a for a in contraction.axes if a.name not in taken)
    inside = _read_again(contraction, rows, rest, machine)
    rank = {a.name: (a in inside, -contraction.target.coefficient(a.name)) for a in rest}
    others = tuple(sorted(rest, key=lambda a: rank[a.name]))
    shared = () if others and others[0] in inside else others
    parts = partial(_parts, 1, rows, shared, 1e12, AGAIN_NEAR, False)
    row_parts, other_parts = parts(machine)
    usual = parts(replace(machine, cores=USUAL))[1]
    summed = (*(a for a in contraction.summed if a is not lane), lane)
    again = prod(a.size for a in others) // usual > 1 and cuttable(contraction)
    held = (rows.base + 1 if rows else 1) * lane.size * BYTES
    near = machine.l2 // 8 if inside else machine.l1 // 2
    chunks = cut_rows(summed[:-1], near // held) if again else ()
    return Plan(lane, 1, 1, rows, whole, (), others, row_parts, other_parts, chunks, summed)


def _read_again(
    contraction: Contraction, rows: Tiles | None, rest: tuple[Axis, ...], machine: Machine
) -> tuple[Axis, ...]:
    """Axes at each of whose places all of the one factor is read that no cache holds, where its own
    axes are enough for units."""
    sizes = {a.name: a.size for a in (*contraction.axes, *contraction.summed)}
    large = [factor for factor in contraction.factors if span(factor, sizes) > machine.l2]
    if len(large) != 1 or rows is None or not large[0].coefficient(rows.axis.name):
        return ()
    found = tuple(a for a in rest if not large[0].coefficient(a.name))
    units = rows.count * prod(a.size for a in rest if a not in found)
    return found if units >= ENOUGH else ()


def _is_summed_lane(contraction: Contraction, a: Axis, machine: Machine) -> bool:
    if a.symbol == "t" or guarded(contraction, a.name) or 2 * a.size < machine.width:
        return False
    return all(factor.coefficient(a.name) == 1 for factor in contraction.factors)


def _passes(contraction: Contraction, lane: Axis, machine: Machine) -> bool:
    """Whether a target is too large to be found in a cache again, or made faster than its lines
    could be read before they are written, and its vectors are aligned."""
    size = prod(a.size for a in contraction.axes) * BYTES
    offsets = [output.target.offset for output in contraction.outputs]
    steps = [k for offset in offsets for _, k in offset.terms if k != 1]
    steps += [offset.constant for offset in offsets]
    aligned = not any(step % machine.width for step in steps)
    read = {load.buffer for load, _ in contraction.loads}
    fresh = not any(o.add or o.target.buffer in read for o in contraction.outputs)
    streams = lanes_in_all(contraction, lane.name)
    least = min(PASSING, PASSING_STREAMS * machine.l2) if streams else PASSING
    return size >= least and aligned and fresh


def reused(contraction: Contraction, lane: str) -> Access:
    """The factor that has the lanes and depends on the fewest other output axes."""
    own = [factor for factor in contraction.factors if factor.coefficient(lane)]
    return min(own, key=lambda f: sum(bool(f.coefficient(a.name)) for a in contraction.axes))


def _lane(contraction: Contraction, machine: Machine) -> Axis | None:
    """The output axis whose places are neighbours in the target and in a factor."""
    found = [a for a in contraction.axes if _is_lane(contraction, a, machine)]
    return max(found, key=lambda a: a.size, default=None)


def _is_lane(contraction: Contraction, a: Axis, machine: Machine) -> bool:
    if any(output.target.coefficient(a.name) != 1 for output in contraction.outputs):
        return False
    if guarded(contraction, a.name):
        return False
    if not any(factor.coefficient(a.name) for factor in contraction.factors):
        return False
    whole = -(-a.size // machine.width) * machine.width
    return all(
        access.coefficient(a.name) == 0
        or (access.coefficient(a.name) == 1 and dict(access.room)[a.name] >= whole)
        for access in contraction.accesses
    )


def _unbound(contraction: Contraction, outside: set[str]) -> bool:
    """Whether a condition on the target has no loop inside a unit that it could bound."""
    return any(guard.axes() <= outside for guard in contraction.where)


def _parts(
    fixed: int,
    rows: Tiles | None,
    others: tuple[Axis, ...],
    reloaded: float,
    again: float,
    single: bool,
    machine: Machine,
) -> tuple[int, int]:
    """Into how many units the tiles and the first other axis are divided; into `single` tiles
    where no two of them share what they read."""
    if rows and single:
        fixed *= rows.count
        return rows.count, _parts(fixed, None, others, reloaded, again, False, machine)[1]
    counts = rows.count if rows else 1, others[0].size if others else 1
    width = (rows.base + (rows.extra > 0)) if rows else 1
    return divide(fixed, counts, width * prod(a.size for a in others[1:]), reloaded, again, machine)
