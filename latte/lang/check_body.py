"""Checks of what is built: the bodies of layers and nets, and `train`.

In: a definition.  Out: diagnostics about its names, calls and statements. Sizes play no part.

    conv2 = Conv(poool1, 50, kernel = 5)   ->   E0312: unknown ensemble `poool1`
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from latte.errors import Note, Span, closest
from latte.lang import ast
from latte.lang.room import MATH, TAKES, Callable, Room, match, match_function
from latte.lang.statements import BELONGS

VIEWS = ("join", "reshape", "flatten", "transpose", "items", "prev", "next", "last", "steps")
BUILT = (*MATH, *VIEWS, "random", "normal", "size", "count", "classes", "position")
STATEMENTS = {kind.lower(): form for kind, (_, form) in BELONGS.items()}
FREE: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Body:
    """A layer or net under check, with all names that its body binds, wherever they stand."""

    room: Room
    owner: ast.Layer | ast.Net
    names: frozenset[str]
    runnings: frozenset[str]

    # Statements

    def statement(self, node: ast.Statement) -> None:
        match node:
            case ast.Require():
                self.size(node.condition)
            case ast.Param():
                self.items(node.shape)
                self.initial(node.value)
                for factor in (node.rate, node.decay):
                    if factor:
                        self.size(factor)
            case ast.Running():
                self.items(node.shape)
                self.initial(node.value)
            case ast.Ensemble():
                self.ensemble(node)
            case ast.Update():
                self.update(node)
            case ast.Input():
                self.only_in_net(node, "input")
                self.items(node.shape)
                if node.classes:
                    self.size(node.classes)
            case ast.Loss() | ast.Metric():
                self.only_in_net(node, type(node).__name__.lower())
                self.value(node.value)
            case ast.Bind():
                self.value(node.value)
            case ast.If():
                self.size(node.condition)
                for inner in (*node.then, *node.otherwise):
                    self.statement(inner)
            case ast.For():
                self.items((node.range,))
                for inner in node.body:
                    self.statement(inner)

    def only_in_net(self, node: ast.Statement, word: str) -> None:
        if isinstance(self.owner, ast.Layer):
            span = Span(node.span.source, node.span.start, node.span.start + len(word))
            help = f"`{word}` stands in a net; a layer gets its sources as arguments"
            if word != "input":
                help = f"`{word}` stands in a net; let the layer give the values as its `out`"
            self.room.tell("E0107", f"`{word}` cannot stand in a layer", span, help)

    def ensemble(self, node: ast.Ensemble) -> None:
        for axis in node.axes:
            self.size(axis.size)
        axes = frozenset(axis.name.text for axis in node.axes)
        self.distinct([axis.name for axis in node.axes], "axis")
        name = node.call.function
        neuron = self.room.find(ast.Neuron, name.text)
        if neuron is None:
            self.unknown_neuron(name)
        else:
            match(self.room, node.call, neuron)
        for argument in node.call.arguments:
            if not isinstance(argument.value, ast.String):
                self.value(argument.value, axes)

    def unknown_neuron(self, name: ast.Name) -> None:
        help = ""
        if self.room.find(ast.Layer, name.text):
            help = f"`{name.text}` is a layer; call it without `ensemble`: `x = {name.text}(...)`"
        elif name.text in TAKES:
            help = f"`{name.text}` is a function; write a neuron around it"
        self.room.unknown(
            "E0302", "neuron", name, [] if help else self.room.names(ast.Neuron), help
        )

    def update(self, node: ast.Update) -> None:
        axes = [item for item in node.items if isinstance(item, ast.Name)]
        for item in node.items:
            if not isinstance(item, ast.Name | ast.Spread):
                message = "here stand names of axes, as in `update mean[c] = ...`"
                self.room.tell("E0602", message, item.span)
        names = [a.text for a in axes] + [
            i.name.text for i in node.items if isinstance(i, ast.Spread)
        ]
        if node.name.text not in self.runnings:
            if node.name.text in self.names:
                message = f"`{node.name.text}` is no running value"
                help = f"declare it: `running {node.name.text} = 0`"
                self.room.tell("E0310", message, node.name.span, help)
            else:
                self.room.unknown("E0310", "running value", node.name, self.runnings)
        self.value(node.value, frozenset(names))

    def distinct(self, names: list[ast.Name], what: str) -> None:
        first: dict[str, Span] = {}
        for name in names:
            if first.setdefault(name.text, name.span) is not name.span:
                notes = (Note("first here", first[name.text]),)
                message = f"{what} `{name.text}` stands twice"
                self.room.tell("E0204", message, name.span, "rename one", notes)

    # Expressions

    def value(self, node: ast.Expression | ast.Spread, axes: frozenset[str] = FREE) -> None:
        """An expression where ensembles may stand."""
        self.expression(node, axes, "E0312", "ensemble")

    def size(self, node: ast.Expression, axes: frozenset[str] = FREE) -> None:
        """An expression of compile-time numbers, or of positions along `axes`."""
        self.expression(node, axes, "E0301", "name")

    def initial(self, node: ast.Expression) -> None:
        """The first value of a parameter or running value."""
        self.expression(node, FREE, "E0306", "name")

    def expression(
        self, node: ast.Expression | ast.Spread, axes: frozenset[str], code: str, what: str
    ) -> None:
        match node:
            case ast.Name():
                self.name(node, axes, "E0301" if code == "E0306" else code, what)
            case ast.Spread():
                self.name(node.name, axes, code, what)
            case ast.Number() | ast.Boolean() | ast.String():
                pass
            case ast.Tuple():
                for part in node.items:
                    self.expression(part, axes, code, what)
            case ast.List():
                self.items(node.items, axes)
            case ast.Unary():
                self.expression(node.operand, axes, code, what)
            case ast.Binary():
                self.expression(node.left, axes, code, what)
                self.expression(node.right, axes, code, what)
            case ast.Conditional():
                self.size(node.condition, axes)
                self.expression(node.then, axes, code, what)
                self.expression(node.otherwise, axes, code, what)
            case ast.Reduction():
                help = "write a neuron, and an ensemble that connects it"
                self.room.tell("E0405", "reductions belong in neurons", node.span, help)
            case ast.Index():
                self.expression(node.value, axes, code, what)
                self.items(node.items, axes)
            case ast.Attribute():
                self.expression(node.value, axes, "E0312", "ensemble")
            case ast.Call():
                self.call(node, axes, code)

    def items(self, nodes: tuple[ast.Item, ...], axes: frozenset[str] = FREE) -> None:
        for node in nodes:
            match node:
                case ast.Window():
                    self.size(node.start, axes)
                    self.size(node.count, axes)
                    if node.step:
                        self.size(node.step, axes)
                case ast.Range():
                    self.size(node.start, axes)
                    self.size(node.stop, axes)
                case ast.Whole() | ast.Rest():
                    pass
                case _:
                    self.expression(node, axes, "E0301", "name")

    def name(self, node: ast.Name, axes: frozenset[str], code: str, what: str) -> None:
        text = node.text
        if text in axes or text in self.names or text in {"floor", "ceil", "training"}:
            return
        if self.room.find(ast.Const, text):
            return
        help = "" if text not in {"True", "False"} else f"write `{text.lower()}`"
        if text in TAKES:
            help = f"`{text}` is a function: `{text}(...)`"
        known = [] if help else [*self.names, *axes, *self.room.names(ast.Const)]
        word = type(self.owner).__name__.lower()
        label = f"{word} `{self.owner.name.text}` binds no such name" if code == "E0312" else ""
        if form := STATEMENTS.get(text):
            help = f"`{text}` begins a statement: {form}"
        elif code == "E0312" and not help and isinstance(self.owner, ast.Net):
            help = f"bind it, or declare it: `input {text}`"
        formals = [formal.name for formal in self.owner.formals]
        places = [*formals, *(name for name, _ in bindings(self.owner.body))]
        self.room.unknown(code, what, node, known, help, label, places)

    # Calls

    def call(self, node: ast.Call, axes: frozenset[str], code: str) -> None:
        name = node.function.text
        if code == "E0306" and (init := self.room.find(ast.Init, name)):
            self.arguments(node, init, axes, sizes=True)
        elif layer := self.room.find(ast.Layer, name):
            self.arguments(node, layer, axes)
        elif name in BUILT:
            match_function(self.room, node)
            for argument in node.arguments:
                inner = "E0306" if code == "E0306" else "E0312" if name in VIEWS else code
                self.expression(
                    argument.value, axes, inner, "ensemble" if name in VIEWS else "name"
                )
        elif neuron := self.room.find(ast.Neuron, name):
            self.applied_neuron(node, neuron, axes)
        else:
            self.unknown_call(node, axes, code)

    def applied_neuron(self, node: ast.Call, neuron: ast.Neuron, axes: frozenset[str]) -> None:
        """A neuron applied to whole ensembles: all its formals are scalars."""
        window = next((formal for formal in neuron.formals if formal.axes is not None), None)
        if window:
            name = node.function.text
            message = f"the neuron `{name}` sees windows; say how it is connected"
            help = f"`ensemble out[...] = {name}(source[...], ...)`"
            self.room.tell("E0407", message, node.function.span, help)
            for argument in node.arguments:
                self.value(argument.value, axes)
        else:
            self.arguments(node, neuron, axes)

    def arguments(
        self,
        node: ast.Call,
        definition: Callable,
        axes: frozenset[str],
        sizes: bool = False,
    ) -> None:
        match(self.room, node, definition)
        named = {formal.name.text: formal for formal in definition.formals}
        places = iter(definition.formals)
        for argument in node.arguments:
            if argument.name:
                formal = named.get(argument.name.text)
            else:
                formal = next(places, None)
            if isinstance(argument.value, ast.String):
                self.path(argument)
            elif sizes:
                self.expression(argument.value, axes, "E0306", "name")
            elif formal and formal.axes is None and (formal.each or formal.default):
                self.size_or_source(argument.value, axes)
            else:
                self.value(argument.value, axes)

    def size_or_source(self, node: ast.Expression | ast.Spread, axes: frozenset[str]) -> None:
        self.expression(node, axes, "E0301", "name")

    def path(self, argument: ast.Argument) -> None:
        text = argument.value
        assert isinstance(text, ast.String)
        if not argument.name or argument.name.text != "name":
            self.room.tell("E0405", "text stands only in `name = ...`", text.span)
        elif not text.value.isidentifier() or not text.value.isascii():
            message = f'"{text.value}" cannot be part of a path'
            help = "use letters, digits and `_`, a letter first"
            self.room.tell("E0405", message, text.span, help)

    def unknown_call(self, node: ast.Call, axes: frozenset[str], code: str) -> None:
        name, room = node.function, self.room
        if code == "E0306":
            known = [*room.names(ast.Init), *MATH, "random", "normal"]
            room.unknown("E0306", "initialiser", name, known)
        elif code == "E0301":
            room.unknown("E0314", "function", name, [*BUILT])
        else:
            known = [*room.names(ast.Layer, ast.Neuron), *BUILT]
            help = f"define it: `layer {name.text}(source[i...]) {{ ... }}`"
            if room.find(ast.Init, name.text):
                help = f"`{name.text}` is an initialiser; it stands after the `=` of a `param`"
            elif name.text in self.names:
                help = f"`{name.text}` is not a layer; an index stands in square brackets"
            room.unknown("E0303", "layer", name, known, help)
        for argument in node.arguments:
            self.expression(argument.value, axes, code, "ensemble" if code == "E0312" else "name")


def check_body(room: Room, owner: ast.Layer | ast.Net) -> None:
    """All statements of a layer or net, that names are bound once, and a layer's `out`."""
    formals = [formal.name for formal in owner.formals]
    axes = [axis.name.text for formal in owner.formals for axis in formal.axes or ()]
    bound = [name.text for name, _ in bindings(owner.body)]
    runnings = [name.text for name, node in bindings(owner.body) if isinstance(node, ast.Running)]
    names = frozenset([*axes, *bound, *(formal.text for formal in formals)])
    body = Body(room, owner, names, frozenset(runnings))
    body.distinct(formals, "argument")
    _check_formals(body)
    for statement in owner.body:
        body.statement(statement)
    _bound_once(room, owner.body, {formal.text: formal.span for formal in formals}, frozenset())
    if isinstance(owner, ast.Layer) and "out" not in bound and not room.is_broken(owner, "E0204"):
        near = [name for name, _ in bindings(owner.body) if name.text == closest("out", bound)]
        help = "did you mean `out` here?" if near else "bind `out`, the layer's value"
        message = f"layer `{owner.name.text}` has no `out`"
        room.tell("E0206", message, near[0].span if near else owner.name.span, help)


