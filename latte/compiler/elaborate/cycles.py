"""Checks of the net as a whole: cycles pass through `prev` or `next`, time needs a time axis.

a -> b -> a, all at the same step                   ->  error, the cycle in its help
out -> gate -> out, `gate` reads prev(out)          ->  fine
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from latte.compiler import net as forms
from latte.compiler.elaborate.context import Run
from latte.compiler.net import Connection, Ensemble, Join, Moment, View
from latte.compiler.share import share
from latte.errors import Span


@dataclass(frozen=True, slots=True)
class Edge:
    """One node reads another, at some moment."""

    source: str
    moment: Moment
    span: Span | None


def check_time(run: Run) -> None:
    """Report cycles and moments that have no meaning."""
    nodes = {node.name: node for node in run.nodes if node is not None}
    edges = {name: tuple(_reads(node)) for name, node in nodes.items()}
    _check_cycles(run, nodes, edges)
    if any(each.time for each in run.inputs):
        return
    for name, found in edges.items():
        for edge in found:
            span = edge.span or nodes[name].span
            if edge.moment is not Moment.SAME and span is not None:
                message = f"`{name}` reads another time step, but no input has a time axis"
                help = "declare one: `input xs[@time, 6]`"
                run.report.frames = list(run.frames[name])
                run.report.error("E0607", message, span, help=help)
                return


def check_updates(run: Run, net: forms.Net) -> None:
    """A running value has no items and no steps, so that its update can read neither."""
    if not net.updates:
        return
    batch = {each.name for each in run.inputs}
    time = {each.name for each in run.inputs if each.time}
    for node in share(net).nodes:
        batch |= {node.name} if node.batch else set()
        time |= {node.name} if node.time else set()
    for update in run.updates:
        for each in update.bindings:
            if not isinstance(each, Connection) or each.source not in batch | time:
                continue
            what, word = ("item", "items") if each.source in batch else ("step", "steps")
            message = f"an update reads one value, but `{each.source}` has one for each {what}"
            help = f"read an ensemble that takes them together: `Mean({word}(...)[...])`"
            run.report.frames = list(run.frames[update.running])
            assert update.span is not None
            run.report.error("E0611", message, update.span, help=help)


def _reads(node: forms.Node) -> Iterator[Edge]:
    match node:
        case Join():
            yield from (Edge(part, Moment.SAME, node.span) for part in node.parts)
        case View():
            yield Edge(node.source, Moment.SAME, node.span)
        case Ensemble():
            for binding in node.bindings:
                if isinstance(binding, Connection):
                    yield from _connected(binding, node.span)


def _connected(connection: Connection, span: Span | None) -> Iterator[Edge]:
    span = connection.span or span
    yield Edge(connection.source, connection.moment, span)
    if connection.initial is not None:
        yield from _connected(connection.initial, span)
    for entry in connection.index:
        if isinstance(entry, forms.Value):
            yield from _connected(entry.connection, span)


def _check_cycles(
    run: Run, nodes: dict[str, forms.Node], edges: dict[str, tuple[Edge, ...]]
) -> None:
    now = {
        name: [e for e in found if e.moment not in (Moment.PREVIOUS, Moment.NEXT)]
        for name, found in edges.items()
    }
    for group in components(now):
        if len(group) > 1 or any(e.source == group[0] for e in now[group[0]]):
            path = cycle(now, frozenset(group))
            span = next((n.span for n in (nodes[name] for name in path) if n.span), None)
            assert span is not None
            message = f"`{path[0]}` depends on itself at the same step"
            run.report.frames = list(run.frames[path[0]])
            text = " -> ".join([*path, path[0]])
            help = f"{text}: one of them must be read through `prev` or `next`"
            run.report.error("E0606", message, span, help=help)
    for group in components(edges):
        inside = frozenset(group)
        moments = {e.moment for name in group for e in edges[name] if e.source in inside}
        if Moment.PREVIOUS in moments and Moment.NEXT in moments:
            span = nodes[group[0]].span
            assert span is not None
            message = f"`{group[0]}` depends on itself through both `prev` and `next`"
            run.report.frames = list(run.frames[group[0]])
            run.report.error("E0608", message, span)


def cycle(edges: dict[str, list[Edge]], group: frozenset[str]) -> list[str]:
    """A way from a node of a component back to it."""
    name = min(group)
    path = [name]
    while True:
        name = next(e.source for e in edges[name] if e.source in group)
        if name in path:
            return path[path.index(name) :]
        path.append(name)


def components(edges: dict[str, tuple[Edge, ...]] | dict[str, list[Edge]]) -> list[list[str]]:
    """Strongly connected components (Tarjan 1972), without recursion."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []
    for root in edges:
        work = [(root, iter(edges[root]))] if root not in order else []
        if work:
            order[root] = low[root] = len(order)
            stack.append(root)
        while work:
            name, rest = work[-1]
            target = next((e.source for e in rest if e.source in edges), None)
            if target is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[name])
                if low[name] == order[name]:
                    place = stack.index(name)
                    found.append(stack[place:])
                    del stack[place:]
            elif target not in order:
                order[target] = low[target] = len(order)
                stack.append(target)
                work.append((target, iter(edges[target])))
            elif target in stack:
                low[name] = min(low[name], order[target])
    return found
