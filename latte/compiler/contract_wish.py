"""What a contraction would like of its buffers: which axis to store innermost, as vector lanes.

In: a Kernel, before any thought of storage.  Out: its options, each an axis that could have the
lanes, with the buffers that then need that axis innermost. Along a summed axis each lane has a sum
of its own, and the lanes are added at the end.

    conv.out[n, f, y, x] = sum [c, ky, kx] weight[f, c, ky, kx] * image[n, c, y + ky, x + kx]
    ->  f: conv.out by f, weight by f
        n: conv.out by n, image by n
        c: weight by c, image by c (summed)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

from latte.compiler.affine import Affine, Floor, axis
from latte.compiler.contract_parts import Parts, affine_index, find_parts
from latte.compiler.expression import Axis, Index, Load
from latte.compiler.ir import Kernel
from latte.compiler.rewrite import walk

Place = tuple[str, int]  # a buffer and the number of one of its axes
LONG = 512  # places of a sum from which adding the lanes at the end may pay


@dataclass(frozen=True, slots=True)
class Option:
    """An axis for the lanes. `target` (None where the axis is summed), `factors` and `loads` (of
    what follows the sum, and further targets) must have it innermost; `run` is how many lanes
    follow one another without a break (fewer than the buffer's axis where it is `grouped`). Lanes
    may run over all groups of `each` places (see `contract_spread`); `regrouped` names the factors
    that have these places along one axis, and the groups along another."""

    axis: Axis
    target: Place | None
    factors: tuple[Place, ...]
    loads: tuple[Place, ...]
    run: int
    grouped: bool = False
    each: int = 0
    regrouped: tuple[tuple[str, int, int], ...] = ()

    @property
    def places(self) -> tuple[Place, ...]:
        """All that it needs innermost."""
        target = () if self.target is None else (self.target,)
        return (*target, *self.factors, *self.loads)


def options(kernel: Kernel) -> tuple[Option, ...]:
    """The axes of a contraction that could have the lanes; () for other kernels."""
    parts = find_parts(kernel)
    if parts is None:
        return ()
    found = [_option(kernel, parts, a) for a in kernel.axes if a.size > 1]
    found += [_spread(kernel, parts, a) for a in kernel.axes if a.size > 1]
    found += [_summed(parts, a) for a in parts.fold.axes if a.size > 1]
    return tuple(option for option in found if option is not None)


def work(kernel: Kernel) -> int:
    """Multiply-adds of a contraction, windows unclipped."""
    parts = find_parts(kernel)
    return prod(a.size for a in (*kernel.axes, *(parts.fold.axes if parts else ())))


def _option(kernel: Kernel, parts: Parts, a: Axis) -> Option | None:
    if any(a.name in guard.index.axes() for guard in (*kernel.where, *parts.fold.where)):
        return None
    if any(_slides(load, parts, a.name) for load in parts.factors):
        return None
    targets = [(store.write.buffer, lane_place(store.target, a.name)) for store in parts.stores]
    factors = [(load.buffer, _number(load, a.name)) for load in parts.factors]
    nodes = [node for expression in parts.expressions for node in walk(expression)]
    loads = [n for n in nodes if isinstance(n, Load) and affine_index(n.index)]
    others = [(load.buffer, _number(load, a.name)) for load in loads]
    places = [(buffer, number) for buffer, number in targets if number is not None]
    if len(places) < len(targets) or any(number == BROKEN for _, number in (*factors, *others)):
        return None
    lanes = tuple((buffer, number) for buffer, number in factors if number is not None)
    if not lanes:
        return None
    whole = tuple((buffer, number) for buffer, number in others if number is not None)
    beside = parts.target[places[0][1]].axes() - {a.name}
    grouped = any(b.size > 1 for b in kernel.axes if b.name in beside)
    return Option(a, places[0], lanes, (*places[1:], *whole), a.size, grouped)


def _spread(kernel: Kernel, parts: Parts, a: Axis) -> Option | None:
    """The option whose lanes run over all groups of places along `a`. The one factor that does not
    depend on `a` has a place for each in every group."""
    one = _option(kernel, parts, a)
    if one is None or one.target is None or not one.grouped:
        return None
    entry = parts.target[one.target[1]]
    groups = next((b for b in kernel.axes if entry == axis(b.name) * a.size + axis(a.name)), None)
    alike = [load for load in parts.factors if _number(load, a.name) is None]
    if groups is None or len(alike) != 1:
        return None
    every = (*kernel.axes, *parts.fold.axes)
    rows = [axis(groups.name) * a.size + axis(b.name) for b in every if b.size == a.size]
    numbers = {
        load.buffer: number for load in parts.factors
        if (number := _group_place(load, groups, rows)) is not None
    }  # fmt: skip
    if len(numbers) < len(parts.factors):
        return None
    run = replace(a, size=groups.size * a.size)
    lanes = tuple(place for place in one.factors if numbers[place[0]] == place[1])
    others = tuple((name, k, numbers[name]) for name, k in one.factors if numbers[name] != k)
    lanes = (*lanes, (alike[0].buffer, numbers[alike[0].buffer]))
    return replace(
        one, axis=run, factors=lanes, regrouped=others, run=run.size, grouped=False, each=a.size
    )


def _group_place(load: Load, groups: Axis, rows: list[Affine]) -> int | None:
    """The number of a load's one entry that has the groups, with a place in each."""
    index = affine_index(load.index) or ()
    found = [k for k, place in enumerate(index) if groups.name in place.axes()]
    return found[0] if len(found) == 1 and index[found[0]] in rows else None


def _slides(load: Load, parts: Parts, name: str) -> bool:
    """Whether an axis meets a summed one in an entry: whole vectors would leave a row's end."""
    summed = {a.name for a in parts.fold.axes if a.size > 1}
    return any(name in place.axes() and place.axes() & summed
               for place in affine_index(load.index) or ())  # fmt: skip


def _summed(parts: Parts, a: Axis) -> Option | None:
    if a.symbol == "t" or any(a.name in guard.index.axes() for guard in parts.fold.where):
        return None
    if prod(b.size for b in parts.fold.axes) < LONG:
        return None
    numbers = [_number(load, a.name) for load in parts.factors]
    if any(number is None or number == BROKEN for number in numbers):
        return None
    places = zip(parts.factors, numbers, strict=True)
    lanes = tuple((load.buffer, number) for load, number in places if number is not None)
    return Option(a, None, lanes, (), a.size)


BROKEN = -1


def _number(load: Load, name: str) -> int | None:
    """The axis of a load that runs along `name`: None if none does, BROKEN if not one by one."""
    index = affine_index(load.index)
    if index is None:
        return BROKEN
    if not any(name in place.axes() for place in index):
        return None
    found = lane_place(index, name)
    return BROKEN if found is None else found


def lane_place(index: tuple[Index, ...], name: str) -> int | None:
    """The one entry in which an axis occurs, with factor 1 and outside floors; else None."""
    entries = [k for k, e in enumerate(index) if not isinstance(e, Affine) or name in e.axes()]
    if len(entries) != 1:
        return None
    entry = index[entries[0]]
    if not isinstance(entry, Affine) or entry.coefficient(name) != 1 or _in_floor(entry, name):
        return None
    return entries[0]


def _in_floor(entry: Affine, name: str) -> bool:
    return any(isinstance(a, Floor) and name in a.numerator.axes() for a, _ in entry.terms)
