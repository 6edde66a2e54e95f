"""How much memory a training step takes here and in PyTorch, each in a process of its own.

    python bench/memory.py                    VGG-A 8, AlexNet 64; into bench/results.json

What counts is the most that the process held during its second and third step, all of it: the
interpreter and libraries too. `base` is what it held before it read the net.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import results
from nets import ENTRIES, ROOT, Entry

NETS = (("VGG-A", 8), ("AlexNet", 64), ("ResNet-18", 16))
SIDES = ("latte", "eager", "channels_last")


def status(name: str) -> int:
    """A line of /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def peak_of(step: Any) -> int:
    """The most memory held while a step runs twice, once it has run."""
    step()
    Path("/proc/self/clear_refs").write_text("5", "utf-8")
    step()
    step()
    return status("VmHWM")


def child(entry: Entry, side: str, threads: int) -> dict[str, int]:
    """One side in this process: bytes before and during steps."""
    import latte

    if side == "latte":
        base = status("VmRSS")
        _, fed, weights, _ = _given(entry)
        weights.clear()
        exe = latte.load(entry.path).compile(batch=entry.batch, threads=threads, time=entry.time)
        return {"base": base, "peak": peak_of(lambda: exe.step(**fed))}
    import torch

    from latte.peers.torch_net import TorchTraining

    torch.set_num_threads(threads)
    base = status("VmRSS")
    net, fed, weights, hypers = _given(entry)
    training = TorchTraining(
        net, weights, fed, hypers, items=entry.batch, steps=entry.time or 1, mode=side
    )
    weights.clear()
    return {"base": base, "peak": peak_of(training.step)}


def _given(entry: Entry) -> tuple[Any, Any, dict[str, Any], dict[str, float]]:
    """A net, a batch of noise and weights for PyTorch, without compiling anything here."""
    import numpy as np

    import latte
    from latte.runtime.initial import scheduled

    net = latte.load(entry.path).elaborated
    draw = np.random.default_rng(0)
    fed = {
        each.name: draw.normal(size=_shape(entry, each)).astype(np.float32)
        if each.classes is None
        else draw.integers(0, each.classes, _shape(entry, each))
        for each in net.inputs
    }
    learned = (*net.parameters, *net.runnings)
    weights = {
        each.name: draw.normal(0, 0.01, [axis.size for axis in each.axes]).astype(np.float32)
        for each in learned
    }
    hypers = {h.name: scheduled(h.schedule, 0, 0.0, 1) for h in net.training.solver.hypers}
    return net, fed, weights, hypers


def _shape(entry: Entry, each: Any) -> tuple[int, ...]:
    time = (entry.time or 1,) if each.time else ()
    return (entry.batch, *time, *(axis.size for axis in each.axes))


def measured(entry: Entry, side: str, threads: int) -> dict[str, int]:
    """One side in a process of its own."""
    words = [sys.executable, __file__, "--child", entry.name, str(entry.batch), side]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*words, "--threads", str(threads)], capture_output=True, text=True, check=True,
        env=environment,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    known = {(entry.name, entry.batch): entry for entry in ENTRIES}
    if chosen.child:
        name, batch, side = chosen.child
        print(json.dumps(child(known[name, int(batch)], side, chosen.threads)))
        return
    rows = []
    for key in NETS:
        row = {side: measured(known[key], side, chosen.threads) for side in SIDES}
        rows.append({"name": key[0], "batch": key[1], **row})
        least = min(row[side]["peak"] for side in SIDES[1:])
        told = ", ".join(f"{side} {row[side]['peak'] / 2**20:,.0f} MB" for side in SIDES)
        print(f"{known[key].label}: {told}; latte / torch {row['latte']['peak'] / least:.2f}")
    results.save("memory", rows)


if __name__ == "__main__":
    main()
