"""What a user can assign wrongly is a coded error, not a traceback."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import latte
from latte.runtime.executable import Executable

TEXT = """
net N {
    input x[@time, 2]
    input label: class(2)
    h = LSTM(x, 3, name = "h")
    scores = Linear(last(h), 2, name = "end")
    loss SoftmaxLoss(scores, label)
}
"""
RAGGED = [[1], [2, 3]]
X = np.zeros((2, 3, 2))


def assign_parameter(value: object) -> Callable[[Executable], object]:
    return lambda exe: exe.params.update({"end.bias": value})


MISTAKES = {
    "ragged parameter": ("E0907", assign_parameter(RAGGED)),
    "words": ("E0907", assign_parameter(["a", "b"])),
    "complex numbers": ("E0907", assign_parameter([1j, 2j])),
    "ragged state": ("E0907", lambda exe: setattr(exe, "state", {"h": RAGGED})),
    "ragged lengths": ("E0906", lambda exe: exe.predict(x=X, lengths=RAGGED)),
    "a NUL in a name": ("E0916", lambda exe: exe.save("a\0b")),
    "no name": ("E0916", lambda exe: exe.save("")),
    "a long name": ("E0916", lambda exe: exe.save("a" * 300)),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_wrong_value_is_a_coded_error(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, mistake = MISTAKES[name]
    exe = latte.loads(TEXT).compile(batch=2, time=3, target="interp")
    with pytest.raises(latte.LatteError) as caught:
        mistake(exe)
    assert [each.code for each in caught.value.diagnostics] == [code]
    assert not list(tmp_path.iterdir())


def test_a_summary_of_no_items_is_refused() -> None:
    net = latte.loads("net N {\n    input x[2]\n    y = Linear(x, 2)\n}\n")
    with pytest.raises(latte.LatteError, match="E0913"):
        net.summary(batch=0)
