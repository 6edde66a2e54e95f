"""The examples and the nets of the benchmarks: they elaborate, to the sizes that are known."""

import os
import runpy
import sys
from math import prod
from pathlib import Path

import pytest

import latte

ROOT = Path(__file__).parent.parent
PARAMETERS = {
    "examples/01_digits/net.latte": 13_706,
    "examples/02_lenet_mnist/net.latte": 431_080,
    "examples/03_own_neuron/net.latte": 30_674,
    "examples/nets/alexnet.latte": 61_100_840,
    "examples/nets/char_lstm.latte": 1_083_969,
    "examples/nets/googlenet.latte": 6_998_552,
    "examples/nets/overfeat.latte": 145_920_872,
    "examples/nets/own_layers.latte": 1_669_194,
    "examples/nets/resnet18.latte": 11_689_512,
    "examples/nets/vgg_a.latte": 132_863_336,
}


@pytest.mark.parametrize("path", PARAMETERS)
def test_number_of_parameters(path: str) -> None:
    net = latte.load(ROOT / path).elaborated
    counts = [prod(axis.size for axis in each.axes) for each in net.parameters]
    assert sum(counts) == PARAMETERS[path]


def test_every_example_is_here() -> None:
    found = {str(path.relative_to(ROOT)) for path in ROOT.glob("examples/*/*.latte")}
    assert found == set(PARAMETERS)


@pytest.mark.parametrize("folder", ["01_digits", "03_own_neuron"])
def test_example_learns(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(ROOT / "examples" / folder / "train.py"), run_name="__main__")
    assert _accuracy(capsys.readouterr().out) >= 0.95


@pytest.mark.slow
def test_lenet_learns_mnist(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(os.environ.get("LATTE_TEST_MNIST", ROOT.parent / "shared" / "data" / "mnist"))
    if not folder.is_dir():
        pytest.skip("no folder of MNIST's files in LATTE_TEST_MNIST")
    script = ROOT / "examples" / "02_lenet_mnist" / "train.py"
    monkeypatch.setattr(sys, "argv", [str(script), str(folder)])
    runpy.run_path(str(script), run_name="__main__")
    assert _accuracy(capsys.readouterr().out) >= 0.99


def _accuracy(printed: str) -> float:
    """The number behind "test accuracy" in what a script printed."""
    return float(printed.split("test accuracy ")[1].split()[0])
