"""Algebra that never changes a value: constants are folded, neutral operands dropped.

    simplify(x * 1 + 0)                  ->  x
    simplify(if true then a else b)      ->  a

`x * 0` stays: it is NaN for an infinite x. What a select does not choose is never evaluated, so a
constant condition removes the other side.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import replace

from latte.compiler.affine import Affine
from latte.compiler.expression import Apply, Expression, Fold, Let, Local, Number, Position
from latte.compiler.ir import Kernel, Program, Write, changed
from latte.compiler.rewrite import rewrite, walk

ZERO, ONE = Number(0.0), Number(1.0)


def simplify(expression: Expression) -> Expression:
    """The expression with every rule of this file applied, innermost first."""
    return rewrite(expression, _rule)


def simplify_program(program: Program) -> Program:
    """Every kernel of a Program simplified; lets nobody uses are dropped."""
    phases = tuple(
        replace(phase, items=changed(phase.items, simplify_kernel)) for phase in program.phases
    )
    return program if phases == program.phases else replace(program, phases=phases)


def simplify_kernel(kernel: Kernel) -> Kernel:
    """One kernel simplified; lets nobody uses are dropped."""
    writes = tuple(replace(write, expression=simplify(write.expression)) for write in kernel.writes)
    lets = tuple(Let(let.name, simplify(let.expression)) for let in kernel.lets)
    lets = used_lets(lets, tuple(_expressions(write) for write in writes))
    return replace(kernel, lets=lets, writes=writes)


def used_lets(lets: tuple[Let, ...], users: tuple[tuple[Expression, ...], ...]) -> tuple[Let, ...]:
    """The lets that the users need, directly or through other lets, in their order."""
    needed = {name for group in users for user in group for name in _locals(user)}
    kept: list[Let] = []
    for let in reversed(lets):
        if let.name in needed:
            needed |= _locals(let.expression)
            kept.append(let)
    return tuple(reversed(kept))


def _expressions(write: Write) -> tuple[Expression, ...]:
    return (write.expression, *(e for e in write.index if not isinstance(e, Affine)))


def _locals(expression: Expression) -> set[str]:
    return {node.name for node in walk(expression) if isinstance(node, Local)}


def _rule(expression: Expression) -> Expression | None:
    match expression:
        case Position(index) if index.is_constant:
            return Number(float(index.constant))
        case Apply(name, operands) if all(isinstance(o, Number) for o in operands):
            return _constant(name, tuple(o.value for o in operands if isinstance(o, Number)))
        case Apply("add", (x, Number(0.0))) | Apply("add", (Number(0.0), x)):
            return x
        case Apply("sub", (x, Number(0.0))):
            return x
        case Apply("sub", (Number(0.0), x)):
            return Apply("neg", (x,))
        case Apply("mul", (x, Number(1.0))) | Apply("mul", (Number(1.0), x)):
            return x
        case Apply("mul", (x, Number(-1.0))) | Apply("mul", (Number(-1.0), x)):
            return Apply("neg", (x,))
        case Apply("div", (x, Number(1.0))) | Apply("pow", (x, Number(1.0))):
            return x
        case Apply("pow", (x, Number(2.0))):
            return Apply("mul", (x, x)) if not any(isinstance(n, Fold) for n in walk(x)) else None
        case Apply("neg", (Apply("neg", (x,)),)):
            return x
        case Apply("select", (Number(condition), yes, no)):
            return yes if condition else no
        case Apply("select", (_, yes, no)) if yes == no:
            return yes
        case Apply("and", (Number(c), x)) | Apply("and", (x, Number(c))):
            return x if c else ZERO
        case Apply("or", (Number(c), x)) | Apply("or", (x, Number(c))):
            return ONE if c else x
        case Fold(_, (), body, ()) if not expression.operator.startswith("arg"):
            return body
        case _:
            return None


CONSTANT: dict[str, Callable[..., float]] = {
    "neg": operator.neg, "not": operator.not_, "exp": math.exp, "log": math.log,
    "sqrt": math.sqrt, "tanh": math.tanh, "abs": abs, "floor": math.floor, "erf": math.erf,
    "sin": math.sin, "cos": math.cos, "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv,
    "floordiv": operator.floordiv, "mod": operator.mod, "pow": math.pow, "min": min, "max": max,
    "lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge,
    "eq": operator.eq, "ne": operator.ne, "and": lambda x, y: bool(x and y),
    "or": lambda x, y: bool(x or y), "select": lambda c, x, y: x if c else y,
}  # fmt: skip


def _constant(name: str, operands: tuple[float, ...]) -> Number | None:
    """The value, or None where Python refuses (a logarithm of 0): left to run time."""
    if name == "stop" or any(math.isnan(value) for value in operands):
        return None
    try:
        return Number(float(CONSTANT[name](*operands)))
    except (ValueError, OverflowError, ZeroDivisionError):
        return None
