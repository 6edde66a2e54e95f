"""Net -> Graph: the same net as whole-tensor operations, derived from its ensembles.

In: an elaborated Net, how many items and steps, training or inference.  Out: a Graph whose
results are the losses (in training) or the net's output.

    ensemble conv1.out[f, y, x] = Weighted(image[...], conv1.weight[f], conv1.bias[f])
->  conv1.out = Conv(image, conv1.weight, conv1.bias; strides (4, 4), pads (2, 2, 2, 2))
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from latte.compiler.affine import axis, row_major
from latte.compiler.expression import Apply, Axis, Expression, Let, Local, Training
from latte.compiler.net import Ensemble, Join, Moment, Net, Neuron, Node, Parameter, Running, View
from latte.compiler.rewrite import children, inline_lets, rewrite
from latte.compiler.share import Group, order, share
from latte.compiler.sources import reached, sources
from latte.peers.body import Body
from latte.peers.graph import ITEMS, STEPS, Builder, Graph, Tensor
from latte.peers.labelled import broadcast, cast, combine, ordered, reduce, relabelled, reshaped
from latte.peers.reading import Scope, Step
from latte.peers.recurrent import lstm
from latte.peers.select import select
from latte.peers.wholes import recognise

LONGEST = 400  # nodes of a body as one expression
LOSS = "loss"  # the weighted sum of all losses


@dataclass(slots=True)
class Translation:
    """A net on its way: tensors of what was translated so far, by name."""

    net: Net
    items: int
    steps: int
    training: bool
    builder: Builder = field(default_factory=Builder)
    tensors: dict[str, Tensor] = field(default_factory=dict)

    def front(self, node: Ensemble | Join | View) -> tuple[Axis, ...]:
        """The batch and time axes of a node."""
        return (
            *((Axis(ITEMS, self.items),) if node.batch else ()),
            *((Axis(STEPS, self.steps),) if node.time else ()),
        )

    @property
    def sizes(self) -> dict[str, int]:
        return {ITEMS: self.items, STEPS: self.steps}


def translate(net: Net, *, items: int, steps: int = 1, training: bool) -> Graph:
    """The graph of a net for exactly so many items and steps. Raises LatteError where an ensemble
    has no peer operation."""
    shared = share(net)
    made = Translation(shared, items, steps, training)
    inputs = _sources(made)
    wanted = _wanted(shared, training)
    edges = {node.name: list(sources(node)) for node in shared.nodes}
    needed = reached(wanted, edges)
    for group in order(shared):
        if any(node.name in needed for node in group.nodes):
            _translate_group(made, group)
    results = _losses(made) if training else _outputs(made, wanted)
    return _pruned(made, inputs, results)


def _sources(made: Translation) -> tuple[Tensor, ...]:
    """Inputs, parameters and running values: tensors that are given."""
    net = made.net
    found: list[Tensor] = []
    learned: tuple[Parameter | Running, ...] = (*net.parameters, *net.runnings)
    for entry in net.inputs:
        time = (Axis(STEPS, made.steps),) if entry.time else ()
        axes = (Axis(ITEMS, made.items), *time, *entry.axes)
        element = "f32" if entry.classes is None else "i64"
        found.append(Tensor(entry.name, axes, element))  # type: ignore[arg-type]
    for weight in learned:
        made.tensors[weight.name] = Tensor(weight.name, weight.axes)
    made.tensors |= {tensor.name: tensor for tensor in found}
    return tuple(found)


def _wanted(net: Net, training: bool) -> list[str]:
    names = dict(net.names)
    output = [names.get(net.output, net.output)] if net.output else []
    losses = [loss.node for loss in net.losses]
    return losses if training and losses else output or losses


def _translate_group(made: Translation, group: Group) -> None:
    if group.moment is None:
        for node in group.nodes:
            made.builder.origin = node.name
            made.tensors[node.name] = translate_node(made, node, None)
        return
    made.builder.origin = group.nodes[-1].name
    if not _read_outside(made.net, group):
        found = lstm(group, lambda node: body_of(made, node), made.training)
        if found is not None:
            made.tensors[found[0]] = found[1]
            return
    _translate_steps(made, group, group.moment)


def _read_outside(net: Net, group: Group) -> bool:
    """Whether more than one node of a cycle is seen from outside."""
    inside = {node.name for node in group.nodes}
    outside = [node for node in net.nodes if node.name not in inside]
    read = {name for node in outside for name in sources(node) if name in inside}
    read |= {loss.node for loss in net.losses if loss.node in inside}
    return len(read) > 1


def translate_node(made: Translation, node: Node, step: Step | None) -> Tensor:
    """A node's tensor over batch, time and its own axes in declared order."""
    front = tuple(a for a in made.front(node) if step is None or a.name != STEPS)
    match node:
        case Ensemble():
            return _ensemble(made, node, front, step)
        case Join():
            return _join(made, node, front, step)
        case View():
            return _view(made, node, front, step)


