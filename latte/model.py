"""`latte.Net`: a net from a file, from text or written in Python, before it is compiled.

    net = latte.load("lenet.latte")                     with latte.Net("LeNet") as net:
    net.summary()                                           image = net.input("image", (1, 28, 28))
    exe = net.compile(batch=64)                             ...

Loading parses and resolves names; sizes are worked out when first asked for; LLVM is not touched
before `compile`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Never, Self

from latte import build, given
from latte.errors import LatteError, Source
from latte.lang.source import read_source, source_of
from latte.recorder import Recorder, Scalar
from latte.remember import Origin

if TYPE_CHECKING:
    from latte.compiler import net as forms
    from latte.lang.resolve import Definitions
    from latte.runtime.executable import Executable
    from latte.runtime.train import History
    from latte.summary import Summary


class Net(Recorder):
    """One net and the values of its arguments.

    Made by `latte.load`, `latte.loads`, or as `Net(name)` and filled with calls. `str(net)` is its
    `.latte` text.
    """

    def __init__(self, name: str = "Net") -> None:
        super().__init__(name)
        self._definitions: Definitions | None = None
        self._chosen: str | None = name
        self._arguments: Mapping[str, Scalar] = {}
        self._known: tuple[str, forms.Net] | None = None  # a text, and the Net that it gave
        self._source: Source | None = None  # of a net that was read
        self._seen = tuple(_defined)

    @classmethod
    def of(
        cls,
        source: Source,
        net: str | None,
        arguments: Mapping[str, Scalar],
        read: Callable[[tuple[Source, ...]], Definitions],
    ) -> Self:
        """A net of a text: `net` names one of several, `read` finds what the text means unless
        that is known to succeed. Raises LatteError."""
        made = cls(net or "Net")
        made._source, made._chosen, made._arguments = source, net, arguments
        if made._origin.was_read():
            return made
        definitions = made._definitions = read(made._seen)
        if net is not None or len(definitions.nets) > 1:
            build.chosen(definitions, net)
        if len(definitions.units) == 1 + len(made._seen):
            made._origin.note_read()
        else:
            made._seen = tuple(unit.file.source for unit in definitions.units.values())
        return made

    @property
    def _origin(self) -> Origin:
        source = self._source or source_of(self.text(), f"{self.name}.latte")
        return Origin(source, self._seen, self._chosen, self._arguments)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.elaborated  # noqa: B018 (mistakes are told where the net ends)

    @property
    def definitions(self) -> Definitions:
        """What the net's text defines, with its imports and the library."""
        if self._definitions is not None:
            return self._definitions
        origin = self._origin
        definitions = build.read_text(origin.source.text, origin.source.name, origin.extra)
        if self._source is not None:
            self._definitions = definitions
        return definitions

    @property
    def elaborated(self) -> forms.Net:
        """The compiler's form: every size a number. Raises LatteError for mistakes in the text."""
        text = self.text()
        if self._known is None or self._known[0] != text:
            net = build.elaborate(self.definitions, self._chosen, self._arguments)
            self._known = text, net
        return self._known[1]

    @property
    def training(self) -> forms.Training:
        """The train block, or its defaults: solver, batch, epochs."""
        return self.elaborated.training

    def summary(self, batch: int | None = None) -> Summary:
        """Layers, shapes, parameters, work, and the memory a training step will take with `batch`
        items; printed as a table, HTML in a notebook."""
        from latte.summary import summarize

        size = self.training.batch if batch is None else batch
        timed = any(entry.time for entry in self.elaborated.inputs)  # how long is not known yet
        peak = None if timed else build.peak_memory(self.elaborated, batch=size)
        return summarize(self.elaborated, peak)

    def compile(
        self,
        batch: int | None = None,
        *,
        target: str = "cpu",
        threads: int | None = None,
        mode: str = "train",
        time: int | None = None,
        keep: Iterable[str] = (),
        seed: int = 0,
        winograd: bool = True,
        no_fuse: Iterable[str] = (),
        tune: float = 0.0,
        target_cpu: str | None = None,
        **unknown: Never,
    ) -> Executable:
        """An executable for up to `batch` items (default: the train block's).

        `mode="infer"` keeps nothing for a backward pass; `time` is the longest sequence of a net
        with a time axis; `keep` names values to keep readable; `winograd=False` computes every
        contraction with its own multiplications; `no_fuse` names kinds of fusion to leave out
        ("epilogue", "maps", "pool", "update", "tiles"). `tune` searches for faster
        code for so many seconds, and remembers it. `target_cpu` limits vectors and
        instructions to those of a level: "x86-64", "x86-64-v3" (AVX2), "x86-64-v4" (AVX-512).
        Raises LatteError.
        """
        self._refuse(unknown)
        kept, whole = given.names(keep, "`keep`"), given.names(no_fuse, "`no_fuse`")
        given.number(tune, "`tune`")
        wanted = build.Wanted(batch, time, target, mode, kept, winograd, whole, target_cpu)
        made = self._origin.made(wanted, lambda: build.make(self.elaborated, wanted))
        exe = build.executable(made, wanted, text=self.text(), threads=threads, seed=seed)
        if tune:
            from latte.runtime import tune_bar

            tune_bar.tune(exe, tune)
        return exe

    def _refuse(self, names: Iterable[str]) -> None:
        """Raises LatteError E0415 for the first name that is no option of `compile`."""
        for name in names:
            chosen = build.chosen(self.definitions, self._chosen)
            given.no_option(name, OPTIONS, self._parameters(), chosen)

    def _parameters(self) -> tuple[str, ...]:
        """What keywords of `latte.load` may set."""
        return build.arguments(self.definitions, self._chosen)

    def text(self) -> str:
        """The `.latte` text of the net: as it was read, or as its calls equal."""
        return super().text() if self._source is None else self._source.text

    __str__ = text

    def __repr__(self) -> str:
        return f"<latte.Net {self._chosen or ''}>".replace(" >", ">")

    def _repr_html_(self) -> str:
        return self.summary().html()


