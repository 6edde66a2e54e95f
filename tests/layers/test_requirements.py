"""What the library's layers say when they are asked for what cannot be."""

import pytest

import latte

NET = """
net Case {
    input image[6, 8, 9]
    input row[6]
    input label: class(4)
    y = %s
    loss Identity(y)
}
"""

CASES = {
    "Conv(image, 0, kernel = 3)": "filters must be at least 1",
    "Conv(image, 4, kernel = 0)": "kernel, stride and dilation must be at least 1",
    "Conv(image, 4, kernel = 3, stride = (1, 0))": "kernel, stride and dilation must be at least 1",
    "Conv(image, 4, kernel = 3, pad = -1)": "pad must not be negative",
    "Conv(image, 4, kernel = 9)": "the kernel is larger than the padded source",
    "Conv(image, 4, kernel = 3, dilation = 4)": "the kernel is larger than the padded source",
    "Conv(image, 4, kernel = 3, groups = 4)": "channels must be divisible by groups",
    "Conv(image, 4, kernel = 3, groups = 3)": "filters must be divisible by groups",
    "GroupConv(image, 6, kernel = 3, groups = 5)": "channels must be divisible by groups",
    "DepthwiseConv(image, kernel = 10)": "the kernel is larger than the padded source",
    "Linear(row, 0)": "size must be at least 1",
    "MaxPool(image, kernel = 2, pad = 2)": "pad must be smaller than the kernel",
    "MaxPool(image, kernel = 9)": "the kernel is larger than the padded source",
    "MaxPool(image, kernel = 2, round = 1)": "round must be floor or ceil",
    "MeanPool(image, kernel = (1, 10))": "the kernel is larger than the padded source",
    "Dropout(image, 1)": "rate must be at least 0 and below 1",
    "LRN(image, size = 0)": "size must be at least 1",
    "GroupNorm(image, 4)": "channels must be divisible by groups",
    "Upsample(image, factor = 0)": "factor must be at least 1",
    "Embedding(label, 0)": "size must be at least 1",
    "MeanSquaredLoss(image, row)": "source and target must have equally many values",
}


@pytest.mark.parametrize("call", CASES)
def test_message(call: str) -> None:
    with pytest.raises(latte.LatteError) as caught:
        latte.loads(NET % call).elaborated  # noqa: B018
    [diagnostic] = caught.value.diagnostics
    assert CASES[call] in diagnostic.message
    assert diagnostic.span is not None
    assert diagnostic.span.source.position(diagnostic.span.start)[0] == 6  # the user's own line
