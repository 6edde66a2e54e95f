"""Derives how each neuron's gradient reaches its formals: Net -> Net.

    neuron Weighted(x[i], weight[i], bias) = bias + sum(i) weight[i] * x[i]
->  backward { x.grad[i] += weight[i] * value.grad; weight.grad[i] += x[i] * value.grad;
               bias.grad += value.grad }

Reverse mode on scalar expressions. First every fold gets a name (a let). Then gradients flow from
"value" backwards through the lets: a line of `PARTIALS` for each primitive, a case of `_back` for
what is no plain function. What arrives at `formal[index]` becomes a contribution at the formal's
own axes. Lets that backward reads and that are worth keeping (folds, winners, what is declared
`state`) are the new `states`; all others are computed again where they are used.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from latte.compiler.affine import axis, row_major
from latte.compiler.algebra import LONGEST_LET, add, axes_of, choose, length, simple, tidy
from latte.compiler.expression import (
    Apply,
    Argument,
    Axis,
    Expression,
    Fold,
    Let,
    Local,
    Position,
)
from latte.compiler.flows import Flow, at, joined, left, summed
from latte.compiler.net import Backward, Connection, Contribution, Ensemble, Formal, Net, Neuron
from latte.compiler.partials import FLAT, PARTIALS, apply, over, times
from latte.compiler.rewrite import rewrite, substitute_locals, walk
from latte.compiler.simplify import ONE, ZERO, simplify
from latte.compiler.sources import reached, sources

GRADIENT = Local("value.grad")


def differentiate(net: Net) -> Net:
    """Every ensemble that a loss depends on gets a derived or normalised `backward`."""
    needed = _upstream(net)
    nodes = tuple(
        replace(node, neuron=derive(node.neuron, _real(net, node)))
        if isinstance(node, Ensemble) and node.name in needed
        else node
        for node in net.nodes
    )
    return replace(net, nodes=nodes)


def _upstream(net: Net) -> set[str]:
    """Names of all nodes that a loss depends on."""
    reads = {node.name: sources(node) for node in net.nodes}
    return reached((loss.node for loss in net.losses), reads)


def _real(net: Net, node: Ensemble) -> frozenset[str]:
    """Formals that may need a gradient: bound to something that is neither a class nor running."""
    fixed = {entry.name for entry in net.inputs if entry.classes is not None}
    fixed |= {entry.name for entry in net.runnings}
    pairs = zip(node.neuron.formals, node.bindings, strict=True)
    return frozenset(
        formal.name
        for formal, binding in pairs
        if isinstance(binding, Connection) and binding.source not in fixed
    )


def derive(neuron: Neuron, wanted: frozenset[str]) -> Neuron:
    """The neuron with `backward` in its normal form: contributions to the `wanted` formals, one
    each, at the formal's axes; and with the `states` that it reads."""
    return _Derivation(neuron, wanted).result()


