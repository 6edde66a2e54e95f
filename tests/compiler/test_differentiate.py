"""Derived backward bodies, as text. That they are right is checked with finite differences in
tests/layers/test_gradients.py."""

import re
from textwrap import dedent

import pytest

from latte import build
from latte.compiler.differentiate import differentiate
from latte.compiler.net import Ensemble, Neuron
from latte.compiler.show import show

CASES = {
    "a weighted sum": (
        "x[i], w[i], b",
        "b + sum(i) w[i] * x[i]",
        """\
        x[i] += w[i] * value.grad
        w[i] += x[i] * value.grad
        b += value.grad""",
    ),
    "a constant wins ties": ("x", "max(0, x)", "x += if value > 0 then value.grad else 0"),
    "of two arguments the first wins": (
        "x, y",
        "min(x, y)",
        """\
        x += if x <= y then value.grad else 0
        y += if x <= y then 0 else value.grad""",
    ),
    "the winner's place is kept": (
        "x[i]",
        "max(i) x[i]",
        """\
        keep winner = argmax [i: 5] x[i]
        x[i] += if i == winner then value.grad else 0""",
    ),
    "a gradient that a window shares gets a name": (
        "x[i], b",
        "sigmoid(b + sum(i) x[i])",
        """\
        let sum.grad = value.grad * (value * (1 - value))
        x[i] += sum.grad
        b += sum.grad""",
    ),
    "folds are kept, what is constant in them comes out": (
        "x[i]",
        "log(sum(i) exp(3 * x[i]))",
        """\
        keep sum = sum [i: 5] exp(3 * x[i])
        x[i] += 3 * (value.grad / sum * exp(3 * x[i]))""",
    ),
    "a product with zeros": (
        "x[i]",
        "prod(i) x[i]",
        """\
        keep zeros = sum [i: 5] (if x[i] == 0 then 1 else 0)
        keep rest = prod [i: 5] (if x[i] == 0 then 1 else x[i])
        x[i] += value.grad * (if zeros == 0 then rest / x[i] else if x[i] == 0 then """
        "if zeros == 1 then rest else 0 else 0)",
    ),
    "steps have no gradient": ("x", "x - floor(x) + (if x > 1 then 1 else 0)", "x += value.grad"),
    "what is not chosen is not evaluated": (
        "x",
        "if x > 0 then log(x) else x",
        "x += if x > 0 then value.grad / x else value.grad",
    ),
    "a draw is drawn again": (
        "x",
        "if random() < 0.5 then 0 else 2 * x",
        "x += if uniform#0() < 0.5 then 0 else 2 * value.grad",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_derived_backward(case: str) -> None:
    formals, body, expected = CASES[case]
    assert backward(f"neuron N({formals}) = {body}", formals) == dedent(expected)


def test_softmax_and_its_loss_cancel() -> None:
    """The path through the largest score has gradient g - g/s * s = 0 and is not there."""
    body = """neuron N(x[i], label) {
        forward {
            let top = max(i) x[i]
            value = top - x[label] + log(sum(i) exp(x[i] - top))
        }
    }"""
    found = backward(body, "x[i], label")
    assert "winner" not in found
    assert found.splitlines()[-1] == (
        "x[i] += (if i == label then -value.grad else 0) + value.grad / sum * exp(x[i] - top)"
    )


def test_a_written_backward_is_put_at_the_formals_own_axes() -> None:
    body = """neuron N(x[i...]) {
        state at = argmax(i) x[i]
        forward  { value = x[at] }
        backward { x.grad[at] += 2 * value.grad }
    }"""
    assert backward(body, "x[i]").splitlines() == [
        "keep at = argmax [i.0: 5] x[i.0]",
        "x[i.0] += if i.0 == at then 2 * value.grad else 0",
    ]


def backward(definition: str, formals: str) -> str:
    """The backward body of a neuron whose windows have five places, as text."""
    names = [formal.split("[")[0] for formal in formals.split(", ")]
    windows = [formal.split("[")[0] for formal in formals.split(", ") if "[" in formal]
    inputs = [
        f"input {name}{'[5]' if name in windows else ''}{': class(5)' * (name == 'label')}"
        for name in names
    ]
    call = ", ".join(f"{name}[...]" if name in windows else name for name in names)
    lines = [definition, "net T {", *inputs, f"ensemble out = N({call})", "loss out", "}"]
    net = build.elaborate(build.read_text("\n".join(lines), "test"), None, {})
    [node] = differentiate(net).nodes
    assert isinstance(node, Ensemble)
    return re.sub(r"#\d+", "#0", shown(node.neuron))


def shown(neuron: Neuron) -> str:
    assert neuron.backward is not None
    kept = [let for let in neuron.lets if let.name in neuron.states]
    lines = [f"keep {let.name} = {show(let.expression)}" for let in kept]
    lines += [f"let {let.name} = {show(let.expression)}" for let in neuron.backward.lets]
    for entry in neuron.backward.contributions:
        place = f"[{', '.join(map(str, entry.index))}]" if entry.index else ""
        lines.append(f"{entry.formal}{place} += {show(entry.expression)}")
    return "\n".join(lines)
