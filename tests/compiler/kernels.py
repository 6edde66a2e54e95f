"""Kernels of the kinds that nets are made of, by hand, in any size: for tests of lowering."""

from collections.abc import Callable

from latte.compiler.affine import Affine, axis, constant
from latte.compiler.expression import (
    Apply,
    Axis,
    Expression,
    Fold,
    Guard,
    Let,
    Load,
    Local,
    Number,
    Position,
    Random,
    Scalar,
)
from latte.compiler.ir import Buffer, Dim, Element, Kernel, Phase, Program, Serial, Write
from latte.compiler.rewrite import substitute_axes, substitute_guards

N, C, Y, X, KY, KX = map(axis, ("n", "c", "y", "x", "ky", "kx"))
T, J, K, D, F = map(axis, ("t", "j", "k", "d", "f"))
BATCH = Axis("n", 4, "n")


def call(operator: str, *operands: Expression | float) -> Expression:
    """A primitive; Python numbers are constants."""
    made = tuple(Number(float(o)) if isinstance(o, int | float) else o for o in operands)
    return Apply(operator, made)  # type: ignore[arg-type]


def buffer(name: str, *axes: Axis, element: Element = "f32") -> Buffer:
    return Buffer(name, axes, "value", name, element)


def program(buffers: list[Buffer], items: list[Kernel | Serial], *scalars: str) -> Program:
    return Program("test", tuple(buffers), (Phase("forward", tuple(items)),), scalars)


def kernel(
    axes: tuple[Axis, ...], *writes: Write, lets: tuple[Let, ...] = (),
    where: tuple[Guard, ...] = (), name: str = "kernel",
) -> Kernel:  # fmt: skip
    return Kernel(name, axes, lets, writes, where)


def sizes(**named: int) -> tuple[Axis, ...]:
    return tuple(Axis(name, size) for name, size in named.items())


def images(size: int) -> tuple[Axis, ...]:
    return (BATCH, *sizes(c=size, y=size + 1, x=size + 2))


def relu(size: int) -> Program:
    axes = images(size)
    at = (N, C, Y, X)
    write = Write("out", at, call("max", Load("in", at), 0.0))
    return program([buffer("in", *axes), buffer("out", *axes)], [kernel(axes, write)])


def masked(size: int) -> Program:
    """Two results where their masks are positive, both made of a difference of two inputs."""
    axes = images(size)
    at = (N, C, Y, X)
    shared = Let("shared", call("sub", Load("a", at), Load("b", at)))
    writes = (
        Write(f"out.{k}", at, call("select", call("gt", Load(f"mask.{k}", at), 0.0),
                                   call("mul", Local("shared"), k), 0.0))
        for k in (2, 3)
    )  # fmt: skip
    names = ("a", "b", "mask.2", "mask.3", "out.2", "out.3")
    buffers = [buffer(name, *axes) for name in names]
    return program(buffers, [kernel(axes, *writes, lets=(shared,))])


def pool(size: int, operator: str = "max") -> Program:
    """Windows of 3, stride 2, padding 1, clipped; and the winner as a byte."""
    half = (size + 2) // 2
    source = (BATCH, *sizes(c=size, y=size, x=size + 1))
    axes = (BATCH, *sizes(c=size, y=half, x=half))
    row, column = Y * 2 + KY - 1, X * 2 + KX - 1
    where = (Guard(row), Guard(size - 1 - row), Guard(column), Guard(size - column))
    window, body = sizes(ky=3, kx=3), Load("in", (N, C, row, column))
    best = Fold(operator, window, body, where)  # type: ignore[arg-type]
    other = {"ky": axis("i"), "kx": axis("j")}  # another name of the window's places
    winner = Fold(
        "argmax", sizes(i=3, j=3), substitute_axes(body, other), substitute_guards(where, other)
    )
    at = (N, C, Y, X)
    writes = (Write("out", at, best), Write("winner", at, winner))
    buffers = [buffer("in", *source), buffer("out", *axes), buffer("winner", *axes, element="u8")]
    return program(buffers, [kernel(axes, *writes)])


def average(size: int) -> Program:
    """The mean of a clipped window: a sum, and how many places there are."""
    axes = (BATCH, *sizes(c=size, y=size))
    row = Y + KY - 1
    where = (Guard(row), Guard(size - 1 - row))
    window = sizes(ky=3)
    total = Fold("sum", window, Load("in", (N, C, row)), where)
    count = Fold("sum", window, Number(1.0), where)
    write = Write("out", (N, C, Y), call("div", total, count))
    return program([buffer("in", *axes), buffer("out", *axes)], [kernel(axes, write)])


