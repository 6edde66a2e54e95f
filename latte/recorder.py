"""A net written in Python: calls are recorded and printed as the `.latte` text they equal.

    with Recorder("Tiny") as net:                       net Tiny {
        x = net.input("x", (4,))                           input x[4]
        h = net.Linear(x, 8, name="h")         ->          h = Linear(x, 8)
        net.loss(net.MeanSquaredLoss(h, y))                loss MeanSquaredLoss(h, y)
                                                       }
A call without a name is written where it is used; used more than once, it gets a name of its kind
and a number, as the language itself would give it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Union


@dataclass(frozen=True, slots=True, eq=False)
class Symbol:
    """A value of the net being written: an input, a layer's output, an expression of others.

    `+ - * /` and unary minus make expressions; an attribute is a part: `lstm.cell`.
    """

    parts: tuple[str | Symbol, ...]
    kind: str = ""
    name: str | None = None

    def __add__(self, other: Operand) -> Symbol:
        return _operation(self, "+", other)

    def __radd__(self, other: Operand) -> Symbol:
        return _operation(other, "+", self)

    def __sub__(self, other: Operand) -> Symbol:
        return _operation(self, "-", other)

    def __rsub__(self, other: Operand) -> Symbol:
        return _operation(other, "-", self)

    def __mul__(self, other: Operand) -> Symbol:
        return _operation(self, "*", other)

    def __rmul__(self, other: Operand) -> Symbol:
        return _operation(other, "*", self)

    def __truediv__(self, other: Operand) -> Symbol:
        return _operation(self, "/", other)

    def __rtruediv__(self, other: Operand) -> Symbol:
        return _operation(other, "/", self)

    def __neg__(self) -> Symbol:
        return Symbol(("-", *_grouped(self)), "negative")

    def __getattr__(self, part: str) -> Symbol:
        if part.startswith("_"):
            raise AttributeError(part)
        return Symbol((self, f".{part}"), part)


Scalar = Union[int, float, bool, str]
Operand = Union[Symbol, int, float]
Value = Union[Symbol, Scalar, tuple[int, ...], list[int]]


class Recorder:
    """Records inputs, calls, losses and metrics; `text()` is the specification they make."""

    def __init__(self, name: str = "Net") -> None:
        self.name = name
        self._statements: list[tuple[str, Symbol]] = []
        self._taken: set[str] = set()
        self._train = ""

    def input(
        self,
        name: str,
        shape: tuple[int, ...] | int = (),
        classes: int | None = None,
        time: bool = False,
    ) -> Symbol:
        """`input NAME[shape]`, `: class(classes)` for integers, `@time` for a sequence."""
        sizes = (shape,) if isinstance(shape, int) else tuple(shape)
        entries = ", ".join([*(["@time"] if time else []), *map(str, sizes)])
        text = f"input {name}" + (f"[{entries}]" if entries else "")
        text += f": class({classes})" if classes is not None else ""
        symbol = self._named(name, (name,))
        self._statements.append((text, Symbol(())))
        return symbol

    def __getattr__(self, kind: str) -> Callable[..., Symbol]:
        """Any layer, or neuron of scalars, by its name: `net.Conv(image, 20, kernel=5)`."""
        if kind.startswith("_") or not kind[0].isupper():
            raise AttributeError(f"a net has no {kind!r}: layers begin with a capital letter")

        def call(*arguments: Value, name: str | None = None, **keywords: Value) -> Symbol:
            return self._call(kind, arguments, keywords, name)

        return call

    def loss(self, value: Symbol, weight: float = 1.0, name: str | None = None) -> None:
        """`loss weight * value`, or `loss name = ...`: its mean is added to what is minimised."""
        head = "loss " + (f"{name} = " if name else "")
        head += f"{weight!r} * " if weight != 1.0 else ""
        self._statements.append((head, _symbol(value)))

    def metric(self, value: Symbol, name: str | None = None) -> None:
        """`metric name = value`: its mean is reported."""
        self._statements.append(("metric " + (f"{name} = " if name else ""), _symbol(value)))

    def solver(
        self, name: str, batch: int | None = None, epochs: int | None = None, **arguments: Value
    ) -> None:
        """The `train` block: `net.solver("Adam", batch=32, rate=1e-3)`."""
        given = ", ".join(f"{key} = {_literal(value)}" for key, value in arguments.items())
        lines = [f"    solver {name}({given})"]
        lines += [f"    batch {batch}"] if batch else []
        lines += [f"    epochs {epochs}"] if epochs else []
        self._train = "\n".join(["", f"train {self.name} {{", *lines, "}", ""])

    def text(self) -> str:
        """The specification, as `latte.loads` reads it."""
        uses: dict[int, int] = {}
        for _, symbol in self._statements:
            _count(symbol, uses)
        names = self._names(uses)
        lines = [f"net {self.name} {{"]
        for head, symbol in self._statements:
            own = names.get(id(symbol))
            if head == "=" and own is None:
                continue
            body = _text(symbol, names, top=True) if head == "=" else _text(symbol, names)
            lines.append(f"    {own} = {body}" if head == "=" else f"    {head}{body}")
        return "\n".join([*lines, "}", ""]) + self._train

    def _call(
        self, kind: str, arguments: tuple[Value, ...], keywords: dict[str, Value], name: str | None
    ) -> Symbol:
        parts: list[str | Symbol] = [f"{kind}("]
        pairs: Iterator[tuple[str, Value]] = iter(
            [*(("", value) for value in arguments), *((f"{k} = ", v) for k, v in keywords.items())]
        )
        for number, (head, value) in enumerate(pairs):
            parts.append((", " if number else "") + head)
            parts.append(value if isinstance(value, Symbol) else _literal(value))
        symbol = self._named(name, (*parts, ")"), kind)
        self._statements.append(("=", symbol))
        return symbol

    def _named(self, name: str | None, parts: tuple[str | Symbol, ...], kind: str = "") -> Symbol:
        if name is not None and name in self._taken:
            raise ValueError(f"the name {name!r} is already used in net {self.name}")
        self._taken |= {name} if name is not None else set()
        return Symbol(parts, kind, name)

    def _names(self, uses: dict[int, int]) -> dict[int, str]:
        """The name of every symbol that is bound: named, or used more than once."""
        names: dict[int, str] = {}
        taken = set(self._taken)
        for head, symbol in self._statements:
            if head != "=" or (symbol.name is None and uses[id(symbol)] < 3):
                continue
            name = symbol.name or _fresh(symbol.kind.lower(), taken)
            taken.add(name)
            names[id(symbol)] = name
        return names


def _symbol(value: object) -> Symbol:
    if not isinstance(value, Symbol):
        raise TypeError(f"the value comes first, then `name=`: found {value!r} for a value")
    return value


def _count(symbol: Symbol, uses: dict[int, int]) -> None:
    """How often each symbol is written; its own statement counts as one."""
    uses[id(symbol)] = uses.get(id(symbol), 0) + 1
    if uses[id(symbol)] == 1:
        for part in symbol.parts:
            if isinstance(part, Symbol):
                _count(part, uses)


def _fresh(kind: str, taken: set[str]) -> str:
    number = 1
    while f"{kind}{number}" in taken:
        number += 1
    return f"{kind}{number}"


def _text(symbol: Symbol, names: dict[int, str], top: bool = False) -> str:
    if not top and id(symbol) in names:
        return names[id(symbol)]
    return "".join(part if isinstance(part, str) else _text(part, names) for part in symbol.parts)


def _operation(left: Operand, sign: str, right: Operand) -> Symbol:
    return Symbol((*_grouped(left), f" {sign} ", *_grouped(right)), "sum")


def _grouped(value: Operand) -> tuple[str | Symbol, ...]:
    if not isinstance(value, Symbol):
        return (_literal(value),)
    return ("(", value, ")") if value.kind in ("sum", "negative") else (value,)


def _literal(value: Value) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case tuple() | list():
            return f"({', '.join(map(str, value))})"
        case str():
            return value
        case Symbol():
            raise TypeError("a value of the net cannot be an argument of the solver")
        case _:
            return repr(value)
