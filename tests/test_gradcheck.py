"""A right backward passes; a wrong one is found, and named with its neuron and formal."""

import latte
from latte.gradcheck import check_gradients

TEXT = """
neuron Cube(x, scale) {{
    forward  {{ value = scale * x ** 3 }}
    backward {{ x.grad += value.grad * {slope}
               scale.grad += value.grad * x ** 3 }}
}}
net Cubes {{
    input x[4]
    input label: class(3)
    layer_scale = Scaled(x)
    scores = Linear(layer_scale, 3)
    loss SoftmaxLoss(scores, label)
}}
layer Scaled(source[i]) {{
    param scale[i] = 1
    ensemble out[j: i] = Cube(source[j], scale[j])
}}
"""


def _failures(slope: str) -> list[tuple[str, str, bool]]:
    checks = check_gradients(latte.loads(TEXT.format(slope=slope)).elaborated)
    return [(c.neuron, c.formal, c.written) for c in checks if not c.passed]


def test_a_right_backward_passes() -> None:
    assert _failures("3 * scale * x ** 2") == []


def test_a_wrong_backward_is_found() -> None:
    assert _failures("3 * scale * x") == [("Cube", "x", True)]


def test_each_kind_of_neuron_is_checked_once() -> None:
    checks = check_gradients(latte.loads(TEXT.format(slope="3 * scale * x ** 2")).elaborated)
    kinds = [(check.neuron, check.formal) for check in checks]
    assert kinds == [
        ("Cube", "x"),
        ("Cube", "scale"),
        ("Weighted", "x"),
        ("Weighted", "weight"),
        ("Weighted", "bias"),
        ("CrossEntropy", "x"),
    ]


def test_draws_are_the_same_when_a_value_is_moved() -> None:
    text = "net A { input x[4]\n loss MeanSquaredLoss(Dropout(Linear(x, 4)), x) }"
    assert all(check.passed for check in check_gradients(latte.loads(text).elaborated))


def test_batches_and_roots_of_values_can_be_checked() -> None:
    text = "net A { input x[4]\n input y[4]\n b = BatchNorm(x)\n loss MeanSquaredLoss(b, y) }"
    checks = check_gradients(latte.loads(text).elaborated)
    assert {check.neuron for check in checks} >= {"Mean", "Variance", "Normalize"}
    assert all(check.passed for check in checks)
