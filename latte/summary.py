"""What a net is made of, before anything is compiled: layers, shapes, parameters, work, memory.

    summary = summarize(net, batch=64)
    print(summary.text())   ->   layer   neuron   shape   parameters   MFLOP ...

FLOPs count each addition, multiplication and function of a forward pass of one item as 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from latte.compiler.net import Connection, Ensemble, Join, Net, Node, View
from latte.compiler.work import operations_in

if TYPE_CHECKING:
    from rich.table import Table

ONE = {"n": 1, "t": 1}  # of one item, at one step
HEADERS = ("layer", "neuron", "shape", "parameters", "MFLOP an item")


@dataclass(frozen=True, slots=True)
class Row:
    """One layer: the nodes that share a path. `shape` is its last node's, without the batch."""

    name: str
    neuron: str
    shape: tuple[int, ...]
    parameters: int
    flops: int

    def cells(self) -> tuple[str, ...]:
        """The row as text, one cell for each header."""
        shape = " x ".join(map(str, self.shape)) or "1"
        flops = f"{self.flops / 1e6:,.3f}"
        return self.name, self.neuron, shape, f"{self.parameters:,}", flops


@dataclass(frozen=True, slots=True)
class Summary:
    """A net's layers in order; `peak` is the predicted memory of a training step in bytes."""

    name: str
    rows: tuple[Row, ...]
    peak: int | None = None

    @property
    def parameters(self) -> int:
        """All learned numbers."""
        return sum(row.parameters for row in self.rows)

    @property
    def flops(self) -> int:
        """Work of a forward pass of one item."""
        return sum(row.flops for row in self.rows)

    def totals(self) -> str:
        """The line below the table."""
        text = f"{self.parameters:,} parameters, {self.flops / 1e6:,.1f} MFLOP an item"
        return text + (f", {self.peak / 2**20:,.1f} MB to train" if self.peak else "")

    def table(self) -> Table:
        """The table for a terminal."""
        from rich.table import Table

        table = Table(title=self.name, caption=self.totals(), caption_justify="left")
        for number, header in enumerate(HEADERS):
            table.add_column(header, justify="right" if number > 2 else "left")
        for row in self.rows:
            table.add_row(*row.cells())
        return table

    def text(self) -> str:
        """The table as plain text."""
        cells = [HEADERS, *(row.cells() for row in self.rows)]
        widths = [max(len(row[column]) for row in cells) for column in range(len(HEADERS))]
        lines = [self.name]
        for row in cells:
            left = [cell.ljust(width) for cell, width in zip(row[:3], widths[:3], strict=True)]
            right = [cell.rjust(width) for cell, width in zip(row[3:], widths[3:], strict=True)]
            lines.append("  ".join([*left, *right]).rstrip())
        return "\n".join([*lines, self.totals()])

    __str__ = text

    def html(self) -> str:
        """The table for a notebook."""
        head = "".join(f"<th>{escape(header)}</th>" for header in HEADERS)
        rows = ("".join(f"<td>{escape(cell)}</td>" for cell in row.cells()) for row in self.rows)
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        caption = f"<caption>{escape(self.name)}: {escape(self.totals())}</caption>"
        return f"<table>{caption}<tr>{head}</tr>{body}</table>"


def summarize(net: Net, peak: int | None = None) -> Summary:
    """The summary of a net; `peak` is a prediction of memory in bytes, if there is one."""
    inputs = tuple(
        Row(entry.name, "input", tuple(axis.size for axis in entry.axes), 0, 0)
        for entry in net.inputs
    )
    layers: dict[str, list[Node]] = {}
    for node in net.nodes:
        layers.setdefault(node.name.rpartition(".")[0] or node.name, []).append(node)
    owners = _owners(net)
    rows = tuple(_row(name, nodes, owners.get(name, 0)) for name, nodes in layers.items())
    return Summary(net.name, inputs + rows, peak)


def _owners(net: Net) -> dict[str, int]:
    """How many learned numbers each layer path declares."""
    counts: dict[str, int] = {}
    for parameter in net.parameters:
        path = parameter.name.rpartition(".")[0] or parameter.name
        counts[path] = counts.get(path, 0) + math.prod(axis.size for axis in parameter.axes)
    return counts


def _row(name: str, nodes: list[Node], parameters: int) -> Row:
    kinds = dict.fromkeys(_kind(node) for node in nodes)
    shape = tuple(axis.size for axis in nodes[-1].axes)
    return Row(name, ", ".join(kinds), shape, parameters, sum(map(node_flops, nodes)))


def _kind(node: Node) -> str:
    match node:
        case Ensemble():
            return node.neuron.name
        case Join():
            return "join"
        case View():
            return "view"


def node_flops(node: Node) -> int:
    """Operations of a node's forward pass for one item (and step), every window unclipped."""
    if not isinstance(node, Ensemble):
        return 0
    points = math.prod(axis.size for axis in node.axes)
    lets = sum(operations_in(let.expression, ONE) for let in node.neuron.lets)
    bindings = (b for b in node.bindings if not isinstance(b, Connection))
    numbers = sum(operations_in(binding, ONE) for binding in bindings)
    return points * (lets + operations_in(node.neuron.value, ONE) + numbers)
