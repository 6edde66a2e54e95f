"""The examples and the nets of the benchmarks: they elaborate, to the sizes that are known."""

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
    "examples/nets/overfeat.latte": 145_920_872,
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
