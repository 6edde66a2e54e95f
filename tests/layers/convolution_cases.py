"""Convolutions and linear layers, with what PyTorch makes of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from case import Case, F, Tensors


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
