"""A weight's last reader and its update in one sweep: the same numbers, and when they go apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import latte
from latte import build
from latte.codegen import interp
from latte.codegen.interp import Run
from latte.compiler import pipeline, sweep
from latte.compiler.ir import Group, Program, Serial, kernels
from latte.compiler.machine import Machine, host
from latte.compiler.verify import verify
from latte.runtime import cpu, records

TEXT = """
net Two {
    input image[3, 3, 4]
    input label: class(4)
    a = Conv(image, 64, kernel = 2)
    b = Linear(ReLU(a), 64)
    c = Linear(ReLU(b), 32)
    loss SoftmaxLoss(Linear(c, 4), label)
}
train Two { solver Momentum(rate = 0.1, decay = 0.01) }
"""
BATCH = 8


@pytest.fixture(autouse=True)
def small_weights_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "LARGE", 4096)
    monkeypatch.setattr(sweep, "ENOUGH", 2)
    monkeypatch.setattr(cpu, "PARALLEL_WORK", 0)
    monkeypatch.setattr(records, "ALONE_WORK", 0)


def machine(l2: int = 1 << 20) -> Machine:
    return replace(host(), width=16, registers=32, l2=l2)


def stages(made_for: Machine) -> tuple[Program, Program]:
    """A program before and after the pass."""
    net = build.elaborate(build.read_text(TEXT, "two.latte"), None, {})
    made = dict(pipeline.stages(pipeline.program_of(net, batch=BATCH), made_for))
    names = list(made)
    return made[names[names.index("sweep") - 1]], made["sweep"]


def groups(program: Program) -> list[Group]:
    """Those whose places are walked through block by block."""
    return [
        item for item in program.phase("step").items
        if isinstance(item, Group) and any(isinstance(inner, Serial) for inner in item.items)
    ]  # fmt: skip


def test_the_same_numbers() -> None:
    """In groups over the places of an image, and over blocks of one axis."""
    before, after = stages(machine())
    verify(after, "sweep")
    assert [[a.name for a in g.axes] for g in groups(after)] == [
        ["i.0.part"],
        ["i.1.part", "i.2.part"],
    ]
    for items in (BATCH, 3):
        first, second = (trained(program, items) for program in (before, after))
        assert first.keys() == second.keys() and len(first) >= 8
        for name, expected in first.items():
            np.testing.assert_allclose(second[name], expected, rtol=1e-12, err_msg=name)


def trained(program: Program, items: int) -> dict[str, np.ndarray]:
    """Parameters and states after a step, in the oracle."""
    arrays, draw = interp.allocate(program), np.random.default_rng(5)
    for buffer in program.buffers:
        if buffer.role in ("input", "parameter", "state") and buffer.element == "f32":
            arrays[buffer.name][...] = draw.normal(size=arrays[buffer.name].shape)
    scalars = dict.fromkeys(program.scalars, 0.5) | {"items": float(items)}
    interp.run(program, "step", arrays, Run(items, scalars=scalars))
    return {b.name: arrays[b.name] for b in program.buffers if b.role in ("parameter", "state")}


def test_update_and_reader_meet_in_each_block() -> None:
    _, after = stages(machine())
    for group in groups(after):
        clear, loop = group.items
        assert isinstance(loop, Serial)
        read, update = kernels((loop,))
        assert read.writes[0].add and not any(write.add for write in update.writes)
        assert kernels((clear,))[0].writes[0].index == read.writes[0].index


def test_forward_alone_has_none() -> None:
    _, after = stages(machine())
    for phase in after.phases:
        assert phase.name == "step" or not any(
            isinstance(item, Group) and len(kernels((item,))) == 3 for item in phase.items
        )


def test_small_weights_and_narrow_blocks_go_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    _, after = stages(machine(l2=1024))  # not two vectors of a block in the second cache
    assert not groups(after)
    monkeypatch.setattr(sweep, "LARGE", 1 << 20)
    before, after = stages(machine())
    assert before is after


@pytest.mark.parametrize("items", [BATCH, 3])
def test_as_machine_code(items: int) -> None:
    """The same bits for any number of workers, and the numbers of gradients that go apart."""
    found: list[dict[str, np.ndarray]] = []
    for threads, without in ((1, False), (3, False), (2, True)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sweep, "LARGE", 1 << 30 if without else 4096)
            text = TEXT.replace("Two", "Apart" if without else "Two")  # nothing compiled before
            exe = latte.loads(text).compile(batch=BATCH, threads=threads, seed=3)
        draw = np.random.default_rng(1)
        image = draw.normal(size=(items, 3, 3, 4)).astype(np.float32)
        for _ in range(2):
            exe.step(image=image, label=np.arange(items) % 4)
        found.append({name: np.array(array) for name, array in exe.params.items()})
        exe.close()
    one, three, apart = found
    for name, array in one.items():
        np.testing.assert_array_equal(array, three[name], err_msg=name)
        np.testing.assert_allclose(array, apart[name], rtol=1e-4, atol=1e-6, err_msg=name)
