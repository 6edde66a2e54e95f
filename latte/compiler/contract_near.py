"""Copies what all tiles of a chunk read along the lanes into one run of memory.

In: the open loops of a planned contraction. Out: a copy for each chunk, and loads from it.

    out.grad[n, y, x, f]: 48 places of 64 f, 4160 bytes apart  ->  12288 bytes in a row

Places far apart are in as many pages, more than a processor finds at once, and in few sets of the
first cache; all tiles and taps of a unit read them again.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from math import prod

from latte.compiler.affine import Affine
from latte.compiler.contract_ask import Asking
from latte.compiler.contract_place import Places, Point, chunk_of
from latte.compiler.contract_view import Access
from latte.compiler.values import Term


@dataclass(slots=True)
class Near(Asking):
    """`copied` is the factor that loads find in `near` instead, `copy` where in it."""

    copied: Access | None = None
    copy: Access | None = None
    near: Term | None = None

    def _copy_chunk(self) -> None:
        """Copies the chunk's part of the factor that the plan names."""
        if self.plan.near is None:
            return
        self.copied, factor = None, self.contraction.factors[self.plan.near]
        self.env[chunk_of(self.plan.lane)] = self.env[self.plan.lane.name]
        self.copy, outside = self._copy_of(factor), dict(self.env)
        with ExitStack() as stack:
            for a in self.plan.summed:
                if factor.coefficient(a.name):
                    begin, end = self._summed_range(a)
                    self.env[a.name] = stack.enter_context(self.b.loop(begin, end))
            for vector in range(self.plan.vectors):
                point = (*self.origin[:-1], vector)
                value = Places._load(self, factor, point)
                self.b.store(value, self._room(factor), self._place(self.copy, point))
        self.env, self.copied = outside, factor

    def _copy_of(self, factor: Access) -> Access:
        """Where the copy has a place: summed axes in their order, from the chunk's begin on."""
        lane, step = self.plan.lane.name, self.plan.vectors * self.width
        terms = [(lane, 1), (chunk_of(self.plan.lane), -1)]
        for a in reversed(self.plan.summed):
            if factor.coefficient(a.name):
                terms.append((a.name, step))
                if any(chunk.axis == a for chunk in self.plan.chunks):
                    terms.append((chunk_of(a), -step))
                step *= self._extent(a)
        return Access(factor.buffer, Affine(tuple(sorted(terms)), 0), ())

    def _room(self, factor: Access) -> Term:
        if self.near is None:
            own = (a for a in self.plan.summed if factor.coefficient(a.name))
            places = prod(self._extent(a) for a in own)
            self.near = self.b.scratch(places * self.plan.vectors * self.width)
        return self.near

    def _load(self, access: Access, point: Point) -> Term:
        if access is not self.copied or self.copy is None or self.near is None:
            return Places._load(self, access, point)
        return self.b.load(self.near, self._place(self.copy, point), self.width)
