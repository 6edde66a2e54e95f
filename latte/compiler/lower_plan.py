"""How a kernel's loops run: which axes are one, which is the lane, in which order, what is a unit.

In: a kernel and where its elements lie.  Out: a `Plan`. Nothing here changes what is computed,
except the order of sums that have no other lane (a function of shapes alone).

    relu [n, c: 64, y: 13, x: 13] over row-major buffers
    ->  axes y, x are one of 169; lanes along it; loops n, c, blocks of 16; units n
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from latte.compiler.affine import Affine
from latte.compiler.expression import Axis
from latte.compiler.ir import Kernel, Write
from latte.compiler.lower_access import (
    value_entries,
)
from latte.compiler.lower_axes import average_stride, walked
from latte.compiler.lower_cost import GATHER, LEAST_LANES, vector_steps
from latte.compiler.lower_scope import Scope
from latte.compiler.lower_stage import certain_folds
from latte.compiler.lower_uses import Use, all_folds, expressions, find_uses

LARGE = 1 << 17  # elements that a cache does not keep
LONG = 4  # places of a fold from which blocks of lanes share its loop
MOST_FOLDS = 3  # folds whose sums for four blocks fit in registers
ENOUGH = 8  # units that keep all workers busy
UNIT = 8192  # points of a unit beyond which more loops are shared out


@dataclass(frozen=True, slots=True)
class Loop:
    """A variable of the nest. `lane` marks the blocks of the lane axis, `size` counts them. A unit
    loop may give each unit `chunk` places, walked by an ordinary loop inside. A place may be a
    `group` of blocks whose folds share their loops."""

    variable: str
    size: int
    axis: Axis
    lane: bool = False
    chunk: int = 1
    group: int = 1

    @property
    def batched(self) -> bool:
        """Whether each item of the call is a place of its own; blocks of lanes are not."""
        return self.axis.symbol == "n" and not self.lane

    @property
    def pieces(self) -> int:
        """How many units this loop is shared out to."""
        return -(-self.size // self.chunk)


@dataclass(frozen=True, slots=True)
class Plan:
    """`views` say what the kernel's axes are in variables; the first `units` loops are flattened
    into units; the lane variable is "" where there is none."""

    views: tuple[tuple[str, Affine], ...]
    loops: tuple[Loop, ...]
    units: int
    lane: str
    lanes: int
    lane_axis: Axis | None
    points: int


def plan(scope: Scope, kernel: Kernel) -> Plan:
    """The plan of a kernel whose axes, lets and buffers the scope knows."""
    uses, owned = find_uses(scope, kernel), _owned(kernel)
    views, axes = ({}, list(kernel.axes)) if owned is not None else walked(scope, kernel, uses)
    uses = [use.through(views, {}) for use in uses]
    folds = [_viewed(scope.free(fold), views) for fold in all_folds(kernel)]
    lane_axis, lanes = _lane(scope, kernel, axes, uses, owned)
    loops = _ordered(
        _loops(axes, lane_axis, lanes), uses, folds, owned, kernel, _reread(scope, uses)
    )
    loops = _grouped(loops, kernel, uses, folds, lanes)
    units, loops = _units(loops, folds, uses, lanes, owned)
    points = _points(loops, units, uses, lanes)
    lane = f"{lane_axis.name}.lane" if lane_axis else ""
    return Plan(tuple(views.items()), loops, units, lane, lanes, lane_axis, points)


def _viewed(names: frozenset[str], views: dict[str, Affine]) -> frozenset[str]:
    found: set[str] = set()
    for name in names:
        found |= views[name].axes() if name in views else {name}
    return frozenset(found)


# The lane


def _owned(kernel: Kernel) -> frozenset[str] | None:
    """Where writes are value-dependent: the axes that keep their elements apart, which alone may
    be parallel; the others run in order. None where all points are independent."""
    if not any(value_entries(write.index) for write in kernel.writes):
        return None
    names = frozenset(entry.name for entry in kernel.axes)
    for write in kernel.writes:
        names &= _owned_by(write)
    return names


def _owned_by(write: Write) -> frozenset[str]:
    alone = [
        entry.terms[0][0]
        for entry in write.index
        if isinstance(entry, Affine) and len(entry.terms) == 1
    ]
    return frozenset(atom for atom in alone if isinstance(atom, str))


def _lane(
    scope: Scope,
    kernel: Kernel,
    axes: list[Axis],
    uses: list[Use],
    owned: frozenset[str] | None,
) -> tuple[Axis | None, int]:
    """The axis whose vectors cost least, and how many lanes; None where scalar code (or lanes
    along the folds themselves) is cheaper."""
    best, least, lanes = None, _cost_without(scope.width, uses), 1
    for entry in axes:
        if entry.symbol == "t" or entry.size < 2 or scope.width == 1:
            continue
        if owned is not None and entry.name not in owned:
            continue
        width = min(scope.width, 1 << (entry.size - 1).bit_length())
        cost = _cost(uses, entry, width, frozenset(other.name for other in axes))
        if cost < least:
            best, least, lanes = entry, cost, width
    return best, lanes


def _cost(uses: list[Use], entry: Axis, width: int, outer: frozenset[str]) -> float:
    """Accesses for each point with lanes along an axis; infinite where a write is not spread."""
    blocks, total = -(-entry.size // width), 0.0
    for use in uses:
        if entry.name in use.chosen:
            total += use.weight * GATHER * width
            continue
        if entry.name not in use.axes:
            if use.write:
                return math.inf
            total += use.weight
            continue
        steps = vector_steps(use.position, entry.name, width, outer)
        total += use.weight * (1.5 * steps if use.write else steps)
    return total * blocks / entry.size


def _cost_without(width: int, uses: list[Use]) -> float:
    """Accesses for each point without a lane: each fold may have lanes along one of its axes."""
    groups: dict[tuple[Axis, ...], list[Use]] = {}
    for use in uses:
        groups.setdefault(use.folded, []).append(use)
    return sum(_fold_cost(width, folded, group) for folded, group in groups.items())


def _fold_cost(width: int, folded: tuple[Axis, ...], uses: list[Use]) -> float:
    costs = [sum(use.weight for use in uses)]
    for entry in folded if width > 1 else ():
        if entry.size >= LEAST_LANES:
            share = -(-entry.size // width) / entry.size
            names = frozenset((entry.name,))
            steps = (vector_steps(use.position, entry.name, width, names) for use in uses)
            total = sum(use.weight * step for use, step in zip(uses, steps, strict=True))
            costs.append(total * share)
    return min(costs)


# Loops and units


def _loops(axes: list[Axis], lane: Axis | None, lanes: int) -> list[Loop]:
    return [
        Loop(f"{entry.name}.block", -(-entry.size // lanes), entry, True)
        if entry is lane
        else Loop(entry.name, entry.size, entry)
        for entry in axes
    ]


def _ordered(
    loops: list[Loop],
    uses: list[Use],
    folds: list[frozenset[str]],
    owned: frozenset[str] | None,
    kernel: Kernel,
    reread: bool,
) -> tuple[Loop, ...]:
    """Outermost what most folds depend on (they are computed outside the other loops), then the
    batch (innermost where each item would read a large buffer again), then the largest strides of
    the first write. Ordered writes: owned axes, then the rest as they stand in the kernel."""
    names = [entry.name for entry in kernel.axes]

    def key(loop: Loop) -> tuple[float, ...]:
        name = loop.axis.name
        if owned is not None and name not in owned:
            return (1.0, float(names.index(name)))
        needed = sum(name in fold for fold in folds)
        stride = average_stride(uses[0].position, name) * (loop.axis.size / loop.size)
        batch = 0.0 if not loop.batched else 1.0 if reread else -1.0
        return (0.0, -needed, batch, -stride)

    return tuple(sorted(loops, key=key))


def _grouped(
    loops: tuple[Loop, ...],
    kernel: Kernel,
    uses: list[Use],
    folds: list[frozenset[str]],
    lanes: int,
) -> tuple[Loop, ...]:
    """Neighbouring blocks of lanes share the loops of long folds, where that leaves enough units:
    longer runs of memory, and sums that do not wait for each other."""
    if not loops or not loops[-1].lane or loops[-1].axis.size % lanes or kernel.where:
        return loops
    if loops[-1].axis.symbol:
        return loops
    last, name = loops[-1], loops[-1].axis.name
    simple = all(use.buffer and not use.values for use in uses if name in use.axes)
    certain = sum(1 for root in expressions(kernel) for _ in certain_folds(root))
    long = max((use.weight for use in uses), default=0.0) >= LONG
    if not simple or not long or certain != len(folds) or certain > MOST_FOLDS:
        return loops
    if not any(name in fold for fold in folds):
        return loops
    others = math.prod(loop.size for loop in loops[:-1])
    for group in (4, 2):
        if last.size % group == 0 and others * (last.size // group) >= ENOUGH:
            return (*loops[:-1], replace(last, size=last.size // group, group=group))
    return loops


def _reread(scope: Scope, uses: list[Use]) -> bool:
    """Whether a sum reads a large buffer that is the same for all items."""
    for use in uses:
        if use.buffer and use.folded and not use.write:
            stored = scope.storage(use.buffer)
            shared = all(entry.symbol != "n" for entry in stored.buffer.axes)
            if shared and stored.elements >= LARGE:
                return True
    return False


def _units(
    loops: tuple[Loop, ...],
    folds: list[frozenset[str]],
    uses: list[Use],
    lanes: int,
    owned: frozenset[str] | None,
) -> tuple[int, tuple[Loop, ...]]:
    """How many loops are flattened into units, the last of them perhaps in chunks. A loop that
    some fold does not depend on stays inside, or each unit would compute the fold again."""
    count, names = 0, set[str]()
    for loop in loops:
        late = loop.axis.symbol == "t" or (loop.batched and count > 0)
        if late or (owned is not None and loop.axis.name not in owned):
            break
        if not loop.batched:
            inner = _points(loops, count + 1, uses, lanes)
            if inner * loop.size <= UNIT or _splits(loop, names, folds, loops):
                break
            chunk = max(1, UNIT // inner)
            if chunk > 1:
                chunk = -(-loop.size // -(-loop.size // chunk))
                return count + 1, (*loops[:count], replace(loop, chunk=chunk), *loops[count + 1 :])
        names.add(loop.axis.name)
        count += 1
    return count, loops


def _splits(
    loop: Loop, outer: set[str], folds: list[frozenset[str]], loops: tuple[Loop, ...]
) -> bool:
    return any(loop.axis.name not in fold and fold & _names(loops) <= outer for fold in folds)


def _points(loops: tuple[Loop, ...], start: int, uses: list[Use], lanes: int) -> int:
    """About how many accesses the loops from `start` on make, and one chunk of that before."""
    work = max(sum(use.weight for use in uses), 1.0)
    sizes = [loop.size * (lanes * loop.group if loop.lane else 1) for loop in loops[start:]]
    if start and loops[start - 1].lane:
        sizes.append(lanes * loops[start - 1].group)
    return int(math.prod(sizes) * work * (loops[start - 1].chunk if start else 1))


def _names(loops: tuple[Loop, ...]) -> frozenset[str]:
    return frozenset(loop.axis.name for loop in loops)
