"""Checkpoints: whole or not there, whatever fails while they are written or comes to them later."""

import json
import os

import numpy as np
import pytest
import small

from latte.errors import LatteError
from latte.runtime import checkpoint
from latte.runtime.checkpoint import (
    Position,
    find_checkpoint,
    read_checkpoint,
    weights_file,
    write_checkpoint,
)

POSITION = Position(epoch=1, batches=2, step=6, seed=9, batch=8, items=30, sums={"loss": 0.1 + 0.2})


@pytest.fixture
def exe():
    made = small.net().compile(8, seed=9)
    for _ in range(3):
        made.step(**{name: array[:8] for name, array in small.data().items()})
    return made


def test_all_comes_back(tmp_path, exe):
    place = write_checkpoint(tmp_path, exe, POSITION)
    other = small.net().compile(8, seed=1)
    assert read_checkpoint(place, other) == POSITION
    assert small.same(small.weights(other), small.weights(exe))
    assert small.same(dict(other.solver_state), dict(exe.solver_state))
    assert (other.step_count, other.seed) == (6, 9)
    assert sorted(path.name for path in place.iterdir()) == [
        "manifest.json",
        "position.json",
        "solver.safetensors",
        "weights.safetensors",
    ]


def test_the_last_two_are_kept(tmp_path, exe):
    for _ in range(4):
        write_checkpoint(tmp_path, exe, POSITION)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["checkpoint-000003", "checkpoint-000004", "weights.safetensors"]


def test_the_newest_weights_lie_beside(tmp_path, exe):
    write_checkpoint(tmp_path, exe, POSITION)
    other = small.net().compile(8)
    other.load(weights_file(tmp_path))
    assert small.same(small.weights(other), small.weights(exe))
    assert weights_file(tmp_path / "w.safetensors") == tmp_path / "w.safetensors"


FILES = ("weights.safetensors", "solver.safetensors", "position.json", "manifest.json")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("harm", ["truncate", "flip", "remove"])
def test_damage_is_never_loaded_and_the_older_one_is_taken(tmp_path, exe, name, harm):
    older = write_checkpoint(tmp_path, exe, POSITION)
    newer = write_checkpoint(tmp_path, exe, POSITION)
    path = newer / name
    content = bytearray(path.read_bytes())
    if harm == "truncate":
        path.write_bytes(content[: len(content) // 2])
    elif harm == "flip":
        content[len(content) // 2] ^= 4
        path.write_bytes(content)
    else:
        path.unlink()
    assert find_checkpoint(tmp_path) == (older, (newer,))
    with pytest.raises(LatteError, match="E0953"):
        read_checkpoint(newer, exe)


def test_nothing_whole(tmp_path, exe):
    with pytest.raises(LatteError, match="E0952"):
        find_checkpoint(tmp_path)
    (write_checkpoint(tmp_path, exe, POSITION) / "position.json").write_text("{}")
    with pytest.raises(LatteError, match=r"`position\.json` is not the file that was saved"):
        find_checkpoint(tmp_path)


def test_a_manifest_cannot_name_other_files(tmp_path, exe):
    place = write_checkpoint(tmp_path, exe, POSITION)
    manifest = json.loads((place / "manifest.json").read_text())
    manifest["files"]["../../secret"] = "0" * 64
    (place / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(LatteError, match="E0953"):
        find_checkpoint(place)


def test_another_net(tmp_path, exe):
    place = write_checkpoint(tmp_path, exe, POSITION)
    with pytest.raises(LatteError):
        read_checkpoint(place, small.latte.loads(small.TEXT, classes=4).compile(8))
    sgd = small.latte.loads(small.TEXT.replace("Momentum", "SGD")).compile(8)
    with pytest.raises(LatteError, match="E0954"):
        read_checkpoint(place, sgd)


def failing(monkeypatch, at):
    """Make the `at`-th call of any step on the way to the disk fail; the count of calls so far."""
    calls = [0]

    def wrap(owner, name):
        real = getattr(owner, name)

        def call(*args, **keywords):
            calls[0] += 1
            if calls[0] == at:
                raise OSError(28, "No space left on device")
            return real(*args, **keywords)

        monkeypatch.setattr(owner, name, call)

    wrap(checkpoint, "_write")
    wrap(checkpoint, "_publish_weights")
    wrap(os, "fsync")
    wrap(os, "rename")
    return calls


def test_whichever_step_fails_the_old_checkpoint_stays(tmp_path, exe, monkeypatch):
    write_checkpoint(tmp_path, exe, POSITION)
    before = small.weights(exe)
    exe.params["linear1.bias"] = np.ones(8)
    with monkeypatch.context() as patch:
        calls = failing(patch, at=0)
        write_checkpoint(tmp_path / "count", exe, POSITION)
    assert calls[0] >= 8
    for at in range(1, calls[0] + 1):
        with monkeypatch.context() as patch:
            failing(patch, at)
            with pytest.raises(LatteError, match="No space left") as problem:
                write_checkpoint(tmp_path, exe, POSITION)
        assert problem.value.diagnostics[0].code == "E0955"
        other = small.net().compile(8)
        read_checkpoint(find_checkpoint(tmp_path)[0], other)
        assert small.same(small.weights(other), before) or small.same(
            small.weights(other), small.weights(exe)
        )
        assert not [path for path in tmp_path.iterdir() if path.name.endswith(".part")]


def test_killed_in_the_middle(tmp_path, exe, monkeypatch):
    """A process that dies leaves a part behind, which is not a checkpoint."""
    whole = write_checkpoint(tmp_path, exe, POSITION)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.shutil, "rmtree", lambda *_, **__: None)
        failing(patch, at=3)
        with pytest.raises(LatteError):
            write_checkpoint(tmp_path, exe, POSITION)
    assert [path for path in tmp_path.iterdir() if path.name.endswith(".part")]
    assert find_checkpoint(tmp_path) == (whole, ())
    write_checkpoint(tmp_path, exe, POSITION)
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".part")]
