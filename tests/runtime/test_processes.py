"""Other processes make the same code; what they do not make is made here."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile

import pytest

import latte
from latte import build
from latte.compiler.alone import alone
from latte.compiler.ir import nests
from latte.compiler.machine import host
from latte.compiler.pipeline import optimize
from latte.runtime import making, processes
from latte.runtime.making import Order, make
from latte.runtime.processes import Processes
from tests.runtime import small


@pytest.fixture(scope="module")
def orders() -> list[Order]:
    net = latte.loads(small.TEXT).elaborated
    program = optimize(build.program_of(net, batch=4), host())
    parts = [alone(*nest, program) for nest in nests(program.phase("step").items)]
    return [Order(part.fingerprint, part.text, 0) for part in parts]


@pytest.fixture(scope="module")
def expected(orders: list[Order]) -> dict[Order, bytes]:
    """What this process makes of them."""
    return dict(make(orders, build.lower_kernel, host(), 1))


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process from the second order on, and its work done before ours begins."""

    def patient(self: Processes) -> Iterator[int]:
        os.close(self._pipe.pop())
        for process, _ in self._others:
            process.wait()
        yield from self._untold

    monkeypatch.setattr(processes, "EACH", 1)
    monkeypatch.setattr(Processes, "mine", patient)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})


def counted(monkeypatch: pytest.MonkeyPatch) -> list[Order]:
    """The orders that were made here."""
    made, printed = [], making.printed
    monkeypatch.setattr(
        making, "printed", lambda order, *rest: (made.append(order), printed(order, *rest))[1]
    )
    return made


def test_another_process_makes_the_same(
    orders: list[Order], expected: dict[Order, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = counted(monkeypatch)
    assert len(expected) > 5
    assert dict(make(orders, build.lower_kernel, host(), 2)) == expected
    assert here == []


@pytest.mark.parametrize(
    "begin",
    [
        "raise SystemExit(1)",
        "import os, sys; os.read(int(sys.argv[1]), 16)",  # takes one and is gone
        "import os, sys; os.read(int(sys.argv[1]), 16); os.write(int(sys.argv[3]), b'0 900\\nx')",
    ],
)
def test_what_others_leave_is_made_here(
    orders: list[Order],
    expected: dict[Order, bytes],
    begin: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(processes, "BEGIN", begin)
    assert dict(make(orders, build.lower_kernel, host(), 2)) == expected


def test_what_others_never_end_is_made_here(
    orders: list[Order], expected: dict[Order, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def hasty(self: Processes) -> Iterator[int]:
        os.close(self._pipe.pop())
        yield from self._untold

    monkeypatch.setattr(Processes, "mine", hasty)
    monkeypatch.setattr(processes, "BEGIN", "import time; time.sleep(600)")
    monkeypatch.setattr(processes, "LONGEST", 0.1)
    here = counted(monkeypatch)
    assert dict(make(orders, build.lower_kernel, host(), 2)) == expected
    assert here == orders


def test_where_a_file_has_no_room_all_is_made_here(
    orders: list[Order], expected: dict[Order, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = iter((Path("/dev/full").open("r+b", buffering=0), TemporaryFile()))  # noqa: SIM115
    monkeypatch.setattr(processes, "TemporaryFile", lambda **_: next(files))
    here = counted(monkeypatch)
    assert dict(make(orders, build.lower_kernel, host(), 2)) == expected
    assert here == orders


@pytest.mark.parametrize("python", ["", "/nowhere/python3", "/bin/true"])
def test_without_another_python_all_is_made_here(
    orders: list[Order],
    expected: dict[Order, bytes],
    python: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(processes, "EACH", 1)
    monkeypatch.setattr(sys, "executable", python)
    assert dict(make(orders, build.lower_kernel, host(), 2)) == expected


def test_a_way_to_lower_that_has_no_name_stays_here(
    orders: list[Order], expected: dict[Order, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(processes, "EACH", 1)
    assert dict(make(orders, lambda *words: build.lower_kernel(*words), host(), 2)) == expected


def test_no_process_outlives_its_work(orders: list[Order], monkeypatch: pytest.MonkeyPatch) -> None:
    begun, begin = [], Processes._begin

    def noted(self: Processes) -> None:
        begin(self)
        begun.append(self._others[-1][0])

    monkeypatch.setattr(Processes, "_begin", noted)

    def broken(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Processes, "mine", broken)
    with pytest.raises(KeyboardInterrupt):
        list(make(orders, build.lower_kernel, host(), 2))
    assert [process.poll() is not None for process in begun] == [True]


def test_a_process_forked_meanwhile_keeps_nobody_waiting(
    orders: list[Order], expected: dict[Order, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    forked, add = [], Processes.add

    def with_a_fork(self: Processes, order: Order) -> None:
        add(self, order)
        if self._others and not forked:
            forked.append(os.fork())
            if not forked[0]:
                time.sleep(20)
                os._exit(0)

    monkeypatch.setattr(Processes, "add", with_a_fork)
    assert dict(make(orders, build.lower_kernel, host(), 2)) == expected
    assert os.waitpid(forked[0], os.WNOHANG) == (0, 0), "it was waited for"
    os.kill(forked[0], signal.SIGKILL)
    os.waitpid(forked[0], 0)


def test_another_process_imports_nothing_from_the_folder_it_is_in(
    orders: list[Order],
    expected: dict[Order, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    here = counted(monkeypatch)
    assert dict(make(orders, build.lower_kernel, host(), 2)) == expected
    assert here == []
