"""Checkpoints: all that a training run needs to go on bit for bit.

In: an `Executable` and a `Position`.  Out: a directory, whole or not there at all.

    DIR/weights.safetensors                  the newest weights, for `--weights`
    DIR/checkpoint-000007/weights.safetensors, solver.safetensors, position.json, manifest.json

A checkpoint is written beside its place, flushed to the disk, then renamed; the last two are kept.
The manifest has each file's SHA-256, and nothing is loaded before all of them agree.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from latte.errors import fail

if TYPE_CHECKING:
    from latte.runtime.executable import Executable

KEEP = 2
FORMAT = 1
PREFIX = "checkpoint-"
WEIGHTS, SOLVER, POSITION, MANIFEST = (
    "weights.safetensors",
    "solver.safetensors",
    "position.json",
    "manifest.json",
)


@dataclass(frozen=True, slots=True)
class Position:
    """Where in a run: `batches` of `epoch` (from 0) are done, `step` updates in all.

    The sums are those of the epoch's metrics so far, `weight` what they stand for.
    """

    epoch: int = 0
    batches: int = 0
    step: int = 0
    seed: int = 0
    batch: int = 0
    items: int = 0
    sums: Mapping[str, float] = field(default_factory=dict)
    weight: int = 0


def write_checkpoint(folder: Path, exe: Executable, position: Position) -> Path:
    """Save the run as the newest checkpoint in the folder; older ones but one are removed.

    Raises E0955; whatever fails, the checkpoints that were there still are.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for torn in folder.glob(f".{PREFIX}*.part"):  # of a run that was killed
            shutil.rmtree(torn, ignore_errors=True)
        place = folder / f"{PREFIX}{_newest_number(folder) + 1:06d}"
        beside = folder / f".{place.name}.{os.getpid()}.part"
        try:
            _write_files(beside, exe, position)
            os.rename(beside, place)
            _sync(folder)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        _publish_weights(place / WEIGHTS, folder / WEIGHTS)
    except OSError as problem:
        why = problem.strerror or str(problem)
        fail("E0955", f"the checkpoint could not be written to `{folder}`: {why}")
    for old in _all(folder)[KEEP:]:
        shutil.rmtree(old, ignore_errors=True)
    return place


def check_writable(folder: Path) -> None:
    """Make the folder, before hours of training end in one that cannot be written. E0955."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError as problem:
        fail("E0955", f"`{folder}` cannot be made: {problem.strerror}")
    if not writable:
        fail("E0955", f"`{folder}` cannot be written")


def find_checkpoint(folder: Path) -> tuple[Path, tuple[Path, ...]]:
    """The newest whole checkpoint of a folder (or the folder itself), and damaged newer ones.

    Raises E0952 if there is none, E0953 if all are damaged.
    """
    found = [folder] if (folder / MANIFEST).exists() else _all(folder)
    if not found:
        fail("E0952", f"there is no checkpoint in `{folder}`", help="`--save DIR` makes them")
    damaged: list[Path] = []
    for place in found:
        if damage(place) is None:
            return place, tuple(damaged)
        damaged.append(place)
    fail("E0953", f"the checkpoint `{found[0]}` is damaged: {damage(found[0])}")


def read_checkpoint(place: Path, exe: Executable) -> Position:
    """Give the executable back what it had. Raises E0953 (damaged), E0954 (of another net)."""
    problem = damage(place)
    if problem:
        fail("E0953", f"the checkpoint `{place}` is damaged: {problem}")
    position = read_position(place)
    exe.load(place / WEIGHTS)
    _restore_solver(place, exe)
    exe.step_count, exe.seed = position.step, position.seed
    return position


def read_position(place: Path) -> Position:
    """Where a whole checkpoint stands."""
    return Position(**json.loads((place / POSITION).read_text()))


def weights_file(path: Path) -> Path:
    """A weights file as a user names it: itself, or the newest of a folder of checkpoints."""
    if not path.is_dir():
        return path
    return path / WEIGHTS if (path / WEIGHTS).is_file() else find_checkpoint(path)[0] / WEIGHTS


def damage(place: Path) -> str | None:
    """What is wrong with a checkpoint, or None if every file is as its manifest says."""
    try:
        manifest = json.loads((place / MANIFEST).read_bytes())
        files = manifest["files"]
        if manifest["format"] != FORMAT or set(files) != {WEIGHTS, SOLVER, POSITION}:
            return "its manifest is not one of this version"
        for name, told in files.items():
            if _digest(place / name) != told:
                return f"`{name}` is not the file that was saved"
    except OSError as problem:
        return f"`{problem.filename}` cannot be read: {problem.strerror}"
    except (ValueError, KeyError, TypeError, RecursionError):
        return "its manifest cannot be read"
    return None


def _write_files(folder: Path, exe: Executable, position: Position) -> None:
    from safetensors.numpy import save

    folder.mkdir()
    exe.save(folder / WEIGHTS)
    state = exe.solver_state
    _write(folder / SOLVER, save({n: np.ascontiguousarray(state[n]) for n in state}))
    _write(folder / POSITION, json.dumps(asdict(position)).encode())
    files = {name: _digest(folder / name) for name in (WEIGHTS, SOLVER, POSITION)}
    _write(folder / MANIFEST, json.dumps({"format": FORMAT, "files": files}).encode())
    for name in (*files, MANIFEST):
        _sync(folder / name)
    _sync(folder)


def _restore_solver(place: Path, exe: Executable) -> None:
    from safetensors.numpy import load_file

    arrays = load_file(place / SOLVER)
    if set(arrays) != set(exe.solver_state):
        fail(
            "E0954",
            f"the checkpoint `{place}` was made with another solver",
            help="start from its weights alone: load them, or train without --resume",
        )
    for name, array in arrays.items():
        exe.solver_state[name] = array


def _publish_weights(source: Path, target: Path) -> None:
    """Put a copy of the newest weights where they are easy to find."""
    beside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        shutil.copyfile(source, beside)
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)


def _all(folder: Path) -> list[Path]:
    """The checkpoints of a folder, newest first."""
    named = [p for p in folder.glob(f"{PREFIX}*") if p.name[len(PREFIX) :].isdecimal()]
    return sorted(named, key=lambda place: int(place.name[len(PREFIX) :]), reverse=True)


def _newest_number(folder: Path) -> int:
    return max((int(place.name[len(PREFIX) :]) for place in _all(folder)), default=0)


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _sync(path: Path) -> None:
    """Flush a file or folder to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
