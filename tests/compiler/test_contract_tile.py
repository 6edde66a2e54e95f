"""Register tiles: what the cost of a tile weighs."""

from __future__ import annotations

from latte.build import elaborate, read_text
from latte.compiler import contract
from latte.compiler.contract_plan import Plan, plan
from latte.compiler.ir import kernels
from latte.compiler.machine import Machine
from latte.compiler.pipeline import program_of, stages

WIDE = Machine("x86_64", width=16, registers=32, fma=True, l1=48 * 1024, l2=2 << 20)

NET = """
net N {
    input image[3, 20, 20]
    input label: class(3)
    a = ReLU(Conv(image, 64, kernel = 1))
    b = DepthwiseConv(a, kernel = 3, pad = 1)
    loss SoftmaxLoss(Linear(GlobalMeanPool(b), 3), label)
}
"""


def tile(name: str, batch: int) -> Plan:
    """The plan of the contraction of a name."""
    program = program_of(elaborate(read_text(NET, "<test>"), "N", {}), batch=batch)
    ready = dict(stages(program, WIDE))["crop"]
    [kernel] = [k for k in kernels(ready.phase("forward").items) if k.name == name]
    form = contract.view(kernel, ready, WIDE)
    chosen = None if form is None else plan(form, WIDE)
    assert chosen is not None
    return chosen


def test_where_each_operand_has_lanes_those_of_several_vectors_are_read_together() -> None:
    """Of a depthwise convolution nothing is a splat, and no neighbour's line is used again."""
    chosen = tile("b.out", 16)
    assert chosen.vectors == 4 and chosen.rows is not None
