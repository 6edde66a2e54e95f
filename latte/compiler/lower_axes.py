"""Which loops walk a kernel's axes: padded, split into stored blocks, merged with neighbours.

In: a kernel's axes and where they occur.  Out: other axes, and the old ones as expressions of them.

    weight[f: 64, c: 8] -= ..., both buffers stored [f / 16][c][f % 16]
    ->  f = 16 * f.outer + f.inner;  f.outer, c and f.inner are one axis of 512

An axis grows to its padding where all that it indexes is stored with that padding, which may hold
anything: then there is no remainder, and more axes merge.
"""

from __future__ import annotations

from latte.compiler.affine import Affine, Floor, axis
from latte.compiler.expression import Axis
from latte.compiler.ir import Dim, Kernel
from latte.compiler.lower_access import lane_stride
from latte.compiler.lower_cost import FAR
from latte.compiler.lower_scope import Scope
from latte.compiler.lower_uses import Use


def walked(scope: Scope, kernel: Kernel, uses: list[Use]) -> tuple[dict[str, Affine], list[Axis]]:
    """Views of the kernel's axes, and the axes that loops walk instead."""
    axes: list[Axis] = []
    views: dict[str, Affine] = {}
    unknown = {name: (-FAR, FAR) for use in uses for name in use.axes}  # axes of folds
    ranges = unknown | scope.ranges
    for entry in kernel.axes:
        parts = _split(entry, _block(scope, entry, uses), uses, scope)
        axes += parts
        ranges |= {part.name: (0, part.size - 1) for part in parts}
        if len(parts) == 2:
            views[entry.name] = axis(parts[0].name) * parts[1].size + axis(parts[1].name)
    uses = [use.through(views, ranges) for use in uses]
    merged, axes = _merged(axes, uses)
    views = {name: view.substitute(merged) for name, view in views.items()}
    names = {entry.name for entry in kernel.axes}
    return views | {key: view for key, view in merged.items() if key in names}, axes


def _block(scope: Scope, entry: Axis, uses: list[Use]) -> int:
    """The block in which a buffer stores an axis, the first written one before others; or 0."""
    for use in uses:
        for dim in scope.storage(use.buffer).dims if use.buffer else ():
            if dim.modulo > 1 and use.index[dim.axis] == axis(entry.name):
                return dim.modulo
    return 0


def _split(entry: Axis, block: int, uses: list[Use], scope: Scope) -> list[Axis]:
    """The axis itself, or its blocks and the places in a block."""
    if entry.symbol is not None:
        return [entry]
    unit = block or scope.width
    whole = -(-entry.size // unit) * unit
    if whole != entry.size:
        if not all(_padded(scope, use, entry.name, whole) for use in uses):
            return [entry]
        entry = Axis(entry.name, whole)
    if not block or whole == block:
        return [entry]
    return [Axis(f"{entry.name}.outer", whole // block), Axis(f"{entry.name}.inner", block)]


def _padded(scope: Scope, use: Use, name: str, size: int) -> bool:
    """Whether a use allows an axis to be longer: all it reaches is stored, and no sum has it."""
    if name not in use.axes:
        return not use.write
    if not use.buffer or use.values:
        return False
    stored = scope.storage(use.buffer)
    alone = [place for place, entry in enumerate(use.index) if entry == axis(name)]
    others = [e for e in use.index if isinstance(e, Affine) and e != axis(name)]
    if len(alone) != 1 or any(name in e.axes() for e in others) or stored.buffer.element == "i32":
        return False
    if stored.dims[-1].axis != alone[0]:
        return False  # what lies behind other axes is a border: it is someone's
    return all(dim.axis != alone[0] or _reaches(dim, size - 1) for dim in stored.dims)


def _reaches(dim: Dim, last: int) -> bool:
    """Whether the storage of a dimension goes as far as a logical index, from its beginning."""
    place = last // dim.divide
    place = min(place, dim.modulo - 1) if dim.modulo else place
    return dim.before == 0 and place < dim.extent


def _merged(axes: list[Axis], uses: list[Use]) -> tuple[dict[str, Affine], list[Axis]]:
    """Neighbouring axes (by the order of the first write) that can be walked as one."""
    first = uses[0].position
    ordered = sorted(axes, key=lambda entry: -average_stride(first, entry.name))
    views: dict[str, Affine] = {}
    positions = [use.position for use in uses]
    place = len(ordered) - 1
    while place > 0:
        a, b = ordered[place - 1], ordered[place]
        if _one(a, b, positions):
            name = f"{a.name}_{b.name}"
            step = {a.name: axis(name) // b.size, b.name: axis(name) % b.size}
            views = {key: value.substitute(step) for key, value in views.items()} | step
            positions = [position.substitute(step) for position in positions]
            ordered[place - 1 : place + 1] = [Axis(name, a.size * b.size)]
        place -= 1
    names = {entry.name for entry in axes}
    return {key: view for key, view in views.items() if key in names}, ordered


def _one(a: Axis, b: Axis, positions: list[Affine]) -> bool:
    if a.symbol is not None or b.symbol is not None:
        return False
    for position in positions:
        if lane_stride(position, a.name) is None or lane_stride(position, b.name) is None:
            return False
        if position.coefficient(a.name) != position.coefficient(b.name) * b.size:
            return False
    return True


def average_stride(position: Affine, name: str) -> float:
    """How far apart neighbours along an axis lie: the smallest step, floors averaged."""
    steps = [abs(k) for atom, k in position.terms if atom == name]
    for atom, k in position.terms:
        if isinstance(atom, Floor) and name in atom.numerator.axes():
            steps.append(abs(k) // atom.divisor or 1)
    return min(steps, default=0)
