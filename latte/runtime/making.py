"""Kernels -> what the cache keeps of them: lowered, printed and compiled, here and elsewhere.

In: orders, each the text of a kernel.  Out: for each a line with its arguments and units, and its
object file; the same bytes wherever they were made.

    order 1, 2, 3, 4, ...     ->     whoever is free takes the next one

LLVM works in threads while the next kernel is lowered. Lowering is Python, which is why other
processes take orders as well (`processes.py`) where there are many; what they leave is made here.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, replace

from latte.codegen.llvm import module
from latte.codegen.llvm_object import Compilers, host_target
from latte.compiler.alone import read
from latte.compiler.machine import Machine
from latte.compiler.vector import Lowered
from latte.runtime.jit import symbol
from latte.runtime.processes import Processes

Lower = Callable[..., Lowered]  # of a kernel, program, machine, axes around, variant if not 0


@dataclass(frozen=True, slots=True)
class Order:
    """A kernel to be made: its `compiler/alone.py` text, and which of its variants."""

    fingerprint: str
    text: str
    variant: int


def make(
    orders: Iterable[Order], lower: Lower, machine: Machine, threads: int
) -> Iterator[tuple[Order, bytes]]:
    """Each order with what was made of it, as soon as it is done."""
    with (
        closing(Processes(lower, machine, threads)) as others,
        closing(Compilers(host_target(machine), threads)) as compilers,
    ):
        left: dict[int, Order] = {}
        for number, order in enumerate(orders):
            left[number] = order
            others.add(order)
        begun: deque[tuple[int, bytes, Future[bytes]]] = deque()
        for number in others.mine():
            head, text = printed(left[number], lower, machine)
            begun.append((number, head, compilers.object(text)))
            if len(begun) > threads:
                yield _ended(left, *begun.popleft())
        while begun:
            yield _ended(left, *begun.popleft())
        for number, data in others.made() if left else ():
            yield left.pop(number), data
        for order in left.values():
            head, text = printed(order, lower, machine)
            yield order, head + compilers.object(text).result()


def _ended(
    left: dict[int, Order], number: int, head: bytes, code: Future[bytes]
) -> tuple[Order, bytes]:
    return left.pop(number), head + code.result()


def printed(order: Order, lower: Lower, machine: Machine) -> tuple[bytes, str]:
    """The line with arguments and units, and the LLVM module of an order."""
    nest = read(order.text)
    rest = (order.variant,) if order.variant else ()
    lowered = lower(nest.kernel, nest.program, machine, nest.around, *rest)
    names = [buffer.name for buffer in nest.program.buffers]
    arguments, units = [names.index(name) for name in lowered.buffers], lowered.units
    head = json.dumps([arguments, units.fixed, units.batched, units.points]) + "\n"
    function = replace(lowered.function, name=symbol(order.fingerprint, order.variant))
    return head.encode(), module([function], machine.fma)
