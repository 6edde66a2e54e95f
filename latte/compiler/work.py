"""How much a kernel does: what speed is measured against.

In: a kernel, and how many items and steps there are.  Out: operations, each addition,
multiplication and function as 1, places outside a source included; and the bytes that have to
move if each place of a buffer moves once.

    conv1.out [n, f: 20, y: 24, x: 24] = bias + sum [c: 1, ky: 5, kx: 5] w * x   ->   n * 587,520
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from latte.compiler.affine import Affine
from latte.compiler.expression import Apply, Axis, Expression, Fold, Index, Load
from latte.compiler.ir import Buffer, Kernel, expressions
from latte.compiler.rewrite import children, walk

ELEMENT_BYTES = {"f32": 4, "i32": 4, "u8": 1}


def operations(kernel: Kernel, items: int, steps: int = 1) -> int:
    """Operations of one run of the kernel."""
    sizes = {"n": items, "t": steps}
    points = _places(kernel.axes, sizes)
    lets = sum(operations_in(let.expression, sizes) for let in kernel.lets)
    return points * (lets + sum(operations_in(write.expression, sizes) for write in kernel.writes))


def operations_in(expression: Expression, sizes: dict[str, int]) -> int:
    """Operations of one evaluation; `sizes` are the lengths of axes with symbol "n" and "t"."""
    inner = sum(operations_in(child, sizes) for child in children(expression))
    match expression:
        case Fold(_, axes):
            return _places(axes, sizes) * (inner + 1)
        case Apply():
            return inner + 1
        case _:
            return inner


def _places(axes: tuple[Axis, ...], sizes: dict[str, int]) -> int:
    return math.prod(sizes.get(axis.symbol or "", axis.size) for axis in axes)


def bytes_moved(kernel: Kernel, buffers: Mapping[str, Buffer], items: int, steps: int = 1) -> int:
    """Bytes of the boxes that a kernel reads and writes, each buffer once; what stays in a
    worker's caches does not count. Loops around the kernel are taken to run over whole axes."""
    sizes = {"n": items, "t": steps}
    axes = (*kernel.axes, *(axis for e in expressions(kernel) for axis in _fold_axes(e)))
    ranges = {axis.name: (0, sizes.get(axis.symbol or "", axis.size) - 1) for axis in axes}
    boxes: dict[str, int] = {}
    for name, index in _accesses(kernel):
        buffer = buffers[name]
        if buffer.role == "private":
            continue
        places = [_extent(entry, axis, ranges, sizes) for entry, axis in
                  zip(index, buffer.axes, strict=True)]  # fmt: skip
        box = math.prod(places) * ELEMENT_BYTES[buffer.element]
        boxes[name] = max(box, boxes.get(name, 0))
    return sum(boxes.values())


def _accesses(kernel: Kernel) -> Iterator[tuple[str, tuple[Index, ...]]]:
    """Every buffer that is read or written, and where."""
    for expression in expressions(kernel):
        for node in walk(expression):
            if isinstance(node, Load):
                yield node.buffer, node.index
    for write in kernel.writes:
        yield write.buffer, write.index


def _fold_axes(expression: Expression) -> Iterator[Axis]:
    for node in walk(expression):
        if isinstance(node, Fold):
            yield from node.axes


def _extent(
    entry: Index, axis: Axis, ranges: Mapping[str, tuple[int, int]], sizes: Mapping[str, int]
) -> int:
    """How many places along an axis are touched; all, where values or outer loops decide."""
    size = sizes.get(axis.symbol or "", axis.size)
    if not isinstance(entry, Affine) or not entry.axes() <= ranges.keys():
        return size
    low, high = entry.bounds(ranges)
    return max(1, min(high, size - 1) - max(low, 0) + 1)
