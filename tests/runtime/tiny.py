"""A linear regression as a Net and a Program written by hand: y = w . x, momentum."""

from typing import Any

from latte.compiler.affine import axis
from latte.compiler.expression import Apply, Axis, Expression, Fold, Load, Local, Number, Random
from latte.compiler.expression import Scalar as Run_time
from latte.compiler.ir import Buffer, Kernel, Phase, Program, Write
from latte.compiler.lower import lower
from latte.compiler.net import (
    Ensemble,
    Hyper,
    Input,
    Loss,
    Net,
    Neuron,
    Parameter,
    Solver,
    State,
    Training,
)
from latte.runtime.cpu import Native

N, J = axis("n"), axis("i")


def net(width: int = 3) -> Net:
    """What elaborate would make of `input x[width]; y = w . x; loss (y - target)^2`."""
    own = (Axis("i", width),)
    nothing = Neuron("Hidden", (), (), Number(0.0))
    t = Apply("mul", (Number(0.01), Apply("add", (Number(1.0), Local("t")))))
    solver = Solver(
        "Momentum",
        (Hyper("rate", t), Hyper("momentum", Number(0.5))),
        (State("history", Number(0.0)),),
        (),
        (),
    )
    return Net(
        "Tiny",
        (Input("x", own), Input("target", ())),
        (Parameter("w", own, Random("uniform", 0)),),
        (),
        (Ensemble("y", (), nothing, (), True), Ensemble("square", (), nothing, (), True)),
        (),
        (Loss("square", "square"),),
        (),
        Training(solver),
        (("y", "y"),),
        "y",
    )


def program(batch: int = 8, width: int = 3) -> Program:
    """What synthesize would make of it."""
    n, i = Axis("n", batch, "n"), Axis("i", width)
    buffers = (
        Buffer("x", (n, i), "input", "x"),
        Buffer("target", (n,), "input", "target"),
        Buffer("w", (i,), "parameter", "w"),
        Buffer("w.grad", (i,), "parameter gradient", "w"),
        Buffer("w/history", (i,), "state", "w"),
        Buffer("y", (n,), "value", "y"),
        Buffer("y.grad", (n,), "gradient", "y"),
        Buffer("square", (n,), "value", "square"),
        Buffer("result.loss", (), "result", "loss"),
        Buffer("result.square", (), "result", "square"),
    )
    y = Kernel("y", (n,), (), (Write("y", (N,), _sum(i, "w", (J,), "x", (N, J))),))
    error = Apply("sub", (Load("y", (N,)), Load("target", (N,))))
    square = Kernel("square", (n,), (), (Write("square", (N,), Apply("mul", (error, error))),))
    mean = Apply("div", (Fold("sum", (n,), Load("square", (N,))), Run_time("items")))
    loss = Kernel(
        "loss", (), (), (Write("result.loss", (), mean), Write("result.square", (), mean))
    )
    slope = Apply("div", (Apply("mul", (Number(2.0), error)), Run_time("items")))
    gradient = Kernel("y.grad", (n,), (), (Write("y.grad", (N,), slope),))
    total = _sum(n, "y.grad", (N,), "x", (N, J))
    weights = Kernel("w.grad", (i,), (), (Write("w.grad", (J,), total),))
    forward, backward = (y, square, loss), (gradient, weights)
    update = (_momentum(i),)
    phases = (
        Phase("forward", forward),
        Phase("backward", backward),
        Phase("update", update),
        Phase("step", forward + backward + update),
        Phase("infer", forward),
        Phase("predict", (y,)),
    )
    scalars = ("items", "solver.rate", "solver.momentum")
    return Program("Tiny", buffers, phases, scalars)


def native(program: Program, **options: Any) -> Native:
    """The Program as machine code, by the lowering that takes any kernel."""
    return Native(program, lower, **options)


def _sum(over: Axis, a: str, at: tuple, b: str, to: tuple) -> Expression:
    return Fold("sum", (over,), Apply("mul", (Load(a, at), Load(b, to))))


def _momentum(i: Axis) -> Kernel:
    old = Apply("mul", (Run_time("solver.momentum"), Load("w/history", (J,))))
    new = Apply("mul", (Run_time("solver.rate"), Load("w.grad", (J,))))
    history = Apply("add", (old, new))
    changed = Apply("sub", (Load("w", (J,)), history))
    return Kernel("w", (i,), (), (Write("w/history", (J,), history), Write("w", (J,), changed)))
