"""Cycles through time that peers have one operator for: LSTM.

    gate[g, j] = b + sum wx * x + sum wh * prev(out);  cell = ...;  out = sigmoid(gate[3]) * ...
->  out = LSTM(x, wx, wh, b)

Recognised by what the three ensembles compute, gates in any order; all other cycles are computed
step by step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from latte.compiler.affine import Affine, axis, constant
from latte.compiler.expression import Apply, Argument, Axis, Expression, Fold
from latte.compiler.net import Connection, Ensemble, Moment
from latte.compiler.rewrite import inline_lets
from latte.compiler.share import Group
from latte.peers.body import Body
from latte.peers.forms import match, pattern
from latte.peers.graph import ITEMS, STEPS, Tensor
from latte.peers.labelled import broadcast, combine, ordered, reshaped
from latte.peers.select import gathered, select

OUT = pattern("sigmoid(o) * tanh(c)")
CELL = pattern("sigmoid(f) * before + sigmoid(i) * tanh(d)")
GATES = ("i", "f", "d", "o")

Bodies = Callable[[Ensemble], Body]


def lstm(group: Group, bodies: Bodies, training: bool) -> tuple[str, Tensor] | None:
    """The name and the tensor of a cycle's output, None where it is no LSTM."""
    nodes = [node for node in group.nodes if isinstance(node, Ensemble)]
    if len(nodes) != 3 or len(group.nodes) != 3:
        return None
    for out in nodes:
        found = match(OUT, _expression(out))
        cell = _node(nodes, out, found["c"]) if found else None
        inner = match(CELL, _expression(cell)) if cell else None
        if found is None or cell is None or inner is None:
            continue
        if _reads(cell, inner["before"]) != (cell.name, Moment.PREVIOUS, _own(cell)):
            return None
        places = [_reads(out if name == "o" else cell, (found if name == "o" else inner)[name])
                  for name in GATES]  # fmt: skip
        gates = {place[0] for place in places if place}
        gate = next((node for node in nodes if {node.name} == gates), None)
        order = [place[2][0].constant for place in places if place and len(place[2]) == 2]
        if gate is None or sorted(order) != [0, 1, 2, 3] or len(gate.axes) != 2:
            return None
        made = _made(bodies(gate), _expression(gate), out, order, group.moment, training)
        return None if made is None else (out.name, made)
    return None


def _expression(node: Ensemble) -> Expression:
    return inline_lets(node.neuron.lets, node.neuron.value)


def _own(node: Ensemble) -> tuple[Affine, ...]:
    return tuple(axis(entry.name) for entry in node.axes)


def _connection(node: Ensemble, expression: Expression) -> Connection | None:
    if not isinstance(expression, Argument) or expression.index:
        return None
    pairs = zip(node.neuron.formals, node.bindings, strict=True)
    binding = next(b for f, b in pairs if f.name == expression.formal)
    return binding if isinstance(binding, Connection) and binding.initial is None else None


def _reads(node: Ensemble, expression: Expression) -> tuple[str, Moment, tuple[Affine, ...]] | None:
    """What a scalar argument reads: source, step and place."""
    found = _connection(node, expression)
    plain = tuple(e for e in found.index if isinstance(e, Affine)) if found else ()
    return (found.source, found.moment, plain) if found else None


def _node(nodes: Sequence[Ensemble], reader: Ensemble, expression: Expression) -> Ensemble | None:
    """The ensemble that a reader sees at its own place."""
    read = _reads(reader, expression)
    same = read is not None and read[1] is Moment.SAME and read[2] == _own(reader)
    return next((n for n in nodes if same and read and n.name == read[0]), None)


def _made(
    gate: Body,
    expression: Expression,
    out: Ensemble,
    order: list[int],
    moment: Moment | None,
    training: bool,
) -> Tensor | None:
    """The operator, from the gates' two sums."""
    terms = _terms(expression)
    folds = [term for term in terms if isinstance(term, Fold) and term.operator == "sum"]
    rest = [term for term in terms if not isinstance(term, Fold)]
    sides = [_side(gate, fold, out) for fold in folds]
    ahead = [side for side in sides if side and side[0] is not None]
    back = [side for side in sides if side and side[0] is None]
    if len(folds) != 2 or len(ahead) != 1 or len(back) != 1 or not rest:
        return None
    builder, gates = gate.scope.builder, gate.own[-2:]
    bias = gate.real(rest[0])
    for term in rest[1:]:
        bias = combine(builder, "Add", bias, gate.real(term))
    if not set(bias.labels) <= {entry.name for entry in gates}:
        return None
    x, wx = ahead[0]
    assert x is not None
    if moment is Moment.NEXT:
        x = _reversed(gate, x)
    weights = [wx, back[0][1], broadcast(builder, bias, gates)]
    if order != [0, 1, 2, 3]:
        table = builder.constant(np.array(order), (gates[0],))
        weights = [gathered(builder, weight, 0, table) for weight in weights]
    size = gates[1].size
    flat = [reshaped(builder, w, (Axis("@gates", 4 * size), *w.axes[2:])) for w in weights]
    axes = (*x.axes[:2], Axis(out.axes[0].name, size))
    found = builder.emit("LSTM", (x, *flat), axes, hidden_size=size, training=int(training))
    return _reversed(gate, found) if moment is Moment.NEXT else found


def _terms(expression: Expression) -> list[Expression]:
    match expression:
        case Apply("add", (a, b)):
            return _terms(a) + _terms(b)
        case _:
            return [expression]


def _side(gate: Body, fold: Fold, out: Ensemble) -> tuple[Tensor | None, Tensor] | None:
    """One sum: its source as [@n, @t, inputs] (None for the output one step before) and its weights
    as [gates, cells, inputs]."""
    match fold.body:
        case Apply("mul", (Argument() as a, Argument() as b)):
            pass
        case _:
            return None
    inner, labels = gate.inside(fold.axes)
    gates = [entry.name for entry in gate.own[-2:]]
    for source, weight in ((a, b), (b, a)):
        binding = inner.binding(source.formal)
        other = inner.binding(weight.formal)
        if not isinstance(binding, Connection) or not isinstance(other, Connection):
            continue
        if other.source not in gate.scope.sources or other.source == out.name:
            continue
        weights = inner.real(weight)
        if set(weights.labels) != {*gates, *labels}:
            continue
        arranged = ordered(gate.scope.builder, weights, [*gates, *labels])
        size = math.prod(entry.size for entry in arranged.axes[2:])
        matrix = reshaped(gate.scope.builder, arranged, (*arranged.axes[:2], Axis("@in", size)))
        if binding.source == out.name:
            whole = tuple(axis(entry.name) for entry in binding.window)
            previous = binding.moment in (Moment.PREVIOUS, Moment.NEXT)
            if previous and binding.index == whole and binding.initial is None:
                return None, matrix
            continue
        x = inner.real(source)
        if set(x.labels) != {ITEMS, STEPS, *labels}:
            continue
        x = ordered(gate.scope.builder, x, [ITEMS, STEPS, *labels])
        return reshaped(gate.scope.builder, x, (*x.axes[:2], Axis("@in", size))), matrix
    return None


def _reversed(gate: Body, tensor: Tensor) -> Tensor:
    """The tensor with its steps from last to first."""
    last = constant(gate.scope.sizes[STEPS] - 1)
    places = [last - axis(STEPS) if a.name == STEPS else axis(a.name) for a in tensor.axes]
    sizes = {entry.name: entry.size for entry in tensor.axes}
    return select(gate.scope.builder, tensor, places, sizes)
