"""Is every neuron's backward the derivative of its forward? Checked with finite differences.

In: a Net. Out: for each kind of neuron and each of its formals, the largest relative difference.

Each neuron is taken out of its net and stands alone: its formals become parameters of the sizes
they had there, with random values; its value, times a random weight, is the loss. The oracle runs
it in float64, forward, backward, and forward again with single elements moved a little.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from latte.codegen import interp
from latte.compiler.affine import axis, constant
from latte.compiler.differentiate import differentiate
from latte.compiler.expression import Number, Position
from latte.compiler.ir import LOSS, Program
from latte.compiler.net import (
    Axis,
    Binding,
    Connection,
    Ensemble,
    Formal,
    Loss,
    Net,
    Neuron,
    Parameter,
)
from latte.compiler.rewrite import rewrite
from latte.compiler.synthesize import synthesize

STEP = 1e-6
TOLERANCE = 1e-4  # a kink nearby or a cancelled sum costs digits; a wrong derivative costs all
RUN = 4  # items of a batch, steps of a sequence
SAMPLES = 8  # elements of a formal that are moved


@dataclass(frozen=True, slots=True)
class GradientCheck:
    """The worst element of one formal: what backward says and what finite differences say."""

    ensemble: str
    neuron: str
    formal: str
    written: bool
    derived: float
    measured: float

    @property
    def difference(self) -> float:
        """Relative to the larger of the two and 1."""
        return abs(self.derived - self.measured) / max(1.0, abs(self.derived), abs(self.measured))

    @property
    def passed(self) -> bool:
        """Whether the two agree; NaN does not."""
        return bool(self.difference <= TOLERANCE)


def check_gradients(net: Net, seed: int = 0) -> tuple[GradientCheck, ...]:
    """Checks each kind of neuron once, where it stands first in the net, in the net's order."""
    checks: list[GradientCheck] = []
    seen: set[Neuron] = set()
    for node in net.nodes:
        if isinstance(node, Ensemble) and node.neuron not in seen:
            seen.add(node.neuron)
            checks += check_neuron(net, node, seed)
    return tuple(checks)


def check_neuron(net: Net, ensemble: Ensemble, seed: int = 0) -> list[GradientCheck]:
    """Checks the neuron of one ensemble: a result for each formal that is a real number."""
    alone = _alone(net, ensemble)
    program = synthesize(differentiate(alone), batch=1)
    arrays = interp.allocate(program)
    scalars = {"items": 1.0, "steps": 1.0, "carry": 0.0, "update": 0.0}
    now = interp.Run(items=1, seed=seed, scalars=scalars)
    _start(program, arrays, alone.parameters, now)
    interp.run(program, "backward", arrays, now)
    written = ensemble.neuron.backward is not None
    return [
        _worst(program, arrays, now, parameter.name, ensemble, written)
        for parameter in alone.parameters
        if f"{parameter.name}.grad" in arrays
    ]


def _start(
    program: Program, arrays: interp.Arrays, parameters: tuple[Parameter, ...], now: interp.Run
) -> None:
    """Random values of both signs; where the neuron is not defined there (`sqrt`), positive ones;
    then ones below 1."""
    draw = np.random.default_rng(now.seed)
    for parameter in parameters:
        shape = arrays[parameter.name].shape
        arrays[parameter.name][...] = draw.uniform(0.2, 1.2, shape) * draw.choice([-1, 1], shape)
    for scale in (1.0, 0.5, None):
        interp.run(program, "forward", arrays, now)
        if scale is None or np.isfinite(arrays["result.loss"]):
            return
        for parameter in parameters:
            arrays[parameter.name][...] = scale * np.abs(arrays[parameter.name])


def _worst(
    program: Program,
    arrays: interp.Arrays,
    now: interp.Run,
    formal: str,
    ensemble: Ensemble,
    written: bool,
) -> GradientCheck:
    """Moves elements of one formal and compares; the check with the largest difference."""
    values, derived = arrays[formal], arrays[f"{formal}.grad"].copy()
    places = np.linspace(0, values.size - 1, min(SAMPLES, values.size)).astype(int)
    checks = []
    for place in dict.fromkeys(places.tolist()):
        spot = np.unravel_index(place, values.shape)
        before, sides = values[spot], []
        for move in (STEP, -STEP):
            values[spot] = before + move
            interp.run(program, "forward", arrays, now)
            sides.append(float(arrays[LOSS]))
        values[spot] = before
        measured = (sides[0] - sides[1]) / (2 * STEP)
        facts = (ensemble.name, ensemble.neuron.name, formal, written)
        checks.append(GradientCheck(*facts, float(derived[spot]), measured))
    return max(checks, key=lambda check: (np.isnan(check.difference), check.difference))


def _alone(net: Net, ensemble: Ensemble) -> Net:
    """A net of one neuron whose formals are parameters, or numbers where they stood for one."""
    pairs = list(zip(ensemble.neuron.formals, ensemble.bindings, strict=True))
    whole = {entry.name for entry in net.inputs if entry.classes is not None}
    real = [formal for formal, binding in pairs if _is_real(binding, whole)]
    bindings = tuple(_binding(formal, binding, formal in real) for formal, binding in pairs)
    neuron = replace(ensemble.neuron, span=None)
    node = Ensemble("neuron", (), neuron, bindings)
    parameters = tuple(Parameter(f.name, _counted(f.axes), Number(0.0)) for f in real)
    return replace(
        net, inputs=(), parameters=parameters, runnings=(), nodes=(node,), updates=(),
        losses=(Loss("loss", "neuron"),), metrics=(), names=(("neuron", "neuron"),),
        output="neuron",
    )  # fmt: skip


def _is_real(binding: Binding, whole: set[str]) -> bool:
    return isinstance(binding, Connection) and binding.source not in whole


def _binding(formal: Formal, binding: Binding, real: bool) -> Binding:
    if real:
        axes = _counted(formal.axes)
        return Connection(formal.name, tuple(axis(entry.name) for entry in axes), axes)
    if isinstance(binding, Connection):
        return Number(0.0)  # a class: any one inside
    return rewrite(binding, lambda e: Position(constant(0)) if isinstance(e, Position) else None)


def _counted(axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    """The axes with numbers for sizes: a batch or a sequence has as many as any."""
    return tuple(replace(a, size=a.size if a.symbol is None else RUN, symbol=None) for a in axes)
