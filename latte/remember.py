"""What was made before is read back: a text that had no mistakes, and the Programs of its nets.

In: a text, what it sees besides, which net and how it is to be compiled.  Out: `build.Made`, from
the cache if this package made it for this machine before. Then nothing is parsed, elaborated,
differentiated or scheduled, and most of the compiler is not even imported.

A text that imports others is read each time, since they may have changed, and is known by them all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from latte.build import Made, Scalar, Wanted
from latte.compiler.collector import paused
from latte.errors import Source, Span
from latte.options import options
from latte.runtime.cache import Cache, key, package_version

if TYPE_CHECKING:
    from latte.compiler.net import Net

Spans = list[tuple[int, int] | None]


@dataclass(frozen=True)
class Origin:
    """What a net is made of. `extra` are texts that it sees besides; `net` is one of several."""

    source: Source
    extra: tuple[Source, ...]
    net: str | None
    arguments: Mapping[str, Scalar]

    def was_read(self) -> bool:
        """Whether reading this text succeeded before, and it imports nothing."""
        return self._cache.load(self._key("read")) is not None

    def note_read(self) -> None:
        """From now on `was_read`."""
        self._cache.store(self._key("read"), b"")

    def made(self, wanted: Wanted, make: Callable[[], Made]) -> Made:
        """What `make` gives."""
        with paused():
            return self._made(wanted, make)

    def _made(self, wanted: Wanted, make: Callable[[], Made]) -> Made:
        from latte.compiler.machine import host

        machine = replace(host(), flags=frozenset())  # a set has no fixed order
        name = self._key("made", repr(machine), repr(wanted))
        stored = self._cache.load(name)
        if stored is not None:
            return replace(_read(stored, self.source), name=name)
        made = replace(make(), name=name)
        if options().cache and (data := _written(made, self.source)) is not None:
            self._cache.store(name, data)
        return made

    @cached_property
    def _cache(self) -> Cache:
        return Cache(options().cache)

    def _key(self, *parts: str) -> str:
        texts = [(source.name, source.text) for source in (self.source, *self.extra)]
        given = repr((texts, self.net, sorted(self.arguments.items())))
        return key(package_version(), given, *parts)


def _written(made: Made, source: Source) -> bytes | None:
    """As bytes; None where an input was declared in another text."""
    from latte.compiler.structure import Table

    spans = [entry.span for entry in made.net.inputs]
    if any(span is not None and span.source != source for span in spans):
        return None
    table = Table()
    table.number((made.net, made.program, made.optimized, tuple(sorted(made.keep))))
    places: Spans = [None if span is None else (span.start, span.end) for span in spans]
    return json.dumps([places, table.rows], separators=(",", ":")).encode()


def _read(stored: bytes, source: Source) -> Made:
    from latte.compiler.structure import forms

    places, rows = json.loads(stored)
    net, program, optimized, keep = forms(rows)[-1]
    return Made(_placed(net, places, source), program, optimized, frozenset(keep))


def _placed(net: Net, places: Spans, source: Source) -> Net:
    """The net with its inputs' places in the text: what mistakes in data are told with."""
    spans = [None if place is None else Span(source, *place) for place in places]
    inputs: tuple[Any, ...] = tuple(
        replace(entry, span=span) for entry, span in zip(net.inputs, spans, strict=True)
    )
    return replace(net, inputs=inputs)
