"""Nets written in Python print as the text they equal."""

import pytest

from latte.recorder import Recorder


def test_calls_become_statements() -> None:
    net = Recorder("Tiny")
    image, label = net.input("image", (1, 8, 8)), net.input("label", classes=10)
    hidden = net.Conv(image, 4, kernel=(3, 5), name="conv")
    pooled = net.MaxPool(net.ReLU(hidden), 2, round="ceil")
    scores = net.Linear(pooled, 10, name="scores")
    net.loss(net.SoftmaxLoss(scores, label), weight=0.5)
    net.metric(net.Accuracy(scores, label), "accuracy")
    net.solver("Adam", batch=32, rate=1e-3)
    assert net.text() == (
        "net Tiny {\n"
        "    input image[1, 8, 8]\n"
        "    input label: class(10)\n"
        "    conv = Conv(image, 4, kernel = (3, 5))\n"
        "    scores = Linear(MaxPool(ReLU(conv), 2, round = ceil), 10)\n"
        "    loss 0.5 * SoftmaxLoss(scores, label)\n"
        "    metric accuracy = Accuracy(scores, label)\n"
        "}\n"
        "\n"
        "train Tiny {\n"
        "    solver Adam(rate = 0.001)\n"
        "    batch 32\n"
        "}\n"
    )


def test_a_value_used_twice_gets_a_name() -> None:
    net = Recorder("Residual")
    x = net.input("x", 4)
    hidden = net.ReLU(net.Linear(x, 4))
    net.loss(net.MeanSquaredLoss(hidden + net.Tanh(hidden) * 2 - hidden, x), name="fit")
    assert net.text() == (
        "net Residual {\n"
        "    input x[4]\n"
        "    relu1 = ReLU(Linear(x, 4))\n"
        "    loss fit = MeanSquaredLoss((relu1 + (Tanh(relu1) * 2)) - relu1, x)\n"
        "}\n"
    )


def test_a_name_is_bound_once() -> None:
    net = Recorder("Twice")
    x = net.input("x", 4)
    net.Linear(x, 4, name="a")
    with pytest.raises(ValueError, match="the name 'a' is already used"):
        net.Linear(x, 4, name="a")


def test_parts_of_a_layer_are_attributes() -> None:
    net = Recorder("Parts")
    lstm = net.LSTM(net.input("x", 4, time=True), 8, name="lstm")
    net.loss(net.L1Loss(lstm.cell, lstm))
    assert "input x[@time, 4]" in net.text()
    assert "loss L1Loss(lstm.cell, lstm)" in net.text()
