"""Any form as a table of its distinct parts: to write it down, to read it, to compare it.

    Apply("add", (x, x))     ->     "add", "x", ["Local", 1], ["tuple", 2, 2], ["Apply", 0, 3]

In: what `compiler/` makes of dataclasses, tuples, enumerations, numbers and text.  Out: rows, each
a leaf or a kind with the numbers of earlier rows. Equal parts share a row whether or not they were
one object, so that equal forms have equal rows, and time and space are those of the distinct parts
however deep the form is. What takes no part in comparisons (a `Span`) is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from operator import attrgetter
from typing import Any, Union

from latte.compiler import affine, expression, ir, net

Leaf = Union[str, int, float, bool, None]
Row = Union[Leaf, list[Any]]

LEAVES: frozenset[type] = frozenset({str, int, float, bool, type(None)})
KINDS: dict[str, Callable[..., object]] = {
    f"{kind.__module__}.{kind.__name__}".removeprefix("latte.compiler."): kind
    for module in (net, affine, expression, ir)
    for kind in vars(module).values()
    if isinstance(kind, type) and (is_dataclass(kind) or issubclass(kind, Enum))
}
NAMES: dict[object, str] = {tuple: "tuple", **{kind: name for name, kind in KINDS.items()}}


class Table:
    """The rows of forms that share what they have in common."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self._leaves: dict[type, dict[object, int]] = {kind: {} for kind in LEAVES}
        self._numbers: dict[object, int] = {}
        self._seen: dict[int, tuple[object, int]] = {}  # the object stays alive with its id

    def number(self, form: Any) -> int:
        """The row of a form; adds what of it is new."""
        kind = type(form)
        leaves = self._leaves.get(kind)
        if leaves is not None:
            return self._added(leaves, repr(form) if kind is float else form, form)
        known = self._seen.get(id(form))
        if known is not None:
            return known[1]
        parts = [NAMES[kind], *map(self.number, self.parts(form))]
        number = self._added(self._numbers, tuple(parts), parts)
        self._seen[id(form)] = form, number
        return number

    def parts(self, form: Any) -> Iterable[Any]:
        """What a form is made of, in order."""
        if type(form) is tuple:
            return form
        return (form.value,) if isinstance(form, Enum) else _fields(NAMES[type(form)])(form)

    def _added(self, known: dict[Any, int], key: object, row: Row) -> int:
        number = known.get(key)
        if number is None:
            number = known[key] = len(self.rows)
            self.rows.append(row)
        return number


def forms(rows: list[Row]) -> list[Any]:
    """The form of each row; equal parts are one object."""
    made: list[Any] = []
    for row in rows:
        if type(row) is not list:
            made.append(row)
            continue
        kind, *numbers = row
        parts = [made[number] for number in numbers]
        made.append(tuple(parts) if kind == "tuple" else KINDS[kind](*parts))
    return made


@cache
def _fields(kind: str) -> Callable[[Any], tuple[Any, ...]]:
    """All compared fields of a dataclass at once. Those left out must come last."""
    names = [field.name for field in fields(KINDS[kind]) if field.compare]  # type: ignore[arg-type]
    if len(names) > 1:
        return attrgetter(*names)
    return lambda form: tuple(getattr(form, name) for name in names)
