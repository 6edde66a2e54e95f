"""A text as sequences of characters, each with the one that follows it.

In: a file and a net with two class inputs over time.  Out: items of T bytes and their successors.

    "hello world", T = 4   ->   text: hell, o wo;  next: ello,  wor

A net of at least 256 classes reads bytes as they are; a smaller one the number of each byte
among those that the file has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from latte.compiler.net import Input
from latte.errors import fail
from latte.runtime.data import Array, Field, Items

TEST_PART = 10  # the last tenth of a text is for testing
STEPS = 64  # unless told otherwise


@dataclass(frozen=True, slots=True)
class Text:
    """Overlapping by nothing but one byte: item k is bytes k*steps .. (k + 1)*steps."""

    codes: NDArray[np.int32]
    steps: int

    @property
    def fields(self) -> tuple[Field, ...]:
        element = np.dtype(np.int32)
        return Field("text", (self.steps,), element), Field("next", (self.steps,), element)

    def __len__(self) -> int:
        return (len(self.codes) - 1) // self.steps

    def read(self, items: Items) -> Mapping[str, Array]:
        """The sequences of these numbers."""
        places = items[:, None] * self.steps + np.arange(self.steps)
        return {"text": self.codes[places], "next": self.codes[places + 1]}


def read_text(path: Path, split: str, inputs: Sequence[Input], steps: int) -> Text:
    """The file's split. Raises E0851 (no file), E0855 (more characters than classes)."""
    try:
        raw = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as problem:
        fail("E0851", f"`{path}` cannot be read: {problem.strerror}")
    codes = _codes(path, raw, inputs)
    border = len(codes) - len(codes) // TEST_PART
    return Text(codes[border:] if split == "test" else codes[:border], steps)


def _codes(path: Path, raw: NDArray[np.uint8], inputs: Sequence[Input]) -> NDArray[np.int32]:
    classes = min((i.classes for i in inputs if i.classes is not None and i.time), default=0)
    if not classes:
        fail("E0854", f"a net that reads `{path}` needs an input such as text[@time]: class(256)")
    if classes >= 256:
        return raw.astype(np.int32)
    present, codes = np.unique(raw, return_inverse=True)
    if len(present) > classes:
        fail(
            "E0855",
            f"`{path}` has {len(present)} different bytes, but the net has {classes} classes",
            help=f"give its inputs class({len(present)}), or class(256) for any text",
        )
    return codes.astype(np.int32)
