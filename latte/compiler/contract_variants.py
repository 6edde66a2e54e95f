"""Other ways to compute a contraction that give the same bits: what `--tune` may choose from.

In: a Contraction, the Machine.  Out: Plans, the default first, then in the order in which the cost
model expects most of them.

    lanes f in 4 vectors x 6 n   ->   3 vectors x 8 n;  units twice as large;  x outside of y; ...

Lanes, the order of sums and their chunks stay as they are, for they decide bits. The register tile,
the division into units, the order of other loops, what is asked for early and whether results go
past the caches do not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from latte.compiler.contract_plan import Plan, asked_ahead, plan, scheduled
from latte.compiler.contract_tile import tile_options
from latte.compiler.contract_units import MOST_UNITS
from latte.compiler.contract_view import Contraction
from latte.compiler.machine import Machine

TILES = 8  # register tiles to try
AROUND = 3  # of which these are tried with other units and orders too


def variants(contraction: Contraction, machine: Machine) -> tuple[Plan, ...]:
    """The plans to choose from; () where there is none."""
    default = plan(contraction, machine)
    if default is None:
        return ()
    if default.summed_lanes:
        return (default,)
    tiled = [default, *islice(_tiled(contraction, default, machine), TILES)]
    found = [*tiled]
    for each in tiled[:AROUND]:
        found += _divided(contraction, each, machine)
        found += _ordered(contraction, each, machine)
        found += _unasked(each)
    return tuple(dict.fromkeys(found))


def _tiled(contraction: Contraction, default: Plan, machine: Machine) -> Iterator[Plan]:
    """With other register tiles, the cheapest first."""
    options = sorted(tile_options(contraction, default.lane, machine), key=lambda o: o[0])
    for _, tile in options:
        made = scheduled(contraction, default.lane, tile, machine)
        if made is not None:
            same = replace(made, chunks=default.chunks, passing=default.passing, near=default.near)
            if (made := _asking(contraction, same, machine)) != default:
                yield made


def _divided(contraction: Contraction, base: Plan, machine: Machine) -> Iterator[Plan]:
    """With larger and smaller units."""
    rows = base.rows.count if base.rows else 1
    others = base.others[0].size if base.others else 1
    fixed = base.units // (base.row_parts * base.other_parts)
    for row, other in ((2, 1), (1, 2), (0.5, 1), (1, 0.5), (4, 1), (1, 4)):
        parts = int(base.row_parts * row), int(base.other_parts * other)
        inside = 1 <= parts[0] <= rows and 1 <= parts[1] <= others
        if inside and fixed * parts[0] * parts[1] <= MOST_UNITS:
            made = replace(base, row_parts=parts[0], other_parts=parts[1])
            yield _asking(contraction, made, machine)


def _ordered(contraction: Contraction, base: Plan, machine: Machine) -> Iterator[Plan]:
    """With another of the loops between tiles and sum innermost."""
    for last in base.others[:-1]:
        others = (*(a for a in base.others if a != last), last)
        if others[0].size >= base.other_parts and not contraction.where:
            yield _asking(contraction, replace(base, others=others), machine)


def _unasked(base: Plan) -> Iterator[Plan]:
    """Asking for nothing early, and with results left in the caches."""
    if base.ahead:
        yield replace(base, ahead=())
    if base.passing:
        yield replace(base, passing=False)


def _asking(contraction: Contraction, changed: Plan, machine: Machine) -> Plan:
    return replace(changed, ahead=asked_ahead(contraction, changed, machine))
