"""Which gradients flow where: every contribution of a net as a Scatter onto a buffer.

    conv1.out's `x.grad[i] += weight[i] * value.grad`, x = image[c, y + ky, x + kx]
->  [n, f, y, x, c, ky, kx]  image.grad[n, c, y + ky, x + kx] +=
                             conv1.weight[f, c, ky, kx] * conv1.out.grad[n, f, y, x]
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from latte.compiler.affine import Affine, axis, constant
from latte.compiler.algebra import LONGEST_LET, length
from latte.compiler.expression import (
    Apply,
    Axis,
    Expression,
    Fold,
    Index,
    Load,
    Local,
    Number,
    Position,
    Scalar,
)
from latte.compiler.gather import Scatter
from latte.compiler.instance import Instance
from latte.compiler.net import (
    Connection,
    Contribution,
    Ensemble,
    Join,
    Moment,
    Neuron,
    Node,
    Value,
    View,
)
from latte.compiler.poly import Box, image, ranges_of
from latte.compiler.rewrite import substitute_locals, walk
from latte.compiler.simplify import ZERO
from latte.compiler.synthesize_forward import Frame, frame, instance, kept_name
from latte.compiler.tables import (
    CARRY,
    LENGTHS,
    Names,
    Source,
    Tables,
    as_expression,
    at,
    before_end,
    moment,
    read,
)


@dataclass(frozen=True, slots=True)
class Edge:
    """One way for gradient to flow: from a node back along one connection (of a formal), or from
    a join to its part number `part`."""

    reader: Ensemble | Join
    connection: Connection
    contribution: Contribution | None = None
    part: int = 0
    first: Moment | None = None  # an `initial` connection: of prev or of next


@dataclass(frozen=True, slots=True)
class Flow:
    """A scatter onto the buffer of `target`, the box it can reach, and for a target behind a view
    what the scatter's index is for an element (over the target's axis names)."""

    scatter: Scatter
    box: Box
    places: tuple[Affine, ...]


def edges(node: Node) -> list[Edge]:
    """All ways for gradient to leave a node. Views have none of their own."""
    match node:
        case View():
            return []
        case Join():
            return _parts(node)
        case Ensemble() if node.neuron.backward is not None:
            return [edge for entry in node.neuron.backward.contributions
                    for edge in _of_formal(node, entry)]  # fmt: skip
        case _:
            return []


def _parts(node: Join) -> list[Edge]:
    own = tuple(axis(entry.name) for entry in node.axes)
    return [
        Edge(node, Connection(part, own), part=number) for number, part in enumerate(node.parts)
    ]


def _of_formal(node: Ensemble, entry: Contribution) -> list[Edge]:
    pairs = zip(node.neuron.formals, node.bindings, strict=True)
    binding = next(bound for formal, bound in pairs if formal.name == entry.formal)
    assert isinstance(binding, Connection)
    found = [Edge(node, binding, entry)]
    if binding.initial is not None:
        found.append(Edge(node, binding.initial, entry, first=binding.moment))
    return found


def stored_lets(neuron: Neuron) -> tuple[str, ...]:
    """The lets of backward that get a buffer: folds, what every place of a window reads, and what
    would be long with the lets that it reads written out."""
    backward = neuron.backward
    if backward is None:
        return ()
    inner = {
        name for entry in backward.contributions if entry.axes for name in _names(entry.expression)
    }
    lengths = dict.fromkeys(neuron.states, 1)
    stored = []
    for let in (*neuron.lets, *backward.lets):
        if let.name in lengths:
            continue
        lengths[let.name] = length(let.expression, lengths)
        fold = any(isinstance(node, Fold) for node in walk(let.expression))
        long = lengths[let.name] > LONGEST_LET
        if let in backward.lets and (fold or long or let.name in inner):
            stored.append(let.name)
            lengths[let.name] = 1
    return tuple(stored)


def kept_lets(neuron: Neuron, formals: set[str]) -> tuple[str, ...]:
    """The states that the gradients of these formals read."""
    backward = neuron.backward
    if backward is None:
        return ()
    needed = {
        name
        for entry in backward.contributions
        if entry.formal in formals
        for name in _names(entry.expression)
    }
    for let in reversed((*neuron.lets, *backward.lets)):
        if let.name in needed and let.name not in neuron.states:
            needed |= _names(let.expression)
    return tuple(name for name in neuron.states if name in needed)


def _names(expression: Expression) -> set[str]:
    return {node.name for node in walk(expression) if isinstance(node, Local)}


def grad(name: str) -> str:
    """The buffer of a gradient."""
    return f"{name}.grad"


def let_name(node: str, local: str) -> str:
    """The buffer of a let of backward."""
    return f"{node}.back.{local}"


def inlined(node: Ensemble, expression: Expression, stored: tuple[str, ...]) -> Expression:
    """An expression of the backward body with all lets that have no buffer written out."""
    backward = node.neuron.backward
    assert backward is not None
    values: dict[str, Expression] = {}
    for let in (*node.neuron.lets, *backward.lets):
        if let.name not in node.neuron.states and let.name not in stored:
            values[let.name] = substitute_locals(let.expression, values)
    return substitute_locals(expression, values)


def at_neuron(tables: Tables, node: Ensemble, place: Frame) -> Instance:
    """The neuron with the names of its backward body: the value, its gradient, what forward kept
    and what backward stored are loads."""
    here = place.index
    locals: dict[str, Expression] = {
        "value": Load(node.name, here), "value.grad": Load(grad(node.name), here)
    }  # fmt: skip
    locals |= {name: Load(kept_name(node.name, name), here) for name in node.neuron.states}
    stored = stored_lets(node.neuron)
    locals |= {name: Load(let_name(node.name, name), here) for name in stored}
    return replace(instance(tables, node, place), locals=locals)


def target_axes(tables: Tables, base: Source, names: Names) -> tuple[Axis, ...]:
    """The axes of a gradient's buffer, under fresh names."""
    return tuple(names.fresh(entry) for entry in tables.stored_axes(base))


