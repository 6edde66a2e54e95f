"""Computes what inner loops do not change before they are opened.

In: expressions and a scope with some axes bound.  Out: values in the scope, found again by
identity. A softmax's maximum and sum are computed once for each item, an address once a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from latte.compiler.expression import Apply, Expression, Fold, Load, Local, Number, Position, Scalar
from latte.compiler.lower_access import inside, value_entries
from latte.compiler.lower_interior import conditions
from latte.compiler.lower_memory import Evaluate
from latte.compiler.lower_scope import Scope
from latte.compiler.rewrite import children


def stage(scope: Scope, expressions: list[Expression], certain: bool, evaluate: Evaluate) -> None:
    """Computes now, once for all inner loops, the parts of expressions that depend on bound axes
    only. `certain` says that each of them is computed anyway: then it may read anything."""
    stager = _Stager(scope, evaluate)
    for expression in expressions:
        stager.stage(expression, certain)


@dataclass(slots=True)
class _Stager:
    """`seen` are the expressions that were looked at, by identity, and whether they were certain:
    lets use each other many times."""

    scope: Scope
    evaluate: Evaluate
    seen: dict[int, bool] = field(default_factory=dict)

    def stage(self, expression: Expression, certain: bool) -> None:
        seen = self.seen.get(id(expression))
        if seen or seen is certain:
            return
        self.seen[id(expression)] = certain
        if id(expression) in self.scope.known or isinstance(expression, Number | Position | Scalar):
            return
        if isinstance(expression, Local):
            self.stage(self.scope.lets[expression.name], certain)
            return
        if conditions(expression) is not None:
            return  # asked where it is needed: inside, not at all
        if self.scope.free(expression) <= self.scope.bound and (
            certain or harmless(self.scope, expression)
        ):
            self.evaluate(self.scope, expression)
            return
        self._parts(expression, certain)

    def _parts(self, expression: Expression, certain: bool) -> None:
        match expression:
            case Apply("select", (condition, yes, no)):
                self.stage(condition, certain)
                self.stage(yes, False)
                self.stage(no, False)
            case Apply(_, operands):
                for operand in operands:
                    self.stage(operand, certain)
            case Load(_, index):
                for _, entry in value_entries(index):
                    self.stage(entry, certain)
            case Fold(_, _, body):
                self.stage(body, False)
            case _:
                pass


def certain_folds(expression: Expression) -> Iterator[Fold]:
    """The folds that are computed wherever an expression is, those inside folds apart."""
    match expression:
        case Fold():
            yield expression
        case Apply("select", (condition, _, _)):
            yield from certain_folds(condition)
        case _:
            for child in children(expression):
                yield from certain_folds(child)


def certain_locals(scope: Scope, expressions: Iterable[Expression]) -> frozenset[str]:
    """The lets that are computed wherever the expressions are, those inside folds apart."""
    found: set[str] = set()
    waiting = list(expressions)
    while waiting:
        match waiting.pop():
            case Local(name) if name not in found:
                found.add(name)
                waiting.append(scope.lets[name])
            case Apply("select", (condition, _, _)):
                waiting.append(condition)
            case Fold() | Local():
                pass
            case other:
                waiting += children(other)
    return frozenset(found)


def harmless(scope: Scope, expression: Expression) -> bool:
    """Whether it can be computed where its value may not be wanted: no loop, and all it reads is
    inside its buffers."""
    waiting, met = [expression], set[str]()
    while waiting:
        node = waiting.pop()
        match node:
            case Load(buffer, index):
                logical = scope.storage(buffer).buffer
                if value_entries(index) or not inside(logical, index, scope.ranges):
                    return False
            case Local(name):
                if name not in scope.locals and name not in met:
                    met.add(name)
                    waiting.append(scope.lets[name])
            case Fold():
                return False
            case _:
                waiting += children(node)
    return True
