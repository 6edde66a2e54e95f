"""A step whose loss is not finite changes nothing, so that what went wrong can still be found."""

import numpy as np
import pytest

import latte
from latte.runtime import cpu, records

TEXT = """
neuron Root(x) = sqrt(x)
net A {
    input x[4]
    input y[2]
    hidden = Linear(x, 2)
    root = Root(hidden)
    loss MeanSquaredLoss(root, y)
}
"""


@pytest.mark.parametrize("target", ["cpu", "interp"])
def test_a_step_without_a_finite_loss_changes_no_parameter(target: str) -> None:
    exe = latte.loads(TEXT).compile(batch=3, target=target)
    exe.params["hidden.weight"] = np.full((2, 4), -1.0)
    before = np.array(exe.params["hidden.weight"])
    assert np.isnan(exe.step(x=np.ones((3, 4)), y=np.zeros((3, 2))))
    np.testing.assert_array_equal(exe.params["hidden.weight"], before)
    found = exe.find_nonfinite()
    assert (found.kind, found.name, found.index) == ("value", "root", (0, 0))


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_all_threads_leave_such_a_step_together(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu, "PARALLEL_WORK", 0)
    monkeypatch.setattr(records, "ALONE_WORK", 0)
    exe = latte.loads(TEXT).compile(batch=3, threads=threads)
    exe.params["hidden.weight"] = np.ones((2, 4))
    for _ in range(100):
        before = np.array(exe.params["hidden.weight"])
        assert np.isnan(exe.step(x=-np.ones((3, 4)), y=np.zeros((3, 2))))
        np.testing.assert_array_equal(exe.params["hidden.weight"], before)
        assert np.isfinite(exe.step(x=np.ones((3, 4)), y=np.ones((3, 2))))


@pytest.mark.parametrize("target", ["cpu", "interp"])
def test_the_next_step_goes_on(target: str) -> None:
    exe = latte.loads(TEXT).compile(batch=3, target=target)
    exe.params["hidden.weight"] = np.ones((2, 4))
    assert np.isnan(exe.step(x=-np.ones((3, 4)), y=np.zeros((3, 2))))
    assert np.isfinite(exe.step(x=np.ones((3, 4)), y=np.zeros((3, 2))))
    assert (exe.params["hidden.weight"] != 1).all()
