"""Gradients behind rows that are looked up: sums over places become sums over rows.

    kernel seen [n, t, i]  seen[n, t, i] = w[text[n, t], i]                   w: 65 rows
    kernel wx.grad [g, i]  wx.grad[g, i] = sum [n, t] seen[n, t, i] * gate.grad[n, t, g]
    kernel seen.grad [n, t, i]  seen.grad[n, t, i] = sum [g] wx[g, i] * gate.grad[n, t, g]
    kernel w.grad [n, t, i]  w.grad[text[n, t], i] += seen.grad[n, t, i]
->  kernel gate.grad.rows [row: 65, g]  gate.grad.rows[row, g] = 0
    kernel gate.grad.rows#2 [n, t, g]  gate.grad.rows[text[n, t], g] += gate.grad[n, t, g]
    kernel wx.grad [g, i]  wx.grad[g, i] = sum [row: 65] w[row, i] * gate.grad.rows[row, g]
    kernel seen.grad [n, t, i]  ...                                             if still read
    kernel w.grad [row: 65, i]  w.grad[row, i] += sum [g] wx[g, i] * gate.grad.rows[row, g]

It pays where there are fewer rows than places that look one up. Terms are added in another order,
so that results differ by their rounding. `tabulate` does the same for values.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from math import prod

from latte.compiler.affine import Affine, axis
from latte.compiler.contract_parts import affine_index, product
from latte.compiler.expression import Apply, Axis, Expression, Fold, Load, Number
from latte.compiler.ir import (
    READABLE,
    Buffer,
    Item,
    Kernel,
    Phase,
    Program,
    Write,
    kernels,
    recomputed,
)
from latte.compiler.isolate import axes_of
from latte.compiler.plan_memory import reads, writes
from latte.compiler.rewrite import rewrite, substitute_axes
from latte.compiler.tabulate import (
    LEAST_TERMS,
    WORTH,
    found_in,
    fresh,
    plain_axes,
    still_copied,
)


def sum_rows(program: Program) -> Program:
    """The Program with sums over rows, in phases after which not every value stays readable."""
    maker = _Maker({buffer.name: buffer for buffer in program.buffers})
    phases = tuple(
        phase if phase.name in READABLE else maker.phase(phase) for phase in program.phases
    )
    if not maker.made:
        return program
    return replace(program, buffers=(*program.buffers, *maker.made.values()), phases=phases)


@dataclass(frozen=True, slots=True)
class _Lookup:
    """Rows of a buffer of `size` rows, chosen by the value `place`, which changes along `axes`."""

    place: Expression
    size: int

    @property
    def axes(self) -> frozenset[str]:
        return axes_of(self.place)


@dataclass(slots=True)
class _Maker:
    """As far as it holds at this point of a phase: `copied` are the kernels that only look up, by
    what they fill, `sums` those that fill a buffer with sums of products, `added` those that add
    places up by rows. `made` are the new buffers, `definitions` what they hold, `before` what to
    put before the kernel at hand."""

    buffers: dict[str, Buffer]
    made: dict[str, Buffer] = field(default_factory=dict)
    definitions: dict[str, Kernel] = field(default_factory=dict)
    copied: dict[str, Kernel] = field(default_factory=dict)
    sums: dict[str, tuple[Kernel, ...]] = field(default_factory=dict)
    added: dict[str, Kernel] = field(default_factory=dict)
    before: list[Kernel] = field(default_factory=list)

    def phase(self, phase: Phase) -> Phase:
        self.copied, self.sums, self.added = {}, {}, {}
        return replace(phase, items=tuple(made for i in phase.items for made in self._item(i)))

    def _item(self, item: Item) -> Iterator[Item]:
        self.before = []
        left = self._kernel(item) if isinstance(item, Kernel) else (item,)
        yield from (*self.before, *left)
        self._note(item)

    def _kernel(self, kernel: Kernel) -> tuple[Kernel, ...]:
        if (spread := self._spread(kernel)) is not None:
            return spread
        if not reads(kernel) & self.copied.keys():
            return (kernel,)

        def rule(node: Expression) -> Expression | None:
            return self._over_rows(kernel, node) if isinstance(node, Fold) else None

        return (recomputed(kernel, lambda expression: rewrite(expression, rule)),)

    def _note(self, item: Item) -> None:
        """What holds after an item."""
        written = frozenset(name for kernel in kernels((item,)) for name in writes(kernel))
        self.copied = still_copied(self.copied, item)
        sums = dict(self.sums)
        for name, summed in self.sums.items():
            if written & (frozenset[str]().union(*(reads(each) for each in summed)) | {name}):
                del sums[name]
        if isinstance(item, Kernel) and _is_sum(item):
            [write] = item.writes
            before = self.sums.get(write.buffer, ()) if write.add else ()
            if before or not write.add:
                sums[write.buffer] = (*before, item)
        self.sums = sums
        self.added = {
            name: kernel for name, kernel in self.added.items() if not written & reads(kernel)
        }

    def _over_rows(self, kernel: Kernel, fold: Fold) -> Fold | None:
        """A sum over places of a looked-up factor and another, as a sum over rows."""
        factors = product(fold.body)
        if fold.operator != "sum" or fold.where or factors is None or len(factors) != 2:
            return None
        for number, factor in enumerate(factors):
            source, other = found_in(self.copied, factor), factors[1 - number]
            looked = self._looked(source.index) if isinstance(source, Load) else None
            if looked is None or not isinstance(source, Load):
                continue
            lookup = _Lookup(looked, self._rows(source.buffer, source.index))
            new = [a for a in kernel.axes if a.name not in axes_of(other)]
            if self._pays(lookup, fold.axes, new):
                row = Axis(fresh("row", (*kernel.axes, *fold.axes)), lookup.size)
                if (table := self._table(lookup, other, row, fold.axes)) is not None:
                    inner = tuple(a for a in fold.axes if a.name not in lookup.axes)
                    body = Apply("mul", (_at_row(source, row), table))
                    return Fold("sum", (row, *inner), body)
        return None

    def _spread(self, kernel: Kernel) -> tuple[Kernel, ...] | None:
        """A kernel that adds sums to the rows of their places, as sums that are rows."""
        [*writes_, write] = kernel.writes
        load, place = write.expression, self._looked(write.index)
        plain = not writes_ and write.add and not kernel.lets and not kernel.where
        if not plain or place is None or not isinstance(load, Load) or load.buffer not in self.sums:
            return None
        names = [str(entry) for entry in load.index]
        if {*names} != {a.name for a in kernel.axes} or len(names) != len(kernel.axes):
            return None
        found = [
            self._row_sum(kernel, write, names, each, number)
            for number, each in enumerate(self.sums[load.buffer])
        ]
        return None if None in found else tuple(each for each in found if each is not None)

    def _row_sum(
        self, kernel: Kernel, write: Write, names: list[str], summed: Kernel, number: int
    ) -> Kernel | None:
        """What one of the sums adds to the rows."""
        filled = plain_axes(summed.writes[0])
        here, there = ({a.name: a.size for a in each.axes} for each in (kernel, summed))
        if any(here[a] != there[b] for a, b in zip(names, filled, strict=True)):
            return None  # a part of what was summed
        own = dict(zip(names, map(axis, filled), strict=True))
        index = tuple(
            e.substitute(own) if isinstance(e, Affine) else substitute_axes(e, own)
            for e in write.index
        )
        fold, place = summed.writes[0].expression, self._looked(index)
        factors = product(fold.body) if isinstance(fold, Fold) else None
        if factors is None or place is None or not isinstance(fold, Fold):
            return None
        lookup = _Lookup(place, self._rows(write.buffer, index))
        changing = [factor for factor in factors if axes_of(factor) & lookup.axes]
        if len(changing) != 1:
            return None
        others = tuple(a for a in summed.axes if a.name not in lookup.axes)
        new = [a for a in others if a.name not in axes_of(changing[0])]
        row = Axis(fresh("row", (*summed.axes, *fold.axes)), lookup.size)
        if not self._pays(lookup, summed.axes, new):
            return None
        if (table := self._table(lookup, changing[0], row, summed.axes)) is None:
            return None
        body = rewrite(fold.body, lambda node: table if node == changing[0] else None)
        place_index = tuple(e if isinstance(e, Affine) else axis(row.name) for e in index)
        made = replace(write, index=place_index, expression=replace(fold, body=body))
        name = f"{kernel.name}.{number}" if number else kernel.name
        return replace(kernel, name=name, axes=(row, *others), writes=(made,))

    def _looked(self, index: tuple[Affine | Expression, ...]) -> Expression | None:
        """The only entry of an index that is a value, if no other changes along with it."""
        places = [entry for entry in index if not isinstance(entry, Affine)]
        if len(places) != 1:
            return None
        own = axes_of(places[0])
        plain = (entry for entry in index if isinstance(entry, Affine))
        return None if any(entry.axes() & own for entry in plain) else places[0]

    def _rows(self, buffer: str, index: tuple[Affine | Expression, ...]) -> int:
        """How many rows there are to look up."""
        sizes = (a.size for a in self.buffers[buffer].axes)
        return next(s for e, s in zip(index, sizes, strict=True) if not isinstance(e, Affine))

    def _pays(self, lookup: _Lookup, axes: tuple[Axis, ...], new: list[Axis]) -> bool:
        """Whether all that the rows are chosen by is among `axes`, and there are fewer rows than
        that, each for enough sums."""
        places = [a for a in axes if a.name in lookup.axes]
        enough = WORTH * lookup.size <= prod(a.size for a in places)
        return (
            len(places) == len(lookup.axes) > 0
            and enough
            and prod(a.size for a in new) >= LEAST_TERMS
        )

    def _table(
        self, lookup: _Lookup, load: Load, row: Axis, every: tuple[Axis, ...]
    ) -> Load | None:
        """A load of what the places of a row add up to, which is computed before the kernel at
        hand; None where a load does not meet each place of its buffer once as `every` axis goes
        on."""
        index, axes = affine_index(load.index), self.buffers[load.buffer].axes
        names = [str(entry) for entry in index or ()]
        if index is None or len({*names}) < len(axes) or not lookup.axes <= {*names}:
            return None
        if any(entry != axis(name) for entry, name in zip(index, names, strict=True)):
            return None
        sizes = {a.name: a.size for a in every}
        if any(sizes.get(n, a.size) != a.size for n, a in zip(names, axes, strict=True)):
            return None
        own = {name: axis(a.name) for name, a in zip(names, axes, strict=True)}
        place = substitute_axes(lookup.place, own)
        kept = [(entry, a) for entry, a in zip(index, axes, strict=True)
                if str(entry) not in lookup.axes]  # fmt: skip
        name = self._added(load.buffer, place, lookup.size, tuple(a for _, a in kept))
        return Load(name, (axis(row.name), *(entry for entry, _ in kept)))

    def _added(self, buffer: str, place: Expression, size: int, kept: tuple[Axis, ...]) -> str:
        """The buffer with a buffer's values added up by rows."""
        axes, row = self.buffers[buffer].axes, Axis(fresh("row", kept), size)
        index = tuple(axis(a.name) for a in kept)
        value = Load(buffer, tuple(axis(a.name) for a in axes))
        reason = f"{buffer} by rows"

        def adding(name: str) -> Kernel:
            write = Write(name, (place, *index), value, add=True)
            return Kernel(f"{name}#2", axes, (), (write,), (), self.buffers[buffer].origin, reason)

        names = (f"{buffer}.rows{k or ''}" for k in count())
        name = next(n for n in names if self.definitions.get(n, adding(n)) == adding(n))
        if name not in self.added:
            clear = Write(name, (axis(row.name), *index), Number(0.0))
            self.before += [
                Kernel(name, (row, *kept), (), (clear,), (), self.buffers[buffer].origin, "clear"),
                adding(name),
            ]
        self.definitions[name] = self.added[name] = adding(name)
        self.made[name] = Buffer(name, (row, *kept), "scratch", self.buffers[buffer].origin)
        return name


def _is_sum(kernel: Kernel) -> bool:
    """Whether a kernel only fills a buffer, or adds to it, with sums of two factors' products."""
    if len(kernel.writes) > 1 or kernel.lets or kernel.where:
        return False
    [write] = kernel.writes
    fold = write.expression
    if not isinstance(fold, Fold) or fold.operator != "sum" or fold.where:
        return False
    factors = product(fold.body)
    return factors is not None and len(factors) == 2 and len(plain_axes(write)) == len(kernel.axes)


def _at_row(load: Load, row: Axis) -> Load:
    """A load with a row in the place of the value that chooses it."""
    index = (e if isinstance(e, Affine) else axis(row.name) for e in load.index)
    return replace(load, index=tuple(index))
