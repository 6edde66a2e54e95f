"""Chooses how each buffer is stored: which axis is innermost (the lanes), its padding and blocks.

In: a Program with plain buffers.  Out: the same Program with `Buffer.dims`. Contractions say which
axis they want innermost (`contract_wish`), forward ones first; maps and pools hand the choice on to
their neighbours. A value and its gradient share one layout, and so do a parameter, its gradient
and its solver's states, so that updates run over flat memory.

    conv.out [n, f: 64, y, x]            ->  [n][y][x][f]
    conv.weight [f: 64, c: 3, ky, kx]    ->  [f / 64][ky][kx][c][f % 64]

Padding is never summed over and may hold anything, but for the border of inputs, which is zero.
Otherwise inputs and results stay as declared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import product
from math import inf, prod

from latte.compiler.affine import Affine, axis
from latte.compiler.contract_access import known, position
from latte.compiler.contract_parts import affine_index, find_parts
from latte.compiler.contract_wish import Option, lane_place, options, work
from latte.compiler.expression import Index, Load
from latte.compiler.ir import Buffer, Dim, Kernel, Program, kernels
from latte.compiler.machine import Machine
from latte.compiler.rewrite import walk

STORED_ALIKE = {"parameter": "parameter", "parameter gradient": "parameter", "state": "parameter"}
FIXED = frozenset({"input", "carried", "result", "running"})
ROOMY = frozenset({"input", "running"})  # of these, what may have room behind its rows
MOVE = 128  # multiply-adds in the time in which an element is copied, there and in gradients
MOST_VECTORS = 6  # of lanes in one block
BATCHED = 1.04  # time of lanes over items against others
LOADS = 1.3  # time of a sum in lanes, both of whose factors are loaded as vectors
SPREAD = 2.0  # time of a multiply-add with lanes spread from a place of each group
ADDED = 16  # multiply-adds in the time in which the lanes of a vector are added
FLOAT = 4  # bytes
BREAK = 512  # bytes: rows that are a multiple of it would meet in few sets of the caches
MEET = 1024  # bytes: items that are a multiple of it apart would

Key = tuple[str, str, tuple[int, ...]]
Accesses = tuple[tuple[str, tuple[Index, ...]], ...]


def layout(program: Program, machine: Machine) -> Program:
    """The Program with dims for the buffers that contractions, or their neighbours, read."""
    choice = _Choice(program, machine)
    every = tuple(dict.fromkeys(k for phase in program.phases for k in kernels(phase.items)))
    contractions = [kernel for kernel in every if options(kernel)]
    choice.see(set(every).difference(contractions))
    for kernel in contractions:
        choice.wish(kernel)
    choice.hand_on(every)
    buffers = choice.rounded(contractions)
    return replace(program, buffers=tuple(bordered(b, contractions) for b in buffers))


def bordered(buffer: Buffer, contractions: list[Kernel]) -> Buffer:
    """An input with a border of zeros as wide as windows reach, so that none is clipped. Inputs
    outlive phases, so their memory is nobody else's and stays zero where no one writes."""
    if buffer.role != "input" or buffer.element != "f32":
        return buffer
    before, after = [0] * len(buffer.axes), [0] * len(buffer.axes)
    for kernel in contractions:
        parts = find_parts(kernel)
        assert parts is not None
        ranges = {a.name: (0, a.size - 1) for a in (*kernel.axes, *parts.fold.axes)}
        for load in parts.factors:
            for number, place in enumerate(affine_index(load.index) or ()):
                if load.buffer == buffer.name and place.is_linear:
                    low, high = place.bounds(known(place, ranges))
                    before[number] = max(before[number], -low)
                    after[number] = max(after[number], high - buffer.axes[number].size + 1)
    extents = [b + a.size + e for b, a, e in zip(before, buffer.axes, after, strict=True)]
    if not any((*before, *after)) or prod(extents) > 2 * _size(buffer):
        return buffer
    dims = (Dim(k, extent, before=before[k]) for k, extent in enumerate(extents))
    return replace(buffer, dims=tuple(dims))


