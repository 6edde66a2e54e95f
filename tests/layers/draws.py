"""Random inputs and parameters of a case: in a case and a generator, out arrays by name."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from cases import Case

Arrays = dict[str, np.ndarray]


def draw_inputs(case: Case, items: int, rng: np.random.Generator) -> Arrays:
    """`image` and the case's other inputs, for so many items."""
    kinds = {"image": case.shape, **case.inputs}
    return {name: draw(kind, items, rng) for name, kind in kinds.items()}


def draw(kind: int | tuple[int, ...], items: int, rng: np.random.Generator) -> np.ndarray:
    """Classes below `kind`, or normal numbers of a shape."""
    if isinstance(kind, int):
        return rng.integers(0, kind, items).astype(np.int32)
    return rng.normal(size=(items, *kind)).astype(np.float32)


def draw_parameters(
    parameters: Mapping[str, np.ndarray], spread: float, rng: np.random.Generator
) -> Arrays:
    """A normal value for each element of each parameter."""
    return {
        name: (spread * rng.normal(size=np.shape(value))).astype(np.float32)
        for name, value in parameters.items()
    }
