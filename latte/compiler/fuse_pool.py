"""Backward of a maximum from its value and its winner alone, whatever made what it is taken of.

    pool[w], winner[w] = max, argmax over s of relu[w + s]                        forward
    relu.grad[i] = sum over w: if winner[w] == i - w then pool.grad[w] else 0     backward
    conv.grad[i] = if relu[i] > 0 then relu.grad[i] else 0
->  masked[w] = if pool[w] > 0 then pool.grad[w] else 0
    conv.grad[i] = sum over w: if winner[w] == i - w then masked[w] else 0

Two rules: where winner[w] == s, relu[w + s] is pool[w]; and what is linear in the gradient moves
inside the sum. So relu is not read in backward, and the mask is computed for fewer places, by the
contraction that makes pool.grad. Windows may overlap. That the places are the same is shown by
their affine indices.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from latte.compiler.affine import Affine, axis, constant, digits
from latte.compiler.contract_parts import affine_index
from latte.compiler.expression import (
    Apply,
    Axis,
    Expression,
    Fold,
    Load,
    Number,
    Position,
    Random,
)
from latte.compiler.ir import Buffer, Item, Kernel, Write, kernels
from latte.compiler.plan_memory import reads, writes
from latte.compiler.poly import ranges_of, tidy
from latte.compiler.rewrite import inline_lets, rewrite, substitute_axes, walk
from latte.compiler.simplify import ZERO

EXTREMES = {"argmax": "max", "argmin": "min"}


@dataclass(frozen=True, slots=True)
class Pool:
    """A kernel that keeps the `winner` of windows of `source`, and the value there. `index` is the
    element of the source at a place of the `window`, for the place `axes` of the other two."""

    kernel: Kernel
    winner: str
    value: str
    source: str
    axes: tuple[str, ...]
    window: tuple[Axis, ...]
    index: tuple[Affine, ...]


@dataclass(frozen=True, slots=True)
class Mask:
    """A map `target[target_index] = expression` of a pool's source and of its `gradient`, both at
    `index`, linear in the gradient."""

    kernel: Kernel
    pool: Pool
    gradient: str
    index: tuple[str, ...]
    write: Write


@dataclass(frozen=True, slots=True)
class Pooled:
    """Items in which masks are behind pools, the buffers for that, and the names of what became
    one: writer, reader, buffer."""

    items: tuple[Item, ...]
    buffers: tuple[Buffer, ...]
    pairs: tuple[tuple[str, str, str], ...]


def pooled(items: tuple[Item, ...], buffers: dict[str, Buffer]) -> Pooled:
    """The items of a phase with every mask that can move done for the pooled places."""
    pools = {pool.source: pool for item in items for pool in _pools(item)}
    made: list[Buffer] = []
    pairs: list[tuple[str, str, str]] = []
    for item in items if pools else ():
        mask = _mask(item, pools)
        found = None if mask is None else _moved(items, mask, buffers)
        if mask is not None and found is not None:
            items, buffer = found
            made.append(buffer)
            pairs.append((mask.gradient, mask.kernel.name, mask.pool.source))
    return Pooled(items, tuple(made), tuple(pairs))


def _pools(item: Item) -> Iterator[Pool]:
    """The windows of which a kernel keeps value and winner."""
    if not isinstance(item, Kernel) or item.where:
        return
    found = [(write, inline_lets(item.lets, write.expression)) for write in item.writes]
    for write, winner in found:
        if not isinstance(winner, Fold) or winner.operator not in EXTREMES:
            continue
        for other, value in found:
            same = other.index == write.index and _extreme_of(winner, value)
            places = tuple(axis(a.name) for a in item.axes)
            index = affine_index(winner.body.index) if isinstance(winner.body, Load) else None
            if same and write.index == places and index is not None:
                assert isinstance(winner.body, Load)
                names = tuple(a.name for a in item.axes)
                source = winner.body.buffer
                yield Pool(item, write.buffer, other.buffer, source, names, winner.axes, index)


def _extreme_of(winner: Fold, value: Expression) -> bool:
    """Whether a value is the one at the winner's place."""
    if not isinstance(value, Fold) or value.operator != EXTREMES[winner.operator]:
        return False
    if [a.size for a in value.axes] != [a.size for a in winner.axes]:
        return False
    names = {a.name: axis(b.name) for a, b in zip(value.axes, winner.axes, strict=True)}
    renamed = substitute_axes(replace(value, axes=()), names)
    return renamed == replace(winner, operator=value.operator, axes=())


