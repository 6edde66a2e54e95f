"""What names mean: the definitions of a file, of its imports, and of the library.

In: a path or a text.  Out: `Definitions`, which find a name as a given file sees it: first its own
definitions, then those of its imports, then those made from Python, then the library's. So a
library layer keeps the library's `Affine` when the user's file defines another.

    definitions = load("lenet.latte")
    definitions.find(ast.Layer, "Conv", near=definitions.file.source)
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar, cast

from latte.errors import Collector, LatteError, Note, Source, Span
from latte.lang import ast, library
from latte.lang.parse import Parsed, parse_with
from latte.lang.source import read_source, source_of

Definition = TypeVar("Definition", bound=ast.Definition)
Key = tuple[type[ast.Node], str]


@dataclass(slots=True)
class Unit:
    """A file: its tree, its definitions by kind and name, and the names of the files it imports."""

    file: ast.File
    lost: frozenset[str]  # words of statements that could not be read: nothing is said about them
    own: dict[Key, ast.Definition] = field(default_factory=dict)
    imports: list[str] = field(default_factory=list)


class Definitions:
    """All files of one specification. Names are looked up as the file `near` sees them."""

    def __init__(self, main: str, units: dict[str, Unit], extra: tuple[str, ...]) -> None:
        self.units = units
        self.main = main
        self.extra = extra

    @property
    def file(self) -> ast.File:
        """The user's file."""
        return self.units[self.main].file

    @property
    def nets(self) -> tuple[ast.Net, ...]:
        """The nets of the user's file."""
        return tuple(item for item in self.file.items if isinstance(item, ast.Net))

    @property
    def trains(self) -> tuple[ast.Train, ...]:
        """The train blocks of the user's file."""
        return tuple(item for item in self.file.items if isinstance(item, ast.Train))

    def find(self, kind: type[Definition], name: str, near: Source) -> Definition | None:
        """The definition of a name as a file sees it, or None."""
        for unit in self._seen_from(near):
            if found := unit.own.get((kind, name)):
                assert isinstance(found, kind)
                return found
        return cast("Definition | None", library.find(kind, name))

    def names(self, kind: type[Definition], near: Source) -> tuple[str, ...]:
        """All names of a kind that a file sees."""
        own = [n for unit in self._seen_from(near) for k, n in unit.own if k is kind]
        return tuple(dict.fromkeys([*own, *library.names(kind)]))

    def is_library(self, source: Source) -> bool:
        """Whether a file belongs to the standard library."""
        return library.is_library(source)

    def _seen_from(self, near: Source) -> Iterator[Unit]:
        """The units that a file sees, the nearest first."""
        waiting, seen = [near.name], set()
        while waiting:
            name = waiting.pop(0)
            if name not in self.units or name in seen:
                continue
            seen.add(name)
            yield self.units[name]
            waiting += self.units[name].imports
        if near.name in self.units:
            yield from (self.units[name] for name in self.extra if name not in seen)


def load_file(
    path: str | Path, extra: tuple[Source, ...] = (), found: Collector | None = None
) -> Definitions:
    """Read and check a file and its imports; `extra` are texts that the file sees besides.

    Raises LatteError with all problems found. Where `found` is given, wrong names are only
    collected there, so that sizes can be looked at in the same run.
    """
    source = read_source(path)
    return _load(source, Path(path).resolve(), extra, found)


def load_text(
    text: str,
    name: str = "<text>",
    folder: str | Path | None = None,
    extra: tuple[Source, ...] = (),
    found: Collector | None = None,
) -> Definitions:
    """The same for a text; `folder` is where its imports are looked for."""
    place = Path(folder).resolve() / name if folder else None
    return _load(source_of(text, name), place, extra, found)


