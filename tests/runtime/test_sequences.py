"""Sequences in pieces: a state carried from call to call stands for the steps before."""

import numpy as np
import pytest

import latte
from latte.errors import LatteError
from latte.runtime.executable import Executable

TEXT = """
net Counter {
    input xs[@time, 3]
    input target[@time, 2]
    h = LSTM(xs, 5)
    y = Linear(h, 2)
    loss MeanSquaredLoss(y, target)
}
train Counter { solver SGD(rate = 0.1) }
"""


@pytest.fixture(params=["interp", "cpu"])
def target(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def compiled(target: str, time: int) -> Executable:
    return latte.loads(TEXT).compile(batch=4, time=time, target=target)


def test_pieces_equal_the_whole(target: str) -> None:
    xs = np.random.default_rng(0).normal(size=(3, 6, 3)).astype(np.float32)
    whole, piece = compiled(target, 6), compiled(target, 2)
    expected = whole.predict(xs=xs)
    parts = [piece.predict(xs=xs[:, at : at + 2], carry=True) for at in (0, 2, 4)]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), expected, rtol=1e-5, atol=1e-6)
    again = piece.predict(xs=xs[:, :2])
    np.testing.assert_array_equal(again, parts[0])


def test_one_step_at_a_time(target: str) -> None:
    xs = np.random.default_rng(1).normal(size=(2, 4, 3)).astype(np.float32)
    expected = compiled(target, 4).predict(xs=xs)
    single = compiled(target, 1)
    for at in range(4):
        y = single.predict(xs=xs[:, at : at + 1], carry=True)
        np.testing.assert_allclose(y[:, 0], expected[:, at], rtol=1e-5, atol=1e-6)


def test_the_state_is_each_item_s_last_step(target: str) -> None:
    exe = compiled(target, 4)
    assert exe.state == {}
    xs = np.random.default_rng(2).normal(size=(2, 4, 3)).astype(np.float32)
    exe.forward(xs=xs, target=np.zeros((2, 4, 2)), lengths=[3, 1])
    h = exe.value("h")
    np.testing.assert_array_equal(exe.state["h.out"], [h[0, 2], h[1, 0]])
    assert exe.state.keys() == {"h.out", "h.cell"}


def test_a_state_can_be_set_and_forgotten(target: str) -> None:
    exe = compiled(target, 2)
    xs = np.ones((2, 2, 3), np.float32)
    first = exe.predict(xs=xs)
    saved = exe.state
    second = exe.predict(xs=xs, carry=True)
    assert not np.allclose(first, second)
    exe.state = saved
    np.testing.assert_array_equal(exe.predict(xs=xs, carry=True), second)
    exe.state = {}
    np.testing.assert_array_equal(exe.predict(xs=xs, carry=True), first)
    with pytest.raises(LatteError, match="E0907"):
        exe.predict(xs=xs[:1], carry=True)


def test_training_in_pieces_stops_gradients_between_them(target: str) -> None:
    """The gradient of a piece is that of a net that starts from the state as from a constant."""
    rng = np.random.default_rng(3)
    xs, ys = rng.normal(size=(2, 4, 3)), rng.normal(size=(2, 4, 2))
    exe = compiled(target, 2)
    exe.forward(xs=xs[:, :2], target=ys[:, :2])
    before = exe.state
    exe.forward(xs=xs[:, 2:], target=ys[:, 2:], carry=True)
    exe.backward()
    slope = exe.grads["h.wh"].astype(np.float64)
    step, flat = 1e-2, exe.params["h.wh"].copy()
    place = np.unravel_index(np.abs(slope).argmax(), slope.shape)
    losses = []
    for sign in (1, -1):
        moved = flat.copy()
        moved[place] += sign * step
        exe.params["h.wh"] = moved
        exe.state = before
        losses.append(exe.evaluate(xs=xs[:, 2:], target=ys[:, 2:], carry=True)["loss"])
    assert (losses[0] - losses[1]) / (2 * step) == pytest.approx(slope[place], rel=0.02)
