"""Winograd's stages against the oracle: the same numbers, in exact arithmetic nearly the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from latte.build import lower_kernel
from latte.codegen import interp
from latte.codegen.interp import Run
from latte.compiler.ir import Program, kernels
from latte.compiler.layout import layout
from latte.compiler.machine import Machine, host
from latte.compiler.verify import verify
from latte.compiler.winograd import Choice, winograd
from latte.compiler.winograd_cost import candidates
from latte.compiler.winograd_stages import Tiling
from latte.compiler.winograd_view import Sliding, find_sliding
from tests.backends.lowered import Arrays, run_lowered
from tests.compiler.contractions import Convolution, activated, convolution, linear

CONVOLUTIONS = [
    Convolution(3, 20, 37, (13, 13), (3, 3), pad=1),
    Convolution(2, 16, 32, (9, 11), (5, 5), pad=2),
    Convolution(5, 5, 16, (13,), (3,)),
    Convolution(4, 16, 16, (5, 6), (2, 3), pad=1),
    Convolution(3, 32, 64, (9, 7), (3, 3), pad=1, groups=2),
    Convolution(1, 16, 16, (4, 4), (3, 3), pad=1),
    Convolution(7, 16, 16, (20, 5), (3, 3), pad=1),
]


def fixed(outputs: int) -> Choice:
    """A choice of tiles with so many outputs (taps, of a gradient of weights), always."""

    def choose(sliding: Sliding, machine: Machine) -> tuple[Tiling, ...] | None:
        return next(candidates(sliding, (outputs,)), None)

    return choose


@pytest.mark.parametrize("outputs", [4, 2])
@pytest.mark.parametrize("what", ["forward", "weights", "input"])
@pytest.mark.parametrize("form", CONVOLUTIONS, ids=str)
def test_as_the_oracle(form: Convolution, what: str, outputs: int) -> None:
    program = layout(convolution(what, form), host())
    made = winograd(program, host(), fixed(outputs))
    assert made is not program
    verify(made, "winograd")
    compare(program, made, form.items, native=outputs == 4)
    compare(program, made, max(1, form.items - 2), native=False)


def test_three_dimensions() -> None:
    program = layout(
        convolution("forward", Convolution(2, 16, 16, (3, 4, 5), (2, 3, 2), pad=1)), host()
    )
    compare(program, winograd(program, host(), fixed(2)), 2, native=False)


def test_what_is_made_of_the_sum_is_kept() -> None:
    plain = convolution("forward", Convolution(2, 16, 20, (6, 7), (3, 3), pad=1))
    program = layout(activated(plain), host())
    made = winograd(program, host(), fixed(4))
    assert made is not program
    compare(program, made, 2)


def compare(program: Program, made: Program, items: int, native: bool = True) -> None:
    """Both in the oracle, and the second as machine code, on the same random arrays."""
    (name,) = (phase.name for phase in program.phases)
    (kernel,) = kernels(program.phases[0].items)
    target, rng = kernel.writes[0].buffer, np.random.default_rng(0)
    given = {b.name: rng.normal(size=[a.size for a in b.axes]) for b in program.buffers}
    expected, exact, found = (filled(p, given, target) for p in (program, made, made))
    interp.run(program, name, expected, Run(items))
    interp.run(made, name, exact, Run(items))
    close(exact[target], expected[target], 1e-12)
    if native:
        single = {key: array.astype(np.float32) for key, array in found.items()}
        run_lowered(made, name, single, Run(items), lowering=lower_kernel)
        close(single[target], expected[target], 1e-4)


def filled(program: Program, given: Arrays, target: str) -> Arrays:
    arrays = interp.allocate(program)
    for name, array in given.items():
        if name != target:
            arrays[name][...] = array
    return arrays


def close(found: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    """Together NaN, and else near each other by the largest value."""
    written = ~np.isnan(expected)
    assert written.any()
    error = np.abs(found - expected)[written].max()
    assert error <= tolerance * np.abs(expected[written]).max()


@pytest.mark.parametrize(
    "form",
    [
        Convolution(2, 16, 16, (9, 9), (3, 3), stride=2),
        Convolution(2, 16, 16, (9, 9), (3, 3), dilation=2),
        Convolution(2, 16, 16, (9, 9), (1, 1)),
    ],
    ids=str,
)
def test_other_windows_do_not_slide_so(form: Convolution) -> None:
    program = layout(convolution("forward", form), host())
    assert winograd(program, host(), fixed(4)) is program


def test_linear_layers_do_not_slide() -> None:
    program = layout(linear("forward", 8, (64,), 32), host())
    assert winograd(program, host(), fixed(4)) is program


def test_other_conditions_are_refused() -> None:
    """A guard that says more than that the data are inside is not the transform's to answer."""
    program = layout(convolution("forward", Convolution(2, 16, 16, (9,), (3,), pad=1)), host())
    (kernel,) = kernels(program.phases[0].items)
    assert find_sliding(kernel, program) is not None
    fold = kernel.lets[0].expression
    assert isinstance(fold, interp.Fold)
    tight = replace(fold, where=tuple(replace(g, index=g.index - 1) for g in fold.where))
    changed = replace(kernel, lets=(replace(kernel.lets[0], expression=tight),))
    assert find_sliding(changed, program) is None
