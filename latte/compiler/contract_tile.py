"""Which register tile a contraction gets: vectors of lanes, rows, and axes taken whole.

In: a Contraction and its lanes.  Out: the tile with the least time for one multiply-add, by what
loops alone in the first cache were measured to take.

    lanes f: 64, rows n: 64    ->   4 vectors, n in tiles of 6 and 5: 24 accumulators, 10 loads
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod

from latte.compiler.contract_spread import spread_axis
from latte.compiler.contract_view import Access, Contraction
from latte.compiler.expression import Axis
from latte.compiler.machine import Machine

LATENCY = 4  # cycles from one fma to the next on the same accumulator; two start in a cycle
TOGETHER = 1.1  # cycles that loads take from multiply-adds, however few they are
MOST_VECTORS = 6
STREAM = 1.0  # cycles to begin with lines that lie elsewhere, where each operand has lanes
STREAMS = 4  # blocks of lanes read side by side: one alone is waited for, more come no sooner


@dataclass(frozen=True, slots=True)
class Tiles:
    """An axis cut into tiles of two widths: tile k has `base + (k < extra)` places."""

    axis: Axis
    count: int
    base: int
    extra: int

    @property
    def widths(self) -> tuple[tuple[int, int], ...]:
        """Each width that occurs with the number of its tiles, wider first."""
        both = ((self.base + 1, self.extra), (self.base, self.count - self.extra))
        return tuple((width, count) for width, count in both if count)


Tile = tuple[int, Tiles | None, tuple[Axis, ...]]  # vectors, rows, whole axes


def best_tile(contraction: Contraction, lane: Axis, machine: Machine) -> Tile:
    """The register tile with the least time for one multiply-add."""
    return min(tile_options(contraction, lane, machine), key=lambda option: option[0])[1]


def least_time(contraction: Contraction, lane: Axis, machine: Machine) -> float:
    """About how many cycles a vector multiply-add takes with the best tile."""
    return min(time for time, _ in tile_options(contraction, lane, machine))


def tile_options(
    contraction: Contraction, lane: Axis, machine: Machine
) -> Iterator[tuple[float, Tile]]:
    """Register tiles with about how many cycles they take for one vector multiply-add."""
    summed = lane in contraction.summed
    free = [
        a for a in contraction.axes if a is not lane and not guarded(contraction, a.name)
        and (summed or not is_batch(contraction, a.name, lane.name))
    ]  # fmt: skip
    limit = machine.registers - (1 if machine.fma else 2)
    count = vectors_of(lane, machine)
    for vectors in _blocks(contraction, lane, machine):
        by = tuple(a for a in free if a.name == spread_axis(contraction))
        if vectors * (prod(a.size for a in by) + 1) < limit:
            yield _cost(contraction, lane, count, vectors, None, by), (vectors, None, by)
        for row, whole in product(free, [by] if by else [(), *((a,) for a in free)]):
            if row in whole or any(a.symbol for a in whole):
                continue
            inside = prod(a.size for a in whole)
            held = inside if summed else vectors  # operands, one more beside
            most = (limit - 1 - held) // (vectors * inside)
            if most >= 1:
                rows = tiles(row, most)
                cost = _cost(contraction, lane, count, vectors, rows, whole)
                yield cost, (vectors, rows, whole)
        for rows in () if free else _streams(contraction, lane, (limit - 1 - vectors) // vectors):
            yield _cost(contraction, lane, count, vectors, rows, ()), (vectors, rows, ())


def _streams(contraction: Contraction, lane: Axis, room: int) -> Iterator[Tiles]:
    """Where no row uses lanes again: rows that read lanes of their own, with tiles for several
    threads."""
    for a in contraction.axes:
        most = min(STREAMS, room, a.size // STREAMS)
        if a is not lane and a.symbol is None and not guarded(contraction, a.name) and most > 1:
            yield tiles(a, most)


def _blocks(contraction: Contraction, lane: Axis, machine: Machine) -> list[int]:
    """Numbers of vectors that cut the lanes, padding included, into whole blocks."""
    if lane in contraction.summed:
        return [1]
    count = vectors_of(lane, machine)
    stored = min(dict(access.room).get(lane.name, 1 << 40) for access in contraction.accesses)
    return [
        v for v in range(1, min(MOST_VECTORS, count) + 1)
        if -(-count // v) * v * machine.width <= max(stored, count * machine.width)
    ]  # fmt: skip


def tiles(a: Axis, most: int) -> Tiles:
    """An axis in the fewest tiles of at most `most` places, as even as can be."""
    count = -(-a.size // most)
    return Tiles(a, count, a.size // count, a.size % count)


def _cost(
    contraction: Contraction,
    lane: Axis,
    count: int,
    vectors: int,
    rows: Tiles | None,
    whole: tuple[Axis, ...],
) -> float:
    """Cycles for one vector multiply-add."""
    cycles = work = 0.0
    inside = prod(a.size for a in whole)
    for width, times in rows.widths if rows else ((1, 1),):
        loads = 0
        for factor in contraction.factors:
            own = vectors if factor.coefficient(lane.name) else 1
            own *= 2 if factor.spread else 1  # a load and a shuffle
            own *= width if rows and factor.coefficient(rows.axis.name) else 1
            loads += own * prod(a.size for a in whole if factor.coefficient(a.name))
        fmas = vectors * width * inside
        cycles += times * _cycles(fmas, loads)
        work += times * fmas
    work *= count / (-(-count // vectors) * vectors)
    run_time = 0.004 if rows and rows.axis.symbol else 0.0  # a partial batch wastes rows
    along = any(f.coefficient(rows.axis.name) == 1 for f in contraction.factors) if rows else True
    far = sum(a.coefficient(rows.axis.name) for a in (contraction.target, *contraction.factors)
              ) if rows else 0  # fmt: skip
    return (
        cycles / work
        + STREAM / vectors * _begun(contraction, lane, rows)
        + run_time
        + (0.0 if along else 0.02)
        + 0.01 * len(whole)
        + 2e-3 * far.bit_length()
    )


def _begun(contraction: Contraction, lane: Axis, rows: Tiles | None) -> float:
    """How many runs of lines begin for each row and place of the sum: none where one operand is
    splat, fewer where the windows of a tile's rows overlap."""
    if not lanes_in_all(contraction, lane.name):
        return 0.0
    if rows is None or lane in contraction.summed:
        return 1.0
    width = rows.widths[0][0]
    found = overlapping(contraction, rows.axis)
    return min((1.0, *(((width - 1) * w.stride + w.taps) / (width * w.taps) for w in found)))


