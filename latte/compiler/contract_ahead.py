"""Which lines of a contraction's operands to ask for ahead, so that none is waited for.

In: a planned nest of loops.  Out: for each factor that no cache near the core keeps, the lines
that the next chunk (or the next place of the outer loops) will read, as runs in memory.

    out[xi, p, k] = sum [c: 256] data[xi, p, c] * taps[xi, c, k: 64],  one xi after the other
    ->  taps: 1024 lines in a row, 16384 floats further on; data: p * 16 lines

A unit's tiles share the lines evenly: the third cache answers after hundreds of cycles, and
processors foresee only what lies side by side.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from latte.compiler.contract_view import Access
from latte.compiler.expression import Axis
from latte.compiler.machine import Machine

LINE = 16  # floats
SERIES = 512  # floats in a row that a processor foresees without help


@dataclass(frozen=True, slots=True)
class Ahead:
    """Lines of a factor (by number): `shift` floats behind where a unit's chunk begins, then
    `runs` of (stride, count), the outermost first; `shared` by all blocks of lanes."""

    factor: int
    shift: int
    runs: tuple[tuple[int, int], ...]
    shared: bool = False

    @property
    def lines(self) -> int:
        """How many there are."""
        return prod(count for _, count in self.runs)


def ahead(
    factors: tuple[Access, ...],
    step: tuple[Axis, int],
    sizes: dict[str, int],
    whole: dict[str, int],
    summed: frozenset[str],
    machine: Machine,
) -> tuple[Ahead, ...]:
    """What to ask for while `step`'s axis goes on by so many places. `sizes` are the places of
    each axis that a unit walks over between two steps, `whole` those of all axes."""
    a, places = step
    if sum(span(factor, whole) for factor in factors) < machine.l2:
        return ()
    found = (
        Ahead(number, factor.coefficient(a.name) * places, _runs(factor, sizes))
        for number, factor in enumerate(factors)
        if factor.coefficient(a.name) and not _foreseen(factor, sizes, summed)
    )
    return tuple(each for each in found if each.lines * LINE * 4 <= machine.l2)


def _foreseen(factor: Access, sizes: dict[str, int], summed: frozenset[str]) -> bool:
    """Whether a tile reads lines one after the other, so that the processor asks for them."""
    along = [sizes[name] for name in sizes if factor.coefficient(name) == 1 and name in summed]
    return bool(along) and (len(_runs(factor, sizes)) > 1 or max(along) >= SERIES)


def span(factor: Access, sizes: dict[str, int]) -> int:
    """Bytes of all that is read, where windows overlap no more than lies between first and last."""
    steps = [(abs(factor.coefficient(name)), count) for name, count in sizes.items()]
    between = 1 + sum(step * (count - 1) for step, count in steps)
    return 4 * min(between, prod(count for step, count in steps if step))


def _runs(factor: Access, sizes: dict[str, int]) -> tuple[tuple[int, int], ...]:
    """The lines in the order in which they are stored, neighbours in one run."""
    steps = [(abs(factor.coefficient(name)), count) for name, count in sizes.items()]
    strides = sorted(((k, count) for k, count in steps if k and count > 1), reverse=True)
    runs: list[tuple[int, int]] = []
    for stride, count in strides:
        if stride < LINE:
            stride, count = LINE, -(-stride * count // LINE)
        if not runs or stride * count <= runs[-1][0]:  # else a window's places overlap
            runs.append((stride, count))
    return _joined(runs)


def _joined(runs: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Runs that follow one another with little between them as one."""
    joined: list[tuple[int, int]] = []
    for stride, count in reversed(runs):
        if joined and 4 * stride <= 5 * joined[0][0] * joined[0][1]:
            joined[0] = joined[0][0], stride // joined[0][0] * count
        else:
            joined.insert(0, (stride, count))
    return tuple(joined)
