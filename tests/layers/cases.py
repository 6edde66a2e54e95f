"""Small nets, one idea each, with what PyTorch makes of the same: the table behind the layer tests.

A case is the text of a net's body after `x = Probe(image)`, which binds `y`, or writes a `loss`.
`Probe` adds a parameter to the input, so that its gradient is the gradient of the input. `torch`
gets x, the parameters and all inputs as tensors and returns `y` (or the elements of the loss).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

try:
    import torch
    from torch.nn import functional as F
except ImportError:  # the differential tests are skipped then; gradient checks are not
    torch = F = None  # type: ignore[assignment]

Tensors = Mapping[str, Any]

PROBE = """
neuron ProbeSum(x, p) = x + p
neuron Wobble(y) = sin(2 * y) + y ** 2 / 2
layer Probe(x[s...]) {
    param p[s...] = 0
    ensemble out[q...: s] = ProbeSum(x[q], p[q])
}
"""


@dataclass(frozen=True)
class Case:
    """One net. `inputs` adds to `image`: a shape (real numbers) or a number of classes."""

    name: str
    body: str
    torch: Callable[[Any, Tensors, Tensors], Any]
    shape: tuple[int, ...] = (3, 7, 9)
    definitions: str = ""
    inputs: Mapping[str, int | tuple[int, ...]] = field(default_factory=dict)
    batch: int = 3
    spread: float = 0.5  # of the random parameters

    @property
    def text(self) -> str:
        """The whole `.latte` file."""
        lines = [f"input image[{', '.join(map(str, self.shape))}]"]
        lines += [_declaration(name, kind) for name, kind in self.inputs.items()]
        lines += ["x = Probe(image)", self.body.strip()]
        if not self.has_loss:
            lines += ["loss Wobble(y)"]
        return PROBE + self.definitions + "\nnet Case {\n" + "\n".join(lines) + "\n}\n"

    @property
    def has_loss(self) -> bool:
        return "loss " in self.body


def _declaration(name: str, kind: int | tuple[int, ...]) -> str:
    if isinstance(kind, int):
        return f"input {name}: class({kind})"
    return f"input {name}[{', '.join(map(str, kind))}]" if kind else f"input {name}"


def _conv(y: str, **options: Any) -> Callable[[Any, Tensors, Tensors], Any]:
    def run(x: Any, p: Tensors, inputs: Tensors) -> Any:
        function = [None, F.conv1d, F.conv2d, F.conv3d][x.dim() - 2]
        return function(x, p["y.weight"], p.get("y.bias"), **options)

    return run


CONVOLUTION = [
    Case("conv", "y = Conv(x, 4, kernel = 3)", _conv("y")),
    Case("conv_odd_kernel", "y = Conv(x, 4, kernel = (3, 5))", _conv("y")),
    Case("conv_even_kernel_pad", "y = Conv(x, 4, kernel = 2, pad = 1)", _conv("y", padding=1)),
    Case("conv_pad", "y = Conv(x, 5, kernel = 3, pad = (1, 2))", _conv("y", padding=(1, 2))),
    Case(
        "conv_stride",
        "y = Conv(x, 4, kernel = 3, stride = (2, 3), pad = 1)",
        _conv("y", stride=(2, 3), padding=1),
    ),
    Case(
        "conv_stride_leaves_a_rest",
        "y = Conv(x, 2, kernel = 2, stride = 3)",
        _conv("y", stride=3),
        shape=(2, 10, 7),
    ),
    Case(
        "conv_dilation",
        "y = Conv(x, 4, kernel = 3, pad = 2, dilation = 2)",
        _conv("y", padding=2, dilation=2),
    ),
    Case(
        "conv_stride_and_dilation",
        "y = Conv(x, 4, kernel = 3, stride = 2, pad = 3, dilation = (3, 2))",
        _conv("y", stride=2, padding=3, dilation=(3, 2)),
        shape=(2, 11, 12),
    ),
    Case("conv_1x1", "y = Conv(x, 7, kernel = 1)", _conv("y")),
    Case("conv_1x1_stride", "y = Conv(x, 4, kernel = 1, stride = 2)", _conv("y", stride=2)),
    Case(
        "conv_groups",
        "y = Conv(x, 6, kernel = 3, pad = 1, groups = 3)",
        _conv("y", padding=1, groups=3),
        shape=(6, 5, 7),
    ),
    Case("conv_unbiased", "y = Conv(x, 4, kernel = 3, biased = false)", _conv("y")),
    Case(
        "conv_unbiased_groups",
        "y = Conv(x, 4, kernel = 3, groups = 2, biased = false)",
        _conv("y", groups=2),
        shape=(4, 5, 5),
    ),
    Case(
        "conv_1d",
        "y = Conv(x, 4, kernel = 5, stride = 2, pad = 2)",
        _conv("y", stride=2, padding=2),
        shape=(3, 13),
    ),
    Case(
        "conv_3d",
        "y = Conv(x, 3, kernel = (2, 3, 1), pad = (1, 1, 0), stride = (1, 2, 1))",
        _conv("y", stride=(1, 2, 1), padding=(1, 1, 0)),
        shape=(2, 4, 5, 3),
    ),
    Case(
        "group_conv",
        "y = GroupConv(x, 4, kernel = 3, groups = 2, stride = 2, pad = 1)",
        _conv("y", stride=2, padding=1, groups=2),
        shape=(6, 7, 8),
    ),
    Case(
        "depthwise_conv",
        "y = DepthwiseConv(x, kernel = (3, 5), stride = 2, pad = 2)",
        lambda x, p, _: F.conv2d(
            x, p["y.weight"].unsqueeze(1), p["y.bias"], stride=2, padding=2, groups=3
        ),
    ),
    Case(
        "linear",
        "y = Linear(x, 5)",
        lambda x, p, _: F.linear(x, p["y.weight"], p["y.bias"]),
        shape=(7,),
    ),
    Case(
        "linear_of_an_image",
        "y = Linear(x, 5)",
        lambda x, p, _: F.linear(x.flatten(1), p["y.weight"].flatten(1), p["y.bias"]),
    ),
    Case(
        "two_convolutions",
        """
        y = x -> Conv(4, kernel = 3, pad = 1, name = "a") -> ReLU
              -> Conv(3, kernel = 3, name = "b")
        """,
        lambda x, p, _: F.conv2d(
            F.relu(F.conv2d(x, p["a.weight"], p["a.bias"], padding=1)), p["b.weight"], p["b.bias"]
        ),
    ),
]


POOLING = [
    Case("max_pool", "y = MaxPool(x, kernel = 2)", lambda x, p, _: F.max_pool2d(x, 2)),
    Case(
        "max_pool_overlapping",
        "y = MaxPool(x, kernel = 3, stride = 2)",
        lambda x, p, _: F.max_pool2d(x, 3, 2),
    ),
    Case(
        "max_pool_gaps",
        "y = MaxPool(x, kernel = 2, stride = 3)",
        lambda x, p, _: F.max_pool2d(x, 2, 3),
    ),
    Case(
        "max_pool_padded",
        "y = MaxPool(x, kernel = 3, stride = 2, pad = 1)",
        lambda x, p, _: F.max_pool2d(x, 3, 2, 1),
    ),
    Case(
        "max_pool_ceil",
        "y = MaxPool(x, kernel = 3, stride = 2, round = ceil)",
        lambda x, p, _: F.max_pool2d(x, 3, 2, ceil_mode=True),
        shape=(2, 8, 10),
    ),
    Case(
        "max_pool_ceil_padded",
        "y = MaxPool(x, kernel = 2, stride = 2, pad = 1, round = ceil)",
        lambda x, p, _: F.max_pool2d(x, 2, 2, 1, ceil_mode=True),
        shape=(2, 7, 8),
    ),
    Case(
        "max_pool_dilated",
        "y = MaxPool(x, kernel = 3, stride = 1, pad = 1, dilation = 2)",
        lambda x, p, _: F.max_pool2d(x, 3, 1, 1, dilation=2),
    ),
    Case(
        "max_pool_1d",
        "y = MaxPool(x, kernel = 3, stride = 2, pad = 1)",
        lambda x, p, _: F.max_pool1d(x, 3, 2, 1),
        shape=(3, 11),
    ),
    Case(
        "max_pool_rectangle",
        "y = MaxPool(x, kernel = (2, 3), stride = (1, 2))",
        lambda x, p, _: F.max_pool2d(x, (2, 3), (1, 2)),
    ),
    Case("mean_pool", "y = MeanPool(x, kernel = 2)", lambda x, p, _: F.avg_pool2d(x, 2)),
    Case(
        "mean_pool_padded",
        "y = MeanPool(x, kernel = 3, stride = 2, pad = 1)",
        lambda x, p, _: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
    ),
    Case(
        "mean_pool_include_pad",
        "y = MeanPool(x, kernel = 3, stride = 2, pad = 1, include_pad = true)",
        lambda x, p, _: F.avg_pool2d(x, 3, 2, 1),
    ),
    Case(
        "mean_pool_ceil",
        "y = MeanPool(x, kernel = 3, stride = 2, pad = 1, round = ceil)",
        lambda x, p, _: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False),
        shape=(2, 8, 10),
    ),
    Case(
        "mean_pool_ceil_include_pad",
        "y = MeanPool(x, kernel = 3, stride = 2, pad = 1, round = ceil, include_pad = true)",
        lambda x, p, _: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True),
        shape=(2, 8, 10),
    ),
    Case("global_mean_pool", "y = GlobalMeanPool(x)", lambda x, p, _: x.mean((2, 3))),
]


ACTIVATION = [
    Case("relu", "y = ReLU(x)", lambda x, p, _: F.relu(x)),
    Case("leaky_relu", "y = LeakyReLU(x)", lambda x, p, _: F.leaky_relu(x)),
    Case("leaky_relu_slope", "y = LeakyReLU(x, 0.2)", lambda x, p, _: F.leaky_relu(x, 0.2)),
    Case("prelu", "y = PReLU(x)", lambda x, p, _: F.prelu(x, p["y.slope"])),
    Case("elu", "y = ELU(x, alpha = 1.5)", lambda x, p, _: F.elu(x, 1.5)),
    Case("gelu", "y = GELU(x)", lambda x, p, _: F.gelu(x)),
    Case("silu", "y = SiLU(x)", lambda x, p, _: F.silu(x)),
    Case("sigmoid", "y = Sigmoid(x)", lambda x, p, _: x.sigmoid()),
    Case("tanh", "y = Tanh(x)", lambda x, p, _: x.tanh()),
    Case("softplus", "y = Softplus(x)", lambda x, p, _: F.softplus(x)),
    Case("softmax", "y = Softmax(x)", lambda x, p, _: x.softmax(1)),
    Case("log_softmax", "y = LogSoftmax(x)", lambda x, p, _: x.log_softmax(1), shape=(5,)),
]


NORMALISATION = [
    Case(
        "lrn",
        "y = LRN(x, size = 5, alpha = 0.3, beta = 0.75, k = 2)",
        lambda x, p, _: F.local_response_norm(x, 5, 0.3, 0.75, 2.0),
        shape=(7, 3, 4),
    ),
    Case(
        "lrn_even",
        "y = LRN(x, size = 4, alpha = 0.3)",
        lambda x, p, _: F.local_response_norm(x, 4, 0.3, 0.75, 1.0),
        shape=(6, 3, 2),
    ),
    Case(
        "batch_norm",
        "y = BatchNorm(x)",
        lambda x, p, _: F.batch_norm(
            x, None, None, p["y.gamma"], p["y.beta"], training=True, eps=1e-5
        ),
        batch=4,
    ),
    Case(
        "batch_norm_of_a_vector",
        "y = BatchNorm(x, epsilon = 0.1)",
        lambda x, p, _: F.batch_norm(
            x, None, None, p["y.gamma"], p["y.beta"], training=True, eps=0.1
        ),
        shape=(5,),
        batch=4,
    ),
    Case(
        "layer_norm",
        "y = LayerNorm(x)",
        lambda x, p, _: F.layer_norm(x, x.shape[1:], p["y.gamma"], p["y.beta"], 1e-5),
        shape=(3, 4, 5),
    ),
    Case(
        "group_norm",
        "y = GroupNorm(x, 2)",
        lambda x, p, _: F.group_norm(x, 2, p["y.gamma"], p["y.beta"], 1e-5),
        shape=(6, 3, 4),
    ),
    Case(
        "conv_norm_relu",
        'y = x -> Conv(4, kernel = 3, pad = 1, name = "c") -> BatchNorm(name = "b") -> ReLU',
        lambda x, p, _: F.relu(
            F.batch_norm(
                F.conv2d(x, p["c.weight"], p["c.bias"], padding=1),
                None,
                None,
                p["b.gamma"],
                p["b.beta"],
                training=True,
            )
        ),
        batch=4,
    ),
]


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


LOCAL = """
layer Local(source[c, h, w], filters, kernel) {
    param weight[filters, h - kernel + 1, w - kernel + 1, c, kernel, kernel] = xavier(c)
    param bias[filters] = 0
    ensemble out[f: filters, y: h - kernel + 1, x: w - kernel + 1] =
        Weighted(source[:, y ..+ kernel, x ..+ kernel], weight[f, y, x], bias[f])
}
"""

MAXOUT = """
neuron Maxout(x[i...], weight[k, i...], bias[k]) = max(k) (bias[k] + sum(i) weight[k, i] * x[i])
layer MaxoutLinear(source[i...], size, pieces) {
    param weight[size, pieces, i...] = xavier(size(i))
    param bias[size, pieces] = 0
    ensemble out[j: size] = Maxout(source[...], weight[j], bias[j])
}
"""

BY_HAND = """
neuron MaxByHand(x[i...]) {
    state at = argmax(i) x[i]
    forward  { value = x[at] }
    backward { x.grad[at] += value.grad }
}
layer Pool(source[c, h, w]) {
    ensemble out[ch: c, y: h - 2, x: w - 2] = MaxByHand(source[ch, y ..+ 3, x ..+ 3])
}
"""

TIED = """
layer Tied(source[i], size) {
    param weight[size, i] = xavier(i)
    ensemble code[j: size] = Product(source[:], weight[j])
    ensemble bent[j: size] = Tanh(code[j])
    ensemble out[k: i] = Product(bent[:], weight[:, k])
}
"""

LOOPS = """
neuron Loops(x[c, k], weight[c, k]) {
    forward {
        let total = 0
        let best = 0
        for c, k in x {
            let term = weight[c, k] * x[c, k]
            if term > best { best = term } else { total += sin(term) }
        }
        value = total + best * best
    }
}
layer Looping(source[c, n]) {
    param weight[c, 3] = xavier(3)
    ensemble out[p: n] = Loops(source[:, p - 1 ..+ 3], weight)
}
"""

POSITIONS = """
neuron Nearby(x[i], at, width) = sum(i) exp(-(width * (i - at)) ** 2) * x[i]
neuron Pick(x, y, k) = if k == 0 then x else y
layer Positions(source[n]) {
    param width = 0.3
    ensemble near[i: n] = Nearby(source[:], i, width)
    ensemble out[k: 2, j: n - 1] = Pick(near[j], source[j + 1], k)
}
"""

HALVES = """
layer Halves(source[c, n]) {
    ensemble left[k: n] = Sum(source[0 .. c // 2, k])
    ensemble right[k: n] = Sum(source[c // 2 .. c, n - 1 - k])
    out = join(left, right)
}
"""

OWN = [
    Case(
        "locally_connected",
        "y = Local(x, 4, kernel = 3)",
        lambda x, p, _: _local(x, p),
        definitions=LOCAL,
        shape=(2, 5, 6),
    ),
    Case(
        "maxout",
        "y = MaxoutLinear(x, 4, pieces = 3)",
        lambda x, p, _: (
            torch.einsum("ni,jki->njk", x.flatten(1), p["y.weight"].flatten(2)) + p["y.bias"]
        ).amax(2),
        definitions=MAXOUT,
        shape=(2, 3, 2),
    ),
    Case(
        "max_by_hand",
        "y = Pool(x)",
        lambda x, p, _: F.max_pool2d(x, 3, 1),
        definitions=BY_HAND,
    ),
    Case(
        "tied_weights",
        "y = Tied(x, 4)",
        lambda x, p, _: (x @ p["y.weight"].T).tanh() @ p["y.weight"],
        definitions=TIED,
        shape=(6,),
    ),
    Case(
        "loops",
        "y = Looping(x)",
        lambda x, p, _: _loops(x, p["y.weight"]),
        definitions=LOOPS,
        shape=(2, 5),
    ),
    Case(
        "positions",
        "y = Positions(x)",
        lambda x, p, _: _positions(x, p["y.width"]),
        definitions=POSITIONS,
        shape=(6,),
    ),
    Case(
        "halves",
        "y = Halves(x)",
        lambda x, p, _: torch.cat([x[:, :2].sum(1), x[:, 2:].sum(1).flip(1)], 1),
        definitions=HALVES,
        shape=(5, 4),
    ),
]


def _local(x: Any, p: Tensors) -> Any:
    windows = x.unfold(2, 3, 1).unfold(3, 3, 1)  # n, c, y, x, ky, kx
    return torch.einsum("ncyxij,fyxcij->nfyx", windows, p["y.weight"]) + p["y.bias"][:, None, None]


def _positions(x: Any, width: Any) -> Any:
    i = torch.arange(x.shape[1], dtype=x.dtype)
    near = x @ (-((width * (i[:, None] - i[None])) ** 2)).exp()
    return torch.stack([near[:, :-1], x[:, 1:]], 1)


def _loops(x: Any, weight: Any) -> Any:
    n, c, size = x.shape
    rows = []
    for p in range(size):
        total, best = x.new_zeros(n), x.new_zeros(n)
        for ch in range(c):
            for k in range(3):
                if not 0 <= p - 1 + k < size:
                    continue
                term = weight[ch, k] * x[:, ch, p - 1 + k]
                total = torch.where(term > best, total, total + term.sin())
                best = torch.where(term > best, term, best)
        rows.append(total + best * best)
    return torch.stack(rows, 1)


ATTENTION = [
    Case(
        "attention",
        "y = Attention(x, Tanh(x), Concat(x, x, axis = 1))",
        lambda x, p, _: F.scaled_dot_product_attention(x, x.tanh(), torch.cat([x, x], 2)),
        shape=(5, 4),
    ),
    Case(
        "multi_head_attention",
        "y = MultiHeadAttention(x, 2)",
        lambda x, p, _: F.multi_head_attention_forward(
            *(x.transpose(0, 1),) * 3,
            *(6, 2, p["y.wx"].reshape(18, 6), p["y.bx"].reshape(18)),
            *(None, None, False, 0.0, p["y.wo"].reshape(6, 6), p["y.bo"]),
            need_weights=False,
        )[0].transpose(0, 1),
        shape=(5, 6),
    ),
]


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

CASES = CONVOLUTION + POOLING + ACTIVATION + NORMALISATION + COMBINE + OWN + ATTENTION + LOSS
