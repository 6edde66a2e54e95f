"""Text of every form, for people: `--emit net`, `--emit program`, goldens and reports.

show(kernel)  ->
    kernel conv1.out [n: n, f: 20, y: 24, x: 24]
        conv1.out[n, f, y, x] = conv1.bias[f] + sum [c: 1, ky: 5] conv1.weight[f, c, ky] * ...
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from latte.compiler import net as forms
from latte.compiler.affine import Affine
from latte.compiler.expression import (
    Apply,
    Argument,
    Axis,
    Count,
    Expression,
    Fold,
    Guard,
    Index,
    Let,
    Load,
    Local,
    Number,
    Position,
    Random,
    Scalar,
    Training,
)
from latte.compiler.ir import Buffer, Dim, Group, Item, Kernel, Program, Serial, Write
from latte.compiler.net import Connection, Ensemble, Join, Moment, Net, Value, View

INFIX = {
    "add": ("+", 4), "sub": ("-", 4), "mul": ("*", 5), "div": ("/", 5), "floordiv": ("//", 5),
    "mod": ("%", 5), "pow": ("**", 7), "lt": ("<", 3), "le": ("<=", 3), "gt": (">", 3),
    "ge": (">=", 3), "eq": ("==", 3), "ne": ("!=", 3), "and": ("and", 2), "or": ("or", 1),
}  # fmt: skip


def show_net(net: Net) -> str:
    """The Net as text: inputs, parameters, nodes with their neurons, losses, metrics."""
    lines = [f"net {net.name}"]
    lines += [f"    input {_input(entry)}" for entry in net.inputs]
    for parameter in net.parameters:
        lines.append(
            f"    param {parameter.name}{_axes(parameter.axes)} = {show(parameter.initial)}"
            + _multiples(parameter)
        )
    for running in net.runnings:
        lines.append(f"    running {running.name}{_axes(running.axes)} = {show(running.initial)}")
    for node in net.nodes:
        lines += _node(node)
    for update in net.updates:
        place = ", ".join(map(str, update.index))
        lines.append(f"    update {update.running}[{place}] = {update.neuron.name}(")
        lines += _bindings(update.neuron, update.bindings) + _neuron(update.neuron)
    lines += [f"    loss {loss.weight:g} * {loss.node}  ({loss.name})" for loss in net.losses]
    lines += [f"    metric {metric.name} = {metric.node}" for metric in net.metrics]
    return "\n".join([*lines, f"    output {net.output}", ""])


def show_program(program: Program) -> str:
    """The Program as text: buffers, then every phase's kernels."""
    lines = [f"program {program.name}"]
    lines += [f"    {show_buffer(buffer)}" for buffer in program.buffers]
    for phase in program.phases:
        lines.append(f"phase {phase.name}")
        lines += [f"    {line}" for item in phase.items for line in show_item(item).splitlines()]
    return "\n".join([*lines, ""])


def show_buffer(buffer: Buffer) -> str:
    """One buffer: `value conv1.out[n: n, f: 20] f32 stored [f/16, n, f%16]`."""
    stored = ", ".join(_dim(buffer, dim) for dim in buffer.dims)
    text = f"{buffer.role} {buffer.name}{_axes(buffer.axes)} {buffer.element}"
    return text + (f" stored [{stored}]" if stored else "")


def show_item(item: Item) -> str:
    """A kernel, a serial loop or a group, over several lines."""
    match item:
        case Kernel():
            return _kernel(item)
        case Serial(axis, reverse, items):
            return _nested(f"serial {axis}{' reversed' if reverse else ''}", items)
        case Group(axes, items, per):
            blocks = f" of {per} items" if per else ""
            return _nested(f"group {', '.join(map(str, axes))}{blocks}", items)
        case _:
            assert_never(item)


def _nested(head: str, items: tuple[Item, ...]) -> str:
    lines = (line for item in items for line in show_item(item).splitlines())
    return "\n".join([head, *("    " + line for line in lines)])


def show(expression: Expression, level: int = 0) -> str:
    """An expression on one line, with the parentheses it needs around operators."""
    match expression:
        case Number(value):
            return f"{value:g}"
        case Position(index):
            return str(index) if len(index.terms) + bool(index.constant) < 2 else f"({index})"
        case Local(name):
            return name
        case Scalar(name):
            return f"${name}"
        case Argument(name, index) | Load(name, index):
            return name + (f"[{', '.join(map(_index, index))}]" if index else "")
        case Count(axes):
            return f"count({', '.join(axes)})"
        case Training():
            return "training"
        case Random(kind, stream, None):
            return f"{kind}#{stream}()"
        case Random(kind, stream, place):
            return f"{kind}#{stream}({place})"
        case Apply(operator, operands):
            return _apply(operator, operands, level)
        case Fold():
            text = f"{expression.operator} {_axes(expression.axes)}{_where(expression.where)}"
            return _parenthesised(f"{text} {show(expression.body, 5)}", level > 4)
        case _:
            assert_never(expression)


