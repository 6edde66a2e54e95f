"""Places in an arena: what lives together lies apart; declared and stored order are one array."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from latte.compiler.expression import Axis, Load, Number
from latte.compiler.ir import Buffer, Dim, Kernel, Phase, Program, Write
from latte.compiler.plan_memory import KERNEL, PROCESS, buffer_bytes, peak_bytes, plan_memory
from latte.errors import LatteError
from latte.runtime import arrays


@some.composite
def straight_line(draw: some.DrawFn) -> Program:
    """Kernels that each write one buffer from any earlier ones."""
    count = draw(some.integers(1, 12))
    sizes = draw(some.lists(some.integers(1, 300), min_size=count, max_size=count))
    buffers, kernels = [], []
    for number, size in enumerate(sizes):
        axes = (Axis("i", size),)
        buffers.append(Buffer(f"b{number}", axes, "value", f"b{number}"))
        sources = draw(some.lists(some.integers(0, number - 1), max_size=3)) if number else []
        lets = tuple(Load(f"b{source}", ()) for source in sources)
        expression = lets[0] if lets else Number(0.0)
        writes = [Write(f"b{number}", (), expression)]
        writes += [Write(f"b{number}", (), other) for other in lets[1:]]
        kernels.append(Kernel(f"k{number}", axes, (), tuple(writes)))
    return Program("Line", tuple(buffers), (Phase("step", tuple(kernels)),))


def alive(program: Program) -> dict[str, range]:
    """The kernels from the first to the last that touch each buffer, found the plain way."""
    found: dict[str, list[int]] = {}
    for number, kernel in enumerate(program.phases[0].items):
        assert isinstance(kernel, Kernel)
        for write in kernel.writes:
            found.setdefault(write.buffer, []).append(number)
            if isinstance(write.expression, Load):
                found.setdefault(write.expression.buffer, []).append(number)
    return {name: range(min(at), max(at) + 1) for name, at in found.items()}


@given(straight_line(), some.integers(0, 11))
@settings(max_examples=150, deadline=None)
def test_buffers_alive_together_lie_apart(program: Program, kept: int) -> None:
    keep = frozenset({f"b{kept}"})
    plan = plan_memory(program, "step", reuse=True, keep=keep)
    lives, offsets = alive(program), dict(plan.offsets)
    assert offsets.keys() == lives.keys()
    for a in offsets:
        size = buffer_bytes(program.buffer(a))
        assert offsets[a] % 64 == 0 and offsets[a] + size <= plan.size
        for b in offsets:
            apart = offsets[a] + size <= offsets[b] or (
                offsets[b] + buffer_bytes(program.buffer(b)) <= offsets[a]
            )
            together = set(lives[a]) & set(lives[b])
            assert a == b or apart or not together
            later = lives[b].start >= lives[a].stop
            assert apart or not later or a not in plan.intact
    assert keep & offsets.keys() <= plan.intact
    assert plan == plan_memory(program, "step", reuse=True, keep=keep)


def test_reuse_saves_memory_and_apart_keeps_everything() -> None:
    axes = (Axis("i", 1024),)
    buffers = tuple(Buffer(f"b{k}", axes, "value", "") for k in range(8))
    kernels = tuple(
        Kernel(f"k{k}", axes, (), (Write(f"b{k}", (), Load(f"b{k - 1}", ())),)) for k in range(1, 8)
    )
    program = Program("Chain", buffers, (Phase("step", kernels), Phase("forward", kernels)))
    assert plan_memory(program, "step", reuse=True).size == 2 * 4096
    assert plan_memory(program, "step", reuse=False).size == 8 * 4096
    assert peak_bytes(program, "step") == PROCESS + 7 * KERNEL + 2 * 4096


LAYOUTS = [
    (),
    (Dim(1, 1, 16), Dim(2, 9, before=2), Dim(0, 8), Dim(1, 16, 1, 16)),
    (Dim(0, 8), Dim(2, 5), Dim(1, 13)),
    (Dim(1, 4, 4), Dim(0, 2, 4), Dim(2, 5), Dim(1, 4, 1, 4), Dim(0, 4, 1, 4)),
]


@pytest.mark.parametrize("dims", LAYOUTS)
@pytest.mark.parametrize("items", [1, 3, 8])
def test_read_gives_what_write_took(dims: tuple[Dim, ...], items: int) -> None:
    axes = (Axis("n", 8, "n"), Axis("c", 13), Axis("y", 5))
    buffer = Buffer("b", axes, "value", "b", "f32", dims)
    memory = arrays.Place(buffer, arrays.allocate(arrays.stored_bytes(buffer)))
    values = np.random.default_rng(0).normal(size=(items, 13, 5)).astype(np.float32)
    memory.write(values)
    np.testing.assert_array_equal(memory.read(values.shape), values)
    for n, c, y in np.ndindex(values.shape):
        index = (n, c, y)
        place = tuple(
            (lambda q: q % d.modulo if d.modulo else q)(index[d.axis] // d.divide) + d.before
            for d in dims
        )
        assert memory.stored[place or index] == values[index]
    assert np.count_nonzero(memory.stored) == values.size


@pytest.mark.parametrize("size", [1, 100, 5 * 2**20])
def test_memory_is_aligned_and_zero(size: int) -> None:
    block = arrays.allocate(size)
    assert block.nbytes == size and not block.any()
    assert block.ctypes.data % (64 if size < 2**21 else 2**21) == 0


def test_a_forked_process_has_its_own_memory() -> None:
    block = arrays.allocate(3 * 2**20)
    child = os.fork()
    if child == 0:
        block[:] = 1
        os._exit(0)
    os.waitpid(child, 0)
    assert not block.any()


MEASURE = """
import numpy as np, latte
net = latte.loads('''
net Wide { input x[1000]; input y[2000]; h = Linear(x, 6000); z = Linear(ReLU(h), 2000)
    loss MeanSquaredLoss(z, y) }''')
exe = net.compile(batch=2000)
exe.step(x=np.ones((2000, 1000), np.float32), y=np.ones((2000, 2000), np.float32))
data = 4 * 2000 * 3000
status = dict(line.split(":") for line in open("/proc/self/status").read().splitlines())
print(int(status["VmHWM"].split()[0]) * 1024 - data, net.summary(2000).peak)
"""  # ru_maxrss would not do: a child starts with its parent's


def test_the_predicted_peak_is_near_the_measured_one() -> None:
    done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True)
    measured, predicted = map(int, done.stdout.split())
    assert predicted == pytest.approx(measured, rel=0.15)


def test_memory_that_is_not_there_is_a_coded_error() -> None:
    with pytest.raises(LatteError, match="E0912"):
        arrays.allocate(1 << 60)
