"""The solver's part of the update phase: a kernel for each parameter.

    history = momentum * history + rate * (grad + decay * param);  param -= history
->
    kernel conv1.weight.update [i0: 20, i1: 1, ...]
        let history = $solver.momentum * conv1.weight/history[i0, i1] + ...
        conv1.weight/history[i0, i1] = history
        conv1.weight[i0, i1] = conv1.weight[i0, i1] - history

Arguments of the solver are scalars known when the program runs, so that one compiled program serves
every schedule and every search of hyper-parameters. Norms are computed before anything changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

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
from latte.compiler.ir import Buffer, Kernel, Write
from latte.compiler.net import Norm, Parameter, Solver
from latte.compiler.rewrite import substitute_locals
from latte.compiler.simplify import simplify, used_lets


@dataclass(frozen=True, slots=True)
class SolverUpdate:
    """What the update phase needs for the solver; `scalars` are the names of its arguments."""

    buffers: tuple[Buffer, ...]
    kernels: tuple[Kernel, ...]
    scalars: tuple[str, ...]


def solver_update(solver: Solver, parameters: Iterable[Parameter]) -> SolverUpdate:
    """Norms, then an update of every parameter (each has a gradient buffer NAME.grad)."""
    learned = tuple(parameters)
    buffers: list[Buffer] = []
    kernels: list[Kernel] = []
    for norm in solver.norms:
        made = _norm(solver, norm, learned)
        buffers += made.buffers
        kernels += made.kernels
    for parameter in learned:
        for state in solver.states:
            name = f"{parameter.name}/{state.name}"
            buffers.append(Buffer(name, parameter.axes, "state", parameter.name))
        kernels.append(_update(solver, parameter))
    scalars = ("update", *(f"solver.{hyper.name}" for hyper in solver.hypers))
    return SolverUpdate(tuple(buffers), tuple(kernels), scalars)


def _update(solver: Solver, parameter: Parameter) -> Kernel:
    """Assignments become lets with fresh names; the last value of each target is written."""
    axes = _axes(parameter)
    place = tuple(axis(entry.name) for entry in axes)
    values = _known(solver, parameter, axes)
    lets: list[Let] = []
    for number, assignment in enumerate(solver.assignments):
        expression = simplify(substitute_locals(assignment.expression, values))
        name = f"{assignment.target}.{number}"
        lets.append(Let(name, expression))
        values[assignment.target] = Local(name)
    targets = {"param": parameter.name}
    targets |= {state.name: f"{parameter.name}/{state.name}" for state in solver.states}
    writes = tuple(
        Write(buffer, place, values[target])
        for target, buffer in targets.items()
        if isinstance(values[target], Local)
    )
    used = used_lets(tuple(lets), tuple((write.expression,) for write in writes))
    name = f"{parameter.name}.update"
    return Kernel(name, axes, used, writes, origin=parameter.name, reason="update")


def _norm(solver: Solver, norm: Norm, parameters: tuple[Parameter, ...]) -> SolverUpdate:
    """Sums of squares of every parameter; their root, or the root of them all."""
    buffers, kernels = [], []
    for parameter in parameters:
        axes = _axes(parameter)
        inner = simplify(substitute_locals(norm.expression, _known(solver, parameter, axes)))
        total: Expression = Fold("sum", axes, Apply("mul", (inner, inner)))
        name = _norm_name(norm, parameter, total=norm.total)
        buffers.append(Buffer(name, (), "scratch", parameter.name))
        value = total if norm.total else Apply("sqrt", (total,))
        kernels.append(Kernel(name, (), (), (Write(name, (), value),), reason="update"))
    if norm.total:
        name = f"solver/{norm.name}"
        buffers.append(Buffer(name, (), "scratch", "solver"))
        value = Apply("sqrt", (_sum(Load(buffer.name, ()) for buffer in buffers[:-1]),))
        kernels.append(Kernel(name, (), (), (Write(name, (), value),), reason="update"))
    return SolverUpdate(tuple(buffers), tuple(kernels), ())


def _known(solver: Solver, parameter: Parameter, axes: tuple[Axis, ...]) -> dict[str, Expression]:
    """What each name of the solver's body stands for, before the first assignment."""
    place = tuple(axis(entry.name) for entry in axes)
    values: dict[str, Expression] = {
        "param": Load(parameter.name, place),
        "grad": Load(f"{parameter.name}.grad", place),
        "t": Scalar("update"),
    }
    for state in solver.states:
        values[state.name] = Load(f"{parameter.name}/{state.name}", place)
    multiples = {"rate": parameter.rate, "decay": parameter.decay}
    for hyper in solver.hypers:
        factor = Number(multiples.get(hyper.name, 1.0))
        values[hyper.name] = simplify(Apply("mul", (Scalar(f"solver.{hyper.name}"), factor)))
    for norm in solver.norms:
        values[norm.name] = Load(_norm_name(norm, parameter), ())
    return values


def _norm_name(norm: Norm, parameter: Parameter, total: bool = False) -> str:
    """The scratch buffer of a norm; with `total`, of this parameter's share of it."""
    return f"solver/{norm.name}" if norm.total and not total else f"{parameter.name}/{norm.name}"


def _axes(parameter: Parameter) -> tuple[Axis, ...]:
    """The parameter's axes under names of their own: `weight[size, size]` has two of one name."""
    return tuple(Axis(f"i{place}", entry.size) for place, entry in enumerate(parameter.axes))


def _sum(terms: Iterable[Expression]) -> Expression:
    total: Expression = Number(0.0)
    for term in terms:
        total = simplify(Apply("add", (total, term)))
    return total
