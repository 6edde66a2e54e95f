"""The compiler's table of contents: every pass, in order, from Net to the Program that runs.

program_of(net, batch=64)      differentiate, share, synthesize: what the oracle runs
optimize(program, machine)     the passes of `PASSES`, each Program -> Program
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from latte.compiler.differentiate import differentiate
from latte.compiler.invariant import invariant
from latte.compiler.ir import Program
from latte.compiler.isolate import isolate
from latte.compiler.layout import layout
from latte.compiler.machine import Machine
from latte.compiler.merge import merge
from latte.compiler.net import Net
from latte.compiler.pack import pack
from latte.compiler.recur import recur
from latte.compiler.share import share
from latte.compiler.simplify import simplify_program
from latte.compiler.split_sums import split_sums
from latte.compiler.synthesize import synthesize
from latte.compiler.winograd import winograd

Pass = Callable[[Program, Machine], Program]

PASSES: tuple[tuple[str, Pass], ...] = (
    ("simplify", lambda program, machine: simplify_program(program)),
    ("recur", lambda program, machine: recur(program)),
    ("isolate", lambda program, machine: isolate(program)),
    ("merge", lambda program, machine: merge(program)),
    ("invariant", lambda program, machine: invariant(program)),
    ("split_sums", lambda program, machine: split_sums(program)),
    ("layout", layout),
    ("winograd", winograd),
    ("pack", pack),
)


def analyze(net: Net) -> Net:
    """The Net with backward bodies, and with the batch and time of every node."""
    return share(differentiate(net))


def program_of(
    net: Net, *, batch: int, time: int = 1, mode: str = "train", gradients: Iterable[str] = ()
) -> Program:
    """The naive Program of a Net: what the interpreter runs as it is.

    `gradients` are inputs and nodes whose gradient is wanted besides those the parameters need.
    """
    return synthesize(analyze(net), batch=batch, time=time, mode=mode, gradients=tuple(gradients))


def optimize(program: Program, machine: Machine, without: frozenset[str] = frozenset()) -> Program:
    """The Program after all passes, those in `without` left out."""
    return [after for _, after in stages(program, machine, without)][-1]


def stages(
    program: Program, machine: Machine, without: frozenset[str] = frozenset()
) -> Iterator[tuple[str, Program]]:
    """The name of each pass and the Program after it, "synthesize" first."""
    yield "synthesize", program
    for name, change in PASSES:
        if name not in without:
            program = change(program, machine)
            yield name, program
