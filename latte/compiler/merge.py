"""One kernel out of those that loops over time compute place by place, one behind the other.

In: a Program.  Out: one whose serial loops have a kernel, and so a meeting of threads, for each sum
and for what is made of it, and no more.

    serial t: gate.sum[n, g, j] = sum [k] wh[g, j, k] * h[n, t - 1, k]
              gate[n, t, g, j] = b[g, j] + gate.sum[n, g, j]                        g: 4
              cell[n, t, j] = sigmoid(gate[n, t, 0, j]) * tanh(gate[n, t, 1, j])
    ->
    serial t: gate.sum[n, g, j] = ...
              gate[n, t, 0, j] = b[0, j] + gate.sum[n, 0, j], ...
              cell[n, t, j] = sigmoid(b[0, j] + gate.sum[n, 0, j]) * tanh(...)

Legal where what one kernel reads of another's is written at the same place of their axes, or at a
place that differs in an index on which the axes have no influence, such as another step.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import product
from math import prod

from latte.compiler.affine import Affine, axis, constant
from latte.compiler.expression import Apply, Axis, Expression, Fold, Index, Let, Load, Local
from latte.compiler.ir import Item, Kernel, Phase, Program, Serial, Write, expressions
from latte.compiler.rewrite import rewrite, substitute_axes, substitute_guards, walk

MOST_COPIES = 8  # of a kernel over an axis that its neighbours do not have

Place = tuple[str, tuple[Index, ...]]  # a buffer and an index


def merge(program: Program) -> Program:
    """The Program with fewer kernels in its serial loops."""
    phases = tuple(_phase(phase) for phase in program.phases)
    return program if phases == program.phases else replace(program, phases=phases)


def _phase(phase: Phase) -> Phase:
    items = tuple(_loop(item) if isinstance(item, Serial) else item for item in phase.items)
    return replace(phase, items=items)


def _loop(loop: Serial) -> Serial:
    made: list[Item] = []
    run: _Run | None = None
    core = _core(loop)
    for item in loop.items:
        if not isinstance(item, Kernel) or _has_fold(item):
            if run and not (isinstance(item, Kernel) and run.lets_pass(item)):
                made.append(run.kernel())
                run = None
            made.append(item)
            continue
        kernel = _over(item, core) or item
        if run is None or not run.takes(kernel):
            if run:
                made.append(run.kernel())
            run = _Run(kernel)
    if run:
        made.append(run.kernel())
    return replace(loop, items=tuple(made))


def _core(loop: Serial) -> tuple[Axis, ...]:
    """The axes that most of a loop's kernels have."""
    plain = (k for k in loop.items if isinstance(k, Kernel) and not _has_fold(k))
    counts = Counter(tuple((a.size, a.symbol) for a in kernel.axes) for kernel in plain)
    if not counts:
        return ()
    (most, _), *_ = counts.most_common(1)
    return next(
        k.axes
        for k in loop.items
        if isinstance(k, Kernel) and tuple((a.size, a.symbol) for a in k.axes) == most
    )


def _has_fold(kernel: Kernel) -> bool:
    return any(isinstance(node, Fold) for each in expressions(kernel) for node in walk(each))


def _over(kernel: Kernel, core: tuple[Axis, ...]) -> Kernel | None:
    """The kernel over the axes of `core`, unrolled over what else it has; None where it lacks
    one, or has too many places, or has an axis of the core inside another's name."""
    left, renamed, rest = list(core), {}, []
    for own in kernel.axes:
        if left and (own.size, own.symbol) == (left[0].size, left[0].symbol):
            renamed[own.name] = axis(left.pop(0).name)
        else:
            rest.append(own)
    if left or any(a.symbol for a in rest) or prod(a.size for a in rest) > MOST_COPIES:
        return None
    lets: list[Let] = []
    writes: list[Write] = []
    where = substitute_guards(kernel.where, renamed)
    if any({a.name for a in rest} & guard.index.axes() for guard in where):
        return None
    for places in product(*(range(a.size) for a in rest)):
        fixed = {a.name: constant(p) for a, p in zip(rest, places, strict=True)}
        suffix = "".join(f".{p}" for p in places)
        one = _placed(kernel, renamed | fixed, suffix)
        lets += one.lets
        writes += one.writes
    return replace(kernel, axes=core, lets=tuple(lets), writes=tuple(writes), where=where)


