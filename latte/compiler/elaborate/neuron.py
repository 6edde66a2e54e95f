"""A neuron type meets its connections: formals get axes and sizes, the body becomes functional.

    Weighted(source[:, y ..+ 3], weight[f], 0)    with source [8, 30], weight [20, 8, 3]
->  Neuron("Weighted", x[i.0: 8, i.1: 3], weight[i.0: 8, i.1: 3], value = 0 + sum(i.0, i.1) ...)
    and a Connection for x and for weight; numbers are written into the body.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from latte.compiler.affine import Affine
from latte.compiler.elaborate.body import Body, Meaning, Window
from latte.compiler.elaborate.connect import (
    Ranges,
    as_draft,
    clipped,
    connection,
    may_be_empty,
    windows_along,
)
from latte.compiler.elaborate.context import Run, draws
from latte.compiler.elaborate.scalar import number
from latte.compiler.elaborate.statements import Code
from latte.compiler.elaborate.values import Draft, Formula, Value, describe
from latte.compiler.elaborate.values import Span as Places
from latte.compiler.elaborate.views import check_size
from latte.compiler.expression import Argument, Axis, Expression, Fold, Let, Local, Number, Position
from latte.compiler.net import Backward, Binding, Connection, Contribution, Formal, Neuron
from latte.compiler.rewrite import walk
from latte.errors import Note, Span
from latte.lang import ast

EXTREMES = ("max", "min", "argmax", "argmin")


@dataclass(frozen=True, slots=True)
class Given:
    """What one formal is given, and where that stands."""

    value: Value
    span: Span


@dataclass(slots=True)
class Meeting:
    """The formals of one neuron as they meet what they are given."""

    run: Run
    definition: ast.Neuron
    taken: frozenset[str]
    ranges: Ranges
    constants: dict[str, Expression]
    axes: dict[str, tuple[Axis, ...]]
    places: dict[str, Note]


def instantiate(
    run: Run, definition: ast.Neuron, given: Mapping[str, Given], own: Sequence[Axis], path: str
) -> tuple[Neuron, tuple[Binding, ...]]:
    """The neuron of an ensemble with axes `own`, and what each of its formals sees.

    Mistakes are reported where the arguments stand. `path` names its random draws.
    """
    ranges = {axis.name: (0, axis.size - 1) for axis in own}
    meeting = Meeting(run, definition, frozenset(ranges), ranges, {}, {}, {})
    formals: list[tuple[Formal, Binding]] = []
    windows: list[tuple[str, Places, Axis, Span]] = []
    absent: set[str] = set()
    for formal in _packs_last(definition.formals, given):
        here = given[formal.name.text]
        with run.report.at(here.span):
            pair = meet(meeting, formal, here)
        if pair is None:
            continue
        formals.append(pair)
        if isinstance(pair[1], Connection):
            draft = as_draft(here.value)
            along = zip(windows_along(draft.reference, draft.entries), pair[0].axes, strict=True)
            for (entry, axis), name in along:
                windows.append((name.name, entry, axis, here.span))
                if clipped(entry, axis, ranges):
                    absent.add(name.name)
    order = {formal.name.text: place for place, formal in enumerate(definition.formals)}
    formals.sort(key=lambda pair: order[pair[0].name])
    neuron = translated(meeting, formals, frozenset(absent), path)
    check_windows(run, neuron, windows, ranges)
    return neuron, tuple(binding for _, binding in formals)


def _packs_last(formals: Sequence[ast.Formal], given: Mapping[str, Given]) -> list[ast.Formal]:
    """Formals with several packs come after those that tell how many axes each pack has."""
    return sorted(formals, key=lambda formal: sum(a.pack for a in formal.axes or ()) > 1)


def meet(meeting: Meeting, formal: ast.Formal, given: Given) -> tuple[Formal, Binding] | None:
    """One formal with its axes and binding; None for a number, which goes into the body."""
    value, name = given.value, formal.name.text
    if isinstance(value, tuple) and len(value) == 1:
        value = value[0]
    match value:
        case bool() | int() | float() | Fraction():
            expression: Expression = number(float(value))
        case Affine():
            expression = number(value.constant) if value.is_constant else Position(value)
        case Formula(inner, ()):
            expression = inner
        case Formula(inner, _) if not isinstance(inner, Argument):
            message = "arithmetic on connections belongs in the neuron; give it the connections"
            meeting.run.report.fail("E0405", message, given.span)
        case _:
            return meet_window(meeting, formal, as_draft(value), given.span)
    if formal.axes is not None:
        message = f"`{name}` takes a window, found {describe(value)}"
        meeting.run.report.fail("E0407", message, given.span)
    if not isinstance(expression, Number):
        return Formal(name), expression
    meeting.constants[name] = expression
    return None


def meet_window(
    meeting: Meeting, formal: ast.Formal, draft: Draft, span: Span
) -> tuple[Formal, Binding]:
    """A formal that sees an indexed source: its windows get the names of the formal's axes."""
    windows, name = draft.windows, formal.name.text
    sizes = [_window_axis(place) for place in windows]
    if formal.axes is None:
        if windows:
            message = (
                f"`{name}` is one value, but `{draft.reference}` is given as a window of "
                f"{_axes(len(windows))}"
            )
            meeting.run.report.fail("E0407", message, span, help=_index_help(draft))
        return Formal(name), connection(draft, (), span)
    check_size([place.count or 1 for place in windows])
    groups = divide(meeting, formal, len(windows), span)
    axes: list[Axis] = []
    for place, count in zip(formal.axes, groups, strict=True):
        part = sizes[len(axes) : len(axes) + count]
        axes += named(meeting, place, name, part, span)
    return Formal(name, tuple(axes)), connection(draft, axes, span)