@dataclass(slots=True)
class _Derivation:
    neuron: Neuron
    wanted: frozenset[str]
    lets: list[Let] = field(default_factory=list)
    further: list[Let] = field(default_factory=list)
    names: set[str] = field(default_factory=set)

    def result(self) -> Neuron:
        value = self._name_folds()
        if self.neuron.backward is not None and self.neuron.backward.written:
            backward = self.neuron.backward
            flows = [Flow(c.formal, c.index, c.axes, c.expression) for c in backward.contributions]
            lets = list(backward.lets)
        else:
            flows, lets = self._sweep(value)
        contributions = [
            self._contribution(formal, flows, lets)
            for formal in self.neuron.formals
            if formal.name in self.wanted
        ]
        kept = [entry for entry in contributions if entry.expression != ZERO]
        written = self.neuron.backward is not None and self.neuron.backward.written
        return self._finish(value, Backward(tuple(lets), tuple(kept), written))

    def _name_folds(self) -> Expression:
        """Gives every outermost fold a let; returns the value that uses them."""
        self.names = {let.name for let in self.neuron.lets}
        named: dict[Expression, Expression] = {}
        for let in self.neuron.lets:
            expression = let.expression
            if isinstance(expression, Fold):
                named.setdefault(expression, Local(let.name))
            else:
                expression = self._outer(expression, named)
            self.lets.append(Let(let.name, expression))
        return self._outer(self.neuron.value, named)

    def _outer(self, expression: Expression, named: dict[Expression, Expression]) -> Expression:
        match expression:
            case Fold():
                if expression not in named:
                    name = self._fresh(expression.operator)
                    self.lets.append(Let(name, expression))
                    named[expression] = Local(name)
                return named[expression]
            case Apply(operator, operands):
                return Apply(operator, tuple(self._outer(each, named) for each in operands))
            case _:
                return expression

    def _fresh(self, name: str) -> str:
        number, fresh = 1, name
        while fresh in self.names:
            number += 1
            fresh = f"{name}{number}"
        self.names.add(fresh)
        return fresh

    def _known(self) -> dict[Expression, Expression]:
        """Folds that forward has computed already, by what they are."""
        return {
            let.expression: Local(let.name)
            for let in self.lets + self.further
            if isinstance(let.expression, Fold)
        }

    def _sweep(self, value: Expression) -> tuple[list[Flow], list[Let]]:
        """Reverse mode: all flows to formals, and the gradients of lets that deserve a name."""
        flows = self._back(value, GRADIENT, (), Local("value"))
        known = self._known()
        lets: list[Let] = []
        for let in reversed(tuple(self.lets)):
            gradient: Expression = ZERO
            for flow in flows:
                if flow.index is None and flow.target == let.name:
                    gradient = add(gradient, summed(flow.axes, flow.expression))
            gradient = tidy(_replaced(tidy(gradient), known))
            flows = [f for f in flows if not (f.index is None and f.target == let.name)]
            if gradient == ZERO or not self._active(let.expression):
                continue
            flows += self._back(
                let.expression, self._named(gradient, let.name, lets), (), Local(let.name)
            )
        return flows, lets

    def _named(self, gradient: Expression, name: str, lets: list[Let]) -> Expression:
        """A local for a gradient that is more than a factor times another."""
        if simple(gradient):
            return gradient
        for let in lets:
            if let.expression == gradient:
                return Local(let.name)
        lets.append(Let(f"{name}.grad", gradient))
        return Local(f"{name}.grad")

    def _active(self, expression: Expression) -> bool:
        """True where a gradient may pass through an expression."""
        lets = {let.name for let in self.lets}
        return any(
            (isinstance(node, Argument) and node.formal in self.wanted)
            or (isinstance(node, Local) and node.name in lets)
            for node in walk(expression)
        )

    def _back(
        self,
        expression: Expression,
        gradient: Expression,
        axes: tuple[Axis, ...],
        result: Expression,
    ) -> list[Flow]:
        """All flows out of an expression that has this gradient. `result` is a cheap spelling of
        the expression itself: its name, where it has one."""
        if not self._active(expression):
            return []
        match expression:
            case Argument(formal, index):
                return [Flow(formal, index, axes, gradient)]
            case Local(name):
                return [Flow(name, None, axes, gradient)]
            case Apply("select", (condition, yes, no)):
                chosen = [
                    replace(flow, expression=choose(condition, flow.expression))
                    for flow in self._back(yes, gradient, axes, yes)
                ]
                refused = [
                    replace(flow, expression=choose(condition, ZERO, flow.expression))
                    for flow in self._back(no, gradient, axes, no)
                ]
                return joined(chosen, refused)
            case Apply("min" | "max", operands):
                return self._extreme(expression, operands, gradient, axes, result)
            case Apply(operator, operands) if operator not in FLAT:
                partials = PARTIALS[operator](*operands, result, gradient)
                pairs = zip(operands, partials, strict=True)
                return [f for x, g in pairs for f in self._back(x, g, axes, x)]
            case Fold():
                return self._fold(expression, gradient, axes)
            case _:
                return []

    def _extreme(
        self, expression: Apply, operands: tuple[Expression, ...], gradient: Expression,
        axes: tuple[Axis, ...], result: Expression,
    ) -> list[Flow]:  # fmt: skip
        """max and min of two: to the first that attains it, but a constant wins ties."""
        first, second = operands
        better = "gt" if expression.operator == "max" else "lt"
        if _constant(first) or _constant(second):
            moving, fixed = (second, first) if _constant(first) else (first, second)
            test = apply(better, result if result != expression else moving, fixed)
            flows = self._back(moving, gradient, axes, moving)
            return [replace(f, expression=choose(test, f.expression)) for f in flows]
        test = apply("ge" if better == "gt" else "le", first, second)
        chosen = self._back(first, gradient, axes, first)
        refused = self._back(second, gradient, axes, second)
        return joined(
            [replace(f, expression=choose(test, f.expression)) for f in chosen],
            [replace(f, expression=choose(test, ZERO, f.expression)) for f in refused],
        )

    def _fold(self, fold: Fold, gradient: Expression, axes: tuple[Axis, ...]) -> list[Flow]:
        inner = axes + fold.axes
        match fold.operator:
            case "sum":
                return self._back(fold.body, gradient, inner, fold.body)
            case "prod":
                return self._back(fold.body, times(gradient, self._others(fold)), inner, fold.body)
            case "min" | "max":
                winner = self._winner(fold)
                here = Position(row_major((axis(a.name) for a in fold.axes), _sizes(fold.axes)))
                test = Apply("eq", (here, winner))
                flows = self._back(fold.body, gradient, inner, fold.body)
                return [replace(f, expression=choose(test, f.expression)) for f in flows]
            case _:
                return []

    def _winner(self, fold: Fold) -> Expression:
        """The place of the extreme value."""
        search = Fold("argmax" if fold.operator == "max" else "argmin", fold.axes, fold.body)
        return self._further("winner", search)

    def _others(self, fold: Fold) -> Expression:
        """The product of all other places: right also where some of them are 0."""
        zero = Apply("eq", (fold.body, ZERO))
        zeros = self._further("zeros", replace(fold, operator="sum", body=choose(zero, ONE)))
        rest = self._further("rest", replace(fold, body=choose(zero, ONE, fold.body)))
        alone = choose(zero, choose(Apply("eq", (zeros, ONE)), rest))
        return choose(Apply("eq", (zeros, ZERO)), over(rest, fold.body), alone)

    def _further(self, name: str, expression: Fold) -> Expression:
        """A let of forward that backward needs: there already, or made here."""
        for let in self.lets + self.further:
            if let.expression == expression:
                return Local(let.name)
        name = self._fresh(name)
        self.further.append(Let(name, expression))
        return Local(name)

    def _contribution(self, formal: Formal, flows: list[Flow], lets: list[Let]) -> Contribution:
        """All flows to one formal as one contribution at the formal's axes."""
        flows = [flow for flow in flows if flow.target == formal.name]
        clash = any(left(flow, formal) & {a.name for a in formal.axes} for flow in flows)
        axes = tuple(replace(a, name=a.name + "'") if clash else a for a in formal.axes)
        total: Expression = ZERO
        for flow in flows:
            total = add(total, at(flow, axes))
        total = tidy(_replaced(tidy(total), self._known()))
        known = {let.expression: Local(let.name) for let in lets}
        total = rewrite(total, known.get)
        if axes:
            total = self._invariant(total, lets)
        return Contribution(formal.name, axes, tuple(axis(a.name) for a in axes), total)

    def _invariant(self, total: Expression, lets: list[Let]) -> Expression:
        """Folds that depend on no axis, of the window or of a fold around them, get a name."""

        def rule(node: Expression) -> Expression | None:
            if not isinstance(node, Fold) or axes_of(node):
                return None
            name = self._fresh(f"{node.operator}.grad")
            lets.append(Let(name, node))
            return Local(name)

        return rewrite(total, rule)

    def _finish(self, value: Expression, backward: Backward) -> Neuron:
        """Keeps the names that backward uses; writes folds that nobody else uses back in."""
        everything = self.lets + self.further
        backward = replace(backward, lets=_used(backward))
        used = _closure(everything, _names(_parts(backward)), self._worth(everything))
        declared = {let.name for let in self.neuron.lets}
        states = tuple(n.name for n in everything if n.name in used & self._worth(everything))
        values: dict[str, Expression] = {}
        kept: list[Let] = []
        for let in everything:
            expression = substitute_locals(let.expression, values)
            if let.name in declared or let.name in states:
                kept.append(Let(let.name, expression))
            elif let not in self.further:
                values[let.name] = expression
        return replace(
            self.neuron, lets=tuple(kept), value=substitute_locals(value, values),
            states=states, backward=_inlined(backward, values),
        )  # fmt: skip

    def _worth(self, lets: Iterable[Let]) -> set[str]:
        """Lets that cost more to compute again than to load."""
        worth: set[str] = set()
        lengths: dict[str, int] = {}
        for let in lets:
            lengths[let.name] = length(let.expression, lengths)
            long = lengths[let.name] > LONGEST_LET
            if let.name in self.neuron.states or _folds(let.expression) or long:
                worth.add(let.name)
                lengths[let.name] = 1
        return worth


