"""Checks of what runs for each neuron or parameter: bodies of neurons, solvers, inits, schedules.

In: a definition.  Out: diagnostics about its names, indices, reductions and assignments. Sizes play
no part.

    neuron Sum(x[i...]) = sum(j) x[i]   ->   E0708: no formal has an axis `j`
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from latte.errors import Note, did_you_mean
from latte.lang import ast
from latte.lang.room import MATH, TAKES, Room, match, match_function

SOLVER_NAMES = frozenset({"param", "grad", "t", "epoch", "total"})
SCHEDULE_NAMES = frozenset({"t", "epoch", "total"})


@dataclass(slots=True)
class Code:
    """A body under check: the names it can read, and those of them it can assign."""

    room: Room
    names: set[str]
    calls: type[ast.Neuron] | type[ast.Init] | type[ast.Schedule] = ast.Neuron
    functions: tuple[str, ...] = (*MATH, "random", "normal", "size", "count")
    windows: dict[str, tuple[ast.Axis, ...]] = field(default_factory=dict)
    scalars: frozenset[str] = frozenset()
    locals: set[str] = field(default_factory=set)
    running: frozenset[str] = frozenset()
    backward: bool = False

    @property
    def axes(self) -> set[str]:
        return {axis.name.text for axes in self.windows.values() for axis in axes}

    def child(self, running: frozenset[str] = frozenset()) -> Code:
        """The same place for an inner block, whose new names end with it."""
        within = self.running | running
        return replace(self, names=set(self.names), locals=set(self.locals), running=within)

    # Expressions

    def expression(self, node: ast.Expression | ast.Item) -> None:
        match node:
            case ast.Name():
                self.name(node)
            case ast.Number() | ast.Boolean():
                pass
            case ast.Unary():
                self.expression(node.operand)
            case ast.Binary():
                self.expression(node.left)
                self.expression(node.right)
            case ast.Conditional():
                for part in (node.condition, node.then, node.otherwise):
                    self.expression(part)
            case ast.Reduction():
                self.reduction(node)
            case ast.Index():
                self.index(node)
            case ast.Attribute():
                self.attribute(node)
            case ast.Call():
                self.call(node)
            case _:
                self.room.tell("E0701", "this is no number", node.span)

    def name(self, node: ast.Name) -> None:
        text = node.text
        if text in self.names or text in self.running or text in self.room.lost or text == "_":
            return
        if text in self.windows:
            axes = ", ".join(axis.name.text for axis in self.windows[text])
            message = f"`{text}` is a window; here stands one of its inputs"
            self.room.tell("E0407", message, node.span, f"write `{text}[{axes}]`")
        elif text in self.axes:
            message = f"`{text}` has a value only inside a reduction or loop over it"
            self.room.tell("E0708", message, node.span, f"such as `sum({text}) ...`")
        elif self.room.find(ast.Const, text) is None:
            known = [*self.names, *self.windows, *self.running, *self.room.names(ast.Const)]
            self.room.unknown("E0701", "name", node, known)

    def reduction(self, node: ast.Reduction) -> None:
        for axis in node.axes:
            self.axis(axis)
        known = {axis.text for axis in node.axes}
        if not known or not known <= self.axes:
            known |= self.axes  # one of them was meant
        self.child(frozenset(known)).expression(node.body)

    def axis(self, axis: ast.Name) -> None:
        if axis.text in self.axes or axis.text in self.room.lost:
            return
        help = did_you_mean(axis.text, self.axes)
        if axis.text in self.windows:
            names = ", ".join(place.name.text for place in self.windows[axis.text])
            help = f"its axes are written: `{names}`"
        self.room.tell("E0708", f"no formal has an axis `{axis.text}`", axis.span, help)

    def index(self, node: ast.Index) -> None:
        for item in node.items:
            if isinstance(item, ast.Whole | ast.Rest | ast.Window | ast.Range | ast.Spread):
                message = "inside a neuron an index is one place"
                self.room.tell("E0706", message, item.span)
            else:
                self.expression(item)
        if not isinstance(node.value, ast.Name):
            self.room.tell("E0706", "only a window formal takes an index", node.value.span)
        elif axes := self.windows.get(node.value.text):
            if len(node.items) not in {1, len(axes)}:
                message = f"`{node.value.text}` has {len(axes)} axes, but {len(node.items)} indices"
                self.room.tell("E0706", message, node.span)
        elif node.value.text in self.names:
            message = f"`{node.value.text}` is one value and takes no index"
            help = f"to see a window, write the formal as `{node.value.text}[i...]`"
            if node.value.text not in self.scalars:
                help = ""
            self.room.tell("E0706", message, node.span, help)
        else:
            self.room.unknown("E0701", "name", node.value, [*self.names, *self.windows])

    def attribute(self, node: ast.Attribute) -> None:
        if node.name.text != "grad" or not isinstance(node.value, ast.Name):
            help = did_you_mean(node.name.text, ["grad"]) or "the only part is `grad`"
            self.room.tell("E0703", f"no part `{node.name.text}`", node.name.span, help)
        elif node.value.text != "value":
            self.room.tell("E0703", "only `value.grad` can be read", node.span)
        elif not self.backward:
            message = "a gradient has a value only in `backward`"
            self.room.tell("E0703", message, node.span)

    def call(self, node: ast.Call) -> None:
        name = node.function.text
        definition = self.room.find(self.calls, name)
        if definition is not None:
            self.call_definition(node, definition)
        elif name in {"size", "count"} and name in self.functions:
            for argument in node.arguments:
                self.axis_argument(name, argument)
        elif name in self.functions:
            match_function(self.room, node)
            for argument in node.arguments:
                self.expression(argument.value)
        else:
            self.unknown_call(node)

    def unknown_call(self, node: ast.Call) -> None:
        name, room = node.function, self.room
        word = self.calls.__name__.lower()
        code = {"neuron": "E0314", "init": "E0306", "schedule": "E0309"}[word]
        help = ""
        if room.find(ast.Layer, name.text):
            help = f"`{name.text}` is a layer; only neurons of one line can be called here"
        elif name.text in self.windows or name.text in self.names:
            help = f"`{name.text}` is not a function; an index stands in square brackets"
        known = [*self.functions, *room.names(self.calls)]
        room.unknown(code, f"function or {word}", name, known, help)
        for argument in node.arguments:
            if not (isinstance(argument.value, ast.Name) and argument.value.text in self.windows):
                self.expression(argument.value)

    def call_definition(
        self, node: ast.Call, definition: ast.Neuron | ast.Init | ast.Schedule
    ) -> None:
        formals = {formal.name.text: formal for formal in definition.formals}
        if isinstance(definition, ast.Neuron) and isinstance(definition.body, ast.NeuronBody):
            message = f"`{node.function.text}` has a block; only neurons of one line can be called"
            self.room.tell("E0709", message, node.function.span)
        for name, argument in match(self.room, node, definition).items():
            value = argument.value
            formal = formals.get(name)
            if formal and formal.axes is not None:
                self.window_argument(value, formal)
            else:
                self.expression(value)

    def window_argument(self, value: ast.Expression | ast.Spread, formal: ast.Formal) -> None:
        if isinstance(value, ast.Name) and value.text in self.windows:
            return
        if isinstance(value, ast.Name) and value.text not in self.names:
            self.name(value)
            return
        message = f"`{formal.name.text}` takes a whole window"
        self.room.tell("E0407", message, value.span, "give it a window formal, without index")

    def axis_argument(self, name: str, argument: ast.Argument) -> None:
        if not isinstance(argument.value, ast.Name):
            message = f"`{name}` takes names of axes"
            self.room.tell("E0708", message, argument.span)
        elif argument.value.text not in self.windows:
            self.axis(argument.value)

    # Statements

    def statements(self, nodes: tuple[ast.NeuronStatement, ...]) -> bool:
        """Check statements in order; whether `value` is surely set by them."""
        results = [self.statement(node) for node in nodes]
        return any(results)

    def statement(self, node: ast.NeuronStatement) -> bool:
        match node:
            case ast.Let():
                self.expression(node.value)
                self.declare(node.name)
            case ast.Assign():
                self.expression(node.value)
                return self.assign(node)
            case ast.Branch():
                self.expression(node.condition)
                then = self.child().statements(node.then)
                otherwise = self.child().statements(node.otherwise)
                if then and otherwise:
                    self.names.add("value")
                return then and otherwise
            case ast.Loop():
                self.loop(node)
        return False

    def declare(self, name: ast.Name) -> None:
        taken = name.text in self.scalars or name.text in self.windows
        if taken or name.text == "value":
            what = "an argument" if taken else "what the neuron gives"
            message = f"`{name.text}` is {what} already"
            self.room.tell("E0204", message, name.span, "choose another name")
        self.names.add(name.text)
        self.locals.add(name.text)

    def assign(self, node: ast.Assign) -> bool:
        match node.target:
            case ast.Name("value") if not self.backward and "value" in self.functions:
                pass
            case ast.Name(text) if text in self.locals:
                pass
            case ast.Name("value") if self.backward:
                message = "`value` is given in `forward`; `backward` only reads it"
                self.room.tell("E0705", message, node.target.span)
            case ast.Name("value") if self.calls is ast.Neuron and not self.locals & {"param"}:
                if node.op != "=" and "value" not in self.names:
                    message = f"`{node.op}` needs a `value` that was set before"
                    self.room.tell("E0705", message, node.target.span, "begin with `value = ...`")
                self.names.add("value")
                return True
            case ast.Name(text):
                self.not_assignable(node.target, text)
            case ast.Attribute(ast.Name() as formal, ast.Name("grad")):
                self.gradient(node, formal, ())
            case ast.Index(ast.Attribute(ast.Name() as formal, ast.Name("grad")), items):
                self.gradient(node, formal, items)
            case ast.Attribute() | ast.Index(ast.Attribute()):
                whole = node.target.value if isinstance(node.target, ast.Index) else node.target
                self.expression(whole)
            case _:
                message = "only locals can be assigned, and gradients in `backward`"
                self.room.tell("E0702", message, node.target.span)
        return False

    def not_assignable(self, target: ast.Expression, text: str) -> None:
        if text in self.scalars or text in self.windows:
            message = f"the argument `{text}` cannot be assigned"
            help = f"make a local: `let {text}2 = {text}`"
            self.room.tell("E0702", message, target.span, help)
        elif text in self.names:
            self.room.tell("E0702", f"`{text}` cannot be assigned", target.span)
        elif text not in self.room.lost | self.room.said:
            self.room.said.add(text)
            help = did_you_mean(text, [*self.locals, "value"]) or f"declare it: `let {text} = ...`"
            self.room.tell("E0701", f"unknown local `{text}`", target.span, help)
            self.names.add(text)
            self.locals.add(text)

    def gradient(self, node: ast.Assign, formal: ast.Name, items: tuple[ast.Item, ...]) -> None:
        if not self.backward:
            self.room.tell("E0703", "gradients belong in `backward`", node.target.span)
        elif formal.text not in self.scalars and formal.text not in self.windows:
            if formal.text == "value":
                message = "`value.grad` is what arrives; `backward` gives to the arguments"
                self.room.tell("E0703", message, node.target.span)
            else:
                known = [*self.scalars, *self.windows]
                self.room.unknown("E0701", "argument", formal, known)
        elif node.op not in {"+=", "-="}:
            message = "a gradient is added to, since others may flow to the same place"
            self.room.tell("E0703", message, node.target.span, "write `+=`")
        elif items and formal.text in self.scalars:
            message = f"`{formal.text}` is one value and takes no index"
            self.room.tell("E0706", message, node.target.span)
        for item in items:
            self.expression(item)

    def loop(self, node: ast.Loop) -> None:
        window = node.window
        if not isinstance(window, ast.Name) or window.text not in self.windows:
            if not (isinstance(window, ast.Name) and window.text in {*self.room.lost, "_"}):
                help = ""
                if isinstance(window, ast.Name):
                    help = did_you_mean(window.text, self.windows)
                self.room.tell("E0704", "a loop runs over a window argument", window.span, help)
        elif len(node.axes) not in {1, len(self.windows[window.text])}:
            message = f"`{window.text}` has {len(self.windows[window.text])} axes"
            span = node.axes[0].span.to(node.axes[-1].span)
            self.room.tell("E0704", f"{message}, but {len(node.axes)} names stand here", span)
        self.child(frozenset(axis.text for axis in node.axes)).statements(node.body)


def check_neuron(room: Room, neuron: ast.Neuron) -> None:
    """A neuron's names, and that it sets `value`."""
    windows = {f.name.text: f.axes for f in neuron.formals if f.axes is not None}
    scalars = frozenset(f.name.text for f in neuron.formals if f.axes is None)
    code = Code(room, {*scalars, "training"}, windows=windows, scalars=scalars)
    if not isinstance(neuron.body, ast.NeuronBody):
        code.expression(neuron.body)
        return
    for state in neuron.body.states:
        code.expression(state.value)
        code.declare(state.name)
    states = set(code.locals)
    if not code.child().statements(neuron.body.forward) and not room.is_broken(
        neuron, "E0701", "E0702"
    ):
        _value_missing(room, neuron, neuron.body)
    if neuron.body.backward is not None:
        names = {*scalars, *states, "training", "value"}
        backward = replace(code, names=names, locals=states, backward=True)
        backward.statements(neuron.body.backward)


