"""Which of the standard library's solvers a net's solver is, by what it does.

solver Mine(...) { state history = 0; update { history = ...; param -= history } }  ->  "Momentum"
"""

from __future__ import annotations

from functools import cache

from latte.build import elaborate, read_text
from latte.compiler.net import Solver

KNOWN = ("SGD", "Momentum", "Nesterov", "Adam", "AdamW", "RMSprop", "AdaGrad")


def solver_of(solver: Solver) -> str | None:
    """The name of the library's solver with the same states and updates; None if it is none."""
    for name in KNOWN:
        other = _library(name)
        same = (solver.states, solver.norms, solver.assignments)
        if same == (other.states, other.norms, other.assignments):
            return name
    return None


@cache
def _library(name: str) -> Solver:
    text = f"net N {{ input x\n loss x * x }}\ntrain N {{ solver {name} }}"
    return elaborate(read_text(text, "<solver>"), "N", {}).training.solver