def load(path: str | Path, net: str | None = None, **arguments: Scalar) -> Net:
    """A net from a `.latte` file; `net` names one of several, keywords set its arguments.

    Raises LatteError with every mistake found in the file.
    """
    if isinstance(path, Net):
        given.loaded("`path`", "net")
    source = read_source(given.file(path, "`path`"))
    if net is not None:
        given.text(net, "`net`")
    return Net.of(source, net, arguments, lambda extra: build.read_file(path, extra))


def loads(text: str, net: str | None = None, **arguments: Scalar) -> Net:
    """A net from text."""
    source = source_of(given.text(text, "`text`"))
    return Net.of(source, net, arguments, lambda extra: build.read_text(text, "<text>", extra))


def compile(path: str | Path, net: str | None = None, **options: object) -> Executable:
    """`latte.load(path, net).compile(...)`: options of `Net.compile`, and the net's arguments."""
    chosen = {name: value for name, value in options.items() if name in OPTIONS}
    rest: dict[str, Scalar] = {n: v for n, v in options.items() if n not in OPTIONS}  # type: ignore[misc]
    loaded = load(path, net, **rest)
    try:
        return loaded.compile(**chosen)  # type: ignore[arg-type]
    except LatteError as error:
        if any(found.code == "E0415" for found in error.diagnostics):
            loaded._refuse(name for name in rest if name not in loaded._parameters())
        raise


def define(text: str) -> None:
    """Neurons, layers, solvers that every net read or written afterwards sees.

    `latte.define("neuron Swish(x) = x * sigmoid(x)")`. Raises LatteError for mistakes in it.
    """
    name = f"<define {len(_defined) + 1}>"
    build.read_text(given.text(text, "`text`"), name, tuple(_defined))
    _defined.append(source_of(text, name))


def train(net: Net | str | Path, data: Any = None, **options: Any) -> History:
    """Trains a net on data: `latte.train(net, data="mnist:DIR", epochs=4)`.

    Options are those of `latte.runtime.train.train`. Returns loss, metrics and seconds of each
    epoch. Raises LatteError.
    """
    from latte.runtime.train import train as run

    given.options("train", options, run.__kwdefaults__ or ())
    loaded = net if isinstance(net, Net) else load(given.file(net, "`net`"))
    given.training(data, options, lambda: [each.name for each in loaded.elaborated.inputs])
    return run(loaded, data, **options)


OPTIONS = ("batch", *(Net.compile.__kwdefaults__ or ()))  # of `compile`: what is none is the net's
_defined: list[Source] = []  # what `define` was given: the one thing this process remembers
