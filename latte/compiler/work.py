"""How much arithmetic a kernel does: what speed is measured against.

In: a kernel, and how many items and steps there are.  Out: operations, each addition,
multiplication and function as 1, places outside a source included.

    conv1.out [n, f: 20, y: 24, x: 24] = bias + sum [c: 1, ky: 5, kx: 5] w * x   ->   n * 587,520
"""

from __future__ import annotations

import math

from latte.compiler.expression import Apply, Axis, Expression, Fold
from latte.compiler.ir import Kernel
from latte.compiler.rewrite import children


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
