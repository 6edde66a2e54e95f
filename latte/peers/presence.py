"""Which places of a window are connected: known when sizes are.

x[y - 1 + ky] of an axis of 5     ->     [[0 1 1], [1 1 1], ..., [1 1 0]] over (y, ky)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from latte.compiler.affine import Affine
from latte.compiler.net import Binding, Connection, Formal, Value
from latte.peers.reading import Place, Scope, place_of
from latte.peers.select import inside

Mask = tuple[NDArray[np.bool_], tuple[str, ...]]  # truths, and the labels of their axes


def presence(
    scope: Scope,
    formals: Sequence[Formal],
    bindings: Sequence[Binding],
    window: Mapping[str, Place],
    labels: frozenset[str],
) -> Mask | None:
    """Where the places that move with these labels are connected in every formal; None if
    everywhere."""
    clipped: list[tuple[Affine, int]] = []
    for formal, binding in zip(formals, bindings, strict=True):
        if isinstance(binding, Connection):
            pairs = zip(binding.window, formal.axes, strict=True)
            places = {w.name: window[a.name] for w, a in pairs if a.name in window}
            clipped += _clipped(scope, binding, places, labels)
    if not clipped:
        return None
    used = {name for place, _ in clipped for name in place.axes()}
    names = tuple(name for name in scope.sizes if name in used)
    shape = [scope.sizes[name] for name in names]
    grid = dict(zip(names, np.indices(shape, sparse=True), strict=True))
    mask = np.ones(shape, np.bool_)
    for place, size in clipped:
        values = np.asarray(place.evaluate(grid))
        mask &= (values >= 0) & (values < size)
    return mask, names


def _clipped(
    scope: Scope, connection: Connection, window: Mapping[str, Place], labels: frozenset[str]
) -> Iterator[tuple[Affine, int]]:
    """Places along the source's axes that move with the labels and can be outside, with the sizes
    of the axes."""
    source = scope.sources[connection.source]
    own = source.axes[len(source.axes) - len(connection.index) :]
    hidden = {entry.name for entry in connection.window} - window.keys()
    for entry, along in zip(connection.index, own, strict=True):
        if isinstance(entry, Value):
            if entry.offset.axes() & window.keys():
                scope.unsupported("a window that starts at a value")
            continue
        place = None if entry.axes() & hidden else place_of(scope, entry, window)
        if not isinstance(place, Affine) or not place.axes() & labels:
            continue
        if not inside(place, along.size, scope.sizes):
            yield place, along.size
