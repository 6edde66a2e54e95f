"""Sums over rows that are looked up become rows of a table of sums: Program -> Program.

    kernel seen  [n, t, i]  seen[n, t, i] = w[text[n, t], i]                  w: 65 rows
    kernel gates [n, t, g]  gates[n, t, g] = b[g] + sum [i] wx[g, i] * seen[n, t, i]
->  kernel seen  [n, t, i]  ...                                               if still read
    kernel gates.table [row: 65, g]  gates.table[row, g] = sum [i] wx[g, i] * w[row, i]
    kernel gates [n, t, g]  gates[n, t, g] = b[g] + gates.table[text[n, t], g]

It pays where there are fewer rows than places that look one up; the bits stay what they were. In
inference the table depends on parameters alone, so that it is computed when those change.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from math import prod

from latte.compiler.affine import Affine, axis
from latte.compiler.expression import (
    Axis,
    Expression,
    Fold,
    Load,
    Local,
    Random,
)
from latte.compiler.ir import Buffer, Item, Kernel, Phase, Program, Write, kernels, recomputed
from latte.compiler.isolate import axes_of
from latte.compiler.plan_memory import reads, writes
from latte.compiler.rewrite import rewrite, substitute_axes, walk

WORTH = 2  # places that look up a row, for each row
LEAST_TERMS = 8  # of a sum, below which looking it up saves nothing


def tabulate(program: Program) -> Program:
    """The Program with tables in front of the kernels that look up in them."""
    maker = _Maker({buffer.name: buffer for buffer in program.buffers})
    phases = tuple(maker.phase(phase) for phase in program.phases)
    if not maker.tables:
        return program
    return replace(program, buffers=(*program.buffers, *maker.tables.values()), phases=phases)


@dataclass(slots=True)
class _Maker:
    """`copied` are the kernels that only look up, by what they fill, as far as that still holds;
    `made` says what each table holds, in all phases, `before` what to put before the kernel at
    hand."""

    buffers: dict[str, Buffer]
    tables: dict[str, Buffer] = field(default_factory=dict)
    made: dict[str, Fold] = field(default_factory=dict)
    copied: dict[str, Kernel] = field(default_factory=dict)
    before: list[Kernel] = field(default_factory=list)

    def phase(self, phase: Phase) -> Phase:
        self.copied = {}
        return replace(phase, items=tuple(made for i in phase.items for made in self._item(i)))

    def _item(self, item: Item) -> Iterator[Item]:
        if isinstance(item, Kernel) and self.copied:
            self.before = []
            item = self._changed(item)
            yield from self.before
        yield item
        self.copied = still_copied(self.copied, item)

    def _changed(self, kernel: Kernel) -> Kernel:
        if not reads(kernel) & self.copied.keys():
            return kernel

        def rule(node: Expression) -> Expression | None:
            return self._table(kernel, node) if isinstance(node, Fold) else None

        made = recomputed(kernel, lambda expression: rewrite(expression, rule))
        return made if self.before else kernel

    def _table(self, kernel: Kernel, fold: Fold) -> Load | None:
        """Where a sum is looked up, whose table is then computed before; None where it is not."""
        body = rewrite(fold.body, self._source)
        places = {e for load in _loads(body) for e in load.index if not isinstance(e, Affine)}
        sizes = {size for load in _loads(body) for size in self._sizes(load)}
        if fold.operator != "sum" or len(places) != 1 or len(sizes) != 1:
            return None
        (place,), (size,) = places, sizes
        row = Axis(fresh("row", (*kernel.axes, *fold.axes)), size)
        sums = replace(fold, body=rewrite(body, lambda node: _at(node, place, axis(row.name))))
        own = axes_of(sums) - {a.name for a in (row, *fold.axes)}
        axes = tuple(a for a in kernel.axes if a.name in own and not a.symbol)
        if (
            len(axes) < len(own)
            or not _free(sums, place, own)
            or not _pays(kernel, fold, place, size)
        ):
            return None
        return self._looked_up(kernel, sums, (row, *axes), place)

    def _source(self, node: Expression) -> Expression | None:
        return found_in(self.copied, node)

    def _sizes(self, load: Load) -> Iterator[int]:
        """How many rows there are where a load looks one up."""
        buffer = self.tables.get(load.buffer) or self.buffers[load.buffer]
        for entry, a in zip(load.index, buffer.axes, strict=True):
            if not isinstance(entry, Affine):
                yield a.size

    def _looked_up(
        self, kernel: Kernel, sums: Fold, axes: tuple[Axis, ...], place: Expression
    ) -> Load:
        """A load from a table over those axes, which is computed before the kernel at hand."""
        names = (f"{kernel.name}.table{k or ''}" for k in count())
        name = next(n for n in names if n not in self.buffers and self.made.get(n, sums) == sums)
        index = tuple(axis(a.name) for a in axes)
        if all(known.name != name for known in self.before):
            write = Write(name, index, sums)
            self.before.append(Kernel(name, axes, (), (write,), (), kernel.origin, kernel.reason))
        self.made[name] = sums
        self.tables[name] = Buffer(name, axes, "scratch", kernel.origin)
        return Load(name, (place, *index[1:]))


def found_in(copied: dict[str, Kernel], node: Expression) -> Expression | None:
    """What a load finds, where a kernel only copies that to where it looks; None elsewhere."""
    if not isinstance(node, Load) or node.buffer not in copied:
        return None
    places = [entry for entry in node.index if isinstance(entry, Affine)]
    if len(places) < len(node.index):
        return None
    [write] = copied[node.buffer].writes
    return substitute_axes(write.expression, dict(zip(plain_axes(write), places, strict=True)))


def still_copied(copied: dict[str, Kernel], item: Item) -> dict[str, Kernel]:
    """The kernels that only look up, by what they fill, as far as that holds after an item."""
    written = frozenset(name for kernel in kernels((item,)) for name in writes(kernel))
    left = {k: each for k, each in copied.items() if not written & (reads(each) | {k})}
    if isinstance(item, Kernel) and looks_up(item):
        left[item.writes[0].buffer] = item
    return left


def looks_up(kernel: Kernel) -> bool:
    """Whether a kernel only copies rows of a buffer, which ones being values."""
    if len(kernel.writes) > 1 or kernel.lets or kernel.where or kernel.writes[0].add:
        return False
    [write] = kernel.writes
    load = write.expression
    if not isinstance(load, Load) or len(plain_axes(write)) < len(kernel.axes):
        return False
    return sum(not isinstance(entry, Affine) for entry in load.index) == 1


def plain_axes(write: Write) -> tuple[str, ...]:
    """The axes along which a write goes, each by itself; () where it does not."""
    names = tuple(str(e) for e in write.index if isinstance(e, Affine))
    plain = all(entry == axis(name) for entry, name in zip(write.index, names, strict=False))
    return names if plain and len(names) == len(write.index) == len({*names}) else ()


def _free(sums: Fold, place: Expression, own: frozenset[str]) -> bool:
    """Whether a sum changes along what looks up by the row alone, and its terms share the row."""
    mixed = axes_of(place) & (own | {a.name for a in sums.axes})
    parts = (node for each in (sums, place) for node in walk(each))
    return not mixed and not any(isinstance(node, Local | Random) for node in parts)


def _pays(kernel: Kernel, fold: Fold, place: Expression, size: int) -> bool:
    """Whether there are fewer rows than places that look one up, and sums are long enough."""
    looking = [a.size for a in kernel.axes if a.name in axes_of(place)]
    return WORTH * size <= prod(looking) and prod(a.size for a in fold.axes) >= LEAST_TERMS


def _loads(expression: Expression) -> list[Load]:
    return [node for node in walk(expression) if isinstance(node, Load)]


def _at(node: Expression, place: Expression, row: Affine) -> Expression | None:
    """A load with a row in the place of the value that chooses it."""
    if not isinstance(node, Load) or place not in node.index:
        return None
    return replace(node, index=tuple(row if entry == place else entry for entry in node.index))


def fresh(name: str, axes: tuple[Axis, ...]) -> str:
    """The name, changed if an axis has it."""
    while any(a.name == name for a in axes):
        name += "'"
    return name