def normalize(size: int) -> Program:
    """Local response normalization over five channels."""
    axes = images(size)
    near = C + KY - 2
    load = Load("in", (N, near, Y, X))
    total = Fold("sum", sizes(ky=5), call("mul", load, load), (Guard(near), Guard(size - 1 - near)))
    scale = call("pow", call("add", 1.0, call("mul", 0.2, total)), -0.75)
    at = (N, C, Y, X)
    write = Write("out", at, call("mul", Load("in", at), scale))
    return program([buffer("in", *axes), buffer("out", *axes)], [kernel(axes, write)])


def softmax(size: int) -> Program:
    """Over channels, at every pixel."""
    axes = images(size)
    at, inner = (N, C, Y, X), (N, K, Y, X)
    most = Let("most", Fold("max", sizes(k=size), Load("in", inner)))
    shifted = call("exp", call("sub", Load("in", inner), Local("most")))
    total = Let("total", Fold("sum", sizes(k=size), shifted))
    mine = call("exp", call("sub", Load("in", at), Local("most")))
    write = Write("out", at, call("div", mine, Local("total")))
    whole = kernel(axes, write, lets=(most, total))
    return program([buffer("in", *axes), buffer("out", *axes)], [whole])


def softmax_rows(size: int) -> Program:
    """Over the last axis; then the mean loss of a class, and how many were right."""
    axes = (BATCH, *sizes(c=size))
    most = Let("most", Fold("max", sizes(k=size), Load("in", (N, K))))
    shifted = call("exp", call("sub", Load("in", (N, K)), Local("most")))
    total = Let("total", Fold("sum", sizes(k=size), shifted))
    mine = call("exp", call("sub", Load("in", (N, C)), Local("most")))
    first = kernel(
        axes, Write("out", (N, C), call("div", mine, Local("total"))), lets=(most, total)
    )
    label = Load("label", (N,))
    chosen = call("neg", call("log", Load("out", (N, label))))
    items = (BATCH,)
    loss = kernel((), Write("loss", (), call("div", Fold("sum", items, chosen), Scalar("items"))))
    winner = Fold("argmax", sizes(k=size), Load("out", (N, K)))
    right = Fold("sum", items, call("eq", winner, label))
    hits = kernel((), Write("hits", (), right))
    buffers = [
        buffer("in", *axes), buffer("out", *axes), buffer("label", BATCH, element="i32"),
        buffer("loss"), buffer("hits"),
    ]  # fmt: skip
    return program(buffers, [first, loss, hits], "items")


def linear(size: int) -> Program:
    axes = (BATCH, *sizes(j=size))
    body = call("mul", Load("weight", (J, K)), Load("in", (N, K)))
    total = Fold("sum", sizes(k=size + 5), body)
    write = Write("out", (N, J), call("add", Load("bias", (J,)), total))
    buffers = [
        buffer("weight", *sizes(j=size, k=size + 5)), buffer("in", BATCH, *sizes(k=size + 5)),
        buffer("bias", *sizes(j=size)), buffer("out", *axes),
    ]  # fmt: skip
    return program(buffers, [kernel(axes, write)])


def moments(size: int) -> Program:
    """Mean and variance of each channel over items and pixels."""
    axes = images(size)
    over = (BATCH, *axes[2:])
    count = call("mul", Scalar("items"), float((size + 1) * (size + 2)))
    load = Load("in", (N, C, Y, X))
    mean = Let("mean", call("div", Fold("sum", over, load), count))
    away = call("sub", load, Local("mean"))
    spread = Fold("sum", over, call("mul", away, away))
    writes = (
        Write("mean", (C,), Local("mean")),
        Write("variance", (C,), call("div", spread, count)),
    )
    channel = sizes(c=size)
    buffers = [buffer("in", *axes), buffer("mean", *channel), buffer("variance", *channel)]
    return program(buffers, [kernel(channel, *writes, lets=(mean,))], "items")


