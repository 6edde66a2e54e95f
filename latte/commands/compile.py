"""`latte compile`: make the machine code, or print the net at any stage of its road."""

from __future__ import annotations

import sys
import time as clock
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from latte.commands.command import (
    Command,
    Settings,
    compile_options,
    net_argument,
    not_in_this_build,
)
from latte.compiler.machine import Machine, host, level
from latte.errors import did_you_mean, fail

if TYPE_CHECKING:
    from latte.compiler.choices import Choices
    from latte.compiler.ir import Program
    from latte.compiler.vector import Lowered
    from latte.model import Net

STAGES = ("ast", "net", "program", "vector", "llvm", "asm")
LATER = ("cuda", "ptx", "obj")


@click.command(cls=Command)
@net_argument
@click.option(
    "--emit",
    type=click.Choice([*STAGES, *LATER]),
    help="Print this stage instead of compiling",
)
@click.option("--after", metavar="PASS", help="The program after this pass")
@click.option("--phase", help="Only this phase: forward, backward, update, step, infer, predict")
@click.option("--mode", type=click.Choice(["train", "infer"]), default="train", help="[train]")
@click.option("-o", "output", metavar="OUT", help="Write there instead of to stdout")
@click.option("--explain", is_flag=True, help="Tell what each pass changed")
@click.option("--report", metavar="DIR", help="Write every stage to a folder")
@compile_options
def command(
    net: Net,
    emit: str | None,
    after: str | None,
    phase: str | None,
    mode: str,
    output: str | None,
    explain: bool,
    report: str | None,
    settings: Settings,
) -> None:
    """Compile a net into the cache, or print it: as ast, net, program, vector code, LLVM, assembly.

    \b
      latte compile lenet.latte
      latte compile lenet.latte --emit net
      latte compile lenet.latte --emit program --after simplify --phase forward
      latte compile lenet.latte --emit llvm -o lenet.ll
    """
    cpu = settings.target_cpu
    if emit in LATER:
        not_in_this_build(f"`--emit {emit}`", f"there are {', '.join(STAGES)}")
    if explain:
        _explain(_program(net, mode, settings), _machine(cpu), _choices(net, settings))
    elif report:
        _report(net, _program(net, mode, settings), Path(report), cpu, _choices(net, settings))
    elif emit in {"ast", "net"} and after is None:
        _write(_front(net, emit), output)
    elif emit or after:
        program = _program(net, mode, settings)
        chosen = _choices(net, settings)
        _write(_back(program, emit or "program", after, phase, cpu, chosen), output)
    else:
        _compile(net, mode, settings)


def _machine(cpu: str | None) -> Machine:
    return host() if cpu is None else level(cpu)


def _choices(net: Net, settings: Settings) -> Choices:
    from latte import build

    return build.choices(net.elaborated, winograd=settings.winograd, no_fuse=settings.no_fuse)


def _compile(net: Net, mode: str, settings: Settings) -> None:
    """Make all phases; the machine code stays in the cache."""
    from latte.runtime.compile_bar import compiled

    start = clock.perf_counter()
    name = net.elaborated.name
    exe = compiled(name, lambda: settings.compile(net, mode=mode), shown=not settings.tune)
    phases = [phase.name for phase in exe.program.phases]
    seconds = clock.perf_counter() - start
    click.echo(f"{name}: {', '.join(phases)} ready in {seconds:.2f} s")


def _front(net: Net, stage: str) -> str:
    """The stages before there is a Program."""
    if stage == "ast":
        from latte.lang.outline import outline

        return outline(net.definitions.file)
    from latte.compiler.show import show_net

    return show_net(net.elaborated)


def _program(net: Net, mode: str, settings: Settings) -> Program:
    from latte import build

    timed = any(entry.time for entry in net.elaborated.inputs)
    if timed and settings.time is None:
        fail("E0913", "this net has a time axis", help="give --time T, the longest sequence")
    chosen: build.Mode = "infer" if mode == "infer" else "train"
    size, steps = settings.batch or net.training.batch, settings.time or 1
    return build.program_of(net.elaborated, batch=size, time=steps, mode=chosen)


