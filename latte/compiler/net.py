"""The Net: what elaborate makes of a specification, every size a number.

Ensembles of neurons (a scalar body each) whose arguments are connections: affine relations from
(neuron index, window index) to an index of a source. Names of nodes are paths: the ensemble `out`
of the layer call `conv1` is "conv1.out", its parameter "conv1.weight"; in a net's own body a name
is itself. All namespaces (inputs, parameters, running values, ensembles, views) share one.

    ensemble conv1.out[f: 20, y: 24, x: 24] = Weighted(
        x = image[c.., y + ky, x + kx]  window [i.0: 1, i.1: 5, i.2: 5], ...)

Only elaborate (and what stands in for a parser: tracing, importers) makes a Net; passes map
Net -> Net. Everything is frozen and compared by value; spans do not take part.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Union

from latte.compiler.affine import Affine
from latte.compiler.expression import Axis, Expression, Index, Let
from latte.errors import Span

__all__ = ["Axis"]


@dataclass(frozen=True, slots=True)
class Input:
    """`input words[@time]: class(20000)`: fed for every item (and step, if `time`).

    `classes` is the number of classes of an integer input, None for real numbers.
    """

    name: str
    axes: tuple[Axis, ...]
    classes: int | None = None
    time: bool = False
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A learned array. `initial` is an expression whose `Position`s are over the parameter's own
    axes and whose `Random`s are drawn once for each element, at step 0. `rate` and `decay`
    multiply the solver's arguments of those names."""

    name: str
    axes: tuple[Axis, ...]
    initial: Expression
    rate: float = 1.0
    decay: float = 1.0
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Running:
    """A persistent array that is saved and not learned; an `Update` changes it after each step."""

    name: str
    axes: tuple[Axis, ...]
    initial: Expression
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Value:
    """A value-dependent index: the value of a connection without window, plus an affine offset
    (`table[word, :]` has offset 0; `table[word ..+ 3, :]` has the window axis as offset)."""

    connection: Connection
    offset: Affine


class Moment(Enum):
    """Which time step of its source a connection reads."""

    SAME = "same"  # this neuron's own step; a source without time is the same at every step
    PREVIOUS = "previous"  # prev(h): one step before, `initial` (or 0) at the first
    NEXT = "next"  # next(h): one step later, `initial` (or 0) at an item's last
    LAST = "last"  # last(h): each item's last step
    ALL = "all"  # steps(h): the time axis made visible, indexed by `step`


@dataclass(frozen=True, slots=True)
class Connection:
    """What one formal of every neuron of an ensemble sees.

    `index` has one entry for each of the source's own axes (batch and time are never among them),
    affine in the neuron's axes and `window` axes, or value-dependent. `item` is None for a
    neuron's own item, or the affine item index where `items(...)` made the batch visible (the
    window axis has symbol "n"); `step` likewise for Moment.ALL (window axis of symbol "t"). Both
    have size 0 in a Net: how long they are is known when it is compiled.
    Places whose index leaves the source are not connected (clipped), which only windows may do.
    """

    source: str
    index: tuple[Affine | Value, ...]
    window: tuple[Axis, ...] = ()
    item: Affine | None = None
    moment: Moment = Moment.SAME
    step: Affine | None = None
    initial: Connection | None = None
    span: Span | None = field(default=None, compare=False)


# A formal is bound to a connection or to a number: an expression of the neuron's own axes
# (`Number`, `Position` and `Apply` of them).
Binding = Union[Connection, Expression]


@dataclass(frozen=True, slots=True)
class Formal:
    """One formal of a neuron as used by one ensemble: packs are expanded (`i...` of rank 2 is
    the axes "i.0", "i.1"), sizes are numbers, a scalar formal has no axes."""

    name: str
    axes: tuple[Axis, ...] = ()


@dataclass(frozen=True, slots=True)
class Contribution:
    """`formal.grad[index] += expression`, for all positions of `axes`.

    As written by a user: any index. After differentiate: `axes` are the formal's axes, `index`
    is their positions, and each formal has at most one contribution.
    """

    formal: str
    axes: tuple[Axis, ...]
    index: tuple[Index, ...]
    expression: Expression


@dataclass(frozen=True, slots=True)
class Backward:
    """How a neuron's gradient reaches its formals. Expressions may use the forward `lets` by
    name, "value", "value.grad", these `lets`, and arguments."""

    lets: tuple[Let, ...]
    contributions: tuple[Contribution, ...]
    written: bool = False


