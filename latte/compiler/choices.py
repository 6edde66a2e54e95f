"""What a user chooses about optimisation, passed to every pass.

latte compile lenet.latte --no-fuse update      ->   Choices(without=frozenset({"update"}))
"""

from __future__ import annotations

from dataclasses import dataclass

FUSIONS = {
    "epilogue": "what follows a contraction, in its registers",
    "maps": "kernels over the same places, in one loop",
    "pool": "backward of a maximum from the pooled value and the winner alone",
    "update": "the solver behind the last sum of a gradient",
    "tiles": "windows over a contraction's rows while they are in the cache",
}


@dataclass(frozen=True, slots=True)
class Choices:
    """`keep` are buffers that stay readable after every phase, beside what a phase returns;
    `without` the passes and the kinds of `FUSIONS` that are left out."""

    keep: frozenset[str] = frozenset()
    without: frozenset[str] = frozenset()


PLAIN = Choices()
