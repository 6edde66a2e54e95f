"""The standard library: text in stdlib/*.latte, read only where it is needed.

In: a kind and a name.  Out: the definition's tree. A quick scan finds which lines hold which name;
a definition is parsed when somebody first asks for it.

    find(ast.Layer, "Conv")  ->  Layer(Name("Conv"), ...) from latte/stdlib/convolution.latte
"""

from __future__ import annotations

import re
from functools import cache

from latte.errors import Collector, Source
from latte.lang import ast
from latte.lang.parse import parse_with
from latte.lang.source import read_source
from latte.options import stdlib_folder

PREFIX = "latte/stdlib/"
KINDS: dict[str, type[ast.Definition]] = {
    "const": ast.Const,
    "init": ast.Init,
    "schedule": ast.Schedule,
    "neuron": ast.Neuron,
    "layer": ast.Layer,
    "net": ast.Net,
    "solver": ast.Solver,
}
HEAD = re.compile(rf"^({'|'.join(KINDS)})[ \t]+(\w+)", re.MULTILINE)
Place = tuple[Source, int, int]


def find(kind: type[ast.Node], name: str) -> ast.Definition | None:
    """The library's definition of a name, or None."""
    place = _index().get((kind, name))
    return _read(place) if place else None


def names(kind: type[ast.Node]) -> tuple[str, ...]:
    """The names of a kind that the library defines."""
    return tuple(name for known, name in _index() if known is kind)


def is_library(source: Source) -> bool:
    """Whether a source is one of the library's files."""
    return source.name.startswith(PREFIX)


@cache
def _index() -> dict[tuple[type[ast.Node], str], Place]:
    index: dict[tuple[type[ast.Node], str], Place] = {}
    folder = stdlib_folder()
    for path in sorted(folder.rglob("*.latte")):
        source = read_source(path, PREFIX + path.relative_to(folder).as_posix())
        heads = list(HEAD.finditer(source.text))
        ends = [head.start() for head in heads[1:]] + [len(source.text)]
        for head, end in zip(heads, ends, strict=True):
            index[KINDS[head[1]], head[2]] = source, head.start(), end
    return index


@cache
def _read(place: Place) -> ast.Definition:
    source, start, end = place
    found = Collector()
    parsed = parse_with(source, found, start, end)
    found.raise_errors()
    (definition,) = parsed.file.items
    assert not isinstance(definition, ast.Import | ast.Train)
    return definition
