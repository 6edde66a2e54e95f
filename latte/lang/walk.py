"""Walks over syntax trees, without recursion, for trees of any depth.

children(Binary("+", a, b))  ->  a, b
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from latte.lang.ast import Node

FIELDS: dict[type[Node], tuple[str, ...]] = {}  # what `fields` says, asked once for each class


def children(node: Node) -> Iterator[Node]:
    """The nodes right below a node, in the order of the text."""
    for name in _fields(type(node)):
        value = getattr(node, name)
        if isinstance(value, Node):
            yield value
        elif isinstance(value, tuple):
            yield from value


def walk(node: Node) -> Iterator[Node]:
    """A node and everything below it, parents first, in the order of the text."""
    waiting = [node]
    while waiting:
        here = waiting.pop()
        yield here
        waiting.extend(reversed(list(children(here))))


def depth(node: Node) -> int:
    """How many nodes the longest way down from this one passes."""
    level, below = 0, [node]
    while below:
        level += 1
        below = [child for parent in below for child in children(parent)]
    return level


def _fields(kind: type[Node]) -> tuple[str, ...]:
    if kind not in FIELDS:
        FIELDS[kind] = tuple(field.name for field in fields(kind) if field.name != "span")
    return FIELDS[kind]
