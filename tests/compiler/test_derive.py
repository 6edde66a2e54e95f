"""What inference computes of parameters alone comes first; updates come right behind gradients."""

from dataclasses import replace

import numpy as np

from latte.codegen import interp
from latte.codegen.interp import Run
from latte.compiler.affine import axis
from latte.compiler.derive import derive
from latte.compiler.expression import Apply, Axis, Expression, Load, Number, Scalar
from latte.compiler.hasten import hasten
from latte.compiler.ir import Buffer, Item, Kernel, Phase, Program, Serial, Write, commit
from latte.compiler.plan_memory import plan_memory

N, J = axis("n"), axis("i")
ITEM, PLACE = Axis("n", 4, "n"), Axis("i", 8)
ROLES = {
    "x": "input", "w": "parameter", "m": "running", "a": "scratch", "b": "scratch", "c": "scratch",
    "y": "value", "z": "value",
}  # fmt: skip


def program(*items: Item, phase: str = "predict") -> Program:
    axes = {name: (ITEM, PLACE) if name in "xyz" else (PLACE,) for name in ROLES}
    buffers = tuple(Buffer(name, axes[name], role, name) for name, role in ROLES.items())
    return Program("Small", buffers, (Phase(phase, items),), ("items",))


def kernel(text: str, factor: Expression | None = None) -> Kernel:
    """`ab>c`: c = (a + b) * factor, for every item where c or a source has items."""
    read, _, written = text.partition(">")
    axes = (ITEM, PLACE) if written in "yz" else (PLACE,)
    value: Expression = factor or Number(2.0)
    for name in read:
        value = Apply("add", (value, Load(name, (N, J) if name in "xyz" else (J,))))
    index = (N, J) if written in "yz" else (J,)
    return Kernel(text, axes, (), (Write(written, index, value),))


def steady(*texts: str) -> list[str]:
    phase = derive(program(*map(kernel, texts))).phases[0]
    assert sorted(k.name for k in phase.items) == sorted(texts)
    return [item.name for item in phase.items[: phase.steady]]


def test_what_depends_on_parameters_alone_comes_first() -> None:
    assert steady("x>y", "w>a", "ya>z") == ["w>a"]
    assert steady("x>y", "wm>a", "a>b", "yb>z", "b>c", "zc>y") == ["wm>a", "a>b", "b>c"]
    assert steady("xw>y", "y>z") == []


def test_what_is_overwritten_or_reads_anything_else_stays() -> None:
    assert steady("w>a", "ax>y", "m>a", "ay>z") == []  # `a` is needed twice
    assert steady("w>a", "m>a", "ax>y") == ["w>a", "m>a"]
    assert steady("x>y", "ya>z", "w>a") == []  # reads what the last call left
    assert steady("w>a", "x>y", "a>b", "yb>z", "m>b") == ["w>a"]
    changing = program(kernel("w>a", Scalar("items")), kernel("a>b"), kernel("xb>y"))
    assert derive(changing).phases[0].steady == 0
    time = Axis("t", 3, "t")
    loop = program(Serial(time, False, (kernel("w>a"),)), kernel("xa>y"))
    assert derive(loop).phases[0].steady == 0
    assert derive(program(kernel("w>a"), kernel("xa>y"), phase="forward")).phases[0].steady == 0


def test_the_order_changes_no_value_and_derived_buffers_lie_outside() -> None:
    before = program(*map(kernel, ("x>y", "wm>a", "a>b", "yb>z")))
    after = derive(before)
    rng = np.random.default_rng(0)
    values = {name: rng.normal(size=8) for name in "wm"} | {"x": rng.normal(size=(4, 8))}
    found = []
    for each in (before, after):
        arrays = interp.allocate(each)
        for name, value in values.items():
            arrays[name][...] = value
        interp.run(each, "predict", arrays, Run(4))
        found.append(arrays["z"])
    np.testing.assert_array_equal(*found)
    assert dict(plan_memory(after, "predict", reuse=True).offsets).keys() == {"y", "z"}


def test_large_updates_follow_their_gradients() -> None:
    wide = Axis("i", 1 << 16)
    names = {"x": "value", "g": "parameter gradient", "h": "parameter gradient", "s": "value"}
    names |= {"v": "parameter", "w": "parameter", "result.loss": "result"}
    buffers = tuple(
        Buffer(name, () if "." in name else (wide,), role, name) for name, role in names.items()
    )

    def step(to: str, *of: str) -> Kernel:
        value = Number(1.0)
        for name in of:
            value = Apply("add", (value, Load(name, (J,))))
        index = () if "." in to else (J,)
        axes = () if "." in to else (wide,)
        return Kernel(f"{''.join(of)}>{to}", axes, (), (Write(to, index, value),))

    items = (
        step("x", "v"), step("result.loss"), step("g", "x"), step("h", "x"), step("s", "v"),
        step("v", "v", "g"), step("w", "w", "h"),
    )  # fmt: skip
    made = Program("Late", buffers, (Phase("step", items),))
    found = hasten(made)
    order = [item.name for item in found.phases[0].items]
    assert order == ["v>x", ">result.loss", "x>g", "x>h", "wh>w", "v>s", "vg>v"]
    assert commit(found, found.phases[0]) == 4
    size = [plan_memory(p, "step", reuse=True).size for p in (made, found)]
    assert size[1] <= size[0]
    small = tuple(replace(b, axes=b.axes and (Axis("i", 64),)) for b in buffers)
    assert hasten(replace(made, buffers=small)).phases == made.phases
