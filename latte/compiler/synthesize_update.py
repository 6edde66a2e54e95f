"""What changes parameters and running values: the solver's kernels, one for each parameter.

    solver Momentum: history = momentum * history + rate * grad; param -= history
->  kernel w [j, i]
        let history = $solver.momentum * w/history[j, i] + $solver.rate * w.grad[j, i]
        let param = w[j, i] - history
        w/history[j, i] = history
        w[j, i] = param
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from latte.compiler.adjoint import grad
from latte.compiler.affine import axis
from latte.compiler.expression import (
    Apply,
    Axis,
    Expression,
    Fold,
    Let,
    Load,
    Local,
    Number,
    Scalar,
)
from latte.compiler.instance import Instance
from latte.compiler.ir import Item, Kernel, Write
from latte.compiler.net import Net, Norm, Parameter, Solver, Update
from latte.compiler.poly import ranges_of
from latte.compiler.rewrite import substitute_locals, walk
from latte.compiler.simplify import simplify, simplify_kernel
from latte.compiler.tables import Names, Point, Tables


def update(tables: Tables, net: Net) -> list[Item]:
    """Norms first, then every parameter, then every running value."""
    solver = net.training.solver
    items: list[Item] = [k for norm in solver.norms for k in _norm(norm, solver, net.parameters)]
    items += [_parameter(solver, entry) for entry in net.parameters]
    return items + _runnings(tables, net)


def state_name(parameter: str, state: str) -> str:
    """The buffer of a solver's state beside a parameter."""
    return f"{parameter}/{state}"


def norm_name(norm: Norm, parameter: str) -> str:
    """The buffer of a norm: of one parameter, or of all."""
    return f"norm.{norm.name}" if norm.total else f"{parameter}.norm.{norm.name}"


def part_name(norm: Norm, parameter: str) -> str:
    """The buffer of one parameter's part of a norm over all."""
    return f"{parameter}.norm.{norm.name}"


def _names(solver: Solver, entry: Parameter, axes: Sequence[Axis]) -> dict[str, Expression]:
    """What the names of a solver's body stand for, at one element."""
    index = tuple(axis(each.name) for each in axes)
    names: dict[str, Expression] = {
        "param": Load(entry.name, index),
        "grad": Load(grad(entry.name), index),
        "t": Scalar("update"),
    }
    for state in solver.states:
        names[state.name] = Load(state_name(entry.name, state.name), index)
    for hyper in solver.hypers:
        value: Expression = Scalar(f"solver.{hyper.name}")
        factor = {"rate": entry.rate, "decay": entry.decay}.get(hyper.name, 1.0)
        names[hyper.name] = simplify(_scaled(factor, value))
    for norm in solver.norms:
        names[norm.name] = Load(norm_name(norm, entry.name), ())
    return names


def _scaled(factor: float, value: Expression) -> Expression:
    return Number(0.0) if factor == 0 else Apply("mul", (Number(factor), value))


def _fresh(axes: Sequence[Axis]) -> tuple[Axis, ...]:
    names = Names()
    return tuple(names.fresh(entry) for entry in axes)


def _norm(norm: Norm, solver: Solver, parameters: Sequence[Parameter]) -> list[Kernel]:
    """The square root of a sum of squares, over each parameter or over all."""
    kernels = []
    for entry in parameters:
        axes = _fresh(entry.axes)
        value = substitute_locals(norm.expression, _names(solver, entry, axes))
        square: Expression = Apply("mul", (value, value))
        total = Fold("sum", axes, square) if axes else square
        if not norm.total:
            total = Apply("sqrt", (total,))
        write = Write(part_name(norm, entry.name), (), total)
        kernels.append(Kernel(write.buffer, (), (), (write,), (), entry.name, "norm"))
    if norm.total:
        kernels.append(_total(norm, parameters))
    return [simplify_kernel(kernel) for kernel in kernels]


def _total(norm: Norm, parameters: Sequence[Parameter]) -> Kernel:
    total: Expression = Number(0.0)
    for entry in parameters:
        total = Apply("add", (total, Load(part_name(norm, entry.name), ())))
    write = Write(norm_name(norm, ""), (), Apply("sqrt", (total,)))
    return Kernel(write.buffer, (), (), (write,), reason="norm")


def _parameter(solver: Solver, entry: Parameter) -> Kernel:
    axes = _fresh(entry.axes)
    names = _names(solver, entry, axes)
    index = tuple(axis(each.name) for each in axes)
    lets: list[Let] = []
    for assignment in solver.assignments:
        value = substitute_locals(assignment.expression, names)
        taken = {let.name for let in lets}
        name = assignment.target
        while name in taken:
            name += "'"
        lets.append(Let(name, value))
        names[assignment.target] = Local(name)
    targets = {assignment.target for assignment in solver.assignments}
    writes = [
        Write(state_name(entry.name, state.name), index, names[state.name])
        for state in solver.states
        if state.name in targets
    ]
    if "param" in targets:
        writes.append(Write(entry.name, index, names["param"]))
    kernel = Kernel(entry.name, axes, tuple(lets), tuple(writes), (), entry.name, "update")
    return simplify_kernel(kernel)


@dataclass(frozen=True, slots=True)
class _Change:
    """A running value's update: its kernel, and whether another one still reads the old value."""

    kernel: Kernel
    running: str


def _runnings(tables: Tables, net: Net) -> list[Item]:
    """All from the values before: where one update reads what another changes, new values wait
    in scratch buffers until all are computed."""
    changes = [_Change(_running(tables, entry), entry.running) for entry in net.updates]
    if not any(_conflict(change, changes) for change in changes):
        return [change.kernel for change in changes]
    first: list[Item] = []
    last: list[Item] = []
    for change in changes:
        [write] = change.kernel.writes
        waiting = Write(new_name(change.running), write.index, write.expression)
        first.append(_with(change.kernel, waiting))
        copy = Write(write.buffer, write.index, Load(waiting.buffer, write.index))
        last.append(_with(change.kernel, copy))
    return first + last


def new_name(running: str) -> str:
    """The buffer of a running value's next value, where it has to wait."""
    return f"{running}.new"


def _with(kernel: Kernel, write: Write) -> Kernel:
    return simplify_kernel(
        Kernel(kernel.name, kernel.axes, kernel.lets, (write,), (), kernel.origin, kernel.reason)
    )


def _conflict(change: _Change, changes: Sequence[_Change]) -> bool:
    """Whether a kernel reads what another changes, or its own at another place."""
    [write] = change.kernel.writes
    bodies = [let.expression for let in change.kernel.lets] + [write.expression]
    loads = [n for body in bodies for n in walk(body) if isinstance(n, Load)]
    others = {other.running for other in changes if other is not change}
    return any(
        load.buffer in others or (load.buffer == change.running and load.index != write.index)
        for load in loads
    )


def _running(tables: Tables, entry: Update) -> Kernel:
    names = Names()
    axes = tuple(names.fresh(each) for each in entry.axes)
    places = {a.name: axis(b.name) for a, b in zip(entry.axes, axes, strict=True)}
    body = Instance(
        tables, entry.neuron, entry.bindings, entry.axes, Point(places), names,
        ranges_of(axes), {}, {},
    )  # fmt: skip
    lets = tuple(Let(let.name, body.expression(let.expression)) for let in entry.neuron.lets)
    index = tuple(each.substitute(places) for each in entry.index)
    write = Write(entry.running, index, body.expression(entry.neuron.value))
    kernel = Kernel(entry.running, axes, lets, (write,), (), entry.running, "update")
    return simplify_kernel(kernel)
