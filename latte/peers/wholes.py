"""Ensembles that peers have one operator for, together with the ensembles that they read.

    m = mean of x over items and places, v = its variance,
    gamma * (x - m) / sqrt(v + epsilon) + beta          ->   BatchNormalization(x, gamma, beta)

Recognised by what they compute and read, whatever they are called. What is not recognised is
translated operation by operation, and computes the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from latte.compiler.affine import Affine, axis
from latte.compiler.expression import Apply, Argument, Axis, Count, Expression, Fold
from latte.compiler.net import Connection, Ensemble, Moment, Net
from latte.compiler.rewrite import inline_lets
from latte.peers.body import Body
from latte.peers.forms import match, number, pattern
from latte.peers.graph import ITEMS, STEPS, Tensor
from latte.peers.labelled import broadcast, cast, merged, reshaped
from latte.peers.sums import invariant

NORMAL = pattern("gamma * (x - m) / sqrt(v + e) + beta")
RESPONSE = pattern("x * (k + a * s) ** b")
SQUARE = pattern("(x - m) ** 2")
EXPONENTIAL = pattern("exp(x - m)")
SHARE = pattern("exp(x - top) / total")
LOG_SHARE = pattern("x - top - log(total)")
RUNNING = pattern("keep * before + rest * now")


@dataclass(frozen=True, slots=True)
class Reduced:
    """An ensemble that reduces a source over whole axes: the numbers of the source's own axes that
    it keeps, in the order of its own, and whether it reduces the items too."""

    source: str
    kept: tuple[int, ...]
    items: bool


def recognise(net: Net, body: Body, expression: Expression) -> Tensor | None:
    """The tensor of an ensemble by one operator, None where no form fits."""
    if body.scope.step is not None:
        return None
    return (
        _cross_entropy(body, expression)
        or _normalised(net, body, expression)
        or _softmax(net, body, expression)
        or _response(body, expression)
    )


def _cross_entropy(body: Body, expression: Expression) -> Tensor | None:
    """`max x - x[label] + log(sum exp(x - max x))`."""
    match expression:
        case Apply("add", (Apply("sub", (top, Argument(x, (label,)))), rest)) if isinstance(
            top, Fold
        ) and not isinstance(label, Affine):
            here = Argument(x, tuple(axis(entry.name) for entry in top.axes))
            total = Fold("sum", top.axes, Apply("exp", (Apply("sub", (here, top)),)))
            if top != Fold("max", top.axes, here) or rest != Apply("log", (total,)):
                return None
        case _:
            return None
    inner, [classes] = body.inside(top.axes)
    scores = inner.real(here)
    rows = [name for name in scores.labels if name != classes]
    axes = tuple(entry for entry in scores.axes if entry.name in rows)
    builder = body.scope.builder
    labels = broadcast(builder, cast(builder, body.value(label), "i64"), axes)
    flat = merged(builder, scores, rows, "@rows", front=True)
    found = builder.emit(
        "CrossEntropy", (flat, merged(builder, labels, rows, "@rows")), flat.axes[:1]
    )
    return reshaped(builder, found, axes)


def _plain(body: Body, expression: Expression) -> tuple[Connection, tuple[str, ...]] | None:
    """A connection that reads one value of its source at plain labels."""
    if not isinstance(expression, Argument) or expression.index:
        return None
    binding = body.binding(expression.formal)
    if not isinstance(binding, Connection) or binding.moment is not Moment.SAME:
        return None
    names = [str(e) for e in binding.index if isinstance(e, Affine) and e == axis(str(e))]
    if binding.item is not None or len(names) < len(binding.index):
        return None
    return binding, tuple(names)


def _whole(body: Body, expression: Expression) -> tuple[Connection, tuple[str, ...]] | None:
    """The same, where the labels run over the source's whole axes."""
    found = _plain(body, expression)
    if found is None:
        return None
    binding, names = found
    source = body.scope.sources[binding.source]
    own = source.axes[len(source.axes) - len(names) :]
    sizes = tuple(body.scope.sizes[name] for name in names)
    return found if sizes == tuple(entry.size for entry in own) else None


