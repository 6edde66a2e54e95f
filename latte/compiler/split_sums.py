"""Sums over all items with few results: a partial sum for each item, then one sum over the items.

In: a Program.  Out: a Program in which such sums have as much parallel work as there are items.

    bias.grad[f: 20] = sum [n, y: 24, x: 24] out.grad[n, f, y, x]
    ->
    bias.grad.partial.0[n, f] = sum [y: 24, x: 24] out.grad[n, f, y, x]
    bias.grad[f] = sum [n] bias.grad.partial.0[n, f]

Threads then share the items. The order of every sum is fixed by the shapes and the compiled batch
alone, so that the bits depend neither on the number of threads nor on timing. Contractions are
left to their own tiles.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import prod

from latte.compiler.affine import axis
from latte.compiler.contract_view import recognise
from latte.compiler.expression import Axis, Expression, Fold, Load
from latte.compiler.ir import Buffer, Item, Kernel, Phase, Program, Write
from latte.compiler.rewrite import inline_lets, rewrite, walk

ENOUGH_OWNERS = 512  # results at which there is parallel work without splitting: 32 vectors of 16
LEAST_INNER = 16  # terms of one item that pay for storing a partial sum
LEAST_TERMS = 1 << 14  # terms in all below which one thread is as fast


def split_sums(program: Program) -> Program:
    """Splits the sums of every kernel outside of serial loops where that pays."""
    made: dict[str, Buffer] = {}
    phases = tuple(_phase(program, phase, made) for phase in program.phases)
    if not made:
        return program
    return replace(program, buffers=(*program.buffers, *made.values()), phases=phases)


def _phase(program: Program, phase: Phase, made: dict[str, Buffer]) -> Phase:
    items = tuple(new for item in phase.items for new in _item(program, item, made))
    return phase if items == phase.items else replace(phase, items=items)


def _item(program: Program, item: Item, made: dict[str, Buffer]) -> tuple[Item, ...]:
    if not isinstance(item, Kernel):
        return (item,)
    folds = tuple(dict.fromkeys(_long_sums(item)))
    if not folds or recognise(item, program) is not None:
        return (item,)
    batch = _items_axis(folds[0])
    places = tuple(axis(entry.name) for entry in (batch, *item.axes))
    writes, loads = [], {}
    for number, fold in enumerate(folds):
        buffer = Buffer(
            f"{item.name}.partial.{number}", (batch, *item.axes), "scratch", item.origin
        )
        assert made.setdefault(buffer.name, buffer) == buffer, "two kernels have one name"
        rest = replace(fold, axes=tuple(a for a in fold.axes if a.name != batch.name))
        writes.append(Write(buffer.name, places, inline_lets(item.lets, rest)))
        loads[fold] = Fold("sum", (batch,), Load(buffer.name, places))
    partial = Kernel(
        f"{item.name}.partial", (batch, *item.axes), (), tuple(writes), item.where, item.origin,
        f"{item.reason}, item by item",
    )  # fmt: skip
    return (partial, _with_loads(item, loads))


def _long_sums(kernel: Kernel) -> Iterator[Fold]:
    """The sums over all items that are worth splitting. All name the items alike."""
    owners = prod(entry.size for entry in kernel.axes)
    if owners >= ENOUGH_OWNERS or any(entry.symbol for entry in kernel.axes):
        return
    names = set()
    for expression in _expressions(kernel):
        for node in _outer_folds(expression):
            batches = [entry for entry in node.axes if entry.symbol == "n"]
            if node.operator != "sum" or len(batches) != 1:
                continue
            inner = prod(entry.size for entry in node.axes if entry.symbol != "n")
            if inner >= LEAST_INNER and inner * batches[0].size * owners >= LEAST_TERMS:
                names.add(batches[0].name)
                if len(names) == 1:
                    yield node


def _expressions(kernel: Kernel) -> list[Expression]:
    lets = [let.expression for let in kernel.lets]
    return [*lets, *(write.expression for write in kernel.writes)]


def _outer_folds(expression: Expression) -> Iterator[Fold]:
    """The folds inside no other one: their bodies know only the kernel's axes and their own."""
    nodes = walk(expression)
    inside: set[int] = set()
    for node in nodes:
        if not isinstance(node, Fold) or id(node) in inside:
            continue
        inside |= {id(inner) for inner in walk(node.body)}
        yield node


def _items_axis(fold: Fold) -> Axis:
    return next(entry for entry in fold.axes if entry.symbol == "n")


def _with_loads(kernel: Kernel, loads: dict[Fold, Fold]) -> Kernel:
    def rule(node: Expression) -> Expression | None:
        return loads.get(node) if isinstance(node, Fold) else None

    lets = tuple(replace(let, expression=rewrite(let.expression, rule)) for let in kernel.lets)
    writes = tuple(
        replace(write, expression=rewrite(write.expression, rule)) for write in kernel.writes
    )
    return replace(kernel, lets=lets, writes=writes)
