"""Weight files: safetensors, float32, declared axis order, the net's text in the metadata.

In: arrays by path.  Out: a file; and back, compared with what the net declares.

    save("w.safetensors", {"conv1.weight": ...}, "net LeNet { ... }")
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latte.errors import Collector, fail

Array = NDArray[Any]


def save(path: str | os.PathLike[str], arrays: Mapping[str, Array], text: str) -> None:
    """Writes beside the place and renames, so that a reader never sees half a file."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    target = _place(path)
    beside = target.parent / f".{target.name}.{os.getpid()}.part"
    tensors = {name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}
    try:
        save_file(tensors, beside, metadata={"format": "latte", "net": text})
        beside.replace(target)
    except (OSError, SafetensorError, ValueError) as error:
        with suppress(OSError, ValueError):  # a name that cannot be
            beside.unlink(missing_ok=True)
        fail("E0916", f"cannot write weights to `{target}`: {error}")


def load(
    path: str | os.PathLike[str], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, NDArray[np.float32]]:
    """All declared arrays from a file. Raises LatteError E0916, E0917 with every difference."""
    found = _read(_place(path))
    errors = Collector()
    for name, shape in shapes.items():
        if name not in found:
            errors.error("E0917", f"`{path}` has no array `{name}`", None)
        elif found[name].shape != shape:
            text = f"`{name}` in `{path}` has the shape {list(found[name].shape)}"
            errors.error("E0917", f"{text}, expected {list(shape)}", None)
    for name in found.keys() - shapes.keys():
        errors.error("E0917", f"`{path}` has an array `{name}` that the net has not", None)
    if errors.failed:
        fail("E0917", _summary([d.message for d in errors.diagnostics]))
    return {name: np.asarray(found[name], np.float32) for name in shapes}


def _place(path: object) -> Path:
    if not isinstance(path, (str, os.PathLike)):
        fail("E0916", f"weights cannot be in {path!r}", help='give a path, "w.safetensors"')
    return Path(path)


def _read(path: Path) -> dict[str, Array]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    if path.is_dir():
        hint = f'what `latte train --save` left is in "{path / "weights.safetensors"}"'
        fail("E0916", f"`{path}` is a folder, not a weights file", help=hint)
    try:
        return dict(load_file(path))
    except FileNotFoundError:
        fail("E0916", f"there is no weights file `{path}`")
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        fail("E0916", f"`{path}` is not a weights file: {error}")


def _summary(problems: list[str]) -> str:
    more = f" (and {len(problems) - 5} more)" if len(problems) > 5 else ""
    return f"the weights do not fit the net: {'; '.join(problems[:5])}{more}"
