"""Lets the lanes of a contraction run over several groups, where one group would not fill a vector.

In: a Contraction with an axis of groups and one of few places in each.  Out: the same with both as
one axis. Factors that each place of a group reads alike are marked: their lanes are spread, in
each group, from one place of its row.

    out[g: 32, f: 4] = sum [c: 4] weight[4*g + f, c] * in[4*g + c]
    ->  out[gf: 128] = sum [c: 4] weight[gf, c] * in[gf, spread by c in groups of 4]
"""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

from latte.compiler.affine import Affine
from latte.compiler.contract_join import named
from latte.compiler.contract_view import Access, Contraction, recognise
from latte.compiler.expression import Axis
from latte.compiler.ir import Kernel, Program
from latte.compiler.machine import Machine
from latte.compiler.once import once


def spread_view(kernel: Kernel, program: Program, machine: Machine) -> Contraction | None:
    """The kernel as a contraction, with lanes over groups where that fills vectors; None where it
    is none."""
    found = recognise(kernel, program)
    return None if found is None else spread(found, machine)


@once
def spread(contraction: Contraction, machine: Machine) -> Contraction:
    """The contraction with lanes over groups, or as it is."""
    for groups, inner in permutations(contraction.axes, 2):
        fills = machine.width % inner.size == 0 and inner.size < machine.width
        whole = groups.size * inner.size % machine.width == 0
        if fills and whole and _spreads(contraction, groups, inner):
            return _joined(contraction, groups, inner)
    return contraction


def spread_axis(contraction: Contraction) -> str | None:
    """The axis by which some factor's lanes are spread."""
    return next((f.spread[0] for f in contraction.factors if f.spread), None)


def _spreads(contraction: Contraction, groups: Axis, inner: Axis) -> bool:
    """Whether the lanes would follow one another, or be spread, in every access."""
    if groups.symbol or inner.symbol or named(contraction, {groups.name, inner.name}):
        return False
    follow = [_follow(access, groups, inner) for access in contraction.accesses]
    spreads = [_by(contraction, factor, groups, inner) for factor in contraction.factors]
    others = sum(not each for each in follow) == sum(by is not None for by in spreads) == 1
    return others and any(f.coefficient(inner.name) for f in contraction.factors)


def _follow(access: Access, groups: Axis, inner: Axis) -> bool:
    step = access.coefficient(inner.name)
    return step in (0, 1) and access.coefficient(groups.name) == inner.size * step


def _by(contraction: Contraction, factor: Access, groups: Axis, inner: Axis) -> Axis | None:
    """The axis that gives the place in a group, in a factor that the group's lanes read alike."""
    alike = not factor.coefficient(inner.name)
    if not alike or factor.coefficient(groups.name) != inner.size:
        return None
    every = (*contraction.axes, *contraction.summed)
    same = (a for a in every if factor.coefficient(a.name) == 1 and a.size == inner.size)
    return next(same, None)


def _joined(contraction: Contraction, groups: Axis, inner: Axis) -> Contraction:
    lanes = replace(inner, size=groups.size * inner.size)

    def access(of: Access) -> Access:
        by = _by(contraction, of, groups, inner) if of in contraction.factors else None
        terms = tuple(t for t in of.offset.terms if t[0] not in (groups.name, inner.name))
        room = {n: places for n, places in of.room if n not in (groups.name, inner.name)}
        if by is not None or of.coefficient(inner.name):
            terms = tuple(sorted((*terms, (lanes.name, 1)), key=lambda term: str(term[0])))
            room[lanes.name] = lanes.size
        marked = None if by is None else (by.name, inner.size)
        offset = Affine(terms, of.offset.constant)
        return replace(of, offset=offset, room=tuple(room.items()), spread=marked)

    return replace(
        contraction,
        axes=tuple(lanes if a == inner else a for a in contraction.axes if a != groups),
        outputs=tuple(replace(o, target=access(o.target)) for o in contraction.outputs),
        factors=tuple(map(access, contraction.factors)),
        loads=tuple((load, access(place)) for load, place in contraction.loads),
    )
