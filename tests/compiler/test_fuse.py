"""Fusion: what becomes one kernel, what stays apart and why, and that no number changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import latte
from latte import build
from latte.cli import main
from latte.compiler.choices import Choices
from latte.compiler.fuse import Decision, explained
from latte.compiler.ir import LOSS, Item, Kernel, Program, commit, kernels
from latte.compiler.machine import host
from latte.compiler.pipeline import stages
from latte.compiler.show import show_item
from latte.compiler.verify import verify
from latte.errors import LatteError

TINY = """
net Tiny {
    input x[4]
    input y[3]
    hidden = Linear(x, 3)
    active = ReLU(hidden)
    loss MeanSquaredLoss(Linear(active, 3), y)
}
train Tiny { solver Momentum(rate = 0.1) }
"""
POOLED = """
net Pooled {
    input image[3, 9, 9]
    input label: class(5)
    seen = ReLU(Conv(image, 20, kernel = 3, pad = 1))
    best = MaxPool(seen, 3, stride = 2)
    again = MaxPool(Tanh(Conv(best, 16, kernel = 3, pad = 1)), 2)
    loss SoftmaxLoss(Linear(again, 5), label)
}
train Pooled { solver Adam(rate = 0.01) }
"""
JOINED = """
net Joined {
    input image[3, 5, 5]
    input label: class(5)
    a = ReLU(Conv(image, 20, kernel = 3, pad = 1))
    b = ReLU(Conv(image, 13, kernel = 1))
    c = ReLU(Conv(image, 32, kernel = 3, pad = 1) + Conv(image, 32, kernel = 1, biased = false))
    d = Dropout(BatchNorm(Conv(Concat(c, b, a), 16, kernel = 1, biased = false)), 0.3)
    loss SoftmaxLoss(Linear(ReLU(d), 5), label)
}
train Joined { solver Adam(rate = 0.01) }
"""


def fused(text: str, *without: str, batch: int = 4) -> tuple[Program, tuple[Decision, ...]]:
    """The program before layout, and what was decided."""
    net = latte.loads(text).elaborated
    choices = Choices(keep=build.choices(net).keep, without=frozenset(without))
    steps = dict(stages(build.program_of(net, batch=batch), host(), choices))
    names = list(steps)
    before = steps[names[names.index("fuse") - 1]]
    after, decisions = explained(before, host(), choices)
    verify(after, "fuse")
    return after, decisions


def named(program: Program, phase: str, name: str) -> Kernel:
    return next(k for k in kernels(program.phase(phase).items) if k.name == name)


def reasons(decisions: tuple[Decision, ...], phase: str, reader: str) -> set[str]:
    return {each.reason for each in decisions if (each.phase, each.reader) == (phase, reader)}


def test_an_activation_joins_its_contraction() -> None:
    program, _ = fused(TINY)
    text = show_item(named(program, "step", "hidden.out"))
    assert text.splitlines()[1:] == [
        "    let value = hidden.bias[j] + (sum [i.0: 4] hidden.weight[j, i.0] * x[n, i.0])",
        "    active[n, j] = max(0, value)",
    ]


def test_forward_leaves_every_value_readable() -> None:
    program, _ = fused(TINY)
    written = [write.buffer for write in named(program, "forward", "hidden.out").writes]
    assert written == ["hidden.out", "active"]


def test_a_mask_and_the_update_join_sums_of_backward() -> None:
    program, decisions = fused(TINY)
    update = named(program, "step", "hidden.weight.grad")
    assert [write.buffer for write in update.writes] == ["hidden.weight/history", "hidden.weight"]
    told = [str(each) for each in decisions if each.phase == "step" and not each.reason]
    assert "step: hidden.weight.grad -> hidden.weight (update) fused" in told
    step = program.phase("step")
    loss = [k for k, item in enumerate(step.items) if LOSS in _written(item)]
    assert loss[0] < commit(program, step) < len(step.items)


def _written(item: Item) -> set[str]:
    return {write.buffer for kernel in kernels((item,)) for write in kernel.writes}


def test_backward_of_a_maximum_reads_the_pooled_value() -> None:
    program, _ = fused(POOLED)
    backward = [k for k in kernels(program.phase("step").items) if "gradient" in k.reason]
    loads = {buffer for k in backward for buffer in _read(k)}
    assert "seen" not in loads and "best.out" in loads
    made = next(k for k in backward if any(w.buffer == "best.out.grad.masked" for w in k.writes))
    assert "best.out" in _read(made)


def _read(kernel: Kernel) -> frozenset[str]:
    from latte.compiler.plan_memory import reads

    return reads(kernel)


REASONS = [
    (TINY, (), "hidden.weight", ""),
    (TINY, ("update",), "hidden.weight", "`update` is switched off"),
    (POOLED, (), "best.out", "the reader takes a window or a sum of it"),
    (POOLED, ("epilogue",), "seen", "`epilogue` is switched off"),
]


@pytest.mark.parametrize(("text", "without", "reader", "reason"), REASONS)
def test_every_pair_has_its_reason(
    text: str, without: tuple[str, ...], reader: str, reason: str
) -> None:
    _, decisions = fused(text, *without)
    assert reason in reasons(decisions, "step", reader)


def test_the_pool_kind_has_a_switch() -> None:
    _, decisions = fused(POOLED, "pool")
    assert any(each.kind == "pool" and each.reason for each in decisions)
    program, _ = fused(POOLED, "pool")
    assert not any(buffer.name.endswith(".masked") for buffer in program.buffers)


def test_a_norm_over_all_gradients_keeps_updates_apart() -> None:
    text = (
        TINY.replace("Momentum(rate", "Clipped(rate")
        + """