@dataclass(slots=True)
class _Choice:
    """For each group of buffers that are stored alike: the axis chosen, and who chose it."""

    program: Program
    machine: Machine
    lanes: dict[Key, int] = field(default_factory=dict)
    blocks: dict[Key, int] = field(default_factory=dict)
    chosen_by: dict[Key, Kernel] = field(default_factory=dict)
    buffers: dict[str, Buffer] = field(default_factory=dict)
    maps: dict[Key, list[Accesses]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.buffers = {buffer.name: buffer for buffer in self.program.buffers}

    def see(self, maps: Iterable[Kernel]) -> None:
        """Makes known what stands between contractions, by what it reads and writes."""
        for kernel in maps:
            accesses = tuple(_accesses(kernel))
            for key in dict.fromkeys(self.key(buffer) for buffer, _ in accesses):
                self.maps.setdefault(key, []).append(accesses)

    def wish(self, kernel: Kernel) -> None:
        """Gives a contraction its cheapest option, as far as nothing is decided against it."""
        best = min(options(kernel), key=lambda option: self._cost(option, kernel))
        for buffer, number in best.places:
            key = self.key(buffer)
            if self._free(buffer) and self._storable(buffer, number):
                if key not in self.lanes:
                    self.lanes[key] = number
                    self._spread(key)
                if self.lanes[key] == number and key not in self.chosen_by:
                    self.chosen_by[key] = kernel
                    self.blocks[key] = best_vectors(best.run, self.machine) * self.machine.width

    def _cost(self, option: Option, kernel: Kernel) -> float:
        """Multiply-adds of whole vectors, elements to move for an option, and a little for reading
        its lane factors."""
        time = option_time(option, kernel, self.machine)
        sizes = {buffer: _size(self.buffers[buffer]) for buffer, _ in option.places}
        against = (buffer for buffer, number in option.places if not self._agrees(buffer, number))
        own = sum(sizes[buffer] for buffer, _ in option.factors)
        moved = [*against, *(buffer for buffer, _, _ in option.regrouped)]
        return time + MOVE * sum(_size(self.buffers[buffer]) for buffer in moved) + 1e-3 * own

    def _agrees(self, buffer: str, number: int) -> bool:
        if not self._storable(buffer, number) or not self._free(buffer):
            return False
        return self.lanes.get(self.key(buffer), number) == number

    def _storable(self, buffer: str, number: int) -> bool:
        """Time is never innermost: serial loops walk along it."""
        return self.buffers[buffer].axes[number].symbol != "t"

    def _free(self, buffer: str) -> bool:
        form = self.buffers[buffer]
        return form.role not in FIXED and form.element == "f32"

    def hand_on(self, every: tuple[Kernel, ...]) -> None:
        """Lets neighbours follow: what meets a decided axis place by place stores it innermost."""
        changed = True
        while changed:
            changed = False
            for kernel in every:
                accesses = tuple(_accesses(kernel))
                for name in self._leading(accesses):
                    changed |= self._follow(accesses, name)

    def _spread(self, key: Key) -> None:
        """Hands a choice on at once, so that the next contraction sees what it would break."""
        waiting = [key]
        for key in waiting:
            for accesses in self.maps.get(key, ()):
                before = set(self.lanes)
                for name in self._leading(accesses):
                    self._follow(accesses, name)
                waiting += [other for other in self.lanes if other not in before]

    def _leading(self, accesses: Accesses) -> Iterator[str]:
        for buffer, index in accesses:
            number = self.lanes.get(self.key(buffer))
            if number is not None and self.buffers[buffer].role not in STORED_ALIKE:
                entry = index[number]
                if isinstance(entry, Affine) and len(entry.terms) >= 1:
                    yield from (str(a) for a, k in entry.terms if k == 1 and isinstance(a, str))

    def _follow(self, accesses: Accesses, name: str) -> bool:
        changed = False
        for buffer, index in accesses:
            number = lane_place(index, name)
            form = self.buffers[buffer]
            if number is None or form.axes[number].size < 4 or not self._storable(buffer, number):
                continue
            if self._follower(buffer) and self.key(buffer) not in self.lanes:
                self.lanes[self.key(buffer)] = number
                changed = True
        return changed

    def _follower(self, buffer: str) -> bool:
        return self.buffers[buffer].role not in FIXED

    def key(self, buffer: str) -> Key:
        """Buffers with the same key are stored alike."""
        form = self.buffers[buffer]
        kind = STORED_ALIKE.get(form.role, "value")
        return form.origin, kind, tuple(a.size for a in form.axes)

    # Dims

    def stored(self, buffer: Buffer) -> Buffer:
        """The buffer with its dims, if its group decided on an axis."""
        number = self.lanes.get(self.key(buffer.name))
        if number is None or buffer.role in FIXED:
            return buffer
        if STORED_ALIKE.get(buffer.role) and len(buffer.axes) > 1:
            kernel = self.chosen_by.get(self.key(buffer.name))
            order = () if kernel is None else self._order(kernel, buffer, number)
            block = self.blocks.get(self.key(buffer.name), 0)
            return replace(buffer, dims=blocked(buffer, number, block, order)) if block else buffer
        return replace(buffer, dims=row(buffer, number, self.machine))

    def rounded(self, contractions: list[Kernel]) -> tuple[Buffer, ...]:
        """All buffers with their dims. What a contraction indexes with the axis of a parameter's
        blocks has room for whole blocks, so that rows may run along the axis too."""
        stored = {buffer.name: self.stored(buffer) for buffer in self.program.buffers}
        whole: dict[tuple[Key, int], int] = {}
        for kernel in contractions:
            for name, block in _blocked_axes(kernel, stored):
                for buffer, index in _accesses(kernel):
                    number = lane_place(index, name)
                    if number is not None and index[number] == axis(name):
                        size = -(-stored[buffer].axes[number].size // block) * block
                        key = self.key(buffer), number
                        whole[key] = max(size, whole.get(key, 0))
        return tuple(self._with_room(buffer, whole) for buffer in stored.values())

    def _with_room(self, buffer: Buffer, whole: dict[tuple[Key, int], int]) -> Buffer:
        if not buffer.dims and buffer.role in ROOMY and buffer.element == "f32" and buffer.axes:
            last = len(buffer.axes) - 1
            if whole.get((self.key(buffer.name), last), 0) > buffer.axes[last].size:
                dims = tuple(Dim(k, a.size) for k, a in enumerate(buffer.axes))
                return self._with_room(replace(buffer, dims=dims), whole)

        def widened(dim: Dim) -> Dim:
            size = whole.get((self.key(buffer.name), dim.axis), 0)
            plain = dim.divide == 1 and not dim.modulo
            return replace(dim, extent=max(dim.extent, size)) if plain else dim

        return replace(buffer, dims=tuple(map(widened, buffer.dims)))

    def _order(self, kernel: Kernel, buffer: Buffer, lane: int) -> tuple[int, ...]:
        """The other axes in the order in which the kernel's other factor stores them."""
        parts = find_parts(kernel)
        assert parts is not None
        own = next((f for f in parts.factors if self.key(f.buffer) == self.key(buffer.name)), None)
        other = next((f for f in parts.factors if f is not own), None)
        if own is None or other is None:
            return tuple(k for k in range(len(buffer.axes)) if k != lane)
        form = self.buffers[other.buffer]
        if self.key(other.buffer) != self.key(buffer.name):
            form = self.stored(form)
        return beside(buffer, lane, own, other, form)


def beside(buffer: Buffer, lane: int, own: Load, other: Load, form: Buffer) -> tuple[int, ...]:
    """The axes of `buffer` but the lane's, in the order in which `other` (stored as `form`) walks
    through memory where `own` reads `buffer`; axes it does not walk along are outermost."""
    index, places = affine_index(other.index), affine_index(own.index)
    assert index is not None and places is not None
    sizes = {a: (0, size - 1) for entry, size in zip(places, _sizes(buffer), strict=True)
             for a in entry.axes()}  # fmt: skip
    stride = position(form, index, known(sum(index, start=index[0] * 0), sizes))

    def steps(number: int) -> int:
        names = places[number].axes()
        found = [abs(stride.coefficient(name)) for name in names if stride.coefficient(name)]
        return min(found, default=1 << 60)

    rest = (k for k in range(len(buffer.axes)) if k != lane)
    return tuple(sorted(rest, key=lambda k: -steps(k)))


def blocked(buffer: Buffer, lane: int, block: int, order: tuple[int, ...]) -> tuple[Dim, ...]:
    """`[lane / block][others in order][lane % block]`."""
    outer = Dim(lane, -(-buffer.axes[lane].size // block), block)
    others = order or tuple(k for k in range(len(buffer.axes)) if k != lane)
    inner = tuple(Dim(k, buffer.axes[k].size) for k in others)
    return (outer, *inner, Dim(lane, block, 1, block))


def regrouped(
    buffer: Buffer, lane: int, groups: int, block: int, order: tuple[int, ...]
) -> tuple[Dim, ...]:
    """`[groups / block][others in order][groups in a block][lane]`, of groups that have as many
    places as the lane's axis."""
    each = buffer.axes[lane].size
    many = block // each
    places = Dim(groups, each, 1, each)
    inner = tuple(places if k == groups else Dim(k, buffer.axes[k].size) for k in order)
    outer = Dim(groups, -(-buffer.axes[groups].size // block), block)
    return (outer, *inner, Dim(groups, many, each, many), Dim(lane, each))


def row(buffer: Buffer, lane: int, machine: Machine) -> tuple[Dim, ...]:
    """`[others as declared][lane]`, the lane padded to whole blocks of vectors."""
    size = buffer.axes[lane].size
    vectors = best_vectors(size, machine)
    extent = -(-size // (vectors * machine.width)) * vectors * machine.width
    if extent * FLOAT % BREAK == 0 and extent * FLOAT >= 2 * BREAK:
        extent += machine.width
    others = [Dim(k, a.size) for k, a in enumerate(buffer.axes) if k != lane]
    if others and buffer.axes[others[0].axis].symbol == "n":
        others[1:] = spread(others[1:], extent)
    return (*others, Dim(lane, extent))


def spread(dims: list[Dim], inner: int) -> list[Dim]:
    """The axes inside the items with a place more where items would otherwise be a multiple of
    `MEET` bytes apart: as the rows of a tile they would throw each other out of the first cache."""
    options = (
        [replace(dim, extent=dim.extent + more) for dim, more in zip(dims, added, strict=True)]
        for added in product((0, 1), repeat=len(dims))
    )
    apart = (found for found in options if _places(found) * inner * FLOAT % MEET)
    return min(apart, key=_places, default=dims)


def _places(dims: list[Dim]) -> int:
    return prod(dim.extent for dim in dims)


def best_vectors(run: int, machine: Machine) -> int:
    """How many vectors of lanes make a block: little padding, few loads for each multiply-add."""
    count = -(-run // machine.width)
    exact = run % machine.width == 0

    def cost(vectors: int) -> float:
        rows = max(1, (machine.registers - 2 - vectors) // vectors)
        padded = -(-count // vectors) * vectors
        return padded / count + 0.25 * (vectors + rows) / (vectors * rows)

    fitting = range(1, min(MOST_VECTORS, count) + 1)
    return min((v for v in fitting if exact or v), key=cost)


def option_time(option: Option, kernel: Kernel, machine: Machine) -> float:
    """The time of an option in multiply-adds of whole vectors. Fewer items than the largest batch
    leave lanes empty; where the lanes are summed, each result takes a few operations at the end."""
    if option.grouped and option.run % machine.width:
        return inf  # a group's last vector would reach into the next group
    if option.each and (machine.width % option.each or option.each == machine.width):
        return inf  # a vector would not hold whole groups
    if option.each:
        return SPREAD * work(kernel) * lane_time(option.run, machine)
    if option.target is not None:
        batched = BATCHED if option.axis.symbol else 1.0
        return batched * work(kernel) * lane_time(option.axis.size, machine)
    padded = -(-option.axis.size // machine.width) * machine.width / option.axis.size
    results = prod(a.size for a in kernel.axes)
    return LOADS * work(kernel) * padded + ADDED * machine.width * results


def lane_time(size: int, machine: Machine) -> float:
    """Time of a multiply-add along lanes, against whole blocks of vectors: lanes left empty cost,
    and a splat that serves one or two vectors only."""
    whole = -(-size // machine.width) * machine.width
    return whole / size * (1.0 + 0.5 / best_vectors(size, machine) ** 2)


def _blocked_axes(kernel: Kernel, stored: dict[str, Buffer]) -> Iterator[tuple[str, int]]:
    """The output axes of a contraction that run along a factor's blocks, with their sizes."""
    parts = find_parts(kernel)
    for load in parts.factors if parts else ():
        for dim in stored[load.buffer].dims:
            for a in kernel.axes if dim.modulo else ():
                if load.index[dim.axis] == axis(a.name):
                    yield a.name, dim.modulo


def _accesses(kernel: Kernel) -> Iterator[tuple[str, tuple[Index, ...]]]:
    for write in kernel.writes:
        yield write.buffer, write.index
    for expression in (*(let.expression for let in kernel.lets),
                       *(write.expression for write in kernel.writes)):  # fmt: skip
        for node in walk(expression):
            if isinstance(node, Load):
                yield node.buffer, node.index


def _sizes(buffer: Buffer) -> tuple[int, ...]:
    return tuple(a.size for a in buffer.axes)


def _size(buffer: Buffer) -> int:
    return prod(_sizes(buffer))