def overlapping(contraction: Contraction, a: Axis) -> list[Window]:
    """The windows along an axis of the target whose neighbours share taps."""
    found = (window(contraction, factor, a) for factor in contraction.factors)
    return [w for w in found if w and w.overlaps]


@dataclass(frozen=True, slots=True)
class Window:
    """What a place reads of a factor: `taps` places, `step` floats apart (less than 0 where a
    gradient meets them from last to first); what the next place along an axis of the target reads
    begins `stride` of these further on."""

    taps: int
    stride: int
    step: int

    @property
    def overlaps(self) -> bool:
        """Whether neighbours share taps."""
        return self.stride < self.taps


def window(contraction: Contraction, factor: Access, a: Axis) -> Window | None:
    """Along an axis of the target, if it and a summed one run along the same dimension."""
    along = factor.coefficient(a.name)
    steps = ((factor.coefficient(taps.name), taps.size) for taps in contraction.summed)
    found = [(abs(k), k, n) for k, n in steps if k and along % k == 0]
    size, step, taps = max(found, default=(0, 0, 0))
    return Window(taps, along // size, step) if along and size else None


def _cycles(fmas: int, loads: int) -> float:
    """Cycles for one place of the sum. Two loads and two multiply-adds start in a cycle; beside
    multiply-adds, loads take a cycle together, and from ten on a sixth of a cycle each."""
    beside = max(TOGETHER, 0.17 * loads - 0.6)
    return max(fmas / 2 + beside, max(loads / 2, LATENCY) + TOGETHER) + 0.01 * loads


def guarded(contraction: Contraction, name: str) -> bool:
    """Whether the bounds of other loops depend on this axis, or its own on them."""
    return any(name in guard.axes() for guard in (*contraction.where, *contraction.guards))


def lanes_in_all(contraction: Contraction, lane: str) -> bool:
    """Whether each factor has the lanes, as in a depthwise convolution: no element meets all
    others of a tile."""
    return all(factor.coefficient(lane) for factor in contraction.factors)


def vectors_of(lane: Axis, machine: Machine) -> int:
    """How many vectors the lanes fill, the last one perhaps in part."""
    return -(-lane.size // machine.width)


def is_batch(contraction: Contraction, name: str, lane: str) -> bool:
    """Whether every factor with lanes changes along an axis, so that none is used again there."""
    own = [factor for factor in contraction.factors if factor.coefficient(lane)]
    return all(factor.coefficient(name) for factor in own)