def _constant(expression: Expression) -> bool:
    """Without arguments: for ties it counts as fixed."""
    return not any(isinstance(node, (Argument, Local)) for node in walk(expression))


def _replaced(expression: Expression, named: dict[Expression, Expression]) -> Expression:
    return rewrite(expression, lambda node: named.get(node) if isinstance(node, Fold) else None)


def _folds(expression: Expression) -> bool:
    return any(isinstance(node, Fold) for node in walk(expression))


def _sizes(axes: tuple[Axis, ...]) -> tuple[int, ...]:
    return tuple(a.size for a in axes)


def _names(expressions: Iterable[Expression]) -> set[str]:
    return {n.name for each in expressions for n in walk(each) if isinstance(n, Local)}


def _parts(backward: Backward) -> list[Expression]:
    return [let.expression for let in backward.lets] + [
        entry.expression for entry in backward.contributions
    ]


def _used(backward: Backward) -> tuple[Let, ...]:
    """The lets of backward that contributions need, in their order."""
    needed = _names(entry.expression for entry in backward.contributions)
    kept: list[Let] = []
    for let in reversed(backward.lets):
        if let.name in needed:
            needed |= _names((let.expression,))
            kept.append(let)
    return tuple(reversed(kept))


def _closure(lets: Iterable[Let], needed: set[str], worth: set[str]) -> set[str]:
    """All names needed: what is computed again needs what it is computed from."""
    needed = set(needed)
    for let in reversed(list(lets)):
        if let.name in needed and let.name not in worth:
            needed |= _names((let.expression,))
    return needed


def _inlined(backward: Backward, values: dict[str, Expression]) -> Backward:
    return replace(
        backward,
        lets=tuple(Let(e.name, substitute_locals(e.expression, values)) for e in backward.lets),
        contributions=tuple(
            replace(e, expression=simplify(substitute_locals(e.expression, values)))
            for e in backward.contributions
        ),
    )
