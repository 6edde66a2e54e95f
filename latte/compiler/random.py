"""Counter-based random numbers: a draw is a pure function of (seed, step, stream, index).

The interpreter uses these functions; vector code computes the same 32-bit integers, bit for bit.
Any step replays on any thread or rank, and nothing is kept for the backward pass.

    key   = mix(mix(mix(seed) ^ step) ^ stream)          one number for each step and stream
    bits  = mix(mix(low(index)) ^ key ^ mix(high(index) ^ 0x9e3779b9))
    uniform = (bits >> 8) * 2**-24                       in [0, 1)
    normal  = sqrt(-2 log(1 - u)) cos(2 pi v)            v from mix(bits ^ 0x85ebca6b)

`mix` is the 32-bit finaliser "lowbias32" (C. Wellons, "Prospecting for Hash Functions", 2018);
normal is Box and Muller's transform (1958).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint32]

HIGH = np.uint32(0x9E3779B9)
SECOND = np.uint32(0x85EBCA6B)


def mix(words: Words) -> Words:
    """A bijection of 32-bit words whose output bits each depend on all input bits."""
    mixed = np.array(words, np.uint32, ndmin=1)
    _mix(mixed, np.empty_like(mixed))
    return mixed.reshape(np.shape(words))


def key(seed: int, step: int, stream: int) -> int:
    """The word that sets one (seed, step, stream) apart from all others."""
    word = np.zeros(1, np.uint32)
    for part in (seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF, step & 0xFFFFFFFF, stream):
        word = mix(word ^ np.uint32(part & 0xFFFFFFFF))
    return int(word[0])


def bits(key: int, index: NDArray[np.int64]) -> Words:
    """32 random bits for each index (64-bit, non-negative)."""
    low = (index & 0xFFFFFFFF).astype(np.uint32)
    high = (index >> 32).astype(np.uint32)
    return mix(mix(low) ^ np.uint32(key) ^ mix(high ^ HIGH))


def uniform(key: int, index: NDArray[np.int64]) -> NDArray[np.float64]:
    """A number in [0, 1) for each index, a multiple of 2**-24: exact in float32."""
    return _unit(bits(key, index))


def normal(key: int, index: NDArray[np.int64]) -> NDArray[np.float64]:
    """A draw of the standard normal distribution for each index."""
    first = bits(key, index)
    radius = np.sqrt(-2.0 * np.log(1.0 - _unit(first)))
    return np.asarray(radius * np.cos(2.0 * np.pi * _unit(mix(first ^ SECOND))))


class Uniform:
    """The draws of `uniform` for up to `size` indices in a row, in memory that is used again."""

    def __init__(self, size: int) -> None:
        self._places = np.arange(size, dtype=np.uint32)
        self._words = np.empty(size, np.uint32)
        self._spare = np.empty(size, np.uint32)

    def draw(self, key: int, start: int, out: NDArray[np.float64]) -> None:
        """Fills `out` with the draws of the indices start, start + 1, ..., all below 2**32."""
        assert start + out.size <= 1 << 32, start
        words, spare = self._words[: out.size], self._spare[: out.size]
        np.add(self._places[: out.size], np.uint32(start), out=words)
        _mix(words, spare)
        words ^= np.uint32(key) ^ mix(np.full(1, HIGH))[0]
        _mix(words, spare)
        words >>= np.uint32(8)
        np.multiply(words, 2.0**-24, out=out)


def _mix(words: Words, spare: Words) -> None:
    """Mixes words in place; `spare` is written over."""
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        words ^= np.right_shift(words, np.uint32(shift), out=spare)
        words *= np.uint32(factor)
    words ^= np.right_shift(words, np.uint32(16), out=spare)


def _unit(words: Words) -> NDArray[np.float64]:
    return (words >> np.uint32(8)).astype(np.float64) * 2.0**-24
