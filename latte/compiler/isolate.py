"""Gives each sum of products a kernel of its own, in the form that contraction code takes.

In: a Program.  Out: one whose large sums of products stand alone; what was made of them reads
scratch buffers.

    serial t: gate[n, j] = b[j] + (sum [i] wx[j, i] * x[n, t, i])
                         + (if t - 1 >= 0 then sum [k] wh[j, k] * h[n, t - 1, k] else 0)
->  gate.sum[n, t, j] = sum [i] wx[j, i] * x[n, t, i]                      before the loop
    serial t: gate.sum1[n, j] = sum [k] where t - 1 >= 0: wh[j, k] * h[n, t - 1, k]
              gate[n, j] = b[j] + gate.sum[n, t, j] + (if ... then gate.sum1[n, j] else 0)

Conditions and factors that do not change inside a sum move out of it; a factor that is more than a
load gets a buffer. Only sums with reuse count: each factor lacks an output axis that another has.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import reduce
from itertools import count
from math import prod

from latte.compiler.affine import Affine, axis
from latte.compiler.align import aligned, alike
from latte.compiler.contract_parts import affine_index, find_parts
from latte.compiler.contract_result import emits
from latte.compiler.expression import (
    Apply,
    Axis,
    Expression,
    Fold,
    Guard,
    Load,
    Number,
    Position,
    Random,
)
from latte.compiler.ir import Buffer, Item, Kernel, Program, Serial, Write, kernels
from latte.compiler.rewrite import inline_lets, rewrite, substitute_axes, walk

WORTH = 8  # multiply-adds for each element of a scratch buffer, from which it pays
ZERO = Number(0.0)


def isolate(program: Program) -> Program:
    """Every large sum of products in a kernel that contraction code can take."""
    maker = _Maker(program)
    phases = tuple(
        replace(phase, items=tuple(made for item in phase.items for made in maker.item(item)))
        for phase in program.phases
    )
    if phases == program.phases:
        return program
    return replace(program, buffers=(*program.buffers, *maker.scratch.values()), phases=phases)


@dataclass(slots=True)
class _Maker:
    """`axes` are those of the buffers; `before` are the kernels that must run before the one at
    hand, `hoisted` those that can run before the loop, `sums` what it took out
    of the kernel at hand."""

    program: Program
    scratch: dict[str, Buffer] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    axes: dict[str, tuple[Axis, ...]] = field(default_factory=dict)
    serial: Serial | None = None
    before: list[Kernel] = field(default_factory=list)
    hoisted: list[Kernel] = field(default_factory=list)
    sums: dict[Fold, Load] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.axes = {buffer.name: buffer.axes for buffer in self.program.buffers}
        self.names = set(self.axes)

    def item(self, item: Item) -> Iterator[Item]:
        """What stands for a kernel or a loop."""
        if isinstance(item, Kernel):
            yield from self._kernel(item)
            return
        assert isinstance(item, Serial), "groups are made later"
        self.serial, self.hoisted = item, []
        inner = tuple(made for kernel in kernels(item.items) for made in self._kernel(kernel))
        yield from self.hoisted
        yield item if inner == item.items else replace(item, items=inner)
        self.serial = None

    def _kernel(self, kernel: Kernel) -> list[Kernel]:
        self.before, self.sums = [], {}
        writes = tuple(
            replace(w, expression=rewrite(inline_lets(kernel.lets, w.expression), normal))
            for w in kernel.writes
        )
        if not any(self._wanted(node, kernel) for w in writes for node in walk(w.expression)):
            return [kernel]
        writes = tuple(
            replace(w, expression=self._loads_only(w.expression, kernel)) for w in writes
        )
        plain = replace(kernel, lets=(), writes=writes)
        parts = find_parts(plain)
        if parts is None or not emits(parts):
            plain = aligned(plain)
            writes = tuple(
                replace(w, expression=self._taken(w.expression, kernel, ())) for w in plain.writes
            )
            plain = replace(kernel, lets=(), writes=writes)
        return [*self.before, plain]

    def _wanted(self, node: Expression, kernel: Kernel) -> bool:
        """Whether this is a sum of products with reuse, large enough for code of its own."""
        if not isinstance(node, Fold) or node.operator != "sum":
            return False
        parts = factors(node.body)
        names = [axes_of(part) & {a.name for a in kernel.axes} for part in parts]
        if len(parts) != 2 or any(affine_index(w.index) is None for w in kernel.writes):
            return False
        both = names[0] - names[1] and names[1] - names[0]
        return (
            bool(both)
            and prod(a.size for a in node.axes) >= WORTH
            and all(_simple(part) or self._worthy(part, node, kernel) for part in parts)
        )

    def _worthy(self, part: Expression, fold: Fold, kernel: Kernel) -> bool:
        """Whether what is more than a load pays when it is computed ahead, outside of the guards,
        and can be."""
        every = (*kernel.axes, *fold.axes)
        own = self._own(part, every, (*kernel.where, *fold.where))
        if own is None or not _movable(part):
            return False
        inside = _free(part, fold.where) or self._inside(own.part, own.axes)
        size = prod(a.size for a in own.axes)
        return inside and size * WORTH <= prod(a.size for a in every)

    def _own(
        self, part: Expression, every: tuple[Axis, ...], where: tuple[Guard, ...]
    ) -> _Own | None:
        """A part over axes of its own, places such as y + ky among them; None where it depends on
        y alone too, or where its own condition may be what keeps a place inside its buffer."""
        names = {a.name for a in every}
        chosen = any(isinstance(node, Apply) and node.operator == "select" for node in walk(part))
        places: dict[Affine, Axis] = {}
        for load in (node for node in walk(part) if isinstance(node, Load)):
            for entry, own in zip(load.index, self.axes[load.buffer], strict=True):
                if isinstance(entry, Affine) and entry.axes() <= names and _composed(entry):
                    if chosen and not _surely_inside(entry, own, every, where):
                        if len(entry.terms) > 1:
                            return None
                        continue  # along the axis itself
                    made = Axis(f"{own.name}.at{len(places)}", own.size, own.symbol)
                    if places.setdefault(entry, made).size != own.size:
                        return None
        named = {entry: axis(a.name) for entry, a in places.items()}
        changed = rewrite(part, lambda node: _placed(node, named))
        plain = tuple(a for a in every if a.name in axes_of(changed))
        if {a.name for a in plain} & {name for entry in places for name in entry.axes()}:
            return None
        axes = sorted((*plain, *places.values()), key=lambda a: (a.symbol != "n", a.symbol != "t"))
        return _Own(changed, tuple(axes), {a.name: entry for entry, a in places.items()})

    def _inside(self, part: Expression, axes: tuple[Axis, ...]) -> bool:
        """Whether all loads stay inside their buffers wherever the axes are."""
        ranges = {a.name: (0, a.size - 1) for a in axes}
        return all(
            isinstance(entry, Affine) and entry.axes() <= ranges.keys()
            and (reach := entry.bounds(ranges))[0] >= 0 and reach[1] < own.size
            for node in walk(part) if isinstance(node, Load)
            for entry, own in zip(node.index, self.axes[node.buffer], strict=True)
        )  # fmt: skip

    # Factors that are more than a load

    def _loads_only(self, expression: Expression, kernel: Kernel) -> Expression:
        match expression:
            case Fold() if self._wanted(expression, kernel):
                parts = factors(expression.body)
                loads = tuple(self._as_load(part, kernel, expression) for part in parts)
                return replace(expression, body=_product(loads))
            case Fold():
                inner = _within(kernel, expression)
                return replace(expression, body=self._loads_only(expression.body, inner))
            case Apply(_, operands):
                changed = tuple(self._loads_only(operand, kernel) for operand in operands)
                return expression if changed == operands else replace(expression, operands=changed)
            case _:
                return expression

    def _as_load(self, part: Expression, kernel: Kernel, fold: Fold) -> Expression:
        if _simple(part):
            return part
        own = self._own(part, (*kernel.axes, *fold.axes), (*kernel.where, *fold.where))
        assert own is not None
        stored = self._stored("factor", own.axes, own.part, kernel, ())
        return substitute_axes(stored, own.places)

    # Sums

    def _taken(self, expression: Expression, kernel: Kernel, path: tuple[Guard, ...]) -> Expression:
        """The expression with loads in place of sums; a sum is 0 where the conditions on the way
        to it, as far as they are guards, do not hold."""
        match expression:
            case Fold() if self._wanted(expression, kernel):
                return self._sum(replace(expression, where=(*expression.where, *path)), kernel)
            case Fold():
                inner = _within(kernel, expression)
                return replace(expression, body=self._taken(expression.body, inner, path))
            case Apply("select", (condition, yes, no)):
                holds, fails = as_guard(condition)
                first = self._taken(yes, kernel, path + holds)
                second = self._taken(no, kernel, path + fails)
                return replace(expression, operands=(condition, first, second))
            case Apply(_, operands):
                taken = tuple(self._taken(operand, kernel, path) for operand in operands)
                return expression if taken == operands else replace(expression, operands=taken)
            case _:
                return expression

    def _sum(self, fold: Fold, kernel: Kernel) -> Load:
        """The load of a sum; of the one that is stored already, if it is the same."""
        for known, load in self.sums.items():
            if alike(fold, known) == known and len(load.index) == len(kernel.axes):
                return load
        self.sums[fold] = self._stored("sum", kernel.axes, fold, kernel, kernel.where)
        return self.sums[fold]

    def _stored(
        self, what: str, axes: tuple[Axis, ...], value: Expression, kernel: Kernel,
        where: tuple[Guard, ...],
    ) -> Load:  # fmt: skip
        """A load of a new scratch buffer, and the kernel that fills it."""
        loop = self.serial
        steady = loop is not None and self._steady(value, loop)
        if loop is not None and steady and loop.axis.name in axes_of(value):
            batch = sum(a.symbol == "n" for a in axes[:1])
            axes = (*axes[:batch], loop.axis, *axes[batch:])
        name = next(
            n for n in (f"{kernel.name}.{what}{k or ''}" for k in count()) if n not in self.names
        )
        self.names.add(name)
        place = tuple(axis(a.name) for a in axes)
        self.scratch[name] = Buffer(name, axes, "scratch", kernel.origin)
        made = Kernel(
            name, axes, (), (Write(name, place, value),), where, kernel.origin, kernel.reason
        )
        (self.hoisted if steady else self.before).append(made)
        return Load(name, place)

    def _steady(self, value: Expression, loop: Serial) -> bool:
        """Whether a value depends on nothing that the loop around it changes."""
        changed = {write.buffer for kernel in kernels(loop.items) for write in kernel.writes}
        changed |= {write.buffer for kernel in self.before for write in kernel.writes}
        return not any(isinstance(n, Load) and n.buffer in changed for n in walk(value))


@dataclass(frozen=True, slots=True)
class _Own:
    """A part of an expression over axes of its own, and what some of them stand for."""

    part: Expression
    axes: tuple[Axis, ...]
    places: dict[str, Affine]


def _composed(entry: Affine) -> bool:
    return len(entry.terms) > 1 or bool(entry.terms and entry != axis(str(entry.terms[0][0])))


def _surely_inside(
    entry: Affine, own: Axis, every: tuple[Axis, ...], where: tuple[Guard, ...]
) -> bool:
    """Whether a place is one of an axis' wherever all guards hold, however few steps a call has."""
    ranges = {a.name: (0, a.size - 1) for a in every}

    def holds(index: Affine) -> bool:
        rests = [index, *(index - guard.index for guard in where if not guard.modulus)]
        return any(rest.bounds(ranges)[0] >= 0 for rest in rests)

    return own.symbol is None and holds(entry) and holds(-entry + (own.size - 1))


