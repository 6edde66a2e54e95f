"""Image files: a folder of them by class as a dataset, and single ones for `predict`.

In: DIR/CLASS/FILE, or DIR/train/CLASS/FILE and DIR/test/CLASS/FILE.  Out: items decoded when read.

    photos/{cat,dog}/*.jpg, input image[3, 32, 32]   ->   image uint8[3, 32, 32], label 0 or 1

Classes are numbered in the order of their names. An image is scaled and cropped to the size of
the net's input; 1 channel is grey, 3 are red, green, blue. Without folders train and test, every
tenth file of a class is for testing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from latte.compiler.net import Input
from latte.errors import fail
from latte.runtime.data import Array, Field, Items, item_shape

ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff"}
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
TEST_PART = 10


@dataclass(frozen=True, slots=True)
class Images:
    """Image files and their classes; `shape` is (channels, height, width)."""

    files: tuple[Path, ...]
    labels: NDArray[np.int32]
    shape: tuple[int, int, int]

    @property
    def fields(self) -> tuple[Field, ...]:
        pixels = Field("image", self.shape, np.dtype(np.uint8), 1 / 255)
        return pixels, Field("label", (), np.dtype(np.int32))

    def __len__(self) -> int:
        return len(self.files)

    def read(self, items: Items) -> Mapping[str, Array]:
        """Decode these files. Raises E0852, E0857."""
        pixels = np.empty((len(items), *self.shape), np.uint8)
        for place, item in enumerate(items):
            pixels[place] = read_image(self.files[item], self.shape)
        return {"image": pixels, "label": self.labels[items]}


def open_images(folder: Path, split: str, inputs: Sequence[Input]) -> Images:
    """The image files of a split, in the order of their names. Raises E0851, E0854, E0857."""
    shape = image_shape(inputs)
    parted = (folder / "train").is_dir()
    top = folder / split if parted else folder
    if not top.is_dir():
        fail("E0851", f"there is no folder `{top}`")
    files: list[Path] = []
    labels: list[int] = []
    classes = sorted(entry for entry in top.iterdir() if entry.is_dir())
    for label, place in enumerate(classes):
        found = sorted(path for path in place.iterdir() if path.suffix.lower() in ENDINGS)
        mine = [
            f for k, f in enumerate(found) if parted or (k % TEST_PART == 0) == (split == "test")
        ]
        files += mine
        labels += [label] * len(mine)
    if not files:
        fail("E0851", f"`{top}` has no folders with images in them, one folder for each class")
    return Images(tuple(files), np.array(labels, np.int32), shape)


def image_shape(inputs: Sequence[Input]) -> tuple[int, int, int]:
    """Channels, height, width of the only input that can be an image. Raises E0854."""
    shapes = [item_shape(wanted) for wanted in inputs if wanted.classes is None]
    images = [shape for shape in shapes if len(shape) in {2, 3}]
    if len(images) != 1:
        fail("E0854", "the net has no single input such as image[3, 32, 32] for an image")
    channels, height, width = images[0] if len(images[0]) == 3 else (1, *images[0])
    if channels not in MODES:
        fail("E0854", f"an image of {channels} channels cannot be read from a file")
    return channels, height, width


def read_image(path: Path, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """The image, scaled and cropped to [channels, height, width]. Raises E0851, E0852, E0857."""
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError:
        fail("E0857", "reading images needs Pillow", help="pip install 'latte-lang[images]'")
    channels, height, width = shape
    try:
        with Image.open(path) as image:
            fitted = ImageOps.fit(image.convert(MODES[channels]), (width, height))
    except FileNotFoundError:
        fail("E0851", f"there is no file `{path}`")
    except (UnidentifiedImageError, Image.DecompressionBombError) as problem:
        fail("E0852", f"`{path}` is not an image that can be read: {problem}")
    except (OSError, SyntaxError, ValueError) as problem:
        fail("E0852", f"`{path}` is damaged: {problem}")
    pixels = np.asarray(fitted, np.uint8).reshape(height, width, channels)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def pixels_of(path: Path, wanted: Input) -> NDArray[np.float32]:
    """An image file as a batch of one item for this input, 0 to 1."""
    pixels = read_image(path, image_shape([wanted]))
    assert math.prod(pixels.shape) == math.prod(item_shape(wanted))
    return pixels.reshape(1, *item_shape(wanted)).astype(np.float32) / np.float32(255)
