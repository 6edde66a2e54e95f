"""Takes out of a serial loop over time what does not depend on it: Program -> Program.

    serial t { gate[n, t, g] = b[g] + (sum [i] wx[g, i] * x[n, t, i]) + sum [k] ... h[n, t - 1, k] }
->  kernel gate.input [n, t, g]  gate.input[n, t, g] = sum [i] wx[g, i] * x[n, t, i]
    serial t { gate[n, t, g] = b[g] + gate.input[n, t, g] + sum [k] wh[g, k] * h[n, t - 1, k] }

The sum over all items and steps is one large contraction, where the loop has many thin ones. A sum
that counts at step 0 alone (a state carried over) is computed once, without the time axis.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import prod

from latte.compiler.affine import axis, constant
from latte.compiler.expression import (
    Apply,
    Axis,
    Expression,
    Fold,
    Guard,
    Load,
    Local,
    Position,
)
from latte.compiler.ir import (
    Buffer,
    Item,
    Kernel,
    Phase,
    Program,
    Serial,
    Write,
    changed,
    expressions,
    kernels,
)
from latte.compiler.rewrite import rewrite, substitute_axes, walk
from latte.compiler.simplify import ZERO

LEAST_TERMS = 4  # a shorter sum is not worth a buffer


def recur(program: Program) -> Program:
    """The program with sums over the inputs of recurrent kernels in kernels of their own."""
    buffers: dict[str, Buffer] = {}
    phases = tuple(_phase(phase, buffers) for phase in program.phases)
    if not buffers:
        return program
    return replace(program, buffers=(*program.buffers, *buffers.values()), phases=phases)


def _phase(phase: Phase, buffers: dict[str, Buffer]) -> Phase:
    items: list[Item] = []
    for item in phase.items:
        if isinstance(item, Serial):
            loop = _Loop(item, buffers)
            inner = changed(item.items, loop.kernel)
            items += [*loop.before, replace(item, items=inner)]
        else:
            items.append(item)
    return replace(phase, items=tuple(items))


@dataclass(slots=True)
class _Loop:
    """One serial loop; `before` collects what is computed ahead of it."""

    serial: Serial
    buffers: dict[str, Buffer]
    before: list[Kernel] = field(default_factory=list)
    written: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        inner = kernels(self.serial.items)
        self.written = frozenset(write.buffer for kernel in inner for write in kernel.writes)

    def kernel(self, kernel: Kernel) -> Kernel:
        """The kernel with loads in the place of sums that were taken out."""
        found: dict[Expression, Expression] = {
            fold: self._out(kernel, fold) for fold in self._folds(kernel)
        }
        if not found:
            return kernel
        lets = tuple(
            replace(let, expression=rewrite(let.expression, found.get)) for let in kernel.lets
        )
        writes = tuple(
            replace(write, expression=rewrite(write.expression, found.get))
            for write in kernel.writes
        )
        return replace(kernel, lets=lets, writes=writes)

    def _folds(self, kernel: Kernel) -> list[Fold]:
        """The sums that read nothing the loop writes, none of them inside another."""
        found: dict[Fold, None] = {}
        for expression in expressions(kernel):
            found |= dict.fromkeys(self._outermost(expression))
        return list(found)

    def _outermost(self, expression: Expression) -> Iterator[Fold]:
        match expression:
            case Fold():
                if self._free(expression):
                    yield expression
            case Apply(_, operands):
                for operand in operands:
                    yield from self._outermost(operand)
            case _:
                pass

    def _free(self, fold: Fold) -> bool:
        nodes = list(walk(fold))
        if any(isinstance(node, Local) for node in nodes):
            return False
        loads = {node.buffer for node in nodes if isinstance(node, Load)}
        timed = [guard for guard in fold.where if self.serial.axis.name in guard.index.axes()]
        return (
            fold.operator == "sum"
            and prod(entry.size for entry in fold.axes) >= LEAST_TERMS
            and not loads & self.written
            and (not timed or timed == [self._first])
        )

    @property
    def _first(self) -> Guard:
        """What holds at step 0 alone."""
        return Guard(-axis(self.serial.axis.name))

    def _out(self, kernel: Kernel, fold: Fold) -> Expression:
        """A kernel ahead of the loop that computes the sum; what stands for it inside."""
        time = self.serial.axis
        once = self._first in fold.where
        if once:
            where = tuple(guard for guard in fold.where if guard != self._first)
            at_first = {time.name: constant(0)}
            fold = replace(fold, where=where, body=substitute_axes(fold.body, at_first))
        axes = kernel.axes if once else _with_time(kernel.axes, time)
        name = self._name(kernel.name, axes, fold)
        index = tuple(axis(entry.name) for entry in axes)
        write = Write(name, index, fold)
        if not any(known.writes == (write,) for known in self.before):
            made = Kernel(name, axes, (), (write,), kernel.where, kernel.origin, kernel.reason)
            self.before.append(made)
        load = Load(name, index)
        if not once:
            return load
        return Apply("select", (Apply("ge", (Position(self._first.index), ZERO)), load, ZERO))

    def _name(self, kernel: str, axes: tuple[Axis, ...], fold: Fold) -> str:
        """A scratch buffer; the same in all phases that compute the same."""
        number = 1
        while True:
            name = f"{kernel}.input{number if number > 1 else ''}"
            buffer = Buffer(name, axes, "scratch", kernel)
            mine = [known for known in self.before if known.name == name]
            if not mine and self.buffers.get(name, buffer) == buffer:
                self.buffers[name] = buffer
                return name
            if mine and mine[0].writes[0].expression == fold:
                return name
            number += 1


def _with_time(axes: tuple[Axis, ...], time: Axis) -> tuple[Axis, ...]:
    """The axes with time behind the batch."""
    front = tuple(entry for entry in axes if entry.symbol == "n")
    return (*front, time, *(entry for entry in axes if entry.symbol != "n"))
