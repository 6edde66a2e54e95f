"""The Program: loop nests over buffers, in phases. Made by synthesize, run as it is by the
interpreter (the oracle), and turned into faster Programs by the passes.

    kernel conv1.out [n, f: 20, y: 24, x: 24]
        let sum = sum [c: 1, ky: 5, kx: 5] conv1.weight[f, c, ky, kx] * image[n, c, y + ky, x + kx]
        conv1.out[n, f, y, x] = conv1.bias[f] + sum

A contraction, a map, a reduction are *views* of a Kernel, recognised when asked, never stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal, Union, assert_never

from latte.compiler.affine import Affine
from latte.compiler.expression import Axis, Expression, Guard, Index, Let, Load
from latte.compiler.rewrite import children

Element = Literal["f32", "i32", "u8"]
Role = Literal[
    "input",  # fed by the caller
    "carried",  # an ensemble's value at the last step of the call before
    "value",  # of an ensemble
    "kept",  # computed in forward for backward (a winner's index, a state)
    "gradient",  # of an ensemble's value
    "parameter",
    "parameter gradient",
    "state",  # of the solver, beside a parameter
    "running",
    "scratch",  # within one phase
    "private",  # within one place of a Group: each worker has its own
    "result",  # a loss or metric: one number
]


LOSS = "result.loss"  # the buffer of what is minimised, where a net has losses
READABLE = frozenset({"forward", "backward", "update"})  # phases that leave every value readable
LASTING = frozenset({"parameter", "state", "running"})  # roles of what training changes


@dataclass(frozen=True, slots=True)
class Dim:
    """One stored dimension, outermost first: `(index[axis] // divide) % modulo + before`, of
    extent `extent` (borders and padding included). modulo 0: no modulo."""

    axis: int
    extent: int
    divide: int = 1
    modulo: int = 0
    before: int = 0


@dataclass(frozen=True, slots=True)
class Buffer:
    """An array. `axes` are its logical axes: batch (symbol "n") first, then time (symbol "t"),
    where it has them, then the ensemble's own. `dims` say how it is stored; () is row-major in the
    order of `axes`. Only lower.py and what stands at the API's edge look at `dims`.

    `origin` is the node, parameter, running value or loss it belongs to.
    """

    name: str
    axes: tuple[Axis, ...]
    role: Role
    origin: str
    element: Element = "f32"
    dims: tuple[Dim, ...] = ()


@dataclass(frozen=True, slots=True)
class Write:
    """`buffer[index] = expression`, or `+=` where `add` (the element holds something already).

    With affine one-to-one indices each element is written by one point only. A value-dependent
    `add` (an embedding's gradient) may meet an element more than once: it runs in row-major order
    of the kernel's axes, each element owned by one thread.
    """

    buffer: str
    index: tuple[Index, ...]
    expression: Expression
    add: bool = False


@dataclass(frozen=True, slots=True)
class Kernel:
    """For every point of `axes` where all guards hold: the lets in order, then the writes.

    Points are independent unless a write is a value-dependent `add`. Any expression may contain
    folds. `origin` is the node it computes (for reports), `reason` what for: "forward",
    "gradient of conv1.weight", "clear", "update".
    """

    name: str
    axes: tuple[Axis, ...]
    lets: tuple[Let, ...]
    writes: tuple[Write, ...]
    where: tuple[Guard, ...] = ()
    origin: str = ""
    reason: str = ""
    _reads: list[frozenset[str]] = field(
        default_factory=list, init=False, repr=False, compare=False
    )

    def reads(self) -> frozenset[str]:
        """Names of the buffers that it loads from, in values and in indices, or adds to; found
        once, for many passes ask."""
        if not self._reads:
            found = {write.buffer for write in self.writes if write.add}
            waiting = list(expressions(self))
            while waiting:
                node = waiting.pop()
                if isinstance(node, Load):
                    found.add(node.buffer)
                waiting += children(node)
            self._reads.append(frozenset(found))
        return self._reads[0]


@dataclass(frozen=True, slots=True)
class Serial:
    """Steps that depend on each other, of time mostly: for every place of `axis` (last to first if
    `reverse`), the items in order. Inside, kernels may use `axis.name` in indices and guards but
    do not list it."""

    axis: Axis
    reverse: bool
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Blocks of work that stay in one worker's caches: for every place of `axes`, the items in
    order, on one worker, without waiting for others. Places are independent and run in any order.
    Inside, kernels may use the axes' names in indices and guards but do not list them.

    What is written and read inside one place only, such as the rows of a convolution that a pool
    reads at once, lies in buffers of role "private". Where `per` is not 0, the first axis counts
    blocks of `per` items: a call with n items runs ceil(n / per) of them. No Group is inside one.
    """

    axes: tuple[Axis, ...]
    items: tuple[Item, ...]
    per: int = 0


Item = Union[Kernel, Serial, Group]
Nest = tuple[Kernel, tuple[Axis, ...]]  # a kernel, and the axes of the loops around it


@dataclass(frozen=True, slots=True)
class Phase:
    """What one call runs, in order. Names: "forward" (training), "backward", "update" (solver and
    running values), "step" (the three), "infer" (all losses and metrics, training is false) and
    "predict" (only what the output depends on). The first `steady` items depend on parameters and
    running values alone: they need to run only after one of those has changed."""

    name: str
    items: tuple[Item, ...]
    steady: int = 0


@dataclass(frozen=True, slots=True)
class Program:
    """All buffers, and the phases over them. `scalars` are the names of `Scalar`s used."""

    name: str
    buffers: tuple[Buffer, ...]
    phases: tuple[Phase, ...]
    scalars: tuple[str, ...] = ()
    _known: dict[str, Buffer] = field(default_factory=dict, init=False, repr=False, compare=False)

    def buffer(self, name: str) -> Buffer:
        """The buffer of that name."""
        if not self._known:
            self._known.update((buffer.name, buffer) for buffer in self.buffers)
        return self._known[name]

    def phase(self, name: str) -> Phase:
        """The phase of that name."""
        return next(phase for phase in self.phases if phase.name == name)


def commit(program: Program, phase: Phase) -> int:
    """The first item of a phase that changes what outlives it: a parameter, a state of the solver
    or a running value; the number of items if none does. `step` stops there, with nothing
    changed, when the loss is not finite."""
    lasting = {b.name for b in program.buffers if b.role in LASTING}
    for number, item in enumerate(phase.items):
        writes = (write for kernel in kernels((item,)) for write in kernel.writes)
        if any(write.buffer in lasting for write in writes):
            return number
    return len(phase.items)


def nests(items: tuple[Item, ...], around: tuple[Axis, ...] = ()) -> Iterator[Nest]:
    """All kernels in order, each with the axes of the loops and groups around it, outer first."""
    for item in items:
        match item:
            case Kernel():
                yield item, around
            case Serial(axis, _, inner):
                yield from nests(inner, (*around, axis))
            case Group(axes, inner, _):
                yield from nests(inner, (*around, *axes))
            case _:
                assert_never(item)


def kernels(items: tuple[Item, ...]) -> tuple[Kernel, ...]:
    """All kernels in order, those inside loops and groups too."""
    return tuple(kernel for kernel, _ in nests(items))


def changed(items: tuple[Item, ...], change: Callable[[Kernel], Kernel]) -> tuple[Item, ...]:
    """The items with every kernel replaced, those inside loops and groups too."""
    return tuple(
        change(item)
        if isinstance(item, Kernel)
        else replace(item, items=changed(item.items, change))
        for item in items
    )


def recomputed(kernel: Kernel, change: Callable[[Expression], Expression]) -> Kernel:
    """The kernel with what each let and each write computes replaced; places stay."""
    lets = tuple(replace(let, expression=change(let.expression)) for let in kernel.lets)
    writes = tuple(replace(w, expression=change(w.expression)) for w in kernel.writes)
    return replace(kernel, lets=lets, writes=writes)


def expressions(kernel: Kernel) -> Iterator[Expression]:
    """Everything a kernel computes, places that are values too."""
    yield from (let.expression for let in kernel.lets)
    for write in kernel.writes:
        yield write.expression
        yield from (entry for entry in write.index if not isinstance(entry, Affine))
