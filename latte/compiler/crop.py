"""Parts contractions whose windows are clipped into an interior and edges.

In: a Program with layouts.  Out: one in which contractions with little else to make rows of, such
as those of few items, run along an axis whose places all meet the same taps.

    conv.out[n, f, y, x: 13] = sum [c, ky, kx] where 0 <= x + kx - 1 < 13 ...
    ->
    conv.out[n, f, y, x: 11 + 1] = sum [c, ky, kx] where ...           rows along x, nothing clipped
    conv.out[n, f, y, 0] = ...;  conv.out[n, f, y, 12] = ...           the edges, a column each
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from latte.compiler.affine import Affine, axis, constant
from latte.compiler.contract_parts import find_parts
from latte.compiler.contract_plan import cycles
from latte.compiler.contract_spread import spread_view
from latte.compiler.expression import Axis, Guard
from latte.compiler.ir import Group, Item, Kernel, Program, Serial
from latte.compiler.machine import Machine
from latte.compiler.rewrite import substitute_axes

LEAST = 4  # places of an interior that make rows
GAIN = 0.05  # of the whole kernel's time, for which parts are worth their code


def crop(program: Program, machine: Machine) -> Program:
    """The Program with interiors and edges where the interior's tile is better."""
    cropper = _Cropper(program, machine)
    phases = tuple(replace(p, items=cropper.items(p.items)) for p in program.phases)
    return program if phases == program.phases else replace(program, phases=phases)


@dataclass(frozen=True, slots=True)
class _Cropper:
    program: Program
    machine: Machine

    def items(self, items: tuple[Item, ...]) -> tuple[Item, ...]:
        """All items, those in loops too."""
        return tuple(made for item in items for made in self._item(item))

    def _item(self, item: Item) -> tuple[Item, ...]:
        if isinstance(item, Serial | Group):
            return (replace(item, items=self.items(item.items)),)
        return tuple(self._parts(item))

    def _parts(self, kernel: Kernel) -> Iterator[Kernel]:
        """The kernel, or its interior and its edges."""
        whole = self._cycles(kernel)
        chosen = None if whole is None else _widest(kernel)
        if whole is None or chosen is None:
            yield kernel
            return
        a, low, high = chosen
        inside = limited(kernel, a, low, high, kernel.name)
        saved = (whole - (self._cycles(inside) or whole)) * (high - low) / a.size
        if saved < GAIN * whole:
            yield kernel
            return
        yield inside
        for number, (start, stop) in enumerate(((0, low), (high, a.size))):
            if start < stop:
                yield limited(kernel, a, start, stop, f"{kernel.name}.edge.{number}")

    def _cycles(self, kernel: Kernel) -> float | None:
        """About how many cycles a multiply-add of vectors takes; None where this is no contraction,
        or one whose lanes are summed."""
        contraction = spread_view(kernel, self.program, self.machine)
        return None if contraction is None else cycles(contraction, self.machine)


def _widest(kernel: Kernel) -> tuple[Axis, int, int] | None:
    """The axis of which the largest part meets no border, the innermost of such, and that part."""
    found = [(a, *interior(kernel, a)) for a in kernel.axes if a.symbol is None]
    wide = [each for each in reversed(found) if 0 < each[2] - each[1] < each[0].size]
    a, low, high = max(wide, key=lambda e: (e[2] - e[1]) / e[0].size, default=(Axis("", 1), 0, 0))
    return (a, low, high) if high - low >= LEAST and 2 * (high - low) >= a.size else None


def interior(kernel: Kernel, a: Axis) -> tuple[int, int]:
    """The places of an output axis, from the first one on to before the second, at which no
    condition of the sum that depends on it fails, whatever the other axes are."""
    parts = find_parts(kernel)
    assert parts is not None
    ranges = {b.name: (0, b.size - 1) for b in (*kernel.axes, *parts.fold.axes)}
    low, high = 0, a.size
    for guard in parts.fold.where:
        factor = guard.index.coefficient(a.name)
        rest = guard.index - axis(a.name) * factor
        if a.name in rest.axes() or not rest.axes() <= ranges.keys():
            return 0, 0
        least = rest.bounds(ranges)[0]
        if factor > 0:
            low = max(low, -(least // factor))
        elif factor < 0:
            high = min(high, least // -factor + 1)
    return low, high


def limited(kernel: Kernel, a: Axis, start: int, stop: int, name: str) -> Kernel:
    """The kernel on some places of one of its axes."""
    values = {a.name: axis(a.name) + start if stop - start > 1 else constant(start)}
    axes = tuple(
        replace(b, size=stop - start) if b is a else b
        for b in kernel.axes if b is not a or stop - start > 1
    )  # fmt: skip
    lets = tuple(
        replace(let, expression=substitute_axes(let.expression, values)) for let in kernel.lets
    )
    writes = tuple(
        replace(
            write,
            index=tuple(e.substitute(values) if isinstance(e, Affine) else e for e in write.index),
            expression=substitute_axes(write.expression, values),
        )
        for write in kernel.writes
    )
    where = tuple(Guard(guard.index.substitute(values), guard.modulus) for guard in kernel.where)
    return replace(kernel, name=name, axes=axes, lets=lets, writes=writes, where=where)