def _value_missing(room: Room, neuron: ast.Neuron, body: ast.NeuronBody) -> None:
    sets = [node for node in body.forward if "value" in node.span.text]
    if not body.forward and body.span.text.count("forward") == 0:
        return  # told by the parser
    message = f"`{neuron.name.text}` never sets `value`"
    notes: tuple[Note, ...] = ()
    if sets:
        message = f"`{neuron.name.text}` does not always set `value`"
        notes = (Note("only some ways through this set it", sets[0].span),)
    room.tell("E0705", message, neuron.name.span, "end `forward` with `value = ...`", notes)


def check_solver(room: Room, solver: ast.Solver) -> None:
    """A solver's names; `update` may assign `param`, the states and locals."""
    scalars = frozenset(formal.name.text for formal in solver.formals)
    functions = (*MATH, "norm", "total_norm")
    code = Code(room, {*scalars, *SOLVER_NAMES}, functions=functions, scalars=scalars)
    for state in solver.states:
        code.expression(state.value)
        code.declare(state.name)
    code.locals.add("param")
    code.statements(solver.update)


def check_scalar(room: Room, definition: ast.Init | ast.Schedule) -> None:
    """The names of a one-line `init` or `schedule`."""
    names = {formal.name.text for formal in definition.formals}
    if isinstance(definition, ast.Schedule):
        code = Code(room, names | SCHEDULE_NAMES, ast.Schedule, MATH)
    else:
        code = Code(room, names, ast.Init, (*MATH, "random", "normal", "position"))
    code.expression(definition.value)


assert set(MATH) <= set(TAKES)
