"""The loader: order, partial batches, buffers, errors from the reading thread."""

import numpy as np
import pytest

from latte.compiler.expression import Axis
from latte.compiler.net import Input
from latte.errors import LatteError
from latte.runtime import data as module
from latte.runtime.data import Loader, aligned, shuffled
from latte.runtime.datasets import from_arrays

IMAGE = Input("image", (Axis("c", 1), Axis("y", 2), Axis("x", 2)))
LABEL = Input("label", (), classes=10)


def numbered(count):
    """Items whose pixels are their own number."""
    pixels = np.arange(count, dtype=np.float32)[:, None, None] * np.ones((2, 2), np.float32)
    return from_arrays({"image": pixels, "label": np.arange(count) % 10}, [IMAGE, LABEL])


def test_an_order_is_a_function_of_seed_and_epoch():
    assert (shuffled(100, 7, 3) == shuffled(100, 7, 3)).all()
    assert (shuffled(100, 7, 3) != shuffled(100, 7, 4)).any()
    assert (shuffled(100, 7, 3) != shuffled(100, 8, 3)).any()
    assert sorted(shuffled(100, 7, 3)) == list(range(100))


def test_an_order_never_changes_between_versions():
    assert shuffled(8, seed=0, epoch=0).tolist() == [0, 2, 1, 5, 4, 3, 6, 7]


def test_the_last_batch_is_partial_and_nothing_is_lost():
    seen, counts = [], []
    for batch in Loader(numbered(10), 4).run(shuffled(10, 0, 0)):
        counts.append(batch.count)
        assert batch.arrays["image"].shape == (batch.count, 1, 2, 2)
        assert (batch.arrays["image"][:, 0, 0, 0].astype(int) % 10 == batch.arrays["label"]).all()
        seen += batch.arrays["image"][:, 0, 0, 0].astype(int).tolist()
    assert counts == [4, 4, 2]
    assert seen == shuffled(10, 0, 0).tolist()


def test_a_batch_holds_while_the_next_is_read():
    for batch in Loader(numbered(64), 4).run(np.arange(64)):
        first = batch.arrays["image"].copy()
        module.threading.Event().wait(0.005)
        assert (batch.arrays["image"] == first).all()


def test_two_sets_of_aligned_arrays_take_turns():
    places = [b.arrays["image"].ctypes.data for b in Loader(numbered(16), 4).run(np.arange(16))]
    assert places[0] == places[2] != places[1] == places[3]
    assert all(place % module.ALIGNMENT == 0 for place in places)


def test_leaving_early_ends_the_thread():
    batches = Loader(numbered(100), 4).run(np.arange(100))
    next(batches)
    batches.close()
    assert not [t for t in module.threading.enumerate() if t.name == "latte-loader"]


def test_what_fails_in_the_thread_is_raised_at_the_batch():
    broken = from_arrays(
        {"image": np.zeros((9, 2, 2)), "label": np.array([0] * 8 + [10])}, [IMAGE, LABEL]
    )
    batches = Loader(broken, 4).run(np.arange(9))
    next(batches), next(batches)
    with pytest.raises(LatteError, match="item 8 of `label` is class 10"):
        next(batches)


def test_waiting_for_a_stuck_reader_ends(monkeypatch):
    class Stuck:
        fields = numbered(1).data.fields

        def __len__(self):
            return 4

        def read(self, items):
            module.threading.Event().wait(0.6)
            return {}

    monkeypatch.setattr(module, "PATIENCE", 0.1)
    monkeypatch.setattr(module, "TICK", 0.02)
    stuck = module.Fitted(Stuck(), numbered(1).pairs)
    with pytest.raises(LatteError, match="E0957"):
        next(Loader(stuck, 4).run(np.arange(4)))


def test_aligned():
    assert aligned((3, 5), np.float32).ctypes.data % 64 == 0
    assert aligned((3, 5), np.float32).shape == (3, 5)
