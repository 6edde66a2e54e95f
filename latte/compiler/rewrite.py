"""One way to walk and to change expressions: `rewrite(expression, rule)` and `children`.

rewrite(Apply("add", (x, Number(0.0))), drop_zero)  ->  x
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import assert_never

from latte.compiler.affine import Affine
from latte.compiler.expression import (
    Apply,
    Argument,
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

Rule = Callable[[Expression], Expression | None]

LEAVES = frozenset({Number, Position, Local, Scalar, Count, Training, Random})


def rewrite(expression: Expression, rule: Rule) -> Expression:
    """Applies `rule` to every node, innermost first. A rule returns the new node, or None to
    keep it; the same object comes back when nothing changed."""
    inner = _with_children(expression, lambda child: rewrite(child, rule))
    return inner if (changed := rule(inner)) is None else changed


def children(expression: Expression) -> tuple[Expression, ...]:
    """The expressions directly inside one (value-dependent indices too)."""
    if type(expression) in LEAVES:  # most are
        return ()
    match expression:
        case Apply(_, operands):
            return operands
        case Fold():
            return (expression.body,)
        case Argument(_, index) | Load(_, index):
            return tuple(entry for entry in index if not isinstance(entry, Affine))
        case Number() | Position() | Local() | Scalar() | Count() | Training() | Random():
            return ()
        case _:
            assert_never(expression)


def walk(expression: Expression) -> Iterator[Expression]:
    """Every node, outermost first."""
    waiting = [expression]
    while waiting:
        node = waiting.pop()
        yield node
        if inner := children(node):
            waiting += reversed(inner)


def substitute_axes(expression: Expression, values: dict[str, Affine]) -> Expression:
    """The expression with axis names replaced by affine expressions, in indices, positions,
    random draws and guards. Axes bound by a fold inside are left alone: they must have other
    names than those in `values`."""

    def index(entry: Index) -> Index:
        return entry.substitute(values) if isinstance(entry, Affine) else entry

    def rule(node: Expression) -> Expression | None:
        match node:
            case Load(buffer, entries):
                return Load(buffer, tuple(index(entry) for entry in entries))
            case Argument(formal, entries):
                return Argument(formal, tuple(index(entry) for entry in entries))
            case Position(place):
                return Position(place.substitute(values))
            case Random(kind, stream, place) if place is not None:
                return Random(kind, stream, place.substitute(values))
            case Fold(where=where) if where:
                return replace(node, where=substitute_guards(where, values))
            case _:
                return None

    return rewrite(expression, rule)


def substitute_guards(where: tuple[Guard, ...], values: dict[str, Affine]) -> tuple[Guard, ...]:
    """The guards with axis names replaced."""
    return tuple(replace(guard, index=guard.index.substitute(values)) for guard in where)


def substitute_locals(expression: Expression, values: dict[str, Expression]) -> Expression:
    """The expression with named locals replaced by expressions."""

    def rule(node: Expression) -> Expression | None:
        return values.get(node.name) if isinstance(node, Local) else None

    return rewrite(expression, rule)


def inline_lets(lets: tuple[Let, ...], expression: Expression) -> Expression:
    """The expression with all lets written out in it."""
    values: dict[str, Expression] = {}
    for let in lets:
        values[let.name] = substitute_locals(let.expression, values)
    return substitute_locals(expression, values)


def _with_children(
    expression: Expression, change: Callable[[Expression], Expression]
) -> Expression:
    match expression:
        case Apply(_, operands):
            changed = tuple(map(change, operands))
            same = all(new is old for new, old in zip(changed, operands, strict=True))
            return expression if same else replace(expression, operands=changed)
        case Fold():
            body = change(expression.body)
            return expression if body is expression.body else replace(expression, body=body)
        case Argument(_, index) | Load(_, index):
            entries = tuple(e if isinstance(e, Affine) else change(e) for e in index)
            same = all(new is old for new, old in zip(entries, index, strict=True))
            return expression if same else replace(expression, index=entries)
        case Number() | Position() | Local() | Scalar() | Count() | Training() | Random():
            return expression
        case _:
            assert_never(expression)
