"""Compiled code on disk: safe to share between processes, safe to lose.

In: a key (SHA-256 of all that decides a value) and bytes.  Out: the bytes again, or None.

An entry is a file named by its key: one JSON line with the SHA-256 of the bytes, then the bytes.
It is written beside and renamed, so that a reader sees all of it or nothing. Whoever can write to
the folder could run code as its user; so it must be that user's own, and closed to others. A
problem of any kind is told once and costs a compilation, never a result. Where nothing can be
written (a full disk, one that is read-only), what is there is read all the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import stat
import warnings
from functools import cache
from pathlib import Path

from latte.options import PACKAGE, __version__, stdlib_folder

CAP = 10**9  # bytes; the entries used longest ago go first
KEEP = 0.8  # share of the cap that is left after a cleaning
CLEANING = "00"  # what keys begin with whose storing is followed by a cleaning: one of 256
SOURCES = ("compiler", "codegen", "runtime")
TOLD: set[str] = set()  # warnings that this process has shown


class Cache:
    """Entries in one folder, or none at all where `folder` is None."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._warned = False
        self._descriptor: int | None = None
        self._stores_fail = False
        if folder is not None:
            try:
                self._descriptor = _open_folder(folder)
            except OSError as error:
                self._give_up(str(error.strerror or error))

    def load(self, key: str) -> bytes | None:
        """The bytes stored under a key; None where there are none, or none to be trusted."""
        if self._descriptor is None:
            return None
        try:
            entry = _read(self._descriptor, key)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._give_up(str(error.strerror or error))
            return None
        except ValueError as error:
            self._warn(f"entry {key[:12]} was thrown away: {error}")
            with contextlib.suppress(OSError):
                os.unlink(key, dir_fd=self._descriptor)
            return None
        with contextlib.suppress(OSError):
            os.utime(key, dir_fd=self._descriptor, follow_symlinks=False)
        return entry

    def store(self, key: str, data: bytes) -> None:
        """Keeps bytes under a key, if it can; after a failure it tries no more."""
        if self._descriptor is None or self._stores_fail:
            return
        try:
            _write(self._descriptor, key, data)
            if key.startswith(CLEANING):
                clean(self._descriptor, CAP)
        except OSError as error:
            self._stores_fail = True
            self._warn(str(error.strerror or error))

    def _give_up(self, why: str) -> None:
        """One warning; from then on everything is compiled in memory."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None
        self._warn(why)

    def _warn(self, why: str) -> None:
        text = f"warning[E0915]: compiled code is not cached in `{self._folder}`: {why}"
        if self._warned or text in TOLD:
            return
        self._warned = True
        TOLD.add(text)
        warnings.warn(text, RuntimeWarning, stacklevel=4)

    def __del__(self) -> None:
        if getattr(self, "_descriptor", None) is not None:
            os.close(self._descriptor)  # type: ignore[arg-type]


def key(*parts: str) -> str:
    """The name of an entry: a hash of all the parts that decide it."""
    whole = hashlib.sha256()
    for part in parts:
        data = part.encode()
        whole.update(f"\n{len(data)}\n".encode())
        whole.update(data)
    return whole.hexdigest()


@cache
def source_version() -> str:
    """Our version, and a hash of the files that make code: a part of the key of what they made."""
    whole = hashlib.sha256()
    for folder in SOURCES:
        for path in sorted((PACKAGE / folder).rglob("*.py")):
            whole.update(path.read_bytes())
    return f"{__version__} {whole.hexdigest()}"


@cache
def package_version() -> str:
    """The same for all files of this package, and the standard library."""
    whole = hashlib.sha256()
    for folder, pattern in ((PACKAGE, "*.py"), (stdlib_folder(), "*.latte")):
        for path in sorted(folder.rglob(pattern)):
            whole.update(path.read_bytes())
    return f"{__version__} {whole.hexdigest()}"


def clean(folder: int, cap: int) -> None:
    """Removes the entries used longest ago until the rest is well under the cap (bytes)."""
    entries = []
    for name in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISREG(status.st_mode):
                entries.append((status.st_mtime, status.st_size, name))
    total = sum(size for _, size, _ in entries)
    if total <= cap:
        return
    for _, size, name in sorted(entries):
        if total <= cap * KEEP:
            return
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)
        total -= size


def _open_folder(folder: Path) -> int:
    """A descriptor of the folder, made if it is not there; raises OSError if it is not ours."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    status = os.fstat(descriptor)
    problem = ""
    if status.st_uid != os.geteuid():
        problem = "it belongs to another user"
    elif status.st_mode & 0o022:
        problem = f"others may write to it (mode {stat.S_IMODE(status.st_mode):o}, expected 700)"
    if problem:
        os.close(descriptor)
        raise OSError(problem)
    return descriptor


def _read(folder: int, key: str) -> bytes:
    """The bytes of an entry; raises ValueError where they are not what was written."""
    descriptor = os.open(key, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            raise ValueError("not a file of this user")
        header = file.readline(4096)
        data = file.read()
    try:
        said = json.loads(header)
    except ValueError as error:
        raise ValueError("its header cannot be read") from error
    if said != _header(key, data):
        raise ValueError("its contents were changed")
    return data


def _write(folder: int, key: str, data: bytes) -> None:
    name = f".{key[:16]}.{os.getpid()}.{secrets.token_hex(4)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(name, flags, 0o600, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(json.dumps(_header(key, data)).encode() + b"\n")
            file.write(data)
        os.replace(name, key, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=folder)
        raise


def _header(key: str, data: bytes) -> dict[str, str | int]:
    return {
        "latte": 1, "key": key, "size": len(data), "sha256": hashlib.sha256(data).hexdigest(),
    }  # fmt: skip
