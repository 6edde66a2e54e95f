"""200 random nets, compiled, against the oracle: losses, values and gradients of one step."""

import numpy as np
import pytest
from random_nets import RandomNet, random_net

import latte

SEEDS = range(200)


@pytest.mark.parametrize("seed", SEEDS)
def test_compiled_net_agrees_with_the_oracle(seed: int) -> None:
    drawn = random_net(seed)
    net = latte.loads(drawn.text)
    options = {"batch": drawn.batch, "time": drawn.time or None, "seed": seed}
    compiled, oracle = (net.compile(target=target, **options) for target in ("cpu", "interp"))
    rng = np.random.default_rng(seed)
    items = int(rng.integers(1, drawn.batch + 1))
    given = feeds(drawn, items, rng)
    found, expected = compiled.forward(**given), oracle.forward(**given)
    compiled.backward()
    oracle.backward()
    for name, value in expected.items():
        close(found[name], value, 1e-4, name)
    for name in oracle.params:
        close(compiled.grads[name], oracle.grads[name], 1e-3, f"gradient of {name}")


def feeds(drawn: RandomNet, items: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Normal numbers for each input; for sequences their lengths too."""
    steps = (drawn.time,) if drawn.time else ()
    given = {
        name: rng.normal(size=(items, *steps, *shape)).astype(np.float32)
        for name, shape in drawn.inputs.items()
    }
    if drawn.time:
        given["lengths"] = rng.integers(1, drawn.time + 1, items)
    return given


def close(ours: object, expected: object, tolerance: float, what: str) -> None:
    """The greatest difference is small beside the greatest value. NaN is close to nothing."""
    difference = np.abs(np.asarray(ours, np.float64) - np.asarray(expected, np.float64))
    assert (difference <= tolerance * max(np.abs(expected).max(), 1e-3)).all(), what
