"""What computes gradients: each buffer of gradients gathers from everybody who reads its value.

    a.grad is read by two:   kernel a.grad [n, i]  a.grad[n, i] = sum [j] w[j, i] * b.grad[n, j]
                             kernel a.grad [n, i]  a.grad[n, i] += c.grad[n, i]

A value is finished before its readers' turn comes, so gradients are pulled in reverse order. The
first contribution to an element sets it, later ones add; what nobody contributes to is set to 0.
Nothing is cleared first, except where a scatter remains (value-dependent places).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from latte.compiler.adjoint import (
    Edge,
    at_neuron,
    edges,
    flow,
    grad,
    inlined,
    kept_lets,
    let_name,
    stored_lets,
    target_axes,
)
from latte.compiler.affine import Affine, axis
from latte.compiler.expression import Apply, Axis, Expression, Fold, Number
from latte.compiler.gather import Piece, element, gather, only_if
from latte.compiler.ir import Item, Kernel, Serial, Write
from latte.compiler.net import Ensemble, Loss, Moment, Net, Node, View
from latte.compiler.poly import Box, disjoint, remainder
from latte.compiler.rewrite import walk
from latte.compiler.share import Group
from latte.compiler.simplify import ZERO, simplify, simplify_kernel
from latte.compiler.split import split_axes
from latte.compiler.synthesize_forward import frame, places
from latte.compiler.tables import Names, Tables, before_end


@dataclass(frozen=True, slots=True)
class Plan:
    """Which gradients are computed: `targets` are the nodes, parameters and inputs that get one,
    `edges` all ways to each of them, `kept` the lets that forward keeps."""

    targets: frozenset[str]
    edges: Mapping[str, tuple[Edge, ...]]
    kept: Mapping[str, tuple[str, ...]]


def plan(tables: Tables, net: Net, wanted: frozenset[str]) -> Plan:
    """Gradients of all nodes on a way from a parameter, or something `wanted`, to a loss."""
    every = [edge for node in net.nodes for edge in edges(node)]
    into = [(edge.reader.name, tables.base(edge.connection.source).name, edge) for edge in every]
    leaves = wanted | {entry.name for entry in net.parameters}
    moving = _closure(leaves, [(target, reader) for reader, target, _ in into])
    losses = {tables.base(loss.node).name for loss in net.losses}
    reached = _closure(losses, [(reader, target) for reader, target, _ in into])
    targets = frozenset(moving & reached) | leaves
    found: dict[str, list[Edge]] = {}
    formals: dict[str, set[str]] = {}
    for reader, target, edge in into:
        if reader in targets and reader in reached and target in targets:
            found.setdefault(target, []).append(edge)
            if edge.contribution is not None:
                formals.setdefault(reader, set()).add(edge.contribution.formal)
    kept = {
        node.name: kept_lets(node.neuron, formals[node.name])
        for node in net.nodes
        if isinstance(node, Ensemble) and node.name in formals
    }
    return Plan(targets, {name: tuple(rows) for name, rows in found.items()}, kept)


def _closure(start: Iterable[str], pairs: Sequence[tuple[str, str]]) -> set[str]:
    """All names that can be reached from the start by following the pairs."""
    following: dict[str, list[str]] = {}
    for before, after in pairs:
        following.setdefault(before, []).append(after)
    found, waiting = set[str](), list(start)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += following.get(name, ())
    return found


def backward(tables: Tables, net: Net, groups: Sequence[Group], plan: Plan) -> list[Item]:
    """All gradient kernels, in order: of a parameter as soon as all its readers have theirs."""
    work = _Backward(tables, net, plan)
    items: list[Item] = []
    for group in reversed(groups):
        items += work.group(group)
        items += work.leaves(done={node.name for node in group.nodes})
    return items + work.leaves(done=set(work.waiting))


@dataclass(slots=True)
class _Backward:
    tables: Tables
    net: Net
    plan: Plan
    waiting: dict[str, set[str]] = field(default_factory=dict)
    emitted: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.waiting = {node.name: set() for node in self.net.nodes}

    def group(self, group: Group) -> list[Item]:
        """The gradients of a group's values, then the lets that their own readers share."""
        nodes = [n for n in group.nodes if n.name in self.plan.targets and not isinstance(n, View)]
        if group.moment is None:
            return [k for n in nodes for k in (*self.pull(n.name), *self.lets(n, False))]
        members = {node.name for node in group.nodes}
        outside: list[Item] = []
        inside: list[Kernel] = []
        for node in reversed(nodes):
            mine = [e for e in self.edges(node.name) if e.reader.name in members]
            rest = [e for e in self.edges(node.name) if e.reader.name not in members]
            before = _Target(self.tables, node.name, False)
            outside += before.kernels(rest, self.losses(node.name), finish=not mine)
            steps = _Target(self.tables, node.name, True, list(before.written))
            inside += steps.kernels(mine, [], finish=True)
            inside += self.lets(node, True)
        if not inside:
            return outside
        reverse = group.moment == Moment.PREVIOUS
        return [*outside, Serial(self.tables.steps, reverse, tuple(inside))]

    def edges(self, name: str) -> tuple[Edge, ...]:
        return self.plan.edges.get(name, ())

    def losses(self, name: str) -> list[Loss]:
        return [loss for loss in self.net.losses if self.tables.base(loss.node).name == name]

    def pull(self, name: str) -> list[Kernel]:
        """All of one gradient: of a value, parameter or input."""
        self.emitted.add(name)
        target = _Target(self.tables, name, False)
        return target.kernels(self.edges(name), self.losses(name), finish=True)

    def leaves(self, done: set[str]) -> list[Item]:
        """Gradients of parameters and inputs whose last reader is done."""
        for name in done:
            self.waiting.pop(name, None)
        nodes = {node.name for node in self.net.nodes}
        items: list[Item] = []
        for name in self._leaf_order():
            readers = {edge.reader.name for edge in self.edges(name)}
            ready = not readers & self.waiting.keys()
            if name not in self.emitted and name not in nodes and (ready):
                if not readers and self.waiting:
                    continue
                items += self.pull(name)
        return items

    def _leaf_order(self) -> list[str]:
        """Parameters in the order of the net, weights before what follows them."""
        names = [entry.name for entry in self.net.parameters]
        names += [entry.name for entry in self.net.inputs]
        return [name for name in names if name in self.plan.targets]

    def lets(self, node: Node, serial: bool) -> list[Kernel]:
        """The kernel of the backward lets that get a buffer."""
        if not isinstance(node, Ensemble) or node.name not in self.plan.kept:
            return []
        stored = stored_lets(node.neuron)
        kernels = []
        backward = node.neuron.backward
        for let in backward.lets if backward is not None else ():
            if let.name in stored:
                place = frame(self.tables, node, serial)
                body = at_neuron(self.tables, node, place)
                value = body.expression(inlined(node, let.expression, stored))
                write = Write(let_name(node.name, let.name), place.index, value)
                kernels.append(
                    Kernel(write.buffer, place.listed, (), (write,), (), node.name, "backward")
                )
        return [split_axes(simplify_kernel(kernel)) for kernel in kernels]


