"""Sums over all items with few results: partial sums of slices in one sweep, then sums of those.

In: a Program.  Out: a Program in which such sums have as much parallel work as there are slices,
and in which sums over the same places are taken in one sweep.

    bias.grad[f: 20] = sum [n, y: 24, x: 24] out.grad[n, f, y, x]
    gain.grad[f: 20] = sum [n, y: 24, x: 24] out.grad[n, f, y, x] * in[n, f, y, x]
    ->
    bias.grad.partial.0[n, f] = sum [y: 24, x: 24] out.grad[n, f, y, x]
    bias.grad.partial.1[n, f] = sum [y: 24, x: 24] out.grad[n, f, y, x] * in[n, f, y, x]
    bias.grad[f] = sum [n] bias.grad.partial.0[n, f]
    gain.grad[f] = sum [n] bias.grad.partial.1[n, f]

A slice is an item, or a row of it where an item is large. Squares of distances from a mean that is
known only after the sweep are taken from each slice's own mean (Chan, Golub, LeVeque 1979):

    sum (x - m)**2  =  sum over slices of (sum (x - s/k)**2) + k * (s/k - m)**2,  s = sum x, k terms

The order of every sum is fixed by the shapes and the compiled batch alone, so that the bits depend
neither on the number of threads nor on timing. Contractions are left to their own tiles.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import prod

from latte.compiler.affine import Affine, axis
from latte.compiler.align import outer_folds
from latte.compiler.contract_view import recognise
from latte.compiler.expression import (
    Apply,
    Axis,
    Expression,
    Fold,
    Guard,
    Let,
    Load,
    Local,
    Number,
)
from latte.compiler.ir import (
    Buffer,
    Item,
    Kernel,
    Phase,
    Program,
    Write,
    expressions,
    kernels,
    recomputed,
)
from latte.compiler.isolate import axes_of
from latte.compiler.rewrite import inline_lets, rewrite, substitute_axes, substitute_guards, walk

MOST_OWNERS = 1 << 12  # results above which there is work enough without splitting
LEAST_INNER = 16  # terms of a slice that pay for storing a partial sum
LEAST_TERMS = 1 << 14  # terms in all below which one thread is as fast
SLICE = 1 << 14  # elements of a slice that the nearest caches keep


def split_sums(program: Program) -> Program:
    """Splits the sums of every kernel outside of serial loops where that pays."""
    made: dict[str, Buffer] = {}
    phases = tuple(_Splitter(program, made).phase(phase) for phase in program.phases)
    if not made:
        return program
    return replace(program, buffers=(*program.buffers, *made.values()), phases=phases)


@dataclass(slots=True)
class _Sweep:
    """A kernel that sums slices: `slices` are the axes that number them, `inner` those summed.
    `held` says in which buffer each sum lies; `read` is what they read, `later` what the phase
    wrote since then."""

    name: str
    slices: tuple[Axis, ...]
    owners: tuple[Axis, ...]
    inner: tuple[Axis, ...]
    where: tuple[Guard, ...]
    origin: str
    reason: str
    held: dict[Expression, str] = field(default_factory=dict)
    lets: list[Let] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    read: set[str] = field(default_factory=set)
    later: set[str] = field(default_factory=set)

    @property
    def axes(self) -> tuple[Axis, ...]:
        return (*self.slices, *self.owners)

    @property
    def terms(self) -> int:
        """How many terms a slice has, where no guard leaves one out."""
        return prod(entry.size for entry in self.inner)

    def kernel(self) -> Kernel:
        reason = f"{self.reason}, slice by slice"
        lets, writes = tuple(self.lets), tuple(self.writes)
        return Kernel(self.name, self.axes, lets, writes, self.where, self.origin, reason)

    def sees(self, expression: Expression) -> bool:
        """Whether all that an expression reads is there when the sweep runs."""
        return not _buffers(expression) & self.later


@dataclass(slots=True)
class _Splitter:
    """The sweeps and other items of a phase so far."""

    program: Program
    made: dict[str, Buffer]
    sweeps: list[_Sweep] = field(default_factory=list)

    def phase(self, phase: Phase) -> Phase:
        items: list[Item | _Sweep] = []
        for item in phase.items:
            before = len(self.sweeps)
            changed = self._split(item) if isinstance(item, Kernel) else item
            items += [*self.sweeps[before:], changed]
            written = {write.buffer for kernel in kernels((item,)) for write in kernel.writes}
            for sweep in self.sweeps:
                sweep.later |= written
        self.sweeps, made = [], tuple(i.kernel() if isinstance(i, _Sweep) else i for i in items)
        return phase if made == phase.items else replace(phase, items=made)

    def _split(self, kernel: Kernel) -> Kernel:
        folds = tuple(dict.fromkeys(_long_sums(kernel)))
        if not folds or recognise(kernel, self.program) is not None:
            return kernel
        plain = {f: replace(f, body=inline_lets(kernel.lets, f.body)) for f in folds}
        sums = {fold: self._drawn_out(kernel, plain[fold]) for fold in folds}

        def rule(node: Expression) -> Expression | None:
            return sums.get(node) if isinstance(node, Fold) else None

        return recomputed(kernel, lambda expression: rewrite(expression, rule))

    def _drawn_out(self, kernel: Kernel, fold: Fold) -> Expression:
        """What stands for a fold: what does not change inside is multiplied once."""
        inside = {entry.name for entry in fold.axes}
        match fold.body:
            case Apply("neg", (x,)):
                return Apply("neg", (self._drawn_out(kernel, replace(fold, body=x)),))
            case Apply("div" | "mul" as operator, (x, y)) if not axes_of(y) & inside:
                return Apply(operator, (self._drawn_out(kernel, replace(fold, body=x)), y))
            case Apply("mul", (y, x)) if not axes_of(y) & inside:
                return Apply("mul", (y, self._drawn_out(kernel, replace(fold, body=x))))
            case _:
                return self._sum(kernel, fold)

    def _sum(self, kernel: Kernel, fold: Fold) -> Expression:
        """What stands for a fold: a sum over slices."""
        slices, inner = _slices(fold, prod(entry.size for entry in kernel.axes))
        for sweep in self.sweeps:
            names = _same(sweep, kernel, slices, inner)
            if names is None:
                continue
            there = _renamed(fold, names, sweep.inner)
            if not _buffers(there) & sweep.read:
                continue
            if sweep.sees(there):
                return self._whole(kernel, slices, self._held(sweep, there))
            if (squares := self._squares(sweep, kernel, fold, there, slices)) is not None:
                return squares
        sweep = _Sweep(
            f"{kernel.name}.partial", slices, kernel.axes, inner, kernel.where,
            kernel.origin, kernel.reason,
        )  # fmt: skip
        self.sweeps.append(sweep)
        return self._whole(kernel, slices, self._held(sweep, replace(fold, axes=inner)))

    def _held(self, sweep: _Sweep, fold: Fold) -> str:
        """The buffer with a sum of every slice."""
        key = _ordered(fold)
        if key not in sweep.held:
            name = sweep.held[key] = f"{sweep.name}.{len(sweep.writes)}"
            buffer = Buffer(name, sweep.axes, "scratch", sweep.origin)
            assert self.made.setdefault(name, buffer) == buffer, "two kernels have one name"
            place = tuple(axis(entry.name) for entry in sweep.axes)
            sweep.read |= _buffers(fold)
            sweep.lets.append(Let(name, fold))
            sweep.writes.append(Write(name, place, Local(name)))
        return sweep.held[key]

    def _whole(self, kernel: Kernel, slices: tuple[Axis, ...], buffer: str) -> Expression:
        place = tuple(axis(entry.name) for entry in (*slices, *kernel.axes))
        return Fold("sum", slices, Load(buffer, place))

    def _squares(
        self, sweep: _Sweep, kernel: Kernel, fold: Fold, there: Fold, slices: tuple[Axis, ...]
    ) -> Expression | None:
        """A sum of squares of distances from something that the sweep cannot see yet."""
        distance, here = _distance(fold), _distance(there)
        if distance is None or here is None or not sweep.sees(here[0]):
            return None
        total = self._held(sweep, replace(there, body=here[0]))
        share = Number(1.0 / sweep.terms)
        away = Apply("sub", (here[0], Apply("mul", (Local(total), share))))
        inside = self._held(sweep, replace(there, body=Apply("mul", (away, away))))
        place = tuple(axis(entry.name) for entry in (*slices, *kernel.axes))
        apart = Apply("sub", (Apply("mul", (Load(total, place), share)), distance[1]))
        between = Apply("mul", (Apply("mul", (apart, apart)), Number(float(sweep.terms))))
        return Fold("sum", slices, Apply("add", (between, Load(inside, place))))


def _long_sums(kernel: Kernel) -> Iterator[Fold]:
    """The sums over all items that are worth splitting. All name the items alike."""
    owners = prod(entry.size for entry in kernel.axes)
    if owners > MOST_OWNERS or any(entry.symbol for entry in kernel.axes):
        return
    names = set()
    for node in outer_folds(tuple(expressions(kernel))):
        batches = [entry for entry in node.axes if entry.symbol == "n"]
        if node.operator != "sum" or len(batches) != 1:
            continue
        inner = prod(entry.size for entry in node.axes if entry.symbol != "n")
        if inner >= LEAST_INNER and inner * batches[0].size * owners >= LEAST_TERMS:
            names.add(batches[0].name)
            if len(names) == 1:
                yield node


def _buffers(expression: Expression) -> set[str]:
    return {node.buffer for node in walk(expression) if isinstance(node, Load)}


def _slices(fold: Fold, owners: int) -> tuple[tuple[Axis, ...], tuple[Axis, ...]]:
    """The axes that number the slices, the items first, and those summed in each of them."""
    batch = next(entry for entry in fold.axes if entry.symbol == "n")
    inner = [entry for entry in fold.axes if entry is not batch]
    slices = [batch]
    while prod(entry.size for entry in inner) * owners > SLICE:
        if inner[0].symbol or prod(entry.size for entry in inner[1:]) < LEAST_INNER:
            break
        slices.append(inner.pop(0))
    return tuple(slices), tuple(inner)


def _same(
    sweep: _Sweep, kernel: Kernel, slices: tuple[Axis, ...], inner: tuple[Axis, ...]
) -> dict[str, Affine] | None:
    """The sweep's names for a kernel's axes, where it goes over the same places."""
    names: dict[str, Affine] = {}
    for ours, theirs in ((slices, sweep.slices), (kernel.axes, sweep.owners), (inner, sweep.inner)):
        if [(a.size, a.symbol) for a in ours] != [(a.size, a.symbol) for a in theirs]:
            return None
        names |= {a.name: axis(b.name) for a, b in zip(ours, theirs, strict=True)}
    return names if substitute_guards(kernel.where, names) == sweep.where else None


def _renamed(fold: Fold, names: dict[str, Affine], inner: tuple[Axis, ...]) -> Fold:
    body, where = substitute_axes(fold.body, names), substitute_guards(fold.where, names)
    return replace(fold, axes=inner, body=body, where=where)


def _distance(fold: Fold) -> tuple[Expression, Expression] | None:
    """What is compared with what, if a fold sums squares of distances from one number."""
    match fold.body:
        case Apply("mul", (Apply("sub", (a, b)) as x, y)) if x == y and not fold.where:
            inside = {entry.name for entry in fold.axes}
            return (a, b) if not axes_of(b) & inside else None
        case _:
            return None


def _ordered(fold: Fold) -> Fold:
    """The fold with the factors of its products in one order, to compare it with others."""

    def rule(node: Expression) -> Expression | None:
        match node:
            case Apply("mul", operands):
                return replace(node, operands=tuple(sorted(operands, key=repr)))
            case _:
                return None

    return replace(fold, body=rewrite(fold.body, rule))
