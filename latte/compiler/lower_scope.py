"""What is known at a place of a loop nest while a kernel is lowered: values of axes, lane, mask.

An axis is *viewed* as an affine expression of loop variables (`f = 16*f.block + f.lane`), and a
variable is bound to an integer once its loop is open. `f.lane` is never bound: it runs over the
lanes of a vector. Expressions that do not vary along the lane give scalars.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from latte.compiler.affine import Affine, Floor, constant
from latte.compiler.builder import Builder
from latte.compiler.expression import (
    Apply,
    Axis,
    Expression,
    Fold,
    Guard,
    Index,
    Let,
    Load,
    Local,
    Position,
    Random,
)
from latte.compiler.ir import Program
from latte.compiler.lower_access import (
    Storage,
    Terms,
    flat_position,
    reduce_floors,
    split_lane,
    storage,
)
from latte.compiler.lower_interior import assured
from latte.compiler.rewrite import children
from latte.compiler.values import Integer, Term
from latte.compiler.vector import SLOT_ITEMS, SLOT_STEPS, Kind, vector_type

Value = Term | int | float


@dataclass(slots=True)
class Group:
    """Blocks of lanes whose folds run in one loop: the variable's value in each of them, which is
    `current`, what was known before it was bound, and the folds' values for each block."""

    variable: str
    places: tuple[Integer, ...]
    known: dict[int, Value]
    locals: dict[str, Value]
    current: int = 0
    values: dict[int, list[Value]] = field(default_factory=dict)


