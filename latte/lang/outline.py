"""A syntax tree as indented text: `latte compile --emit ast`.

In: a node.  Out: a line for each node, its children under it.

    File
      items: Net
        name: Name text='LeNet'
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from latte.lang.ast import Node

HIDDEN = {"span"}


def outline(node: Node) -> str:
    """The tree, two spaces for each level; spans are left out."""
    return "\n".join(_lines(node, ""))


def _lines(node: Node, label: str) -> list[str]:
    simple, inner = [], []
    for field in fields(node):
        value = getattr(node, field.name)
        if field.name in HIDDEN or value is None or value == ():
            continue
        children = _children(value)
        if children:
            inner += [line for child in children for line in _lines(child, f"{field.name}: ")]
        else:
            simple.append(f" {field.name}={value!r}")
    head = f"{label}{type(node).__name__}{''.join(simple)}"
    return [head, *(f"  {line}" for line in inner)]


def _children(value: Any) -> list[Node]:
    """The nodes that a field holds, alone or in tuples of tuples."""
    if isinstance(value, Node):
        return [value]
    if isinstance(value, tuple):
        return [node for entry in value for node in _children(entry)]
    return []
