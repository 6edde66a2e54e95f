"""Activations, normalisation and attention, with what PyTorch makes of them."""

from __future__ import annotations

from case import Case, F, torch

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
