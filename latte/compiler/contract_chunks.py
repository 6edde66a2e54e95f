"""Where the sum of a contraction is cut, so that what its tiles read again stays in a cache.

In: a Contraction, its lanes, and whether few tiles read what has them.  Out: the summed axes that
are taken a few places at a time, outside of the tiles, and how many.

    sum [n: 64, y: 13, x: 13] of 256 bytes each  ->  one n, 7 y, all x at a time: 91 places

A chunk's accumulators are loaded and stored again, so places must pay for that.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from latte.compiler.contract_ahead import LINE
from latte.compiler.contract_result import additive
from latte.compiler.contract_spread import spread_axis
from latte.compiler.contract_tile import guarded, window
from latte.compiler.contract_view import Contraction
from latte.compiler.expression import Axis
from latte.compiler.machine import Machine

BYTES = 4
LEAST = 96  # places that pay for a chunk, as long as the first cache has room for them
LEAST_INSIDE = 32  # places that pay for a chunk, where a large factor is then read in order


@dataclass(frozen=True, slots=True)
class Chunk:
    """A summed axis taken `size` places at a time outside of the tiles."""

    axis: Axis
    size: int


def cuttable(contraction: Contraction) -> bool:
    """Whether there is a place where a sum can wait for its next chunk."""
    mixed = contraction.add and additive(contraction.result) is None  # the target is no sum
    return contraction.partial is not None and not mixed


def cuts(contraction: Contraction, lane: Axis, place: int, streams: bool, machine: Machine) -> bool:
    """Whether chunks would help: where the streamed factor, of `place` bytes for each place of the
    sum, does not stay near, or another is better read in order."""
    total = prod(a.size for a in contraction.summed) * place
    near = max(_fits(contraction, lane, place, streams, machine) * place, machine.l2 // 16)
    return total > near or bool(_jumps(contraction, lane, machine))


def cut_sum(
    contraction: Contraction,
    lane: Axis,
    summed: tuple[Axis, ...],
    place: int,
    streams: bool,
    machine: Machine,
) -> tuple[Chunk, ...]:
    """Cuts summed axes: to single places those that lead from end to begin of a large factor, then
    unguarded ones first, until the streamed factor stays near; a line of a splat factor is used up
    at once."""
    fits = _fits(contraction, lane, place, streams, machine)
    jumps = _jumps(contraction, lane, machine)
    sizes = {a.name: 1 if a in jumps else a.size for a in summed}
    places = prod(sizes.values())
    uncut = {*jumps, *(a for a in summed if a.name == spread_axis(contraction))}
    whole = (a for a in summed if a not in uncut)
    for a in sorted(whole, key=lambda a: guarded(contraction, a.name)):
        if places <= fits:
            break
        least = machine.width if _contiguous(contraction, a.name) else 1
        size = min(a.size, max(least, fits * a.size // places))
        size = -(-a.size // -(-a.size // size))
        sizes[a.name] = -(-size // least) * least if size > least else size
        places = places // a.size * sizes[a.name]
    return tuple(Chunk(a, sizes[a.name]) for a in summed if sizes[a.name] < a.size)


def cut_rows(outer: tuple[Axis, ...], fits: int) -> tuple[Chunk, ...]:
    """Cuts the outermost summed axis until what a tile reads at `fits` places stays in a cache."""
    inner = prod(a.size for a in outer[1:])
    if not outer or outer[0].size * inner <= fits:
        return ()
    parts = -(-outer[0].size // max(1, fits // inner))
    return (Chunk(outer[0], -(-outer[0].size // parts)),)


def _fits(contraction: Contraction, lane: Axis, place: int, streams: bool, machine: Machine) -> int:
    """How many places of the sum a chunk has, `place` bytes of the streamed factor each. The
    second cache is near enough where many tiles splat whole lines; few wait for memory, which
    the next chunk's lines hide; else each place costs a line more, and chunks stay in the first."""
    near = min(LEAST, machine.l1 * 3 // 4 // place)
    near = max(near, machine.l1 * 5 // 8 // (place + LINE * BYTES))
    if not whole_lines(contraction, lane):
        return near
    return machine.l1 * 2 // place if streams else max(near, machine.l2 // 2 // place)


def _jumps(contraction: Contraction, lane: Axis, machine: Machine) -> tuple[Axis, ...]:
    """Summed axes that go outside of all tiles, so that a large splat factor which nothing reads
    twice is read from begin to end: those that step over what all tiles read of it."""
    tiled = [a for a in contraction.axes if a is not lane]
    for splat in (f for f in contraction.factors if not f.coefficient(lane.name)):
        once = all(splat.coefficient(a.name) for a in tiled)
        if not once or any(slides(contraction, a) for a in tiled):
            continue
        reach = max((splat.coefficient(a.name) * a.size for a in tiled), default=0)
        found = tuple(a for a in contraction.summed if splat.coefficient(a.name) >= reach)
        inside = prod(a.size for a in contraction.summed if a not in found)
        large = inside * BYTES * prod(a.size for a in (*tiled, *found)) > machine.l2
        if found and large and inside >= LEAST_INSIDE:
            return found
    return ()


def _contiguous(contraction: Contraction, name: str) -> bool:
    return any(factor.coefficient(name) == 1 for factor in contraction.factors)


def whole_lines(contraction: Contraction, lane: Axis) -> bool:
    """Whether the places of the sum that follow one another use up the lines of all splats."""
    splats = [f for f in contraction.factors if not f.coefficient(lane.name)]
    whole = all(any(f.coefficient(a.name) == 1 for a in contraction.summed) for f in splats)
    return whole and bool(splats)


def slides(contraction: Contraction, a: Axis) -> bool:
    """Whether an axis of the target and a summed one run along the same dimension."""
    found = (window(contraction, factor, a) for factor in contraction.factors)
    return any(w.step > 1 for w in found if w)
