"""Branches, joins, views and expressions; losses; with what PyTorch makes of them."""

from __future__ import annotations

from typing import Any

from case import Case, F, Tensors, torch

COMBINE = [
    Case("add", "y = Add(x, Tanh(x))", lambda x, p, _: x + x.tanh()),
    Case("add_three", "y = Add(x, Tanh(x), x)", lambda x, p, _: 2 * x + x.tanh()),
    Case("multiply", "y = Multiply(x, Tanh(x), x)", lambda x, p, _: x * x * x.tanh()),
    Case(
        "concat",
        'y = Concat(x, Tanh(x), Conv(x, 2, kernel = 1, name = "c"))',
        lambda x, p, _: torch.cat([x, x.tanh(), F.conv2d(x, p["c.weight"], p["c.bias"])], 1),
    ),
    Case(
        "concat_axis",
        "y = Concat(x, MaxPool(x, kernel = (1, 2)), axis = 2)",
        lambda x, p, _: torch.cat([x, F.max_pool2d(x, (1, 2))], 3),
    ),
    Case("flatten", "y = Flatten(Tanh(x))", lambda x, p, _: x.tanh().flatten(1)),
    Case("upsample", "y = Upsample(x)", lambda x, p, _: F.interpolate(x, scale_factor=2)),
    Case(
        "upsample_rectangle",
        "y = Upsample(x, factor = (2, 3))",
        lambda x, p, _: F.interpolate(x, scale_factor=(2, 3)),
        shape=(2, 3, 4),
    ),
    Case(
        "expression",
        "y = x * 2 - exp(Tanh(x) / 2) + 1",
        lambda x, p, _: x * 2 - (x.tanh() / 2).exp() + 1,
    ),
    Case(
        "residual",
        """
        a = Conv(x, 3, kernel = 3, pad = 1)
        b = Conv(ReLU(a), 3, kernel = 3, pad = 1)
        y = ReLU(b + x) + a
        """,
        lambda x, p, _: _residual(x, p),
    ),
    Case(
        "inception",
        """
        a = Conv(x, 2, kernel = 1)
        b = x -> Conv(3, kernel = 1, name = "b1") -> ReLU
              -> Conv(2, kernel = 3, pad = 1, name = "b2")
        c = x -> MaxPool(kernel = 3, stride = 1, pad = 1) -> Conv(4, kernel = 1, name = "c1")
        y = ReLU(Concat(a, b, c))
        """,
        lambda x, p, _: _inception(x, p),
    ),
    Case(
        "views",
        "y = Tanh(transpose(reshape(x, [3, 21, 3]), [2, 0, 1]))",
        lambda x, p, _: x.reshape(-1, 3, 21, 3).permute(0, 3, 1, 2).tanh(),
    ),
    Case(
        "linear_of_views",
        "y = Linear(transpose(x, [1, 2, 0]), 4)",
        lambda x, p, _: F.linear(
            x.permute(0, 2, 3, 1).flatten(1), p["y.weight"].flatten(1), p["y.bias"]
        ),
    ),
]


def _residual(x: Any, p: Tensors) -> Any:
    a = F.conv2d(x, p["a.weight"], p["a.bias"], padding=1)
    b = F.conv2d(F.relu(a), p["b.weight"], p["b.bias"], padding=1)
    return F.relu(b + x) + a


def _inception(x: Any, p: Tensors) -> Any:
    a = F.conv2d(x, p["a.weight"], p["a.bias"])
    b = F.relu(F.conv2d(x, p["b1.weight"], p["b1.bias"]))
    b = F.conv2d(b, p["b2.weight"], p["b2.bias"], padding=1)
    c = F.conv2d(F.max_pool2d(x, 3, 1, 1), p["c1.weight"], p["c1.bias"])
    return F.relu(torch.cat([a, b, c], 1))


LOSS = [
    Case(
        "softmax_loss",
        "scores = Linear(x, 5)\nloss SoftmaxLoss(scores, label)",
        lambda x, p, i: F.cross_entropy(
            F.linear(x, p["scores.weight"], p["scores.bias"]), i["label"], reduction="none"
        ),
        shape=(4,),
        inputs={"label": 5},
        batch=5,
    ),
    Case(
        "mean_squared_loss",
        "loss MeanSquaredLoss(x, target)",
        lambda x, p, i: (x - i["target"]) ** 2,
        shape=(2, 3),
        inputs={"target": (2, 3)},
    ),
    Case(
        "mean_squared_loss_of_a_number",
        "y = Linear(x, 1)\nloss MeanSquaredLoss(y, target)",
        lambda x, p, i: (F.linear(x, p["y.weight"], p["y.bias"])[:, 0] - i["target"]) ** 2,
        shape=(4,),
        inputs={"target": ()},
    ),
    Case(
        "l1_loss",
        "loss L1Loss(x, target)",
        lambda x, p, i: (x - i["target"]).abs(),
        shape=(5,),
        inputs={"target": (5,)},
    ),
    Case(
        "hinge_loss",
        "loss HingeLoss(x, label)",
        lambda x, p, i: F.multi_margin_loss(x, i["label"], reduction="none"),
        shape=(5,),
        inputs={"label": 5},
    ),
    Case(
        "binary_loss",
        "loss BinaryLoss(x, target)",
        lambda x, p, i: F.binary_cross_entropy_with_logits(x, i["target"], reduction="none"),
        shape=(5,),
        inputs={"target": (5,)},
    ),
    Case(
        "weighted_losses",
        "loss 0.3 * MeanSquaredLoss(x, target)\nloss rest = L1Loss(x, target)",
        lambda x, p, i: 0.3 * (x - i["target"]) ** 2 + (x - i["target"]).abs(),
        shape=(5,),
        inputs={"target": (5,)},
    ),
    Case(
        "embedding",
        "y = Embedding(word, 4) * x",
        lambda x, p, i: F.embedding(i["word"], p["embedding1.weight"]) * x,
        shape=(4,),
        inputs={"word": 6},
        batch=7,
    ),
]