def flow(tables: Tables, edge: Edge, target: tuple[Axis, ...], names: Names) -> Flow:
    """The scatter of an edge onto the buffer behind the source of its connection."""
    source = tables.sources[edge.connection.source]
    if isinstance(edge.reader, Join):
        scatter = _from_join(tables, edge, edge.reader, source, names)
    else:
        scatter = _from_neuron(tables, edge, edge.reader, names)
    front = target[: len(target) - len(tables.base(source.name).axes)]
    own = tuple(axis(entry.name) for entry in target[len(front) :])
    places = tuple(axis(entry.name) for entry in front) + _through(tables, source, own)
    ranges = ranges_of(scatter.axes)
    box: Box = tuple((0, entry.size) for entry in target)
    if source.view is None:
        own_index = scatter.index[len(front) :]
        sizes = [entry.size for entry in source.axes]
        box = box[: len(front)] + image(own_index, ranges, sizes)
    return Flow(scatter, box, places)


def _through(tables: Tables, source: Source, own: tuple[Affine, ...]) -> tuple[Affine, ...]:
    """The index of a view's element, for an element of what is behind it."""
    if source.view is None:
        return own
    inner = _through(tables, tables.sources[source.view.source], own)
    names = {f"s.{number}": place for number, place in enumerate(inner)}
    return tuple(entry.substitute(names) for entry in source.view.inverse)


def _from_join(tables: Tables, edge: Edge, node: Join, source: Source, names: Names) -> Scatter:
    part = frame(tables, replace(node, axes=source.axes, batch=source.batch, time=source.time),
                 names=names)  # fmt: skip
    start = _start(tables, node, edge)
    own = tuple(part.point.own[entry.name] for entry in source.axes)
    shifted = tuple(e + start if k == node.axis else e for k, e in enumerate(own))
    front = part.index[: len(part.index) - len(own)]
    return _over_rest(tables, node, part, front, own, shifted, source)


def _over_rest(
    tables: Tables, node: Join, part: Frame, front: tuple[Affine, ...], own: tuple[Affine, ...],
    shifted: tuple[Affine, ...], source: Source,
) -> Scatter:  # fmt: skip
    """A part without items or steps gets the gradients of all items and steps of the join."""
    more: list[Axis] = []
    index: list[Affine] = []
    given = list(front)
    for has, mine, entry in (
        (node.batch, source.batch, tables.items), (node.time, source.time, tables.steps)
    ):  # fmt: skip
        if not has:
            continue
        if mine:
            index.append(given.pop(0))
        else:
            more.append(part.names.fresh(entry))
            index.append(axis(more[-1].name))
    load = Load(grad(node.name), (*index, *shifted))
    return Scatter((*more, *part.axes), (*front, *own), load)


def _start(tables: Tables, node: Join, edge: Edge) -> int:
    """Where a part begins along the join's axis."""
    sizes = [tables.sources[part].axes[node.axis].size for part in node.parts]
    return sum(sizes[: edge.part])


