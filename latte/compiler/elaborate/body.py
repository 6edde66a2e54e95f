"""The expressions of a neuron's body, where windows have sizes: ast -> Expression.

    bias + sum(i) weight[i] * x[i]      with i... of two axes
->  bias + sum [i.0: 3, i.1: 3] weight[i.0, i.1] * x[i.0, i.1]

Reductions inside a reduction that do not depend on it are computed once, before it. Calls of other
neurons are written out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Union

from latte.compiler.affine import Affine, axis, digits, row_major
from latte.compiler.elaborate.context import Run
from latte.compiler.elaborate.places import as_index, digits_of, free_axes, if_present, place
from latte.compiler.elaborate.scalar import (
    FUNCTIONS,
    OPERATORS,
    condition,
    function,
    make,
    number,
)
from latte.compiler.elaborate.values import Value, describe
from latte.compiler.expression import (
    Argument,
    Axis,
    Count,
    Expression,
    Fold,
    Index,
    Let,
    Local,
    Number,
    Position,
    Random,
    Training,
)
from latte.compiler.rewrite import walk
from latte.errors import Source, Span, did_you_mean
from latte.lang import ast

INLINED = 50  # neurons that may be written out inside each other


@dataclass(frozen=True, slots=True)
class Window:
    """A formal `x[c, i...]`: the axes that each of its names stands for."""

    formal: str
    groups: tuple[tuple[str, tuple[Axis, ...]], ...]

    @property
    def axes(self) -> tuple[Axis, ...]:
        return tuple(axis for _, axes in self.groups for axis in axes)


Meaning = Union[Window, Expression]


@dataclass(slots=True)
class Body:
    """A body while it is read. `bound` holds the axes of the reductions and loops around."""

    run: Run
    source: Source
    formals: dict[str, Meaning]
    axes: dict[str, tuple[Axis, ...]]
    locals: dict[str, Expression] = field(default_factory=dict)
    bound: dict[str, tuple[Affine, ...]] = field(default_factory=dict)
    lets: list[Let] = field(default_factory=list)
    used: dict[str, int] = field(default_factory=dict)
    clipped: frozenset[str] = frozenset()
    depth: int = 0
    branches: int = 0
    inlined: int = 0

    def expression(self, node: ast.Expression) -> Expression:
        """The expression that a piece of the body stands for."""
        match node:
            case ast.Number(value):
                return number(value)
            case ast.Boolean(value):
                return number(value)
            case ast.Name():
                return self.name(node)
            case ast.Unary(op, operand):
                inner = self.expression(operand)
                return inner if op == "+" else make("neg" if op == "-" else "not", inner)
            case ast.Binary(op, left, right):
                return make(OPERATORS[op], self.expression(left), self.expression(right))
            case ast.Conditional(test, then, otherwise):
                parts = (test, then, otherwise)
                return make("select", *(self.expression(part) for part in parts))
            case ast.Reduction():
                return self.reduction(node)
            case ast.Call():
                return self.call(node)
            case ast.Index(ast.Name(text), items):
                return self.index(text, items, node.span)
            case ast.Attribute():
                return self.attribute(node)
            case _:
                return self.fail("E0701", "this has no place in a neuron", node.span)

    def fail(self, code: str, message: str, span: Span, help: str = "") -> Expression:
        return self.run.report.fail(code, message, span, help=help)

    def name(self, node: ast.Name) -> Expression:
        """A position, a local, a formal or a constant."""
        text = node.text
        if text in self.bound:
            return self.position(text)
        if text in self.locals:
            return self.locals[text]
        if text in self.formals:
            meaning = self.formals[text]
            if isinstance(meaning, Window):
                return self.window(meaning, node.span)
            return meaning
        if text == "training":
            return Training()
        definition = self.run.definitions.find(ast.Const, text, self.source)
        if definition is not None:
            return self.constant(self.run.constant(definition), node)
        return self.unknown(node)

    def window(self, meaning: Window, span: Span) -> Expression:
        """A window without index: its one value if it has no axes."""
        if not meaning.axes:
            return Argument(meaning.formal)
        places = ", ".join(name for name, _ in meaning.groups)
        message = f"`{meaning.formal}` is a window: it needs an index, `{meaning.formal}[{places}]`"
        return self.fail("E0706", message, span)

    def constant(self, value: Value, node: ast.Name) -> Expression:
        if isinstance(value, (int, float, Fraction)):
            return number(float(value))
        message = f"`{node.text}` is {describe(value)}, which a neuron cannot compute with"
        return self.fail("E0405", message, node.span)

    def unknown(self, node: ast.Name) -> Expression:
        if node.text in self.axes:
            message = f"axis `{node.text}` has a position only inside a reduction or loop over it"
            return self.fail("E0708", message, node.span)
        known = [*self.locals, *self.formals, *self.bound, "training"]
        message = f"unknown name `{node.text}` in a neuron"
        return self.fail("E0701", message, node.span, help=did_you_mean(node.text, known))

    def position(self, name: str) -> Expression:
        """Where along an axis this is; row-major over a pack."""
        sizes = [a.size for a in self.axes[name]]
        return place(row_major(self.bound[name], sizes))

    def reduction(self, node: ast.Reduction) -> Expression:
        """A fold over all axes of the names; over no axes it is its body."""
        axes = self.axes_of(node.axes)
        outer = dict(self.bound)
        for name in node.axes:
            self.bound[name.text] = tuple(axis(a.name) for a in self.axes[name.text])
        self.depth += 1
        try:
            body = self.expression(node.body)
        finally:
            self.depth -= 1
            self.bound = outer
        if node.op in ("any", "all"):
            body = condition(body)
        if not axes:
            return Number(0.0) if node.op.startswith("arg") else body
        return self.hoisted(Fold(node.op, axes, body))  # type: ignore[arg-type]

    def hoisted(self, fold: Fold) -> Expression:
        """Inside another reduction: computed before it, if it does not depend on it."""
        if not self.depth or self.depends(fold):
            return fold
        return self.record("fold", fold)

    def depends(self, fold: Fold) -> bool:
        """Whether a fold reads positions of the reductions and loops around it."""
        around = {name for places in self.bound.values() for p in places for name in p.axes()}
        free = free_axes(fold)
        return bool(free & around) or any(
            isinstance(node, Local) and "@" in node.name for node in walk(fold)
        )

    def axes_of(self, names: Sequence[ast.Name]) -> tuple[Axis, ...]:
        """All axes that the names of a reduction or loop stand for."""
        found: list[Axis] = []
        for name in names:
            if name.text not in self.axes:
                known = ", ".join(f"`{each}`" for each in self.axes) or "none"
                help = did_you_mean(name.text, self.axes) or f"the axes of its formals: {known}"
                self.fail("E0708", f"no formal has an axis `{name.text}`", name.span, help)
            found += self.axes[name.text]
        return tuple(found)

    def call(self, node: ast.Call) -> Expression:
        """A function, `count`, `size`, a random draw, or another neuron written out."""
        name = node.function.text
        definition = self.run.definitions.find(ast.Neuron, name, self.source)
        if definition is not None:
            return self.inline(definition, node)
        if name in ("random", "normal") and not node.arguments:
            return Random("uniform" if name == "random" else "normal", self.run.next_draw())
        if name in ("count", "size"):
            return self.measure(name, node)
        operands = tuple(self.operand(argument, node) for argument in node.arguments)
        result = function(name, operands)
        if result is not None:
            return result
        if name in (*FUNCTIONS, "ceil", "min", "max", "random", "normal"):
            message = f"`{name}` does not take {len(operands)} arguments"
            return self.fail("E0402", message, node.span)
        known = [*FUNCTIONS, "min", "max", "count", "size", "random", "normal"]
        known += self.run.definitions.names(ast.Neuron, self.source)
        message = f"unknown function or neuron `{name}`"
        return self.fail("E0314", message, node.function.span, did_you_mean(name, known))

    def operand(self, argument: ast.Argument, node: ast.Call) -> Expression:
        if argument.name is not None or isinstance(argument.value, ast.Spread):
            message = f"`{node.function.text}` takes plain arguments only"
            return self.fail("E0403", message, argument.span)
        return self.expression(argument.value)

    def measure(self, name: str, node: ast.Call) -> Expression:
        """`count(i)`: places present; `size(i)`: places of the window. `size(x)`: of all of x."""
        axes: list[Axis] = []
        for argument in node.arguments:
            if not isinstance(argument.value, ast.Name):
                self.fail("E0708", f"`{name}` takes names of axes", argument.span)
                continue
            window = self.formals.get(argument.value.text)
            if argument.value.text not in self.axes and isinstance(window, Window):
                axes += window.axes
            else:
                axes += self.axes_of([argument.value])
        open_axes = tuple(a.name for a in axes if name == "count" or a.symbol is not None)
        fixed = 1 if name == "count" else math.prod(a.size for a in axes if a.symbol is None)
        if not open_axes:
            return number(fixed)
        return Count(open_axes) if fixed == 1 else make("mul", Count(open_axes), number(fixed))

    def inline(self, definition: ast.Neuron, node: ast.Call) -> Expression:
        """A one-line neuron's expression with the arguments in place of its formals."""
        name = definition.name.text
        if isinstance(definition.body, ast.NeuronBody):
            message = f"only neurons of one line can be called; `{name}` has a block"
            return self.fail("E0709", message, node.span)
        if self.inlined >= INLINED:
            return self.fail("E0707", f"neuron `{name}` calls itself", node.span)
        formals, axes = self.inlined_formals(definition, node)
        inner = Body(
            self.run, definition.span.source, formals, axes, bound={}, lets=self.lets,
            used=self.used, clipped=self.clipped, depth=self.depth, inlined=self.inlined + 1,
        )  # fmt: skip
        with self.run.report.calling(node.span, name):
            return inner.expression(definition.body)

    def inlined_formals(
        self, definition: ast.Neuron, node: ast.Call
    ) -> tuple[dict[str, Meaning], dict[str, tuple[Axis, ...]]]:
        """What the formals of a called neuron stand for."""
        given = match_arguments(self.run, definition.formals, node, definition.name.text)
        formals: dict[str, Meaning] = {}
        axes: dict[str, tuple[Axis, ...]] = {}
        for formal in definition.formals:
            value = given.get(formal.name.text, formal.default)
            assert value is not None
            if formal.axes is None:
                formals[formal.name.text] = self.expression(value)
                continue
            window = self.formals.get(value.text) if isinstance(value, ast.Name) else None
            if not isinstance(window, Window) or len(window.groups) != len(formal.axes):
                message = f"`{formal.name.text}` takes a window with as many axes"
                self.fail("E0407", message, value.span)
            assert isinstance(window, Window)
            pairs = zip(formal.axes, window.groups, strict=True)
            groups = tuple((place.name.text, group[1]) for place, group in pairs)
            formals[formal.name.text] = Window(window.formal, groups)
            axes.update(groups)
        return formals, axes

    def index(self, name: str, items: Sequence[ast.Item], span: Span) -> Expression:
        """`x[i, k]`, `x[at]` (row-major over all axes), `x[label]`."""
        window = self.formals.get(name)
        if not isinstance(window, Window):
            if name in self.formals or name in self.locals:
                message = f"`{name}` is one value and takes no index"
                return self.fail("E0706", message, span)
            return self.unknown(ast.Name(name, span=span))
        places = self.places(window, items, span)
        fixed = all(isinstance(entry, Affine) and entry.is_constant for entry in places)
        if fixed and any(axis.name in self.clipped for axis in window.axes):
            return if_present(window.formal, window.axes, places)
        return Argument(window.formal, places)

    def places(self, window: Window, items: Sequence[ast.Item], span: Span) -> tuple[Index, ...]:
        """The index of a window, one entry for each of its axes."""
        if len(items) == len(window.groups):
            pairs = zip(items, window.groups, strict=True)
            index = [place for item, (_, axes) in pairs for place in self.item(item, axes)]
        elif len(items) == 1:
            index = list(self.item(items[0], window.axes))
        else:
            names = ", ".join(name for name, _ in window.groups)
            message = f"{len(items)} indices for the window `{window.formal}[{names}]`"
            self.fail("E0706", message, span)
        for entry, along in zip(index, window.axes, strict=True):
            self.check(entry, along, window, span)
        return tuple(index)

    def item(self, item: ast.Item, axes: tuple[Axis, ...]) -> tuple[Index, ...]:
        """One item as positions along `axes`: as many, or one that is row-major over them."""
        if isinstance(item, (ast.Whole, ast.Rest, ast.Window, ast.Range, ast.Spread)):
            self.fail("E0706", "inside a neuron an index is one place", item.span)
        assert not isinstance(item, (ast.Whole, ast.Rest, ast.Window, ast.Range, ast.Spread))
        here = self.bound.get(item.text) if isinstance(item, ast.Name) else None
        if here is not None and len(here) == len(axes):
            return here
        flat = as_index(self.expression(item))
        sizes = tuple(axis.size for axis in axes)
        if len(axes) == 1:
            return (flat,)
        if isinstance(flat, Affine):
            return digits(flat, sizes)
        return digits_of(flat, sizes)

    def check(self, entry: Index, along: Axis, window: Window, span: Span) -> None:
        """An affine place must be inside the window."""
        if not isinstance(entry, Affine) or along.symbol is not None:
            return
        ranges = {a.name: (0, a.size - 1) for axes in self.axes.values() for a in axes}
        low, high = entry.bounds(ranges)
        if entry.is_linear and (low < 0 or high >= along.size):
            message = (
                f"index `{entry}` leaves the window `{window.formal}`: it runs from {low} to "
                f"{high}, outside 0 .. {along.size - 1}"
            )
            help = "keep it inside with `min` and `max`: `x[max(0, i - 1)]`"
            self.fail("E0702", message, span, help)

    def attribute(self, node: ast.Attribute) -> Expression:
        if isinstance(node.value, ast.Name) and node.name.text == "grad":
            local = self.locals.get(f"{node.value.text}.grad")
            if local is not None:
                return local
            return self.fail("E0703", "only `value.grad` can be read", node.span)
        return self.fail("E0701", "a neuron has no parts", node.span)

    def record(self, name: str, expression: Expression) -> Local:
        """A new let for an expression; the name is made unique, and never "value"."""
        name = "result" if name == "value" else name
        self.used[name] = count = self.used.get(name, -1) + 1
        unique = f"{name}.{count}" if count else name
        self.lets.append(Let(unique, expression))
        return Local(unique)

    def emit(self, name: str, expression: Expression) -> Expression:
        """A let where one can stand and is worth it; else the expression itself."""
        match expression:
            case Number() | Local() | Position() | Training() | Argument(_, ()):
                return expression
            case _:
                inside = self.depth or self.branches
                return expression if inside else self.record(name, expression)


def match_arguments(
    run: Run, formals: Sequence[ast.Formal], node: ast.Call, name: str
) -> dict[str, ast.Expression]:
    """Which argument goes to which formal; defaults are left out. Mistakes are reported."""
    given: dict[str, ast.Expression] = {}
    names = [formal.name.text for formal in formals]
    free = iter(names)
    for argument in node.arguments:
        if isinstance(argument.value, ast.Spread):
            run.report.fail("E0405", "sources cannot be spread here", argument.span)
        key = argument.name.text if argument.name else next(free, None)
        if key is None:
            message = f"`{name}` takes {len(names)} arguments, found {len(node.arguments)}"
            run.report.fail("E0402", message, argument.span)
        if key not in names:
            span = argument.name.span if argument.name else argument.span
            message = f"`{name}` has no argument `{key}`"
            run.report.fail("E0403", message, span, help=did_you_mean(key, names))
        if key in given:
            run.report.fail("E0404", f"argument `{key}` is given twice", argument.span)
        given[key] = argument.value
    for formal in formals:
        if formal.name.text not in given and formal.default is None:
            message = f"`{name}` needs the argument `{formal.name.text}`"
            run.report.fail("E0401", message, node.span)
    return given
