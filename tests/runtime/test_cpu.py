"""Machine code on threads: the same bits for any number of them, and nothing outside its place."""

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny

from latte.codegen import interp
from latte.codegen.interp import Run
from latte.compiler.affine import axis
from latte.compiler.expression import Apply, Axis, Load, Number, Position
from latte.compiler.ir import Buffer, Kernel, Phase, Program, Serial, Write
from latte.runtime import cpu, records
from latte.runtime.cache import Cache
from latte.runtime.executable import Executable

N, J, T = axis("n"), axis("i"), axis("t")


def trained(program: Program, items: int = 7, **options: object) -> bytes:
    """The parameters after three steps, bit for bit."""
    width = program.buffer("w").axes[0].size
    exe = Executable(tiny.net(width), program, tiny.native(program, **options))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(items, width)).astype(np.float32)
    for _ in range(3):
        exe.step(x=x, target=x[:, 0])
    return exe.params["w"].tobytes() + exe.evaluate(x=x, target=x[:, 0])["y"].tobytes()


@pytest.fixture
def always_parallel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "PARALLEL_WORK", 0)
    monkeypatch.setattr(records, "ALONE_WORK", 0)


@pytest.mark.parametrize("items", [1, 7, 8])
@pytest.mark.usefixtures("always_parallel")
def test_same_bits_for_any_number_of_threads(items: int) -> None:
    program = tiny.program(batch=8, width=700)
    assert len({trained(program, items, threads=threads) for threads in (1, 2, 3, 4)}) == 1


@pytest.mark.usefixtures("always_parallel")
def test_steps_that_depend_on_each_other_meet_at_barriers() -> None:
    """Each step reads a neighbour's value of the step before: any missing meeting shows."""
    program = ring(items=4, width=64, steps=400)
    start = np.random.default_rng(0).normal(size=(4, 64)).astype(np.float32)
    expected = interp.allocate(program)
    expected["x"][...] = start
    interp.run(program, "forward", expected, Run(4, 400))
    for threads in (1, 2, 4):
        native = tiny.native(program, threads=threads)
        native.write("x", start)
        native.run("forward", Run(4, 400))
        found = native.read("h", (4, 400, 64), "forward")
        assert found is not None
        np.testing.assert_allclose(found, expected["h"], rtol=1e-4, atol=1e-5)


def ring(items: int, width: int, steps: int) -> Program:
    """h[t, n, i] = 0.6 * h[t-1, n-1, i-1] - 0.4 * h[t-1, n, i], around; h[-1] = x."""
    n, i, t = Axis("n", items, "n"), Axis("i", width), Axis("t", steps, "t")
    x = Buffer("x", (n, i), "input", "x")
    h = Buffer("h", (n, t, i), "value", "h")

    def before(neighbour: int) -> Apply:
        item, place = (N + items - neighbour) % items, (J + width - neighbour) % width
        first = Apply("eq", (Position(T), Number(0.0)))
        return Apply("select", (first, Load("x", (item, place)), Load("h", (item, T - 1, place))))

    value = Apply(
        "sub",
        (Apply("mul", (Number(0.6), before(1))), Apply("mul", (Number(0.4), before(0)))),
    )
    step = Kernel("h", (n, i), (), (Write("h", (N, T, J), value),))
    return Program("Ring", (x, h), (Phase("forward", (Serial(t, False, (step,)),)),))


def test_buffers_end_at_a_page_that_faults() -> None:
    code = (
        "from latte.runtime.arrays import guarded; import ctypes\n"
        "place = guarded(100); end = place.ctypes.data + 128\n"
        "ctypes.string_at(end - 1, 1); print('inside', flush=True); ctypes.string_at(end, 1)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "inside\n" and done.returncode == -11


def test_guarded_and_poisoned_memory_gives_the_same_bits() -> None:
    program = tiny.program(batch=8, width=37)
    for items in (1, 5, 8):
        assert trained(program, items, guard=True) == trained(program, items)


def test_no_page_is_writable_and_executable() -> None:
    def writable_code() -> set[str]:
        lines = Path("/proc/self/maps").read_text().splitlines()
        return {line.split()[0] for line in lines if "rwx" in line.split()[1]}

    tiny.native(tiny.program())
    before = writable_code()  # ctypes itself has such a page
    trained(tiny.program())
    assert writable_code() <= before


def test_a_warm_start_lowers_nothing(tmp_path: Path) -> None:
    program = tiny.program()
    cold = trained(program, cache=Cache(tmp_path / "cache"))
    native = cpu.Native(program, _refuse, cache=Cache(tmp_path / "cache"))
    exe = Executable(tiny.net(), program, native)
    x = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    for _ in range(3):
        exe.step(x=x, target=x[:, 0])
    assert cold.startswith(exe.params["w"].tobytes())


def _refuse(*_: object) -> None:
    raise AssertionError("lowered although it is in the cache")


def test_equal_kernels_share_one_function() -> None:
    """Two buffers, one body: what differs is the argument table alone."""
    n = Axis("n", 4, "n")
    buffers = [Buffer(name, (n,), "value", name) for name in "abc"]
    double = [
        Kernel(to, (n,), (), (Write(to, (N,), Apply("mul", (Load(of, (N,)), Number(2.0)))),))
        for of, to in (("a", "b"), ("b", "c"))
    ]
    program = Program("Twice", tuple(buffers), (Phase("forward", tuple(double)),))
    native = tiny.native(program)
    entries = native._jit.entries(program, program.phases[0], native._lower)
    assert entries[0].address == entries[1].address
    assert entries[0].buffers != entries[1].buffers


def test_values_that_share_memory_are_refused_with_a_way_out() -> None:
    from latte.errors import LatteError

    program = chain(6)
    native = tiny.native(program, keep=frozenset({"v1"}))
    native.run("step", Run(4))
    assert native.read("v1", (4,), "step") is not None
    assert native.read("v2", (4,), "step") is None
    exe = Executable(tiny.net(), tiny.program(), tiny.native(tiny.program()))
    with pytest.raises(LatteError, match="E0909"):
        exe.value("y")


def chain(length: int) -> Program:
    """v1 = x + 1; v2 = v1 + 1; ..."""
    n = Axis("n", 4, "n")
    names = ["x", *(f"v{k}" for k in range(1, length + 1))]
    buffers = [Buffer(name, (n,), "input" if name == "x" else "value", name) for name in names]
    steps = [
        Kernel(to, (n,), (), (Write(to, (N,), Apply("add", (Load(of, (N,)), Number(1.0)))),))
        for of, to in itertools.pairwise(names)
    ]
    return Program("Chain", tuple(buffers), (Phase("step", tuple(steps)),))


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.usefixtures("always_parallel")
def test_tiny_numbers_are_zero_inside_and_stay_outside(threads: int) -> None:
    program = chain(1)
    items = program.buffer("x").axes[0]
    product = Apply("mul", (Load("x", (N,)), Number(2.0)))
    double = Kernel("v1", (items,), (), (Write("v1", (N,), product),))
    native = tiny.native(Program("Tiny", program.buffers, (Phase("step", (double,)),)),
                         threads=threads)  # fmt: skip
    native.write("x", np.array([1e-40, -1e-39, 1e-37, 1.0], np.float32))
    native.run("step", Run(4))
    found = native.read("v1", (4,), "step")
    np.testing.assert_array_equal(found, np.array([0, 0, 2e-37, 2], np.float32))
    assert np.float32(1e-40) * np.float32(2) > 0
