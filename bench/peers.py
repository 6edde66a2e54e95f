"""A training step of the same net in Latte and in PyTorch, in turn, in one process.

    python bench/peers.py alexnet --rounds 5 --modes eager channels_last compile

Prints the median of each side and of the ratios of each round: a shared machine changes from minute
to minute, a ratio much less. A step is forward, backward and Momentum's update with decay.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import nn

import latte

ROOT = Path(__file__).parent.parent
Images = tuple[int, int, int]


def features(channels: int, *layers: tuple[int, ...] | str) -> list[nn.Module]:
    """(filters, kernel, stride, pad) is a convolution with a ReLU; "3/2" a maximum pool."""
    made: list[nn.Module] = []
    for layer in layers:
        if isinstance(layer, str):
            kernel, stride = map(int, layer.split("/"))
            made.append(nn.MaxPool2d(kernel, stride))
        else:
            filters, kernel, stride, pad = layer
            made += [nn.Conv2d(channels, filters, kernel, stride, pad), nn.ReLU()]
            channels = filters
    return made


def classifier(*sizes: int) -> list[nn.Module]:
    """Linear layers with ReLUs between them."""
    made: list[nn.Module] = [nn.Flatten()]
    for number, (before, after) in enumerate(pairwise(sizes)):
        made += [nn.ReLU()] if number else []
        made.append(nn.Linear(before, after))
    return made


def alexnet() -> list[nn.Module]:
    convolutions = features(
        3, (64, 11, 4, 2), "3/2", (192, 5, 1, 2), "3/2",
        (384, 3, 1, 1), (256, 3, 1, 1), (256, 3, 1, 1), "3/2",
    )  # fmt: skip
    return convolutions + classifier(9216, 4096, 4096, 1000)


def vgg_a() -> list[nn.Module]:
    convolutions = features(
        3, (64, 3, 1, 1), "2/2", (128, 3, 1, 1), "2/2", (256, 3, 1, 1), (256, 3, 1, 1), "2/2",
        (512, 3, 1, 1), (512, 3, 1, 1), "2/2", (512, 3, 1, 1), (512, 3, 1, 1), "2/2",
    )  # fmt: skip
    return convolutions + classifier(25088, 4096, 4096, 1000)


def lenet() -> list[nn.Module]:
    convolutions = [nn.Conv2d(1, 20, 5), nn.MaxPool2d(2), nn.Conv2d(20, 50, 5), nn.MaxPool2d(2)]
    return convolutions + classifier(800, 500, 10)


NETS: dict[str, tuple[str, Callable[[], list[nn.Module]], int, Images]] = {
    "alexnet": ("examples/nets/alexnet.latte", alexnet, 64, (3, 224, 224)),
    "vgg_a": ("examples/nets/vgg_a.latte", vgg_a, 8, (3, 224, 224)),
    "lenet": ("examples/02_lenet_mnist/net.latte", lenet, 64, (1, 28, 28)),
}


def torch_step(
    layers: list[nn.Module], mode: str, x: np.ndarray, y: np.ndarray
) -> Callable[[], None]:
    """A function that trains one step."""
    net: nn.Module = nn.Sequential(*layers)
    images, labels = torch.tensor(x), torch.tensor(y)
    if mode == "channels_last":
        net = net.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    solver = torch.optim.SGD(net.parameters(), 1e-4, momentum=0.9, weight_decay=5e-4)
    run = torch.compile(net) if mode == "compile" else net
    loss = nn.CrossEntropyLoss()

    def step() -> None:
        solver.zero_grad()
        loss(run(images), labels).backward()
        solver.step()

    return step


def seconds(step: Callable[[], object], times: int) -> float:
    """The mean time of a step over some steps."""
    start = time.perf_counter()
    for _ in range(times):
        step()
    return (time.perf_counter() - start) / times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("net", choices=NETS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--modes", nargs="+", default=["eager", "channels_last"])
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    path, layers, batch, shape = NETS[chosen.net]
    draw = np.random.default_rng(0)
    x = draw.normal(size=(batch, *shape)).astype(np.float32)
    y = draw.integers(0, 10, batch)
    start = time.perf_counter()
    exe = latte.compile(ROOT / path, batch=batch, threads=chosen.threads)
    exe.set_hyper("rate", 1e-4)
    exe.step(image=x, label=y)
    print(f"latte: first step after {time.perf_counter() - start:.1f} s")
    peers = {mode: torch_step(layers(), mode, x, y) for mode in chosen.modes}
    for step in peers.values():
        seconds(step, 2)
    times = max(1, int(0.5 / seconds(lambda: exe.step(image=x, label=y), 2)))
    rounds = []
    for _ in range(chosen.rounds):
        ours = seconds(lambda: exe.step(image=x, label=y), times)
        rounds.append((ours, {mode: seconds(step, times) for mode, step in peers.items()}))
    median = statistics.median(ours for ours, _ in rounds)
    print(f"{chosen.net}, batch {batch}, {chosen.threads} threads: latte {1e3 * median:.1f} ms")
    for mode in peers:
        theirs = statistics.median(others[mode] for _, others in rounds)
        ratio = statistics.median(others[mode] / ours for ours, others in rounds)
        print(f"  torch {mode:14} {1e3 * theirs:8.1f} ms   torch / latte {ratio:.2f}")


if __name__ == "__main__":
    main()
