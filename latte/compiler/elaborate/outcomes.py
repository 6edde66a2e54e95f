"""What a net is for: losses, metrics, and updates of running values.

loss 0.3 * SoftmaxLoss(scores, label)       ->  Loss("softmaxloss1", weight 0.3)
update mean[ch] = 0.9 * mean[ch] + 0.1 * m[ch]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from latte.compiler import net as forms
from latte.compiler.affine import Affine, axis, constant
from latte.compiler.elaborate.calls import formal_names, renamed
from latte.compiler.elaborate.connect import as_draft, connection
from latte.compiler.elaborate.declare import names_in
from latte.compiler.elaborate.evaluate import axis_value
from latte.compiler.elaborate.formals import Formals
from latte.compiler.elaborate.values import (
    Fault,
    Formula,
    Instance,
    Reference,
    Value,
    formula,
    source,
)
from latte.compiler.expression import Axis
from latte.errors import Span
from latte.lang import ast


@dataclass(slots=True)
class Outcomes(Formals):
    """A body with losses, metrics and updates."""

    def loss(self, node: ast.Loss) -> None:
        """`loss 0.3 * SoftmaxLoss(scores, label)`."""
        self.only_net("loss", node.span)
        weight, value = self.weighed(node.value, node.name)
        reference = self.reported(value, node.name, node.value.span, "loss")
        name = node.name.text if node.name else self.short_name(value, reference)
        self.run.losses.append(forms.Loss(name, reference.node, weight))

    def metric(self, node: ast.Metric) -> None:
        """`metric accuracy = Accuracy(scores, label)`."""
        self.only_net("metric", node.span)
        value = self.evaluate(node.value, node.name.text if node.name else None)
        reference = self.reported(value, node.name, node.value.span, "metric")
        name = node.name.text if node.name else self.short_name(value, reference)
        self.run.metrics.append(forms.Metric(name, reference.node))

    def only_net(self, word: str, span: Span) -> None:
        if not self.is_net:
            self.run.report.fail("E0107", f"`{word}` stands only in a net", span)

    def weighed(self, node: ast.Expression, name: ast.Name | None) -> tuple[float, Value]:
        """A loss with its weight: compile-time factors are taken apart."""
        text = name.text if name else None
        if not isinstance(node, ast.Binary) or node.op not in ("*", "/"):
            return 1.0, self.evaluate(node, text)
        call_right = isinstance(node.right, ast.Call | ast.Binary)
        left = self.evaluate(node.left, None if call_right else text)
        if isinstance(left, (int, float, Fraction)) and node.op == "*":
            weight, value = self.weighed(node.right, name)
            return float(left) * weight, value
        right = self.evaluate(node.right)
        if isinstance(right, (int, float, Fraction)) and right != 0:
            factor = float(right) if node.op == "*" else 1 / float(right)
            return factor, left
        return 1.0, self.apply(node.op, (left, right), node)

    def reported(self, value: Value, name: ast.Name | None, span: Span, word: str) -> Reference:
        """The node of a loss or metric."""
        if isinstance(value, Formula) and value.sources:
            value = self.materialise(value, name.text if name else None, span)
        with self.run.report.at(span):
            reference = source(value)
        if reference.moment is not forms.Moment.SAME or reference.items:
            message = f"a {word} is an ensemble, found `{reference}`"
            self.run.report.fail("E0610", message, span)
        if name is not None:
            self.run.names.setdefault(name.text, reference.node)
        return reference

    def short_name(self, value: Value, reference: Reference) -> str:
        """What an unnamed loss is reported as: the path of its call."""
        return value.path if isinstance(value, Instance) else reference.node

    def update(self, node: ast.Update) -> None:
        """`update mean[ch] = momentum * mean[ch] + (1 - momentum) * m[ch]`."""
        running = self.read(node.name)
        path = running.node if isinstance(running, Reference) else ""
        target = next((each for each in self.run.runnings if each.name == path), None)
        if target is None:
            message = f"`{node.name.text}` is no running value"
            self.run.report.fail("E0310", message, node.name.span)
        assert target is not None
        for name in names_in(node.value):
            self.find(name)  # an ensemble that stands further on is declared now
        axes, values, index = self.update_axes(node, target)
        inner = self.within(values, axes)
        value = inner.evaluate(node.value)
        with self.run.report.at(node.value.span):
            made = formula(value)
            drafts = [(key, as_draft(each)) for key, each in made.sources]
            for _, each in drafts:
                if each.windows:
                    raise Fault("E0407", "an update reads single values, not windows")
        names = formal_names([key for key, _ in drafts])
        [expression] = self.run.stamp(f"{path}#update", renamed(made.expression, names))
        neuron = forms.Neuron(
            "update", tuple(forms.Formal(each) for each in names.values()), (), expression
        )
        bindings = tuple(connection(each, (), node.value.span) for _, each in drafts)
        self.run.updates.append(
            forms.Update(path, tuple(axes), tuple(index), neuron, bindings, node.span)
        )

    def update_axes(
        self, node: ast.Update, target: forms.Running
    ) -> tuple[list[Axis], dict[str, Value], list[Affine]]:
        """The axes that an update runs over: a name for each axis of the running value."""
        axes: list[Axis] = []
        values: dict[str, Value] = {}
        index: list[Affine] = []
        for item in node.items:
            along = target.axes[len(index) :]
            word = item.name if isinstance(item, ast.Spread) else item
            if isinstance(word, ast.Name) and along:
                rank = len(along) - (len(node.items) - len(values) - 1) if item != word else 1
                names = [f"{word.text}.{k}" for k in range(rank)] if item != word else [word.text]
                axes += [Axis(n, a.size) for n, a in zip(names, along, strict=False)]
                values[word.text] = axis_value(names, item != word)
                index += [axis(name) for name in names]
            else:
                index.append(constant(self.update_place(item, along)))
        if len(index) != len(target.axes):
            message = f"`{node.name.text}` has {len(target.axes)} axes, found {len(index)} indices"
            self.run.report.fail("E0601", message, node.name.span)
        return axes, values, index

    def update_place(self, item: ast.Item, along: Sequence[Axis]) -> int:
        if isinstance(item, (ast.Whole, ast.Rest, ast.Window, ast.Range, ast.Spread)) or not along:
            message = "an update has a name or a number for each axis"
            self.run.report.fail("E0601", message, item.span)
        place = self.whole(item, "an index")
        if not 0 <= place < along[0].size:
            message = f"index {place} is outside 0 .. {along[0].size - 1}"
            self.run.report.fail("E0602", message, item.span)
        return place
