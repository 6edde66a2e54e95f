"""IDX files, the format of MNIST and its relatives, plain or gzipped.

In: a path.  Out: an array; damage is an error that names the file and the byte.

    00 00 08 03 | 00 00 EA 60 | 00 00 00 1C | 00 00 00 1C | pixels ...   ->   uint8[60000, 28, 28]

The format: http://yann.lecun.com/exdb/mnist (two zero bytes, an element code, the number of
axes, their sizes as big-endian 32-bit numbers, the values in C order).
"""

from __future__ import annotations

import gzip
import math
import zlib
from io import BufferedReader
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from latte.errors import fail

ELEMENTS = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
LARGEST = 2**34  # bytes: more is taken for a damaged header
CHUNK = 2**24

Bytes = gzip.GzipFile | BufferedReader


def is_idx(path: Path) -> bool:
    """Whether a file can be read, and begins as an IDX file does."""
    try:
        with _open(path) as file:
            magic = file.read(4)
    except (OSError, EOFError, zlib.error):
        return False
    return len(magic) == 4 and magic[:2] == b"\0\0" and magic[2] in ELEMENTS


def read_idx(path: Path, axes: int | None = None) -> NDArray[Any]:
    """The array in the file, which must have as many axes, if that is said. Raises E0851, E0852."""
    try:
        with _open(path) as file:
            element, shape = _header(path, file, axes)
            return _values(path, file, np.dtype(element), shape)
    except FileNotFoundError:
        fail("E0851", f"there is no file `{path}`")
    except OSError as problem:
        fail("E0851", f"`{path}` cannot be read: {problem.strerror}")


def damaged(path: Path, byte: int, what: str) -> NoReturn:
    """Raise E0852: something in a data file is not as it must be."""
    fail(
        "E0852",
        f"`{path}` is damaged at byte {byte}: {what}",
        help="fetch the file again, and compare its size and checksum with the source's",
    )


def _open(path: Path) -> Bytes:
    """The file's bytes, unpacked if it begins like gzip, whatever its name says."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if packed else path.open("rb")


def _header(path: Path, file: Bytes, axes: int | None) -> tuple[str, tuple[int, ...]]:
    magic = _read(path, file, 0, 4)
    if len(magic) < 4:
        damaged(path, len(magic), "the file ends inside its header")
    if magic[:2] != b"\0\0" or magic[2] not in ELEMENTS:
        damaged(path, 0, f"`{magic.hex(' ')}` is not how an IDX file begins")
    if axes is None:
        axes = magic[3]
    if magic[3] != axes:
        damaged(path, 3, f"it has {magic[3]} axes, where {axes} are expected")
    sizes = _read(path, file, 4, 4 * axes)
    if len(sizes) < 4 * axes:
        damaged(path, 4 + len(sizes), "the file ends inside its header")
    shape = tuple(int.from_bytes(sizes[4 * k : 4 * k + 4], "big") for k in range(axes))
    if math.prod(shape) > LARGEST // 8:
        damaged(path, 4, f"its sizes {' x '.join(map(str, shape))} are beyond belief")
    return ELEMENTS[magic[2]], shape


def _values(
    path: Path, file: Bytes, element: np.dtype[Any], shape: tuple[int, ...]
) -> NDArray[Any]:
    start, size = 4 + 4 * len(shape), math.prod(shape) * element.itemsize
    found = _read(path, file, start, size)
    if len(found) < size:
        at = start + len(found)
        damaged(path, at, f"the file ends here, {size - len(found)} bytes too early")
    if _read(path, file, start + size, 1):
        damaged(path, start + size, "there are more bytes than the header announces")
    values = np.frombuffer(found, element).reshape(shape)
    return values.astype(element.newbyteorder("="), copy=False)


def _read(path: Path, file: Bytes, start: int, size: int) -> bytearray:
    """The next bytes, fewer only at the file's end; they begin at `start` of the unpacked file.

    Memory grows with what the file holds, not with what its header claims.
    """
    found = bytearray()
    while len(found) < size:
        try:
            chunk = file.read1(min(CHUNK, size - len(found)))
        except (EOFError, zlib.error, gzip.BadGzipFile) as problem:
            damaged(path, start + len(found), f"it cannot be unpacked ({problem})")
        if not chunk:
            break
        found += chunk
    return found