def body_of(made: Translation, node: Ensemble, step: Step | None = None) -> Body:
    """The neuron of an ensemble with its connections."""
    front = tuple(a for a in made.front(node) if step is None or a.name != STEPS)
    own = (*front, *node.axes)
    sizes = made.sizes | {entry.name: entry.size for entry in own}
    scope = Scope(made.builder, node.name, made.tensors, sizes, node.span, step)
    return Body(scope, node.neuron.formals, node.bindings, own, {})


def _ensemble(
    made: Translation, node: Ensemble, front: tuple[Axis, ...], step: Step | None
) -> Tensor:
    expression, lets = expression_of(node.neuron, made.training)
    body = replace(body_of(made, node, step), lets=lets)
    found = recognise(made.net, body, expression) or body.value(expression)
    found = cast(made.builder, found, "f32")
    return broadcast(made.builder, found, (*front, *node.axes))


def expression_of(neuron: Neuron, training: bool) -> tuple[Expression, dict[str, Expression]]:
    """A neuron's value for training or for inference as one expression, if it is not too long
    (unrolled loops grow when they are written out), else with the lets that it uses."""

    def choose(node: Expression) -> Expression | None:
        match node:
            case Apply("select", (Training(), yes, no)):
                return yes if training else no
        return None

    lets = tuple(Let(let.name, rewrite(let.expression, choose)) for let in neuron.lets)
    value = rewrite(neuron.value, choose)
    lengths: dict[str, int] = {}
    for let in lets:
        lengths[let.name] = _length(let.expression, lengths)
    if _length(value, lengths) <= LONGEST:
        return inline_lets(lets, value), {}
    return value, {let.name: let.expression for let in lets}


def _length(expression: Expression, lets: Mapping[str, int]) -> int:
    """Nodes of an expression with its lets written out."""
    if isinstance(expression, Local):
        return lets[expression.name]
    return 1 + sum(_length(child, lets) for child in children(expression))


def _given(made: Translation, name: str, step: Step | None) -> Tensor:
    """The tensor that a view or a join is made of."""
    if step is not None and name in step.here:
        return step.here[name]
    tensor = made.tensors[name]
    if step is None or STEPS not in tensor.labels:
        return tensor
    kept = tuple(entry for entry in tensor.axes if entry.name != STEPS)
    number = tensor.labels.index(STEPS)
    return made.builder.emit(
        "Select", (tensor,), kept, tensor.element, axis=number, index=step.number
    )


def _join(made: Translation, node: Join, front: tuple[Axis, ...], step: Step | None) -> Tensor:
    axes, sizes = (*front, *node.axes), []
    for name in node.parts:
        part = cast(made.builder, _given(made, name, step), "f32")
        size = part.axes[len(part.axes) - len(node.axes) + node.axis].size
        kept = part.labels[: len(part.axes) - len(node.axes)]
        named = relabelled(part, [*kept, *(entry.name for entry in node.axes)])
        place = len(front) + node.axis
        wide = (*axes[:place], Axis(axes[place].name, size), *axes[place + 1 :])
        sizes.append(broadcast(made.builder, named, wide))
    return made.builder.emit("Concat", tuple(sizes), axes, axis=len(front) + node.axis)


