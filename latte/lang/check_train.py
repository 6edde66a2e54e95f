"""Checks of `train`: the net, the solver and its arguments, which may be schedules.

In: a train block.  Out: diagnostics about its names, such as

    solver Momentum(rate = inw(0.01))   ->   E0309: unknown schedule `inw`
"""

from __future__ import annotations

from latte.lang import ast
from latte.lang.check_body import FREE, Body
from latte.lang.room import MATH, Room, match


def check_train(room: Room, train: ast.Train) -> None:
    """That the net and the solver exist, and the solver's arguments."""
    if room.find(ast.Net, train.net.text) is None:
        room.unknown("E0304", "net", train.net, room.names(ast.Net))
    nothing = Body(room, ast.Net(train.net, (), (), span=train.span), FREE, FREE)
    for number in (train.batch, train.epochs):
        if number:
            nothing.size(number)
    if train.solver is None:
        return
    solver = room.find(ast.Solver, train.solver.function.text)
    if solver is None:
        room.unknown("E0308", "solver", train.solver.function, room.names(ast.Solver))
    else:
        match(room, train.solver, solver)
    for argument in train.solver.arguments:
        _solver_argument(room, nothing, argument.value)


def _solver_argument(room: Room, body: Body, node: ast.Expression | ast.Spread) -> None:
    """A number, or a schedule: calls are looked up among schedules."""
    match node:
        case ast.Call() if schedule := room.find(ast.Schedule, node.function.text):
            match(room, node, schedule)
            for argument in node.arguments:
                _solver_argument(room, body, argument.value)
        case ast.Call() if node.function.text not in MATH:
            room.unknown("E0309", "schedule", node.function, room.names(ast.Schedule))
        case ast.Binary():
            _solver_argument(room, body, node.left)
            _solver_argument(room, body, node.right)
        case ast.Unary():
            _solver_argument(room, body, node.operand)
        case _:
            body.size(node) if not isinstance(node, ast.Spread) else None
