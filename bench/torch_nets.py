"""GoogLeNet and ResNet-18 in PyTorch, as examples/nets has them, and a check that they agree.

    python bench/torch_nets.py googlenet

Gives the PyTorch net Latte's parameters, in order, and compares the loss of a few items. Modules
are declared in the order in which Latte names its parameters.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import relu

import latte

ROOT = Path(__file__).parent.parent


def convolved(channels: int, filters: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """A convolution of the same size, or `stride` times smaller, with a ReLU."""
    return nn.Sequential(nn.Conv2d(channels, filters, kernel, stride, kernel // 2), nn.ReLU(True))


class Inception(nn.Module):
    """Szegedy et al. 2015: four views of one source, joined."""

    def __init__(
        self, c: int, ones: int, few: int, threes: int, fewer: int, fives: int, pooled: int
    ):
        super().__init__()
        self.one = convolved(c, ones, 1)
        self.three = nn.Sequential(convolved(c, few, 1), convolved(few, threes, 3))
        self.five = nn.Sequential(convolved(c, fewer, 1), convolved(fewer, fives, 5))
        self.pool = nn.Sequential(nn.MaxPool2d(3, 1, 1), convolved(c, pooled, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.one(x), self.three(x), self.five(x), self.pool(x)], 1)


def googlenet() -> nn.Module:
    def halve() -> nn.Module:
        return nn.MaxPool2d(3, 2, ceil_mode=True)

    return nn.Sequential(
        convolved(3, 64, 7, 2), halve(), convolved(64, 64, 1), convolved(64, 192, 3), halve(),
        Inception(192, 64, 96, 128, 16, 32, 32),
        Inception(256, 128, 128, 192, 32, 96, 64), halve(),
        Inception(480, 192, 96, 208, 16, 48, 64),
        Inception(512, 160, 112, 224, 24, 64, 64),
        Inception(512, 128, 128, 256, 24, 64, 64),
        Inception(512, 112, 144, 288, 32, 64, 64),
        Inception(528, 256, 160, 320, 32, 128, 128), halve(),
        Inception(832, 256, 160, 320, 32, 128, 128),
        Inception(832, 384, 192, 384, 48, 128, 128),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1024, 1000),
    )  # fmt: skip


def normalized(channels: int, filters: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """A convolution without bias, then batch normalisation."""
    convolution = nn.Conv2d(channels, filters, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(filters))


class Block(nn.Module):
    """He et al. 2016: two 3x3 convolutions beside a short cut."""

    def __init__(self, channels: int, filters: int, stride: int = 1):
        super().__init__()
        self.inner = normalized(channels, filters, 3, stride)
        self.change = normalized(filters, filters, 3)
        same = stride == 1 and channels == filters
        self.side = nn.Identity() if same else normalized(channels, filters, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return relu(self.change(relu(self.inner(x))) + self.side(x))


def resnet18() -> nn.Module:
    return nn.Sequential(
        normalized(3, 64, 7, 2), nn.ReLU(True), nn.MaxPool2d(3, 2, 1),
        Block(64, 64), Block(64, 64), Block(64, 128, 2), Block(128, 128),
        Block(128, 256, 2), Block(256, 256), Block(256, 512, 2), Block(512, 512),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000),
    )  # fmt: skip


NETS: dict[str, Callable[[], nn.Module]] = {"googlenet": googlenet, "resnet18": resnet18}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("net", choices=NETS)
    parser.add_argument("--batch", type=int, default=2)
    chosen = parser.parse_args()
    net, draw = NETS[chosen.net](), np.random.default_rng(0)
    exe = latte.compile(ROOT / f"examples/nets/{chosen.net}.latte", batch=chosen.batch)
    for (name, ours), theirs in zip(exe.params.items(), net.parameters(), strict=True):
        assert ours.size == theirs.numel(), (name, ours.shape, theirs.shape)
        theirs.data = torch.tensor(ours.reshape(theirs.shape))
    x = draw.normal(size=(chosen.batch, 3, 224, 224)).astype(np.float32)
    y = draw.integers(0, 1000, chosen.batch)
    exe.set_hyper("rate", 0.0)
    loss = nn.CrossEntropyLoss()(net(torch.tensor(x)), torch.tensor(y))
    count = sum(parameter.numel() for parameter in net.parameters())
    print(f"{count} parameters; loss: latte {exe.step(image=x, label=y):.6f}, torch {loss:.6f}")


if __name__ == "__main__":
    main()
