"""A solver that PyTorch does not have, as a PyTorch optimizer: its update, array by array.

    update { history = momentum * history + grad;  param -= rate * history }
->  history = momentum * history + grad;  param = param - rate * history
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from latte.compiler.expression import Apply, Expression, Local, Number
from latte.compiler.net import Solver
from latte.errors import fail
from latte.peers.needs import needed
from latte.peers.torch_text import CALLS, INFIX

NAMES = {
    "neg": "Neg", "exp": "Exp", "log": "Log", "sqrt": "Sqrt", "tanh": "Tanh", "abs": "Abs",
    "sigmoid": "Sigmoid", "floor": "Floor", "erf": "Erf", "sin": "Sin", "cos": "Cos", "add": "Add",
    "sub": "Sub", "mul": "Mul", "div": "Div", "lt": "Less", "le": "LessOrEqual", "gt": "Greater",
    "ge": "GreaterOrEqual", "eq": "Equal", "and": "And", "or": "Or", "not": "Not",
    "select": "Where",
}  # fmt: skip
EXTREME = {"max": "maximum", "min": "minimum"}


def update_text(solver: Solver) -> str:
    """`def update(param, grad, state, hyper, t)`: gives the new parameter and the new states."""
    lines = ["def update(param, grad, state, hyper, t):"]
    lines += ["    v_param, v_grad, v_t = param, grad, t"]
    lines += [f"    v_{state.name} = state[{state.name!r}]" for state in solver.states]
    lines += [f"    v_{hyper.name} = hyper[{hyper.name!r}]" for hyper in solver.hypers]
    for norm in solver.norms:
        if norm.total:
            _unsupported(solver, "a norm over all parameters")
        inside = _text(solver, norm.expression)
        lines.append(f"    {_name(norm.name)} = torch.linalg.vector_norm({inside})")
    for step in solver.assignments:
        lines.append(f"    {_name(step.target)} = {_text(solver, step.expression)}")
    states = ", ".join(f"{state.name!r}: v_{state.name}" for state in solver.states)
    return "\n".join([*lines, f"    return v_param, {{{states}}}", ""])


def _name(local: str) -> str:
    """The variable that a local of the solver is: no name of Python's or of a module."""
    return f"v_{local.replace('.', '_')}"


def _text(solver: Solver, expression: Expression) -> str:
    match expression:
        case Number(value):
            return f"torch.tensor({value!r})"
        case Local(name):
            return _name(name)
        case Apply("pow", (base, power)):
            return f"({_text(solver, base)}) ** ({_text(solver, power)})"
        case Apply(operator, operands):
            parts = [f"({_text(solver, operand)})" for operand in operands]
            kind = NAMES.get(operator, "")
            if operator in EXTREME:
                return f"torch.{EXTREME[operator]}({', '.join(parts)})"
            if kind in INFIX:
                return f" {INFIX[kind]} ".join(parts)
            if kind in CALLS:
                return f"{CALLS[kind]}({', '.join(parts)})"
    return _unsupported(solver, f"`{type(expression).__name__.lower()}` in its update")


def _unsupported(solver: Solver, what: str) -> str:
    fail("E0960", f"solver `{solver.name}` has no peer operation: {what}")


class OwnSolver:
    """An optimizer for these parameters, each with multiples of the solver's rate and decay."""

    def __init__(
        self, solver: Solver, learned: list[tuple[Any, Any]], hypers: Mapping[str, float]
    ) -> None:
        self._torch = needed("torch")
        space: dict[str, Any] = {"torch": self._torch, "F": self._torch.nn.functional}
        exec(update_text(solver), space)
        self._update, self._hypers, self._count = space["update"], dict(hypers), 0
        self.param_groups: list[dict[str, Any]] = [{"lr": hypers.get("rate", 1.0)}]
        self._learned = [(entry, weight, self._states(solver, weight)) for entry, weight in learned]

    def _states(self, solver: Solver, weight: Any) -> dict[str, Any]:
        """The solver's arrays beside one parameter, with their first values."""
        found = {}
        for state in solver.states:
            if not isinstance(state.initial, Number):
                _unsupported(solver, f"the first value of `{state.name}`")
            value = getattr(state.initial, "value", 0.0)
            found[state.name] = self._torch.full_like(weight, value, requires_grad=False)
        return found

    def zero_grad(self) -> None:
        for _, weight, _ in self._learned:
            weight.grad = None

    def step(self) -> None:
        """One update of all parameters."""
        tensor, rate = self._torch.tensor, self.param_groups[0]["lr"]
        with self._torch.no_grad():
            for entry, weight, state in self._learned:
                given = self._hypers | {"rate": rate * entry.rate}
                given["decay"] = self._hypers.get("decay", 0.0) * entry.decay
                hyper = {name: tensor(float(value)) for name, value in given.items()}
                found = self._update(weight, weight.grad, state, hyper, tensor(float(self._count)))
                weight.copy_(found[0])
                state.update(found[1])
        self._count += 1