def _window_axis(place: Places) -> Axis:
    return Axis("", place.count, place.symbol)


def divide(meeting: Meeting, formal: ast.Formal, count: int, span: Span) -> list[int]:
    """How many windows go to each axis of a formal: one, or what a pack takes."""
    assert formal.axes is not None
    known = meeting.axes
    groups = [len(known.get(a.name.text, ())) if a.pack else 1 for a in formal.axes]
    unknown = [k for k, a in enumerate(formal.axes) if a.pack and a.name.text not in known]
    left = count - sum(groups)
    if len(unknown) > 1:
        message = f"how many axes each pack of `{formal.name.text}` has cannot be told"
        meeting.run.report.fail("E0407", message, span)
    if unknown and left >= 0:
        groups[unknown[0]] = left
    elif left != 0:
        text = ", ".join(a.name.text + "..." * a.pack for a in formal.axes)
        named_places = [known[a.name.text] for a in formal.axes if a.name.text in known]
        message = (
            f"`{formal.name.text}[{text}]` takes a window of "
            f"{_axes(sum(groups))}, found {_axes(count)}"
        )
        notes = tuple(meeting.places[a.name.text] for a in formal.axes if a.name.text in known)
        code = "E0503" if named_places and any(a.pack for a in formal.axes) else "E0407"
        meeting.run.report.fail(code, message, span, notes=notes[:1])
    return groups


def named(
    meeting: Meeting, place: ast.Axis, formal: str, sizes: Sequence[Axis], span: Span
) -> tuple[Axis, ...]:
    """The axes of one name of a formal; formals that share a name must agree in size."""
    name = place.name.text
    if name in meeting.axes:
        known = meeting.axes[name]
        if [(a.size, a.symbol) for a in known] != [(a.size, a.symbol) for a in sizes]:
            here, there = (_sizes(axes) for axes in (sizes, known))
            message = f"axis `{name}` has {here} in `{formal}`, but {there} before"
            meeting.run.report.fail("E0503", message, span, notes=(meeting.places[name],))
        return known
    base = _free(name, meeting.taken)
    texts = [f"{base}.{k}" for k in range(len(sizes))] if place.pack else [base]
    axes = tuple(replace(size, name=text) for size, text in zip(sizes, texts, strict=True))
    meeting.axes[name] = axes
    meeting.places[name] = Note(f"`{name}` has {_sizes(axes)} here", span)
    return axes


def translated(
    meeting: Meeting, formals: Sequence[tuple[Formal, Binding]], absent: frozenset[str], path: str
) -> Neuron:
    """The functional neuron, translated once for equal formals and numbers."""
    shapes = tuple(formal for formal, _ in formals)
    numbers = frozenset(f.name for f, b in formals if not isinstance(b, Connection)) | frozenset(
        meeting.constants
    )
    constants = tuple(meeting.constants.items())
    key = (id(meeting.definition), shapes, constants, absent, numbers)
    run = meeting.run
    if key not in run.neurons:
        run.neurons[key] = _translate(meeting, shapes, absent, numbers)
    return _stamped(run, run.neurons[key], path)