def _check_formals(body: Body) -> None:
    """Defaults and `each` see the formals before them."""
    known: set[str] = set()
    axes = {a.name.text: a.name for formal in body.owner.formals for a in formal.axes or ()}
    for formal in body.owner.formals:
        if axis := axes.get(formal.name.text):
            notes = (Note("the axis", axis.span),)
            message = f"`{axis.text}` names an argument and an axis"
            body.room.tell("E0204", message, formal.name.span, "rename one", notes)
        earlier = Body(body.room, body.owner, frozenset(known), FREE)
        if formal.default:
            earlier.size(formal.default)
        if formal.each and formal.each.text not in known:
            body.room.unknown("E0305", "axis", formal.each, known)
        if formal.axes and isinstance(body.owner, ast.Net):
            message = "a net's arguments are numbers"
            body.room.tell("E0405", message, formal.span, "declare data with `input`")
        known.add(formal.name.text)
        known.update(axis.name.text for axis in formal.axes or ())


def bindings(body: tuple[ast.Statement, ...]) -> Iterator[tuple[ast.Name, ast.Statement]]:
    """All names that a body binds, also inside `if` and `for`, with their statements."""
    for node in body:
        match node:
            case ast.If():
                yield from bindings((*node.then, *node.otherwise))
            case ast.For():
                yield node.name, node
                yield from bindings(node.body)
            case ast.Loss() | ast.Metric() if node.name:
                yield node.name, node
            case ast.Param() | ast.Running() | ast.Ensemble() | ast.Input() | ast.Bind():
                yield node.name, node


def _bound_once(
    room: Room, body: tuple[ast.Statement, ...], bound: dict[str, Span], outer: frozenset[str]
) -> dict[str, Span]:
    """Tell names bound twice; a `for` may bind those of `outer` again. The names bound after."""
    for node in body:
        match node:
            case ast.If():
                then = _bound_once(room, node.then, dict(bound), outer)
                bound = then | _bound_once(room, node.otherwise, dict(bound), outer)
            case ast.For():
                inner = _bound_once(room, node.body, {node.name.text: node.name.span}, FREE)
                bound = inner | bound
            case ast.Param() | ast.Running() | ast.Ensemble() | ast.Input() | ast.Bind():
                first = bound.setdefault(node.name.text, node.name.span)
                if first is not node.name.span and node.name.text != "_":
                    notes = (Note("first bound here", first),)
                    message = f"`{node.name.text}` is bound twice"
                    help = "choose another name; only a `for` body may bind an outer name again"
                    room.tell("E0204", message, node.name.span, help, notes)
    return bound
