"""Into how many units a contraction is divided, so that threads have even shares of it.

In: how many tiles there are along the rows and the first other axis.  Out: into how many parts each
is cut. A unit is what one thread computes alone; each thread has units in a row.

    3 blocks of lanes x 11 tiles of rows x 5 taps, 2 cores  ->  rows in 4 parts: 16 and 17 of 33
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from math import prod

from latte.compiler.machine import Machine

ENOUGH, MOST_UNITS = 32, 256
MOST_PARTS = 32  # of an axis
THREADS = ((2, 0.1), (4, 0.1))  # numbers of threads that units should suit beside that of cores
UNIT = 0.0002  # of all the time, for each unit
FAR = 0.15  # of all the time, where the second cache does not hold a unit's places


@cache
def divide(
    fixed: int, counts: tuple[int, int], inner: int, reloaded: float, again: float, machine: Machine
) -> tuple[int, int]:
    """The parts of both axes, `fixed` blocks beside them. A unit has `inner` places for each tile
    and place of the second axis; `reloaded` of them, loaded and stored in each chunk, fit the
    second cache. What it reads again takes as long as `again` places."""
    if fixed >= ENOUGH and prod(counts) * inner <= reloaded:
        return 1, 1
    best, found = 1e12, (1, 1)
    for least, *both in sorted(_options(fixed, counts, inner, reloaded, again)):
        if least >= best:
            break  # even shares would not help
        cost = least - 1 + _longest(fixed, counts, (both[0], both[1]), machine.cores)
        if cost < best:
            best, found = cost, (both[0], both[1])
    return found


def _options(
    fixed: int, counts: tuple[int, int], inner: int, reloaded: float, again: float
) -> Iterator[tuple[float, int, int]]:
    """Parts, and the time beside the ideal if all threads had even shares."""
    most = tuple(min(count, MOST_PARTS) for count in counts)
    for p in range(1, most[0] + 1):
        for q in range(1, most[1] + 1):
            if p * q == 1 or fixed * p * q <= MOST_UNITS:
                places = -(-counts[0] // p) * -(-counts[1] // q) * inner
                far = FAR * (places > reloaded)
                yield 1 + again / places + UNIT * fixed * p * q + far, p, q


def _longest(fixed: int, counts: tuple[int, int], both: tuple[int, int], cores: int) -> float:
    """How much longer than an even share the work of the busiest thread is, for `cores` threads
    and a little for other numbers."""
    suited = ((cores, 1 - sum(weight for _, weight in THREADS)), *THREADS)
    return sum(weight * _share(fixed, counts, both, threads) for threads, weight in suited)


def _share(fixed: int, counts: tuple[int, int], both: tuple[int, int], threads: int) -> float:
    def before(unit: int) -> int:
        block, rest = divmod(unit, both[0] * both[1])
        row, other = divmod(rest, both[1])
        first, end = row * counts[0] // both[0], (row + 1) * counts[0] // both[0]
        inside = (end - first) * (other * counts[1] // both[1])
        return (block * counts[0] + first) * counts[1] + inside

    units, whole = fixed * both[0] * both[1], fixed * prod(counts)
    starts = [before(thread * units // threads) for thread in range(threads)]
    return max(b - a for a, b in pairwise((*starts, whole))) * threads / whole