def _back(
    program: Program, stage: str, after: str | None, phase: str | None, cpu: str | None,
    choices: Choices,
) -> str:  # fmt: skip
    """The Program after a pass, or what the code generator made of it in the end."""
    from latte.compiler.pipeline import optimize, stages
    from latte.compiler.show import show_program

    names = [entry.name for entry in program.phases]
    if phase is not None and phase not in names:
        fail("E0959", f"there is no phase `{phase}`", help=f"there are {', '.join(names)}")
    if after is not None or stage == "program":
        found = dict(stages(program, _machine(cpu), choices))
        wanted = after or next(iter(found))
        if wanted not in found:
            hint = did_you_mean(wanted, found) or f"the passes are {', '.join(found)}"
            fail("E0959", f"there is no pass `{wanted}`", help=hint)
        return show_program(_only(found[wanted], phase))
    ready = optimize(program, _machine(cpu), choices)
    return "\n\n".join(_code(_only(ready, phase), stage, cpu))


def _only(program: Program, phase: str | None) -> Program:
    """A Program with one of its phases."""
    from dataclasses import replace

    if phase is None:
        return program
    return replace(program, phases=(program.phase(phase),))


def _code(program: Program, stage: str, cpu: str | None) -> Iterator[str]:
    """Each kernel's vector code, LLVM module or assembly, with a heading."""
    from latte import build
    from latte.compiler.ir import nests

    printed = _printer(stage, cpu)
    sign = {"llvm": ";", "asm": "#"}.get(stage, "#")
    for phase in program.phases:
        for kernel, around in nests(phase.items):
            lowered = build.lower_kernel(kernel, program, _machine(cpu), around)
            yield f"{sign} {phase.name}: {kernel.name}\n{printed(lowered)}"


def _printer(stage: str, cpu: str | None) -> Callable[[Lowered], str]:
    from latte.codegen.llvm import module
    from latte.compiler.vector import show

    if stage == "vector":
        return lambda lowered: show(lowered.function)
    fma = _machine(cpu).fma
    if stage == "llvm":
        return lambda lowered: module([lowered.function], fma)
    from latte.codegen.llvm_object import assembly, host_target, level_target

    target = host_target() if cpu is None else level_target(cpu)
    return lambda lowered: assembly(module([lowered.function], fma), target)


def _explain(program: Program, machine: Machine, choices: Choices) -> None:
    """What each pass did, in numbers: kernels and buffers before and after; and what became of
    each pair of a kernel and one that reads what it wrote."""
    from latte.compiler.fuse import explained
    from latte.compiler.fuse_tiles import tiled
    from latte.compiler.ir import kernels
    from latte.compiler.pipeline import stages

    before = program
    for name, after in stages(program, machine, choices):
        counts = ", ".join(f"{p.name} {len(kernels(p.items))}" for p in after.phases)
        change = (
            "unchanged" if after is before else f"{len(after.buffers)} buffers; kernels: {counts}"
        )
        click.echo(f"{name:12} {change}")
        if name == "fuse":
            _tell(explained(before, machine, choices)[1])
        if name == "tiles":
            _tell(tiled(before, machine, choices)[1])
        before = after


def _tell(decisions: Iterable[object]) -> None:
    for decision in decisions:
        click.echo(f"    {decision}")


def _report(net: Net, program: Program, folder: Path, cpu: str | None, choices: Choices) -> None:
    """Every stage as a numbered file."""
    from latte.compiler.pipeline import stages
    from latte.compiler.show import show_program

    folder.mkdir(parents=True, exist_ok=True)
    texts = [("ast", _front(net, "ast")), ("net", _front(net, "net"))]
    texts += [
        (name, show_program(after)) for name, after in stages(program, _machine(cpu), choices)
    ]
    texts += [
        (stage, _back(program, stage, None, None, cpu, choices)) for stage in ("vector", "llvm")
    ]
    for number, (name, text) in enumerate(texts, 1):
        place = folder / f"{number:02d}_{name}.txt"
        place.write_text(text + "\n", "utf-8")
        click.echo(str(place))


def _write(text: str, output: str | None) -> None:
    if output is None:
        sys.stdout.write(text.rstrip("\n") + "\n")
    else:
        Path(output).write_text(text.rstrip("\n") + "\n", "utf-8")
