"""Data by name: what `--data SPEC` may say.

In: a SPEC such as `mnist:DIR` or `digits@test`, and the net's inputs.  Out: a `Fitted`.

    digits            the shipped 8x8 digits          cifar10:DIR   binary batches
    mnist:DIR         IDX files, .gz or not           images:DIR    a folder of images by class
    fashion:DIR       the same                        npz:FILE      arrays by name
    text:FILE         characters and their successors synthetic     made up for the net's inputs

A new kind of data is one function here, listed in `KINDS`.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latte.compiler.net import Input
from latte.errors import did_you_mean, fail
from latte.options import digits_file
from latte.runtime.archive import read_npz
from latte.runtime.data import Arrays, Dataset, Fitted
from latte.runtime.feed import as_array
from latte.runtime.fit import fit
from latte.runtime.idx import damaged, read_idx
from latte.runtime.images import open_images
from latte.runtime.synthetic import STEPS as SYNTHETIC_STEPS
from latte.runtime.synthetic import synthetic
from latte.runtime.text import STEPS as TEXT_STEPS
from latte.runtime.text import read_text

SPLITS = ("train", "test")
DIGITS_TEST = 6  # every sixth digit is kept for testing, so that each writer is in both splits
PIXEL = 1 / 16  # a shipped digit's pixels are 0 .. 16


@dataclass(frozen=True, slots=True)
class Spec:
    """`KIND:PLACE@SPLIT`. `explicit` is False where no split was written; `steps` is the length
    of sequences that are cut or made up."""

    kind: str
    place: str
    split: str
    explicit: bool = True
    steps: int | None = None

    def __str__(self) -> str:
        place = f":{self.place}" if self.place else ""
        return f"{self.kind}{place}@{self.split}"

    def at(self, split: str) -> Spec:
        """Another split of the same data."""
        return replace(self, split=split, explicit=True)


def parse_spec(text: str, steps: int | None = None) -> Spec:
    """Take a SPEC apart. Raises E0850 (unknown kind), E0856 (unknown split)."""
    kind, colon, place = text.partition(":")
    rest, at, split = (place if colon else kind).rpartition("@")
    if at and "/" not in split and not Path(place or text).exists():
        kind, place = (kind, rest) if colon else (rest, "")
    else:
        split, at = SPLITS[0], ""
    if kind not in KINDS:
        fail(
            "E0850",
            f"unknown data `{kind}`",
            help=did_you_mean(kind, KINDS) or f"there are {', '.join(KINDS)}",
        )
    if split not in SPLITS:
        fail("E0856", f"`{kind}` has no split `{split}`", help="the splits are train and test")
    if not place and kind not in {"digits", "synthetic"}:
        fail("E0850", f"`{kind}` needs a place", help=f"write {kind}:PATH")
    return Spec(kind, place, split, bool(at), steps)


def open_data(spec: Spec, inputs: Sequence[Input]) -> Fitted:
    """The data as these inputs take it. Raises E085x."""
    return fit(KINDS[spec.kind](spec, inputs), inputs, str(spec))


def open_test(spec: Spec, inputs: Sequence[Input]) -> Fitted | None:
    """The same data's test split, or None where it has none."""
    if spec.kind == "npz" and "test" not in read_npz(Path(spec.place)).splits:
        return None
    return open_data(spec.at("test"), inputs)


def from_arrays(arrays: Mapping[str, object], inputs: Sequence[Input]) -> Fitted:
    """Arrays given in Python, by name, as these inputs take them."""
    held = {name: _numbers(name, array) for name, array in arrays.items()}
    sizes = {name: len(array) for name, array in held.items()}
    if len(set(sizes.values())) > 1:
        fail("E0853", f"the arrays do not have the same number of items: {sizes}")
    return fit(Arrays(held, {}), inputs, "the given arrays")


def _numbers(name: str, value: object) -> NDArray[Any]:
    try:
        array = as_array(value)
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        fail("E0853", f"`{name}` cannot be read as an array: {error}")
    if array.dtype.kind not in "fiub" or not array.ndim:
        found = f"holds {array.dtype}" if array.ndim else f"is {value!r}"
        fail("E0853", f"`{name}` {found}", help="give an array of numbers, one entry for each item")
    return array


