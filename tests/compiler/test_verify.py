"""A well-formed Program passes; each kind of mistake is named with its kernel."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from latte.compiler.affine import axis
from latte.compiler.expression import Load, Local
from latte.compiler.ir import Dim, Kernel, Program
from latte.compiler.verify import verify
from tests.compiler.programs import convolution


def test_a_good_program_passes() -> None:
    verify(convolution())


def _change(program: Program, change: Callable[[Kernel], Kernel]) -> Program:
    phase = program.phases[0]
    items = (change(phase.items[0]), *phase.items[1:])
    return replace(program, phases=(replace(phase, items=items),))


def _expression(kernel: Kernel, **changes: object) -> Kernel:
    return replace(kernel, writes=(replace(kernel.writes[0], **changes),))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda k: _expression(k, expression=Load("imago", ())), "there is no buffer imago"),
        (lambda k: _expression(k, expression=Local("top")), "`top` is used before it is defined"),
        (lambda k: _expression(k, index=(axis("n"), axis("f"))), "has 3 axes and is indexed by 2"),
        (
            lambda k: _expression(k, index=(axis("n"), axis("f"), axis("y") // 2)),
            "two points write the same element of",
        ),
        (
            lambda k: _expression(k, index=(axis("n"), axis("f"), axis("z"))),
            "axis z of z is not bound",
        ),
        (
            lambda k: _expression(k, index=(axis("n"), axis("f"), axis("y") + 1)),
            "index y + 1 of out may leave 0 .. 6",
        ),
        (lambda k: replace(k, axes=(*k.axes, k.axes[0])), "axis n is bound twice"),
    ],
)
def test_mistakes_are_named(change: Callable[[Kernel], Kernel], message: str) -> None:
    with pytest.raises(AssertionError, match="after fuse: phase forward: kernel out") as raised:
        verify(_change(convolution(), change), after="fuse")
    assert message in str(raised.value)


def test_an_unguarded_window_may_leave_its_source() -> None:
    def unguarded(kernel: Kernel) -> Kernel:
        fold = replace(kernel.writes[0].expression, where=())
        return _expression(kernel, expression=fold)

    with pytest.raises(AssertionError, match="of image may leave"):
        verify(_change(convolution(), unguarded))


def test_a_stored_dimension_must_hold_its_axis() -> None:
    program = convolution()
    out = replace(program.buffers[2], dims=(Dim(0, 4), Dim(1, 4), Dim(2, 7)))
    with pytest.raises(AssertionError, match="buffer out: f needs 5 places"):
        verify(replace(program, buffers=(*program.buffers[:2], out, program.buffers[3])))
