"""Averages over batches of different sizes.

In: a batch's averages and how many values they stand for.  Out: the averages over all of them.

    means.add({"loss": 1.0}, 64); means.add({"loss": 4.0}, 32)   ->   means.result() = {"loss": 2.0}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class Means:
    """Sums in float64, in the order in which they are added, so that a resumed run has the same."""

    sums: dict[str, float] = field(default_factory=dict)
    weight: int = 0

    def add(self, averages: Mapping[str, float], weight: int) -> None:
        """Take in the averages over `weight` items (or steps)."""
        for name, value in averages.items():
            self.sums[name] = self.sums.get(name, 0.0) + value * weight
        self.weight += weight

    def result(self) -> dict[str, float]:
        """The averages over everything added, by name; empty if nothing was."""
        return {name: total / self.weight for name, total in self.sums.items()}
