"""Nets of a size where register tiles, lanes and slices take part: with what PyTorch makes of them.

Parameters are small, so that values stay near 1 and no sum cancels.
"""

from __future__ import annotations

from typing import Any

from case import Case, F, Tensors, torch


def _bound(x: Any, p: Tensors, name: str, **options: Any) -> Any:
    return F.conv2d(x, p[f"{name}.weight"], p.get(f"{name}.bias"), **options)


def _norm(x: Any, p: Tensors, name: str) -> Any:
    return F.batch_norm(x, None, None, p[f"{name}.gamma"], p[f"{name}.beta"], training=True)


def _resnet(x: Any, p: Tensors) -> Any:
    a = F.relu(_norm(_bound(x, p, "c1", padding=1, stride=2), p, "n1"))
    b = _norm(_bound(a, p, "c2", padding=1), p, "n2")
    return F.relu(b + _bound(x, p, "c3", stride=2)).mean((2, 3))


def _mobile(x: Any, p: Tensors) -> Any:
    a = F.silu(_bound(x, p, "a"))
    weight = p["b.weight"].unsqueeze(1)
    b = F.conv2d(a, weight, p["b.bias"], stride=2, padding=2, groups=weight.shape[0])
    return x[:, :, ::2, ::2] + _bound(F.silu(b), p, "c")


def _inception(x: Any, p: Tensors) -> Any:
    a = _bound(x, p, "a")
    b = _bound(F.relu(_bound(x, p, "b1")), p, "b2", padding=1)
    c = _bound(F.relu(_bound(x, p, "c1")), p, "c2", padding=2)
    d = _bound(F.max_pool2d(x, 3, 1, 1), p, "d1")
    return F.max_pool2d(F.relu(torch.cat([a, b, c, d], 1)), 3, 2, ceil_mode=True)


MEDIUM = [
    Case(
        "resnet_block",
        """
        a = ReLU(BatchNorm(Conv(x, 40, kernel = 3, stride = 2, pad = 1, name = "c1"), name = "n1"))
        b = BatchNorm(Conv(a, 40, kernel = 3, pad = 1, name = "c2"), name = "n2")
        y = GlobalMeanPool(ReLU(b + Conv(x, 40, kernel = 1, stride = 2, name = "c3")))
        """,
        lambda x, p, _: _resnet(x, p),
        shape=(19, 17, 17),
        batch=9,
        spread=0.1,
    ),
    Case(
        "mobile_block",
        """
        first = SiLU(Conv(x, 48, kernel = 1, name = "a"))
        second = SiLU(DepthwiseConv(first, kernel = 5, stride = 2, pad = 2, name = "b"))
        half = Half(x)
        y = half + Conv(second, 16, kernel = 1, name = "c")
        """,
        lambda x, p, _: _mobile(x, p),
        definitions="""
        layer Half(source[c, h, w]) {
            ensemble out[ch: c, y: (h + 1) // 2, x: (w + 1) // 2] = Identity(source[ch, 2*y, 2*x])
        }
        """,
        shape=(16, 15, 13),
        batch=8,
        spread=0.2,
    ),
    Case(
        "inception_block",
        """
        a = Conv(x, 16, kernel = 1)
        b = x -> Conv(24, kernel = 1, name = "b1") -> ReLU
              -> Conv(32, kernel = 3, pad = 1, name = "b2")
        c = x -> Conv(4, kernel = 1, name = "c1") -> ReLU
              -> Conv(8, kernel = 5, pad = 2, name = "c2")
        d = x -> MaxPool(kernel = 3, stride = 1, pad = 1) -> Conv(8, kernel = 1, name = "d1")
        y = MaxPool(ReLU(Concat(a, b, c, d)), kernel = 3, stride = 2, round = ceil)
        """,
        lambda x, p, _: _inception(x, p),
        shape=(48, 14, 14),
        batch=5,
        spread=0.1,
    ),
    Case(
        "first_layer",
        'y = MaxPool(LRN(ReLU(Conv(x, 20, kernel = 11, stride = 4, pad = 2, name = "c"))), 3, 2)',
        lambda x, p, _: F.max_pool2d(
            F.local_response_norm(
                F.relu(_bound(x, p, "c", stride=4, padding=2)), 5, 1e-4, 0.75, 1.0
            ),
            3,
            2,
        ),
        shape=(3, 67, 63),
        batch=6,
        spread=0.1,
    ),
    Case(
        "grouped_and_dilated",
        """
        a = Conv(x, 64, kernel = 3, pad = 2, dilation = 2, groups = 4)
        y = a -> Tanh -> Conv(10, kernel = (1, 7), pad = (0, 9), dilation = 3, stride = (2, 1),
                              name = "b")
        """,
        lambda x, p, _: _bound(
            _bound(x, p, "a", padding=2, dilation=2, groups=4).tanh(),
            p,
            "b",
            padding=(0, 9),
            dilation=3,
            stride=(2, 1),
        ),
        shape=(32, 12, 18),
        batch=4,
        spread=0.1,
    ),
    Case(
        "deep_linear",
        'y = x -> Linear(300, name = "a") -> ReLU -> Linear(130, name = "b") -> GELU'
        ' -> Linear(17, name = "c")',
        lambda x, p, _: F.linear(
            F.gelu(
                F.linear(
                    F.relu(F.linear(x.flatten(1), p["a.weight"].flatten(1), p["a.bias"])),
                    p["b.weight"],
                    p["b.bias"],
                )
            ),
            p["c.weight"],
            p["c.bias"],
        ),
        shape=(5, 9, 11),
        batch=67,
        spread=0.06,
    ),
    Case(
        "video",
        'y = x -> Conv(12, kernel = 3, pad = 1, name = "a") -> ReLU -> MeanPool((1, 2, 2))',
        lambda x, p, _: F.avg_pool3d(
            F.relu(F.conv3d(x, p["a.weight"], p["a.bias"], padding=1)), (1, 2, 2)
        ),
        shape=(7, 5, 10, 9),
        batch=3,
        spread=0.1,
    ),
    Case(
        "transformer_block",
        """
        a = x + MultiHeadAttention(Normal(x), 4, name = "m")
        y = a + Wide(Normal(a), 96, name = "w")
        """,
        lambda x, p, _: _transformer(x, p),
        definitions="""
        layer Normal(x[n, d]) {
            ensemble m[i: n] = Mean(x[i])
            ensemble v[i: n] = Variance(x[i], m[i])
            ensemble out[i: n, k: d] = Standardize(x[i, k], m[i], v[i], 1, 0, 1e-5)
        }
        layer Wide(x[n, d], size) {
            param up[size, d] = xavier(d)
            param down[d, size] = xavier(size)
            ensemble inner[i: n, k: size] = Product(x[i], up[k])
            ensemble out[i: n, k: d] = Product(bent[i], down[k])
            bent = GELU(inner)
        }
        """,
        shape=(21, 24),
        batch=5,
        spread=0.2,
    ),
]


def _transformer(x: Any, p: Tensors) -> Any:
    n, d = 21, 24
    seen = F.layer_norm(x, (d,)).transpose(0, 1)
    mixed = F.multi_head_attention_forward(
        *(seen, seen, seen, d, 4, p["m.wx"].reshape(3 * d, d), p["m.bx"].reshape(3 * d)),
        *(None, None, False, 0.0, p["m.wo"].reshape(d, d), p["m.bo"]),
        need_weights=False,
    )[0]
    a = x + mixed.transpose(0, 1)
    assert a.shape[1] == n
    return a + F.gelu(F.layer_norm(a, (d,)) @ p["w.up"].T) @ p["w.down"].T
