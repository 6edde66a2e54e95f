"""What simplify may do, and what it must leave alone."""

import pytest

from latte.compiler.affine import constant
from latte.compiler.expression import Apply, Expression, Let, Load, Local, Number, Position
from latte.compiler.show import show
from latte.compiler.simplify import simplify, used_lets

X = Load("x", ())
Y = Load("y", ())


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        (Apply("add", (Apply("mul", (X, Number(1.0))), Number(0.0))), "x"),
        (Apply("sub", (Number(0.0), X)), "-x"),
        (Apply("neg", (Apply("neg", (X,)),)), "x"),
        (Apply("pow", (X, Number(2.0))), "x * x"),
        (Apply("select", (Number(1.0), X, Y)), "x"),
        (Apply("select", (Apply("lt", (Number(2.0), Number(1.0))), X, Y)), "y"),
        (Apply("sqrt", (Number(16.0),)), "4"),
        (Position(constant(3)), "3"),
        (Apply("mul", (X, Number(0.0))), "x * 0"),
        (Apply("log", (Number(0.0),)), "log(0)"),
        (Apply("stop", (Number(2.0),)), "stop(2)"),
    ],
)
def test_simplify(expression: Expression, text: str) -> None:
    assert show(simplify(expression)) == text


def test_lets_used_through_lets_are_kept() -> None:
    lets = (Let("a", X), Let("b", Local("a")), Let("c", Y))
    assert used_lets(lets, ((Local("b"),),)) == lets[:2]
