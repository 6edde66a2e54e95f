"""Joins axes of a contraction that memory holds as one: a linear layer on a window is a plain one.

In: a Contraction at stored positions.  Out: the same with fewer, longer axes.

    axes j, y: 6, x: 6, c: 256;  weights at 98304*y + 16384*x + 64*c + j
    ->  axes j, c: 9216;  weights at 64*c + j
"""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

from latte.compiler.affine import Affine
from latte.compiler.contract_view import Access, Contraction
from latte.compiler.expression import Axis, Position, Random
from latte.compiler.rewrite import walk


def join(contraction: Contraction) -> Contraction:
    """The contraction with axes joined as far as they follow one another in every access."""
    pairs = (*permutations(contraction.axes, 2), *permutations(contraction.summed, 2))
    for outer, inner in pairs:
        if _follow(contraction, outer, inner):
            return join(_joined(contraction, outer, inner))
    return contraction


def _follow(contraction: Contraction, outer: Axis, inner: Axis) -> bool:
    """Whether a step along `outer` is a whole row of `inner` everywhere."""
    if outer.symbol or inner.symbol or named(contraction, {outer.name, inner.name}):
        return False
    return all(
        access.coefficient(outer.name) == inner.size * access.coefficient(inner.name)
        for access in contraction.accesses
    )


def named(contraction: Contraction, names: set[str]) -> bool:
    """Whether more than positions in buffers depends on one of these axes."""
    guards = (*contraction.where, *contraction.guards)
    values = (contraction.result, *(output.value for output in contraction.outputs))
    numbers = (n for value in values for n in walk(value) if isinstance(n, Position | Random))
    return any(guard.axes() & names for guard in guards) or any(True for _ in numbers)


def _joined(contraction: Contraction, outer: Axis, inner: Axis) -> Contraction:
    whole = replace(inner, size=outer.size * inner.size)

    def axes(of: tuple[Axis, ...]) -> tuple[Axis, ...]:
        return tuple(whole if a == inner else a for a in of if a != outer)

    def access(of: Access) -> Access:
        terms = tuple(term for term in of.offset.terms if term[0] != outer.name)
        room = {name: places for name, places in of.room if name != outer.name}
        if of.coefficient(inner.name) == 1:
            room[inner.name] = whole.size
        return replace(of, offset=Affine(terms, of.offset.constant), room=tuple(room.items()))

    return replace(
        contraction,
        axes=axes(contraction.axes),
        summed=axes(contraction.summed),
        outputs=tuple(replace(o, target=access(o.target)) for o in contraction.outputs),
        factors=tuple(map(access, contraction.factors)),
        loads=tuple((load, access(place)) for load, place in contraction.loads),
    )
