"""The road from definitions to a Net: choose the net, carry out its body, check it as a whole.

In: what `latte.lang` loads, the name of a net, arguments.  Out: a Net with every size a number.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from latte.compiler import net as forms
from latte.compiler.elaborate.block import Block, bound_names
from latte.compiler.elaborate.context import Definitions, Run
from latte.compiler.elaborate.cycles import check_time, check_updates
from latte.compiler.elaborate.evaluate import Evaluator
from latte.compiler.elaborate.report import Report
from latte.compiler.elaborate.solver import chosen_train, training
from latte.compiler.elaborate.values import Poison, Poisoned, Value
from latte.errors import Collector, Source, Span, did_you_mean, fail
from latte.lang import ast

FRAMES = 10_000  # of Python, for layers nested as deep as `context.DEPTH` allows


def elaborate(
    definitions: Definitions,
    name: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    found: Collector | None = None,
) -> forms.Net:
    """The Net that a specification describes.

    `name` chooses one of several nets; `arguments` (numbers, truth values, texts, tuples) override
    formals of the net and `const`s. Raises LatteError with all mistakes found, also those
    that `found` brings: what stands at the same places is not told again.
    """
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, FRAMES))
    try:
        return _elaborated(definitions, name, arguments, found or Collector())
    finally:
        sys.setrecursionlimit(limit)


def _elaborated(
    definitions: Definitions,
    name: str | None,
    arguments: Mapping[str, Any] | None,
    found: Collector,
) -> forms.Net:
    report = Report(definitions.is_library, found, told=found.diagnostics)
    given = dict(arguments or {})
    node = chosen(definitions, name)
    constants = Constants(report, definitions, given)
    run = Run(definitions, report, constants.value)
    constants.run = run
    file = node.span.source
    check_arguments(definitions, node, given)
    declared = frozenset(bound_names(node.body))
    body = Block(run, file, {}, declared=declared, is_net=True)
    for formal in node.formals:
        word = formal.name.text
        body.values[word] = argument(body, formal, given[word]) if word in given else Poison()
        if word not in given:
            body.quietly(default, body, formal)
    body.run_body(node.body)
    trained = training(run, file, chosen_train(definitions.trains, node))
    check_time(run)
    if not run.nodes and not report.collector.failed:
        report.error("E0420", f"net `{node.name.text}` makes nothing", node.name.span)
    report.collector.raise_errors()
    net = finished(run, node, trained)
    check_updates(run, net)
    report.collector.raise_errors()
    return net


def finished(run: Run, node: ast.Net, trained: forms.Training) -> forms.Net:
    """The Net of everything that was made."""
    return forms.Net(
        node.name.text,
        tuple(run.inputs),
        tuple(run.parameters),
        tuple(run.runnings),
        tuple(each for each in run.nodes if each is not None),
        tuple(run.updates),
        tuple(run.losses),
        tuple(run.metrics),
        trained,
        tuple(run.names.items()),
        run.output,
        node.span,
    )


def chosen(definitions: Definitions, name: str | None) -> ast.Net:
    """The net of that name, or the only one."""
    nets = definitions.nets
    known = [net.name.text for net in nets]
    if name is None:
        if len(nets) == 1:
            return nets[0]
        span = nets[1].name.span if nets else Span(definitions.file.source, 0, 0)
        if not nets:
            fail("E0414", "this file has no net", span, help="begin with `net Name { ... }`")
        text = ", ".join(f"`{each}`" for each in known)
        help = f"choose one, as in `{span.file}:{known[0]}`"
        fail("E0414", f"this file has {len(nets)} nets and none was named: {text}", span, help=help)
    for net in nets:
        if net.name.text == name:
            return net
    text = ", ".join(f"`{each}`" for each in known) or "none"
    help = did_you_mean(name, known) or f"its nets: {text}"
    place = Span(definitions.file.source, 0, 0)
    fail("E0414", f"this file has no net `{name}`", place, help=help)


def default(body: Block, formal: ast.Formal) -> None:
    """The default of a net's formal."""
    if formal.default is None:
        message = f"the net needs a value for `{formal.name.text}`"
        help = f"`-D {formal.name.text}=...`, or a default"
        body.run.report.fail("E0401", message, formal.span, help=help)
    body.values[formal.name.text] = body.evaluate(formal.default)


def argument(body: Block, formal: ast.Formal, value: Any) -> Value:
    """A value from outside: a number, a truth value, a text or a tuple of numbers."""
    if isinstance(value, list):
        value = tuple(value)
    items = value if isinstance(value, tuple) else (value,)
    if all(isinstance(item, (int, float, str)) for item in items):
        return value  # type: ignore[no-any-return]
    fail("E0415", f"`{formal.name.text}` cannot be {value!r}", formal.span)


def check_arguments(definitions: Definitions, node: ast.Net, given: Mapping[str, Any]) -> None:
    """Every argument from outside must name a formal of the net or a `const`."""
    formals = [formal.name.text for formal in node.formals]
    constants = definitions.names(ast.Const, node.span.source)
    known = [*formals, *constants]
    for name in given:
        if name not in known:
            text = ", ".join(f"`{each}`" for each in known) or "none"
            help = did_you_mean(name, known) or f"it has {text}"
            message = f"net `{node.name.text}` has no argument `{name}`"
            fail("E0415", message, node.name.span, help=help)


class Constants:
    """The values of `const`s, each evaluated when it is first read."""

    run: Run

    def __init__(self, report: Report, definitions: Definitions, given: Mapping[str, Any]) -> None:
        self.report, self.definitions, self.given = report, definitions, given
        self.values: dict[int, Value] = {}

    def value(self, node: ast.Const) -> Value:
        """The value of one; `-D name=value` replaces that of a user's file."""
        key, source = id(node), node.span.source
        if key not in self.values:
            if node.name.text in self.given and not self.definitions.is_library(source):
                self.values[key] = self.given[node.name.text]
            else:
                self.values[key] = self.evaluated(node, source)
        if isinstance(self.values[key], Poison):
            raise Poisoned
        return self.values[key]

    def evaluated(self, node: ast.Const, source: Source) -> Value:
        self.values[id(node)] = Poison()
        try:
            return Evaluator(self.run, source, {}).evaluate(node.value)
        except Poisoned:
            return Poison()
