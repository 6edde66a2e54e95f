"""Small nets, one idea each, with what PyTorch makes of the same: the table behind the layer tests.

A case is the text of a net's body after `x = Probe(image)`, which binds `y`, or writes a `loss`.
`Probe` adds a parameter to the input, so that its gradient is the gradient of the input. `torch`
gets x, the parameters and all inputs as tensors and returns `y` (or the elements of the loss).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

try:
    import torch
    from torch.nn import functional as F
except ImportError:  # the differential tests are skipped then; gradient checks are not
    torch = F = None  # type: ignore[assignment]

Tensors = Mapping[str, Any]

PROBE = """
neuron ProbeSum(x, p) = x + p
neuron Wobble(y) = sin(2 * y) + y ** 2 / 2
layer Probe(x[s...]) {
    param p[s...] = 0
    ensemble out[q...: s] = ProbeSum(x[q], p[q])
}
"""


@dataclass(frozen=True)
class Case:
    """One net. `inputs` adds to `image`: a shape (real numbers) or a number of classes."""

    name: str
    body: str
    torch: Callable[[Any, Tensors, Tensors], Any]
    shape: tuple[int, ...] = (3, 7, 9)
    definitions: str = ""
    inputs: Mapping[str, int | tuple[int, ...]] = field(default_factory=dict)
    batch: int = 3
    spread: float = 0.5  # of the random parameters

    @property
    def text(self) -> str:
        """The whole `.latte` file."""
        lines = [f"input image[{', '.join(map(str, self.shape))}]"]
        lines += [_declaration(name, kind) for name, kind in self.inputs.items()]
        lines += ["x = Probe(image)", self.body.strip()]
        if not self.has_loss:
            lines += ["loss Wobble(y)"]
        return PROBE + self.definitions + "\nnet Case {\n" + "\n".join(lines) + "\n}\n"

    @property
    def has_loss(self) -> bool:
        return "loss " in self.body


def _declaration(name: str, kind: int | tuple[int, ...]) -> str:
    if isinstance(kind, int):
        return f"input {name}: class({kind})"
    return f"input {name}[{', '.join(map(str, kind))}]" if kind else f"input {name}"
