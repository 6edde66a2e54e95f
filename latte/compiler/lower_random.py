"""Random draws as vector code: the same 32-bit integers as `random.py`, bit for bit.

In: the kind of draw, its stream, a resolved flat index.  Out: an f32 term, one lane for each.
The key of (seed, update, stream) is scalar code that leaves all loops.
"""

from __future__ import annotations

import math

import numpy as np

from latte.compiler import random
from latte.compiler.affine import Affine
from latte.compiler.builder import Builder
from latte.compiler.lower_scope import Scope, Value
from latte.compiler.values import Term
from latte.compiler.vector import I32, I64, SLOT_SEED, SLOT_UPDATE, Kind


def draw(scope: Scope, kind: str, stream: int, index: Affine) -> Term:
    """The draw of `random.uniform` or `random.normal` at an index."""
    most = index.bounds(scope.ranges)[1]
    return drawn(scope.b, kind, stream, scope.lanes_of(index, number_kind(index, most)), most)


def number_kind(index: Affine, most: int) -> Kind:
    """The integers in which a position that is `most` at most can be computed: only its low 32
    bits count where it has no more, and what sums and products carry out of them is lost."""
    return "i32" if most < 1 << 31 or (most < 1 << 32 and index.is_linear) else "i64"


def drawn(b: Builder, kind: str, stream: int, place: Value, most: int) -> Term:
    """The draw at a flat position, one for each lane, that is `most` at most."""
    words = _bits(b, stream, place if isinstance(place, Term) else b.term(place, I64), most)
    first = _unit(b, words)
    if kind == "uniform":
        return first
    second = _unit(b, mix(words ^ signed(int(random.SECOND))))
    radius = b.call("sqrt", b.call("log", 1.0 - first) * -2.0)
    return radius * b.call("cos", second * (2 * math.pi))


def _bits(b: Builder, stream: int, place: Term, most: int) -> Term:
    low, high = _halves(b, b.materialized(place), most)
    return mix(mix(low) ^ _key(b, stream) ^ high)


def _halves(b: Builder, place: Term, most: int) -> tuple[Term, Term | int]:
    """The low word, and the mixed high word: a number where positions have 32 bits only."""
    low = b.convert(place, "i32")
    if most < 1 << 32:
        return low, signed(int(random.mix(np.zeros(1, np.uint32) ^ random.HIGH)[0]))
    return low, mix(b.convert(place >> 32, "i32") ^ signed(int(random.HIGH)))


def _key(b: Builder, stream: int) -> Term:
    """`random.key` of the call's seed and update: scalar."""
    seed, update = b.scalar_integer(SLOT_SEED), b.scalar_integer(SLOT_UPDATE)
    word = b.term(0, I32)
    for part in (b.convert(seed, "i32"), b.convert(seed >> 32, "i32"), b.convert(update, "i32")):
        word = mix(word ^ part)
    return mix(word ^ signed(stream & 0xFFFFFFFF))


def mix(words: Term) -> Term:
    """`random.mix`."""
    words = (words ^ (words >> 16)) * 0x7FEB352D
    words = (words ^ (words >> 15)) * signed(0x846CA68B)
    return words ^ (words >> 16)


def _unit(b: Builder, words: Term) -> Term:
    return b.convert(words >> 8, "f32") * 2.0**-24


def signed(word: int) -> int:
    """A 32-bit word as LLVM writes it."""
    return word - (1 << 32) if word >= 1 << 31 else word