def strided(size: int) -> Program:
    """The gradient of the input of a strided, padded convolution: a gather by residues."""
    wide = 2 * size + 1
    axes = (BATCH, *sizes(c=3, x=wide))
    place = X + 1 - KX
    where = (Guard(place), Guard((size - 1) * 2 + 1 - place), Guard(place, 2))
    body = call("mul", Load("weight", (F, C, KX)), Load("grad", (N, F, place // 2)))
    total = Fold("sum", sizes(f=2, kx=3), body, where)
    buffers = [
        buffer("weight", *sizes(f=2, c=3, kx=3)), buffer("grad", BATCH, *sizes(f=2, x=size)),
        buffer("out", *axes),
    ]  # fmt: skip
    return program(buffers, [kernel(axes, Write("out", (N, C, X), total))])


def embedding(size: int) -> Program:
    """Rows chosen by words, and the gradient of the table: ordered adds."""
    axes = (BATCH, *sizes(t=3, d=size))
    word = Load("word", (N, T))
    look = kernel(axes, Write("out", (N, T, D), Load("table", (word, D))))
    clear = kernel(sizes(k=7, d=size), Write("grad", (K, D), Number(0.0)))
    add = kernel(axes, Write("grad", (word, D), Load("out", (N, T, D)), add=True))
    table = sizes(k=7, d=size)
    buffers = [
        buffer("word", *axes[:2], element="i32"), buffer("table", *table),
        buffer("grad", *table), buffer("out", *axes),
    ]  # fmt: skip
    return program(buffers, [look, clear, add])


def recurrence(size: int) -> Program:
    """h[t] = tanh(a h[t - 1] + x[t]), and its reversed sum."""
    time = Axis("t", 5, "t")
    axes, inner = (BATCH, time, *sizes(j=size)), (BATCH, *sizes(j=size))
    before = Apply("select", (call("ge", Position(T), 1.0), Load("h", (N, T - 1, J)), Number(0.0)))
    step = call("tanh", call("add", call("mul", 0.5, before), Load("in", (N, T, J))))
    after = Apply(
        "select",
        (call("lt", Position(T + 1), Load("length", (N,))), Load("s", (N, T + 1, J)), Number(0.0)),
    )
    back = call("add", after, Load("h", (N, T, J)))
    forward = Serial(time, False, (kernel(inner, Write("h", (N, T, J), step), name="h"),))
    backward = Serial(time, True, (kernel(inner, Write("s", (N, T, J), back), name="s"),))
    buffers = [buffer(name, *axes) for name in ("in", "h", "s")]
    length = buffer("length", BATCH, element="i32")
    return program([*buffers, length], [forward, backward])


def dropout(size: int) -> Program:
    axes = images(size)
    flat = ((N * size + C) * (size + 1) + Y) * (size + 2) + X
    at = (N, C, Y, X)
    keep = call("lt", Random("uniform", 7, flat), 0.6)
    kept = Apply("select", (keep, call("div", Load("in", at), 0.6), Number(0.0)))
    writes = (Write("out", at, kept), Write("noise", at, Random("normal", 8, flat)))
    buffers = [buffer(name, *axes) for name in ("in", "out", "noise")]
    return program(buffers, [kernel(axes, *writes)])


def folds(size: int) -> Program:
    """Every operator, nested, along and across the lane."""
    axes = (BATCH, *sizes(j=size))
    over = sizes(k=size + 2)
    load = Load("in", (N, K, J))
    names = ("sum", "prod", "min", "max", "argmax", "argmin")
    made: list[Expression] = [Fold(name, over, load) for name in names]  # type: ignore[arg-type]
    made.append(Fold("any", over, call("gt", load, 1.0)))
    made.append(Fold("all", over, call("gt", load, -1.0)))
    nested = Fold("max", over, Fold("sum", sizes(d=3), call("mul", load, Position(D))))
    made.append(nested)
    total: Expression = Number(0.0)
    for place, entry in enumerate(made):
        total = call("add", total, call("mul", entry, float(place + 1)))
    out = kernel(axes, Write("out", (N, J), total))
    whole = sizes(k=size + 2, j=size)
    every: Expression = Number(0.0)
    for name in (*names, "any", "all"):
        body = Load("in", (N, K, J)) if name not in ("any", "all") else call("gt", load, 1.0)
        every = call("add", call("mul", every, 0.5), Fold(name, whole, body))  # type: ignore[arg-type]
    row = kernel((BATCH,), Write("row", (N,), every))
    buffers = [
        buffer("in", BATCH, *over, *sizes(j=size)),
        buffer("out", *axes),
        buffer("row", BATCH),
    ]
    return program(buffers, [out, row])


def guarded(size: int) -> Program:
    """Writes where guards hold only; an integer division that must not trap."""
    axes = sizes(y=size, x=size)
    quotient = Apply("floordiv", (Position(X * 7 - 3), Position(Y)))
    rest = Apply("mod", (Position(X - Y * 5), Number(3.0)))
    safe = Apply("select", (call("gt", Position(Y), 0.0), quotient, Position(constant(-1))))
    write = Write("out", (Y, X), call("add", safe, rest))
    every = kernel(axes, Write("out", (Y, X), Number(-9.0)), name="clear")
    some = kernel(axes, write, where=(Guard(X - Y), Guard(Y + X * 2, 3)), name="some")
    return program([buffer("out", *axes)], [every, some])


def momentum(size: int) -> Program:
    """Two writes, in place, with run-time scalars."""
    axes = sizes(k=size, j=size + 3)
    at = (K, J)
    rate = call("mul", Scalar("solver.rate"), Load("grad", at))
    step = Let("step", call("add", call("mul", 0.9, Load("history", at)), rate))
    writes = (
        Write("weight", at, call("sub", Load("weight", at), Local("step"))),
        Write("history", at, Local("step")),
    )
    buffers = [buffer(name, *axes) for name in ("weight", "history", "grad")]
    return program(buffers, [kernel(axes, *writes, lets=(step,))], "items", "solver.rate")


def shuffle_channels(size: int) -> Program:
    """Floors in indices: a reshape of [2, size, 3] to one axis, and back."""
    axes = (BATCH, *sizes(j=6 * size))
    index: tuple[Affine, ...] = (N, J // (3 * size), (J // 3) % size, J % 3)
    source = (BATCH, *sizes(c=2, y=size, x=3))
    first = kernel(axes, Write("flat", (N, J), Load("in", index)))
    flat = C * (3 * size) + Y * 3 + X
    second = kernel(source, Write("out", (N, C, Y, X), Load("flat", (N, flat))))
    buffers = [buffer("in", *source), buffer("flat", *axes), buffer("out", *source)]
    return program(buffers, [first, second])


MAKERS: dict[str, Callable[[int], Program]] = {
    maker.__name__: maker
    for maker in (
        relu, masked, pool, average, normalize, softmax, softmax_rows, linear, moments, strided,
        embedding, recurrence, dropout, folds, guarded, momentum, shuffle_channels,
    )
}  # fmt: skip


def turned(size: int) -> Program:
    """A copy whose target is stored along another axis than its source."""
    axes = (BATCH, *sizes(c=4 * size, y=3, k=8))
    stored = (Dim(0, 4), Dim(2, 3), Dim(3, 8), Dim(1, 4 * size))
    target = Buffer("out", axes, "value", "out", "f32", stored)
    at = (N, C, Y, K)
    return program([buffer("in", *axes), target], [kernel(axes, Write("out", at, Load("in", at)))])


MAKERS["turned"] = turned


def spread(size: int) -> Program:
    """Mean, variance and largest place of every channel of every item."""
    axes = images(size)
    load = Load("in", (N, C, Y, X))
    count = float((size + 1) * (size + 2))
    mean = Let("mean", call("div", Fold("sum", axes[2:], load), count))
    away = call("sub", load, Local("mean"))
    variance = call("div", Fold("sum", axes[2:], call("mul", away, away)), count)
    place = Fold("argmax", axes[2:], load)
    writes = (
        Write("mean", (N, C), Local("mean")),
        Write("variance", (N, C), variance),
        Write("place", (N, C), place),
    )
    names = ("mean", "variance", "place")
    buffers = [buffer("in", *axes), *(buffer(name, *axes[:2]) for name in names)]
    return program(buffers, [kernel(axes[:2], *writes, lets=(mean,))])


MAKERS["spread"] = spread


def tiles(size: int) -> Program:
    """Tiles of 3 x 3 that overlap, with zeros outside: what crosses a tile, in four numbers."""
    half = (size + 1) // 2
    axes = (BATCH, *sizes(c=size, y=half, x=half))

    def place(a: int, b: int) -> Expression:
        row, column = Y * 2 + a - 1, X * 2 + b - 1
        above = call("and", call("ge", Position(row), 0.0), call("le", Position(row), size - 1))
        left = call("and", call("ge", Position(column), 0.0), call("gt", size, Position(column)))
        return call("select", call("and", above, left), Load("in", (N, C, row, column)), 0.0)

    lets = [Let(f"d{a}{b}", place(a, b)) for a in range(3) for b in range(3)]
    lets += [
        Let(f"e{a}{b}", call("sub", Local(f"d{a}{b}"), call("mul", Local(f"d{2 - a}{b}"), 0.5)))
        for a in (0, 1)
        for b in range(3)
    ]
    writes = (
        Write("out", (*map(constant, (a, b)), N, C, Y, X), call("add", Local(f"e{a}{b}"), last))
        for a in (0, 1)
        for b, last in enumerate((Local(f"e{a}2"), call("mul", Local(f"e{a}0"), 3.0)))
    )
    buffers = [
        buffer("in", BATCH, *sizes(c=size, y=size, x=size)),
        buffer("out", *sizes(a=2, b=2), *axes),
    ]
    return program(buffers, [kernel(axes, *writes, lets=tuple(lets))])


MAKERS["tiles"] = tiles
