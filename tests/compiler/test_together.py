"""Groups of neighbours: the same numbers, and the rows or items that they go by."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import latte
from latte import build
from latte.codegen import interp
from latte.codegen.interp import Run
from latte.compiler import pipeline, together
from latte.compiler.ir import Group, Program, kernels
from latte.compiler.machine import Machine, host
from latte.compiler.verify import verify
from latte.runtime import cpu, records

TEXT = """
net Pools {
    input image[3, 11, 12]
    input label: class(4)
    a = image -> Conv(32, kernel = 3, pad = 1) -> ReLU -> MaxPool(KERNEL, stride = 2, round = ceil)
    b = ReLU(BatchNorm(Conv(a, 6, kernel = 1, biased = false)))
    scores = Linear(MeanPool(b, kernel = 2, stride = 1), 4)
    loss SoftmaxLoss(scores, label)
}
"""
BATCH = 8


@pytest.fixture(autouse=True)
def small_buffers_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "LARGE", 0)
    monkeypatch.setattr(cpu, "PARALLEL_WORK", 0)
    monkeypatch.setattr(records, "ALONE_WORK", 0)


def stages(kernel: int, machine: Machine) -> tuple[Program, Program]:
    """A program before and after the pass."""
    text = TEXT.replace("KERNEL", str(kernel))
    net = build.elaborate(build.read_text(text, "pools.latte"), None, {})
    made = dict(pipeline.stages(pipeline.program_of(net, batch=BATCH), machine))
    names = list(made)
    return made[names[names.index("together") - 1]], made["together"]


def groups(program: Program) -> list[Group]:
    return [i for i in program.phase("step").items if isinstance(i, Group) and i.per == 1]


@pytest.mark.parametrize("kernel", [2, 3])
@pytest.mark.parametrize("by_rows", [False, True])
def test_the_same_numbers(kernel: int, by_rows: bool) -> None:
    before, after = stages(kernel, replace(host(), l2=0 if by_rows else 1 << 30))
    verify(after, "together")
    rows = [group for group in groups(after) if len(group.axes) == 2]
    assert bool(rows) == by_rows
    assert len(kernels(before.phase("step").items)) == len(kernels(after.phase("step").items))
    for items in (BATCH, 3):
        results = []
        for program in (before, after):
            arrays, draw = interp.allocate(program), np.random.default_rng(5)
            for buffer in program.buffers:
                if buffer.role in ("input", "parameter") and buffer.element == "f32":
                    arrays[buffer.name][...] = draw.normal(size=arrays[buffer.name].shape)
            scalars = dict.fromkeys(program.scalars, 0.5) | {"items": float(items)}
            interp.run(program, "step", arrays, Run(items, scalars=scalars))
            results.append({b.name: arrays[b.name] for b in before.buffers if b.role == "state"})
        for name, expected in results[0].items():
            np.testing.assert_allclose(results[1][name], expected, rtol=1e-12, err_msg=name)


def test_overlapping_windows_and_the_sum_behind_them_are_one_group() -> None:
    _, after = stages(3, replace(host(), l2=0))
    names = [[kernel.name for kernel in kernels(group.items)] for group in groups(after)]
    assert any(
        [name.partition("#")[0] for name in found].count("relu1.grad") == 4 for found in names
    )


@pytest.mark.parametrize("by_rows", [False, True])
def test_any_number_of_threads_gives_the_same_bits(
    by_rows: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    here, change = replace(host(), l2=0 if by_rows else 1 << 30), together.together
    monkeypatch.setattr(pipeline, "together", lambda program, machine: change(program, here))
    path = tmp_path / "pools.latte"
    path.write_text(TEXT.replace("KERNEL", "3"))
    draw = np.random.default_rng(0)
    image, label = draw.normal(size=(7, 3, 11, 12)).astype(np.float32), draw.integers(0, 4, 7)
    weights = []
    for target, threads in (("interp", 1), ("cpu", 1), ("cpu", 2), ("cpu", 3)):
        exe = latte.compile(path, batch=BATCH, threads=threads, target=target, seed=1)
        for _ in range(2):
            exe.step(image=image, label=label)
        weights.append({name: np.array(value) for name, value in exe.params.items()})
    for name, expected in weights[0].items():
        np.testing.assert_allclose(weights[1][name], expected, rtol=1e-3, atol=1e-5)
        for other in weights[2:]:
            np.testing.assert_array_equal(other[name], weights[1][name])
