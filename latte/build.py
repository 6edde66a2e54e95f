"""The road on one screen: text -> Definitions -> Net -> Program -> Executable.

definitions = read_file("lenet.latte")         parse, names, calls          latte/lang
net = elaborate(definitions, "LeNet", {})      sizes, connections           compiler/elaborate
program = program_of(net, batch=64)            loop nests, backward         compiler/pipeline
exe = compile_net(net, Wanted(batch=64))       layouts, machine code        codegen, runtime

Each part of the road is imported where it is used: what was compiled before (`remember.py`) needs
little of it, and imports are most of the time of a warm start.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from latte.errors import Collector, LatteError, Source, did_you_mean, fail
from latte.options import Options, options

if TYPE_CHECKING:
    from latte.compiler.choices import Choices
    from latte.compiler.expression import Axis
    from latte.compiler.ir import Kernel, Program
    from latte.compiler.machine import Machine
    from latte.compiler.net import Net
    from latte.compiler.vector import Lowered
    from latte.lang.resolve import Definitions
    from latte.runtime.backend import Backend
    from latte.runtime.executable import Executable

Target = Literal["cpu", "interp"]
Mode = Literal["train", "infer"]
Scalar = int | float | bool | str


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a net is to be compiled: all that decides its Program.

    For up to `batch` items (None: the train block's) and `time` steps; `keep` names values to keep
    readable. Without `winograd`, every contraction has its own multiplications (docs/numerics.md);
    `no_fuse` are kinds of fusion to leave out. `target_cpu` is a level of x86-64 whose vectors and
    instructions alone are used.
    """

    batch: int | None = None
    time: int | None = None
    target: str = "cpu"
    mode: str = "train"
    keep: tuple[str, ...] = ()
    winograd: bool = True
    no_fuse: tuple[str, ...] = ()
    target_cpu: str | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """A net before it becomes machine code: with backward bodies, as the naive Program, after all
    passes; the buffers that have to stay readable; the name under which it is remembered."""

    net: Net
    program: Program
    optimized: Program
    keep: frozenset[str]
    name: str = ""


TARGETS = ("cpu", "interp")
LATER = ("cuda", "gpu")


def read_file(path: str | Path, extra: tuple[Source, ...] = ()) -> Definitions:
    """A specification from a file, with its imports. Raises LatteError."""
    from latte.lang.resolve import load_file

    found = Collector()
    return _sound(load_file(path, extra, found), found)


def read_text(text: str, name: str, extra: tuple[Source, ...] = ()) -> Definitions:
    """A specification from text, called `name` in diagnostics. Raises LatteError."""
    from latte.lang.resolve import load_text

    found = Collector()
    return _sound(load_text(text, name, extra=extra, found=found), found)


def _sound(definitions: Definitions, found: Collector) -> Definitions:
    """The definitions; if names are wrong, one run tells what is wrong with sizes as well."""
    endless = any(each.code in ("E0208", "E0707") for each in found.diagnostics)
    if found.failed:
        from latte.compiler.elaborate import elaborate

        for net in definitions.nets:
            if not endless and all(formal.default for formal in net.formals):
                with suppress(LatteError):
                    elaborate(definitions, net.name.text, {}, found)
        found.raise_errors()
    return definitions


def chosen(definitions: Definitions, net: str | None) -> str:
    """The name of the net that is meant. Raises LatteError where there is none, or several."""
    from latte.compiler import elaborate as elaboration

    return elaboration.chosen(definitions, net).name.text


def arguments(definitions: Definitions, net: str | None) -> tuple[str, ...]:
    """What can be set from outside: the net's arguments, and constants. Raises LatteError."""
    from latte.compiler import elaborate as elaboration
    from latte.lang import ast

    node = elaboration.chosen(definitions, net)
    formals = (formal.name.text for formal in node.formals)
    return (*formals, *definitions.names(ast.Const, node.span.source))


def elaborate(definitions: Definitions, net: str | None, arguments: Mapping[str, Scalar]) -> Net:
    """One net of a specification with the values of its arguments. Raises LatteError."""
    from latte.compiler import elaborate as elaboration

    return elaboration.elaborate(definitions, net, dict(arguments))


def program_of(
    net: Net, *, batch: int, time: int = 1, mode: Mode = "train", keep: tuple[str, ...] = ()
) -> Program:
    """The naive Program of a net; gradients of `keep` are computed too."""
    from latte.compiler.pipeline import program_of

    names = dict(net.names)
    wanted = tuple(names.get(name, name) for name in keep) if mode == "train" else ()
    return program_of(net, batch=batch, time=time, mode=mode, gradients=wanted)


def compile_net(
    net: Net, wanted: Wanted, *, text: str = "", threads: int | None = None, seed: int = 0
) -> Executable:
    """An Executable; its phases compile when first run.

    Raises LatteError: E0913 for a target, mode, batch, time or kind of fusion that cannot be,
    E0950 for a target that is promised.
    """
    made = make(net, wanted)
    return executable(made, wanted, text=text, threads=threads, seed=seed)


def make(net: Net, wanted: Wanted) -> Made:
    """All that comes before machine code. Raises LatteError as `compile_net`."""
    from latte.compiler.collector import paused

    with paused():
        return _made(net, wanted)


