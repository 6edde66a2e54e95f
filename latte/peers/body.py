"""One ensemble as operations on whole tensors: a neuron's body, evaluated for all places at once.

In: a neuron's expression, what its formals are bound to, the tensors of the sources.
Out: a tensor over the batch, time and the ensemble's own axes.

    bias + sum [i] weight[i] * x[i]     of fc6.out at j     ->     Gemm(pool5, fc6.weight, fc6.bias)

Sums of products, windows and known forms become the operators that peers are fastest with; any
other body becomes elementwise operators, and reductions over sliding windows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import assert_never

import numpy as np

from latte.compiler.affine import Affine, axis
from latte.compiler.expression import (
    Apply,
    Argument,
    Axis,
    Count,
    Expression,
    Fold,
    Index,
    Load,
    Local,
    Number,
    Position,
    Random,
    Scalar,
    Training,
)
from latte.compiler.net import Binding, Connection, Formal
from latte.compiler.rewrite import children, walk
from latte.peers.contraction import Read, convolve, multiply
from latte.peers.forms import one_operator
from latte.peers.graph import ITEMS, STEPS, Tensor
from latte.peers.labelled import broadcast, cast, combine, merged, reduce
from latte.peers.pooling import pool
from latte.peers.presence import Mask, presence
from latte.peers.reading import Place, Scope, affine, connected, integers, place_of
from latte.peers.sums import factors, invariant, is_bias

NEUTRAL = {
    "sum": 0.0, "prod": 1.0, "min": np.inf, "max": -np.inf, "argmin": np.inf, "argmax": -np.inf,
    "any": False, "all": True,
}  # fmt: skip
REDUCTION = {
    "sum": "ReduceSum", "prod": "ReduceProd", "min": "ReduceMin", "max": "ReduceMax",
    "any": "ReduceMax", "all": "ReduceMin", "argmin": "ArgMin", "argmax": "ArgMax",
}  # fmt: skip
PLAIN = {
    "neg": "Neg", "exp": "Exp", "log": "Log", "sqrt": "Sqrt", "tanh": "Tanh", "sigmoid": "Sigmoid",
    "abs": "Abs", "floor": "Floor", "erf": "Erf", "sin": "Sin", "cos": "Cos", "add": "Add",
    "sub": "Sub", "mul": "Mul", "div": "Div", "pow": "Pow", "min": "Min", "max": "Max",
}  # fmt: skip
COMPARED = {
    "lt": "Less", "le": "LessOrEqual", "gt": "Greater", "ge": "GreaterOrEqual", "eq": "Equal",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Body:
    """A neuron with its connections. `window` says where axes of its formals are, over labels of
    the scope; `own` are the labels of the ensemble itself."""

    scope: Scope
    formals: tuple[Formal, ...]
    bindings: tuple[Binding, ...]
    own: tuple[Axis, ...]
    window: Mapping[str, Place]
    given: Mapping[Expression, Tensor] = field(default_factory=dict)
    lets: Mapping[str, Expression] = field(default_factory=dict)
    known: dict[str, Tensor] = field(default_factory=dict)  # values of lets

    def value(self, expression: Expression) -> Tensor:
        """What an expression is, over the labels that it depends on."""
        if self.given and expression in self.given:
            return self.given[expression]
        match expression:
            case Number(value):
                return self.scope.builder.constant(float(value))
            case Position(index):
                return integers(self.scope, place_of(self.scope, index, self.window))
            case Argument(formal, index):
                return self._argument(formal, index)
            case Count(axes):
                return self._count(axes)
            case Random(kind):
                return self._draw(kind)
            case Fold():
                return self._fold(expression, None)
            case Apply():
                return self._apply(expression)
            case Local(name):
                return self._let(name)
            case Load() | Scalar() | Training():
                raise AssertionError(f"{expression} is gone before this")
            case _:
                assert_never(expression)

    def binding(self, formal: str) -> Binding:
        """What a formal is bound to."""
        pairs = zip(self.formals, self.bindings, strict=True)
        return next(binding for entry, binding in pairs if entry.name == formal)

    # Leaves

    def _let(self, name: str) -> Tensor:
        if name not in self.known:
            self.known[name] = replace(self, window={}).value(self.lets[name])
        return self.known[name]

    def _argument(self, formal: str, index: tuple[Index, ...]) -> Tensor:
        binding = self.binding(formal)
        if not isinstance(binding, Connection):
            return replace(self, window={}).value(binding)
        return connected(self.scope, binding, self._places(binding, index))

    def _places(self, connection: Connection, index: tuple[Index, ...]) -> dict[str, Place]:
        """Where an argument's index is along the connection's window."""
        pairs = zip(connection.window, index, strict=True)
        return {entry.name: self._place(place) for entry, place in pairs}

    def _place(self, entry: Index) -> Place:
        match entry:
            case Affine() | Position():
                plain = entry if isinstance(entry, Affine) else entry.index
                return place_of(self.scope, plain, self.window)
            case _:
                return cast(self.scope.builder, self.value(entry), "i64")

    def _draw(self, kind: str) -> Tensor:
        name = "RandomUniform" if kind == "uniform" else "RandomNormal"
        shape = tuple(entry.size for entry in self.own)
        return self.scope.builder.emit(name, (), self.own, shape=shape)

    def _count(self, names: tuple[str, ...]) -> Tensor:
        """How many places are present: known now."""
        axes = tuple(
            next(a for f in self.formals for a in f.axes if a.name == name) for name in names
        )
        inner, labels = self.inside(axes)
        total = float(np.prod([inner.scope.sizes[label] for label in labels]))
        mask = inner._presence(frozenset(labels))
        if mask is None:
            return self.scope.builder.constant(total)
        values, kept = mask
        whole = np.broadcast_to(values, [inner.scope.sizes[a] for a in kept])
        gone = tuple(k for k, name in enumerate(kept) if name in labels)
        missing = np.prod([inner.scope.sizes[a] for a in labels if a not in kept], initial=1.0)
        counts = whole.sum(axis=gone) * missing
        rest = tuple(Axis(a, inner.scope.sizes[a]) for a in kept if a not in labels)
        return self.scope.builder.constant(counts.astype(np.float32), rest)

    # Operators

    def _apply(self, expression: Apply) -> Tensor:
        return self._known(expression) or self._biased(expression) or self._plain(expression)

    def _known(self, expression: Apply) -> Tensor | None:
        """A form that peers have one operator for."""
        found = one_operator(expression)
        if found is None:
            return None
        kind, operands, attributes = found
        return combine(self.scope.builder, kind, *map(self.real, operands), **attributes)

    def _biased(self, expression: Apply) -> Tensor | None:
        """A sum of products with what is added to it."""
        match expression:
            case Apply("add", (Fold("sum") as fold, other)) if is_bias(other):
                return self._fold(fold, self.real(other))
            case Apply("add", (other, Fold("sum") as fold)) if is_bias(other):
                return self._fold(fold, self.real(other))
            case Apply("div", (Fold("sum", axes, body), Count(names))):
                if names == tuple(entry.name for entry in axes):
                    return self._mean(axes, body)
        return None

    def _plain(self, expression: Apply) -> Tensor:
        builder, operands = self.scope.builder, expression.operands
        match expression.operator:
            case "select":
                condition = cast(builder, self.value(operands[0]), "bool")
                sides = [self.real(operand) for operand in operands[1:]]
                return combine(builder, "Where", condition, *sides)
            case "and" | "or" | "not":
                truths = [cast(builder, self.value(operand), "bool") for operand in operands]
                return combine(builder, expression.operator.capitalize(), *truths)
            case "stop":
                return combine(builder, "Stop", self.real(operands[0]))
            case "ne":
                equal = self._plain(Apply("eq", operands))
                return combine(builder, "Not", equal)
            case "floordiv" | "mod":
                return self._divided(expression)
            case operator if operator in COMPARED:
                return combine(builder, COMPARED[operator], *map(self.real, operands))
            case operator:
                return combine(builder, PLAIN[operator], *map(self.real, operands))

    def _divided(self, expression: Apply) -> Tensor:
        """Python's floor division and remainder."""
        builder = self.scope.builder
        over, by = map(self.real, expression.operands)
        floor = combine(builder, "Floor", combine(builder, "Div", over, by))
        if expression.operator == "floordiv":
            return floor
        return combine(builder, "Sub", over, combine(builder, "Mul", floor, by))

    def real(self, expression: Expression) -> Tensor:
        return cast(self.scope.builder, self.value(expression), "f32")

    # Reductions

    def inside(self, axes: tuple[Axis, ...]) -> tuple[Body, list[str]]:
        """The body with axes of formals brought into scope under labels of their own."""
        sizes, window, labels = dict(self.scope.sizes), dict(self.window), []
        symbols = {"n": ITEMS, "t": STEPS}
        for entry in axes:
            label = f"{entry.name}%{len(sizes)}"
            sizes[label] = sizes[symbols[entry.symbol]] if entry.symbol else entry.size
            window[entry.name] = axis(label)
            labels.append(label)
        return replace(self, scope=replace(self.scope, sizes=sizes), window=window), labels

    def _fold(self, fold: Fold, bias: Tensor | None) -> Tensor:
        body, divisor = invariant(fold)
        if divisor is not None:
            quotient = Apply("div", (Fold(fold.operator, fold.axes, body), divisor))
            return self._added(self._apply(quotient), bias)
        inner, labels = self.inside(fold.axes)
        found = None
        if fold.operator == "sum":
            found = inner._product(body, frozenset(labels), bias)
        if found is not None:
            return found
        return self._added(inner._reduced(fold, labels), bias)

    def _added(self, tensor: Tensor, bias: Tensor | None) -> Tensor:
        return tensor if bias is None else combine(self.scope.builder, "Add", tensor, bias)

    def _product(
        self, body: Expression, summed: frozenset[str], bias: Tensor | None
    ) -> Tensor | None:
        """A sum of two factors: a convolution or a product of matrices."""
        parts = factors(body)
        outside = [f for f in parts if not self._labels(f) & summed]
        inside = [f for f in parts if self._labels(f) & summed]
        if len(inside) != 2:
            return None
        given = None if outside else bias
        found = self._convolved(inside, summed, given)
        if found is None:
            tensors = [self.real(factor) for factor in inside]
            used = {label for tensor in tensors for label in tensor.labels}
            if not summed <= used or self._unread(inside, summed):
                return None
            tensors.sort(key=lambda tensor: ITEMS not in tensor.labels)
            found = multiply(self.scope.builder, tensors[0], tensors[1], summed, given)
        for factor in outside:
            found = combine(self.scope.builder, "Mul", found, self.real(factor))
        return self._added(found, bias if outside else None)

    def _convolved(
        self, factors: list[Expression], summed: frozenset[str], bias: Tensor | None
    ) -> Tensor | None:
        for source, weight in (factors, factors[::-1]):
            read = self.as_read(source)
            if read is None or not any(len(place.terms) > 1 for place in read.places):
                continue
            filters, sizes = self.real(weight), self.scope.sizes
            found = convolve(self.scope.builder, read, filters, summed, sizes, bias)
            if found is not None:
                return found
        return None

    def as_read(self, expression: Expression) -> Read | None:
        """An argument as a tensor that is still to be read."""
        if not isinstance(expression, Argument):
            return None
        binding = self.binding(expression.formal)
        if not isinstance(binding, Connection):
            return None
        read = affine(self.scope, binding, self._places(binding, expression.index))
        return read if read is not None and read.tensor.element == "f32" else None

    def _mapped(self, expression: Expression) -> Read | None:
        """A function of one argument and numbers: the window of the function's values."""
        leaves = {node for node in walk(expression) if not children(node)}
        found = [node for node in leaves if not isinstance(node, Number)]
        argument, more = (found[0], found[1:]) if found else (expression, found)
        read = None if more else self.as_read(argument)
        if read is None or argument == expression:
            return read
        given: dict[Expression, Tensor] = {argument: read.tensor}
        return Read(replace(self, given=given).real(expression), read.places)

    def _unread(self, factors: list[Expression], summed: frozenset[str]) -> bool:
        """Whether places are clipped by a formal that is no factor, so that nothing reads 0."""
        names = {factor.formal for factor in factors if isinstance(factor, Argument)}
        kept = [(f, b) for f, b in zip(self.formals, self.bindings, strict=True)
                if f.name not in names]  # fmt: skip
        others = replace(
            self, formals=tuple(f for f, _ in kept), bindings=tuple(b for _, b in kept)
        )
        return others._presence(summed) is not None

    def _mean(self, axes: tuple[Axis, ...], body: Expression) -> Tensor | None:
        """The mean of the places present."""
        inner, labels = self.inside(axes)
        if read := inner._mapped(body):
            sizes, summed = inner.scope.sizes, frozenset(labels)
            if found := pool(self.scope.builder, "AveragePool", read, summed, sizes):
                return found
        if inner._presence(frozenset(labels)) is not None:
            return None
        return reduce(self.scope.builder, "ReduceMean", inner._whole(body, labels), labels)

    def _reduced(self, fold: Fold, labels: list[str]) -> Tensor:
        """Any reduction: of a pool's window, or of the body at every place of the window."""
        builder, summed = self.scope.builder, frozenset(labels)
        if found := self._pooled(fold, summed):
            return found
        body = self._present(self._whole(fold.body, labels), fold, summed)
        if fold.operator in ("argmax", "argmin"):
            flat = merged(builder, body, labels, "@window")
            return builder.emit(
                REDUCTION[fold.operator], (flat,), flat.axes[:-1], "i64", axis=len(flat.axes) - 1
            )
        truth = fold.operator in ("any", "all")
        found = reduce(builder, REDUCTION[fold.operator], cast(builder, body, "f32"), labels)
        return cast(builder, found, "bool") if truth else found

    def _pooled(self, fold: Fold, summed: frozenset[str]) -> Tensor | None:
        """A reduction that is a pool of one source: a sum is its mean times the places present."""
        if fold.operator not in ("max", "sum") or (read := self._mapped(fold.body)) is None:
            return None
        builder, kind = self.scope.builder, "MaxPool" if fold.operator == "max" else "AveragePool"
        found = pool(builder, kind, read, summed, self.scope.sizes)  # type: ignore[arg-type]
        if found is None or fold.operator == "max":
            return found
        count = self._count(tuple(entry.name for entry in fold.axes))
        return combine(builder, "Mul", found, count)

    def _whole(self, body: Expression, labels: list[str]) -> Tensor:
        """The body with all axes of the window."""
        found = self.real(body)
        missing = [label for label in labels if label not in found.labels]
        axes = tuple(Axis(label, self.scope.sizes[label]) for label in missing)
        return broadcast(self.scope.builder, found, (*found.axes, *axes)) if axes else found

    def _present(self, body: Tensor, fold: Fold, labels: frozenset[str]) -> Tensor:
        """The body, and where nothing is connected what changes no result."""
        mask = self._presence(labels)
        if mask is None:
            return body
        values, names = mask
        axes = tuple(Axis(name, self.scope.sizes[name]) for name in names)
        builder = self.scope.builder
        neutral = builder.constant(float(NEUTRAL[fold.operator]))
        return combine(builder, "Where", builder.constant(values, axes), body, neutral)

    def _presence(self, labels: frozenset[str]) -> Mask | None:
        return presence(self.scope, self.formals, self.bindings, self.window, labels)

    def _labels(self, expression: Expression) -> set[str]:
        """Labels on which the places of an expression's arguments depend."""
        found: set[str] = set()
        for node in walk(expression):
            match node:
                case Argument(_, index):
                    entries = [entry for entry in index if isinstance(entry, Affine)]
                case Position(place):
                    entries = [place]
                case _:
                    entries = []
            for name in {name for entry in entries for name in entry.axes()}:
                here = self.window.get(name)
                found |= here.axes() if isinstance(here, Affine) else frozenset()
        return found