def _placed(node: Expression, names: dict[Affine, Affine]) -> Expression | None:
    """A load or position with places by name."""
    match node:
        case Load(buffer, index):
            return Load(
                buffer, tuple(names.get(e, e) if isinstance(e, Affine) else e for e in index)
            )
        case Position(index) if index in names:
            return Position(names[index])
        case _:
            return None


def _within(kernel: Kernel, fold: Fold) -> Kernel:
    """The kernel with the axes of a fold, for what is computed inside that."""
    where = (*kernel.where, *fold.where)
    return replace(kernel, axes=(*kernel.axes, *fold.axes), where=where)


def normal(node: Expression) -> Expression | None:
    """Moves out of a sum what does not change inside: signs, factors, conditions."""
    match node:
        case Fold("sum", axes, body, where):
            if isinstance(body, Fold) and body.operator == "sum":
                flat = Fold("sum", (*axes, *body.axes), body.body, (*where, *body.where))
                return normal(flat) or flat
            inside = frozenset(a.name for a in axes)
            if any(isinstance(n, Fold) for n in walk(body)):
                return None
            return _moved(body, inside, axes, where)
        case _:
            return None


def _moved(
    body: Expression, inside: frozenset[str], axes: tuple[Axis, ...], where: tuple[Guard, ...]
) -> Expression | None:
    def fold(inner: Expression) -> Expression:
        made = Fold("sum", axes, inner, where)
        return normal(made) or made

    def steady(part: Expression) -> bool:
        return not axes_of(part) & inside and _free(part, where)

    match body:
        case Apply("neg", (x,)):
            return Apply("neg", (fold(x),))
        case Apply("select", (condition, x, Number(0.0))) if steady(condition):
            return Apply("select", (condition, fold(x), ZERO))
        case Apply("mul", (x, y)) if steady(x) and len(factors(y)) > 1:
            return Apply("mul", (x, fold(y)))
        case Apply("mul", (x, y)) if steady(y) and len(factors(x)) > 1:
            return Apply("mul", (fold(x), y))
        case Apply("div", (x, y)) if steady(y) and len(factors(x)) > 1:
            return Apply("div", (fold(x), y))
        case _:
            return None


