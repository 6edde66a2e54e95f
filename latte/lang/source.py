"""Files into text.

In: a path, or a text from somewhere else.  Out: a `Source` whose text is Unicode with `\\n` line
ends and no byte order mark, or a coded error with the place of the first bad byte.

    b"net A {\\r\\n}"  ->  "net A {\\n}"
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from latte.errors import Source, Span, fail

LARGEST = 4_000_000  # bytes; the largest real specification is a thousandth of this


def read_source(path: str | Path, name: str | None = None) -> Source:
    """The text of a file, called `name` in diagnostics (the path as given, when None).

    Raises LatteError: E0001 unreadable, E0002 not UTF-8, E0003 a NUL byte, E0004 too large.
    """
    name = os.fspath(path) if name is None else name
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            _unreadable(name, "it is a folder" if stat.S_ISDIR(found.st_mode) else "not a file")
        if found.st_size > LARGEST:
            _too_large(name, found.st_size)
        data = Path(path).read_bytes()
    except OSError as error:
        _unreadable(name, (error.strerror or "it cannot be opened").lower())
    except ValueError:
        _unreadable(name, "the path itself contains a NUL byte")
    return _decode(data, name)


def source_of(text: str, name: str = "<text>") -> Source:
    """A text that did not come from a file, under the same rules."""
    if len(text) > LARGEST:
        _too_large(name, len(text))
    return _checked(text, name)


def _decode(data: bytes, name: str) -> Source:
    try:
        return _checked(data.decode("utf-8"), name)
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8")
        source = _clean(before + data[error.start :].decode("utf-8", "replace"), name)
        at = len(_clean(before, name).text)
        fail(
            "E0002",
            f"byte {error.start} (0x{data[error.start]:02x}) is not UTF-8",
            Span(source, at, at + 1),
            help="save the file as UTF-8",
        )


def _checked(text: str, name: str) -> Source:
    source = _clean(text, name)
    nul = source.text.find("\0")
    if nul >= 0:
        message = f"a NUL character at offset {nul}; this is not a text file"
        fail("E0003", message, Span(source, nul, nul + 1))
    return source


def _clean(text: str, name: str) -> Source:
    text = text.removeprefix("\ufeff")
    return Source(name, text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text)


def _unreadable(name: str, why: str) -> None:
    fail("E0001", f"cannot read `{name}`: {why}", Span.at(name), help="check the path")


def _too_large(name: str, size: int) -> None:
    message = f"`{name}` has {size:,} bytes; a specification may have {LARGEST:,}"
    fail("E0004", message, Span.at(name), help="is this the right file?")
