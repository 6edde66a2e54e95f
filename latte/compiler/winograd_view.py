"""Which contractions slide with stride 1, so that Winograd's short correlations can do them.

In: a Kernel and the Program.  Out: a `Sliding` with its pairs, or None.

    out[n, f, y, x] = bias[f] + sum [c, ky, kx] weight[f, c, ky, kx] * in[n, c, y + ky - 1, x + kx]
    ->  data in, taps weight, pairs (y, ky, start -1), (x, kx, start 0)

A pair is a row axis and a summed axis that meet in one entry of a factor, the data, and the summed
one alone in the other, the taps. The gradient of a convolution's inputs slides too (its taps are
met from last to first), and that of its weights: there ky is the row and y is summed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from latte.compiler.affine import Affine, axis, constant
from latte.compiler.contract_parts import Parts, affine_index, find_parts
from latte.compiler.expression import Axis, Guard, Load
from latte.compiler.ir import Kernel, Program


@dataclass(frozen=True, slots=True)
class Pair:
    """`data[..., row + tap + start, ...] * taps[..., tap, ...]`, where the tap is the place of the
    axis `summed`, or counted from its end if `flipped`; `entry` is the data's."""

    row: Axis
    summed: Axis
    entry: int
    start: int
    flipped: bool

    def tap(self, number: Affine | int) -> Affine:
        """The place of `summed` at a tap."""
        return constant(self.summed.size - 1) - number if self.flipped else constant(0) + number


@dataclass(frozen=True, slots=True)
class Sliding:
    """A contraction of two factors with sliding pairs; `lane` is the target's innermost axis."""

    kernel: Kernel
    parts: Parts
    data: Load
    taps: Load
    pairs: tuple[Pair, ...]
    lane: str

    @property
    def sliding(self) -> frozenset[str]:
        """The names of all axes in pairs."""
        return frozenset(a.name for pair in self.pairs for a in (pair.row, pair.summed))

    def axes_of(self, load: Load) -> tuple[Axis, ...]:
        """The axes of a factor that are in no pair, in the order of its index."""
        every = {a.name: a for a in (*self.kernel.axes, *self.parts.fold.axes)}
        own = sorted(name for entry in places(load) for name in entry.axes())
        first = {name: k for k, entry in reversed(list(enumerate(places(load))))
                 for name in entry.axes()}  # fmt: skip
        found = sorted(set(own) - self.sliding, key=lambda name: (first[name], name))
        return tuple(every[name] for name in found if name in every)


def find_sliding(kernel: Kernel, program: Program) -> Sliding | None:
    """The kernel as a sliding contraction of plain buffers; None where it is none."""
    parts = find_parts(kernel)
    if parts is None or len(parts.factors) != 2 or kernel.where or not parts.target:
        return None
    written = {write.buffer for write in kernel.writes}
    names = {load.buffer for load in parts.factors} | {parts.write.buffer}
    buffers = {buffer.name: buffer for buffer in program.buffers if buffer.name in names}
    same = written & {load.buffer for load in parts.factors}
    lane = _innermost(program, parts)
    if same or lane is None or any(b.element != "f32" for b in buffers.values()):
        return None
    for data, taps in (parts.factors, parts.factors[::-1]):
        pairs = _pairs(kernel, parts, data, taps)
        sizes = tuple(a.size for a in buffers[data.buffer].axes)
        if pairs and _answered(parts.fold.where, places(data), sizes, pairs):
            found = Sliding(kernel, parts, data, taps, pairs, lane)
            return found if _one_factor(found) else None
    return None


def places(load: Load) -> tuple[Affine, ...]:
    """The entries of a factor's index, which are all affine."""
    index = affine_index(load.index)
    assert index is not None
    return index


def _innermost(program: Program, parts: Parts) -> str | None:
    """The axis whose places are neighbours in the target as it is stored."""
    dims = program.buffer(parts.write.buffer).dims
    entry = parts.target[dims[-1].axis if dims else -1]
    return next((a for a, factor in entry.terms if factor == 1 and isinstance(a, str)), None)


def _one_factor(found: Sliding) -> bool:
    """Whether the lanes belong to exactly one of the transformed factors, and are no items: tiles
    lie along those."""
    items = {a.name for a in found.kernel.axes if a.symbol}
    return (
        found.lane not in found.sliding | items
        and sum(
            any(a.name == found.lane for a in found.axes_of(load))
            for load in (found.data, found.taps)
        )
        == 1
    )


def _pairs(kernel: Kernel, parts: Parts, data: Load, taps: Load) -> tuple[Pair, ...]:
    """All sliding pairs; none at all where an entry slides in any other way."""
    shared = frozenset(name for entry in places(taps) for name in entry.axes())
    rows = {a.name: a for a in kernel.axes if a.name not in shared}
    summed = {a.name: a for a in parts.fold.axes}
    found: list[Pair] = []
    for number, entry in enumerate(places(data)):
        names = entry.axes()
        if not (names & rows.keys() and names & summed.keys()):
            continue
        pair = _pair(number, entry, rows, summed)
        if pair is None or not _alone(pair, data, taps):
            return ()
        found.append(pair)
    return tuple(found)


def _pair(
    number: int, entry: Affine, rows: dict[str, Axis], summed: dict[str, Axis]
) -> Pair | None:
    row = next(name for name in sorted(entry.axes()) if name in rows)
    tap = next(name for name in sorted(entry.axes()) if name in summed)
    step = entry.coefficient(tap)
    rest = entry - axis(row) - axis(tap) * step
    if step not in (1, -1) or not rest.is_constant or rows[row].symbol or summed[tap].symbol:
        return None
    start = rest.constant if step == 1 else rest.constant - (summed[tap].size - 1)
    return Pair(rows[row], summed[tap], number, start, step == -1)


def _alone(pair: Pair, data: Load, taps: Load) -> bool:
    """Whether the axes of a pair meet nowhere else."""
    row, tap = pair.row.name, pair.summed.name
    others = [entry for k, entry in enumerate(places(data)) if k != pair.entry]
    mixed = any({row, tap} & entry.axes() for entry in others)
    own = [entry for entry in places(taps) if tap in entry.axes()]
    return not mixed and len(own) == 1 and not any(row in e.axes() for e in places(taps))


def _answered(
    where: tuple[Guard, ...], index: tuple[Affine, ...], sizes: tuple[int, ...],
    pairs: tuple[Pair, ...],
) -> bool:  # fmt: skip
    """Whether all guards of the sum say no more than that the data's index is inside."""

    def inside() -> Iterator[Guard]:
        for pair in pairs:
            entry = index[pair.entry]
            yield from (Guard(entry), Guard(constant(sizes[pair.entry] - 1) - entry))

    return set(where) <= set(inside())
