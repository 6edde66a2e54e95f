"""A kernel by itself: all that decides its code, and nothing that only names it.

    kernel conv4.out of VGG ...     ->     a Program of one kernel over the buffers b0, b1, b2

In: a kernel of a Program, with the loops around it.  Out: `Alone`. Kernels that differ only in the
names of buffers and nodes are equal alone, with one fingerprint: each is lowered once, whichever
layer, phase or net it came from. Equal parts of its expressions are one object.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from latte.compiler.expression import Axis, Load
from latte.compiler.ir import Kernel, Phase, Program, Write
from latte.compiler.structure import Table, digest, forms


@dataclass(frozen=True, slots=True)
class Alone:
    """`program` has `kernel` only, `around` are the axes of the loops that it is in; its buffer
    `b2` is `buffers[2]` of the net."""

    fingerprint: str
    program: Program
    kernel: Kernel
    around: tuple[Axis, ...]
    buffers: tuple[str, ...]


class _Anonymous(Table):
    """Rows in which buffers are named by the order in which they are met."""

    def __init__(self) -> None:
        super().__init__()
        self.names: dict[str, str] = {}

    def parts(self, form: Any) -> Iterable[Any]:
        parts = super().parts(form)
        if type(form) is not Load and type(form) is not Write:
            return parts
        buffer, *rest = parts
        return (self.names.setdefault(buffer, f"b{len(self.names)}"), *rest)


def alone(kernel: Kernel, around: tuple[Axis, ...], program: Program) -> Alone:
    """A kernel without its surroundings; `around` are the axes of the loops that it is in."""
    bare = replace(kernel, name="kernel", origin="", reason="")
    table = _Anonymous()
    number = table.number(bare)
    buffers = tuple(
        replace(program.buffer(name), name=new, origin="") for name, new in table.names.items()
    )
    last = table.number((buffers, program.scalars, around))
    made = forms(table.rows)
    kernel, (buffers, scalars, around) = made[number], made[last]
    small = Program("alone", buffers, (Phase("alone", (kernel,)),), scalars)
    return Alone(digest(table.rows), small, kernel, around, tuple(table.names))
