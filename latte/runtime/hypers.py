"""The solver's arguments, such as its rate: what their schedules say, or numbers instead.

In: how far training is.  Out: a number for each argument.

    hypers.at(step=1000, epoch=2.0, total=4000)   ->   {"rate": 0.005, "momentum": 0.9}
"""

from __future__ import annotations

from numbers import Real

from latte.compiler.net import Hyper
from latte.errors import did_you_mean, fail
from latte.runtime.initial import scheduled


class Hypers:
    """The arguments of one solver."""

    def __init__(self, declared: tuple[Hyper, ...]) -> None:
        self._declared = declared
        self._fixed: dict[str, float] = {}

    def set(self, name: str, value: float) -> None:
        """Replaces a schedule by a number. Raises E0908."""
        known = [hyper.name for hyper in self._declared]
        if name not in known:
            hint = did_you_mean(name, known) or f"it has {', '.join(known)}"
            fail("E0908", f"the solver has no argument `{name}`", help=hint)
        if not isinstance(value, Real):
            fail("E0908", f"`{name}` is a number, not {value!r}")
        self._fixed[name] = float(value)

    def at(self, step: int, epoch: float, total: int) -> dict[str, float]:
        """The arguments of the next update, after `step` of `total` updates."""
        return {
            hyper.name: self._fixed.get(hyper.name, scheduled(hyper.schedule, step, epoch, total))
            for hyper in self._declared
        }
