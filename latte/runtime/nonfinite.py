"""Where numbers first became infinite or undefined.

In: named arrays in the order in which they were computed.  Out: the first bad number, or None.

    str(first_nonfinite("value", arrays))  ->  "value `conv1.out`[2, 0, 3, 1] is nan"
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class NonFinite:
    """The first number that is infinite or not a number: what it is of, and where."""

    kind: str
    name: str
    index: tuple[int, ...]
    value: float

    def __str__(self) -> str:
        place = f"[{', '.join(map(str, self.index))}]" if self.index else ""
        return f"{self.kind} `{self.name}`{place} is {self.value}"


def first_nonfinite(kind: str, arrays: Iterable[tuple[str, Array]]) -> NonFinite | None:
    """Looks through the arrays in order, each in row-major order."""
    for name, array in arrays:
        wrong = ~np.isfinite(array)
        if wrong.any():
            place = tuple(int(i) for i in np.argwhere(wrong)[0])
            return NonFinite(kind, name, place, float(array[place]))
    return None
