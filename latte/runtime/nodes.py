"""What a user's names stand for: nodes, and the buffers behind views and joins.

In: a Net, a name.  Out: the node's name, or the buffers that hold its values.

    find_node(net, "conv1")  ->  "conv1.out"
    readable(net, ["conv1"])  ->  {"conv1.out", "conv1.out.grad", ...}
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latte.compiler.net import Join, Net, View
from latte.errors import did_you_mean, fail

Array = NDArray[Any]


def readable(net: Net, keep: Iterable[str]) -> frozenset[str]:
    """Buffers that have to outlast every phase: values and gradients of what `keep` names (nodes
    and parameters), and the output. Raises LatteError E0908 for a name that the net has not."""
    found: set[str] = set()
    parameters = {entry.name for entry in net.parameters}
    for name in keep:
        behind = [name] if name in parameters else _behind(net, find_node(net, name))
        found |= {f"{stored}{suffix}" for stored in behind for suffix in ("", ".grad")}
    return frozenset(found | set(_behind(net, find_node(net, net.output)) if net.output else ()))


def find_node(net: Net, name: str) -> str:
    """The node (or input) that the user calls so."""
    names = dict(net.names)
    known = {*names, *(node.name for node in net.nodes), *(entry.name for entry in net.inputs)}
    if name not in known:
        fail("E0908", f"there is no ensemble `{name}`", help=did_you_mean(name, known))
    return names.get(name, name)


def _behind(net: Net, name: str) -> Iterator[str]:
    """The node, and what a view or join is made of."""
    yield name
    match next((node for node in net.nodes if node.name == name), None):
        case View(source=source):
            yield from _behind(net, source)
        case Join(parts=parts):
            for part in parts:
                yield from _behind(net, part)


def viewed(view: View, source: Array) -> Array:
    """A view's array by its index map; axes in front (items, steps) stay."""
    grid = np.indices([axis.size for axis in view.axes], sparse=True)
    places = {axis.name: place for axis, place in zip(view.axes, grid, strict=True)}
    index = tuple(np.asarray(entry.evaluate(places)) for entry in view.index)
    picked: tuple[Any, ...] = (..., *np.broadcast_arrays(*index))
    return np.asarray(source[picked] if index else source)
