"""What each thread does when: the driver with a clock."""

from itertools import pairwise

import numpy as np
import pytest
import tiny

from latte.codegen.llvm_driver import driver
from latte.compiler.ir import kernels
from latte.runtime import cpu, records, trace
from latte.runtime.executable import Executable
from latte.runtime.trace import Log

ITEMS, WIDTH = 7, 700


@pytest.fixture(autouse=True)
def always_parallel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "PARALLEL_WORK", 0)
    monkeypatch.setattr(records, "ALONE_WORK", 0)
    monkeypatch.setattr(trace, "APART", 0.001)


def fed(threads: int) -> Executable:
    program = tiny.program(batch=8, width=WIDTH)
    exe = Executable(tiny.net(WIDTH), program, tiny.native(program, threads=threads))
    x = np.random.default_rng(0).normal(size=(ITEMS, WIDTH)).astype(np.float32)
    exe.step(x=x, target=x[:, 0])
    return exe


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_every_kernel_is_seen_on_every_thread_that_runs_it(threads: int) -> None:
    exe = fed(threads)
    spans = exe.backend.traced("step", exe.now("step"))
    listed = kernels(exe.program.phase("step").items)
    assert {span.kernel for span in spans} == set(listed)
    assert {span.thread for span in spans} == set(range(threads))
    for thread in range(threads):
        mine = [span for span in spans if span.thread == thread]
        assert all(0 <= span.begin <= span.end < 60 for span in mine)
        assert all(before.end <= after.begin for before, after in pairwise(mine))


def test_a_trace_is_a_run_like_any_other() -> None:
    plain, traced = fed(2), fed(2)
    plain.backend.run("step", plain.now("step"))
    traced.backend.traced("step", traced.now("step"))
    assert plain.params["w"].tobytes() == traced.params["w"].tobytes()


def test_a_full_log_takes_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "Log", lambda threads: Log(threads, room=2))
    exe = fed(1)
    spans = exe.backend.traced("step", exe.now("step"))
    assert [span.kernel for span in spans] == list(kernels(exe.program.phase("step").items)[:2])


def test_the_driver_that_runs_otherwise_has_no_clock() -> None:
    assert "counter" not in driver("x86_64")
    assert "readcyclecounter" in driver("x86_64", traced=True)
    assert "readsteadycounter" in driver("aarch64", traced=True)
