"""The statements of a neuron's body as functions: `if` becomes a select, reassignment a new name,
a loop a fold, `x.grad[..] +=` a Contribution.

    let s = 0                                ->  s.1 = 0 + sum [i.0: 9] x[i.0]
    for i in x { s += x[i] }
    if s > 0 { value = s } else { value = 0 }    value = if s.1 > 0 then s.1 else 0
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from latte.compiler.affine import axis
from latte.compiler.elaborate.body import Body, Window
from latte.compiler.elaborate.loops import fold_loop, unroll
from latte.compiler.elaborate.scalar import OPERATORS, condition, make
from latte.compiler.expression import Axis, Expression, Index, Local, Number
from latte.compiler.net import Contribution
from latte.compiler.rewrite import walk
from latte.errors import Span, did_you_mean
from latte.lang import ast


@dataclass(slots=True)
class Code:
    """Statements being read. `numbers` are formals bound to numbers: they get no gradient."""

    body: Body
    numbers: frozenset[str] = frozenset()
    backward: bool = False
    contributions: list[Contribution] = field(default_factory=list)
    conditions: list[Expression] = field(default_factory=list)
    around: list[Axis] = field(default_factory=list)

    def run(self, statements: Sequence[ast.NeuronStatement]) -> None:
        """Carry out statements in order on the locals of the body."""
        for statement in statements:
            match statement:
                case ast.Let(name, value):
                    self.assign(name.text, self.body.expression(value))
                case ast.Assign():
                    self.assignment(statement)
                case ast.Branch():
                    self.branch(statement)
                case ast.Loop():
                    self.loop(statement)

    def assign(self, name: str, expression: Expression) -> None:
        self.body.locals[name] = self.body.emit(name, expression)

    def assignment(self, node: ast.Assign) -> None:
        """`value = e`, `total += e`, `x.grad[at] += e`."""
        match node.target:
            case ast.Name(text):
                self.check_target(node.target, node.op)
                value = self.body.expression(node.value)
                if node.op != "=":
                    value = make(OPERATORS[node.op[:-1]], self.body.locals[text], value)
                self.assign(text, value)
            case ast.Attribute(ast.Name() as formal, ast.Name("grad")):
                self.contribute(formal, (), node)
            case ast.Index(ast.Attribute(ast.Name() as formal, ast.Name("grad")), items):
                self.contribute(formal, items, node)
            case _:
                message = "only locals, `value` and gradients of arguments can be assigned"
                self.body.fail("E0702", message, node.target.span)

    def check_target(self, name: ast.Name, op: str) -> None:
        """What is assigned must be a local, or `value`."""
        text = name.text
        if text in self.body.locals or (text == "value" and op == "=" and not self.backward):
            return
        if text == "value":
            message = "`value` has nothing to add to yet" if op != "=" else "`value` is set forward"
            self.body.fail("E0705", message, name.span)
        if text in self.body.formals:
            help = f"make a local: `let {text}2 = {text}`"
            self.body.fail("E0702", f"the argument `{text}` cannot be assigned", name.span, help)
        help = did_you_mean(text, [*self.body.locals, "value"]) or f"declare it: `let {text} = ...`"
        self.body.fail("E0701", f"unknown local `{text}`", name.span, help)

    def contribute(self, formal: ast.Name, items: Sequence[ast.Item], node: ast.Assign) -> None:
        """`x.grad[index] += e`, for the places of the loops around, where the conditions hold."""
        if not self.backward:
            self.body.fail("E0703", "gradients belong in `backward`", node.target.span)
        if node.op not in ("+=", "-="):
            message = "a gradient is added to, since others may flow to the same place"
            self.body.fail("E0703", message, node.target.span, "write `+=`")
        value = self.body.expression(node.value)
        if node.op == "-=":
            value = make("neg", value)
        if formal.text in self.numbers:
            return
        for test in reversed(self.conditions):
            value = make("select", test, value, Number(0.0))
        index = self.gradient_index(formal, items, node.target.span)
        free = tuple(a for a in self.around if _is_bound(self.body, a))
        self.contributions.append(Contribution(formal.text, free, index, value))

    def gradient_index(
        self, formal: ast.Name, items: Sequence[ast.Item], span: Span
    ) -> tuple[Index, ...]:
        meaning = self.body.formals.get(formal.text)
        if meaning is None:
            known = did_you_mean(formal.text, self.body.formals)
            self.body.fail("E0701", f"no argument `{formal.text}`", formal.span, known)
        if isinstance(meaning, Window):
            return self.body.places(meaning, items, span) if items or meaning.groups else ()
        if items:
            self.body.fail("E0706", f"`{formal.text}` is one value and takes no index", span)
        return ()

    def branch(self, node: ast.Branch) -> None:
        """Both sides are read; a local that differs becomes a select."""
        test = condition(self.body.expression(node.condition))
        before = dict(self.body.locals)
        then = self.side(node.then, test)
        self.body.locals = dict(before)
        otherwise = self.side(node.otherwise, make("not", test))
        self.body.locals = before
        for name in then.keys() & otherwise.keys():
            if then[name] != otherwise[name]:
                self.assign(name, make("select", test, then[name], otherwise[name]))
            elif then[name] is not before.get(name):
                self.assign(name, then[name])

    def side(
        self, statements: Sequence[ast.NeuronStatement], test: Expression
    ) -> dict[str, Expression]:
        """The locals after one side of an `if`."""
        self.conditions.append(test)
        self.body.branches += 1
        try:
            self.run(statements)
        finally:
            self.body.branches -= 1
            self.conditions.pop()
        return self.body.locals

    def loop(self, node: ast.Loop) -> None:
        """A fold where the statements accumulate; else every place written out."""
        names = self.loop_axes(node)
        before, bound = dict(self.body.locals), dict(self.body.bound)
        axes = dict(self.body.axes)
        count, lets = len(self.contributions), len(self.body.lets)
        self.body.axes.update(names)
        carried = [name for name in assigned(node.body) if name in self.body.locals]
        folded = fold_loop(self, node, names, carried)
        self.body.locals, self.body.bound, self.body.axes = dict(before), dict(bound), axes
        if folded is not None:
            for name, value in folded.items():
                self.assign(name, value)
            return
        del self.contributions[count:], self.body.lets[lets:]
        self.body.axes = {**axes, **names}
        unroll(self, node, names)
        after = self.body.locals
        self.body.locals = {n: v for n, v in after.items() if n in before or n == "value"}
        self.body.bound, self.body.axes = bound, axes

    def loop_axes(self, node: ast.Loop) -> dict[str, tuple[Axis, ...]]:
        """What the names of a loop stand for: one for each name of the window, or one for all."""
        window = None
        if isinstance(node.window, ast.Name):
            window = self.body.formals.get(node.window.text)
        if not isinstance(window, Window):
            self.body.fail("E0704", "a loop runs over a window argument", node.window.span)
        assert isinstance(window, Window)
        if len(node.axes) == len(window.groups):
            pairs = zip(node.axes, window.groups, strict=True)
            return {name.text: axes for name, (_, axes) in pairs}
        if len(node.axes) != 1:
            message = f"{len(node.axes)} names for a window of {len(window.groups)} axes"
            self.body.fail("E0704", message, node.axes[0].span.to(node.axes[-1].span))
        return {node.axes[0].text: window.axes}


def assigned(statements: Sequence[ast.NeuronStatement]) -> Iterator[str]:
    """Names that the statements assign, also inside `if` and loops; each once."""
    seen: set[str] = set()
    for statement in statements:
        match statement:
            case ast.Assign(ast.Name(text)):
                found: Sequence[str] = (text,)
            case ast.Branch(_, then, otherwise):
                found = (*assigned(then), *assigned(otherwise))
            case ast.Loop(_, _, body):
                found = tuple(assigned(body))
            case _:
                found = ()
        yield from (name for name in found if name not in seen)
        seen.update(found)


def reads(expression: Expression, marks: frozenset[str]) -> bool:
    """Whether an expression uses one of these locals."""
    return any(isinstance(node, Local) and node.name in marks for node in walk(expression))


def _is_bound(body: Body, along: Axis) -> bool:
    """Whether a loop's axis runs (it is a constant where the loop is written out)."""
    here = axis(along.name)
    return any(here in places for places in body.bound.values())
