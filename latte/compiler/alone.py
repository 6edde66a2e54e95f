"""A kernel by itself: all that decides its code, and nothing that only names it.

    kernel conv4.out of VGG ...     ->     a Program of one kernel over the buffers b0, b1, b2

In: a kernel of a Program, with the loops around it.  Out: `Alone`, a text. Kernels that differ only
in the names of buffers, axes, lets and nodes have the same one: each is lowered once, whichever
layer, phase or net it came from, and by any process. Equal parts of what is read are one object.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from latte.compiler.affine import Affine, axis
from latte.compiler.expression import Axis, Let, Load, Local
from latte.compiler.ir import Buffer, Kernel, Phase, Program, Write
from latte.compiler.structure import Table, forms

ASKED = frozenset({"input", "scratch", "private"})  # roles of buffers that lowering looks at


@dataclass(frozen=True, slots=True)
class Alone:
    """`text` is all of a kernel (`read`), `fingerprint` a hash of that; its buffer `b2` is
    `buffers[2]` of the net."""

    fingerprint: str
    text: str
    buffers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Single:
    """`program` has `kernel` only, `around` are the axes of the loops that it is in."""

    program: Program
    kernel: Kernel
    around: tuple[Axis, ...]


class _Anonymous(Table):
    """Rows in which buffers, axes and lets are named by the order in which they are met."""

    def __init__(self) -> None:
        super().__init__()
        self.buffers: dict[str, str] = {}
        self._axes: dict[str, str] = {}
        lets: dict[str, str] = {}
        self._new = {  # names by kind: where they are kept, and what they begin with
            Load: (self.buffers, "b"), Write: (self.buffers, "b"), Axis: (self._axes, "a"),
            Let: (lets, "l"), Local: (lets, "l"),
        }  # fmt: skip
        self._indices: dict[int, tuple[Affine, int]] = {}
        self._renamed = False  # whether what is walked has its new names already

    def number(self, form: Any) -> int:
        if type(form) is not Affine or self._renamed:
            return super().number(form)
        if id(form) not in self._indices:
            self._renamed = True  # terms are sorted by names: first new ones, then numbers
            places = {name: axis(_named(self._axes, name, "a")) for name in form.axes()}
            self._indices[id(form)] = form, super().number(form.substitute(places))
            self._renamed = False
        return self._indices[id(form)][1]

    def parts(self, form: Any) -> Iterable[Any]:
        parts = super().parts(form)
        new = self._new.get(type(form))
        if new is None:
            return parts
        name, *rest = parts
        return (_named(new[0], name, new[1]), *rest)


def _named(known: dict[str, str], name: str, kind: str) -> str:
    return known.setdefault(name, f"{kind}{len(known)}")


def alone(kernel: Kernel, around: tuple[Axis, ...], program: Program) -> Alone:
    """A kernel without its surroundings; `around` are the axes of the loops that it is in."""
    table, rest = _Anonymous(), Table()
    table.number((around, replace(kernel, name="kernel", origin="", reason="")))
    buffers = tuple(_anonymous(program.buffer(name), new) for name, new in table.buffers.items())
    rest.number((buffers, program.scalars))
    text = json.dumps((table.rows, rest.rows), separators=(",", ":"))
    return Alone(hashlib.sha256(text.encode()).hexdigest(), text, tuple(table.buffers))


def read(text: str) -> Single:
    """What a text of `Alone` says."""
    (around, kernel), (buffers, scalars) = (forms(rows)[-1] for rows in json.loads(text))
    return Single(Program("alone", buffers, (Phase("alone", (kernel,)),), scalars), kernel, around)


def _anonymous(buffer: Buffer, name: str) -> Buffer:
    """What code depends on: sizes, storage, and the roles that lowering asks for."""
    axes = tuple(replace(a, name=str(place)) for place, a in enumerate(buffer.axes))
    role = buffer.role if buffer.role in ASKED else "value"
    return replace(buffer, name=name, axes=axes, role=role, origin="")
