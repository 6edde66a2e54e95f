"""Takes conditions on places out of sums, so that what is left is a plain sum of products.

    sum [k] w[k] * (if t - 1 >= 0 then h[t - 1, k] else 0)
->  sum [k] where t - 1 >= 0: w[k] * h[t - 1, k]

    sum [n, t] (if t - 1 >= 0 then h[n, t - 1] else first[n]) * g[n, t]
->  (sum [n, t] where t - 1 >= 0: h[n, t - 1] * g[n, t]) + (sum [n] first[n] * g[n, 0])

    max [k] (if t + 1 < lengths[n] then h[n, t + 1, k] else 0)
->  if t + 1 < lengths[n] then max [k] where t < T - 1: h[n, t + 1, k] else 0

The guards keep every load inside its buffer even if a sum gets a kernel of its own.
"""

from __future__ import annotations

from dataclasses import replace

from latte.compiler.affine import constant
from latte.compiler.algebra import axes_of
from latte.compiler.expression import Apply, Expression, Fold, Guard, Load, Number, Position
from latte.compiler.rewrite import rewrite, substitute_axes, substitute_guards
from latte.compiler.simplify import ZERO, simplify


def separate(fold: Fold, lengths: str, steps: int) -> Expression:
    """The fold with conditions taken out. `lengths` is the buffer of how many of the `steps`
    each item has."""
    names = {entry.name for entry in fold.axes}
    condition = _condition(fold.body, names, fold.operator == "sum")
    if condition is None:
        return fold
    yes, no = (_side(fold, condition, place) for place in (1, 2))
    match condition:
        case Apply("ge", (Position(place), Number(0.0))):
            yes = _guarded(yes, Guard(place))
            no = _guarded(no, Guard(-place - 1))
            if fold.operator == "sum":
                return _added(separate_all(yes, lengths, steps), separate_all(no, lengths, steps))
        case Apply("lt", (Position(place), Load(buffer, _))) if buffer == lengths:
            yes = _guarded(yes, Guard(constant(steps - 1) - place))
        case _:
            pass
    sides = (separate_all(yes, lengths, steps), separate_all(no, lengths, steps))
    return Apply("select", (condition, *sides))


def separate_all(expression: Expression, lengths: str, steps: int) -> Expression:
    """`separate` where the expression is a fold."""
    return separate(expression, lengths, steps) if isinstance(expression, Fold) else expression


def _condition(expression: Expression, names: set[str], split: bool) -> Expression | None:
    """A select's condition that is the same all over the fold, or for sums one on a place."""
    match expression:
        case Apply("select", (condition, _, _)) if not axes_of(condition) & names:
            return condition
        case Apply("select", (Apply("ge", (Position(), Number(0.0))) as condition, _, _)) if split:
            return condition
        case Apply(_, operands):
            found = (_condition(each, names, split) for each in operands)
            return next((each for each in found if each is not None), None)
        case _:
            return None


def _side(fold: Fold, condition: Expression, place: int) -> Expression:
    """The fold where the condition is true (1) or false (2)."""

    def chosen(node: Expression) -> Expression | None:
        match node:
            case Apply("select", operands) if operands[0] == condition:
                return operands[place]
            case _:
                return None

    body = rewrite(fold.body, chosen)
    if place == 2:
        body = rewrite(body, _vanish)
    body = simplify(body)
    return ZERO if fold.operator == "sum" and body == ZERO else replace(fold, body=body)


def _vanish(node: Expression) -> Expression | None:
    """A product with the 0 that stands for what is absent is 0."""
    match node:
        case Apply("mul", (Number(0.0), _) | (_, Number(0.0))):
            return ZERO
        case _:
            return None


def _guarded(fold: Expression, guard: Guard) -> Expression:
    """The fold with one more guard; an axis that the guard leaves one position goes."""
    if not isinstance(fold, Fold):
        return fold
    match guard.index.terms:
        case ((str() as name, -1),) if guard.index.constant == 0:
            if any(entry.name == name for entry in fold.axes):
                return _at_first(fold, name)
        case _:
            pass
    return fold if guard in fold.where else replace(fold, where=(*fold.where, guard))


def _at_first(fold: Fold, name: str) -> Fold:
    values = {name: constant(0)}
    axes = tuple(entry for entry in fold.axes if entry.name != name)
    where = substitute_guards(fold.where, values)
    kept = tuple(g for g in where if not (g.index.is_constant and g.index.constant >= 0))
    body = substitute_axes(fold.body, values)
    return replace(fold, axes=axes, body=body, where=kept)


def _added(yes: Expression, no: Expression) -> Expression:
    return yes if no == ZERO else no if yes == ZERO else Apply("add", (yes, no))
