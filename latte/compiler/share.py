"""Finds what a node depends on and when it can be computed: Net -> Net, and the order of nodes.

    ensemble m[ch: c] = Mean(items(source)[:, ch, ...])    ->  batch = False: one for the batch
    ensemble out[j] = Recurrent(x[...], wx[j], prev(out))  ->  time = True, in a Group with itself

A node has the batch axis if it reads something of its own item or draws random numbers, and the
time axis if it reads something of its own step or of a neighbouring one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from graphlib import TopologicalSorter

from latte.compiler.expression import Random
from latte.compiler.net import Connection, Ensemble, Moment, Net, Neuron, Node
from latte.compiler.rewrite import walk
from latte.compiler.sources import connections, reached, sources

Kept = Mapping[str, bool]


@dataclass(frozen=True, slots=True)
class Group:
    """Nodes that are computed together: one, or those of a cycle through `prev` (PREVIOUS) or
    `next` (NEXT) in their order within a step."""

    nodes: tuple[Node, ...]
    moment: Moment | None = None


def share(net: Net) -> Net:
    """The net with every node's `batch` and `time` set (a least fixpoint)."""
    batch = {entry.name: True for entry in net.inputs}
    time = {entry.name: entry.time for entry in net.inputs}
    for name in _persistent(net) + [node.name for node in net.nodes]:
        batch[name] = time[name] = False
    changed = True
    while changed:
        changed = False
        for node in net.nodes:
            found = (_has_batch(node, batch), _has_time(node, time))
            changed |= found != (batch[node.name], time[node.name])
            batch[node.name], time[node.name] = found
    nodes = tuple(replace(n, batch=batch[n.name], time=time[n.name]) for n in net.nodes)
    return net if nodes == net.nodes else replace(net, nodes=nodes)


def order(net: Net) -> tuple[Group, ...]:
    """All nodes, each after what it reads; a cycle is one Group."""
    nodes = {node.name: node for node in net.nodes}
    reads = {name: [s for s in sources(node) if s in nodes] for name, node in nodes.items()}
    leader = _cycles(net, reads)
    graph: dict[str, list[str]] = {}
    for name, names in reads.items():
        mine = leader.get(name, name)
        found = graph.setdefault(mine, [])
        found += [other for s in names if (other := leader.get(s, s)) != mine]
    return tuple(_group(name, nodes, leader) for name in TopologicalSorter(graph).static_order())


def _persistent(net: Net) -> list[str]:
    return [entry.name for entry in net.parameters] + [entry.name for entry in net.runnings]


def _has_batch(node: Node, batch: Kept) -> bool:
    if not isinstance(node, Ensemble):
        return any(batch[name] for name in sources(node))
    read = any(batch[c.source] and c.item is None for c in connections(node.bindings))
    return read or _draws(node.neuron)


def _has_time(node: Node, time: Kept) -> bool:
    if not isinstance(node, Ensemble):
        return any(time[name] for name in sources(node))
    return any(
        c.moment in (Moment.PREVIOUS, Moment.NEXT) or (c.moment == Moment.SAME and time[c.source])
        for c in connections(node.bindings)
    )


def _draws(neuron: Neuron) -> bool:
    bodies = [let.expression for let in neuron.lets] + [neuron.value]
    return any(isinstance(node, Random) for body in bodies for node in walk(body))


def _shifted(node: Node) -> list[Connection]:
    """Connections to another step."""
    if not isinstance(node, Ensemble):
        return []
    moments = (Moment.PREVIOUS, Moment.NEXT)
    return [c for c in connections(node.bindings) if c.moment in moments]


def _cycles(net: Net, reads: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """For each node of a cycle, the name that stands for the cycle: its first in the net."""
    readers: dict[str, list[str]] = {name: [] for name in reads}
    for name, names in reads.items():
        for source in names:
            readers[source].append(name)
    leader: dict[str, str] = {}
    for node in net.nodes:
        for connection in _shifted(node):
            cycle = reached([node.name], readers) & reached([connection.source], reads)
            for name in cycle if connection.source in cycle else ():
                leader.setdefault(name, min(cycle, key=list(reads).index))
    return leader


def _group(name: str, nodes: Mapping[str, Node], leader: Mapping[str, str]) -> Group:
    members = [n for n in nodes if leader.get(n) == name]
    if not members:
        return Group((nodes[name],))
    graph = {n: [s for s in _same_step(nodes[n]) if s in members] for n in members}
    ordered = tuple(nodes[n] for n in TopologicalSorter(graph).static_order())
    moments = {c.moment for n in ordered for c in _shifted(n) if c.source in members}
    assert len(moments) == 1, f"a cycle through both prev and next: {', '.join(members)}"
    return Group(ordered, moments.pop())


def _same_step(node: Node) -> list[str]:
    if not isinstance(node, Ensemble):
        return list(sources(node))
    shifted = _shifted(node)
    return [c.source for c in connections(node.bindings) if c not in shifted]