def _view(made: Translation, node: View, front: tuple[Axis, ...], step: Step | None) -> Tensor:
    """Reshape or Transpose where that is what it is, else a table of places."""
    source = _given(made, node.source, step)
    own = source.axes[len(source.axes) - len(node.index) :]
    flat = row_major(node.index, [entry.size for entry in own])
    if flat == row_major([axis(a.name) for a in node.axes], [a.size for a in node.axes]):
        return reshaped(made.builder, source, (*front, *node.axes))
    places = [axis(a.name) for a in source.axes[: len(source.axes) - len(own)]]
    sizes = made.sizes | {a.name: a.size for a in node.axes}
    found = select(made.builder, source, [*places, *node.index], sizes)
    return ordered(made.builder, found, [*(a.name for a in front), *(a.name for a in node.axes)])


def _translate_steps(made: Translation, group: Group, moment: Moment) -> None:
    """A cycle through time, one step after another; then all steps as one tensor."""
    numbers = range(made.steps) if moment is Moment.PREVIOUS else reversed(range(made.steps))
    before = {node.name: _first(made, node) for node in group.nodes}
    made.tensors |= {node.name: Tensor("", (*made.front(node), *node.axes)) for node in group.nodes}
    found: dict[str, list[Tensor]] = {node.name: [] for node in group.nodes}
    for number in numbers:
        here: dict[str, Tensor] = {}
        for node in group.nodes:
            made.builder.origin = f"{node.name}@{number}"
            here[node.name] = translate_node(made, node, Step(number, here, before))
            found[node.name].append(here[node.name])
        before = here
    for node in group.nodes:
        steps = found[node.name] if moment is Moment.PREVIOUS else found[node.name][::-1]
        made.builder.origin = node.name
        made.tensors[node.name] = _stacked(made, node, steps)


def _first(made: Translation, node: Node) -> Tensor:
    """What `prev` sees at the first step: zeros."""
    axes = (*(a for a in made.front(node) if a.name != STEPS), *node.axes)
    return made.builder.constant(np.zeros([a.size for a in axes], np.float32), axes)


def _stacked(made: Translation, node: Node, steps: list[Tensor]) -> Tensor:
    """The values of all steps, time behind the batch."""
    axes = (*made.front(node), *node.axes)
    place = [entry.name for entry in axes].index(STEPS)
    one = (*axes[:place], Axis(STEPS, 1), *axes[place + 1 :])
    parts = tuple(reshaped(made.builder, step, one) for step in steps)
    return made.builder.emit("Concat", parts, axes, axis=place)


def _losses(made: Translation) -> dict[str, Tensor]:
    """The weighted sum of the means of all losses."""
    builder, total = made.builder, None
    for loss in made.net.losses:
        builder.origin = loss.name
        tensor = made.tensors[loss.node]
        mean = reduce(builder, "ReduceMean", tensor, tensor.labels)
        if loss.weight != 1.0:
            mean = combine(builder, "Mul", mean, builder.constant(loss.weight))
        total = mean if total is None else combine(builder, "Add", total, mean)
    return {} if total is None else {LOSS: total}


def _outputs(made: Translation, wanted: list[str]) -> dict[str, Tensor]:
    return {name: made.tensors[name] for name in wanted}


def _pruned(made: Translation, inputs: tuple[Tensor, ...], results: Mapping[str, Tensor]) -> Graph:
    """The graph of what the results need."""
    used = {tensor.name for tensor in results.values()}
    kept = []
    for operation in reversed(made.builder.operations):
        if used & set(operation.outputs):
            kept.append(operation)
            used |= set(operation.inputs)
    learned: tuple[Parameter | Running, ...] = (*made.net.parameters, *made.net.runnings)
    names = [weight.name for weight in learned if weight.name in used]
    return Graph(
        made.net.name,
        tuple(tensor for tensor in inputs if tensor.name in used),
        tuple(made.tensors[name] for name in names),
        tuple(reversed(kept)),
        {name: array for name, array in made.builder.constants.items() if name in used},
        tuple((name, tensor.name) for name, tensor in results.items()),
    )
