"""What ensembles become: text in, operators out."""

from __future__ import annotations

import pytest

import latte
from latte.peers.translate import translate


def kinds(body: str, training: bool = False, shape: str = "4, 9, 9") -> list[str]:
    """The operators of a net that makes `y` of `x`, without those that only change shapes."""
    net = latte.loads(f"net N {{ input x[{shape}]\n input label: class(5)\n {body} }}")
    graph = translate(net.elaborated, items=2, training=training)
    found = (operation.kind for operation in graph.operations)
    return [kind for kind in found if kind not in ("Reshape", "Transpose")]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("y = ReLU(Conv(x, 8, kernel = 3, pad = 1))", ["Conv", "Relu"]),
        ("y = Conv(x, 8, kernel = 3, groups = 2, biased = false)", ["Conv"]),
        ("y = DepthwiseConv(x, kernel = 3, stride = 2)", ["Conv"]),
        ("y = Linear(x, 5)", ["Gemm"]),
        ("y = MaxPool(x, kernel = 3, stride = 2, round = ceil)", ["MaxPool"]),
        ("y = MeanPool(x, kernel = 2)", ["AveragePool"]),
        ("y = GlobalMeanPool(x)", ["ReduceMean"]),
        ("y = BatchNorm(x)", ["BatchNormalization"]),
        ("y = LayerNorm(x)", ["LayerNormalization"]),
        ("y = LRN(x)", ["LRN"]),
        ("y = Softmax(x)", ["Softmax"]),
        ("y = LogSoftmax(x)", ["LogSoftmax"]),
        ("y = GELU(SiLU(ELU(LeakyReLU(x))))", ["LeakyRelu", "Elu", "Silu", "Gelu"]),
        ("y = Concat(x, Softplus(x))", ["Softplus", "Concat"]),
        ("y = Dropout(x)", []),
    ],
)
def test_layers_of_the_library_are_one_operator(body: str, expected: list[str]) -> None:
    assert kinds(f"{body}\n loss y * y") == expected


def test_training() -> None:
    body = "y = x -> BatchNorm -> Dropout(0.25) -> Linear(5)\n loss SoftmaxLoss(y, label)"
    expected = ["BatchNormalization", "Dropout", "Gemm", "CrossEntropy", "ReduceMean"]
    assert kinds(body, training=True) == expected


def test_a_net_is_printed() -> None:
    net = latte.loads("net N { input x[1, 4, 4]\n y = Conv(x, 2, kernel = 3)\n loss y * y }")
    graph = translate(net.elaborated, items=3, training=False)
    assert str(graph) == (
        "y.out:0 = Conv(x, y.weight, y.bias; dilations (1, 1), group 1, pads (0, 0, 0, 0), "
        "strides (1, 1))"
    )