def _normalised(net: Net, body: Body, expression: Expression) -> Tensor | None:
    """BatchNormalization, LayerNormalization."""
    found = match(NORMAL, expression)
    x = _whole(body, found["x"]) if found else None
    if found is None or x is None or (epsilon := number(found["e"])) is None:
        return None
    sides = {name: _plain(body, found[name]) for name in ("m", "v", "gamma", "beta")}
    if any(side is None for side in sides.values()):
        return None
    known = {name: side for name, side in sides.items() if side is not None}
    running = {entry.name for entry in net.runnings}
    if {known["m"][0].source, known["v"][0].source} <= running:
        return _batch_normalised(net, body, x, known, epsilon, training=False)
    mean = _reduction(net, known["m"][0].source, "mean")
    variance = _reduction(net, known["v"][0].source, "variance")
    if mean is None or mean != variance or mean.source != x[0].source:
        return None
    if any(known[name][1] != tuple(x[1][k] for k in mean.kept) for name in ("m", "v")):
        return None
    if mean.items:
        return _batch_normalised(net, body, x, known, epsilon, training=True)
    return None if mean.kept else _layer_normalised(body, x, known, epsilon)


Sides = Mapping[str, tuple[Connection, tuple[str, ...]]]
Whole = tuple[Connection, tuple[str, ...]]


def _batch_normalised(
    net: Net, body: Body, x: Whole, sides: Sides, epsilon: float, *, training: bool
) -> Tensor | None:
    tensor = body.scope.sources[x[0].source]
    channels = x[1][:1]
    if tensor.labels[:1] != (ITEMS,) or STEPS in tensor.labels:
        return None
    if any(side[1] != channels for side in sides.values()):
        return None
    given: list[Tensor | None] = [body.scope.sources[sides[n][0].source] for n in ("gamma", "beta")]
    names = [sides["m"][0].source, sides["v"][0].source]
    momentum = 0.9
    if training:
        updates = [_running(net, name) for name in names]
        given += [body.scope.sources[u[0]] if u else None for u in updates]
        momentum = updates[0][1] if updates[0] else momentum
    else:
        given += [body.scope.sources[name] for name in names]
    axes = (tensor.axes[0], *(Axis(n, body.scope.sizes[n]) for n in x[1]))
    return body.scope.builder.emit(
        "BatchNormalization", (tensor, *given), axes, epsilon=epsilon, momentum=momentum,
        training_mode=int(training),
    )  # fmt: skip


def _running(net: Net, moment: str) -> tuple[str, float] | None:
    """The running value that follows a moment, and how much of it each update keeps."""
    for update in net.updates:
        sources = {
            formal.name: binding.source
            for formal, binding in zip(update.neuron.formals, update.bindings, strict=True)
            if isinstance(binding, Connection)
        }
        expression = inline_lets(update.neuron.lets, update.neuron.value)
        found = match(RUNNING, expression)
        keep = number(found["keep"]) if found else None
        if found is None or keep is None:
            continue
        names = [
            sources.get(found[n].formal) if isinstance(found[n], Argument) else None  # type: ignore
            for n in ("before", "now")
        ]
        if names == [update.running, moment]:
            return update.running, keep
    return None


def _layer_normalised(body: Body, x: Whole, sides: Sides, epsilon: float) -> Tensor | None:
    tensor = body.scope.sources[x[0].source]
    if any(sides[name][1] != x[1] for name in ("gamma", "beta")):
        return None
    gamma, beta = (body.scope.sources[sides[name][0].source] for name in ("gamma", "beta"))
    front = len(tensor.axes) - len(x[1])
    axes = (*tensor.axes[:front], *(Axis(n, body.scope.sizes[n]) for n in x[1]))
    return body.scope.builder.emit(
        "LayerNormalization", (tensor, gamma, beta), axes, axis=front, epsilon=epsilon
    )


def _reduction(net: Net, name: str, kind: str) -> Reduced | None:
    """What an ensemble reduces, if it is a mean, a variance (around a mean), a max or the total of
    exponentials (above a max) of a source over whole axes."""
    node = next((entry for entry in net.nodes if entry.name == name), None)
    if not isinstance(node, Ensemble):
        return None
    expression = inline_lets(node.neuron.lets, node.neuron.value)
    match expression:
        case Fold(operator, axes):
            pass
        case Apply("div", (Fold(operator, axes) as fold, divisor)) if isinstance(divisor, Count):
            expression = Fold("sum", axes, Apply("div", (fold.body, divisor)))
        case _:
            return None
    assert isinstance(expression, Fold)
    body, divisor_found = invariant(expression)
    if kind in ("mean", "variance"):
        if divisor_found != Count(tuple(entry.name for entry in axes)) or operator != "sum":
            return None
    elif divisor_found is not None or operator != {"max": "max", "total": "sum"}[kind]:
        return None
    argument, center = body, None
    form = {"variance": SQUARE, "total": EXPONENTIAL}.get(kind)
    if form is not None and (found := match(form, body)):
        argument, center = found["x"], found["m"]
    if (kind in ("variance", "total") and center is None) or not isinstance(argument, Argument):
        return None
    if argument.index != tuple(axis(entry.name) for entry in axes):
        return None
    reduced = _over(node, argument.formal)
    if reduced is None or center is None:
        return reduced
    return reduced if _around(net, node, center, reduced, kind) else None


