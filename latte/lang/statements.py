"""The statements of the language: where each may stand, and what it looks like there.

In: the terminal that a statement begins with.  Out: words for messages.
"""

from __future__ import annotations

from latte.lang.newlines import ITEMS

# Where a statement may stand, and what it looks like there.
BELONGS = {
    "IMPORT": ("at the top of a file", '`import "mine.latte"`'),
    "CONST": ("at the top level of a file", "`const width = 64`"),
    "INIT": ("at the top level of a file", "`init small(n) = gaussian(0, 1 / n)`"),
    "SCHEDULE": ("at the top level of a file", "`schedule decay(rate) = rate / (1 + t)`"),
    "NEURON": ("at the top level of a file", "`neuron Square(x) = x * x`"),
    "LAYER": ("at the top level of a file", "`layer Name(source[i...]) { ... }`"),
    "NET": ("at the top level of a file", "`net Name { ... }`"),
    "SOLVER": ("at the top level of a file or in `train`", "`solver Momentum(rate = 0.01)`"),
    "TRAIN": ("at the top level of a file", "`train Name { batch 64 }`"),
    "REQUIRE": ("in a layer or net", '`require n >= 1, "n must be at least 1"`'),
    "PARAM": ("in a layer or net", "`param weight[n, c] = xavier(c)`"),
    "RUNNING": ("in a layer or net", "`running mean[c] = 0`"),
    "ENSEMBLE": ("in a layer or net", "`ensemble out[i: n] = ReLU(source[i])`"),
    "INPUT": ("in a net", "`input image[1, 28, 28]`"),
    "LOSS": ("in a net", "`loss SoftmaxLoss(scores, label)`"),
    "METRIC": ("in a net", "`metric accuracy = Accuracy(scores, label)`"),
    "UPDATE": ("in a layer, net or solver", "`update mean[i] = 0.9 * mean[i] + 0.1 * m[i]`"),
    "STATE": ("in a neuron or solver", "`state at = argmax(i) x[i]`"),
    "FORWARD": ("in a neuron", "`forward { value = x * x }`"),
    "BACKWARD": ("in a neuron", "`backward { x.grad += 2 * x * value.grad }`"),
    "LET": ("in `forward`, `backward` or `update`", "`let energy = x * x`"),
    "BATCH": ("in `train`", "`batch 64`"),
    "EPOCHS": ("in `train`", "`epochs 4`"),
    "FOR": ("in a body", "`for i in 0 .. 4 { ... }`, or over a window `for i in x { ... }`"),
    "IF": ("in a body", "`if n > 1 { ... } else { ... }`"),
}
# The statements of each kind of body.
ROOMS = {
    "the top level of a file": ITEMS,
    "a layer or net": {
        *{"REQUIRE", "PARAM", "RUNNING", "ENSEMBLE", "UPDATE", "INPUT", "LOSS", "METRIC"},
        *{"IF", "FOR"},
    },
    "code": {"LET", "IF", "FOR"},
    "a neuron": {"STATE", "FORWARD", "BACKWARD"},
    "a solver": {"STATE", "UPDATE"},
    "`train`": {"SOLVER", "BATCH", "EPOCHS"},
}
HEADED = {"NEURON", "LAYER", "NET", "SOLVER", "TRAIN", "FORWARD", "BACKWARD", "UPDATE", "IF", "FOR"}
# What other languages call it.
FOREIGN = {
    "def": "layer", "function": "layer", "func": "layer", "module": "layer", "class": "layer",
    "model": "net", "network": "net", "var": "let", "weight": "param", "parameter": "param",
    "optimizer": "solver", "using": "import", "from": "import", "include": "import",
    "assert": "require", "elif": "else if", "while": "for", "return": "out =", "epoch": "epochs",
    "buffer": "running", "elseif": "else if", "function_": "neuron", "criterion": "loss",
}  # fmt: skip