def _load(
    source: Source, place: Path | None, extra: tuple[Source, ...], kept: Collector | None
) -> Definitions:
    found = Collector() if kept is None else kept
    folder = place.parent if place else None
    loader = _Loader(found, folder)
    if place:
        loader.places[place] = source.name
    loader.read(source, folder)
    for text in extra:
        loader.read(text, None)
    names = tuple(text.name for text in extra)
    from latte.lang.check import check  # it needs the class above

    definitions = Definitions(source.name, loader.units, names)
    unreadable = found.failed
    check(definitions, found)
    if unreadable or kept is None:
        found.raise_errors()
    return definitions


class _Loader:
    """Reads a file and what it imports, each once."""

    def __init__(self, found: Collector, root: Path | None) -> None:
        self.found = found
        self.root = root
        self.units: dict[str, Unit] = {}
        self.places: dict[Path, str] = {}
        self.reading: list[str] = []

    def read(self, source: Source, folder: Path | None) -> None:
        """Parse a source, note its definitions, and read what it imports."""
        parsed = self._parse(source)
        unit = self.units[source.name] = Unit(parsed.file, parsed.lost)
        self.reading.append(source.name)
        for item in parsed.file.items:
            if isinstance(item, ast.Import):
                self._import(item, unit, folder)
            elif not isinstance(item, ast.Train):
                self._define(item, unit)
        self.reading.pop()

    def _parse(self, source: Source) -> Parsed:
        parsed = parse_with(source, self.found)
        if not parsed.file.items and not parsed.lost and not self.found.failed:
            help = "begin with `net Name { ... }`"
            self.found.error("E0202", "this file defines nothing", Span(source, 0, 0), help=help)
        return parsed

    def _define(self, item: ast.Definition, unit: Unit) -> None:
        kind, name = type(item), item.name
        first = unit.own.setdefault((kind, name.text), item)
        if first is not item and name.text != "_":
            word = kind.__name__.lower()
            notes = (Note("first defined here", first.name.span),)
            message = f"{word} `{name.text}` is defined twice"
            self.found.error("E0201", message, name.span, help="rename one", notes=notes)

    def _import(self, item: ast.Import, unit: Unit, folder: Path | None) -> None:
        """Read an imported file, unless it lies outside the project or imports this one."""
        place = self._locate(item.path, folder)
        if place is None:
            return
        name = self.places.get(place)
        if name is None:
            name = os.path.normpath(
                os.path.join(os.path.dirname(unit.file.source.name), item.path.value)
            )
            self.places[place] = name
            try:
                self.read(read_source(place, name), place.parent)
            except LatteError as error:
                self._unreadable(item.path, error)
                return
        elif name in self.reading:
            message = f"`{item.path.value}` imports itself, directly or by others"
            help = "move what both need into a third file"
            self.found.error("E0007", message, item.path.span, help=help)
            return
        unit.imports.append(name)

    def _unreadable(self, path: ast.String, error: LatteError) -> None:
        for problem in error.diagnostics:
            if problem.code == "E0001":
                message = problem.message.replace("cannot read", "cannot import")
                help = "imports are looked for beside the file that imports"
                self.found.error("E0006", message, path.span, help=help)
            else:
                self.found.add(problem)

    def _locate(self, path: ast.String, folder: Path | None) -> Path | None:
        """The file that is meant; None, and told, when it lies outside the project's folder."""
        help = "an import names a file in the folder of the specification, or below it"
        if folder is None or self.root is None:
            message = f"`{path.value}` cannot be imported by a text that is not in a file"
            self.found.error("E0005", message, path.span, help=help)
            return None
        if not path.value or "\0" in path.value or "\\" in path.value:
            self.found.error("E0006", f"`{path.value}` is no file name", path.span, help=help)
            return None
        place = Path(os.path.realpath(folder / path.value))
        if os.path.isabs(path.value) or not place.is_relative_to(os.path.realpath(self.root)):
            message = f"`{path.value}` lies outside the project's folder"
            self.found.error("E0005", message, path.span, help=help)
            return None
        return place
