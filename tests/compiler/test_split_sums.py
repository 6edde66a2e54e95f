"""Sums over items fall apart into partial sums that threads can share; the result stays."""

import numpy as np

from latte.codegen import interp
from latte.codegen.interp import Run
from latte.compiler.affine import axis
from latte.compiler.expression import Apply, Axis, Fold, Guard, Let, Load, Local, Number, Scalar
from latte.compiler.ir import Buffer, Kernel, Phase, Program, Write, kernels
from latte.compiler.show import show_item
from latte.compiler.split_sums import split_sums
from latte.compiler.verify import verify

N, F, Y, X = (axis(name) for name in "nfyx")


def moments(batch: int = 6, channels: int = 3, side: int = 40) -> Program:
    """The mean and the energy of each channel over items and places; one row is left out."""
    n, f = Axis("n", batch, "n"), Axis("f", channels)
    y, x = Axis("y", side), Axis("x", side)
    value = Load("image", (N, F, Y, X))
    inside = (Guard(Y - 1),)
    total = Fold("sum", (n, y, x), value, inside)
    scaled = Apply("mul", (Local("scale"), value))
    energy = Fold("sum", (n, y, x), Apply("mul", (scaled, scaled)), inside)
    mean = Apply("div", (total, Scalar("items")))
    kernel = Kernel(
        "moments",
        (f,),
        (Let("scale", Number(0.5)),),
        (Write("mean", (F,), mean), Write("energy", (F,), Apply("add", (energy, total)))),
        reason="forward",
    )
    buffers = (
        Buffer("image", (n, f, y, x), "input", "image"),
        Buffer("mean", (f,), "value", "mean"),
        Buffer("energy", (f,), "value", "energy"),
    )
    return Program("Moments", buffers, (Phase("forward", (kernel,)),), ("items",))


def test_the_result_stays_for_any_number_of_items() -> None:
    before = moments()
    after = split_sums(before)
    verify(after, "split_sums")
    for items in (1, 4, 6):
        found = []
        for program in (before, after):
            arrays = interp.allocate(program)
            arrays["image"][:items] = np.random.default_rng(1).normal(size=(items, 3, 40, 40))
            interp.run(program, "forward", arrays, Run(items, scalars={"items": items}))
            found.append(np.concatenate([arrays["mean"], arrays["energy"]]))
        np.testing.assert_allclose(found[0], found[1], rtol=1e-12)


def test_how_it_reads() -> None:
    partial, whole = split_sums(moments()).phases[0].items
    assert show_item(partial).splitlines() == [
        "kernel moments.partial [n: n, f: 3]  # forward, slice by slice",
        "    let moments.partial.0 = sum [y: 40, x: 40] where y - 1 >= 0: image[n, f, y, x]",
        "    let moments.partial.1 = sum [y: 40, x: 40] where y - 1 >= 0: "
        "0.5 * image[n, f, y, x] * (0.5 * image[n, f, y, x])",
        "    moments.partial.0[n, f] = moments.partial.0",
        "    moments.partial.1[n, f] = moments.partial.1",
    ]
    assert "(sum [n: n] moments.partial.0[n, f]) / $items" in show_item(whole)


def variance(batch: int = 5, channels: int = 3, side: int = 40) -> Program:
    """The mean of each channel, then the variance, then how far a gradient follows the source."""
    n, f = Axis("n", batch, "n"), Axis("f", channels)
    y, x = Axis("y", side), Axis("x", side)
    places, count = (n, y, x), Apply("mul", (Scalar("items"), Number(float(side * side))))
    value, slope = Load("image", (N, F, Y, X)), Load("slope", (N, F, Y, X))
    away = Apply("sub", (value, Load("mean", (F,))))
    sums = {
        "mean": value,
        "variance": Apply("mul", (away, away)),
        "rise": Apply("mul", (slope, away)),
        "run": Apply("mul", (away, slope)),
        "drift": away,
    }
    items = tuple(
        Kernel(name, (f,), (), (Write(name, (F,), Fold("sum", places, Apply("div", (e, count)))),))
        for name, e in sums.items()
    )
    images = (Buffer(name, (n, f, y, x), "input", name) for name in ("image", "slope"))
    results = (Buffer(name, (f,), "value", name) for name in sums)
    return Program("Variance", (*images, *results), (Phase("forward", items),), ("items",))


def test_sums_over_the_same_places_take_one_sweep_each_time_a_mean_is_known() -> None:
    before = variance()
    after = split_sums(before)
    verify(after, "split_sums")
    names = [kernel.name for kernel in kernels(after.phases[0].items)]
    assert [name for name in names if "partial" in name] == ["mean.partial", "rise.partial"]
    assert len(after.buffers) == len(before.buffers) + 4  # rise and run are one sum
    for items in (1, 5):
        found = []
        for program in (before, after):
            arrays = interp.allocate(program)
            draw = np.random.default_rng(1)
            for name in ("image", "slope"):
                arrays[name][:items] = 1e3 + draw.normal(size=(items, 3, 40, 40))
            interp.run(program, "forward", arrays, Run(items, scalars={"items": items}))
            found.append(np.concatenate([arrays[name] for name in names if name in arrays]))
        np.testing.assert_allclose(found[0], found[1], rtol=1e-9, atol=1e-9)


def test_small_sums_and_those_with_many_owners_are_left_alone() -> None:
    small, many = moments(side=2), moments(channels=5000, side=8)
    assert split_sums(small) is small
    assert split_sums(many) is many
