"""The solver of a `train` block: its arguments over time, its states, its update as assignments.

    solver Momentum(rate = inv(0.01, gamma = 1e-4, power = 0.75))
->  hyper rate = 0.01 * (1 + 0.0001 * t) ** -0.75, momentum = 0.9, decay = 0
    state history = 0
    history = momentum * history + rate * (grad + decay * param); param = param - history
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from latte.compiler.elaborate.body import Body, match_arguments
from latte.compiler.elaborate.context import DEPTH, Run
from latte.compiler.elaborate.evaluate import Evaluator
from latte.compiler.elaborate.scalar import OPERATORS, condition, make
from latte.compiler.elaborate.values import Poisoned
from latte.compiler.expression import Expression, Local
from latte.compiler.net import Assignment, Hyper, Norm, Solver, State, Training
from latte.compiler.rewrite import walk
from latte.errors import Source, did_you_mean
from latte.lang import ast

DEFAULT_SOLVER = "Momentum"
TIMES = ("t", "epoch", "total")


def training(run: Run, file: Source, train: ast.Train | None) -> Training:
    """What a `train` block says, or its defaults."""
    defaults = Training(Solver("", (), (), (), ()))
    span = train.span if train else None
    call = train.solver if train else None
    word = call.function if call else None
    name = word.text if word else DEFAULT_SOLVER
    definition = run.definitions.find(ast.Solver, name, file)
    if definition is None:
        assert word is not None, "the library has the default solver"
        help = did_you_mean(name, run.definitions.names(ast.Solver, file))
        run.report.error("E0308", f"unknown solver `{name}`", word.span, help=help)
        return defaults
    batch = count(run, file, train.batch if train else None, "batch", defaults.batch)
    epochs = count(run, file, train.epochs if train else None, "epochs", defaults.epochs)
    try:
        if call is None:
            call = ast.Call(ast.Name(name, span=definition.span), (), span=span or definition.span)
        return Training(solver(run, file, definition, call), batch, epochs)
    except Poisoned:
        return defaults


def count(run: Run, file: Source, node: ast.Expression | None, word: str, default: int) -> int:
    """`batch 64`, `epochs 4`: a whole number of at least 1."""
    if node is None:
        return default
    try:
        number = Evaluator(run, file, {}).whole(node, f"`{word}`")
    except Poisoned:
        return default
    if number < 1:
        message = f"`{word}` is {number}, but must be at least 1"
        run.report.error("E0802", message, node.span)
        return default
    return number


def solver(run: Run, file: Source, definition: ast.Solver, call: ast.Call) -> Solver:
    """A solver with its arguments as schedules and its update as assignments."""
    given = match_arguments(run, definition.formals, call, definition.name.text)
    hypers = []
    for formal in definition.formals:
        name, value = formal.name.text, given.get(formal.name.text, formal.default)
        assert value is not None
        at = file if name in given else definition.span.source
        hypers.append(Hyper(name, Schedule(run, at, {}, {}).expression(value)))
    with run.report.calling(call.span, definition.name.text):
        arguments: dict[str, Expression] = {h.name: Local(h.name) for h in hypers}
        states = tuple(
            State(s.name.text, Schedule(run, definition.span.source, {}, {}).expression(s.value))
            for s in definition.states
        )
        code = Update(run, definition.span.source, {}, {})
        code.locals = {
            **arguments, **{s.name: Local(s.name) for s in states},
            **{name: Local(name) for name in ("param", "grad", *TIMES)},
        }  # fmt: skip
        code.targets = frozenset(("param", *(s.name for s in states)))
        code.statements(definition.update)
    return Solver(
        definition.name.text, tuple(hypers), states, tuple(code.norms), tuple(code.assignments)
    )


@dataclass(slots=True)
class Schedule(Body):
    """Expressions of t, epoch and total; calls of schedules are written out."""

    def name(self, node: ast.Name) -> Expression:
        if node.text in TIMES and node.text not in self.formals and node.text not in self.locals:
            return Local(node.text)
        return Body.name(self, node)

    def call(self, node: ast.Call) -> Expression:
        definition = self.run.definitions.find(ast.Schedule, node.function.text, self.source)
        if definition is None:
            return Body.call(self, node)
        if self.inlined > DEPTH:
            name = definition.name.text
            return self.fail("E0412", f"schedule `{name}` calls itself", node.span)
        given = match_arguments(self.run, definition.formals, node, definition.name.text)
        inner = Schedule(self.run, definition.span.source, {}, {}, inlined=self.inlined + 1)
        for formal in definition.formals:
            name = formal.name.text
            if name in given:
                inner.formals[name] = self.expression(given[name])
            else:
                assert formal.default is not None
                inner.formals[name] = inner.expression(formal.default)
        with self.run.report.calling(node.span, definition.name.text):
            return inner.expression(definition.value)


@dataclass(slots=True)
class Update(Body):
    """The statements of a solver; `targets` are what outlives the update."""

    targets: frozenset[str] = frozenset()
    norms: list[Norm] = field(default_factory=list)
    assignments: list[Assignment] = field(default_factory=list)

    def call(self, node: ast.Call) -> Expression:
        """`norm(e)` over this parameter, `total_norm(e)` over all."""
        word = node.function.text
        if word not in ("norm", "total_norm"):
            return Body.call(self, node)
        if len(node.arguments) != 1:
            return self.fail("E0402", f"`{word}` takes 1 argument", node.span)
        inner = self.operand(node.arguments[0], node)
        known = {"param", "grad", *TIMES, *self.locals}
        changed = {assignment.target for assignment in self.assignments}
        for each in walk(inner):
            if isinstance(each, Local) and (each.name in changed or each.name not in known):
                message = f"`{word}` is taken before the update: `{each.name}` is changed above"
                return self.fail("E0803", message, node.span)
        for norm in self.norms:
            if norm.expression == inner and norm.total == (word == "total_norm"):
                return Local(norm.name)
        name = f"{word}.{len(self.norms)}"
        self.norms.append(Norm(name, inner, word == "total_norm"))
        return Local(name)

    def statements(self, nodes: Sequence[ast.NeuronStatement]) -> None:
        """Carry out statements in order."""
        for node in nodes:
            match node:
                case ast.Let(name, value):
                    self.assign(name.text, self.expression(value), let=True)
                case ast.Assign(ast.Name(text) as target, op, value):
                    if text not in self.targets and not (
                        text in self.locals and text.split(".")[0] in self.used
                    ):
                        help = did_you_mean(text, self.targets) or "declare it with `let`"
                        self.fail("E0803", f"`{text}` cannot be assigned", target.span, help)
                    right = self.expression(value)
                    if op != "=":
                        right = make(OPERATORS[op[:-1]], self.locals[text], right)
                    self.assign(text, right, let=text not in self.targets)
                case ast.Branch(test, then, otherwise):
                    self.branch(condition(self.expression(test)), then, otherwise)
                case _:
                    self.fail("E0803", "a solver has no such statement", node.span)

    def assign(self, name: str, value: Expression, let: bool) -> None:
        """A new value; inside an `if` it is only noted, and chosen when the `if` ends."""
        if let:
            self.used[name] = self.used.get(name, -1) + 1
        if self.branches:
            self.locals[name] = value
            return
        target = name if not let or not self.used[name] else f"{name}.{self.used[name]}"
        self.assignments.append(Assignment(target, value))
        self.locals[name] = Local(target)

    def branch(
        self,
        test: Expression,
        then: Sequence[ast.NeuronStatement],
        otherwise: Sequence[ast.NeuronStatement],
    ) -> None:
        before = dict(self.locals)
        sides = []
        for statements in (then, otherwise):
            self.locals = dict(before)
            self.branches += 1
            self.statements(statements)
            self.branches -= 1
            sides.append(self.locals)
        self.locals = before
        for name in before:
            if sides[0][name] != sides[1][name]:
                chosen = make("select", test, sides[0][name], sides[1][name])
                self.assign(name, chosen, let=name not in self.targets)


def chosen_train(trains: Sequence[ast.Train], net: ast.Net) -> ast.Train | None:
    """The block that trains a net, if there is one."""
    return next((train for train in trains if train.net.text == net.name.text), None)
