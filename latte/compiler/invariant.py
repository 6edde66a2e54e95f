"""Computes once what a kernel would compute again and again for every item and place.

In: a Program.  Out: one in which costly parts of expressions that depend on few of a kernel's axes
have a scratch buffer and a kernel of their own, in front of it, or of the whole phase.

    norm.out[n, c, y, x] = gamma[c] * (x[n, c, y, x] - m[c]) / sqrt(v[c] + 1e-5) + beta[c]
->  norm.out.steady[c] = 1 / sqrt(v[c] + 1e-5)
    norm.out[n, c, y, x] = gamma[c] * (x[n, c, y, x] - m[c]) * norm.out.steady[c] + beta[c]

A division by such a part becomes a multiplication by its reciprocal: at most one rounding more. In
inference, parts that depend on parameters alone are then computed when those change.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import count
from math import prod

from latte.compiler.affine import Affine, axis
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
    Random,
)
from latte.compiler.ir import Buffer, Item, Kernel, Phase, Program, Write, kernels
from latte.compiler.isolate import axes_of
from latte.compiler.rewrite import substitute_locals, walk

COSTLY = frozenset({"div", "sqrt", "exp", "log", "tanh", "sigmoid", "erf", "sin", "cos", "pow"})
TRUTHS = frozenset({"lt", "le", "gt", "ge", "eq", "ne", "and", "or", "not"})
WORTH = 16  # times that a part is used, from which a buffer for it pays


def invariant(program: Program) -> Program:
    """The Program with such parts in front of the kernels outside of loops."""
    maker = _Maker(program)
    phases = tuple(maker.phase(phase) for phase in program.phases)
    if not maker.scratch:
        return program
    return replace(program, buffers=(*program.buffers, *maker.scratch.values()), phases=phases)


@dataclass(slots=True)
class _Maker:
    """`known` says which buffers hold which parts at this point of the phase, `written` what the
    phase wrote so far; `made` what each scratch buffer is for, in all phases. `front` and `before`
    are the kernels to put in front of the phase, and of the kernel at hand."""

    program: Program
    scratch: dict[str, Buffer] = field(default_factory=dict)
    made: dict[str, Expression] = field(default_factory=dict)
    known: dict[Expression, Load] = field(default_factory=dict)
    written: set[str] = field(default_factory=set)
    front: list[Item] = field(default_factory=list)
    before: list[Item] = field(default_factory=list)
    elements: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.elements = {buffer.name: buffer.element for buffer in self.program.buffers}

    def phase(self, phase: Phase) -> Phase:
        self.known, self.written, self.front = {}, set(), []
        items = [made for item in phase.items for made in self._item(item)]
        return replace(phase, items=(*self.front, *items))

    def _item(self, item: Item) -> list[Item]:
        self.before = []
        changed = self._kernel(item) if isinstance(item, Kernel) else item
        written = {write.buffer for kernel in kernels((item,)) for write in kernel.writes}
        self.written |= written
        self.known = {e: load for e, load in self.known.items() if not _reads(e) & written}
        return [*self.before, changed]

    def _kernel(self, kernel: Kernel) -> Kernel:
        part = _Part(self, kernel)
        steady: dict[str, Expression] = {}
        lets: list[Let] = []
        for let in kernel.lets:
            expression = substitute_locals(let.expression, steady)
            if part.steady(expression, ()):
                steady[let.name] = expression
            else:
                lets.append(Let(let.name, expression))
        lets = [Let(let.name, part.changed(let.expression, ())) for let in lets]
        writes = tuple(
            replace(w, expression=part.changed(substitute_locals(w.expression, steady), ()))
            for w in kernel.writes
            if all(isinstance(entry, Affine) for entry in w.index)
        )
        if len(writes) < len(kernel.writes) or not part.used:
            return kernel
        return replace(kernel, lets=tuple(lets), writes=writes)

    def load(self, value: Expression, axes: tuple[Axis, ...], kernel: Kernel) -> Load:
        """Where a part is found; the kernel that computes it is added if there is none yet."""
        if value in self.known:
            return self.known[value]
        names = (f"{kernel.name}.steady{k or ''}" for k in count())
        name = next(n for n in names if self.made.get(n, value) == value and n not in self.elements)
        place = tuple(axis(a.name) for a in axes)
        self.made[name] = value
        self.scratch[name] = Buffer(name, axes, "scratch", kernel.origin)
        write = Write(name, place, value)
        made = Kernel(name, axes, (), (write,), (), kernel.origin, kernel.reason)
        (self.before if _reads(value) & self.written else self.front).append(made)
        self.known[value] = Load(name, place)
        return self.known[value]


@dataclass(slots=True)
class _Part:
    """The search in one kernel."""

    maker: _Maker
    kernel: Kernel
    used: bool = False

    def changed(self, expression: Expression, folds: tuple[Fold, ...]) -> Expression:
        """The expression with loads in the place of its costly steady parts."""
        if self.steady(expression, folds) and _costly(expression):
            return self._load(expression)
        match expression:
            case Apply("div", (a, b)) if axes_of(b) and self.steady(b, folds):
                inner = self.changed(a, folds)
                return Apply("mul", (inner, self._load(Apply("div", (Number(1.0), b)))))
            case Apply(_, operands):
                changed = tuple(self.changed(operand, folds) for operand in operands)
                return expression if changed == operands else replace(expression, operands=changed)
            case Fold():
                body = self.changed(expression.body, (*folds, expression))
                return expression if body == expression.body else replace(expression, body=body)
            case _:
                return expression

    def steady(self, expression: Expression, folds: tuple[Fold, ...]) -> bool:
        """Whether a part depends on few of the axes around it, and may be computed ahead."""
        every = (*self.kernel.axes, *(a for fold in folds for a in fold.axes))
        own = [a for a in self.kernel.axes if a.name in axes_of(expression)]
        if {a.name for a in own} != axes_of(expression):
            return False
        if prod(a.size for a in own) * WORTH > prod(a.size for a in every):
            return False
        where = (*self.kernel.where, *(guard for fold in folds for guard in fold.where))
        return self._movable(expression, where)

    def _movable(self, expression: Expression, where: tuple[Guard, ...]) -> bool:
        written = {write.buffer for write in self.kernel.writes}
        guarded = {name for guard in where for name in guard.index.axes()}
        for node in walk(expression):
            match node:
                case Fold() | Random() | Local():
                    return False
                case Load(buffer, index):
                    plain = all(isinstance(entry, Affine) for entry in index)
                    floats = self.maker.elements.get(buffer, "f32") == "f32"
                    if not plain or not floats or buffer in written:
                        return False
                    if axes_of(node) & guarded:
                        return False
                case _:
                    pass
        return True

    def _load(self, value: Expression) -> Load:
        own = axes_of(value)
        axes = tuple(a for a in self.kernel.axes if a.name in own)
        self.used = True
        return self.maker.load(value, axes, self.kernel)


def _costly(expression: Expression) -> bool:
    """Whether a part is worth a buffer; one number without axes moves out of loops anyway."""
    truth = isinstance(expression, Apply) and expression.operator in TRUTHS
    if truth or not axes_of(expression):
        return False
    return any(isinstance(n, Apply) and n.operator in COSTLY for n in walk(expression))


def _reads(expression: Expression) -> set[str]:
    return {node.buffer for node in walk(expression) if isinstance(node, Load)}
