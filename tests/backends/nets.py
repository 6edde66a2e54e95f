"""Small nets that between them use every kind of kernel, and data for them."""

from dataclasses import dataclass

import numpy as np

from latte.compiler.net import Input


@dataclass(frozen=True)
class Case:
    """A net's text; its largest batch, and its longest sequence where it has a time axis."""

    text: str
    batch: int = 7
    time: int | None = None


CASES = {
    "convolutions": Case("""
net Convolutions(classes = 5) {
    input image[3, 11, 9]
    input label: class(classes)
    a = image -> Conv(17, kernel = 3, pad = 1) -> ReLU -> MaxPool(3, stride = 2)
    b = ReLU(Conv(a, 33, kernel = 3, stride = 2))
    scores = Linear(Dropout(b), classes)
    loss SoftmaxLoss(scores, label)
    metric accuracy = Accuracy(scores, label)
}
train Convolutions { solver Momentum(rate = 0.05, decay = 5e-4) }"""),
    "normalised": Case("""
net Normalised(classes = 4) {
    input image[4, 6, 6]
    input label: class(classes)
    a = ReLU(BatchNorm(Conv(image, 20, kernel = 3, pad = 1, biased = false)))
    b = LRN(a)
    c = Conv(b, 20, kernel = 1)
    d = LayerNorm(MeanPool(Add(a, c), 2))
    scores = Linear(Concat(d, MaxPool(c, 2)), classes)
    loss SoftmaxLoss(scores, label)
}
train Normalised { solver Adam(rate = 0.01) }"""),
    "regression": Case(
        """
net Regression {
    input x[13]
    input target[3]
    hidden = Tanh(Linear(x, 40))
    gated = Multiply(Sigmoid(Linear(hidden, 40)), hidden)
    y = Linear(GELU(gated), 3)
    loss near = MeanSquaredLoss(y, target)
    loss 0.1 * L1Loss(y, target)
}
train Regression { solver AdaGrad(rate = 0.1) }""",
        batch=67,
    ),
    "words": Case(
        """
net Words(classes = 3) {
    input words[@time]: class(23)
    input label: class(classes)
    h = LSTM(Embedding(words, 12), 19)
    scores = Linear(last(h), classes)
    loss SoftmaxLoss(scores, label)
}
train Words { solver RMSprop(rate = 0.01) }""",
        batch=5,
        time=6,
    ),
}


def data(
    inputs: tuple[Input, ...], items: int, time: int | None, seed: int = 0
) -> dict[str, np.ndarray]:
    """Random arrays for the inputs of a net; sequences have different lengths."""
    rng = np.random.default_rng(seed)
    found: dict[str, np.ndarray] = {}
    for entry in inputs:
        steps = (time,) if entry.time and time else ()
        shape = (items, *steps, *(axis.size for axis in entry.axes))
        if entry.classes is None:
            found[entry.name] = rng.normal(size=shape).astype(np.float32)
        else:
            found[entry.name] = rng.integers(0, entry.classes, shape)
    if time:
        found["lengths"] = rng.integers(1, time + 1, items)
    return found