def _free(part: Expression, where: tuple[Guard, ...]) -> bool:
    """Whether no load of an expression could need the guards to stay inside its buffer."""
    guarded = frozenset(name for guard in where for name in guard.index.axes())
    loads = (node for node in walk(part) if isinstance(node, Load))
    return not any(axes_of(load) & guarded for load in loads)


def factors(body: Expression) -> tuple[Expression, ...]:
    """What is multiplied. `if c then a * b else 0` is a product too: of `if c then a else 0` and
    b, where a is the first of the factors that lack fewest axes of the condition."""
    match body:
        case Apply("mul", (x, y)):
            return factors(x) + factors(y)
        case Apply("select", (condition, x, Number(0.0))):
            inner = factors(x)
            if len(inner) < 2:
                return (body,)
            lacking = [len(axes_of(condition) - axes_of(part)) for part in inner]
            best = lacking.index(min(lacking))
            chosen = Apply("select", (condition, inner[best], ZERO))
            return (*inner[:best], chosen, *inner[best + 1 :])
        case _:
            return (body,)


def _product(parts: tuple[Expression, ...]) -> Expression:
    return reduce(lambda a, b: Apply("mul", (a, b)), parts)


def _simple(part: Expression) -> bool:
    return isinstance(part, Load) and affine_index(part.index) is not None


def _movable(part: Expression) -> bool:
    """Whether an expression can be computed once, ahead."""
    return any(isinstance(n, Load) for n in walk(part)) and not any(
        isinstance(n, Fold | Random) for n in walk(part)
    )


def axes_of(expression: Expression) -> frozenset[str]:
    """All axes that an expression mentions."""
    names: frozenset[str] = frozenset()
    for node in walk(expression):
        match node:
            case Load(_, index):
                entries = [entry for entry in index if isinstance(entry, Affine)]
                names = names.union(*(entry.axes() for entry in entries))
            case Position(index):
                names |= index.axes()
            case Fold(_, _, _, where):
                names = names.union(*(guard.index.axes() for guard in where))
            case _:
                pass
    return names


def as_guard(condition: Expression) -> tuple[tuple[Guard, ...], tuple[Guard, ...]]:
    """The guards that say that a condition holds, and that it does not; () where none can."""
    match condition:
        case Apply("ge", (Position(index), Number(0.0))):
            return (Guard(index),), (Guard(-index - 1),)
        case _:
            return (), ()
