"""What crosses the edge of an Executable: inputs, values, gradients, weights, errors."""

from pathlib import Path

import numpy as np
import pytest
import tiny

from latte.errors import LatteError
from latte.runtime.backend import Interpreted
from latte.runtime.executable import Executable


@pytest.fixture(params=["interp", "cpu"])
def exe(request: pytest.FixtureRequest) -> Executable:
    program = tiny.program()
    backend = Interpreted(program) if request.param == "interp" else tiny.native(program)
    return Executable(tiny.net(), program, backend, text="net Tiny")


def batch(items: int = 5) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {
        "x": rng.normal(size=(items, 3)).astype(np.float32),
        "target": rng.normal(size=items).astype(np.float32),
    }


def code(call: object, *arguments: object, **keywords: object) -> tuple[str, str]:
    with pytest.raises(LatteError) as caught:
        call(*arguments, **keywords)  # type: ignore[operator]
    return caught.value.diagnostics[0].code, caught.value.diagnostics[0].message


def test_forward_backward_update_equal_numpy(exe: Executable) -> None:
    data, w = batch(), exe.params["w"].copy()
    out = exe.forward(**data)
    y = data["x"] @ w
    error = y - data["target"]
    np.testing.assert_allclose(out["y"], y, rtol=1e-6)
    assert out["loss"] == pytest.approx(np.mean(error**2), rel=1e-6)
    exe.backward()
    slope = 2 * error @ data["x"] / 5
    np.testing.assert_allclose(exe.grads["w"], slope, rtol=1e-5)
    np.testing.assert_allclose(exe.grad("y"), 2 * error / 5, rtol=1e-5)
    exe.update()
    np.testing.assert_allclose(exe.params["w"], w - 0.01 * slope, rtol=1e-5)


def test_step_is_the_three_and_schedules_see_t(exe: Executable) -> None:
    data = batch()
    losses = [exe.step(**data) for _ in range(3)]
    stepped = exe.params["w"]
    exe.initialize()
    assert exe.step_count == 0
    for expected in losses:
        assert exe.forward(**data)["loss"] == pytest.approx(expected, rel=1e-6)
        exe.backward()
        exe.update()
    np.testing.assert_allclose(exe.params["w"], stepped, rtol=1e-6)
    assert exe.hypers()["rate"] == pytest.approx(0.04)
    exe.set_hyper("rate", 0.5)
    assert exe.hypers() == {"rate": 0.5, "momentum": 0.5}


def test_predict_takes_any_number_and_only_its_inputs(exe: Executable) -> None:
    x = np.random.default_rng(2).normal(size=(21, 3)).astype(np.float32)
    np.testing.assert_allclose(exe.predict(x=x), x @ exe.params["w"], rtol=1e-5)


def test_what_is_fed_is_checked_again_after_a_right_call(exe: Executable) -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    expected = exe.predict(x=x)
    np.testing.assert_array_equal(exe.predict(x=x), expected)
    np.testing.assert_array_equal(exe.predict(x=x.astype(np.float64)), expected)
    np.testing.assert_array_equal(exe.predict(x=np.asfortranarray(x)), expected)
    np.testing.assert_array_equal(exe.predict(x=x[:1]), expected[:1])
    np.testing.assert_array_equal(exe.predict(x=x), expected)
    assert code(exe.predict, x=x, y=[1])[0] == "E0902"
    assert code(exe.predict, y=x)[0] == "E0901"
    x.shape = (6,)
    assert code(exe.predict, x=x) == (
        "E0903",
        "input `x` has the shape [6], expected [items, 3]",
    )


def test_anything_that_numpy_can_view(exe: Executable) -> None:
    torch = pytest.importorskip("torch")
    x = torch.arange(6.0).reshape(2, 3)
    np.testing.assert_allclose(exe.predict(x=x), x.numpy() @ exe.params["w"], rtol=1e-6)
    np.testing.assert_allclose(exe.predict(x=x.tolist()), exe.predict(x=x))


def test_parameters_are_assigned_in_place(exe: Executable) -> None:
    exe.params["w"] = [1, 2, 3]
    exe.params["w"] += 1
    np.testing.assert_array_equal(exe.params["w"], [2, 3, 4])
    assert code(exe.params.__setitem__, "w", [1, 2])[0] == "E0907"
    assert code(exe.params.__getitem__, "v")[0] == "E0908"


def test_first_values_depend_on_seed_and_path_alone(exe: Executable) -> None:
    first = exe.params["w"].copy()
    exe.initialize(seed=1)
    assert not np.array_equal(exe.params["w"], first)
    exe.initialize(seed=0)
    np.testing.assert_array_equal(exe.params["w"], first)
    assert ((first >= 0) & (first < 1)).all() and len(set(first)) == 3


def test_save_and_load(exe: Executable, tmp_path: Path) -> None:
    exe.save(tmp_path / "w.safetensors")
    w = exe.params["w"].copy()
    exe.params["w"] = np.zeros(3)
    exe.load(tmp_path / "w.safetensors")
    np.testing.assert_array_equal(exe.params["w"], w)
    assert code(exe.load, tmp_path / "none.safetensors")[0] == "E0916"
    assert code(exe.save, tmp_path / "none" / "w.safetensors")[0] == "E0916"
    (tmp_path / "w").write_bytes((tmp_path / "w.safetensors").read_bytes()[:-5])
    assert code(exe.load, tmp_path / "w")[0] == "E0916"
    np.testing.assert_array_equal(exe.params["w"], w)
    wide = tiny.program(width=4)
    other = Executable(tiny.net(4), wide, Interpreted(wide))
    assert code(other.load, tmp_path / "w.safetensors") == (
        "E0917",
        f"the weights do not fit the net: `w` in `{tmp_path / 'w.safetensors'}` has the shape [3], "
        "expected [4]",
    )


def test_mistakes_have_codes_and_name_both_shapes(exe: Executable) -> None:
    good = batch()
    assert code(exe.forward, x=good["x"])[0] == "E0901"
    assert code(exe.forward, **good, y=1)[0] == "E0902"
    assert code(exe.forward, x=good["x"][:, :2], target=good["target"]) == (
        "E0903",
        "input `x` has the shape [5, 2], expected [items, 3]",
    )
    assert code(exe.forward, x=good["x"][:4], target=good["target"])[0] == "E0903"
    assert code(exe.forward, **batch(9))[0] == "E0905"
    assert code(exe.backward)[0] == "E0909"
    assert code(exe.value, "z")[0] == "E0908"


def test_nonfinite_numbers_are_named(exe: Executable) -> None:
    data = batch()
    exe.forward(**data)
    assert exe.find_nonfinite() is None
    data["x"][2, 1] = np.nan
    exe.forward(**data)
    assert str(exe.find_nonfinite()) == "input `x`[2, 1] is nan"
    exe.params["w"] = [1, np.inf, 0]
    assert str(exe.find_nonfinite()) == "parameter `w`[1] is inf"
