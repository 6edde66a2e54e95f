"""Loads and stores of elements: splat, contiguous, gathered or masked, as the lane asks.

In: a buffer, a logical index, a scope.  Out: the address in elements, and the access.

    x[n, c, y]   lane y, stored row-major    ->  load b0[n*.. + c*.. + y] : f32x16
    table[w[n], d]   lane d                  ->  check 0 <= w < size; load b1[w*D + d] : f32x16
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from latte.compiler.affine import Affine
from latte.compiler.expression import Expression, Index, Load
from latte.compiler.ir import Dim, Write
from latte.compiler.lower_access import (
    Storage,
    inside,
    lane_break,
    lane_stride,
    split_lane,
    value_entries,
)
from latte.compiler.lower_cost import STRIDES
from latte.compiler.lower_scope import Scope, Value
from latte.compiler.values import Integer, Term
from latte.compiler.vector import BYTES, F32, FIRST_SCALAR, I32, U8, Kind, Type, fault_slot

Evaluate = Callable[[Scope, Expression], Value]

LINE = 64  # bytes that every buffer is aligned to
WIDE = 1 << 31  # elements from which lane numbers need 64 bits

TYPES: dict[str, Type] = {"f32": F32, "i32": I32, "u8": U8}


@dataclass(frozen=True, slots=True)
class Place:
    """Where an access goes: `index` is an integer (contiguous or the same for all lanes) or a
    vector of them; `lanes` is how many elements; `valid` where a value-dependent index is inside
    its axis. From lane `stop` on, where that is given, the lanes go to `second` + lane. A `stride`
    above 1 says how far apart the lanes lie (loads only)."""

    index: Integer
    lanes: int
    alignment: int
    varies: bool
    valid: Term | None = None
    stop: int = 0
    second: Integer = 0
    stride: int = 1


def load(scope: Scope, node: Load, evaluate: Evaluate) -> Value:
    """The element in every lane, or a scalar where all lanes have the same. Bytes count as i32."""
    stored, place = scope.storage(node.buffer), _place(scope, node.buffer, node.index, evaluate)
    safe = inside(stored.buffer, node.index, scope.ranges) and place.valid is None
    return _loaded(scope, stored, place, _needed(scope, place, safe))


def load_where(scope: Scope, node: Load, condition: Term, evaluate: Evaluate) -> Value | None:
    """The element where a condition holds, else 0, by a mask alone; None where that cannot be."""
    if value_entries(node.index):
        return None
    stored, place = scope.storage(node.buffer), _place(scope, node.buffer, node.index, evaluate)
    if place.lanes == 1 or condition.type.lanes not in (1, place.lanes):
        return None
    if place.stride > 1 or place.stop or _scattered(place):
        return None
    mask = scope.both(scope.mask if scope.mask is not None else scope.tail, condition)
    if mask is not None and mask.type.lanes < place.lanes:
        mask = scope.b.splat(mask, place.lanes)
    return _loaded(scope, stored, place, mask)


def _scattered(place: Place) -> bool:
    return isinstance(place.index, Term) and place.index.type.lanes > 1


def _needed(scope: Scope, place: Place, safe: bool) -> Term | None:
    """The mask with which lanes must be loaded that may lie outside."""
    mask = scope.tail if safe and place.varies else None if safe else scope.mask
    if mask is not None and mask.type.lanes > place.lanes:
        return scope.b.reduce("any", mask)
    if mask is not None and mask.type.lanes < place.lanes:
        return scope.b.splat(mask, place.lanes)
    return mask


def _loaded(scope: Scope, stored: Storage, place: Place, mask: Term | None) -> Value:
    value = _load(scope, scope.pointer(stored.buffer.name), place, stored.buffer.element, mask)
    return scope.b.convert(value, "i32") if value.type.kind == "u8" else value


def _load(scope: Scope, pointer: Term, place: Place, element: Kind, mask: Term | None) -> Term:
    if place.stride > 1:
        return _strided_load(scope, pointer, place, element, mask)
    parts = [
        scope.b.load(pointer, index, place.lanes, element, place.alignment, part)
        for index, part in _parts(scope, place, mask)
    ]
    if len(parts) == 1:
        return parts[0]
    return scope.b.select(_before(scope, place), *parts)


def _strided_load(
    scope: Scope, pointer: Term, place: Place, element: Kind, mask: Term | None
) -> Term:
    """Contiguous loads of all elements between, of which a shuffle takes every `stride`th; only
    those of lanes that count are touched."""
    b, lanes, stride = scope.b, place.lanes, place.stride
    vectors = []
    for part in range(stride):
        elements = [part * lanes + lane for lane in range(lanes)]
        wanted = [e % stride == 0 for e in elements]
        used = b.constant(wanted, "i1")
        if mask is not None:
            used = used & b.shuffle(mask, None, [e // stride for e in elements])
        vectors.append(b.load(pointer, place.index + part * lanes, lanes, element, mask=used))
    total, have = vectors[0], lanes
    for part, vector in enumerate(vectors[1:], 1):
        have = (part * lanes + stride - 1) // stride  # lanes of the result that come before
        first = [lane * stride if part == 1 else lane for lane in range(have)]
        taken = [lanes + lane * stride - part * lanes for lane in range(have, lanes)]
        total = b.shuffle(total, vector, [*first, *(t if t < 2 * lanes else -1 for t in taken)])
    return total


def _parts(
    scope: Scope, place: Place, mask: Term | None
) -> tuple[tuple[Integer, Term | None], ...]:
    """The addresses of an access with their masks: one, or two where the place breaks."""
    if not place.stop:
        return ((place.index, mask),)
    before = _before(scope, place)
    after = scope.b.binary("xor", before, 1)
    return (place.index, scope.both(before, mask)), (place.second, scope.both(after, mask))


def _before(scope: Scope, place: Place) -> Term:
    return scope.b.lane_numbers(place.lanes, "i32") < place.stop


def store(scope: Scope, write: Write, value: Value, evaluate: Evaluate) -> None:
    """Stores, or adds to, the element of every lane that counts and whose index is inside."""
    b, stored = scope.b, scope.storage(write.buffer)
    place = _place(scope, write.buffer, write.index, evaluate, clamp=False)
    pointer, element = scope.pointer(write.buffer), stored.buffer.element
    mask = scope.both(scope.mask, place.valid)
    if mask is not None and mask.type.lanes < place.lanes:
        mask = b.splat(mask, place.lanes)
    term = element_value(scope, value, element, place.lanes)
    if write.add:
        term = _load(scope, pointer, place, element, mask) + term
    for index, part in _parts(scope, place, mask):
        b.store(term, pointer, index, alignment=place.alignment, mask=part)


def element_value(scope: Scope, value: Value, element: str, lanes: int) -> Term:
    """A value as it is stored: bytes and integers cut off, truth values 0 or 1."""
    b, type_ = scope.b, TYPES[element]
    if not isinstance(value, Term):
        return b.splat(value, lanes, type_.kind)
    if value.type.kind == "f32" and element == "u8":
        value = b.convert(value, "i32")
    value = b.convert(value, type_.kind)
    return b.splat(value, lanes)


def _place(
    scope: Scope, buffer: str, index: tuple[Index, ...], evaluate: Evaluate, clamp: bool = True
) -> Place:
    stored = scope.storage(buffer)
    position, size = scope.resolve(scope.position(buffer, index)), BYTES[stored.buffer.element]
    entries = value_entries(index)
    if entries:
        return _value_place(scope, stored, position, entries, evaluate, clamp)
    if not scope.varies(position):
        return Place(scope.integer(position), 1, size, False)
    if lane_stride(position, scope.lane) == 1:
        alignment = _alignment(position, scope.lane, size)
        return Place(_start(scope, position), scope.lanes, alignment, True)
    stride = lane_stride(position, scope.lane) or 0
    if clamp and 2 <= stride <= STRIDES and scope.lanes >= STRIDES:
        return Place(_start(scope, position), scope.lanes, size, True, stride=stride)
    if broken := lane_break(position, scope.lane, scope.lanes):
        stop, first, second = broken
        starts = _start(scope, first), _start(scope, second)
        return Place(starts[0], scope.lanes, size, True, None, stop, starts[1])
    vector = scope.lanes_of(position, _index_kind(stored))
    assert isinstance(vector, Term)
    return Place(vector, scope.lanes, size, True)


def _start(scope: Scope, position: Affine) -> Integer:
    """The element of lane 0 of a contiguous position."""
    return scope.integer(split_lane(position, scope.lane)[0])


def _value_place(
    scope: Scope,
    stored: Storage,
    position: Affine,
    entries: tuple[tuple[int, Expression], ...],
    evaluate: Evaluate,
    clamp: bool,
) -> Place:
    """Adds what value-dependent entries contribute; a wrong one is recorded, and reads as 0."""
    size, valid = BYTES[stored.buffer.element], None
    values: dict[int, Term] = {}
    for axis, entry in entries:
        value = _as_integer(scope, evaluate(scope, entry))
        good = scope.b.compare("ult", value, stored.buffer.axes[axis].size)
        _record_fault(scope, good, value)
        valid = scope.both(valid, good)
        values[axis] = scope.b.select(good, value, 0) if clamp else value
    scalar = all(value.type.lanes == 1 for value in values.values())
    if scalar and (not scope.varies(position) or lane_stride(position, scope.lane) == 1):
        index = _contribution(scope, stored, values, "i64") + _start(scope, position)
        lanes = scope.lanes if scope.varies(position) else 1
        return Place(index, lanes, size, lanes > 1, None if clamp else valid)
    kind = _index_kind(stored)
    vector = scope.lanes_of(position, kind)
    vector = _contribution(scope, stored, values, kind) + vector
    return Place(vector, scope.lanes, size, True, None if clamp else valid)


def _contribution(scope: Scope, stored: Storage, values: dict[int, Term], kind: Kind) -> Term:
    total: Term | None = None
    for dim, stride in zip(stored.dims, stored.strides, strict=True):
        if dim.axis in values:
            part = _dim_place(scope.b.convert(values[dim.axis], kind), dim) * stride
            total = part if total is None else total + part
    assert total is not None
    return total


def _dim_place(value: Term, dim: Dim) -> Term:
    value = value // dim.divide if dim.divide > 1 else value
    return value % dim.modulo if dim.modulo else value


def _as_integer(scope: Scope, value: Value) -> Term:
    if not isinstance(value, Term):
        return scope.b.term(int(value), I32)
    return scope.b.convert(value, "i32")


def _record_fault(scope: Scope, good: Term, value: Term) -> None:
    """Notes the argument table and an index that left its axis, for the runtime to report."""
    b = scope.b
    bad = b.binary("xor", good, 1)
    if scope.mask is not None:
        mask = scope.mask
        if mask.type.lanes > bad.type.lanes:
            mask = b.reduce("any", mask)
        bad = bad & mask
    shown = b.select(bad, value, -0x80000000) if value.type.lanes > 1 else value
    with b.when(b.reduce("any", bad)):
        slot = fault_slot(len(scope.program.scalars))
        assert slot >= FIRST_SCALAR
        b.store(b.table, b.scalars, slot)
        b.store(b.convert(b.extract(shown, 0), "i64"), b.scalars, slot + 1)


def _index_kind(stored: Storage) -> Kind:
    return "i32" if stored.elements < WIDE else "i64"


def _alignment(position: Affine, lane: str, size: int) -> int:
    """What all positions of lane 0 are a multiple of, in bytes."""
    factors = [k for atom, k in position.terms if atom != lane]
    return math.gcd(LINE, size * math.gcd(position.constant, *factors)) or size