def _apply(operator: str, operands: tuple[Expression, ...], level: int) -> str:
    if operator in INFIX:
        sign, own = INFIX[operator]
        left, right = show(operands[0], own), show(operands[1], own + 1)
        return _parenthesised(f"{left} {sign} {right}", own < level)
    if operator == "neg":
        return _parenthesised(f"-{show(operands[0], 6)}", level > 6)
    if operator == "not":
        return _parenthesised(f"not {show(operands[0], 3)}", level > 2)
    if operator == "select":
        condition, yes, no = map(show, operands)
        return _parenthesised(f"if {condition} then {yes} else {no}", level > 0)
    return f"{operator}({', '.join(map(show, operands))})"


def _parenthesised(text: str, needed: bool) -> str:
    return f"({text})" if needed else text


def _index(entry: Index) -> str:
    return str(entry) if isinstance(entry, Affine) else show(entry)


def _axes(axes: Iterable[Axis]) -> str:
    text = ", ".join(map(str, axes))
    return f"[{text}]" if text else ""


def _where(guards: tuple[Guard, ...]) -> str:
    return f" where {', '.join(map(str, guards))}:" if guards else ""


def _dim(buffer: Buffer, dim: Dim) -> str:
    text = buffer.axes[dim.axis].name
    text += f"/{dim.divide}" if dim.divide > 1 else ""
    text += f"%{dim.modulo}" if dim.modulo else ""
    text += f"+{dim.before}" if dim.before else ""
    return f"{text}: {dim.extent}"


def _kernel(kernel: Kernel) -> str:
    axes = ", ".join(map(str, kernel.axes))
    head = f"kernel {kernel.name} [{axes}]{_where(kernel.where)}".rstrip(":")
    lines = [head + (f"  # {kernel.reason}" if kernel.reason else "")]
    lines += [f"    {_let(let)}" for let in kernel.lets]
    lines += [f"    {_write(write)}" for write in kernel.writes]
    return "\n".join(lines)


def _let(let: Let) -> str:
    return f"let {let.name} = {show(let.expression)}"


def _write(write: Write) -> str:
    place = f"[{', '.join(map(_index, write.index))}]" if write.index else ""
    return f"{write.buffer}{place} {'+=' if write.add else '='} {show(write.expression)}"


def _input(entry: forms.Input) -> str:
    axes = ", ".join((["@time"] if entry.time else []) + [str(axis) for axis in entry.axes])
    text = entry.name + (f"[{axes}]" if axes else "")
    return text + (f": class({entry.classes})" if entry.classes is not None else "")


def _multiples(parameter: forms.Parameter) -> str:
    if (parameter.rate, parameter.decay) == (1.0, 1.0):
        return ""
    return f" with rate {parameter.rate:g}, decay {parameter.decay:g}"


def _node(node: forms.Node) -> list[str]:
    hidden = [name for name, here in (("n", node.batch), ("t", node.time)) if here]
    axes = ", ".join(hidden + [str(axis) for axis in node.axes])
    match node:
        case Ensemble():
            head = f"    ensemble {node.name}[{axes}] = {node.neuron.name}("
            return [head, *_bindings(node.neuron, node.bindings), *_neuron(node.neuron)]
        case Join():
            parts = ", ".join(node.parts)
            return [f"    join {node.name}[{axes}] = {parts} along {node.axes[node.axis].name}"]
        case View():
            place = ", ".join(map(str, node.index))
            return [f"    view {node.name}[{axes}] = {node.source}[{place}]"]
        case _:
            assert_never(node)


def _bindings(neuron: forms.Neuron, bindings: tuple[forms.Binding, ...]) -> list[str]:
    rows = []
    for formal, binding in zip(neuron.formals, bindings, strict=True):
        sees = _connection(binding) if isinstance(binding, Connection) else show(binding)
        rows.append(f"        {formal.name}{_axes(formal.axes)} = {sees}")
    return [*rows, "    )"]


def _connection(connection: Connection) -> str:
    source = connection.source
    if connection.moment is not Moment.SAME:
        source = f"{connection.moment.value}({source})"
    if connection.item is not None:
        source = f"items({source})"
    shown = [entry for entry in (connection.item, connection.step) if entry is not None]
    places = [*map(str, shown), *map(_place, connection.index)]
    text = source + (f"[{', '.join(places)}]" if places else "")
    start = connection.initial
    return text + (f" from {_connection(start)}" if start is not None else "")


def _place(entry: Affine | Value) -> str:
    match entry:
        case Value(connection, offset):
            text = _connection(connection)
            return text if offset == Affine((), 0) else f"{text} + {offset}"
        case _:
            return str(entry)


def _neuron(neuron: forms.Neuron) -> list[str]:
    lines = [f"        {_let(let)}" for let in neuron.lets]
    lines.append(f"        value = {show(neuron.value)}")
    if neuron.backward is None:
        return lines
    lines += [f"        backward {_let(let)}" for let in neuron.backward.lets]
    for item in neuron.backward.contributions:
        place = f"[{', '.join(map(_index, item.index))}]" if item.index else ""
        lines.append(f"        {item.formal}.grad{place} += {show(item.expression)}")
    return lines