@dataclass(slots=True)
class _Target:
    """One buffer of gradients and which of its elements hold something already."""

    tables: Tables
    name: str
    serial: bool
    written: list[Box] = field(default_factory=list)

    def kernels(
        self, edges: Sequence[Edge], losses: Sequence[Loss], finish: bool
    ) -> list[Kernel]:  # fmt: skip
        """The kernels of all contributions; with `finish` every element is set in the end."""
        found: list[Kernel] = []
        maps: list[tuple[Box, Piece, str]] = [self._seed(loss) for loss in losses]
        folds: list[tuple[Box, list[Piece], str]] = []
        for edge in edges:
            box, pieces = self._gather(edge)
            if any(start == stop for start, stop in box):
                continue  # all of the reader's windows lie outside
            if pieces is None:
                found += self._scatter(edge, box)
            elif len(pieces) == 1 and not _is_sum(pieces[0]):
                maps.append((box, pieces[0], edge.reader.name))
            else:
                folds.append((box, pieces, edge.reader.name))
        for box, pieces, origin in _merged(maps, folds):
            found += self._set_or_add(box, pieces, origin)
        return found + (self._rest() if finish else [])

    def _axes(self, names: Names) -> tuple[Axis, ...]:
        return target_axes(self.tables, self.tables.sources[self.name], names)

    def _around(self, axes: Sequence[Axis]) -> dict[int, Axis]:
        pairs = enumerate(axes)
        return {number: a for number, a in pairs if a.symbol == "t"} if self.serial else {}

    def _gather(self, edge: Edge) -> tuple[Box, list[Piece] | None]:
        names = Names()
        axes = self._axes(names)
        found = flow(self.tables, edge, axes, names)
        around = self._around(axes)
        if any(start >= stop for start, stop in found.box):
            return found.box, []
        return found.box, gather(found.scatter, axes, names, found.box, found.places, around)

    def _seed(self, loss: Loss) -> tuple[Box, Piece, str]:
        """The gradient of a mean: the weight over the number of values, where present."""
        names = Names()
        axes = self._axes(names)
        value: Expression = Apply("div", (Number(loss.weight), places(self.tables, loss.node)))
        symbols = {entry.symbol: axis(entry.name) for entry in axes}
        if "t" in symbols and "n" in symbols:
            present = before_end(self.tables, symbols["n"], symbols["t"])
            value = Apply("select", (present, value, ZERO))
        box = tuple((0, entry.size) for entry in axes)
        [piece] = self._boxed(box, simplify(value))
        return box, piece, loss.node

    def _boxed(self, box: Box, value: Expression | None) -> list[Piece]:
        """A piece for every element of a box."""
        target = self._axes(Names())
        axes, index = element(target, box, self._around(target))
        return [Piece(axes, index, value)]

    def _set_or_add(self, box: Box, pieces: list[Piece], origin: str) -> list[Kernel]:
        if disjoint(box, self.written):
            self.written.append(box)
            return [self._kernel(piece, False, origin) for piece in pieces]
        kernels = self._zeros(remainder(box, self.written))
        self.written.append(box)
        added = [piece for piece in pieces if piece.expression is not None]
        return kernels + [self._kernel(piece, True, origin) for piece in added]

    def _zeros(self, boxes: Iterable[Box]) -> list[Kernel]:
        return [self._kernel(p, False, self.name) for box in boxes for p in self._boxed(box, None)]

    def _rest(self) -> list[Kernel]:
        full = tuple((0, entry.size) for entry in self._axes(Names()))
        return self._zeros(remainder(full, self.written))

    def _kernel(self, piece: Piece, add: bool, origin: str) -> Kernel:
        value = ZERO if piece.expression is None else piece.expression
        write = Write(grad(self.name), piece.index, value, add)
        reason = "clear" if piece.expression is None else f"gradient of {self.name}"
        kernel = Kernel(grad(self.name), piece.axes, (), (write,), (), origin, reason)
        return split_axes(simplify_kernel(kernel))

    def _scatter(self, edge: Edge, box: Box) -> list[Kernel]:
        """A contribution whose places are values: everything it may reach is set first."""
        kernels = self._zeros(remainder(box, self.written))
        self.written.append(box)
        names = Names()
        scatter = flow(self.tables, edge, self._axes(names), names).scatter
        value = only_if(scatter.conditions, scatter.expression)
        index = tuple(  # what a window clips adds 0 to the first element
            entry if isinstance(entry, Affine) else only_if(scatter.conditions, entry)
            for entry in scatter.index
        )
        write = Write(grad(self.name), index, value, add=True)
        reason = f"gradient of {self.name}"
        kernel = Kernel(
            grad(self.name), scatter.axes, (), (write,), scatter.where, edge.reader.name, reason
        )
        return [*kernels, simplify_kernel(kernel)]


