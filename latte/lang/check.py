"""What can be said about a specification before sizes are known.

In: `Definitions`.  Out: in the collector everything that is wrong with its names, calls and
statements. The user's files are checked; the library's text is trusted (a test checks it).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import assert_never

from latte.errors import Collector, Note, Span
from latte.lang import ast
from latte.lang.check_body import Body, check_body
from latte.lang.check_code import check_neuron, check_scalar, check_solver
from latte.lang.check_train import check_train
from latte.lang.parse import NAMELESS
from latte.lang.resolve import Definitions
from latte.lang.room import Room
from latte.lang.walk import walk

Named = ast.Const | ast.Init | ast.Schedule | ast.Neuron


def check(definitions: Definitions, found: Collector) -> None:
    """Tell everything that is wrong with the names of all files read."""
    lost = frozenset[str]().union(*(unit.lost for unit in definitions.units.values()))
    for unit in definitions.units.values():
        room = Room(definitions, found, unit.file.source, lost)
        circles: set[Named] = set()
        for item in unit.file.items:
            check_item(replace(room, said=set(), lost=lost | _lost_with_head(room, item)), item)
            if isinstance(item, Named) and item not in circles:
                circles |= _check_circle(room, item)
        _check_trains(room, unit.file)


def _lost_with_head(room: Room, item: ast.FileItem) -> set[str]:
    """All words of an item that may have names or arguments which could not be read."""
    text = item.span.text
    head = Span(item.span.source, item.span.start, item.span.start + len(re.split("[={]", text)[0]))
    nameless = NAMELESS in room.lost and room.is_broken_at(item.span)
    unread = isinstance(item, ast.Definition) and item.name.text == "_"
    if nameless or unread or room.is_broken_at(head):
        return set(re.findall(r"\w+", text))
    return set()


def check_item(room: Room, item: ast.FileItem) -> None:
    """Tell what is wrong with one item of a file."""
    match item:
        case ast.Import():
            pass
        case ast.Const():
            nothing = ast.Net(item.name, (), (), span=item.span)
            Body(room, nothing, frozenset(), frozenset()).size(item.value)
        case ast.Init() | ast.Schedule():
            check_scalar(room, item)
        case ast.Neuron():
            _check_formals(room, item)
            check_neuron(room, item)
        case ast.Layer() | ast.Net():
            check_body(room, item)
        case ast.Solver():
            check_solver(room, item)
        case ast.Train():
            check_train(room, item)
        case _:
            assert_never(item)


def _check_formals(room: Room, neuron: ast.Neuron) -> None:
    first: dict[str, Span] = {}
    for formal in neuron.formals:
        name = formal.name
        if first.setdefault(name.text, name.span) is not name.span:
            notes = (Note("first here", first[name.text]),)
            message = f"argument `{name.text}` stands twice"
            room.tell("E0204", message, name.span, "rename one", notes)
        if formal.variadic or formal.each:
            message = "a neuron's arguments are values and windows"
            help = f"any number of inputs is a window: `{name.text}[i...]`"
            room.tell("E0405", message, formal.span, help)


def _check_trains(room: Room, file: ast.File) -> None:
    first: dict[str, Span] = {}
    for item in file.items:
        if isinstance(item, ast.Train):
            name = item.net
            if first.setdefault(name.text, name.span) is not name.span:
                notes = (Note("first here", first[name.text]),)
                message = f"`{name.text}` has two `train` blocks"
                room.tell("E0201", message, name.span, "keep one", notes)


def _check_circle(room: Room, item: Named) -> set[Named]:
    """A definition must not be made of itself; the definitions of the circle, if it is."""
    seen: set[Named] = set()
    waiting = list(_uses(room, item))
    while waiting:
        used = waiting.pop()
        if used is item:
            word = type(item).__name__.lower()
            message = f"{word} `{item.name.text}` is defined by itself"
            code = "E0707" if isinstance(item, ast.Neuron) else "E0208"
            room.tell(code, message, item.name.span, "break the circle")
            return seen
        if used not in seen:
            seen.add(used)
            waiting += _uses(room, used)
    return set()


def _uses(room: Room, item: Named) -> Iterator[Named]:
    """The definitions of the same kind that a definition's body names."""
    kind = type(item)
    for node in walk(item.body if isinstance(item, ast.Neuron) else item.value):
        name = node if isinstance(item, ast.Const) else getattr(node, "function", None)
        if isinstance(name, ast.Name):
            used = room.definitions.find(kind, name.text, item.span.source)
            if used is not None:
                yield used
