"""Whole nets whose convolutions are done in tiles, however small: as the oracle has them."""

from collections.abc import Iterator

import numpy as np
import pytest
from nets import Case, data
from test_same import close, compiled, trained

from latte.compiler import winograd_blocks, winograd_cost
from latte.runtime import cpu, records

CASE = Case(
    """
net Tiles(classes = 5) {
    input image[16, 11, 9]
    input label: class(classes)
    a = image -> Conv(32, kernel = 3, pad = 1) -> ReLU -> MaxPool(3, stride = 2)
    c = Tanh(Add(Conv(a, 32, kernel = 3, pad = 1), a))
    scores = Linear(Dropout(c), classes)
    loss SoftmaxLoss(scores, label)
}
train Tiles { solver Momentum(rate = 0.05, decay = 5e-4) }""",
    batch=5,
)


@pytest.fixture(autouse=True, scope="module")
def everywhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tiles pay always, in small blocks; all units are shared; a cache of these tests' own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LATTE_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(winograd_cost, "LEAST", 0.0)
        patch.setattr(winograd_cost, "GAIN", 0.0)
        patch.setattr(winograd_blocks, "APART", 1e8)
        patch.setattr(winograd_blocks, "MOST_ROWS", 20)
        patch.setattr(winograd_blocks, "MOST_SUMMED", 20)
        patch.setattr(cpu, "PARALLEL_WORK", 0)
        patch.setattr(records, "ALONE_WORK", 0)
        yield


@pytest.mark.parametrize("items", [5, 3])
def test_it_agrees_with_the_oracle(items: int) -> None:
    ours, oracle = compiled(CASE), compiled(CASE, target="interp")
    given = data(ours.inputs, items, None)
    for exe in (ours, oracle):
        exe.forward(**given)
        exe.backward()
    assert ours.losses["loss"] == pytest.approx(oracle.losses["loss"], rel=1e-4)
    for key in oracle.params:
        close(ours.grads[key], oracle.grads[key], f"gradient of {key}")


def test_without_tiles_nearly_the_same() -> None:
    tiled, plain = (compiled(CASE, winograd=chosen) for chosen in (True, False))
    given = data(tiled.inputs, 5, None)
    found = [exe.predict(image=given["image"]) for exe in (tiled, plain)]
    close(found[0], found[1], "prediction", 1e-4)
    assert not np.array_equal(*found)


@pytest.mark.parametrize("items", [5, 2])
def test_same_bits_for_any_number_of_threads(items: int) -> None:
    assert len({trained(CASE, items, threads=threads) for threads in (1, 2, 3, 4)}) == 1


def test_nothing_reads_or_writes_outside_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = trained(CASE, 3)
    monkeypatch.setenv("LATTE_GUARD", "1")
    assert trained(CASE, 3) == plain


def test_what_was_computed_before_leaves_no_trace() -> None:
    fresh, used = compiled(CASE), compiled(CASE)
    large = {k: v * 1e30 if v.dtype.kind == "f" else v
             for k, v in data(used.inputs, 5, None, seed=9).items()}  # fmt: skip
    used.forward(**large)
    used.backward()
    small = data(used.inputs, 2, None)
    for exe in (fresh, used):
        exe.forward(**small)
        exe.backward()
    for key in fresh.params:
        np.testing.assert_array_equal(fresh.grads[key], used.grads[key], key)
