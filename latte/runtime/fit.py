"""Which field of a dataset feeds which input of a net.

In: a dataset's fields and a net's inputs.  Out: a `Fitted`, or errors that name both sides.

    fields image uint8[28, 28], label uint8[]   inputs picture[1, 28, 28], digit: class(10)
    ->  picture <- image / 255, digit <- label

Equal names go together; what is left is paired by kind (numbers, classes) in the order in which
it is declared.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from latte.compiler.net import Input
from latte.errors import Collector, fail
from latte.runtime.data import Dataset, Field, Fitted, Pair, item_shape


def fit(data: Dataset, inputs: Sequence[Input], name: str) -> Fitted:
    """Pair every input with a field. `name` is what the data is called in errors.

    Raises E0853 (shapes differ), E0854 (an input without data, or several that could be meant),
    E0856 (no item).
    """
    if not len(data):
        fail("E0856", f"`{name}` has no item")
    pairs = _by_name(data.fields, inputs)
    for real in (False, True):
        pairs += _by_kind(data.fields, inputs, pairs, real, name)
    pairs.sort(key=lambda pair: [wanted.name for wanted in inputs].index(pair.input.name))
    _check_shapes(pairs, name)
    timed = any(wanted.time for wanted in inputs)
    return Fitted(data, tuple(pairs), timed and any(f.name == "lengths" for f in data.fields))


def _by_name(fields: Sequence[Field], inputs: Sequence[Input]) -> list[Pair]:
    return [
        Pair(wanted, field) for wanted in inputs for field in fields if wanted.name == field.name
    ]


def _by_kind(
    fields: Sequence[Field], inputs: Sequence[Input], pairs: list[Pair], real: bool, name: str
) -> list[Pair]:
    """Pairs for the inputs of a kind that no name has paired."""
    taken = {pair.field.name for pair in pairs} | {"lengths"}
    fed = {pair.input.name for pair in pairs}
    open_inputs = [w for w in inputs if w.name not in fed and (w.classes is None) == real]
    suits = [field for field in fields if field.name not in taken and _suits(field, real)]
    if len(suits) > len(open_inputs):  # more to choose from: let the shapes decide
        near = [f for f in suits if any(_same(f, wanted) for wanted in open_inputs)]
        suits = near if len(near) == len(open_inputs) else suits
    if open_inputs and len(suits) != len(open_inputs):
        _no_choice(fields, open_inputs, suits, name)
    return [Pair(wanted, field) for wanted, field in zip(open_inputs, suits, strict=False)]


def _suits(field: Field, real: bool) -> bool:
    """Could the field be numbers, or classes? Classes are whole numbers, at most one a step."""
    return real or (np.issubdtype(field.dtype, np.integer) and len(field.shape) <= 1)


def _no_choice(
    fields: Sequence[Field], inputs: Sequence[Input], suits: Sequence[Field], name: str
) -> None:
    wanted = " and ".join(f"`{w.name}`" for w in inputs)
    several = len(suits) > len(inputs)
    what = "several arrays could be" if several else "there is nothing for"
    has = ", ".join(f"`{field.name}` {shape_text(field.shape)}" for field in fields)
    fail(
        "E0854",
        f"in `{name}` {what} the input {wanted}",
        help=f"name an array like the input; the data has {has}",
    )


def _check_shapes(pairs: Sequence[Pair], name: str) -> None:
    problems = Collector()
    for pair in pairs:
        if not _same(pair.field, pair.input):
            wants = shape_text(item_shape(pair.input), "time, " if pair.input.time else "")
            problems.error(
                "E0853",
                f"the input `{pair.input.name}` has shape {wants}, "
                f"but `{pair.field.name}` of `{name}` has {shape_text(pair.field.shape)}",
                pair.input.span,
                help="change the input's sizes, or the data",
            )
    problems.raise_errors()


def _same(field: Field, wanted: Input) -> bool:
    """Equal shapes, up to axes of size 1; or as many values and one of the two is flat."""
    if wanted.time and not field.shape:
        return False
    has = field.shape[1:] if wanted.time else field.shape
    wants = item_shape(wanted)
    if _core(has) == _core(wants):
        return True
    flat = len(_core(has)) <= 1 or len(_core(wants)) <= 1
    return flat and math.prod(has) == math.prod(wants)


def _core(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


def shape_text(shape: tuple[int, ...], before: str = "") -> str:
    """`[1, 28, 28]`; `[]` for a single number."""
    return f"[{before}{', '.join(map(str, shape))}]"
