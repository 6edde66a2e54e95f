"""Every layer of the library, and layers as users write them, against PyTorch on the CPU.

Values agree within 1e-4 and gradients within 1e-3 of the largest; PyTorch runs in float64.
"""

from __future__ import annotations

import numpy as np
import pytest
from cases import CASES, Case
from draws import draw_inputs, draw_parameters
from medium_cases import MEDIUM

import latte

torch = pytest.importorskip("torch", reason="PyTorch is not installed")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_layer_agrees_with_torch(case: Case) -> None:
    agree(case, items=case.batch, batch=case.batch)


@pytest.mark.parametrize(
    "name", ["conv_stride", "batch_norm", "linear_of_an_image", "inception", "softmax_loss"]
)
def test_partial_batch(name: str) -> None:
    case = next(case for case in CASES if case.name == name)
    agree(case, items=3, batch=7)


@pytest.mark.parametrize("items", ["all", "half"])
@pytest.mark.parametrize("case", MEDIUM, ids=lambda case: case.name)
def test_medium_nets(case: Case, items: str) -> None:
    agree(case, items=case.batch if items == "all" else case.batch // 2 + 1, batch=case.batch)


def agree(case: Case, items: int, batch: int) -> None:
    """Runs one step in both and compares the loss, `y` and all gradients."""
    exe = latte.loads(case.text).compile(batch=batch)
    rng = np.random.default_rng(len(case.name))
    inputs = draw_inputs(case, items, rng)
    parameters = draw_parameters(exe.params, case.spread, rng)
    for name, value in parameters.items():
        exe.params[name] = value
    out = exe.forward(**inputs)
    exe.backward()

    tensors = {name: torch.tensor(v).double().requires_grad_() for name, v in parameters.items()}
    given = {name: _tensor(value) for name, value in inputs.items()}
    y = case.torch(given["image"] + tensors["x.p"], tensors, given)
    loss = (y if case.has_loss else (2 * y).sin() + y**2 / 2).mean()
    loss.backward()

    if not case.has_loss:
        close(out["y"], y, 1e-4, "y")
    close(np.asarray(out["loss"]), loss, 1e-4, "loss")
    for name, tensor in tensors.items():
        close(exe.grads[name], tensor.grad, 1e-3, f"gradient of {name}")


def close(ours: np.ndarray, theirs: torch.Tensor, tolerance: float, what: str) -> None:
    """The greatest difference is at most `tolerance` times the greatest value (1e-3 where all are
    smaller: the gradient of a bias in front of a batch norm is 0 but for rounding)."""
    expected = theirs.detach().numpy()
    assert ours.shape == expected.shape, what
    greatest = np.abs(expected).max()
    assert np.abs(ours - expected).max() <= tolerance * max(greatest, 1e-3), what


def _tensor(value: np.ndarray) -> torch.Tensor:
    tensor = torch.tensor(value)
    return tensor.double() if tensor.is_floating_point() else tensor.long()
