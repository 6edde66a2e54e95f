"""Finds what inference computes of parameters alone: it need not be computed in every call.

In: a Program.  Out: the same, such items first in their phases, which say how many there are.

    predict: h = conv(x, w); v = copy of u; y = linear(h, v)
->  predict: v = copy of u; h = conv(x, w); y = linear(h, v)        steady: 1

What they fill (packed or transformed weights, a normalisation folded into factors) outlives the
phase; they run when a parameter or running value has changed since they last did.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from latte.compiler.expression import Axis, Fold, Random, Scalar
from latte.compiler.ir import (
    LASTING,
    Buffer,
    Item,
    Kernel,
    Phase,
    Program,
    expressions,
    nests,
)  # fmt: skip
from latte.compiler.plan_memory import Use, is_transient
from latte.compiler.rewrite import walk

INFERENCE = ("infer", "predict")  # what other phases compute may be read by the next one


def derive(program: Program) -> Program:
    """The program with the phases of inference in that order."""
    buffers = {buffer.name: buffer for buffer in program.buffers}
    phases = tuple(
        _derived(phase, buffers) if phase.name in INFERENCE else phase for phase in program.phases
    )
    return program if phases == program.phases else replace(program, phases=phases)


def _derived(phase: Phase, buffers: Mapping[str, Buffer]) -> Phase:
    steady = _steady(phase.items, buffers)
    first = [item for number, item in enumerate(phase.items) if number in steady]
    rest = [item for number, item in enumerate(phase.items) if number not in steady]
    return replace(phase, items=(*first, *rest), steady=len(first))


def _steady(items: tuple[Item, ...], buffers: Mapping[str, Buffer]) -> frozenset[int]:
    """The numbers of the items that depend on parameters alone: the largest set in which nobody
    reads or overwrites what others write, and whose buffers others read only afterwards."""
    uses = [Use.of(item) for item in items]
    found = {k for k, item in enumerate(items) if all(_fixed(*nest) for nest in nests((item,)))}
    while True:
        others = [use for k, use in enumerate(uses) if k not in found]
        own = frozenset(name for k in found for name in uses[k].written)
        changing = frozenset(name for use in others for name in use.written)
        kept = {
            k
            for k in found
            if _depends_on(uses[k], buffers, own, changing)
            and not any(uses[k].written & uses[j].read for j in range(k) if j not in found)
        }
        if kept == found:
            return frozenset(found)
        found = kept


def _fixed(kernel: Kernel, around: tuple[Axis, ...]) -> bool:
    """Whether a kernel does the same in every call: no items, steps, run-time numbers, draws."""
    if any(axis.symbol for axis in (*kernel.axes, *around)):
        return False
    nodes = (node for expression in expressions(kernel) for node in walk(expression))
    return not any(
        isinstance(node, Scalar | Random)
        or (isinstance(node, Fold) and any(axis.symbol for axis in node.axes))
        for node in nodes
    )


def _depends_on(
    use: Use, buffers: Mapping[str, Buffer], own: frozenset[str], changing: frozenset[str]
) -> bool:
    """Whether an item reads parameters and `own` buffers only, and fills buffers that lie in the
    arena otherwise and that nothing else writes."""
    return (
        all(name in own or buffers[name].role in LASTING for name in use.read)
        and all(is_transient(buffers[name]) for name in use.written)
        and not (use.read | use.written) & changing
        and not any(axis.symbol for name in use.written for axis in buffers[name].axes)
    )
