"""A solver's update, run by the oracle, against the formula in NumPy."""

import numpy as np

from latte.codegen import interp
from latte.compiler.expression import Apply, Axis, Expression, Local, Number
from latte.compiler.ir import Buffer, Phase, Program
from latte.compiler.net import Assignment, Hyper, Norm, Parameter, Solver, State
from latte.compiler.solver import solver_update
from latte.compiler.verify import verify

PARAM, GRAD, HISTORY = Local("param"), Local("grad"), Local("history")
RATE, DECAY = Local("rate"), Local("decay")


def _mul(*factors: Expression) -> Expression:
    product = factors[0]
    for factor in factors[1:]:
        product = Apply("mul", (product, factor))
    return product


def _add(a: Expression, b: Expression) -> Expression:
    return Apply("add", (a, b))


def _run(solver: Solver, *parameters: Parameter, **scalars: float) -> interp.Arrays:
    made = solver_update(solver, parameters)
    buffers = list(made.buffers)
    for parameter in parameters:
        buffers.append(Buffer(parameter.name, parameter.axes, "parameter", parameter.name))
        name = f"{parameter.name}.grad"
        buffers.append(Buffer(name, parameter.axes, "parameter gradient", parameter.name))
    program = Program("p", tuple(buffers), (Phase("update", made.kernels),), made.scalars)
    verify(program)
    arrays = interp.allocate(program)
    for number, name in enumerate(sorted(arrays)):
        arrays[name][...] = np.arange(arrays[name].size).reshape(arrays[name].shape) + number
    known = {f"solver.{name}": value for name, value in scalars.items()} | {"update": 0.0}
    interp.run(program, "update", arrays, interp.Run(scalars=known))
    return arrays


SQUARE = (Axis("size", 2), Axis("size", 2))
GRID = np.arange(4.0).reshape(2, 2)


def test_momentum_with_multiples() -> None:
    gradient = _add(GRAD, _mul(DECAY, PARAM))
    step = _add(_mul(Number(0.5), HISTORY), _mul(RATE, gradient))
    minus = Apply("sub", (PARAM, HISTORY))
    solver = Solver(
        "Momentum",
        (Hyper("rate", Number(0.1)), Hyper("decay", Number(0.01))),
        (State("history", Number(0.0)),),
        (),
        (Assignment("history", step), Assignment("param", minus)),
    )
    arrays = _run(solver, Parameter("w", SQUARE, Number(0.0), 2.0, 3.0), rate=0.1, decay=0.01)
    w, grad, history = GRID, GRID + 1, GRID + 2  # buffers in the order of their names
    history = 0.5 * history + 0.2 * (grad + 0.03 * w)
    np.testing.assert_allclose(arrays["w/history"], history)
    np.testing.assert_allclose(arrays["w"], w - history)


def test_norms_are_of_what_was_there_before() -> None:
    both = Norm("whole", GRAD, True)
    own = Norm("own", PARAM, False)
    step = Apply("sub", (PARAM, Apply("div", (Local("own"), Local("whole")))))
    solver = Solver("Normed", (), (), (own, both), (Assignment("param", step),))
    parameters = (Parameter("a", SQUARE, Number(0.0)), Parameter("b", SQUARE, Number(0.0)))
    arrays = _run(solver, *parameters)
    a, a_grad, b, b_grad = GRID, GRID + 1, GRID + 4, GRID + 5
    whole = np.sqrt((a_grad**2).sum() + (b_grad**2).sum())
    np.testing.assert_allclose(arrays["a"], a - np.sqrt((a**2).sum()) / whole)
    np.testing.assert_allclose(arrays["b"], b - np.sqrt((b**2).sum()) / whole)
