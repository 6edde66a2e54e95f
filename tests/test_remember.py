"""What was compiled before is read back: the same net, the same mistakes, nothing stale."""

from pathlib import Path

import numpy as np
import pytest

import latte
from latte import build
from latte.errors import LatteError
from tests.runtime import small


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LATTE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    place = tmp_path / "small.latte"
    place.write_text(small.TEXT)
    return place


class Counted:
    """How often a net was read, and how often it was made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.read = self.made = 0
        read, make = build._sound, build.make

        def counted_read(*arguments: object) -> object:
            self.read += 1
            return read(*arguments)

        def counted_make(*arguments: object, **options: object) -> object:
            self.made += 1
            return make(*arguments, **options)

        monkeypatch.setattr(build, "_sound", counted_read)
        monkeypatch.setattr(build, "make", counted_make)


def losses(exe: object) -> list[float]:
    data = {name: array[:8] for name, array in small.data().items()}
    return [exe.step(**data) for _ in range(3)]


def test_a_warm_start_reads_and_makes_nothing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = Counted(monkeypatch)
    cold = losses(latte.load(file).compile())
    assert (work.read, work.made) == (1, 1)
    exe = latte.load(file).compile()
    assert (work.read, work.made) == (1, 1)
    assert losses(exe) == cold
    assert exe.evaluate(**{n: a[:8] for n, a in small.data().items()}).keys()


def test_it_is_the_same_net(file: Path) -> None:
    one, other = (
        latte.load(file).compile(keep=["hidden"]),
        latte.load(file).compile(keep=["hidden"]),
    )
    assert one.net == other.net and one.program == other.program and one.text == other.text
    assert one.backend._program == other.backend._program
    assert latte.load(file).elaborated == latte.loads(small.TEXT).elaborated


@pytest.mark.parametrize(
    "options", [{"batch": 5}, {"mode": "infer"}, {"keep": ["hidden"]}, {"winograd": False}]
)
def test_other_options_are_made_anew(
    file: Path, options: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Counted(monkeypatch)
    latte.load(file).compile()
    latte.load(file).compile(**options)
    assert work.made == 2


def test_a_changed_text_is_read_anew(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = Counted(monkeypatch)
    latte.load(file).compile()
    file.write_text(small.TEXT.replace("Linear(x, 8)", "Linear(x, 9)"))
    exe = latte.load(file).compile()
    assert (work.read, work.made) == (2, 2)
    assert exe.params["linear1.weight"].shape[0] == 9


def test_arguments_and_definitions_count(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latte.model._defined", [])
    shapes = [
        latte.load(file, classes=k).compile().params["scores.weight"].shape[0] for k in (3, 4)
    ]
    assert shapes == [3, 4]
    latte.define("neuron Tanh(x) = 2 * tanh(x)")
    work = Counted(monkeypatch)
    latte.load(file).compile()
    assert work.made == 1


def test_imports_are_read_each_time(tmp_path: Path) -> None:
    text = small.TEXT.replace("Tanh(Linear", "Twice(Linear")
    (tmp_path / "own.latte").write_text("neuron Twice(x) = 2 * x\n")
    (tmp_path / "net.latte").write_text('import "own.latte"\n' + text)
    first = losses(latte.load(tmp_path / "net.latte").compile())
    assert losses(latte.load(tmp_path / "net.latte").compile()) == first
    (tmp_path / "own.latte").write_text("neuron Twice(x) = 3 * x\n")
    assert losses(latte.load(tmp_path / "net.latte").compile()) != first


def test_mistakes_are_told_every_time(file: Path) -> None:
    file.write_text(small.TEXT.replace("Tanh", "Tanhh"))
    for _ in range(2):
        with pytest.raises(LatteError, match="Tanhh"):
            latte.load(file)
    file.write_text(small.TEXT)
    latte.load(file).compile()
    for _ in range(2):
        with pytest.raises(LatteError, match="E0913"):
            latte.load(file).compile(batch=0)
        with pytest.raises(LatteError):
            latte.load(file, net="Other")


def test_wrong_data_is_told_with_its_place(file: Path) -> None:
    told = []
    for _ in range(2):
        exe = latte.load(file).compile()
        with pytest.raises(LatteError) as caught:
            exe.step(x=np.zeros((8, 5)), label=np.zeros(8, int))
        told.append(caught.value.diagnostics)
    assert told[0] == told[1] and told[0][0].span.line == 3


def test_what_was_changed_on_disk_is_not_believed(file: Path, cache: Path) -> None:
    first = losses(latte.load(file).compile())
    for entry in cache.iterdir():
        data = bytearray(entry.read_bytes())
        data[-1] ^= 1
        entry.write_bytes(data)
    with pytest.warns(RuntimeWarning, match="E0915"):
        assert losses(latte.load(file).compile()) == first


def test_a_net_written_in_python_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Counted(monkeypatch)
    for _ in range(2):
        net = latte.Net("Line")
        x, y = net.input("x", (3,)), net.input("y")
        net.loss(net.MeanSquaredLoss(net.Linear(x, 1), y))
        assert net.compile(batch=4).batch == 4
    assert work.made == 1
