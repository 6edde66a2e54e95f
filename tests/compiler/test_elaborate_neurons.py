"""Bodies of neurons as functions: loops, branches, reassignment, written backward."""

from __future__ import annotations

import textwrap

import pytest

from latte.compiler.elaborate import elaborate
from latte.compiler.expression import Random
from latte.compiler.net import Ensemble, Neuron
from latte.compiler.rewrite import walk
from latte.compiler.show import show_net
from latte.errors import LatteError
from latte.lang.resolve import load_text

OPEN = "image[y ..+ 3, x ..+ 2]"
CLIPPED = "image[y - 1 ..+ 2, x]"


def text_of(definition: str, connection: str = OPEN) -> str:
    """The neuron's lines in the net, connected to a window of [3, 2] (or a clipped one of [2])."""
    text = f"""net N {{
        input image[6, 6]
        ensemble a[y: 4, x: 4] = T({connection})
    }}
    {definition}"""
    net = elaborate(load_text(text))
    lines = show_net(net).split("    )\n")[1].splitlines()
    return textwrap.dedent("\n".join(line for line in lines if line.startswith("        ")))


def same(found: str, expected: str) -> None:
    assert found == textwrap.dedent(expected).strip()


def test_a_loop_that_adds_is_a_sum() -> None:
    found = text_of("""neuron T(x[i...]) { forward {
        let total = 0
        for i in x { if x[i] > 0 { total += x[i] ** 2 } }
        value = sqrt(total)
    } }""")
    same(
        found,
        """
        let total = sum [i.0: 3, i.1: 2] (if x[i.0, i.1] > 0 then x[i.0, i.1] ** 2 else 0)
        let result = sqrt(total)
        value = result
        """,
    )


def test_a_loop_that_keeps_the_greatest() -> None:
    found = text_of(
        """neuron T(x[a, b]) { forward {
        let best = -1000
        let row = 0
        for a, b in x { if x[a, b] > best { best = x[a, b]; row = a } }
        value = best + row
    } }"""
    )
    same(
        found,
        """
        let best = max(-1000, max [a: 3, b: 2] x[a, b])
        let row = if max [a: 3, b: 2] x[a, b] > -1000 then FIRST // 2 % 3 else 0
        let result = best + row
        value = result
        """.replace("FIRST", "(argmax [a: 3, b: 2] x[a, b])"),
    )


def test_products_extremes_and_truths() -> None:
    found = text_of(
        """neuron T(x[i]) { forward {
        let p = 1
        let least = 100
        let some = 0 > 1
        for i in x { p *= x[i]; least = min(least, x[i]); some = some or x[i] > 3 }
        if some { value = p } else { value = least }
    } }""",
        "image[y, x ..+ 3]",
    )
    assert "let p = prod [i: 3] x[i]" in found
    assert "let least = min(100, min [i: 3] x[i])" in found
    assert "any [i: 3] (x[i] > 3)" in found


def test_other_loops_are_written_out() -> None:
    horner = """neuron T(x[i]) { forward {
        let s = 0
        for i in x { s = s * 2 + x[i] }
        value = s
    } }"""
    same(
        text_of(horner, "image[y, x ..+ 2]"),
        """
        let s = 0 + x[0]
        let s.1 = s * 2 + x[1]
        value = s.1
        """,
    )
    clipped = text_of(horner, CLIPPED)
    assert "let s.1 = if any [i: 2] (i == 1) then s * 2 + (sum [i: 2]" in clipped


def test_nested_loops() -> None:
    found = text_of("""neuron T(x[a, b]) { forward {
        let s = 0
        for a, b in x { s += x[a, b] * b }
        value = s
    } }""")
    assert "let s = sum [a: 3, b: 2] x[a, b] * b" in found


def test_branches_and_reassignment() -> None:
    found = text_of("""neuron T(x[i...]) { forward {
        let m = max(i) x[i]
        let m = m * 2
        if m > 3 { m = 3 } else if m < 0 { let t = m + 1; m = t * t }
        value = m
    } }""")
    same(
        found,
        """
        let m = max [i.0: 3, i.1: 2] x[i.0, i.1]
        let m.1 = m * 2
        let m.2 = if m.1 > 3 then 3 else if m.1 < 0 then (m.1 + 1) * (m.1 + 1) else m.1
        value = m.2
        """,
    )


