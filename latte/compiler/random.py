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
    with np.errstate(over="ignore"):
        words = (words ^ (words >> np.uint32(16))) * np.uint32(0x7FEB352D)
        words = (words ^ (words >> np.uint32(15))) * np.uint32(0x846CA68B)
        return words ^ (words >> np.uint32(16))


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


def _unit(words: Words) -> NDArray[np.float64]:
    return (words >> np.uint32(8)).astype(np.float64) * 2.0**-24