def _translate(
    meeting: Meeting, formals: tuple[Formal, ...], absent: frozenset[str], numbers: frozenset[str]
) -> Neuron:
    definition = meeting.definition
    meanings: dict[str, Meaning] = dict(meeting.constants)
    for formal in definition.formals:
        name = formal.name.text
        if formal.axes is not None:
            groups = tuple((a.name.text, meeting.axes[a.name.text]) for a in formal.axes)
            meanings[name] = Window(name, groups)
        elif name not in meanings:
            meanings[name] = Argument(name)
    body = Body(meeting.run, definition.span.source, meanings, dict(meeting.axes), clipped=absent)
    if not isinstance(definition.body, ast.NeuronBody):
        value = body.expression(definition.body)
        return Neuron(definition.name.text, formals, tuple(body.lets), value, span=definition.span)
    return _block(definition, definition.body, body, formals, numbers)


def _block(
    definition: ast.Neuron,
    node: ast.NeuronBody,
    body: Body,
    formals: tuple[Formal, ...],
    numbers: frozenset[str],
) -> Neuron:
    """A neuron with `state`, `forward` and perhaps `backward`."""
    code = Code(body, numbers)
    for state in node.states:
        body.locals[state.name.text] = body.record(state.name.text, body.expression(state.value))
    code.run(node.forward)
    if "value" not in body.locals:
        span = definition.name.span
        body.fail("E0705", f"`{definition.name.text}` never sets `value`", span)
    states = tuple(_kept(body, state.name.text) for state in node.states)
    lets, value = tuple(body.lets), body.locals["value"]
    backward = None if node.backward is None else _backward(code, node.backward)
    return Neuron(definition.name.text, formals, lets, value, states, backward, definition.span)


def _kept(body: Body, name: str) -> str:
    """The let that holds a state's last value."""
    value = body.locals[name]
    if not isinstance(value, Local):
        value = body.locals[name] = body.record(name, value)
    return value.name


def _backward(code: Code, statements: Sequence[ast.NeuronStatement]) -> Backward:
    body = code.body
    count = len(body.lets)
    body.locals["value"] = Local("value")
    body.locals["value.grad"] = Local("value.grad")
    reader = Code(body, code.numbers, backward=True)
    reader.run(statements)
    return Backward(tuple(body.lets[count:]), tuple(reader.contributions), written=True)


def _stamped(run: Run, neuron: Neuron, path: str) -> Neuron:
    """The neuron with random draws of this ensemble's own."""
    backward = neuron.backward
    back = backward.contributions if backward else ()
    lets = (*neuron.lets, *(backward.lets if backward else ()))
    parts = [let.expression for let in lets] + [c.expression for c in back] + [neuron.value]
    if not draws(parts):
        return neuron
    stamped = run.stamp(path, *parts)
    named = tuple(Let(old.name, new) for old, new in zip(lets, stamped, strict=False))
    count = len(neuron.lets)
    if backward:
        contributions = tuple(
            _with(old, new) for old, new in zip(back, stamped[len(lets) :], strict=False)
        )
        backward = Backward(named[count:], contributions, backward.written)
    return replace(neuron, lets=named[:count], value=stamped[-1], backward=backward)


def _with(contribution: Contribution, expression: Expression) -> Contribution:
    return replace(contribution, expression=expression)


def check_windows(
    run: Run, neuron: Neuron, windows: Sequence[tuple[str, Places, Axis, Span]], ranges: Ranges
) -> None:
    """A maximum or minimum over nothing has no value: its windows must meet the source."""
    folded = {
        axis.name
        for expression in (*(let.expression for let in neuron.lets), neuron.value)
        for node in walk(expression)
        if isinstance(node, Fold) and node.operator in EXTREMES
        for axis in node.axes
    }
    for name, entry, along, span in windows:
        if name not in folded:
            continue
        start = may_be_empty(entry, along, ranges)
        if start is not None:
            message = (
                f"the window `{start} ..+ {entry.count}` of `{neuron.name}` can lie outside its "
                f"axis of {along.size}: a maximum of nothing has no value"
            )
            run.report.fail(
                "E0604",
                message,
                span,
                help="every window must meet its source; is the padding too large?",
            )


def _free(name: str, taken: frozenset[str]) -> str:
    """The name of a window axis that no axis of the ensemble has."""
    clash = any(each == name or each.startswith(f"{name}.") for each in taken)
    return _free(f"{name}.w", taken) if clash else name


def _axes(count: int) -> str:
    return f"{count} axis" if count == 1 else f"{count} axes"


def _sizes(axes: Sequence[Axis]) -> str:
    text = ", ".join(axis.symbol or str(axis.size) for axis in axes)
    return f"size {text}" if len(axes) == 1 else f"sizes ({text})"


def _index_help(draft: Draft) -> str:
    return f"name one place along each axis of `{draft.reference}`"