@dataclass(slots=True)
class Scope:
    """`mask` says which lanes count (None: all), `tail` which lanes exist at all; `ranges` hold
    for axes and loop variables; `bound` the axes whose variables are all open; `folds` are
    those that every point computes; `outer` are the axes of the kernel and around it; terms of
    `interior` plus their number are known not to be negative here."""

    b: Builder
    program: Program
    width: int
    sizes: dict[str, Axis] = field(default_factory=dict)
    ranges: dict[str, tuple[int, int]] = field(default_factory=dict)
    views: dict[str, Affine] = field(default_factory=dict)
    variables: dict[str, Integer] = field(default_factory=dict)
    fixed: dict[str, Affine] = field(default_factory=dict)
    bound: frozenset[str] = frozenset()
    lane: str = ""
    lanes: int = 1
    mask: Term | None = None
    tail: Term | None = None
    locals: dict[str, Value] = field(default_factory=dict)
    known: dict[int, Value] = field(default_factory=dict)
    lets: dict[str, Expression] = field(default_factory=dict)
    stores: dict[str, Storage] = field(default_factory=dict)
    pointers: dict[str, Term] = field(default_factory=dict)
    written: frozenset[str] = frozenset()
    folds: tuple[Fold, ...] = ()
    group: Group | None = None
    outer: frozenset[str] = frozenset()
    interior: dict[Terms, int] = field(default_factory=dict)
    _positions: dict[tuple[str, int], tuple[tuple[Index, ...], Affine]] = field(
        default_factory=dict
    )
    _free: dict[int, tuple[Expression, frozenset[str]]] = field(default_factory=dict)

    # Buffers

    def pointer(self, buffer: str) -> Term:
        """The base of a buffer, in the order of first use."""
        if buffer not in self.pointers:
            name = f"b{len(self.pointers)}"
            self.pointers[buffer] = self.b.pointer(name, buffer not in self.written)
        return self.pointers[buffer]

    def storage(self, buffer: str) -> Storage:
        """How a buffer is stored."""
        if buffer not in self.stores:
            self.stores[buffer] = storage(self.program.buffer(buffer))
        return self.stores[buffer]

    def position(self, buffer: str, index: tuple[Index, ...]) -> Affine:
        """The number of the element at an index, in axes, without value-dependent parts."""
        key = (buffer, id(index))
        if key not in self._positions:
            self._positions[key] = (index, flat_position(self.storage(buffer), index))
        return self._positions[key][1]

    # Axes

    def declare(self, axes: tuple[Axis, ...]) -> None:
        """Makes the sizes of axes known; each is its own loop variable until viewed otherwise."""
        for entry in axes:
            self.sizes[entry.name] = entry
            self.ranges[entry.name] = (0, entry.size - 1)

    def length(self, axis: Axis) -> Integer:
        """How many places an axis has in this call."""
        if axis.symbol is None:
            return axis.size
        return self.b.scalar_integer(SLOT_ITEMS if axis.symbol == "n" else SLOT_STEPS)

    def view(self, name: str, expression: Affine, **variables: int) -> None:
        """Sees an axis as an expression of variables of the given sizes."""
        self.views[name] = expression
        for variable, size in variables.items():
            self.ranges[variable] = (0, size - 1)

    def bind(self, variable: str, value: Integer) -> None:
        """Gives a loop variable its value in the open loop; axes made of it may become bound."""
        self.variables[variable] = value
        if isinstance(value, int):
            self.fixed[variable] = constant(value)
        self.rebind()

    def unbind(self, variable: str) -> None:
        """Forgets a variable's value."""
        self.variables.pop(variable, None)
        self.fixed.pop(variable, None)
        self.rebind()

    def rebind(self) -> None:
        """Finds again which axes are bound."""
        open_ = self.variables.keys() | {self.lane}
        self.bound = frozenset(
            name
            for name in self.sizes
            if (self.views[name].axes() <= open_ if name in self.views else name in open_)
        )

    @contextmanager
    def inner(self, **changes: Any) -> Iterator[None]:
        """An inner block: what is bound, evaluated or changed inside is forgotten after it."""
        names = ("variables", "fixed", "locals", "known", "views", "ranges", "sizes")
        before = {name: getattr(self, name) for name in names}
        single = ("bound", "lane", "lanes", "mask", "tail", "interior")
        plain = {name: getattr(self, name) for name in single}
        for name in names:
            setattr(self, name, dict(before[name]))
        for name, value in changes.items():
            setattr(self, name, value)
        yield
        for name, value in (before | plain).items():
            setattr(self, name, value)

    # Affine expressions

    def resolve(self, expression: Affine) -> Affine:
        """An expression of axes as one of loop variables."""
        resolved = expression.substitute(self.views).substitute(self.fixed)
        return reduce_floors(resolved, self.ranges)

    def varies(self, expression: Affine) -> bool:
        """Whether a resolved expression differs between lanes."""
        return bool(self.lane) and self.lane in expression.axes()

    def integer(self, expression: Affine) -> Integer:
        """A resolved expression that is the same for all lanes; outer variables first, so that
        their part of the sum leaves the inner loops."""
        total: Integer = expression.constant
        order = {name: place for place, name in enumerate(self.variables)}
        for atom, factor in sorted(expression.terms, key=lambda term: _depth(term[0], order)):
            part = self._atom(atom)
            total = part * factor + total if isinstance(part, Term) else total + part * factor
        return total

    def _atom(self, atom: str | Floor) -> Integer:
        if isinstance(atom, str):
            return self.variables[atom]
        inner = self.integer(atom.numerator)
        return inner // atom.divisor

    def lanes_of(self, expression: Affine, kind: Kind = "i32") -> Value:
        """A resolved expression in every lane, or a scalar where it does not vary."""
        whole, varying = split_lane(expression, self.lane)
        base = self.integer(whole)
        if isinstance(base, Term):
            base = self.b.convert(self.b.materialized(base), kind)
        if not varying:
            return base
        numbers = self.b.lane_numbers(self.lanes, kind)
        total = self.b.term(base, numbers.type)
        for atom, factor in varying:
            part = numbers if isinstance(atom, str) else self._lane_floor(atom, kind)
            total = total + part * factor
        return total

    def _lane_floor(self, atom: Floor, kind: Kind) -> Term:
        inner = self.lanes_of(atom.numerator, kind)
        assert isinstance(inner, Term)
        return inner // atom.divisor

    # Conditions

    def assured(self, index: Affine) -> bool:
        """Whether an expression of axes is certainly not negative at this place."""
        return assured(index, self.outer, self.ranges, self.interior)

    def holds(self, places: tuple[Affine, ...]) -> Value:
        """Whether no expression of axes is negative: a bool, a scalar or one for each lane."""
        found: Term | None = None
        for place in places:
            if self.assured(place):
                continue
            index = self.resolve(place)
            if index.bounds(self.ranges)[1] < 0:
                return False
            value = self.lanes_of(index) if self.varies(index) else self.integer(index)
            holds = value >= 0
            if holds is False:
                return False
            found = self.both(found, holds)
        return True if found is None else found

    def guard(self, guard: Guard) -> Value:
        """A guard's truth: a bool, a scalar or one for each lane."""
        index = self.resolve(guard.index)
        value = self.lanes_of(index)
        if guard.modulus:
            rest = value % guard.modulus
            return rest.eq(0) if isinstance(rest, Term) else rest == 0
        return value >= 0

    def both(self, a: Value | None, b: Value | None) -> Term | None:
        """The conjunction of two masks; None is true."""
        masks = [m for m in (a, b) if m is not None and m is not True]
        terms = [m if isinstance(m, Term) else self.b.term(m, vector_type("i1", 1)) for m in masks]
        if len(terms) == 2:
            return terms[0] & terms[1]
        return terms[0] if terms else None

    # Which axes an expression depends on

    def free(self, expression: Expression) -> frozenset[str]:
        """The axes that an expression depends on, through lets too."""
        found = self._free.get(id(expression))
        if found is None:
            found = self._free[id(expression)] = (expression, self._free_of(expression))
        return found[1]

    def _free_of(self, expression: Expression) -> frozenset[str]:
        names: set[str] = set()
        for child in children(expression):
            names |= self.free(child)
        match expression:
            case Local(name):
                names |= self.free(self.lets[name])
            case Load(_, index):
                for entry in index:
                    names |= entry.axes() if isinstance(entry, Affine) else frozenset()
            case Position(index):
                names |= index.axes()
            case Random(_, _, place) if place is not None:
                names |= place.axes()
            case Fold(_, axes, _, where):
                for guard in where:
                    names |= guard.index.axes()
                names -= {entry.name for entry in axes}
            case Apply():
                pass
        return frozenset(names)

    def on_lane(self, expression: Expression) -> bool:
        """Whether an expression may differ between lanes."""
        if not self.lane:
            return False
        return any(
            self.lane in (self.views[name].axes() if name in self.views else (name,))
            for name in self.free(expression)
        )

    def add_lets(self, lets: tuple[Let, ...]) -> None:
        """Makes lets known by name."""
        for let in lets:
            self.lets[let.name] = let.expression


def _depth(atom: str | Floor, order: dict[str, int]) -> int:
    names = (atom,) if isinstance(atom, str) else atom.numerator.axes()
    return max((order.get(name, -1) for name in names), default=-1)
