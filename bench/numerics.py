"""How far convolutions are from exact, done directly and in tiles.

    python bench/numerics.py                     3 x 3 taps, 16 to 512 channels
    python bench/numerics.py --taps 5 --channels 64

The greatest error of any element over the greatest value of any, against float64 on the same
numbers, all drawn from a normal distribution. For docs/numerics.md.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

import latte
from latte.build import lower_kernel
from latte.codegen.interp import Run
from latte.compiler.ir import Program
from latte.compiler.layout import layout
from latte.compiler.machine import host
from latte.compiler.pack import pack
from latte.compiler.pipeline import program_of
from latte.compiler.simplify import simplify_program
from latte.compiler.winograd import winograd
from latte.compiler.winograd_cost import tiles
from latte.runtime.cpu import Native

NET = """
neuron Times(y, weight) = y * weight
layer Weighed(source[i...], slope[i...]) {{
    ensemble out[p...: i] = Times(source[p], slope[p])
}}
net Probe {{
    input image[{channels}, {size}, {size}]
    input slope[{channels}, {size}, {size}]
    conv = Conv(image, {channels}, kernel = {taps}, pad = {pad}, biased = false)
    loss Weighed(conv, slope)
}}
"""
Array = NDArray[np.float32]
Results = tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.floating]]
ITEMS = 4


def main() -> None:
    """Prints a line for each number of channels and each way."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--channels", type=int, nargs="+", default=[16, 64, 256, 512])
    parser.add_argument("--size", type=int, default=20)
    parser.add_argument("--taps", type=int, default=3)
    given = parser.parse_args()
    steps = [None, *(step for step in (2, 4, 5) if step + given.taps - 1 <= 8)]
    print("channels  outputs of a tile  forward  gradient of inputs  gradient of weights")
    for channels in given.channels:
        arrays = draw(channels, given.size, given.taps)
        exact = reference(*(array.astype(np.float64) for array in arrays))
        for step in steps:
            found = measured(step, arrays)
            errors = [
                np.abs(a - b).max() / np.abs(b).max() for a, b in zip(found, exact, strict=True)
            ]
            print(f"{channels:8}  {step or 'direct':>17}  {'  '.join(f'{e:.1e}' for e in errors)}")


def draw(channels: int, size: int, taps: int) -> tuple[Array, Array, Array]:
    """Image, weights and the gradient of the output."""
    rng = np.random.default_rng(channels)
    plane = (ITEMS, channels, size, size)
    shapes = plane, (channels, channels, taps, taps), plane
    image, weight, slope = (rng.standard_normal(shape, np.float32) for shape in shapes)
    return image, weight, slope


def reference(image: NDArray[np.float64], weight: NDArray[np.float64],
              slope: NDArray[np.float64]) -> Results:  # fmt: skip
    """Output, gradient of the image and of the weights, by windows."""
    turned = np.flip(weight.transpose(1, 0, 2, 3), (2, 3))
    windows = _windows(image, weight.shape[-1])
    gradient = np.tensordot(slope, windows, ((0, 2, 3), (0, 2, 3)))
    return _correlate(image, weight), _correlate(slope, turned), gradient


def _windows(planes: NDArray[np.float64], taps: int) -> NDArray[np.float64]:
    edge = (taps // 2, taps // 2)
    padded = np.pad(planes, ((0, 0), (0, 0), edge, edge))
    return sliding_window_view(padded, (taps, taps), (2, 3))


def _correlate(planes: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    windows = _windows(planes, weight.shape[-1])
    return np.tensordot(windows, weight, ((1, 4, 5), (1, 2, 3))).transpose(0, 3, 1, 2)


def measured(step: int | None, arrays: tuple[Array, Array, Array]) -> Results:
    """The same by generated code, in tiles of `step` outputs (of taps, for the last one)."""
    image, weight, slope = arrays
    channels, size, taps = image.shape[1], image.shape[-1], weight.shape[-1]
    text = NET.format(channels=channels, size=size, taps=taps, pad=taps // 2)
    net = latte.loads(text).elaborated
    naive = program_of(net, batch=ITEMS, gradients=("image",))
    made = Native(compiled(naive, step), lower_kernel, keep=frozenset({"conv.out", "image.grad"}))
    scalars = dict.fromkeys(naive.scalars, 1.0) | {"items": float(ITEMS)}
    for name, array in (("image", image), ("slope", slope), ("conv.weight", weight)):
        made.write(name, array)
    for phase in ("forward", "backward"):
        made.run(phase, Run(ITEMS, scalars=scalars))
    output, inputs = read(made, "conv.out", slope), read(made, "image.grad", image)
    weights = read(made, "conv.weight.grad", weight)
    return output, inputs * slope.size, weights * slope.size  # the loss is a mean


def read(made: Native, name: str, like: Array) -> Array:
    """A buffer of the same shape as an array."""
    found = made.read(name, like.shape, "backward")
    assert found is not None
    return found


def compiled(program: Program, step: int | None) -> Program:
    """After the passes that matter here."""
    program = layout(simplify_program(program), host())
    if step is not None:
        tiled = winograd(program, host(), lambda sliding: tiles(sliding, (step,)))
        assert tiled is not program
        program = tiled
    return pack(program, host())


if __name__ == "__main__":
    main()