def _made(net: Net, wanted: Wanted) -> Made:
    from latte.compiler.pipeline import analyze, optimize

    batch = net.training.batch if wanted.batch is None else wanted.batch
    _check_whole(batch=batch)
    steps, mode, target = _steps(net, wanted.time), _mode(wanted.mode), target_of(wanted.target)
    what = choices(net, keep=wanted.keep, winograd=wanted.winograd, no_fuse=wanted.no_fuse)
    program = program_of(net, batch=batch, time=steps, mode=mode, keep=wanted.keep)
    passed = program if target == "interp" else optimize(program, machine(wanted), what)
    return Made(analyze(net), program, passed, what.keep)


def executable(
    made: Made, wanted: Wanted, *, text: str, threads: int | None, seed: int
) -> Executable:
    """What runs; no phase of it is compiled yet."""
    from latte.runtime.executable import Executable

    _check_whole(threads=threads, seed=seed)
    now = options()
    workers = threads or now.threads
    return Executable(
        made.net, made.program, _backend(made, wanted, workers, now), text=text,
        mode=_mode(wanted.mode), seed=seed, threads=workers,
    )  # fmt: skip


def peak_memory(net: Net, *, batch: int, time: int = 1) -> int:
    """The bytes that training will take at its peak: all that outlives a step, and its arena."""
    from latte.compiler.machine import host
    from latte.compiler.pipeline import optimize
    from latte.compiler.plan_memory import peak_bytes

    _check_whole(batch=batch)
    program = optimize(program_of(net, batch=batch, time=time), host(), choices(net))
    return peak_bytes(program, "step", options().threads)


def choices(
    net: Net, *, keep: tuple[str, ...] = (), winograd: bool = True, no_fuse: tuple[str, ...] = ()
) -> Choices:
    """What the passes are told: which values stay readable, what is left out."""
    from latte.compiler.choices import FUSIONS, Choices
    from latte.runtime.nodes import readable

    for kind in no_fuse:
        if kind not in FUSIONS:
            fail("E0913", f"there is no fusion `{kind}`", help=f"kinds are {', '.join(FUSIONS)}")
    passes = () if winograd else ("winograd",)
    return Choices(keep=readable(net, keep), without=frozenset((*no_fuse, *passes)))


def lower_kernel(
    kernel: Kernel, program: Program, machine: Machine, around: tuple[Axis, ...], variant: int = 0
) -> Lowered:
    """A kernel of an optimised Program as vector code: register tiles where it is a contraction.
    `around` are the axes of the loops and groups it is in, `variant` what a search chose."""
    from latte.compiler import contract, lower

    tiled = contract.lower(kernel, program, machine, around, variant)
    return tiled or lower.lower(kernel, program, machine, around)


def _backend(made: Made, wanted: Wanted, threads: int, now: Options) -> Backend:
    if target_of(wanted.target) == "interp":
        from latte.runtime.backend import Interpreted

        return Interpreted(made.program)
    from latte.runtime.cache import Cache
    from latte.runtime.cpu import Native

    return Native(
        made.optimized, lower_kernel, threads=threads, cache=Cache(now.cache), keep=made.keep,
        guard=now.guard, machine=machine(wanted), known=made.name,
    )  # fmt: skip


def target_of(name: str) -> Target:
    """A target by its name. Raises E0950 for one that is promised, E0913 for what is none."""
    if name in TARGETS:
        return name  # type: ignore[return-value]
    if str(name).lower() in LATER:
        hint = 'leave it out for "cpu"; the other target is "interp", the slow oracle'
        fail("E0950", f"the target `{name}` is not in this build: it has no GPU code", help=hint)
    hint = did_you_mean(str(name), TARGETS) or 'targets are "cpu" and "interp"'
    fail("E0913", f"there is no target `{name}`", help=hint)


def machine(wanted: Wanted) -> Machine:
    """The machine to compile for: this one, or as much of it as a level of processors has."""
    from latte.compiler.machine import LEVELS, host, limited

    if wanted.target_cpu is None:
        return host()
    if wanted.target_cpu not in tuple(LEVELS):
        fail(
            "E0913", f"there is no CPU `{wanted.target_cpu}`", help=f"known are {', '.join(LEVELS)}"
        )
    found = limited(wanted.target_cpu)
    if found is None:
        fail("E0913", f"this machine cannot run code for {wanted.target_cpu}")
    return found


def _mode(mode: str) -> Mode:
    if mode not in ("train", "infer"):
        fail("E0913", f"there is no mode `{mode}`", help='modes are "train" and "infer"')
    return mode  # type: ignore[return-value]


def _check_whole(**given: int | None) -> None:
    """Options that must be whole numbers, all but the seed at least 1."""
    for name, value in given.items():
        if value is None and name == "threads":
            continue
        if isinstance(value, bool) or not isinstance(value, Integral):
            fail("E0913", f"{name}={value!r} is not a whole number")
        if value < 1 and name != "seed":
            fail("E0913", f"{name}={value}", help="give at least 1")


def _steps(net: Net, time: int | None) -> int:
    timed = any(entry.time for entry in net.inputs)
    if timed and time is None:
        fail("E0913", "this net has a time axis", help="give time=T, the longest sequence")
    if time is None:
        return 1
    _check_whole(time=time)
    return time
