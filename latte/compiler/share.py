"""What has one value for each item and step, and in which order nodes are computed.

    share(net)   the same net with `batch` and `time` set on every node
    stages(net)  its nodes in order: one by one, or as a loop over time where they depend on
                 themselves one step before (or after)

A node has the batch axis where it reads anything that has it other than through `items(...)`, or
draws random numbers; likewise time, other than through `last` and `steps`. A source without time is
the same at every step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import assert_never

from latte.compiler.expression import Expression, Random
from latte.compiler.net import (
    Binding,
    Connection,
    Ensemble,
    Join,
    Moment,
    Net,
    Neuron,
    Node,
    Value,
    View,
)
from latte.compiler.rewrite import walk

Hidden = tuple[bool, bool]  # has the batch axis, has the time axis

# Moments that depend on how long an item's own sequence is
LENGTHS = (Moment.NEXT, Moment.LAST, Moment.ALL)


@dataclass(frozen=True, slots=True)
class Stage:
    """Nodes computed together. Several, or one that reads itself, run step by step over time,
    last step first if `reverse`."""

    nodes: tuple[Node, ...]
    serial: bool = False
    reverse: bool = False


@dataclass(frozen=True, slots=True)
class Edge:
    """One source that a node reads, and how."""

    source: str
    moment: Moment
    items: bool


def share(net: Net) -> Net:
    """Sets `batch` and `time` of every node: the least that what they read demands."""
    hidden: dict[str, Hidden] = {entry.name: (True, entry.time) for entry in net.inputs}
    hidden |= {parameter.name: (False, False) for parameter in net.parameters}
    hidden |= {running.name: (False, False) for running in net.runnings}
    hidden |= {node.name: (_draws(node), False) for node in net.nodes}
    before = None
    while before != hidden:
        before = dict(hidden)
        for node in net.nodes:
            hidden[node.name] = _hidden(node, hidden)
    nodes = tuple(_with(node, hidden[node.name]) for node in net.nodes)
    return net if nodes == net.nodes else replace(net, nodes=nodes)


def stages(net: Net) -> tuple[Stage, ...]:
    """The nodes in an order in which each comes after what it reads at its own step."""
    nodes = {node.name: node for node in net.nodes}
    place = {node.name: number for number, node in enumerate(net.nodes)}
    reads = {name: [e for e in edges(node) if e.source in nodes] for name, node in nodes.items()}
    result: list[Stage] = []
    for group in _components(reads):
        if len(group) == 1 and all(edge.source != group[0] for edge in reads[group[0]]):
            result.append(Stage((nodes[group[0]],)))
        else:
            result.append(_serial(sorted(group, key=place.__getitem__), reads, nodes))
    return tuple(result)


def edges(node: Node) -> Iterator[Edge]:
    """Everything a node reads, values used as indices and initial values too."""
    match node:
        case Ensemble():
            for binding in node.bindings:
                yield from binding_edges(binding)
        case Join():
            yield from (Edge(part, Moment.SAME, False) for part in node.parts)
        case View():
            yield Edge(node.source, Moment.SAME, False)
        case _:
            assert_never(node)


def binding_edges(binding: Binding) -> Iterator[Edge]:
    """Everything one argument reads."""
    if not isinstance(binding, Connection):
        return
    yield Edge(binding.source, binding.moment, binding.item is not None)
    for entry in binding.index:
        if isinstance(entry, Value):
            yield from binding_edges(entry.connection)
    if binding.initial is not None:
        yield from binding_edges(binding.initial)


def _hidden(node: Node, hidden: Mapping[str, Hidden]) -> Hidden:
    batch, time = hidden[node.name]
    for edge in edges(node):
        source_batch, source_time = hidden[edge.source]
        batch |= source_batch and not edge.items
        time |= source_time and edge.moment not in (Moment.LAST, Moment.ALL)
        batch |= source_time and edge.moment in LENGTHS and not edge.items
    return batch, time


def _draws(node: Node) -> bool:
    return isinstance(node, Ensemble) and any(
        isinstance(part, Random) for root in _roots(node.neuron) for part in walk(root)
    )


def _roots(neuron: Neuron) -> Iterator[Expression]:
    yield from (let.expression for let in neuron.lets)
    yield neuron.value


def _with(node: Node, hidden: Hidden) -> Node:
    same = (node.batch, node.time) == hidden
    return node if same else replace(node, batch=hidden[0], time=hidden[1])


def _components(reads: Mapping[str, list[Edge]]) -> list[list[str]]:
    """Strongly connected components, each after those it reads (Tarjan 1972, without recursion)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []
    for root in reads:
        work = [(root, iter(reads[root]))] if root not in number else []
        while work:
            name, rest = work[-1]
            if name not in number:
                number[name] = low[name] = len(number)
                stack.append(name)
            step = next((e.source for e in rest if _open(e.source, name, number, low, stack)), None)
            if step is not None:
                work.append((step, iter(reads[step])))
                continue
            work.pop()
            if work:
                low[work[-1][0]] = min(low[work[-1][0]], low[name])
            if low[name] == number[name]:
                found.append(_cut(stack, name))
    return found


def _open(
    source: str, name: str, number: dict[str, int], low: dict[str, int], stack: list[str]
) -> bool:
    """True where `source` has not been seen; else notes that `name` reaches it."""
    if source not in number:
        return True
    if source in stack:
        low[name] = min(low[name], number[source])
    return False


def _cut(stack: list[str], name: str) -> list[str]:
    at = stack.index(name)
    group = stack[at:]
    del stack[at:]
    return group


def _serial(group: list[str], reads: Mapping[str, list[Edge]], nodes: Mapping[str, Node]) -> Stage:
    """A loop over time: inside a step, nodes come after what they read at that step."""
    inside = {
        name: [e for e in reads[name] if e.source in group and e.moment is Moment.SAME]
        for name in group
    }
    order = [name for component in _components(inside) for name in component]
    moments = {edge.moment for name in group for edge in reads[name] if edge.source in group}
    return Stage(tuple(nodes[name] for name in order), True, Moment.NEXT in moments)
