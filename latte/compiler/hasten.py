"""Moves updates up to right behind what they wait for, so that large gradients live shortly.

In: a Program.  Out: the same items, those that change a parameter earlier.

    g1 = ..; g2 = ..; w1 -= g1; w2 -= g2      ->      g1 = ..; w1 -= g1; g2 = ..; w2 -= g2

An update stays behind all that reads the parameter, and behind the loss, which decides whether the
step counts. Small ones stay at the end, where threads meet once for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from latte.compiler.ir import LASTING, LOSS, Buffer, Item, Program
from latte.compiler.plan_memory import Use, buffer_bytes

LARGE = 2**18  # bytes of a gradient that is worth a meeting of the threads


def hasten(program: Program) -> Program:
    """The program with large updates early."""
    buffers = {buffer.name: buffer for buffer in program.buffers}
    phases = tuple(replace(p, items=_hastened(p.items, buffers)) for p in program.phases)
    return program if phases == program.phases else replace(program, phases=phases)


def _hastened(items: tuple[Item, ...], buffers: Mapping[str, Buffer]) -> tuple[Item, ...]:
    order: list[tuple[Item, Use]] = []
    for item in items:
        use, place = Use.of(item), len(order)
        if _large_update(use, buffers):
            while place and not _must_follow(use, order[place - 1][1]):
                place -= 1
        order.insert(place, (item, use))
    return tuple(item for item, _ in order)


def _must_follow(update: Use, other: Use) -> bool:
    """Whether an update cannot come before another item."""
    met = update.written & (other.read | other.written) or update.read & other.written
    return bool(met) or LOSS in other.written


def _large_update(use: Use, buffers: Mapping[str, Buffer]) -> bool:
    """Whether an item changes what outlives the phase by way of a large gradient."""
    changes = any(buffers[name].role in LASTING for name in use.written)
    gradients = [buffers[name] for name in use.read if buffers[name].role == "parameter gradient"]
    return changes and any(buffer_bytes(gradient) >= LARGE for gradient in gradients)
