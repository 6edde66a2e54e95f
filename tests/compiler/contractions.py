"""Contractions written by hand, on plain buffers: what synthesize makes of usual layers."""

from __future__ import annotations

from dataclasses import dataclass, replace

from latte.compiler.affine import Affine, axis, constant
from latte.compiler.expression import Apply, Axis, Expression, Fold, Guard, Let, Load, Local
from latte.compiler.ir import Buffer, Kernel, Phase, Program, Role, Serial, Write


@dataclass(frozen=True)
class Convolution:
    """A convolution of any number of dimensions, with groups."""

    items: int
    channels: int
    filters: int
    size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: int = 1
    pad: int = 0
    dilation: int = 1
    groups: int = 1

    @property
    def out(self) -> tuple[int, ...]:
        """Sizes of the result."""
        return tuple(
            (s + 2 * self.pad - self.dilation * (k - 1) - 1) // self.stride + 1
            for s, k in zip(self.size, self.kernel, strict=True)
        )

    @property
    def multiplications(self) -> int:
        """Multiply-adds of each of its three contractions, nothing clipped."""
        total = self.items * self.channels * self.filters // self.groups
        for out, kernel in zip(self.out, self.kernel, strict=True):
            total *= out * kernel
        return total


def product_sum(axes: tuple[Axis, ...], a: Load, b: Load, *where: Guard) -> Fold:
    """The sum over axes of two loads' product."""
    return Fold("sum", axes, Apply("mul", (a, b)), where)


def names(axes: tuple[Axis, ...]) -> tuple[Affine, ...]:
    """The positions along axes."""
    return tuple(axis(a.name) for a in axes)


def inside(places: tuple[Affine, ...], sizes: tuple[int, ...]) -> tuple[Guard, ...]:
    """That each place is within 0 .. size - 1."""
    pairs = zip(places, sizes, strict=True)
    return tuple(guard for p, s in pairs for guard in (Guard(p), Guard(constant(s - 1) - p)))