def _from_neuron(tables: Tables, edge: Edge, node: Ensemble, names: Names) -> Scatter:
    entry = edge.contribution
    assert entry is not None
    place = frame(tables, node, names=names)
    if edge.first == Moment.PREVIOUS:
        place = _at_first_step(place)
    body, window = _with_window(at_neuron(tables, node, place), entry)
    lowered = body.expression(inlined(node, entry.expression, stored_lets(node.neuron)))
    formal = next(f for f in node.neuron.formals if f.name == entry.formal)
    where, conditions = body.presence(frozenset(a.name for a in formal.axes))
    places = {
        w.name: axis(a.name) for w, a in zip(_binding(node, entry).window, window, strict=True)
    }
    index, more = _target_index(tables, edge, body, places)
    return Scatter((*place.axes, *window), index, lowered, where, (*conditions, *more))


def _binding(node: Ensemble, entry: Contribution) -> Connection:
    pairs = zip(node.neuron.formals, node.bindings, strict=True)
    binding = next(bound for formal, bound in pairs if formal.name == entry.formal)
    assert isinstance(binding, Connection)
    return binding


def _at_first_step(place: Frame) -> Frame:
    """The frame without its time axis: step 0, where prev(h) is its initial value."""
    name = next(entry.name for entry in place.axes if entry.symbol == "t")
    axes = tuple(entry for entry in place.axes if entry.name != name)
    return _FirstStep(axes, place.listed, replace(place.point, step=constant(0)), place.names)


@dataclass(frozen=True, slots=True)
class _FirstStep(Frame):
    """A frame at step 0: its buffers have a time axis, it has none."""

    @property
    def index(self) -> tuple[Affine, ...]:
        front = [self.point.item] if self.point.item is not None else []
        own = self.axes[len(front) :]
        return (*front, constant(0), *(axis(entry.name) for entry in own))


def _with_window(body: Instance, entry: Contribution) -> tuple[Instance, tuple[Axis, ...]]:
    """The instance with the contribution's axes in scope, under their and the formal's names."""
    formal = next(f for f in body.neuron.formals if f.name == entry.formal)
    body, fresh = body.inside(entry.axes)
    alias = {a.name: axis(new.name) for a, new in zip(formal.axes, fresh, strict=True)}
    return replace(body, window={**alias, **body.window}), fresh


def _target_index(
    tables: Tables, edge: Edge, body: Instance, window: dict[str, Affine]
) -> tuple[tuple[Index, ...], tuple[Expression, ...]]:
    """The element of the source that gets a contribution, and when it does."""
    connection, point = edge.connection, body.point
    source = tables.sources[connection.source]
    places: dict[str, Index] = {**point.own, **window}
    front: tuple[Index, ...] = ()
    if source.batch:
        item = point.item if connection.item is None else at(connection.item, places)
        assert item is not None
        front = (item,)
    if source.time:
        step = moment(connection, point, places)
        assert step is not None
        front = (*front, step)
    own = tuple(_entry(tables, entry, body, places) for entry in connection.index)
    return (*front, *own), _present(tables, edge, body)


def _entry(
    tables: Tables, entry: Affine | Value, body: Instance, places: dict[str, Index]
) -> Index:
    if isinstance(entry, Affine):
        return at(entry, places)
    value = read(tables, entry.connection, body.point, places)
    offset = at(entry.offset, places)
    return value if offset == constant(0) else Apply("add", (value, as_expression(offset)))


def _present(tables: Tables, edge: Edge, body: Instance) -> tuple[Expression, ...]:
    """Where a neighbouring step exists, or (for an initial value) does not."""
    step, item = body.point.step, body.point.item
    match edge.first or edge.connection.moment:
        case Moment.PREVIOUS if edge.first is None:
            assert step is not None
            inside = before_end(tables, item, step)
            return (inside, Apply("ge", (Position(step - 1), ZERO)))
        case Moment.PREVIOUS if body.point.item is not None:
            return (Apply("le", (Scalar(CARRY), ZERO)),)
        case Moment.NEXT:
            assert step is not None and item is not None
            if edge.first is None:
                return (before_end(tables, item, step + 1),)
            last = Apply("sub", (Load(LENGTHS, (item,)), Number(1.0)))
            return (Apply("eq", (Position(step), last)),)
        case Moment.PREVIOUS:
            return (Apply("le", (Scalar(CARRY), ZERO)),)
        case _:
            return ()
