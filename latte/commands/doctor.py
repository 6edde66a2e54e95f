"""`latte doctor`: what this machine and installation have, to copy into a report."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
from collections.abc import Callable
from pathlib import Path

import click

from latte.commands.command import Command, json_option
from latte.errors import LatteError
from latte.options import PACKAGE, __version__, options, stdlib_folder

LIBRARIES = ("numpy", "llvmlite", "islpy", "lark", "safetensors", "click", "rich")


@click.command(cls=Command)
@json_option
def command(as_json: bool) -> None:
    """Processor, LLVM, threads, cache, MPI and CUDA, as Latte sees them.

    \b
      latte doctor
    """
    facts = {name: _told(ask) for name, ask in QUESTIONS.items()}
    if as_json:
        click.echo(json.dumps(facts))
        return
    width = max(map(len, facts))
    for name, fact in facts.items():
        click.echo(f"{name:{width}}  {fact}")


def _told(ask: Callable[[], str]) -> str:
    """An answer, whatever happens: a doctor must not fall ill."""
    try:
        return ask()
    except LatteError as problem:
        return problem.diagnostics[0].concise()
    except Exception as problem:
        return f"unknown ({type(problem).__name__}: {problem})"


def _libraries() -> str:
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES)


def _llvm() -> str:
    from latte.codegen.llvm_object import host_target

    target = host_target()
    return f"{target.versions}, {target.triple}, {target.cpu}"


def _processor() -> str:
    from latte.compiler.machine import host

    machine = host()
    fma = "with" if machine.fma else "without"
    caches = "/".join(f"{size // 1024}K" for size in (machine.l1, machine.l2, machine.l3))
    vectors = f"{machine.registers} registers of {machine.width} floats"
    return f"{machine.architecture}, {vectors}, {fma} multiply-add, caches {caches}"


def _features() -> str:
    from latte.compiler.machine import host

    return " ".join(sorted(host().flags & SHOWN)) or "none of note"


SHOWN = {
    "sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vl", "avx512dq",
    "avx512_bf16", "avx512_fp16", "amx_tile", "asimd", "sve",
}  # fmt: skip


def _threads() -> str:
    return f"{options().threads} of {os.cpu_count()} cores (LATTE_THREADS, --threads)"


def _memory() -> str:
    import psutil

    memory = psutil.virtual_memory()
    return f"{memory.available / 2**30:.1f} GB free of {memory.total / 2**30:.1f} GB"


def _cache() -> str:
    folder = options().cache
    if folder is None:
        return "off"
    files = [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
    size = sum(path.stat().st_size for path in files) / 2**20
    parent = next(place for place in (folder, *folder.parents) if place.exists())
    able = "writable" if os.access(parent, os.W_OK) else "not writable"
    return f"{folder}, {len(files)} files, {size:.1f} MB, {able}"


def _library() -> str:
    count = len([*stdlib_folder().rglob("*.latte")])
    return f"{count} files in {stdlib_folder()}"


def _mpi() -> str:
    if importlib.util.find_spec("mpi4py") is None:
        return "mpi4py is not installed; `--ranks` is not in this build"
    return f"mpi4py {importlib.metadata.version('mpi4py')}; `--ranks` is not in this build"


def _cuda() -> str:
    driver = Path("/proc/driver/nvidia/version")
    found = driver.read_text().splitlines()[0] if driver.exists() else "no driver"
    tool = "" if shutil.which("nvidia-smi") is None else ", nvidia-smi found"
    return f"{found}{tool}; `--target cuda` is not in this build"


QUESTIONS: dict[str, Callable[[], str]] = {
    "latte": lambda: f"{__version__} in {PACKAGE}",
    "python": lambda: f"{platform.python_version()} on {platform.platform()}",
    "libraries": _libraries,
    "LLVM": _llvm,
    "processor": _processor,
    "features": _features,
    "threads": _threads,
    "memory": _memory,
    "cache": _cache,
    "library": _library,
    "MPI": _mpi,
    "CUDA": _cuda,
}