@dataclass(frozen=True, slots=True)
class Neuron:
    """A scalar function: `lets` in order, then `value`. Loops, `if` statements, reassigned and
    `+=` locals of the source text are already folds, selects and fresh names here. `states` are
    the lets declared `state`. `backward` is None until written or derived."""

    name: str
    formals: tuple[Formal, ...]
    lets: tuple[Let, ...]
    value: Expression
    states: tuple[str, ...] = ()
    backward: Backward | None = None
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Ensemble:
    """One neuron for every index of `axes`; `bindings[k]` is what `neuron.formals[k]` sees.

    `batch` and `time` say whether there is one for every item and every step; share.py derives
    them, elaborate leaves them False.
    """

    name: str
    axes: tuple[Axis, ...]
    neuron: Neuron
    bindings: tuple[Binding, ...]
    batch: bool = False
    time: bool = False
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Join:
    """`join(a, b, ..., axis = k)`: the parts one after another along one axis."""

    name: str
    axes: tuple[Axis, ...]
    parts: tuple[str, ...]
    axis: int
    batch: bool = False
    time: bool = False
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class View:
    """`reshape`, `flatten`, `transpose`: another order of the same values, one to one.

    `index` gives the source's index, over the view's axis names; `inverse` the view's index, over
    the names "s.0", "s.1", ... of the source's axes in order.
    """

    name: str
    axes: tuple[Axis, ...]
    source: str
    index: tuple[Affine, ...]
    inverse: tuple[Affine, ...]
    batch: bool = False
    time: bool = False
    span: Span | None = field(default=None, compare=False)


Node = Union[Ensemble, Join, View]


@dataclass(frozen=True, slots=True)
class Update:
    """`update mean[ch] = ...`: after each training step, a running value becomes the value of a
    neuron for every index (all from the values before; `neuron` has no backward)."""

    running: str
    axes: tuple[Axis, ...]
    index: tuple[Affine, ...]
    neuron: Neuron
    bindings: tuple[Binding, ...]
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Loss:
    """`loss 0.3 * SoftmaxLoss(...)`: the mean of a node over its axes and all items (and steps)
    present, times `weight`, is added to the loss. `name` is what it is reported as."""

    name: str
    node: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Metric:
    """`metric accuracy = ...`: the mean of a node, reported and not learned from."""

    name: str
    node: str


@dataclass(frozen=True, slots=True)
class Hyper:
    """An argument of the solver: an expression of Local "t" (updates so far), "epoch" and
    "total" (updates in the whole run), evaluated before each update."""

    name: str
    schedule: Expression


@dataclass(frozen=True, slots=True)
class State:
    """`state history = 0`: an array kept beside each parameter."""

    name: str
    initial: Expression


@dataclass(frozen=True, slots=True)
class Assignment:
    """`target = expression`, target a state, "param" or a fresh local; in order."""

    target: str
    expression: Expression


@dataclass(frozen=True, slots=True)
class Norm:
    """A solver's `norm(e)` (over this parameter) or `total_norm(e)` (over all): the square root
    of the sum of squares of an expression, computed before the assignments. Used by its `name`
    as a Local."""

    name: str
    expression: Expression
    total: bool


@dataclass(frozen=True, slots=True)
class Solver:
    """How a parameter changes: expressions of Local "param", "grad", states, arguments, "t"."""

    name: str
    hypers: tuple[Hyper, ...]
    states: tuple[State, ...]
    norms: tuple[Norm, ...]
    assignments: tuple[Assignment, ...]


@dataclass(frozen=True, slots=True)
class Training:
    """The `train` block, or its defaults (Momentum 0.01, batch 64, 10 epochs)."""

    solver: Solver
    batch: int = 64
    epochs: int = 10


@dataclass(frozen=True, slots=True)
class Net:
    """A whole net. `nodes` are in the order of their text; `names` maps what a user calls a value
    ("conv1", "lstm1.gate") to its node; `output` is the last binding before the first loss, one of
    the names."""

    name: str
    inputs: tuple[Input, ...]
    parameters: tuple[Parameter, ...]
    runnings: tuple[Running, ...]
    nodes: tuple[Node, ...]
    updates: tuple[Update, ...]
    losses: tuple[Loss, ...]
    metrics: tuple[Metric, ...]
    training: Training
    names: tuple[tuple[str, str], ...]
    output: str | None
    span: Span | None = field(default=None, compare=False)
