"""The processor as the compiler sees it: vector width, registers, caches, instructions.

In: /proc/cpuinfo and /sys.  Out: one frozen `Machine`, an ordinary argument of every pass that
chooses tiles, so that a test can ask for the code of a machine that it does not run on.

    host()  ->  Machine("x86_64", width=16, registers=32, l1=49152, l2=2097152, l3=..., flags=...)
"""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from latte.options import cores

CPUINFO = Path("/proc/cpuinfo")
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")

# Operating system's flag -> name of the same instructions in LLVM. What a virtual machine masks is
# missing in the first list even where LLVM would infer it from the processor's name.
FLAGS = {
    "sse3": "sse3", "pni": "sse3", "ssse3": "ssse3", "sse4_1": "sse4.1", "sse4_2": "sse4.2",
    "avx": "avx", "avx2": "avx2", "fma": "fma", "f16c": "f16c", "bmi1": "bmi", "bmi2": "bmi2",
    "abm": "lzcnt", "popcnt": "popcnt", "movbe": "movbe", "adx": "adx", "aes": "aes",
    "pclmulqdq": "pclmul", "sha_ni": "sha", "gfni": "gfni", "vaes": "vaes",
    "vpclmulqdq": "vpclmulqdq", "avx512f": "avx512f", "avx512dq": "avx512dq",
    "avx512cd": "avx512cd", "avx512bw": "avx512bw", "avx512vl": "avx512vl",
    "avx512ifma": "avx512ifma", "avx512vbmi": "avx512vbmi", "avx512_vbmi2": "avx512vbmi2",
    "avx512_vnni": "avx512vnni", "avx512_bitalg": "avx512bitalg", "avx_vnni": "avxvnni",
    "avx512_vpopcntdq": "avx512vpopcntdq", "avx512_bf16": "avx512bf16",
    "avx512_fp16": "avx512fp16", "avx512_vp2intersect": "avx512vp2intersect",
    "amx_tile": "amx-tile", "amx_int8": "amx-int8", "amx_bf16": "amx-bf16",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Machine:
    """`width` is the number of floats in a vector register, `registers` how many there are;
    caches are bytes for one core (l3: shared); `fma` is false where a multiply-add is a call;
    `cores` decides how work is divided, never a result."""

    architecture: str
    width: int
    registers: int
    fma: bool
    l1: int = 32 * 1024
    l2: int = 512 * 1024
    l3: int = 8 * 1024 * 1024
    flags: frozenset[str] = frozenset()
    cores: int = 4


@cache
def host() -> Machine:
    """The machine this process runs on."""
    flags = _flags()
    architecture = platform.machine()
    width, registers = _vectors(architecture, flags)
    l1, l2, l3 = _caches()
    fma = "fma" in flags or architecture == "aarch64"
    return Machine(architecture, width, registers, fma, l1, l2, l3, flags, cores())


# Levels of the x86-64 psABI: lanes of floats, vector registers, fused multiply-add
LEVELS = {"x86-64": (4, 16, False), "x86-64-v3": (8, 16, True), "x86-64-v4": (16, 32, True)}


def level(name: str) -> Machine:
    """A processor of a level of `LEVELS`, with caches of usual sizes: to see its code anywhere."""
    width, registers, fma = LEVELS[name]
    return Machine("x86_64", width, registers, fma, l2=1024 * 1024, l3=32 * 1024 * 1024)


# What a processor of a level has of `FLAGS`, each level all of the ones before it
OFFERED = {
    "x86-64": frozenset({"sse2"}),
    "x86-64-v3": frozenset(
        {"sse3", "pni", "ssse3", "sse4_1", "sse4_2", "popcnt", "avx", "avx2", "fma", "f16c",
         "bmi1", "bmi2", "abm", "movbe"}
    ),
    "x86-64-v4": frozenset({"avx512f", "avx512dq", "avx512cd", "avx512bw", "avx512vl"}),
}  # fmt: skip


def limited(name: str) -> Machine | None:
    """This machine with the vectors and instructions of a level only, to try its code here; None
    where this machine has less."""
    here, (width, registers, fma) = host(), LEVELS[name]
    if here.architecture != "x86_64" or width > here.width:
        return None
    levels = list(LEVELS)
    known = frozenset().union(*(OFFERED[each] for each in levels[: levels.index(name) + 1]))
    return replace(
        here, width=width, registers=registers, fma=fma, flags=here.flags & (known | {"sse2"})
    )


def masked(features: dict[str, bool], machine: Machine) -> dict[str, bool]:
    """LLVM's features without those that the operating system does not offer."""
    if machine.architecture != "x86_64" or not machine.flags:
        return features
    offered = {FLAGS[flag] for flag in machine.flags if flag in FLAGS}
    known = set(FLAGS.values()) | {name for name in features if name.startswith("avx10")}
    offered |= {name for name in known if name.startswith("avx10") and "avx512f" in offered}
    return {name: on and (name in offered or name not in known) for name, on in features.items()}


def _flags() -> frozenset[str]:
    """The instruction sets that the operating system reports, empty where it does not."""
    try:
        lines = CPUINFO.read_text(errors="replace").splitlines()
    except OSError:
        return frozenset()
    found = (line for line in lines if line.startswith(("flags", "Features")))
    return frozenset(next(found, ":").split(":", 1)[1].split())


def _vectors(architecture: str, flags: frozenset[str]) -> tuple[int, int]:
    if {"avx512f", "avx512vl", "avx512dq", "avx512bw"} <= flags:
        return 16, 32
    if {"avx2", "fma"} <= flags:
        return 8, 16
    return (4, 32) if architecture == "aarch64" else (4, 16)


def _caches() -> tuple[int, int, int]:
    """Bytes of the first three levels of data cache; usual sizes where the system says nothing."""
    sizes = {1: 32 * 1024, 2: 512 * 1024, 3: 8 * 1024 * 1024}
    for place in sorted(CACHES.glob("index*")):
        try:
            if (place / "type").read_text().strip() != "Instruction":
                level = int((place / "level").read_text())
                sizes[level] = _bytes((place / "size").read_text().strip())
        except (OSError, ValueError):
            continue
    return sizes[1], sizes[2], sizes[3]


def _bytes(text: str) -> int:
    """`48K` -> 49152."""
    unit = {"K": 2**10, "M": 2**20, "G": 2**30}.get(text[-1:], 1)
    return int(text.rstrip("KMG")) * unit