def _mask(item: Item, pools: dict[str, Pool]) -> Mask | None:
    """A kernel as a mask on the gradient of a pool's source."""
    if not isinstance(item, Kernel) or item.where or len(item.writes) != 1:
        return None
    (write,) = item.writes
    expression = inline_lets(item.lets, write.expression)
    loads = {node for node in walk(expression) if isinstance(node, Load)}
    sources = [load.buffer for load in loads if load.buffer in pools]
    indices = {load.index for load in loads}
    if write.add or len(loads) != 2 or len(sources) != 1 or len(indices) != 1:
        return None
    (index,) = indices
    names = tuple(e.terms[0][0] for e in index if isinstance(e, Affine) and len(e.terms) == 1)
    plain = tuple(axis(name) for name in names if isinstance(name, str))
    if index != plain or {a.name for a in item.axes} != set(names) or len(set(names)) < len(names):
        return None
    (gradient,) = (load.buffer for load in loads if load.buffer != sources[0])
    if affine_index(write.index) is None or not _linear(expression, gradient):
        return None
    own = replace(write, expression=expression)
    return Mask(item, pools[sources[0]], gradient, tuple(map(str, names)), own)


def _linear(expression: Expression, gradient: str) -> bool:
    """Whether an expression is a factor, that no place decides, times the gradient."""
    match expression:
        case Load(buffer):
            return buffer == gradient
        case Apply("neg", (x,)):
            return _linear(x, gradient)
        case Apply("mul", (x, y)):
            return (_linear(x, gradient) and _free(y, gradient)) or (
                _free(x, gradient) and _linear(y, gradient)
            )
        case Apply("div", (x, y)):
            return _linear(x, gradient) and _free(y, gradient)
        case Apply("select", (condition, x, y)):
            sides = (side == ZERO or _linear(side, gradient) for side in (x, y))
            return _free(condition, gradient) and all(sides)
        case _:
            return False


def _free(expression: Expression, gradient: str) -> bool:
    return not any(
        isinstance(node, Random | Position | Fold)
        or (isinstance(node, Load) and node.buffer == gradient)
        for node in walk(expression)
    )


def _moved(
    items: tuple[Item, ...], mask: Mask, buffers: dict[str, Buffer]
) -> tuple[tuple[Item, ...], Buffer] | None:
    """The items without the mask, which is done in front of the first sum over pooled places."""
    makers = [item for item in items if mask.gradient in _written(item)]
    readers = [item for item in items if mask.gradient in _read(item)]
    gathered = [_gathered(maker, mask) for maker in makers]
    sources = {found.source for found in gathered if found is not None and found.source}
    if readers != [mask.kernel] or None in gathered or len(sources) != 1:
        return None
    (source,) = sources
    if not _in_order(items, makers, mask, source):
        return None
    sizes = [[(a.size, a.symbol) for a in buffers[b].axes] for b in (source, mask.pool.value)]
    if sizes[0] != sizes[1]:
        return None
    made = replace(buffers[source], name=f"{source}.masked", role="scratch")
    done: list[Item] = []
    for item in items:
        place = next((k for k, maker in enumerate(makers) if maker is item), None)
        if place == 0:
            done.append(_masking(mask, source, made))
        found = None if place is None else gathered[place]
        if item is not mask.kernel:
            done.append(item if found is None else found.kernel)
    return tuple(done), made


@dataclass(frozen=True, slots=True)
class _Gathered:
    """A sum that reads `source`, masked, and writes what the mask wrote."""

    kernel: Kernel
    source: str


def _gathered(item: Item, mask: Mask) -> _Gathered | None:
    """A kernel that gathers the gradient from winners, made to gather the masked one."""
    if not isinstance(item, Kernel) or len(item.writes) != 1:
        return None
    (write,) = item.writes
    target = affine_index(write.index)
    if write.add or target is None:
        return None
    landing = _Landing(mask, target, {a.name: (0, a.size - 1) for a in item.axes}, set())
    expression = landing.changed(inline_lets(item.lets, write.expression))
    if expression is None or len(landing.sources) > 1:
        return None
    places = dict(zip(mask.index, target, strict=True))
    index = tuple(e.substitute(places) for e in mask.write.index if isinstance(e, Affine))
    kernel = replace(
        item, lets=(), writes=(Write(mask.write.buffer, index, expression),),
        reason=f"{item.reason}, {mask.kernel.name}",
    )  # fmt: skip
    return _Gathered(kernel, next(iter(landing.sources), ""))


