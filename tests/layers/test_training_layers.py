"""What differs between training and inference: running values, dropout; metrics."""

from __future__ import annotations

import numpy as np

import latte

NORM = """
net Norm {
    input x[3, 4]
    input target[3, 4]
    y = BatchNorm(x, momentum = 0.8)
    loss MeanSquaredLoss(y, target)
}
train Norm { solver SGD(rate = 0) }
"""

DROPOUT = """
net Drop {
    input x[200]
    weighed = Scale(x)
    y = Dropout(weighed, 0.25)
    loss Identity(y)
}
layer Scale(source[n]) {
    param w[n] = 1
    ensemble out[i: n] = Product2(source[i], w[i])
}
neuron Product2(x, w) = x * w
"""

SCORES = """
net Metrics {
    input scores[6]
    input label: class(6)
    y = Identity(scores)
    loss SoftmaxLoss(y, label)
    metric first = Accuracy(y, label)
    metric third = TopK(y, label, k = 3)
}
"""


def test_batch_norm_updates_its_running_values() -> None:
    rng = np.random.default_rng(0)
    x = (3 + 2 * rng.normal(size=(5, 3, 4))).astype(np.float32)
    exe = latte.loads(NORM).compile(batch=5)
    exe.step(x=x, target=x)
    mean, variance = x.mean((0, 2)), x.var((0, 2))
    np.testing.assert_allclose(exe.running["y.mean"], 0.2 * mean, rtol=1e-4)
    np.testing.assert_allclose(exe.running["y.variance"], 0.8 + 0.2 * variance, rtol=1e-4)


def test_batch_norm_reads_its_running_values_in_inference() -> None:
    x = np.random.default_rng(0).normal(size=(5, 3, 4)).astype(np.float32)
    exe = latte.loads(NORM).compile(batch=5)
    mean, variance = np.array([1.0, 0.0, -1.0]), np.array([1.0, 4.0, 0.25])
    exe.running["y.mean"] = mean
    exe.running["y.variance"] = variance
    expected = (x - mean[:, None]) / np.sqrt(variance[:, None] + 1e-5)
    np.testing.assert_allclose(exe.predict(x=x), expected, atol=1e-4)


def test_dropout_keeps_the_mean_and_sends_gradients_through_what_it_kept() -> None:
    x = np.random.default_rng(0).normal(size=(50, 200)).astype(np.float32)
    exe = latte.loads(DROPOUT).compile(batch=50)
    y = exe.forward(x=x)["y"]
    exe.backward()
    kept = y != 0
    assert abs(kept.mean() - 0.75) < 0.02
    np.testing.assert_allclose(y[kept], x[kept] / 0.75, rtol=1e-5)
    np.testing.assert_allclose(exe.grads["weighed.w"], y.sum(0) / y.size, atol=1e-6)


def test_dropout_draws_anew_at_each_step_and_not_at_all_in_inference() -> None:
    x = np.ones((4, 200), np.float32)
    exe = latte.loads(DROPOUT).compile(batch=4)
    exe.step(x=x)
    first = exe.forward(x=x)["y"]
    exe.step(x=x)
    assert not np.array_equal(first != 0, exe.forward(x=x)["y"] != 0)
    exe.params["weighed.w"] = np.ones(200, np.float32)
    np.testing.assert_array_equal(exe.predict(x=x), x)


def test_metrics() -> None:
    scores = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    label = np.random.default_rng(1).integers(0, 6, 40).astype(np.int32)
    out = latte.loads(SCORES).compile(batch=40).forward(scores=scores, label=label)
    rank = (scores > scores[np.arange(40), label][:, None]).sum(1)
    assert abs(out["first"] - (rank == 0).mean()) < 1e-6
    assert abs(out["third"] - (rank < 3).mean()) < 1e-6
