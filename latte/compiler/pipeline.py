"""The compiler's table of contents: every pass, in order, from Net to the Program that runs.

program_of(net, batch=64)      differentiate, share, synthesize: what the oracle runs
optimize(program, machine)     the passes of `PASSES`, each Program -> Program
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from latte.compiler.choices import PLAIN, Choices
from latte.compiler.crop import crop
from latte.compiler.derive import derive
from latte.compiler.differentiate import differentiate
from latte.compiler.fuse import fuse
from latte.compiler.fuse_tiles import fuse_tiles
from latte.compiler.hasten import hasten
from latte.compiler.invariant import invariant
from latte.compiler.ir import Program
from latte.compiler.isolate import isolate
from latte.compiler.itemize import itemize
from latte.compiler.keep import keep
from latte.compiler.layout import layout
from latte.compiler.machine import Machine
from latte.compiler.merge import merge
from latte.compiler.net import Net
from latte.compiler.pack import pack
from latte.compiler.recur import recur
from latte.compiler.share import share
from latte.compiler.simplify import simplify_program
from latte.compiler.split_sums import split_sums
from latte.compiler.sum_rows import sum_rows
from latte.compiler.sweep import sweep
from latte.compiler.synthesize import synthesize
from latte.compiler.tabulate import tabulate
from latte.compiler.together import together
from latte.compiler.winograd import winograd

Pass = Callable[[Program, Machine, Choices], Program]

PASSES: tuple[tuple[str, Pass], ...] = (
    ("simplify", lambda program, machine, choices: simplify_program(program)),
    ("recur", lambda program, machine, choices: recur(program)),
    ("tabulate", lambda program, machine, choices: tabulate(program)),
    ("sum_rows", lambda program, machine, choices: sum_rows(program)),
    ("isolate", lambda program, machine, choices: isolate(program)),
    ("merge", lambda program, machine, choices: merge(program)),
    ("invariant", lambda program, machine, choices: invariant(program)),
    ("split_sums", lambda program, machine, choices: split_sums(program)),
    ("fuse", lambda program, machine, choices: fuse(program, machine, choices)),
    ("layout", lambda program, machine, choices: layout(program, machine)),
    ("winograd", lambda program, machine, choices: keep(winograd(program, machine), choices)),
    ("tiles", lambda program, machine, choices: fuse_tiles(program, machine, choices)),
    ("itemize", lambda program, machine, choices: itemize(program, machine)),
    ("pack", lambda program, machine, choices: pack(program, machine)),
    ("sweep", lambda program, machine, choices: sweep(program, machine)),
    ("crop", lambda program, machine, choices: crop(program, machine)),
    ("hasten", lambda program, machine, choices: hasten(program)),
    ("together", lambda program, machine, choices: together(program, machine)),
    ("derive", lambda program, machine, choices: derive(program)),
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


def optimize(program: Program, machine: Machine, choices: Choices = PLAIN) -> Program:
    """The Program after all passes."""
    return [after for _, after in stages(program, machine, choices)][-1]


def stages(
    program: Program, machine: Machine, choices: Choices = PLAIN
) -> Iterator[tuple[str, Program]]:
    """The name of each pass and the Program after it, "synthesize" first."""
    yield "synthesize", program
    for name, change in PASSES:
        if name not in choices.without:
            program = change(program, machine, choices)
        yield name, program