@dataclass(slots=True)
class _Landing:
    """Walks through a sum; `sources` are the gradients it gathers at winners."""

    mask: Mask
    target: tuple[Affine, ...]
    ranges: dict[str, tuple[int, int]]
    sources: set[str]

    def changed(self, expression: Expression) -> Expression | None:
        """The sum over masked gradients, or None where something else is in it."""
        match expression:
            case Number(0.0):
                return expression
            case Fold("sum", axes, body):
                self.ranges |= ranges_of(axes)
                inner = self.changed(body)
                return None if inner is None else replace(expression, body=inner)
            case Apply("add", (x, y)):
                left, right = self.changed(x), self.changed(y)
                both = left is not None and right is not None
                return Apply("add", (left, right)) if both else None  # type: ignore[arg-type]
            case Apply("select", (Apply("eq", (a, b)), Load() as seen, Number(0.0))):
                winner, place = (a, _place(b)) if isinstance(a, Load) else (b, _place(a))
                if not isinstance(winner, Load) or not self._lands(place, winner, seen):
                    return None
                self.sources.add(seen.buffer)
                masked = replace(seen, buffer=f"{seen.buffer}.masked")
                return replace(expression, operands=(expression.operands[0], masked, ZERO))
            case _:
                return None

    def _lands(self, place: Affine | None, winner: Load, seen: Load) -> bool:
        """Whether this place of the winner's window is the element that the kernel computes."""
        pool = self.mask.pool
        at = affine_index(winner.index)
        if (
            winner.buffer != pool.winner
            or at is None
            or place is None
            or seen.index != winner.index
        ):
            return False
        values = dict(zip(pool.axes, at, strict=True))
        inside = digits(place, tuple(a.size for a in pool.window))
        values |= {a.name: entry for a, entry in zip(pool.window, inside, strict=True)}
        found = (tidy(entry.substitute(values), self.ranges) for entry in pool.index)
        return all(tidy(mine, self.ranges) == theirs
                   for mine, theirs in zip(self.target, found, strict=True))  # fmt: skip


def _place(expression: Expression) -> Affine | None:
    """A number that an index gives."""
    match expression:
        case Position(index):
            return index
        case Number(value) if value == int(value):
            return constant(int(value))
        case _:
            return None


def _masking(mask: Mask, source: str, made: Buffer) -> Kernel:
    """The map that masks the gradient of pooled values."""
    axes = tuple(replace(a, name=f"{a.name}.{number}") for number, a in enumerate(made.axes))
    index = tuple(axis(a.name) for a in axes)
    names = {mask.gradient: source, mask.pool.source: mask.pool.value}
    expression = rewrite(
        mask.write.expression,
        lambda n: Load(names[n.buffer], index) if isinstance(n, Load) else None,
    )
    write = Write(made.name, index, expression)
    return Kernel(made.name, axes, (), (write,), (), mask.kernel.origin, mask.kernel.reason)


def _in_order(items: Sequence[Item], makers: Sequence[Item], mask: Mask, source: str) -> bool:
    """Whether everything is computed before the first sum, and nobody comes in between."""
    numbers = {id(item): number for number, item in enumerate(items)}
    start, end, pool = (numbers[id(each)] for each in (makers[0], mask.kernel, mask.pool.kernel))
    last = numbers[id(makers[-1])]
    before = {source, mask.pool.value, mask.pool.winner}
    if not pool < start <= last < end:
        return False
    if any(before & _written(item) for item in items[start:]):
        return False
    if any(mask.pool.source in _written(item) for item in items[pool:]):
        return False
    target = mask.write.buffer
    between = (item for item in items[start:end] if not any(item is maker for maker in makers))
    return not any(target in _written(item) | _read(item) for item in between)


def _written(item: Item) -> frozenset[str]:
    return frozenset().union(*map(writes, kernels((item,))))


def _read(item: Item) -> frozenset[str]:
    return frozenset().union(*map(reads, kernels((item,))))
