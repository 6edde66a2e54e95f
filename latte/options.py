"""Where things are and what the environment says: the only place that reads it.

In: environment variables, the place of this file.  Out: folders, cores, one frozen `Options`.

    LATTE_CACHE=off latte train ...   ->   options().cache is None
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from latte.errors import fail

__version__ = "0.1.0"

PACKAGE = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Options:
    """What holds for a whole process, passed along to those who need it.

    `cache` is the folder of compiled objects, None for no cache. `threads` is the number of
    workers to use unless told otherwise. `color` is None where the terminal decides. `guard`
    gives every buffer of a net pages of its own, and faults behind its end: for finding mistakes.
    """

    cache: Path | None
    threads: int
    color: bool | None
    debug: bool
    guard: bool = False


def options() -> Options:
    """The options of this process, read from the environment now. Raises LatteError E0914."""
    return Options(
        cache=_cache(),
        threads=_threads(),
        color=color(),
        debug=debug(),
        guard=_switch("LATTE_GUARD"),
    )


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0))


def stdlib_folder() -> Path:
    """The folder of the standard library: inside an installed package, beside it in a checkout."""
    inside = PACKAGE / "stdlib"
    return inside if inside.is_dir() else PACKAGE.parent / "stdlib"


def demo_net() -> Path:
    """The net that `latte demo digits` trains."""
    inside = PACKAGE / "data" / "digits.latte"
    return inside if inside.is_file() else PACKAGE.parent / "examples" / "01_digits" / "net.latte"


def digits_file() -> Path:
    """The shipped hand-written digits: a gzipped table, 64 pixels and the label in each row."""
    return PACKAGE / "data" / "digits.csv.gz"


def _cache() -> Path | None:
    """`LATTE_CACHE` (a folder, or `off`), else the user's cache folder."""
    told = os.environ.get("LATTE_CACHE", "")
    if told.lower() in {"off", "0", "no"}:
        return None
    if told:
        return Path(told).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("latte")


def _threads() -> int:
    """`LATTE_THREADS`, else the cores this process may use, shared with local MPI ranks."""
    told = os.environ.get("LATTE_THREADS", "").strip()
    if told:
        return _positive("LATTE_THREADS", told)
    ranks = os.environ.get("OMPI_COMM_WORLD_LOCAL_SIZE", "1")
    local = int(ranks) if ranks.isdecimal() else 1
    return max(1, cores() // max(1, local))


def _positive(name: str, told: str) -> int:
    if told.isdecimal() and int(told) > 0:
        return int(told)
    hint = f"give a number of workers, as in {name}=4, or unset it: one for each core"
    fail("E0914", f"{name}={told} is not a whole number of at least 1", help=hint)


def color() -> bool | None:
    """The user's wish for colours: what shows an error asks for nothing else."""
    if os.environ.get("NO_COLOR"):
        return False
    return True if os.environ.get("FORCE_COLOR") else None


def debug() -> bool:
    """Whether `LATTE_DEBUG` asks for tracebacks."""
    return _switch("LATTE_DEBUG")


def _switch(name: str) -> bool:
    return os.environ.get(name, "").lower() not in {"", "0", "no", "off"}
