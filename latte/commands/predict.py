"""`latte predict`: the output of a trained net for images or arrays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from latte.commands.command import (
    Command,
    Settings,
    compile_options,
    json_option,
    net_argument,
)
from latte.errors import fail

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latte.compiler.net import Input
    from latte.model import Net

SHOWN = 3  # classes for each item


@click.command(cls=Command)
@net_argument
@click.option("--weights", required=True, metavar="FILE", help="Weights, or a --save folder")
@click.option(
    "--input", "files", required=True, multiple=True, metavar="FILE", help=".npy, IDX, images"
)
@click.argument("more", metavar="[FILE]...", nargs=-1)
@click.option("--output", metavar="FILE.npy", help="Write the output's values there")
@compile_options
@json_option
def command(
    net: Net,
    as_json: bool,
    weights: str,
    files: tuple[str, ...],
    more: tuple[str, ...],
    output: str | None,
    settings: Settings,
) -> None:
    """What a trained net says of images, or of the items of a .npy or an IDX file (MNIST's).

    Of a net with classes: the likeliest of them and their probabilities (softmax of the output);
    of any other net: the values.

    \b
      latte predict lenet.latte --weights trained --input four.png seven.png
      latte predict lenet.latte --weights trained --input images.npy --output scores.npy
      latte predict lenet.latte --weights trained --input t10k-images-idx3-ubyte.gz
    """
    import numpy as np

    from latte.runtime.checkpoint import weights_file

    wanted = _input(net.elaborated.inputs)
    names, items = _read((*files, *more), wanted)
    steps = items.shape[1] if wanted.time else None
    exe = settings.compile(net, mode="infer", batch=min(len(items), 64), time=steps)
    exe.load(weights_file(Path(weights)))
    fed: dict[str, Any] = {wanted.name: items}
    values = exe.predict(**fed)
    if output:
        np.save(output, values)
    classes = any(other.classes for other in net.elaborated.inputs if other is not wanted)
    answers = [_answer(name, value, classes) for name, value in zip(names, values, strict=True)]
    if as_json:
        click.echo(json.dumps({"predictions": answers}))
    else:
        for answer in answers:
            click.echo(_line(answer))


def _input(inputs: tuple[Input, ...]) -> Input:
    """The input to feed: the only one of numbers, or the first of all."""
    numbers = [wanted for wanted in inputs if wanted.classes is None]
    if len(numbers) > 1:
        told = ", ".join(f"`{wanted.name}`" for wanted in numbers)
        fail("E0854", f"the net has several inputs ({told}); use Python's exe.predict")
    return (numbers or list(inputs))[0]


def _read(files: tuple[str, ...], wanted: Input) -> tuple[list[str], NDArray[Any]]:
    """All items of all files, and what each is called."""
    import numpy as np

    names: list[str] = []
    parts: list[NDArray[Any]] = []
    for file in files:
        part = _items(Path(file), wanted)
        names += [file] if len(part) == 1 else [f"{file}[{k}]" for k in range(len(part))]
        parts.append(part)
    return names, np.concatenate(parts)


def _items(path: Path, wanted: Input) -> NDArray[Any]:
    import numpy as np

    from latte.runtime.idx import is_idx, read_idx
    from latte.runtime.images import pixels_of

    if path.suffix == ".npy":
        array = _fitted(path, _loaded(path), wanted)
    elif is_idx(path):
        array = _listed(path, read_idx(path), wanted)
    else:
        return pixels_of(path, wanted)
    if array.dtype == np.uint8 and wanted.classes is None:
        return array.astype(np.float32) / np.float32(255)
    return array


def _loaded(path: Path) -> NDArray[Any]:
    import numpy as np

    try:
        array: NDArray[Any] = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        fail("E0851", f"there is no file `{path}`")
    except (OSError, ValueError, EOFError) as problem:
        fail("E0852", f"`{path}` is not an array that can be read: {problem}")
    return array


def _fitted(path: Path, array: NDArray[Any], wanted: Input) -> NDArray[Any]:
    """One item, or several along a first axis."""
    from latte.runtime.data import item_shape

    shape = item_shape(wanted)
    rank = len(shape) + wanted.time
    items = array[None] if array.ndim == rank else array
    if items.ndim != rank + 1 or items.shape[items.ndim - len(shape) :] != shape:
        _differ(path, array, wanted)
    return items


def _listed(path: Path, array: NDArray[Any], wanted: Input) -> NDArray[Any]:
    """Items along the first axis; axes of size 1 do not count."""
    from latte.runtime.data import item_shape

    shape = item_shape(wanted)
    first = array.shape[: 1 + wanted.time]
    rest = tuple(size for size in array.shape[len(first) :] if size != 1)
    if len(first) != 1 + wanted.time or rest != tuple(size for size in shape if size != 1):
        _differ(path, array, wanted)
    return array.reshape(*first, *shape)


def _differ(path: Path, array: NDArray[Any], wanted: Input) -> NoReturn:
    from latte.runtime.data import item_shape
    from latte.runtime.fit import shape_text

    steps = "time, " if wanted.time else ""
    one, several = (shape_text(item_shape(wanted), f"{n}{steps}") for n in ("", "items, "))
    fail(
        "E0853",
        f"`{path}` has shape {shape_text(array.shape)}, but the input `{wanted.name}` has {one}",
        wanted.span,
        help=f"give {one} for one item, or {several}",
    )


def _answer(name: str, values: NDArray[Any], classes: bool) -> dict[str, Any]:
    """An item's likeliest classes, or its values."""
    import numpy as np

    if not classes or values.ndim != 1:
        return {"input": name, "values": values.tolist()}
    powers = np.exp(values.astype(np.float64) - values.max())
    chances = powers / powers.sum()
    best = np.argsort(-chances, kind="stable")
    return {
        "input": name,
        "class": int(best[0]),
        "probabilities": {int(k): round(float(chances[k]), 6) for k in best[:SHOWN]},
    }


def _line(answer: dict[str, Any]) -> str:
    if "values" in answer:
        return f"{answer['input']}  {answer['values']}"
    chances = "  ".join(f"{k}: {value:.1%}" for k, value in answer["probabilities"].items())
    return f"{answer['input']}  class {answer['class']}  ({chances})"
