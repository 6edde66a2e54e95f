"""A net as whole-tensor operations: what peers understand.

Operators have the names and meanings of ONNX (https://onnx.ai/onnx/operators), except that shapes
and axes are attributes, and that a few forms ONNX spells in several nodes have one of their own:
`Select` (one place of an axis), `Window` (sliding windows along an axis become a new last axis).

    conv1.out = Conv(image, conv1.weight, conv1.bias; strides (4, 4), pads (2, 2, 2, 2))
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from latte.compiler.expression import Axis

Element = Literal["f32", "i64", "bool"]
Attribute = int | float | str | tuple[int, ...]
Attributes = tuple[tuple[str, Attribute], ...]

ITEMS = "@n"  # the label of the batch axis: no name of the language has an @
STEPS = "@t"  # of the time axis


@dataclass(frozen=True, slots=True)
class Tensor:
    """A value of the graph with a label for each of its axes."""

    name: str
    axes: tuple[Axis, ...]
    element: Element = "f32"

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(axis.name for axis in self.axes)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(axis.size for axis in self.axes)


@dataclass(frozen=True, slots=True)
class Operation:
    """One operator: `outputs` have `shapes`; an absent input is ""."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    attributes: Attributes = ()

    def __str__(self) -> str:
        attributes = ", ".join(f"{name} {value}" for name, value in self.attributes)
        inside = ", ".join(name or "-" for name in self.inputs)
        outputs = ", ".join(self.outputs)
        return f"{outputs} = {self.kind}({inside}{'; ' * bool(attributes)}{attributes})"


@dataclass(frozen=True, slots=True)
class Graph:
    """Operations in an order in which they can run. `inputs` are fed; `weights` are parameters
    and running values; `results` name what comes out, by what a user calls it."""

    name: str
    inputs: tuple[Tensor, ...]
    weights: tuple[Tensor, ...]
    operations: tuple[Operation, ...]
    constants: dict[str, NDArray[Any]] = field(compare=False)
    results: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return "\n".join(map(str, self.operations))


@dataclass(slots=True)
class Builder:
    """Collects operations; the same one asked for twice is made once."""

    operations: list[Operation] = field(default_factory=list)
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)
    known: dict[tuple[object, ...], tuple[str, ...]] = field(default_factory=dict)
    origin: str = ""

    def emit(
        self,
        kind: str,
        inputs: tuple[Tensor | None, ...],
        axes: tuple[Axis, ...],
        element: Element = "f32",
        /,
        **attributes: Attribute,
    ) -> Tensor:
        """An operator with one result, which has these axes."""
        return self.emit_all(kind, inputs, (axes,), element, **attributes)[0]

    def emit_all(
        self,
        kind: str,
        inputs: tuple[Tensor | None, ...],
        results: tuple[tuple[Axis, ...], ...],
        element: Element = "f32",
        /,
        **attributes: Attribute,
    ) -> tuple[Tensor, ...]:
        """An operator with several results."""
        names = tuple(tensor.name if tensor else "" for tensor in inputs)
        shapes = tuple(tuple(axis.size for axis in axes) for axes in results)
        given = tuple(sorted(attributes.items()))
        key = (kind, names, shapes, given)
        if key not in self.known or kind.startswith("Random"):
            place = f"{self.origin}:{len(self.operations)}"
            outputs = tuple(f"{place}.{k}" if k else place for k in range(len(results)))
            self.operations.append(Operation(kind, names, outputs, shapes, given))
            self.known[key] = outputs
        return tuple(
            Tensor(name, axes, element) for name, axes in zip(self.known[key], results, strict=True)
        )

    def constant(self, values: NDArray[Any] | float, axes: tuple[Axis, ...] = ()) -> Tensor:
        """Numbers known now."""
        array = np.asarray(values)
        kinds: dict[str, tuple[Element, type]] = {
            "f": ("f32", np.float32), "i": ("i64", np.int64), "b": ("bool", np.bool_)
        }  # fmt: skip
        element, kind = kinds[array.dtype.kind]
        array = array.astype(kind)
        key = ("constant", element, array.shape, array.tobytes())
        if key not in self.known:
            name = f"constant.{len(self.constants)}"
            self.constants[name] = array
            self.known[key] = (name,)
        return Tensor(self.known[key][0], axes, element)

    def number(self, tensor: Tensor) -> float | None:
        """The number that a tensor without axes is known to be."""
        array = self.constants.get(tensor.name)
        return float(array) if array is not None and array.ndim == 0 else None
