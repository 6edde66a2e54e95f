"""Small Programs written by hand, for tests of what reads or runs Programs."""

from latte.compiler.affine import axis
from latte.compiler.expression import Apply, Axis, Fold, Guard, Load
from latte.compiler.ir import Buffer, Kernel, Phase, Program, Write

BATCH = Axis("n", 4, "n")
N, F, C, Y, KY = (axis(name) for name in ("n", "f", "c", "y", "ky"))


def convolution(height: int = 7, channels: int = 3, filters: int = 5, pad: int = 1) -> Program:
    """A 1-d convolution with a window of 3, clipped at the border, and its winner over y."""
    image = Buffer("image", (BATCH, Axis("c", channels), Axis("y", height)), "input", "image")
    weight = Buffer(
        "weight", (Axis("f", filters), Axis("c", channels), Axis("k", 3)), "parameter", "weight"
    )
    places = (BATCH, Axis("f", filters), Axis("y", height))
    out = Buffer("out", places, "value", "out")
    best = Buffer("best", places[:2], "kept", "out", "u8")
    row = Y + KY - pad
    product = Apply("mul", (Load("weight", (F, C, KY)), Load("image", (N, C, row))))
    inside = (Guard(row), Guard(height - 1 - row))
    total = Fold("sum", (Axis("c", channels), Axis("ky", 3)), product, inside)
    winner = Fold("argmax", (Axis("y", height),), Load("out", (N, F, Y)))
    kernels = (
        Kernel("out", places, (), (Write("out", (N, F, Y), total),), reason="forward"),
        Kernel("best", places[:2], (), (Write("best", (N, F), winner),), reason="forward"),
    )
    return Program("Tiny", (image, weight, out, best), (Phase("forward", kernels),))
