"""Is a Program well formed? Valid in, valid out: run after every pass under test.

    verify(program)  ->  nothing, or AssertionError("after fuse: kernel conv1.out: ...")

It checks names (buffers, axes, locals), the number of indices, one-to-one writes, that a plain
index stays inside its axis (by its bounds or by a guard that says so), and stored dims.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from latte.compiler.affine import Affine, as_affine, constant
from latte.compiler.expression import (
    Apply,
    Argument,
    Axis,
    Count,
    Expression,
    Fold,
    Guard,
    Index,
    Load,
    Local,
    Position,
    Random,
    Scalar,
    Training,
)
from latte.compiler.ir import (
    Buffer,
    Group,
    Item,
    Kernel,
    Phase,
    Program,
    Serial,
    Write,
    expressions,
    nests,
)
from latte.compiler.poly import bounds, one_to_one
from latte.compiler.rewrite import children, walk
from latte.compiler.show import show


def verify(program: Program, after: str = "synthesize") -> None:
    """Raises AssertionError naming the pass and the kernel if the Program is not well formed."""
    problems = list(find_problems(program))
    assert not problems, f"after {after}: " + "; ".join(problems[:5])


def find_problems(program: Program) -> Iterator[str]:
    """Everything wrong with a Program, a line each."""
    buffers = {buffer.name: buffer for buffer in program.buffers}
    if len(buffers) != len(program.buffers):
        yield "two buffers have one name"
    for buffer in program.buffers:
        yield from _dims(buffer)
    for phase in program.phases:
        for kernel, around in nests(phase.items):
            scope = _Scope(buffers, set(program.scalars), around)
            for problem in scope.kernel(kernel):
                yield f"phase {phase.name}: kernel {kernel.name}: {problem}"
        for problem in _private(phase, buffers):
            yield f"phase {phase.name}: {problem}"


def _private(phase: Phase, buffers: Mapping[str, Buffer]) -> Iterator[str]:
    """A private buffer belongs to one item of the phase, in which it lies inside groups; what a
    group leaves to others is written by one place only."""
    owner: dict[str, int] = {}
    for number, item in enumerate(phase.items):
        for kernel, axes in _grouped((item,), None):
            private = {n for n in _touched(kernel) & set(buffers) if buffers[n].role == "private"}
            for name in private:
                if axes is None:
                    yield f"kernel {kernel.name}: {name} is private, and no group is around"
                if owner.setdefault(name, number) != number:
                    yield f"kernel {kernel.name}: {name} belongs to an earlier item"
            whole = replace(kernel, axes=(*(axes or ()), *kernel.axes))
            for write in kernel.writes:
                if axes and write.buffer not in private and not _one_to_one(whole, write):
                    yield f"kernel {kernel.name}: two places of the group write {write.buffer}"


def _touched(kernel: Kernel) -> set[str]:
    nodes = (node for expression in expressions(kernel) for node in walk(expression))
    read = {node.buffer for node in nodes if isinstance(node, Load)}
    return read | {write.buffer for write in kernel.writes}


def _grouped(
    items: tuple[Item, ...], axes: tuple[Axis, ...] | None
) -> Iterator[tuple[Kernel, tuple[Axis, ...] | None]]:
    """Every kernel with the axes of the group around it, None where there is none."""
    for item in items:
        match item:
            case Kernel():
                yield item, axes
            case Group(own, inner):
                yield from _grouped(inner, own)
            case Serial(_, _, inner):
                yield from _grouped(inner, axes)


def _dims(buffer: Buffer) -> Iterator[str]:
    for dim in buffer.dims:
        if not 0 <= dim.axis < len(buffer.axes):
            yield f"buffer {buffer.name}: no axis {dim.axis}"
            continue
        size = buffer.axes[dim.axis].size
        places = -(-size // dim.divide)
        needed = dim.before + (min(places, dim.modulo) if dim.modulo else places)
        if dim.extent < needed:
            yield f"buffer {buffer.name}: {buffer.axes[dim.axis].name} needs {needed} places"
    missing = {number for number, _ in enumerate(buffer.axes)} - {dim.axis for dim in buffer.dims}
    if buffer.dims and missing:
        yield f"buffer {buffer.name}: axes {sorted(missing)} are not stored"


def _one_to_one(kernel: Kernel, write: Write) -> bool:
    """Whether each element is written by one point; places that are values may meet."""
    index = tuple(entry for entry in write.index if isinstance(entry, Affine))
    if len(index) < len(write.index):
        return True
    alone = {entry.terms[0][0] for entry in index if len(entry.terms) == 1}
    if all(entry.name in alone for entry in kernel.axes):
        return True
    own = {entry.name for entry in kernel.axes}
    around = {name: constant(0) for entry in index for name in entry.axes() - own}
    inside = tuple(guard for guard in kernel.where if guard.index.axes() <= own)
    return one_to_one(kernel.axes, [entry.substitute(around) for entry in index], inside)


@dataclass(slots=True)
class _Scope:
    buffers: Mapping[str, Buffer]
    scalars: set[str]
    axes: tuple[Axis, ...]
    where: tuple[Guard, ...] = ()
    locals: set[str] = field(default_factory=set)

    def inside(self, axes: tuple[Axis, ...], where: tuple[Guard, ...]) -> _Scope:
        scope = (self.axes + axes, self.where + where, set(self.locals))
        return _Scope(self.buffers, self.scalars, *scope)

    def kernel(self, kernel: Kernel) -> Iterator[str]:
        scope = self.inside(kernel.axes, kernel.where)
        yield from scope.names(kernel.axes, kernel.where)
        for let in kernel.lets:
            yield from scope.expression(let.expression)
            if let.name in scope.locals:
                yield f"`{let.name}` is defined twice"
            scope.locals.add(let.name)
        for write in kernel.writes:
            yield from scope.expression(write.expression)
            yield from scope.access(write.buffer, write.index)
            if not _one_to_one(kernel, write):
                yield f"two points write the same element of {write.buffer}"

    def names(self, axes: tuple[Axis, ...], where: tuple[Guard, ...]) -> Iterator[str]:
        known = [axis.name for axis in self.axes]
        for axis in axes:
            if known.count(axis.name) > 1:
                yield f"axis {axis.name} is bound twice"
            if axis.size < 1:
                yield f"axis {axis.name} has size {axis.size}"
        for guard in where:
            yield from self.affine(guard.index)

    def affine(self, index: Affine) -> Iterator[str]:
        for name in sorted(index.axes() - {axis.name for axis in self.axes}):
            yield f"axis {name} of {index} is not bound"

    def expression(self, expression: Expression) -> Iterator[str]:
        scope = self
        match expression:
            case Local(name) if name not in self.locals:
                yield f"`{name}` is used before it is defined"
            case Scalar(name) if name not in self.scalars:
                yield f"scalar {name} is not declared"
            case Position(index) | Random(_, _, Affine() as index):
                yield from self.affine(index)
            case Load(buffer, index):
                yield from self.access(buffer, index)
            case Apply("select", (condition, yes, no)):
                yield from self.expression(condition)
                yield from self.unchecked(yes)
                yield from self.unchecked(no)
                return
            case Fold(_, axes, _, where):
                scope = self.inside(axes, where)
                yield from scope.names(axes, where)
            case Argument() | Count() | Training() | Random(_, _, None):
                yield f"{show(expression)} is no expression of a Program"
        for child in children(expression):
            yield from scope.expression(child)

    def unchecked(self, expression: Expression) -> Iterator[str]:
        """A side of a select: its condition may be what keeps an index inside."""
        return (p for p in self.expression(expression) if "may leave" not in p)

    def access(self, name: str, index: tuple[Index, ...]) -> Iterator[str]:
        buffer = self.buffers.get(name)
        if buffer is None:
            yield f"there is no buffer {name}"
            return
        if len(index) != len(buffer.axes):
            yield f"{name} has {len(buffer.axes)} axes and is indexed by {len(index)}"
            return
        for entry, axis in zip(index, buffer.axes, strict=True):
            if isinstance(entry, Affine):
                yield from self.affine(entry)
                yield from self.bounded(name, entry, axis.size)

    def bounded(self, name: str, index: Affine, size: int) -> Iterator[str]:
        ranges = {axis.name: (0, axis.size - 1) for axis in self.axes}
        if not index.axes() <= ranges.keys():
            return
        low, high = bounds(index, ranges)
        guards = {guard.index for guard in self.where if not guard.modulus}
        below = low < 0 and not self.implied(index, guards)
        above = high >= size and not self.implied(as_affine(size - 1) - index, guards)
        if (below or above) and not self.inside_where(index, size, ranges):
            yield f"index {index} of {name} may leave 0 .. {size - 1}"

    def inside_where(self, index: Affine, size: int, ranges: Mapping[str, tuple[int, int]]) -> bool:
        """Whether the guards together keep the index inside: asks isl."""
        where = [guard for guard in self.where if guard.index.axes() <= ranges.keys()]
        low, high = bounds(index, ranges, where)
        return low >= 0 and high < size

    def implied(self, index: Affine, guards: set[Affine]) -> bool:
        """True where a guard says that the index is not negative, or a positive multiple of it."""
        return any(
            guard == index or any(guard == index * factor for factor in (2, 3, 4, 5, 6, 7, 8))
            for guard in guards
        )
