"""What the Python front was given, checked before it goes any further.

In: arguments as a user wrote them.  Out: the same with their types known, or an error that says
what to write instead.

    latte.train(net, data=images)
    error[E0918]: `data` cannot be of the type ndarray
      = help: give data="digits" or another SPEC, or arrays by name: {"image": ..., "label": ...}
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sized
from numbers import Integral, Real
from pathlib import Path
from typing import NoReturn

from latte.errors import closest, did_you_mean, fail

WHOLE = {"epochs": 0, "batch": 1, "save_every": 1, "time": 1}
FOLDERS = {"save", "resume", "run"}
DATASET = ("fields", "__len__", "read")
PATH = re.compile(r"\S+\.latte")
SHOWN = 60  # letters of a value that an error repeats


def path(value: object, what: str, hint: str) -> str | Path:
    """A path. Raises LatteError E0918, with `hint`, for anything else."""
    if isinstance(value, Path):
        return value
    if isinstance(value, os.PathLike) and isinstance(found := os.fspath(value), str):
        return found
    if not isinstance(value, str):
        _wrong(what, value, hint)
    return value


def file(value: object, what: str) -> str | Path:
    """The path of a specification. Raises LatteError E0918."""
    if isinstance(value, str) and "\n" in value:
        _wrong(what, value, "this is a text, not a path: latte.loads takes one")
    return path(value, what, "give the path of a .latte file")


def loaded(what: str, name: str) -> NoReturn:
    """Raises LatteError E0918: a net was given where one is to be read."""
    hint = f"it is loaded already: use {name}.compile(...), {name}.summary() or latte.train"
    fail("E0918", f"{what} is a net, where a path is expected", help=hint)


def text(value: object, what: str) -> str:
    """A text. Raises LatteError E0918."""
    if isinstance(value, os.PathLike) or (isinstance(value, str) and PATH.fullmatch(value)):
        _wrong(what, value, "this is a path, not a text: latte.load reads files")
    if not isinstance(value, str):
        _wrong(what, value, "give a str")
    return value


def names(value: object, what: str) -> tuple[str, ...]:
    """Names, or a single one. Raises LatteError E0918."""
    if isinstance(value, str):
        return (value,)
    found = tuple(value) if isinstance(value, Iterable) else (value,)
    if not all(isinstance(name, str) for name in found):
        _wrong(what, value, f'give a list of names, {what.strip("`")}=["..."]')
    return found


def number(value: object, what: str, least: int = 0, *, whole: bool = False) -> None:
    """Raises LatteError E0918 for what is no such number."""
    kind = Integral if whole else Real
    if (
        isinstance(value, bool)
        or not isinstance(value, kind)
        or not least <= float(value) < math.inf
    ):
        _wrong(what, value, f"give a {'whole ' if whole else ''}number of at least {least}")


def training(
    items: object, options: Mapping[str, object], inputs: Callable[[], Iterable[str]]
) -> None:
    """What `train` is told, but for what compiling asks. Raises LatteError E0918."""
    told = {name: value for name, value in options.items() if value is not None}
    for name, value in (("data", items), *((n, v) for n, v in told.items() if n == "test")):
        data(value, f"`{name}`", inputs)
    for name in WHOLE.keys() & told.keys():
        number(told[name], f"`{name}`", WHOLE[name], whole=True)
    for name in FOLDERS & told.keys():
        path(told[name], f"`{name}`", "give the path of a folder")
    if not callable(told.get("on_epoch", print)):
        _wrong("`on_epoch`", told["on_epoch"], "give a function: it is called with each epoch")


def data(value: object, what: str, inputs: Callable[[], Iterable[str]]) -> None:
    """Raises LatteError E0918 for what is neither a SPEC nor arrays by name nor a `Dataset`."""
    if isinstance(value, str) or all(hasattr(value, name) for name in DATASET):
        return
    if isinstance(value, Mapping) and value:
        return
    if isinstance(value, os.PathLike):
        _wrong(what, value, f'say what it holds: "mnist:{value}", "images:{value}", "npz:{value}"')
    fed = ", ".join(f'"{name}": ...' for name in inputs())
    plain = what.strip("`")
    _wrong(what, value, f'give {plain}="digits" or another SPEC, or arrays by name: {{{fed}}}')


def options(of: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Raises LatteError E0918 for an option that a function does not have."""
    known = sorted(known)
    for name in given:
        if name not in known:
            hint = did_you_mean(name, known) or f"its options are {', '.join(known)}"
            fail("E0918", f"`{name}` is no option of `{of}`", help=hint)


def no_option(name: str, options: Iterable[str], arguments: Iterable[str], net: str) -> None:
    """Raises LatteError E0415 for what `compile` does not know, nor the net."""
    options, arguments = list(options), list(arguments)
    if name in arguments:
        hint = f"it is an argument of `{net}`: give it to latte.load, or to latte.compile"
        fail("E0415", f"`{name}` is no option of `compile`", help=hint)
    near = [
        f"the {kind} `{found}`"
        for kind, known in (("option", options), ("argument", arguments))
        if (found := _nearest(name, known))
    ]
    told = ", ".join(arguments) or "none"
    listed = f"options are {', '.join(options)}; arguments of `{net}`: {told}"
    hint = f"did you mean {' or '.join(near)}?" if near else listed
    text = f"`{name}` is neither an option of `compile` nor an argument of `{net}`"
    fail("E0415", text, help=hint)


def _nearest(name: str, known: list[str]) -> str | None:
    """A name that is much like this one, or has it as a word: `fuse`, `no_fuse`."""
    inside = [each for each in known if name in each.split("_")]
    return closest(name, known) or next(iter(inside), None)


def _wrong(what: str, value: object, hint: str) -> NoReturn:
    fail("E0918", f"{what} cannot be {_told(value)}", help=hint)


def _told(value: object) -> str:
    """A value in a few words."""
    if value is None or isinstance(value, (str, bytes, int, float)):
        shown = repr(value)
        return shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}..."
    empty = isinstance(value, Sized) and not len(value)
    return f"{'an empty' if empty else 'of the type'} {type(value).__name__}"
