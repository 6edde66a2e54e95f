"""A net that learns in a moment, and its data: what the tests of the training loop run."""

import numpy as np

import latte

TEXT = """
net Small(classes = 3) {
    input x[4]
    input label: class(classes)
    hidden = Tanh(Linear(x, 8))
    scores = Linear(Dropout(hidden, rate = 0.2), classes)
    loss SoftmaxLoss(scores, label)
    metric accuracy = Accuracy(scores, label)
}
train Small {
    solver Momentum(rate = inv(0.05, gamma = 1e-2, power = 0.75))
    batch 8
    epochs 3
}
"""


def net():
    return latte.loads(TEXT)


def data(count=30, seed=0):
    """Three clouds; 30 items in batches of 8 leave a partial one."""
    random = np.random.default_rng(seed)
    label = np.arange(count) % 3
    x = random.normal(size=(count, 4)) * 0.3 + np.eye(4)[label]
    return {"x": x.astype(np.float32), "label": label}


def weights(exe):
    return {name: np.array(array) for name, array in exe.params.items()}


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)
