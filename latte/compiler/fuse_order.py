"""Where two kernels of a sequence can stand together without changing what anyone reads.

    w.grad = ...; x.grad = sum w * g; w = w - w.grad      the update meets w.grad behind x.grad,
                                                          which reads w: w.grad moves down there

The reader moves up and the writer down until they meet. Items keep their order where one writes
what the other reads or writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from latte.compiler.ir import LASTING, Item, Program, kernels
from latte.compiler.plan_memory import reads, writes


@dataclass(frozen=True, slots=True)
class Touched:
    """The buffers that an item reads and writes. It `lasts` where it changes what outlives the
    call, and `tells` where it writes a result."""

    item: Item
    read: frozenset[str]
    written: frozenset[str]
    lasts: bool
    tells: bool


@dataclass(slots=True)
class Order:
    """What the items of a program touch, found once for each."""

    program: Program
    known: dict[int, Touched] = field(default_factory=dict)
    lasting: frozenset[str] = frozenset()
    results: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        buffers = self.program.buffers
        self.lasting = frozenset(b.name for b in buffers if b.role in LASTING)
        self.results = frozenset(b.name for b in buffers if b.role == "result")

    def touched(self, item: Item) -> Touched:
        """What an item reads and writes."""
        found = self.known.get(id(item))
        if found is None:
            inner = kernels((item,))
            read = frozenset().union(*map(reads, inner))
            written = frozenset().union(*map(writes, inner))
            lasts, tells = bool(written & self.lasting), bool(written & self.results)
            found = self.known[id(item)] = Touched(item, read, written, lasts, tells)
        return found

    def bound(self, earlier: Item, later: Item) -> bool:
        """Whether the order of two items matters. What lasts is written behind the results, so
        that a step whose loss is not finite can stop before."""
        a, b = self.touched(earlier), self.touched(later)
        if a.tells and b.lasts:
            return True
        return not (
            a.written.isdisjoint(b.read)
            and a.written.isdisjoint(b.written)
            and a.read.isdisjoint(b.written)
        )

    def highest(self, items: Sequence[Item], place: int, least: int) -> int:
        """How far up an item can move, `least` at least: behind the last one it is bound to."""
        up = place
        while up > least and not self.bound(items[up - 1], items[place]):
            up -= 1
        return up

    def meeting(self, items: Sequence[Item], first: int, second: int) -> int | Item:
        """The least place behind which both can run as one; or the item that keeps them apart."""
        up = self.highest(items, second, first + 1)
        for place in range(first + 1, up):
            if self.bound(items[first], items[place]):
                return items[place]
        return up - 1
