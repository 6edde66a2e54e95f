"""Training steps in PyTorch beside ours: losses, updates, solvers; and how sides are compared."""

from __future__ import annotations

import numpy as np
import pytest

import latte
from latte.commands.bench import synthetic_batch
from latte.peers.compare import TRAINING_TOLERANCE, Comparison, Side, best, compare, differ, draws
from latte.peers.sides import case, training_sides
from latte.peers.solver import solver_of

IMAGE = "input image[3, 8, 8]\n input label: class(5)\n"
LOSS = "\n loss SoftmaxLoss(scores, label)"
NETS = {
    "convolutions": "a = MaxPool(ReLU(Conv(image, 8, kernel = 3, pad = 1)), 2)\n"
    "scores = Linear(a, 5)",
    "batch_norm": "a = ReLU(BatchNorm(Conv(image, 8, kernel = 3, stride = 2)))\n"
    "scores = Linear(a, 5)",
    "fan_out": "a = Conv(image, 6, kernel = 1)\nscores = Linear(Concat(Tanh(a), ReLU(a) + a), 5)",
    "two_losses": "scores = Linear(image, 5)\n loss 0.5 * MeanSquaredLoss(scores, scores * 0)",
}
SOLVERS = ("SGD", "Momentum(decay = 1e-3)", "Nesterov", "Adam", "AdamW", "RMSprop", "AdaGrad")


def sides(text: str, **options: object) -> list[Side]:
    """The one mode in which the nets of these tests are run."""
    exe = latte.loads(text).compile(batch=4, **options)
    return training_sides(case(exe, synthetic_batch(exe)), ("eager",))


@pytest.mark.parametrize("body", NETS.values(), ids=NETS)
def test_a_training_step_agrees(body: str) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    [side] = sides(f"net N {{ {IMAGE}{body}{LOSS} }}")
    assert side.difference is not None
    assert side.difference < 1e-3 < TRAINING_TOLERANCE


def test_a_recurrent_training_step_agrees() -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    body = "input text[@time]: class(7)\n input label[@time]: class(7)\n"
    body += "scores = Linear(LSTM(Embedding(text, 6), 5), 7)"
    [side] = sides(f"net N {{ {body}{LOSS} }}\ntrain N {{ solver Adam(rate = 0.01) }}", time=6)
    assert side.difference is not None
    assert side.difference < 1e-4


@pytest.mark.parametrize("solver", SOLVERS)
def test_solvers_do_the_same(solver: str) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    [side] = sides(
        f"net N {{ {IMAGE}scores = Linear(image, 5){LOSS} }}\ntrain N {{ solver {solver} }}"
    )
    assert side.difference is not None
    assert side.difference < 1e-4


def test_a_wrong_peer_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    from latte.peers.torch_net import TorchTraining

    step = TorchTraining.step
    monkeypatch.setattr(TorchTraining, "step", lambda self: step(self) * 1.1)
    with pytest.raises(latte.LatteError, match="computes something else"):
        sides(f"net N {{ {IMAGE}scores = Linear(image, 5){LOSS} }}")


def test_a_net_that_draws_is_timed_without_comparing() -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    [side] = sides(f"net N {{ {IMAGE}scores = Linear(Dropout(image), 5){LOSS} }}")
    assert side.difference is None


def test_what_draws() -> None:
    drawn = latte.loads(f"net N {{ {IMAGE}scores = Linear(Dropout(image), 5){LOSS} }}")
    plain = latte.loads(f"net N {{ {IMAGE}scores = Linear(image, 5){LOSS} }}")
    assert draws(drawn.elaborated)
    assert not draws(plain.elaborated)


def test_a_solver_is_known_by_what_it_does() -> None:
    mine = """solver Mine(rate = 0.1, momentum = 0.5, decay = 0) {
        state history = 0
        update {
            history = momentum * history + rate * (grad + decay * param)
            param -= history
        }
    }
    solver Other(rate = 0.1) { update { param -= rate * grad / (1 + abs(grad)) } }
    """
    found = []
    for name in ("Mine", "Other"):
        text = f"{mine}net N {{ input x\n loss x * x }}\ntrain N {{ solver {name} }}"
        found.append(solver_of(latte.loads(text).elaborated.training.solver))
    assert found == ["Momentum", None]


OWN = """solver Own(rate = 0.1, keep = 0.9, decay = 0.01) {
    state history = 0
    state greatest = 0.001
    update {
        let slope = grad + decay * param
        greatest = max(greatest, abs(slope))
        history = keep * history + slope / sqrt(greatest)
        param -= rate * (if t > 0 then history else slope) / (1 + norm(param))
    }
}
"""


def test_a_solver_of_ones_own() -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    text = f"{OWN}net N {{ {IMAGE}scores = Linear(image, 5){LOSS} }}\ntrain N {{ solver Own }}"
    [side] = sides(text)
    assert side.difference is not None
    assert side.difference < 1e-4


def test_a_solver_without_peer() -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    odd = "solver Odd(rate = 0.1) { update { param -= rate * grad / total_norm(grad) } }\n"
    with pytest.raises(latte.LatteError, match="`Odd` has no peer operation"):
        sides(f"{odd}net N {{ {IMAGE}scores = Linear(image, 5){LOSS} }}\ntrain N {{ solver Odd }}")


def test_sides_take_turns() -> None:
    turns: list[str] = []
    others = [Side("torch", mode, lambda mode=mode: turns.append(mode), 0.0, 1.0) for mode in "ab"]
    found = compare("step", lambda: turns.append("ours"), others, rounds=3, seconds=0.0)
    assert turns == ["ours", "a", "b"] * 4
    assert [(each.peer, each.mode) for each in found] == [("torch", "a"), ("torch", "b")]


def comparison(theirs: float) -> Comparison:
    return Comparison("step", "torch", "eager", 2.0, theirs, 1.0, None, 0.5)


def test_ratios() -> None:
    assert comparison(3.0).ratio == 1.5
    assert best([comparison(3.0), comparison(2.0), comparison(4.0)]).theirs == 2.0
    facts = comparison(3.0).as_json()
    assert facts.keys() == {
        "phase", "peer", "mode", "latte_ms", "peer_ms", "ratio", "median_ratio", "difference",
        "peer_ready_seconds",
    }  # fmt: skip
    assert (facts["latte_ms"], facts["peer_ms"], facts["ratio"]) == (2000.0, 3000.0, 1.5)


def test_differences_are_relative_to_the_largest_value() -> None:
    assert differ(np.array([2.0, 0.0]), np.array([2.0, 0.5])) == 0.25
    assert differ(np.zeros(3), np.zeros(3)) == 0
