"""Gradient on its way to a formal, and where it lands.

flow to x[2*i] for all i: g[i]       ->  at x[j]: sum [i] (if j == 2*i then g[i] else 0)
flow to x[i] for all i: g[i]         ->  at x[j]: g[j]
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from latte.compiler.affine import Affine, axis
from latte.compiler.algebra import axes_of, choose
from latte.compiler.expression import Apply, Axis, Expression, Fold, Index, Position
from latte.compiler.net import Formal
from latte.compiler.rewrite import substitute_axes


@dataclass(frozen=True, slots=True)
class Flow:
    """Gradient that arrives at `formal[index]` (or at a let, if `index` is None), once for every
    position of `axes`."""

    target: str
    index: tuple[Index, ...] | None
    axes: tuple[Axis, ...]
    expression: Expression


def joined(yes: list[Flow], no: list[Flow]) -> list[Flow]:
    """Flows of both sides of a select; those to one place become one select."""
    found: list[Flow] = []
    rest = list(no)
    for flow in yes:
        other = next((f for f in rest if _place(f) == _place(flow)), None)
        if other is None:
            found.append(flow)
            continue
        rest.remove(other)
        match flow.expression, other.expression:
            case Apply("select", (test, a, _)), Apply("select", (_, _, b)):
                found.append(replace(flow, expression=choose(test, a, b)))
            case _:
                found += [flow, other]
    return found + rest


def _place(flow: Flow) -> tuple[object, ...]:
    return flow.target, flow.index, flow.axes


def summed(axes: tuple[Axis, ...], expression: Expression) -> Expression:
    """The sum over all positions of the axes."""
    return Fold("sum", axes, expression) if axes else expression


def left(flow: Flow, formal: Formal) -> set[str]:
    """Axes of a flow that do not index the formal: they are summed over."""
    return {a.name for a in flow.axes} - set(_matches(flow, formal.axes))


def _matches(flow: Flow, axes: tuple[Axis, ...]) -> dict[str, str]:
    """Which axis of a flow is which axis of the formal."""
    sizes = {a.name: a.size for a in flow.axes}
    found: dict[str, str] = {}
    for entry, target in zip(flow.index or (), axes, strict=True):
        if isinstance(entry, Affine) and len(entry.terms) == 1 and entry.constant == 0:
            name, factor = entry.terms[0]
            if isinstance(name, str) and factor == 1 and sizes.get(name) == target.size:
                found.setdefault(name, target.name)
    return found


def at(flow: Flow, axes: tuple[Axis, ...]) -> Expression:
    """The flow as an expression at the position `axes` of its formal."""
    matches = _matches(flow, axes)
    left = tuple(a for a in flow.axes if a.name not in matches)
    renames = {name: axis(target) for name, target in matches.items() if name != target}
    total: Expression = substitute_axes(flow.expression, renames)
    inner: list[Expression] = []
    for entry, target in zip(flow.index or (), axes, strict=True):
        if entry in [axis(name) for name, match in matches.items() if match == target.name]:
            continue
        place = _renamed(entry, renames)
        test = Apply("eq", (Position(axis(target.name)), place))
        if axes_of(place) & {a.name for a in left}:
            inner.append(test)
        else:
            total = choose(test, total)
    for condition in inner:
        total = choose(condition, total)
    return summed(left, total)


def _renamed(entry: Index, renames: dict[str, Affine]) -> Expression:
    if isinstance(entry, Affine):
        return Position(entry.substitute(renames))
    return substitute_axes(entry, renames)
