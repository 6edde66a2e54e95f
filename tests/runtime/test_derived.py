"""What is derived of parameters is computed anew when those have changed, and only then."""

import numpy as np
import pytest
import tiny

from latte.compiler.affine import axis
from latte.compiler.derive import derive
from latte.compiler.expression import Apply, Load, Number
from latte.compiler.ir import Buffer, Kernel, Phase, Program, Write
from latte.runtime.cpu import Native
from latte.runtime.executable import Executable

J, N = axis("i"), axis("n")
X = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)


def program() -> Program:
    """A linear regression whose inference reads four times the weights."""
    plain = tiny.program()
    weights = plain.buffer("w").axes
    scaled = Apply("mul", (Load("w", (J,)), Number(4.0)))
    quadruple = Kernel("v", weights, (), (Write("v", (J,), scaled),))
    y = tiny._sum(weights[0], "v", (J,), "x", (N, J))
    output = Kernel("y", (plain.buffer("x").axes[0],), (), (Write("y", (N,), y),))
    phases = tuple(
        Phase(phase.name, (output, quadruple, output)[1:] + phase.items[1:])
        if phase.name in ("infer", "predict")
        else phase
        for phase in plain.phases
    )
    buffers = (*plain.buffers, Buffer("v", weights, "scratch", "w"))
    return derive(Program("Derived", buffers, phases, plain.scalars))


def made(**options: object) -> tuple[Executable, Native]:
    native = tiny.native(program(), **options)
    return Executable(tiny.net(), program(), native), native


def derived(native: Native, phase: str = "predict") -> np.ndarray:
    return native._phases[phase].memory.derived.places["v"].view(np.float32)


@pytest.mark.parametrize("guard", [False, True])
def test_every_way_to_change_a_parameter_is_seen(guard: bool, tmp_path: object) -> None:
    exe, _ = made(guard=guard)
    path = f"{tmp_path}/w.safetensors"

    def check() -> None:
        for items in (8, 3):
            expected = 4 * X[:items] @ exe.params["w"]
            np.testing.assert_allclose(exe.predict(x=X[:items]), expected, rtol=1e-5)
            found = exe.evaluate(x=X[:items], target=X[:items, 0])["y"]
            np.testing.assert_allclose(found, expected, rtol=1e-5)

    check()
    exe.save(path)
    exe.params["w"] = [1.0, 2.0, 3.0]
    check()
    exe.step(x=X, target=X[:, 0])
    check()
    exe.forward(x=X, target=X[:, 0])
    exe.backward()
    exe.update()
    check()
    exe.load(path)
    check()
    exe.initialize(seed=5)
    check()


def test_nothing_is_computed_again_while_parameters_stay() -> None:
    exe, native = made()
    before = exe.predict(x=X)
    derived(native)[:3] *= 2  # as nobody may: seen only because it is not computed again
    np.testing.assert_allclose(exe.predict(x=X), 2 * before, rtol=1e-6)
    np.testing.assert_allclose(exe.evaluate(x=X, target=X[:, 0])["y"], 2 * before, rtol=1e-6)
    assert derived(native, "infer") is not None
    exe.forward(x=X, target=X[:, 0])
    np.testing.assert_allclose(exe.predict(x=X), 2 * before, rtol=1e-6)
    exe.params["w"] = exe.params["w"]
    np.testing.assert_array_equal(exe.predict(x=X), before)


def test_a_derived_buffer_can_be_read() -> None:
    exe, native = made()
    exe.predict(x=X)
    found = native.read("v", (3,), "predict")
    assert found is not None
    np.testing.assert_allclose(found, 4 * exe.params["w"], rtol=1e-6)