def _is_sum(piece: Piece) -> bool:
    return piece.expression is not None and any(
        isinstance(node, Fold) for node in walk(piece.expression)
    )


def _merged(
    maps: list[tuple[Box, Piece, str]], folds: list[tuple[Box, list[Piece], str]]
) -> list[tuple[Box, list[Piece], str]]:
    """Contributions without sums to the same elements become one, and join a sum if there is
    one in one piece."""
    merged: list[tuple[Box, list[Piece], str]] = []
    together: dict[Box, list[tuple[Piece, str]]] = {}
    for box, piece, origin in maps:
        together.setdefault(box, []).append((piece, origin))
    for box, pieces, origin in folds:
        if len(pieces) == 1 and box in together:
            rows = together.pop(box)
            pieces = [_sum([*pieces, *(piece for piece, _ in rows)])]
        merged.append((box, pieces, origin))
    for box, rows in together.items():
        merged.append((box, [_sum([piece for piece, _ in rows])], rows[0][1]))
    return merged


def _sum(pieces: list[Piece]) -> Piece:
    """Pieces for the same elements as one."""
    total: Expression | None = None
    for piece in pieces:
        if piece.expression is not None:
            same = {a.name: axis(b.name) for a, b in zip(piece.axes, pieces[0].axes, strict=True)}
            assert all(place == axis(name) for name, place in same.items())
            value = piece.expression
            total = value if total is None else Apply("add", (total, value))
    return replace(pieces[0], expression=total)