def _around(net: Net, node: Ensemble, center: Expression, reduced: Reduced, kind: str) -> bool:
    """Whether what is subtracted is the mean (the max) of the same source, of the same place."""
    if not isinstance(center, Argument) or center.index:
        return False
    binding = _binding(node, center.formal)
    if not isinstance(binding, Connection):
        return False
    own = tuple(axis(entry.name) for entry in node.axes)
    first = _reduction(net, binding.source, "mean" if kind == "variance" else "max")
    return binding.index == own and first == reduced


def _binding(node: Ensemble, formal: str) -> object:
    pairs = zip(node.neuron.formals, node.bindings, strict=True)
    return next(binding for entry, binding in pairs if entry.name == formal)


def _over(node: Ensemble, formal: str) -> Reduced | None:
    """Which axes of the source an ensemble reads whole, and which at its own place."""
    binding = _binding(node, formal)
    if not isinstance(binding, Connection) or binding.moment is not Moment.SAME:
        return None
    window = {entry.name for entry in binding.window}
    own = [entry.name for entry in node.axes]
    kept = []
    for number_, entry in enumerate(binding.index):
        name = str(entry)
        if not isinstance(entry, Affine) or entry != axis(name):
            return None
        if name in own and name not in window:
            kept.append((own.index(name), number_))
    if [place for place, _ in sorted(kept)] != list(range(len(own))):
        return None
    return Reduced(binding.source, tuple(k for _, k in sorted(kept)), binding.item is not None)


def _softmax(net: Net, body: Body, expression: Expression) -> Tensor | None:
    """Softmax and LogSoftmax over one axis."""
    for form, kind in ((SHARE, "Softmax"), (LOG_SHARE, "LogSoftmax")):
        found = match(form, expression)
        x = _whole(body, found["x"]) if found else None
        if found is None or x is None:
            continue
        sides = [_plain(body, found[name]) for name in ("top", "total")]
        kinds = zip(sides, ("max", "total"), strict=True)
        reduced = [_reduction(net, side[0].source, kind) for side, kind in kinds if side]
        if len(reduced) < 2 or reduced[0] is None or reduced[0] != reduced[1]:
            continue
        kept = reduced[0].kept
        if reduced[0].source != x[0].source or reduced[0].items or len(kept) + 1 != len(x[1]):
            continue
        if any(side is None or side[1] != tuple(x[1][k] for k in kept) for side in sides):
            continue
        tensor = body.scope.sources[x[0].source]
        front = len(tensor.axes) - len(x[1])
        place = front + next(k for k in range(len(x[1])) if k not in kept)
        axes = (*tensor.axes[:front], *(Axis(n, body.scope.sizes[n]) for n in x[1]))
        return body.scope.builder.emit(kind, (tensor,), axes, axis=place)
    return None


def _response(body: Body, expression: Expression) -> Tensor | None:
    """LRN: over the root of neighbouring channels' squares."""
    found = match(RESPONSE, expression)
    x = _whole(body, found["x"]) if found else None
    if found is None or x is None:
        return None
    k, a, b = (number(found[name]) for name in ("k", "a", "b"))
    size = _neighbours(body, x, found["s"])
    tensor = body.scope.sources[x[0].source]
    if k is None or a is None or b is None or size is None or size % 2 == 0:
        return None
    if tensor.labels[:1] != (ITEMS,) or STEPS in tensor.labels or len(tensor.axes) < 3:
        return None
    axes = (tensor.axes[0], *(Axis(n, body.scope.sizes[n]) for n in x[1]))
    return body.scope.builder.emit(
        "LRN", (tensor,), axes, size=size, alpha=a * size, beta=-b, bias=k
    )


def _neighbours(body: Body, x: Whole, total: Expression) -> int | None:
    """The size of a window of channels around a value, whose squares are added."""
    match total:
        case Fold("sum", [entry], Apply("pow", (Argument(formal, [place]), power))):
            if number(power) != 2.0 or place != axis(entry.name):
                return None
        case _:
            return None
    binding = body.binding(formal)
    if not isinstance(binding, Connection) or binding.source != x[0].source:
        return None
    channel, *rest = x[1]
    [window] = binding.window
    first = axis(channel) + axis(window.name) - entry.size // 2
    same = binding.index == (first, *(axis(name) for name in rest))
    return entry.size if same else None