def test_written_backward() -> None:
    found = text_of("""neuron T(x[i...]) {
        state at = argmax(i) x[i]
        forward { value = x[at] * 2 }
        backward {
            x.grad[at] += 2 * value.grad
            for i in x { if x[i] > value { x.grad[i] -= value.grad } }
        }
    }""")
    assert "let at = argmax [i.0: 3, i.1: 2] x[i.0, i.1]" in found
    assert "x[at // 2, at % 2] * 2" in found
    assert "x.grad[at // 2, at % 2] += 2 * value.grad" in found
    assert "x.grad[i.0, i.1] += if x[i.0, i.1] > value then -value.grad else 0" in found


def test_state_changed_in_forward_is_kept_at_its_last() -> None:
    text = """net N { input a[9]
        ensemble m = T(a[:]) }
    neuron T(x[i]) {
        state at = 0
        forward {
            let best = -1
            for i in x { if x[i] > best { best = x[i]; at = i } }
            value = best
        }
        backward { x.grad[at] += value.grad }
    }"""
    neuron = neuron_of(text)
    assert neuron.states == ("at.1",)
    assert neuron.backward is not None and "at.1" in str(neuron.backward.contributions)


def test_reductions_inside_reductions_come_first() -> None:
    found = text_of("neuron T(x[i...]) = sum(i) exp(x[i] - max(i) x[i])")
    same(
        found,
        """
        let fold = max [i.0: 3, i.1: 2] x[i.0, i.1]
        value = sum [i.0: 3, i.1: 2] exp(x[i.0, i.1] - fold)
        """,
    )


def test_positions_counts_and_sizes() -> None:
    found = text_of(
        "neuron T(x[r, c]) = sum(r, c) (r * c + c // 2) * x[r, c] / count(r) / size(r, c)"
    )
    assert "(r * c + (c) // 2) * x[r, c]" in found
    assert "/ count(r) / 6" in found


def test_other_neurons_are_written_out() -> None:
    found = text_of("""neuron T(x[i...]) = Twice(Rms(x))
    neuron Twice(y) = y + y
    neuron Rms(z[k...]) = sqrt(sum(k) z[k] ** 2)""")
    same(
        found,
        "value = sqrt(sum [i.0: 3, i.1: 2] x[i.0, i.1] ** 2) + "
        "sqrt(sum [i.0: 3, i.1: 2] x[i.0, i.1] ** 2)",
    )


def test_a_window_without_axes_is_one_value() -> None:
    assert text_of("neuron T(x[i...]) = sum(i) x[i] / count(i)", "image[y, x]") == "value = x / 1"


def test_equal_neurons_are_translated_once() -> None:
    text = "net N { input a[4]\n b = ReLU(a)\n c = ReLU(b)\n d = Dropout(c)\n e = Dropout(d) }"
    nodes = [node for node in elaborate(load_text(text)).nodes if isinstance(node, Ensemble)]
    assert nodes[0].neuron is nodes[1].neuron
    streams = {
        node.stream
        for each in nodes
        for node in walk(each.neuron.value)
        if isinstance(node, Random)
    }
    assert len(streams) == 2


def neuron_of(text: str) -> Neuron:
    [node] = elaborate(load_text(text)).nodes
    assert isinstance(node, Ensemble)
    return node.neuron


@pytest.mark.parametrize(
    ("definition", "code"),
    [
        ("neuron T(x[i...]) = x[7] + sum(i) x[i]", "E0702"),
        ("neuron T(x[i...]) = sum(i) x[i, i, i]", "E0706"),
        ("neuron T(x) = x", "E0407"),
        ("neuron T(x[i]) = sum(i) x[i]", "E0407"),
    ],
)
def test_mistakes(definition: str, code: str) -> None:
    with pytest.raises(LatteError, match=code):
        text_of(definition)
