"""What a node reads: names of the inputs, parameters, running values and nodes it is connected to.

sources(conv1.out)  ->  ("image", "conv1.weight", "conv1.bias")
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import assert_never

from latte.compiler.net import Binding, Connection, Ensemble, Join, Node, Value, View


def sources(node: Node) -> tuple[str, ...]:
    """Names of everything a node reads directly, in order, repeated where it is read again."""
    match node:
        case Ensemble():
            return tuple(each.source for each in connections(node.bindings))
        case Join():
            return node.parts
        case View():
            return (node.source,)
        case _:
            assert_never(node)


def reached(starts: Iterable[str], edges: Mapping[str, Iterable[str]]) -> set[str]:
    """The names from which edges begin that can be reached from `starts`, these included."""
    found, waiting = set[str](), list(starts)
    while waiting:
        name = waiting.pop()
        if name in edges and name not in found:
            found.add(name)
            waiting += edges[name]
    return found


def connections(bindings: tuple[Binding, ...]) -> Iterator[Connection]:
    """All connections, those inside value-dependent indices and initial values too."""
    for binding in bindings:
        if isinstance(binding, Connection):
            yield from nested(binding)


def nested(connection: Connection) -> Iterator[Connection]:
    """A connection, then those it uses for its indices and its initial value."""
    yield connection
    for entry in connection.index:
        if isinstance(entry, Value):
            yield from nested(entry.connection)
    if connection.initial is not None:
        yield from nested(connection.initial)
