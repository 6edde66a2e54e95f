"""Folds over the same places name their axes alike, so that one loop can compute them all.

    out[x] = max [i: 3] a[x + i];  winner[x] = argmax [k: 3] a[x + k]
->  out[x] = max [i: 3] a[x + i];  winner[x] = argmax [i: 3] a[x + i]
"""

from __future__ import annotations

from dataclasses import replace

from latte.compiler.affine import axis
from latte.compiler.expression import Expression, Fold
from latte.compiler.ir import Kernel, expressions, recomputed
from latte.compiler.rewrite import children, rewrite, substitute_axes, substitute_guards, walk


def aligned(kernel: Kernel) -> Kernel:
    """The kernel with the axes of its folds renamed after the first fold of the same sizes."""
    first: list[Fold] = []
    renamed: dict[Fold, Fold] = {}
    folds = outer_folds(tuple(expressions(kernel)))
    nested = {part for fold in folds for part in walk(fold.body) if isinstance(part, Fold)}
    for fold in folds:
        if fold in nested:
            continue
        found = (after for before in first if (after := alike(fold, before)) is not None)
        renamed[fold] = next(found, fold)
        if renamed[fold] is fold:
            first.append(fold)
    if all(before is after for before, after in renamed.items()):
        return kernel
    return recomputed(kernel, lambda expression: _renamed(expression, renamed))


def outer_folds(roots: tuple[Expression, ...]) -> list[Fold]:
    """The folds inside no other one, each once, in order."""
    found: dict[Fold, None] = {}
    for node in roots:
        if isinstance(node, Fold):
            found[node] = None
        else:
            found |= dict.fromkeys(outer_folds(children(node)))
    return list(found)


def alike(fold: Fold, model: Fold) -> Fold | None:
    """The fold with the axes of another, where their sizes are the same."""
    if fold.axes == model.axes:
        return fold
    sizes = [(entry.size, entry.symbol) for entry in fold.axes]
    if sizes != [(entry.size, entry.symbol) for entry in model.axes]:
        return None
    names = {entry.name for entry in model.axes}
    inner = (node for node in walk(fold.body) if isinstance(node, Fold))
    if any(entry.name in names for node in inner for entry in node.axes):
        return None
    values = {old.name: axis(new.name) for old, new in zip(fold.axes, model.axes, strict=True)}
    body, where = substitute_axes(fold.body, values), substitute_guards(fold.where, values)
    return replace(fold, axes=model.axes, body=body, where=where)


def _renamed(node: Expression, renamed: dict[Fold, Fold]) -> Expression:
    return rewrite(node, lambda part: renamed.get(part) if isinstance(part, Fold) else None)
