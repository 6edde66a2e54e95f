"""Made-up data that a net can learn, for trying it out and for measuring.

In: a net's inputs.  Out: a `Dataset` of the same shapes, always the same.

Each item belongs to one of a few hidden kinds. An array input is the pattern of its kind plus
noise; a class input is its kind's number, at each step one further.

    input image[1, 8, 8], label: class(10)   ->   image = pattern[kind] + noise / 2, label = kind
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from latte.compiler.net import Input
from latte.runtime.data import Array, Field, Items, item_shape

KINDS = 10
NOISES = 31  # different noises, shared by the items: it is cheap to read
ITEMS = {"train": 2000, "test": 500}
SEED = 20_16
STEPS = 8


@dataclass(frozen=True, slots=True)
class Synthetic:
    """`patterns` and `noises` by the names of the net's array inputs."""

    inputs: tuple[Input, ...]
    patterns: Mapping[str, Array]
    noises: Mapping[str, Array]
    kinds: int
    first: int
    count: int
    steps: int

    @property
    def fields(self) -> tuple[Field, ...]:
        return tuple(
            Field(
                wanted.name,
                ((self.steps,) if wanted.time else ()) + item_shape(wanted),
                np.dtype(np.float32 if wanted.classes is None else np.int32),
            )
            for wanted in self.inputs
        )

    def __len__(self) -> int:
        return self.count

    def read(self, items: Items) -> Mapping[str, Array]:
        """The items of these numbers, each a function of its number."""
        return {wanted.name: self._values(wanted, items + self.first) for wanted in self.inputs}

    def _values(self, wanted: Input, numbers: Items) -> Array:
        kinds = numbers % self.kinds
        if wanted.classes is None:
            noise = self.noises[wanted.name][numbers // self.kinds % NOISES]
            found: Array = self.patterns[wanted.name][kinds] + noise
            return found
        steps = np.arange(self.steps) if wanted.time else np.zeros(1, np.int64)
        codes = ((kinds[:, None] + steps) % wanted.classes).astype(np.int32)
        codes = codes.reshape(codes.shape + (1,) * len(wanted.axes))
        codes = np.broadcast_to(codes, codes.shape[:2] + item_shape(wanted))
        return codes if wanted.time else codes[:, 0]


def synthetic(inputs: Sequence[Input], split: str, steps: int) -> Synthetic:
    """The data for these inputs; the test split has the same patterns and other items."""
    random = np.random.Generator(np.random.Philox(key=SEED))
    kinds = min((i.classes for i in inputs if i.classes is not None), default=KINDS)
    kinds = max(1, min(kinds, KINDS))
    patterns, noises = {}, {}
    for wanted in inputs:
        if wanted.classes is None:
            shape = ((steps,) if wanted.time else ()) + item_shape(wanted)
            patterns[wanted.name] = random.standard_normal((kinds, *shape), np.float32)
            noises[wanted.name] = random.standard_normal((NOISES, *shape), np.float32) / 2
    first = 0 if split == "train" else ITEMS["train"]
    return Synthetic(tuple(inputs), patterns, noises, kinds, first, ITEMS[split], steps)