def _digits(spec: Spec, inputs: Sequence[Input]) -> Dataset:
    """1,797 hand-written digits, 8x8, by E. Alpaydin and C. Kaynak (CC BY 4.0)."""
    text = gzip.decompress(digits_file().read_bytes())
    table = np.array(text.replace(b"\n", b",").rstrip(b",").split(b","), np.uint8).reshape(-1, 65)
    held_out = np.arange(len(table)) % DIGITS_TEST == DIGITS_TEST - 1
    part = held_out if spec.split == "test" else ~held_out
    arrays = {"image": table[part, :64].reshape(-1, 1, 8, 8), "label": table[part, 64]}
    return Arrays(arrays, {"image": PIXEL, "label": 1.0})


def _idx_pair(spec: Spec, inputs: Sequence[Input]) -> Dataset:
    """MNIST's four files."""
    part = "t10k" if spec.split == "test" else "train"
    images = read_idx(_find(spec, f"{part}-images-idx3-ubyte"), axes=3)
    path = _find(spec, f"{part}-labels-idx1-ubyte")
    labels = read_idx(path, axes=1)
    if len(images) != len(labels):
        damaged(path, 4, f"it has {len(labels)} labels for {len(images)} images")
    return Arrays({"image": images[:, None], "label": labels}, {"label": 1.0})


def _find(spec: Spec, name: str) -> Path:
    """A file by its usual names, packed or not."""
    folder = _folder(spec)
    for spelt in (name, name.replace("-idx", ".idx")):
        for path in (folder / spelt, folder / f"{spelt}.gz"):
            if path.is_file():
                return path
    fail("E0851", f"`{spec}` needs the file `{folder / name}`, plain or with `.gz`")


def _folder(spec: Spec) -> Path:
    folder = Path(spec.place).expanduser()
    if not folder.is_dir():
        fail("E0851", f"`{spec}` needs the folder `{folder}`, which does not exist")
    return folder


CIFAR_ROW = 3073  # a byte for the class, then 3 x 32 x 32 pixels


def _cifar10(spec: Spec, inputs: Sequence[Input]) -> Dataset:
    """CIFAR-10's binary batches (the pickled ones are not read)."""
    folder = _folder(spec)
    inside = folder / "cifar-10-batches-bin"
    folder = inside if inside.is_dir() else folder
    names = [f"data_batch_{number}.bin" for number in range(1, 6)]
    names = names if spec.split == "train" else ["test_batch.bin"]
    table = np.concatenate([_cifar_rows(folder / name) for name in names])
    images = table[:, 1:].reshape(-1, 3, 32, 32)
    return Arrays({"image": images, "label": table[:, 0]}, {"label": 1.0})


def _cifar_rows(path: Path) -> NDArray[np.uint8]:
    if not path.is_file():
        fail("E0851", f"there is no file `{path}`", help="the binary version of CIFAR-10 has it")
    found = np.fromfile(path, np.uint8)
    whole = len(found) // CIFAR_ROW
    if not whole or len(found) % CIFAR_ROW:
        damaged(path, len(found), f"the file ends inside its record {whole}")
    table = found.reshape(whole, CIFAR_ROW)
    if (table[:, 0] > 9).any():
        row = int(np.argmax(table[:, 0] > 9))
        damaged(path, row * CIFAR_ROW, f"{table[row, 0]} is no class of CIFAR-10")
    return table


def _images(spec: Spec, inputs: Sequence[Input]) -> Dataset:
    return open_images(_folder(spec), spec.split, inputs)


def _npz(spec: Spec, inputs: Sequence[Input]) -> Dataset:
    return read_npz(Path(spec.place).expanduser()).split(spec.split)


def _text(spec: Spec, inputs: Sequence[Input]) -> Dataset:
    return read_text(Path(spec.place).expanduser(), spec.split, inputs, spec.steps or TEXT_STEPS)


def _synthetic(spec: Spec, inputs: Sequence[Input]) -> Dataset:
    return synthetic(inputs, spec.split, spec.steps or SYNTHETIC_STEPS)


def _hdf5(spec: Spec, inputs: Sequence[Input]) -> Dataset:
    fail(
        "E0857",
        "HDF5 files cannot be read in this build",
        help="save the arrays with numpy.savez and give npz:FILE",
    )


KINDS: dict[str, Callable[[Spec, Sequence[Input]], Dataset]] = {
    "digits": _digits,
    "mnist": _idx_pair,
    "fashion": _idx_pair,
    "cifar10": _cifar10,
    "images": _images,
    "npz": _npz,
    "text": _text,
    "synthetic": _synthetic,
    "h5": _hdf5,
}
