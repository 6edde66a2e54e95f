"""Copies between buffers whose lanes lie along different axes: square tiles turned in registers.

    by_channel[f, c] = weight[f, c]      one stored along c, the other along f
    ->  16 loads along f, 64 shuffles, 16 stores along c

In: a kernel that is one affine load and one affine write.  Out: its code, or None where it is
something else, or where no tile fits the sizes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from latte.compiler.affine import Affine
from latte.compiler.builder import Builder
from latte.compiler.expression import Axis, Load
from latte.compiler.ir import Kernel, Program
from latte.compiler.lower_axes import average_stride, walked
from latte.compiler.lower_scope import Scope
from latte.compiler.lower_uses import find_uses
from latte.compiler.machine import Machine
from latte.compiler.values import Integer, Term
from latte.compiler.vector import Lowered, Units

LEAST_TILE = 4


@dataclass(frozen=True, slots=True)
class _Copy:
    """`a` is contiguous where it is written, `b` where it is read; tiles are `width` square."""

    kernel: Kernel
    target: Affine
    source: Affine
    a: Axis
    b: Axis
    others: tuple[Axis, ...]
    width: int


def transposed(kernel: Kernel, program: Program, machine: Machine) -> Lowered | None:
    """The code of a copy that turns lanes, or None."""
    scope = Scope(Builder(kernel.name), program, machine.width)
    copy = _recognise(scope, kernel, machine.width)
    return _emit(scope, copy) if copy is not None else None


def _recognise(scope: Scope, kernel: Kernel, width: int) -> _Copy | None:
    if len(kernel.writes) != 1 or kernel.where or kernel.lets or kernel.writes[0].add:
        return None
    [write] = kernel.writes
    if not isinstance(write.expression, Load) or write.expression.buffer == write.buffer:
        return None
    scope.declare(kernel.axes)
    uses = find_uses(scope, kernel)
    names = frozenset(entry.name for entry in kernel.axes)
    if len(uses) != 2 or any(use.values or use.axes - names for use in uses):
        return None
    views, axes = walked(scope, kernel, uses)
    for entry in axes:
        scope.ranges[entry.name] = (0, entry.size - 1)
    target, source = (use.through(views, scope.ranges).position for use in uses)
    if not (target.is_linear and source.is_linear):
        return None
    return _tiled(scope, kernel, axes, target, source, width)


def _tiled(
    scope: Scope, kernel: Kernel, axes: list[Axis], target: Affine, source: Affine, width: int
) -> _Copy | None:
    a = next((entry for entry in axes if target.coefficient(entry.name) == 1), None)
    b = next((entry for entry in axes if source.coefficient(entry.name) == 1), None)
    if a is None or b is None or a is b or "t" in (a.symbol, b.symbol):
        return None
    if "n" in (a.symbol, b.symbol) and not _any_item(scope, kernel):
        return None
    while width > 1 and (a.size % width or b.size % width):
        width //= 2
    elements = {scope.storage(name).buffer.element for name in _buffers(kernel)}
    if width < LEAST_TILE or elements != {"f32"}:
        return None
    rest = [entry for entry in axes if entry not in (a, b)]
    if any(entry.symbol == "t" for entry in rest):
        return None
    rest.sort(key=lambda e: (e.symbol != "n", -average_stride(target, e.name)))
    return _Copy(kernel, target, source, a, b, tuple(rest), width)


def _any_item(scope: Scope, kernel: Kernel) -> bool:
    """Whether items that are absent may be written too: nobody reads them in scratch memory."""
    return scope.storage(kernel.writes[0].buffer).buffer.role == "scratch"


def _buffers(kernel: Kernel) -> tuple[str, str]:
    [write] = kernel.writes
    assert isinstance(write.expression, Load)
    return write.buffer, write.expression.buffer


def _emit(scope: Scope, copy: _Copy) -> Lowered:
    """Units are the places of all other axes, and rows of tiles."""
    b, names = scope.b, _buffers(copy.kernel)
    target, source = b.pointer("b0"), b.pointer("b1", readonly=True)
    batched = any(entry.symbol == "n" for entry in copy.others)
    rows = copy.a.size // copy.width
    fixed = rows * math.prod(entry.size for entry in copy.others if entry.symbol is None)
    with b.loop(b.first, b.last) as unit:
        place: Integer = unit % rows
        rest: Integer = unit // rows
        scope.bind(copy.a.name, place * copy.width)
        for entry in reversed(copy.others):
            last = entry is copy.others[0]
            scope.bind(entry.name, rest if last else rest % entry.size)
            rest = rest // entry.size
        with b.loop(0, copy.b.size, copy.width) as column:
            scope.bind(copy.b.name, column)
            _tile(scope, copy, target, source)
    units = Units(fixed, batched, copy.width * copy.b.size * 2)
    return Lowered(b.function(), names, units)


def _tile(scope: Scope, copy: _Copy, target: Term, source: Term) -> None:
    b, width = scope.b, copy.width
    start, step = scope.integer(copy.source), copy.source.coefficient(copy.a.name)
    vectors = [b.load(source, start + step * row, width) for row in range(width)]
    start, step = scope.integer(copy.target), copy.target.coefficient(copy.b.name)
    for row, vector in enumerate(_turned(vectors, b)):
        b.store(vector, target, start + step * row)


def _turned(vectors: list[Term], b: Builder) -> list[Term]:
    """The transpose of a square: in each round, squares of half the size change places."""
    width, half = len(vectors), len(vectors) // 2
    while half:
        low = [lane if not lane & half else width + lane - half for lane in range(width)]
        high = [lane + half if not lane & half else width + lane for lane in range(width)]
        for row in range(width):
            if not row & half:
                first, second = vectors[row], vectors[row + half]
                vectors[row] = b.shuffle(first, second, low)
                vectors[row + half] = b.shuffle(first, second, high)
        half //= 2
    return vectors