def convolution(what: str, form: Convolution) -> Program:
    """`what`: "forward", "weights" (their gradient) or "input" (its gradient, stride 1)."""
    n, rank = Axis("n", form.items, "n"), range(len(form.size))
    groups, per = form.groups, form.channels // form.groups
    g, j, c = Axis("g", groups), Axis("j", form.filters // groups), Axis("c", per)
    out = tuple(Axis(f"y{k}", s) for k, s in enumerate(form.out))
    taps = tuple(Axis(f"k{k}", s) for k, s in enumerate(form.kernel))
    source = tuple(Axis(f"x{k}", s) for k, s in enumerate(form.size))
    channel = axis("g") * per + axis("c")
    filter_ = axis("g") * (form.filters // groups) + axis("j")
    image = Buffer("in", (n, Axis("c", form.channels), *source), "value", "in")
    weight = Buffer("w", (Axis("f", form.filters), Axis("c", per), *taps), "parameter", "w")
    bias = Buffer("b", (Axis("f", form.filters),), "parameter", "b")
    result = Buffer("out", (n, Axis("f", form.filters), *out), "value", "out")
    weights = Load("w", (filter_, axis("c"), *names(taps)))
    if what == "input":
        assert form.stride == 1
        places = tuple(
            axis(source[k].name) + form.pad - axis(taps[k].name) * form.dilation for k in rank
        )
        load = Load("out", (axis("n"), filter_, *places))
        fold = product_sum((j, *taps), weights, load, *inside(places, form.out))
        write = Write("in", (axis("n"), channel, *names(source)), fold)
        return _program((weight, result, image), Kernel("in", (n, g, c, *source), (), (write,)))
    places = tuple(
        axis(out[k].name) * form.stride - form.pad + axis(taps[k].name) * form.dilation
        for k in rank
    )
    load = Load("in", (axis("n"), channel, *places))
    guards = inside(places, form.size)
    if what == "weights":
        gradient = Load("out", (axis("n"), filter_, *names(out)))
        fold = product_sum((n, *out), load, gradient, *guards)
        write = Write("w", (filter_, axis("c"), *names(taps)), fold)
        return _program((image, result, weight), Kernel("w", (g, j, c, *taps), (), (write,)))
    fold = product_sum((c, *taps), weights, load, *guards)
    total = Apply("add", (Load("b", (filter_,)), Local("sum")))
    write = Write("out", (axis("n"), filter_, *names(out)), total)
    kernel = Kernel("out", (n, g, j, *out), (Let("sum", fold),), (write,))
    return _program((image, weight, bias, result), kernel)


def linear(what: str, items: int, inputs: tuple[int, ...], outputs: int) -> Program:
    """A linear layer on a window of any rank: "forward", "weights" or "input"."""
    n, j = Axis("n", items, "n"), Axis("j", outputs)
    window = tuple(Axis(f"i{k}", s) for k, s in enumerate(inputs))
    image = Buffer("in", (n, *window), "value", "in")
    weight = Buffer("w", (j, *window), "parameter", "w")
    result = Buffer("out", (n, j), "value", "out")
    loads = {
        "w": Load("w", (axis("j"), *names(window))),
        "in": Load("in", (axis("n"), *names(window))),
        "out": Load("out", (axis("n"), axis("j"))),
    }
    made = {"forward": "out", "weights": "w", "input": "in"}[what]
    summed = {"out": window, "w": (n,), "in": (j,)}[made]
    axes = {"out": (n, j), "w": (j, *window), "in": (n, *window)}[made]
    first, second = (load for name, load in loads.items() if name != made)
    write = Write(made, loads[made].index, product_sum(summed, first, second))
    return _program((image, weight, result), Kernel(made, axes, (), (write,)))


def attention(items: int, heads: int, queries: int, keys: int, size: int) -> Program:
    """Scores of dot products: `s[n, h, i, j] = sum [d] q[n, h, i, d] * k[n, h, j, d]`."""
    n, h, d = Axis("n", items, "n"), Axis("h", heads), Axis("d", size)
    i, j = Axis("i", queries), Axis("j", keys)
    buffers = (
        Buffer("q", (n, h, i, d), "value", "q"),
        Buffer("k", (n, h, j, d), "value", "k"),
        Buffer("s", (n, h, i, j), "value", "s"),
    )
    place = names((n, h))
    fold = product_sum(
        (d,), Load("q", (*place, axis("i"), axis("d"))), Load("k", (*place, axis("j"), axis("d")))
    )
    write = Write("s", (*place, axis("i"), axis("j")), fold)
    return _program(buffers, Kernel("s", (n, h, i, j), (), (write,)))


def locally_connected(items: int, channels: int, filters: int, size: int, taps: int) -> Program:
    """Weights of their own at every place."""
    n, f, c, k = (
        Axis("n", items, "n"),
        Axis("f", filters),
        Axis("c", channels),
        Axis("k", taps),
    )
    y = Axis("y", size - taps + 1)
    buffers = (
        Buffer("in", (n, c, Axis("x", size)), "value", "in"),
        Buffer("w", (f, y, c, k), "parameter", "w"),
        Buffer("out", (n, f, y), "value", "out"),
    )
    fold = product_sum(
        (c, k), Load("w", names((f, y, c, k))),
        Load("in", (axis("n"), axis("c"), axis("y") + axis("k"))),
    )  # fmt: skip
    write = Write("out", names((n, f, y)), Apply("tanh", (fold,)))
    return _program(buffers, Kernel("out", (n, f, y), (), (write,)))


def recurrent(items: int, steps: int, inputs: int, size: int) -> Program:
    """`h[t] = tanh(b + wx x[t] + wh h[t - 1])`, the first step without `h`."""
    n, t, j = Axis("n", items, "n"), Axis("t", steps, "t"), Axis("j", size)
    i, k = Axis("i", inputs), Axis("k", size)
    buffers = (
        Buffer("x", (n, t, i), "value", "x"),
        Buffer("wx", (j, i), "parameter", "wx"),
        Buffer("wh", (j, k), "parameter", "wh"),
        Buffer("b", (j,), "parameter", "b"),
        Buffer("h", (n, t, j), "value", "h"),
    )
    before = Load("h", (axis("n"), axis("t") - 1, axis("k")))
    input_part = product_sum((i,), Load("wx", names((j, i))), Load("x", names((n, t, i))))
    own_part = product_sum((k,), Load("wh", names((j, k))), before, Guard(axis("t") - 1))
    total: Expression = Apply("add", (Apply("add", (Load("b", names((j,))), input_part)), own_part))
    kernel = Kernel("h", (n, j), (), (Write("h", names((n, t, j)), Apply("tanh", (total,))),))
    return Program("test", buffers, (Phase("forward", (Serial(t, False, (kernel,)),)),))


def adding(program: Program) -> Program:
    """The same program, its kernel adding to what is there."""
    (phase,) = program.phases
    (kernel,) = phase.items
    assert isinstance(kernel, Kernel)
    changed = replace(kernel, writes=(replace(kernel.writes[0], add=True),))
    return replace(program, phases=(replace(phase, items=(changed,)),))


def activated(program: Program) -> Program:
    """The same program, its kernel storing a function of the sum."""
    (phase,) = program.phases
    (kernel,) = phase.items
    assert isinstance(kernel, Kernel)
    (write,) = kernel.writes
    changed = replace(write, expression=Apply("tanh", (write.expression,)))
    return replace(program, phases=(replace(phase, items=(replace(kernel, writes=(changed,)),)),))


def with_role(program: Program, name: str, role: Role) -> Program:
    """The program with another role for a buffer."""
    return replace(
        program,
        buffers=tuple(replace(b, role=role) if b.name == name else b for b in program.buffers),
    )


def _program(buffers: tuple[Buffer, ...], kernel: Kernel) -> Program:
    return Program("test", buffers, (Phase("forward", (kernel,)),))
