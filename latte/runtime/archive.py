"""Arrays in a .npz file, by name; nothing in it is ever executed.

In: a path.  Out: an `Archive`, whose splits are told by the names of its arrays.

    x_train, y_train, x_test, y_test   ->   splits train {x, y}, test {x, y}
    image, label                       ->   split train {image, label}
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from latte.errors import fail
from latte.runtime.data import Array, Arrays

SPLIT = re.compile(r"^(?:(train|test)_)?(.+?)(?:_(train|test))?$")
LARGEST = 2**30  # bytes of which more than `RATIO` times their packed size is taken for an attack
RATIO = 100


@dataclass(frozen=True, slots=True)
class Archive:
    """The arrays of a file, by split and name."""

    path: Path
    splits: Mapping[str, Mapping[str, Array]]

    def split(self, name: str) -> Arrays:
        """One split's arrays. Raises E0856 if the file has none of them."""
        if name not in self.splits:
            have = "`x_test` beside `x_train`, say"
            fail("E0856", f"`{self.path}` has no arrays for the split `{name}`", help=have)
        return Arrays(self.splits[name], {})


def read_npz(path: Path) -> Archive:
    """Read all arrays. Raises E0851 (no file), E0852 (damaged), E0853 (lengths differ)."""
    if not path.is_file():
        fail("E0851", f"there is no file `{path}`")
    try:
        _check_sizes(path)
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, KeyError) as problem:
        fail("E0852", f"`{path}` is damaged: {problem}", help="write it with numpy.savez")
    return Archive(path, _splits(path, arrays))


def _check_sizes(path: Path) -> None:
    with zipfile.ZipFile(path) as file:
        unpacked = sum(entry.file_size for entry in file.infolist())
    if unpacked > LARGEST and unpacked > RATIO * path.stat().st_size:
        raise ValueError(f"it would unpack to {unpacked} bytes")


def _splits(path: Path, arrays: Mapping[str, Array]) -> Mapping[str, Mapping[str, Array]]:
    splits: dict[str, dict[str, Array]] = {}
    for name, array in arrays.items():
        match = SPLIT.match(name)
        assert match
        split = match[1] or match[3] or "train"
        splits.setdefault(split, {})[match[2]] = array
    for found in splits.values():
        _check_lengths(path, found)
    return splits or {"train": {}}


def _check_lengths(path: Path, arrays: Mapping[str, Array]) -> None:
    lengths = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"`{name}` {length}" for name, length in lengths.items())
        fail("E0853", f"the arrays of `{path}` differ in their number of items: {told}")
