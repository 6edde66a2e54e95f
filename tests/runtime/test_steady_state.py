"""After the first steps nothing is allocated, mapped, opened or started any more."""

import gc
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import small

import latte
from latte.runtime import cpu

CONVOLUTION = """
net Medium {
    input image[3, 17, 17]
    input label: class(5)
    features = MaxPool(ReLU(Conv(image, 24, kernel = 3)), kernel = 2, stride = 2)
    scores = Linear(features, 5)
    loss SoftmaxLoss(scores, label)
}
"""


def held() -> tuple[int, int, int]:
    """Maps, open files and threads of this process."""
    folder = Path("/proc/self")
    maps = len((folder / "maps").read_text().splitlines())
    return maps, len(os.listdir(folder / "fd")), len(os.listdir(folder / "task"))


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.parametrize("threads", [1, 2])
def test_steps_and_predictions_allocate_nothing(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu, "PARALLEL_WORK", 0)
    exe = latte.loads(CONVOLUTION).compile(batch=16, threads=threads)
    rng = np.random.default_rng(0)
    image = rng.normal(size=(16, 3, 17, 17)).astype(np.float32)
    label = rng.integers(0, 5, 16).astype(np.int32)

    def work() -> None:
        for items in (16, 5):
            exe.step(image=image[:items], label=label[:items])
            exe.predict(image=image[:items])

    for _ in range(5):
        work()
    gc.collect()
    before, size = held(), resident()
    tracemalloc.start()
    work()
    first = tracemalloc.get_traced_memory()[0]
    for _ in range(30):
        work()
    last, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert last - first < 50_000  # tuples that Python keeps to use again
    assert peak - last < 20_000  # the answers, and what tells Python's own names
    assert held() == before
    assert resident() - size < 2**20
    exe.close()


def test_executables_that_are_dropped_leave_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "PARALLEL_WORK", 0)
    net, data = small.net(), small.data(8)

    def use() -> None:
        exe = net.compile(batch=8, threads=3)
        exe.step(**data)
        exe.predict(x=data["x"])

    for _ in range(3):
        use()
    gc.collect()
    before, size = held(), resident()
    for _ in range(15):
        use()
    gc.collect()
    after = held()
    assert after[1:] == before[1:] and after[0] <= before[0] + 4
    assert resident() - size < 4 * 2**20
