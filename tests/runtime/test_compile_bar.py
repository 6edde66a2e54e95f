"""The bar over a compilation: on a terminal, and only when it takes long."""

import io
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

import latte
from latte.runtime import compile_bar

TEXT = """net Small {
    input x[4]
    input y[3]
    loss MeanSquaredLoss(Linear(Tanh(Linear(x, 8)), 3), y)
}"""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def slow() -> SimpleNamespace:
    """An executable of two phases, told of in halves, the second out of order."""

    def prepare(phase: str, tell: Callable[[float], None]) -> None:
        for share in (0.5, 1.0, 0.5):
            tell(share)

    phases = [SimpleNamespace(name=name) for name in ("step", "infer")]
    return SimpleNamespace(
        program=SimpleNamespace(phases=phases), backend=SimpleNamespace(prepare=prepare)
    )


@pytest.mark.parametrize("patience, shown", [(0.0, True), (60.0, False)])
def test_a_bar_is_shown_after_a_while(
    monkeypatch: pytest.MonkeyPatch, patience: float, shown: bool
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(compile_bar, "PATIENCE", patience)

    def make() -> SimpleNamespace:
        for _ in range(500 if shown else 0):
            if "compiling Slow" in terminal.getvalue():
                break
            time.sleep(0.01)
        return slow()

    compile_bar.compiled("Slow", make)  # type: ignore[arg-type]
    assert ("compiling Slow" in terminal.getvalue()) == shown
    assert (terminal.getvalue() == "") != shown


def test_nothing_is_shown_elsewhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compile_bar, "PATIENCE", 0.0)
    compile_bar.compiled("Slow", slow)  # type: ignore[arg-type]
    assert capsys.readouterr() == ("", "")


def test_compiling_tells_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATTE_CACHE", "off")
    exe = latte.loads(TEXT).compile(batch=2)
    shares: list[float] = []
    exe.backend.prepare("step", shares.append)
    assert shares
    assert all(0 < share <= 1 for share in shares) and max(shares) == 1
