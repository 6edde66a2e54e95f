"""Pooling, with what PyTorch makes of it."""

from __future__ import annotations

from case import Case, F

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