solver Clipped(rate = 0.1) {
    update {
        let scale = min(1, 1 / total_norm(grad))
        param -= rate * scale * grad
    }
}
"""
    )
    _, decisions = fused(text)
    assert "" not in reasons(decisions, "step", "hidden.weight")


def test_a_step_without_a_finite_loss_changes_nothing_that_lasts() -> None:
    text = "neuron Root(x) = sqrt(x)\n" + JOINED.replace("Linear(ReLU(d), 5)", "Root(Linear(d, 5))")
    exe = latte.loads(text).compile(batch=2)
    exe.params["linear1.bias"] = np.full(5, -100.0)
    before = {k: np.array(v) for k, v in (*exe.params.items(), *exe.running.items())}
    state = {k: np.array(v) for k, v in exe.solver_state.items()}
    given = {"image": np.ones((2, 3, 5, 5), np.float32), "label": np.zeros(2, np.int64)}
    assert np.isnan(exe.step(**given))
    for name, value in (*exe.params.items(), *exe.running.items()):
        np.testing.assert_array_equal(value, before[name], name)
    for name, value in exe.solver_state.items():
        np.testing.assert_array_equal(value, state[name], name)


def test_what_is_kept_can_be_read_after_a_step() -> None:
    draw = np.random.default_rng(0)
    given = {k: draw.normal(size=(4, size)).astype(np.float32) for k, size in (("x", 4), ("y", 3))}
    plain = latte.loads(TINY).compile(batch=4)
    plain.step(**given)
    with pytest.raises(LatteError, match=r"`step` does not keep the value of `hidden.out`"):
        plain.value("hidden")
    with pytest.raises(LatteError, match=r"`step` does not keep the gradient of `hidden.weight`"):
        _ = plain.grads["hidden.weight"]
    kept = latte.loads(TINY).compile(batch=4, keep=["hidden", "hidden.weight"])
    oracle = latte.loads(TINY).compile(batch=4, target="interp")
    kept.step(**given)
    oracle.step(**given)
    np.testing.assert_allclose(kept.value("hidden"), oracle.value("hidden"), rtol=1e-5)
    slopes = (exe.grads["hidden.weight"] for exe in (kept, oracle))
    np.testing.assert_allclose(*slopes, rtol=1e-4, atol=1e-6)


def test_a_kind_that_there_is_not() -> None:
    with pytest.raises(LatteError, match="there is no fusion `all`"):
        latte.loads(TINY).compile(batch=4, no_fuse=["all"])


def test_explain_tells_about_every_pair(tmp_path: Path) -> None:
    file = tmp_path / "net.latte"
    file.write_text(TINY, "utf-8")
    found = CliRunner().invoke(main, ["compile", str(file), "--explain", "--no-fuse", "update"])
    assert "    step: hidden.out -> active (epilogue) fused" in found.output
    assert "hidden.weight (update) apart: `update` is switched off" in found.output