def _placed(kernel: Kernel, values: dict[str, Affine], suffix: str) -> Kernel:
    """Lets and writes with axes replaced, and a suffix on the names of lets."""
    names = {let.name for let in kernel.lets}

    def place(expression: Expression) -> Expression:
        return rewrite(
            substitute_axes(expression, values),
            lambda n: Local(n.name + suffix) if isinstance(n, Local) and n.name in names else None,
        )

    def index(entry: Index) -> Index:
        return entry.substitute(values) if isinstance(entry, Affine) else place(entry)

    lets = tuple(Let(let.name + suffix, place(let.expression)) for let in kernel.lets)
    writes = tuple(
        Write(w.buffer, tuple(map(index, w.index)), place(w.expression), w.add)
        for w in kernel.writes
    )
    return replace(kernel, lets=lets, writes=writes)


@dataclass(slots=True)
class _Run:
    """Kernels that became one. `lets` hold what each write stores, under its place in `known`."""

    first: Kernel
    lets: list[Let] = field(default_factory=list)
    known: dict[Place, Local] = field(default_factory=dict)
    reads: list[Load] = field(default_factory=list)
    count: int = 0

    def __post_init__(self) -> None:
        self._add(self.first)

    def takes(self, kernel: Kernel) -> bool:
        """Adds a kernel if that is legal, and tells whether it was."""
        if len(kernel.axes) != len(self.first.axes):
            return False
        same = {
            own.name: axis(other.name)
            for own, other in zip(kernel.axes, self.first.axes, strict=True)
            if (own.size, own.symbol) == (other.size, other.symbol)
        }
        if len(same) < len(kernel.axes):
            return False
        where = substitute_guards(kernel.where, same)
        placed = _placed(kernel, same, "")
        if where != self.first.where or not self._legal(placed):
            return False
        self._add(placed)
        return True

    def lets_pass(self, kernel: Kernel) -> bool:
        """Whether a kernel may run before this one, although it comes later."""
        mine = {buffer for buffer, _ in self.known}
        touched = mine | {load.buffer for load in self.reads}
        theirs = {write.buffer for write in kernel.writes}
        return not (theirs & touched or {load.buffer for load in _loads(kernel)} & mine)

    def _legal(self, kernel: Kernel) -> bool:
        """Whether all that the kernels share is met at the same place, or far apart."""
        names = frozenset(a.name for a in self.first.axes)
        if any(not _plain(write) for write in kernel.writes):
            return False
        loads = [(load.buffer, load.index) for load in _loads(kernel)]
        writes = [(write.buffer, write.index) for write in kernel.writes]
        mine = [(load.buffer, load.index) for load in self.reads]
        pairs = [*product(self.known, [*loads, *writes]), *product(mine, writes)]
        return all(_same_or_apart(a, b, names) for a, b in pairs)

    def _add(self, kernel: Kernel) -> None:
        self.count += 1
        suffix = f".{self.count}"
        own = {let.name: Local(let.name + suffix) for let in kernel.lets}

        def rule(node: Expression) -> Expression | None:
            match node:
                case Local(name):
                    return own.get(name)
                case Load(buffer, index):
                    return self.known.get((buffer, index))
                case _:
                    return None

        self.reads += _loads(kernel)
        for let in kernel.lets:
            self.lets.append(Let(let.name + suffix, rewrite(let.expression, rule)))
        made: dict[Place, Local] = {}
        for number, write in enumerate(kernel.writes):
            value = rewrite(write.expression, rule)
            if write.add:
                before = rewrite(Load(write.buffer, write.index), rule)
                value = Apply("add", (before, value))
            name = f"{write.buffer}{suffix}.{number}"
            self.lets.append(Let(name, value))
            made[write.buffer, write.index] = Local(name)
        self.known |= made

    def kernel(self) -> Kernel:
        """The one kernel; what it was if nothing was added."""
        if self.count == 1:
            return self.first
        writes = (Write(buffer, index, local) for (buffer, index), local in self.known.items())
        return replace(self.first, lets=tuple(self.lets), writes=tuple(writes))


def _plain(write: Write) -> bool:
    return all(isinstance(entry, Affine) for entry in write.index)


def _loads(kernel: Kernel) -> list[Load]:
    return [node for each in expressions(kernel) for node in walk(each) if isinstance(node, Load)]


def _same_or_apart(a: Place, b: Place, axes: frozenset[str]) -> bool:
    """Whether two accesses meet at the same place of all axes, or never in one run of the loop."""
    if a[0] != b[0] or a[1] == b[1]:
        return True
    return any(_differ(x, y, axes) for x, y in zip(a[1], b[1], strict=True))


def _differ(x: Index, y: Index, axes: frozenset[str]) -> bool:
    """Whether two entries differ whatever the places of the axes are."""
    if not isinstance(x, Affine) or not isinstance(y, Affine):
        return False
    steady = not (x.axes() | y.axes()) & axes
    return steady and not (x - y).terms and (x - y).constant != 0
