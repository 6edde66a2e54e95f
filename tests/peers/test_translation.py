"""Nets of many kinds as peers compute them, against the oracle: NumPy runs the naive Program.

Each case of the layer tests is translated for inference and run in PyTorch and ONNX Runtime.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import latte

sys.path.append(str(Path(__file__).parent.parent / "layers"))

from cases import CASES, Case
from draws import draw_inputs, draw_parameters

WITHOUT_PEER = "lookup_of_a_window"  # a window that starts at a value


@cache
def oracle(name: str) -> tuple[Any, dict[str, Any], dict[str, Any], Any]:
    """The net's executable, its inputs, its weights and its output."""
    case = next(case for case in CASES if case.name == name)
    exe = latte.loads(case.text).compile(batch=case.batch, target="interp", mode="infer")
    rng = np.random.default_rng(len(case.name))
    fed = draw_inputs(case, case.batch, rng)
    for name, value in draw_parameters(exe.params, case.spread, rng).items():
        exe.params[name] = value
    expected = exe.evaluate(**fed)[exe.net.output]
    return exe, fed, {**dict(exe.params), **dict(exe.running)}, expected


def agree(case: Case, inference: Any, **settings: Any) -> None:
    exe, fed, weights, expected = oracle(case.name)
    if case.name == WITHOUT_PEER:
        with pytest.raises(latte.LatteError, match="no peer operation"):
            inference(exe.net, weights, fed, items=case.batch, steps=1, **settings)
        return
    found = inference(exe.net, weights, fed, items=case.batch, steps=1, **settings)()
    assert found.shape == expected.shape
    greatest = max(np.abs(expected).max(initial=0.0), 1e-3)
    assert np.abs(found - expected).max(initial=0.0) <= 1e-4 * greatest


IDS = {"argvalues": CASES, "ids": lambda case: case.name}


@pytest.mark.parametrize("case", **IDS)
def test_torch_agrees_with_the_oracle(case: Case) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    from latte.peers.torch_net import inference

    agree(case, inference, mode="eager")


@pytest.mark.parametrize("case", **IDS)
def test_onnx_agrees_with_the_oracle(case: Case) -> None:
    pytest.importorskip("onnx", reason="onnx is not installed")
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    from latte.peers.onnx_net import inference

    agree(case, inference, peer="onnxruntime", threads=1)
