"""Where a kernel's axes occur: what its loads, stores, guards and numbers are functions of.

In: a kernel.  Out: `Use`s, the first write before all others.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from latte.compiler.affine import Affine
from latte.compiler.expression import Axis, Expression, Fold, Guard, Index, Load, Position, Random
from latte.compiler.ir import Kernel
from latte.compiler.lower_access import Ranges, reduce_floors, value_entries
from latte.compiler.lower_scope import Scope
from latte.compiler.rewrite import children, walk


@dataclass(frozen=True, slots=True)
class Use:
    """A place where axes occur: an access (its weight: how often a point makes it, in loops over
    the `folded` axes; `chosen` are the axes on which its value-dependent entries depend), or
    another index (weight 0)."""

    position: Affine
    weight: float
    write: bool
    axes: frozenset[str]
    values: bool
    folded: tuple[Axis, ...] = ()
    buffer: str = ""
    index: tuple[Index, ...] = ()
    chosen: frozenset[str] = frozenset()

    def through(self, views: Mapping[str, Affine], ranges: Ranges) -> Use:
        """The use after its axes are seen as expressions of other variables."""
        if not views:
            return self
        position = self.position.substitute(views)
        position = reduce_floors(position, ranges) if ranges else position
        chosen = frozenset(
            name for old in self.chosen for name in (views[old].axes() if old in views else (old,))
        )
        return replace(self, position=position, axes=position.axes(), chosen=chosen)


def find_uses(scope: Scope, kernel: Kernel) -> list[Use]:
    """All uses, the first write first."""
    return list(_uses(scope, kernel))


def expressions(kernel: Kernel) -> Iterator[Expression]:
    """All that a point computes."""
    yield from (let.expression for let in kernel.lets)
    for write in kernel.writes:
        yield write.expression
        yield from (entry for _, entry in value_entries(write.index))


def all_folds(kernel: Kernel) -> list[Fold]:
    """All folds of a kernel, those inside others too."""
    return [node for root in expressions(kernel) for node in walk(root) if isinstance(node, Fold)]


def _uses(scope: Scope, kernel: Kernel) -> Iterator[Use]:
    for write in kernel.writes:
        yield _access(scope, write.buffer, write.index, True, ())
    yield from map(_index_use, _guards(kernel.where))
    for root in expressions(kernel):
        yield from _expression_uses(scope, root, ())


def _expression_uses(scope: Scope, node: Expression, folded: tuple[Axis, ...]) -> Iterator[Use]:
    match node:
        case Load(buffer, index):
            yield _access(scope, buffer, index, False, folded)
        case Position(index):
            yield _index_use(index)
        case Random(_, _, index) if index is not None:
            yield _index_use(index)
        case Fold(_, axes, body, where):
            yield from map(_index_use, _guards(where))
            yield from _expression_uses(scope, body, (*folded, *axes))
            return
        case _:
            pass
    for child in children(node):
        yield from _expression_uses(scope, child, folded)


def _guards(where: tuple[Guard, ...]) -> tuple[Affine, ...]:
    return tuple(guard.index for guard in where)


def _index_use(index: Affine) -> Use:
    return Use(index, 0.0, False, index.axes(), False)


def _access(
    scope: Scope, buffer: str, index: tuple[Index, ...], write: bool, folded: tuple[Axis, ...]
) -> Use:
    position = scope.position(buffer, index)
    weight = float(math.prod(entry.size for entry in folded))
    entries = [entry for _, entry in value_entries(index)]
    chosen = frozenset(name for entry in entries for name in scope.free(entry))
    values = bool(entries)
    return Use(position, weight, write, position.axes(), values, folded, buffer, index, chosen)
