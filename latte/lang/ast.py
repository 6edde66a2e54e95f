"""The syntax tree: what a `.latte` file says, before names and sizes mean anything.

In: nothing.  Out: the node classes; parse.py makes them, the checks and elaborate read them.

    scores = image -> Linear(10)
->
    Bind(Name("scores"), Call(Name("Linear"), (Argument(Name("image")), Argument(Number(10)))))

Nodes are compared by what they say, never by where they stand: `span` takes no part in `==`.
Each class shows the text it stands for. A chain `a -> F(b) -> G` is read as `G(F(a, b))`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from latte.errors import Source, Span


@dataclass(frozen=True, slots=True)
class Node:
    """Anything that stands somewhere in a file."""

    span: Span = field(compare=False, repr=False, kw_only=True)


# Expressions ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Name(Node):
    """`conv1`: an identifier, both where it is bound and where it is read."""

    text: str


@dataclass(frozen=True, slots=True)
class Number(Node):
    """`28` (an int) or `0.5`, `1e-4` (a float)."""

    value: int | float


@dataclass(frozen=True, slots=True)
class Boolean(Node):
    """`true` or `false`."""

    value: bool


@dataclass(frozen=True, slots=True)
class String(Node):
    """`"filters must be at least 1"`; value without quotes, escapes undone."""

    value: str


@dataclass(frozen=True, slots=True)
class Tuple(Node):
    """`(3, 5)`: one number for each axis, vertical first."""

    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class List(Node):
    """`[2, 0, 1]`: sizes of a reshape, axes of a transpose."""

    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Unary(Node):
    """`-x`, `+x`, `not x`."""

    op: str
    operand: Expression


@dataclass(frozen=True, slots=True)
class Binary(Node):
    """`a + b`; op is one of `+ - * / // % ** == != < <= > >= and or`."""

    op: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Conditional(Node):
    """`if a > 0 then a else 0`."""

    condition: Expression
    then: Expression
    otherwise: Expression


@dataclass(frozen=True, slots=True)
class Reduction(Node):
    """`sum(i, k) weight[i, k] * x[i, k]`; op is one of `sum prod min max argmax argmin any all`."""

    op: str
    axes: tuple[Name, ...]
    body: Expression


@dataclass(frozen=True, slots=True)
class Argument(Node):
    """`20` or `kernel = 5` in a call; the value is a `Spread` in `Concat(sources..., axis = 0)`."""

    value: Expression | Spread
    name: Name | None = None


@dataclass(frozen=True, slots=True)
class Call(Node):
    """`Conv(image, 20, kernel = 5)`, `exp(x)`, `count(i)`, `prev(h, initial = h0)`."""

    function: Name
    arguments: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class Attribute(Node):
    """`lstm1.cell`, `x.grad`, `value.grad`."""

    value: Expression
    name: Name


@dataclass(frozen=True, slots=True)
class Index(Node):
    """`source[:, y*stride - pad ..+ kernel]`: a connection, or an input inside a neuron."""

    value: Expression
    items: tuple[Item, ...]


Expression = (
    Name
    | Number
    | Boolean
    | String
    | Tuple
    | List
    | Unary
    | Binary
    | Conditional
    | Reduction
    | Call
    | Attribute
    | Index
)


# What may stand between the brackets of an index or a shape ----------------------------------


@dataclass(frozen=True, slots=True)
class Whole(Node):
    """`:` one whole axis."""


@dataclass(frozen=True, slots=True)
class Rest(Node):
    """`...` all axes that are not written."""


@dataclass(frozen=True, slots=True)
class Window(Node):
    """`y*stride - pad ..+ kernel by dilation`: `count` places from `start`, `step` apart."""

    start: Expression
    count: Expression
    step: Expression | None = None


@dataclass(frozen=True, slots=True)
class Range(Node):
    """`0 .. c // 2`: half-open."""

    start: Expression
    stop: Expression


@dataclass(frozen=True, slots=True)
class Spread(Node):
    """`kernel...`: every element of a pack, in `weight[filters, c, kernel...]` or in a call."""

    name: Name


Item = Whole | Rest | Window | Range | Spread | Expression


# Formals -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Axis(Node):
    """`c`, or the pack `s...`, in a formal such as `source[c, s...]`."""

    name: Name
    pack: bool = False


@dataclass(frozen=True, slots=True)
class Formal(Node):
    """A formal of a neuron, layer, net, solver, init or schedule.

    `x`  `x[i...]`  `source[c, s...]` (axes; None: none were written)  `rate = 0.01` (default)
    `kernel each s` (one number for each axis of `s`)  `sources...` (variadic: any number)
    """

    name: Name
    axes: tuple[Axis, ...] | None = None
    each: Name | None = None
    variadic: bool = False
    default: Expression | None = None


# Statements of neurons and solvers -----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class State(Node):
    """`state at = argmax(i) x[i]` of a neuron, `state history = 0` of a solver."""

    name: Name
    value: Expression


@dataclass(frozen=True, slots=True)
class Let(Node):
    """`let energy = k + alpha * x`."""

    name: Name
    value: Expression


@dataclass(frozen=True, slots=True)
class Assign(Node):
    """`value = x[at]`, `best = x[i]`, `x.grad[at] += value.grad`, `param -= history`.

    The target is a `Name`, an `Attribute` (`x.grad`) or an `Index` of one; op is `= += -= *= /=`.
    """

    target: Expression
    op: str
    value: Expression


@dataclass(frozen=True, slots=True)
class Branch(Node):
    """`if x > best { ... } else { ... }` at run time, inside a neuron or solver."""

    condition: Expression
    then: tuple[NeuronStatement, ...]
    otherwise: tuple[NeuronStatement, ...] = ()


@dataclass(frozen=True, slots=True)
class Loop(Node):
    """`for i in x { ... }`, `for c, y in x { ... }`: over the inputs of a window that are there."""

    axes: tuple[Name, ...]
    window: Expression
    body: tuple[NeuronStatement, ...]


NeuronStatement = Let | Assign | Branch | Loop


@dataclass(frozen=True, slots=True)
class NeuronBody(Node):
    """`{ state ...  forward { ... }  backward { ... } }`; backward is None when it is derived."""

    states: tuple[State, ...]
    forward: tuple[NeuronStatement, ...]
    backward: tuple[NeuronStatement, ...] | None = None


# Statements of layers and nets ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Require(Node):
    """`require filters >= 1, "filters must be at least 1"`."""

    condition: Expression
    message: String | None = None


@dataclass(frozen=True, slots=True)
class Param(Node):
    """`param weight[filters, c, kernel...] = xavier(c) with rate 2, decay 0`; no `[]`: shape ()."""

    name: Name
    shape: tuple[Item, ...]
    value: Expression
    rate: Expression | None = None
    decay: Expression | None = None


@dataclass(frozen=True, slots=True)
class Running(Node):
    """`running mean[c] = 0`."""

    name: Name
    shape: tuple[Item, ...]
    value: Expression


@dataclass(frozen=True, slots=True)
class EnsembleAxis(Node):
    """`f: filters`, or the pack `p...: s`."""

    name: Name
    size: Expression
    pack: bool = False


@dataclass(frozen=True, slots=True)
class Ensemble(Node):
    """`ensemble out[j: size] = Weighted(source[...], weight[j], bias[j])`; no `[]`: axes ()."""

    name: Name
    axes: tuple[EnsembleAxis, ...]
    call: Call


@dataclass(frozen=True, slots=True)
class Update(Node):
    """`update mean[ch] = 0.9 * mean[ch] + 0.1 * m[ch]`: a running value after each step."""

    name: Name
    items: tuple[Item, ...]
    value: Expression


@dataclass(frozen=True, slots=True)
class Input(Node):
    """`input image[1, 28, 28]`, `input words[@time]: class(20000)`.

    `shape` is without time; `classes` is the `n` of `class(n)`.
    """

    name: Name
    shape: tuple[Item, ...] = ()
    time: bool = False
    classes: Expression | None = None


@dataclass(frozen=True, slots=True)
class Loss(Node):
    """`loss SoftmaxLoss(scores, label)`, `loss kl = 0.3 * Divergence(mean, spread)`.

    A compile-time number in front (`0.3 *`) is the weight; only elaborate can tell.
    """

    value: Expression
    name: Name | None = None


@dataclass(frozen=True, slots=True)
class Metric(Node):
    """`metric accuracy = Accuracy(scores, label)`."""

    value: Expression
    name: Name | None = None


@dataclass(frozen=True, slots=True)
class Bind(Node):
    """`conv1 = Conv(image, 20, kernel = 5)`, `half = c // 2`."""

    name: Name
    value: Expression


@dataclass(frozen=True, slots=True)
class If(Node):
    """`if groups == 1 { ... } else { ... }` at compile time; `else if` nests."""

    condition: Expression
    then: tuple[Statement, ...]
    otherwise: tuple[Statement, ...] = ()


@dataclass(frozen=True, slots=True)
class For(Node):
    """`for i in 0 .. 4 { ... }` at compile time."""

    name: Name
    range: Range
    body: tuple[Statement, ...]


Statement = Require | Param | Running | Ensemble | Update | Input | Loss | Metric | Bind | If | For


# What stands in a file -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Import(Node):
    """`import "mine.latte"`."""

    path: String


@dataclass(frozen=True, slots=True)
class Const(Node):
    """`const width = 64`."""

    name: Name
    value: Expression


@dataclass(frozen=True, slots=True)
class Init(Node):
    """`init xavier(fan_in) = uniform(-sqrt(3 / fan_in), sqrt(3 / fan_in))`."""

    name: Name
    formals: tuple[Formal, ...]
    value: Expression


@dataclass(frozen=True, slots=True)
class Schedule(Node):
    """`schedule inv(rate, gamma, power) = rate * (1 + gamma * t) ** -power`."""

    name: Name
    formals: tuple[Formal, ...]
    value: Expression


@dataclass(frozen=True, slots=True)
class Neuron(Node):
    """`neuron ReLU(x) = max(0, x)`, an expression, or `neuron LRN(...) { ... }`, a `NeuronBody`."""

    name: Name
    formals: tuple[Formal, ...]
    body: Expression | NeuronBody


@dataclass(frozen=True, slots=True)
class Layer(Node):
    """`layer Linear(source[i...], size) { ... }`."""

    name: Name
    formals: tuple[Formal, ...]
    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Net(Node):
    """`net LeNet(classes = 10) { ... }`."""

    name: Name
    formals: tuple[Formal, ...]
    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Solver(Node):
    """`solver Momentum(rate = 0.01, momentum = 0.9) { state history = 0  update { ... } }`."""

    name: Name
    formals: tuple[Formal, ...]
    states: tuple[State, ...]
    update: tuple[NeuronStatement, ...]


@dataclass(frozen=True, slots=True)
class Train(Node):
    """`train LeNet { solver Momentum(rate = 0.01)  batch 64  epochs 4 }`; None: not written."""

    net: Name
    solver: Call | None = None
    batch: Expression | None = None
    epochs: Expression | None = None


Definition = Const | Init | Schedule | Neuron | Layer | Net | Solver
FileItem = Import | Definition | Train


@dataclass(frozen=True, slots=True)
class File(Node):
    """A whole file, its items in order; `source` is its text."""

    items: tuple[FileItem, ...]

    @property
    def source(self) -> Source:
        return self.span.source
