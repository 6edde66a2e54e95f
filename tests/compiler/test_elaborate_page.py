"""Every form that the language page shows elaborates, in a file that defines its own `Conv`,
`Linear`, `LSTM`, `BatchNorm`, `Momentum` and more beside the library's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from latte.compiler.elaborate import elaborate
from latte.compiler.net import Net
from latte.lang.resolve import load_file

PAGE = Path(__file__).with_name("language_page.latte")


@pytest.fixture(scope="module")
def nets() -> dict[str, Net]:
    definitions = load_file(PAGE)
    return {net.name.text: elaborate(definitions, net.name.text, {}) for net in definitions.nets}


def test_lenet(nets: dict[str, Net]) -> None:
    net = nets["LeNet"]
    sizes = {each.name: tuple(axis.size for axis in each.axes) for each in net.parameters}
    assert sizes == {
        "conv1.weight": (20, 1, 5, 5), "conv1.bias": (20,),
        "conv2.weight": (50, 20, 5, 5), "conv2.bias": (50,),
        "linear1.weight": (500, 50, 4, 4), "linear1.bias": (500,),
        "scores.weight": (10, 500), "scores.bias": (10,),
    }  # fmt: skip
    assert net.output == "scores"
    assert (net.training.batch, net.training.epochs) == (64, 4)


def test_every_connection(nets: dict[str, Net]) -> None:
    made = {node.name for node in nets["Forms"].nodes}
    page = PAGE.read_text("utf-8").partition("layer Connections")[2].partition("out = one")[0]
    parts = re.findall(r"ensemble (\w+)", page)
    assert len(parts) == 12
    assert {f"c.{part}" for part in parts} <= made
    assert {"j", "r", "t", "f", "b", "z", "skip", "x.3.out", "last.out"} <= made
    assert [each.name for each in nets["Forms"].losses][1] == "kl"


def test_every_moment(nets: dict[str, Net]) -> None:
    net = nets["Sequence"]
    assert dict(net.names)["cell"] == "lstm1.cell"
    assert [each.time for each in net.inputs] == [True, True, False]
