"""The naive Program of a Net: loop nests over buffers, in phases. What the oracle runs.

    net with conv1.out[f: 20, y: 24, x: 24] = Weighted(image[...], conv1.weight[f], conv1.bias[f])
->  buffers image, conv1.weight, conv1.bias, conv1.out, conv1.out.grad, ...
    phase forward:  kernel conv1.out [n, f, y, x] ...
    phase backward: kernel conv1.weight.grad [f, c, ky, kx] ...

In: a Net that is differentiated and shared. The kernels of values are made in synthesize_forward,
of gradients in synthesize_backward, of updates in synthesize_update; here they become phases.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Literal

from latte.compiler.adjoint import grad, let_name, stored_lets
from latte.compiler.expression import Fold, Let, Load, Scalar
from latte.compiler.ir import (
    LOSS,
    Buffer,
    Element,
    Item,
    Kernel,
    Phase,
    Program,
    Role,
    Serial,
    changed,
    expressions,
    kernels,
)
from latte.compiler.net import Ensemble, Net, View
from latte.compiler.rewrite import walk
from latte.compiler.share import order
from latte.compiler.synthesize_backward import Plan, backward, plan
from latte.compiler.synthesize_forward import forward, kept_name, result_name, results
from latte.compiler.synthesize_update import new_name, norm_name, part_name, state_name, update
from latte.compiler.tables import LENGTHS, Tables, carried_name, tables

Mode = Literal["train", "infer"]


def synthesize(
    net: Net, *, batch: int, time: int = 1, mode: str = "train", gradients: tuple[str, ...] = ()
) -> Program:
    """The Program of a Net for up to `batch` items and `time` steps.

    mode "infer" has the phases that need no gradient. `gradients` are inputs and nodes whose
    gradient is wanted besides those that the parameters need.
    """
    still = tables(net, batch, time, training=False)
    phases, known = _inference(still, net), Plan(frozenset(), {}, {})
    if mode == "train":
        moving = replace(still, training=True)
        wanted = frozenset(moving.base(name).name for name in gradients if name in still.sources)
        known = plan(moving, net, wanted)
        phases = _training(moving, net, known) + phases
    phases = tuple(_numbered(phase) for phase in phases)
    buffers = tuple(_used(_buffers(still, net, known, mode), phases))
    return Program(net.name, buffers, phases, _scalars(phases))


def _training(tables: Tables, net: Net, known: Plan) -> tuple[Phase, ...]:
    groups = order(net)
    before = (*forward(tables, groups, known.kept, _stored(net)), *results(tables, net))
    back = tuple(backward(tables, net, groups, known)) if net.losses else ()
    after = tuple(update(tables, net))
    return (
        Phase("forward", before),
        Phase("backward", back),
        Phase("update", after),
        Phase("step", before + back + after),
    )


def _inference(tables: Tables, net: Net) -> tuple[Phase, ...]:
    """All reported numbers and the output; then the output alone."""
    everything = (*forward(tables, order(net), {}, _stored(net)), *results(tables, net))
    reported = {result_name(entry) for entry in net.losses}
    reported |= {result_name(entry) for entry in net.metrics} | {LOSS}
    output = _stored(net)
    phases = [Phase("infer", _needed(everything, reported | output))]
    if net.output is not None:
        phases.append(Phase("predict", _needed(everything, output)))
    return tuple(phases)


def _stored(net: Net) -> set[str]:
    """What `predict` returns: has a buffer even where it is a view."""
    return set() if net.output is None else {dict(net.names).get(net.output, net.output)}


def _needed(items: Sequence[Item], roots: Iterable[str]) -> tuple[Item, ...]:
    """The items that the root buffers depend on, in their order."""
    needed = set(roots)
    kept: list[Item] = []
    for item in reversed(items):
        inner = kernels((item,))
        found: set[str] = set()
        while True:
            chosen = [k for k in inner if needed & {write.buffer for write in k.writes}]
            found = {load.buffer for k in chosen for load in _loads(k)}
            if found <= needed:
                break
            needed |= found
        if chosen:
            kept.append(replace(item, items=tuple(chosen)) if isinstance(item, Serial) else item)
    return tuple(reversed(kept))


def _loads(kernel: Kernel) -> Iterator[Load]:
    for expression in expressions(kernel):
        yield from (node for node in walk(expression) if isinstance(node, Load))


def _numbered(phase: Phase) -> Phase:
    """The phase with a name of its own for each kernel."""
    counts: dict[str, int] = {}

    def name(kernel: Kernel) -> Kernel:
        counts[kernel.name] = counts.get(kernel.name, 0) + 1
        count = counts[kernel.name]
        return kernel if count == 1 else replace(kernel, name=f"{kernel.name}#{count}")

    return replace(phase, items=changed(phase.items, name))


def _scalars(phases: Sequence[Phase]) -> tuple[str, ...]:
    found = {
        node.name
        for phase in phases
        for kernel in kernels(phase.items)
        for expression in expressions(kernel)
        for node in walk(expression)
        if isinstance(node, Scalar)
    }
    return tuple(sorted(found))


def _used(buffers: Iterable[Buffer], phases: Sequence[Phase]) -> Iterator[Buffer]:
    """The buffers that some kernel touches, and all that a caller may set."""
    touched: set[str] = set()
    for phase in phases:
        for kernel in kernels(phase.items):
            touched |= {write.buffer for write in kernel.writes}
            touched |= {load.buffer for load in _loads(kernel)}
    for buffer in buffers:
        if buffer.name in touched or buffer.role in ("input", "parameter", "running", "state"):
            yield buffer


def _buffers(tables: Tables, net: Net, known: Plan, mode: str) -> Iterator[Buffer]:
    for entry in net.inputs:
        element: Element = "f32" if entry.classes is None else "i32"
        yield _buffer(tables, entry.name, entry.name, "input", element)
    if any(source.time for source in tables.sources.values()):
        yield Buffer(LENGTHS, (tables.items,), "input", LENGTHS, "i32")
    for source in tables.sources.values():
        if source.batch and source.time and source.view is None:
            yield Buffer(
                carried_name(source.name), (tables.items, *source.axes), "carried", source.name
            )
    for parameter in net.parameters:
        yield _buffer(tables, parameter.name, parameter.name, "parameter")
    for running in net.runnings:
        yield _buffer(tables, running.name, running.name, "running")
    for node in net.nodes:
        if not isinstance(node, View) or node.name in _stored(net):
            yield _buffer(tables, node.name, node.name, "value")
    if mode == "train":
        yield from _backward_buffers(tables, net, known)
        yield from _update_buffers(tables, net)
    for loss in net.losses:
        yield Buffer(result_name(loss), (), "result", loss.name)
    for metric in net.metrics:
        yield Buffer(result_name(metric), (), "result", metric.name)
    if net.losses and all(loss.name != "loss" for loss in net.losses):
        yield Buffer(LOSS, (), "result", "loss")


def _backward_buffers(tables: Tables, net: Net, known: Plan) -> Iterator[Buffer]:
    parameters = {entry.name for entry in net.parameters}
    for node in net.nodes:
        if isinstance(node, Ensemble):
            for name in known.kept.get(node.name, ()):
                element = _element(next(let for let in node.neuron.lets if let.name == name))
                yield _buffer(tables, kept_name(node.name, name), node.name, "kept", element)
            for name in stored_lets(node.neuron):
                yield _buffer(tables, let_name(node.name, name), node.name, "scratch")
    for name in [n for n in tables.sources if n in known.targets]:
        role: Role = "parameter gradient" if name in parameters else "gradient"
        yield _buffer(tables, grad(name), name, role)


def _update_buffers(tables: Tables, net: Net) -> Iterator[Buffer]:
    solver = net.training.solver
    for entry in net.parameters:
        for state in solver.states:
            yield Buffer(state_name(entry.name, state.name), entry.axes, "state", entry.name)
        for norm in solver.norms:
            yield Buffer(part_name(norm, entry.name), (), "scratch", entry.name)
    for norm in solver.norms:
        if norm.total:
            yield Buffer(norm_name(norm, ""), (), "scratch", norm.name)
    for running in net.runnings:
        yield _buffer(tables, new_name(running.name), running.name, "scratch")


def _buffer(tables: Tables, name: str, origin: str, role: Role, element: Element = "f32") -> Buffer:
    return Buffer(name, tables.stored_axes(tables.sources[origin]), role, origin, element)


def _element(let: Let) -> Element:
    """A winner's place fits a byte where the window has at most 256 places."""
    match let.expression:
        case Fold("argmax" | "argmin", axes, _, _):
            return "u8" if math.prod(a.size for a in axes) <= 256 else "i32"
        case _:
            return "f32"
