"""What took how long, and what moved without being computed."""

from __future__ import annotations

import numpy as np
import pytest

import latte
from latte.compiler.affine import axis
from latte.compiler.expression import Apply, Axis, Fold, Load
from latte.compiler.ir import Buffer, Kernel, Write
from latte.compiler.work import bytes_moved
from latte.runtime.copies import Counted, laid_out, moves_only
from latte.runtime.profile import by_kernel, by_layer, operations_of, part_of, profiled

NET = """net N { input image[2, 8, 8]
    input label: class(4)
    conv1 = ReLU(Conv(image, 16, kernel = 3, pad = 1, name = "c"))
    scores = Linear(MaxPool(conv1, 2, name = "pool"), 4)
    loss SoftmaxLoss(scores, label)
}"""
PLACE = (axis("y"),)


@pytest.fixture(params=["cpu", "interp"])
def exe(request):
    made = latte.loads(NET).compile(batch=4, target=request.param, threads=2)
    made.step(image=np.ones((4, 2, 8, 8), np.float32), label=np.arange(4))
    return made


def test_all_operations_of_the_specification_are_somewhere(exe) -> None:
    found = profiled(exe, "step", repeats=1)
    for rows in (by_layer(exe, found), by_kernel(exe, found)):
        assert sum(row.operations for row in rows) == operations_of(exe, "step")
        assert sum(row.seconds for row in rows) <= found.seconds
        assert all(row.seconds <= row.slowest <= found.seconds for row in rows)


def test_layers_come_in_the_order_of_the_net(exe) -> None:
    names = list(dict.fromkeys(row.name for row in by_layer(exe, profiled(exe, "step", 1))))
    assert [name for name in names if name in ("c", "pool", "scores")] == ["c", "pool", "scores"]


@pytest.mark.parametrize(
    ("reason", "part"),
    [
        ("forward, relu1", "forward"),
        ("loss", "forward"),
        ("gradient of conv1.weight, slice by slice", "backward"),
        ("clear", "backward"),
        ("update", "update"),
        ("copy of conv1.weight", "layout"),
    ],
)
def test_parts_of_a_step(reason: str, part: str) -> None:
    assert part_of(reason) == part


def test_bytes_that_move() -> None:
    """A window of 3 over 8 places, each read once; 3 of 16 places; what stays in caches not."""
    n, y, k = Axis("n", 10, "n"), Axis("y", 6), Axis("k", 3)
    buffers = {
        "x": Buffer("x", (n, Axis("x", 8)), "value", "x"),
        "w": Buffer("w", (Axis("i", 16),), "parameter", "w"),
        "p": Buffer("p", (n, y), "private", "p"),
        "out": Buffer("out", (n, y), "value", "out", "u8"),
    }
    window = Fold("sum", (k,), Load("x", (axis("n"), axis("y") + axis("k"))))
    value = Apply("add", (window, Load("w", (axis("y") // 2 + 4,))))
    value = Apply("add", (value, Load("p", (axis("n"), axis("y")))))
    kernel = Kernel("k", (n, y), (), (Write("out", (axis("n"), axis("y")), value),))
    assert bytes_moved(kernel, buffers, items=5) == 5 * 8 * 4 + 3 * 4 + 5 * 6


def test_what_goes_in_and_out_is_counted() -> None:
    exe = latte.loads(NET).compile(batch=4)
    image = np.ones((4, 2, 8, 8), np.float32)
    exe.backend = counted = Counted(exe.backend)
    exe.predict(image=image)
    exe.predict(image=image)
    moved = {(copy.kind, copy.name): copy.bytes for copy in counted.found()}
    assert moved["fed", "image"] == 2 * 2 * image.nbytes
    assert moved["fetched", "scores.out"] == 2 * 2 * 4 * 4 * 4


def kernel(*writes: Write) -> Kernel:
    return Kernel("k", (Axis("y", 6),), (), writes)


def test_a_copy_computes_nothing() -> None:
    copy = Write("a", PLACE, Load("b", PLACE))
    doubled = Write("c", PLACE, Apply("add", (Load("b", PLACE), Load("b", PLACE))))
    assert moves_only(kernel(copy))
    assert not moves_only(kernel(copy, doubled))
    assert not moves_only(kernel(Write("a", PLACE, Load("b", PLACE), add=True)))


def test_copies_of_a_phase(exe) -> None:
    spans = exe.backend.traced("step", exe.now("step"))
    assert all(copy.kind == "laid out" and copy.bytes > 0 for copy in laid_out(exe, spans))
