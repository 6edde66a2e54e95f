"""The Python front: what `import latte` promises."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import latte
from latte import summary
from latte.compiler.show import show_net

TEXT = """
net First(width = 8) {
    input x[4]
    input label: class(3)
    hidden = Tanh(Linear(x, width, name = "enter"))
    scores = Linear(hidden, 3)
    loss SoftmaxLoss(scores, label)
    metric accuracy = Accuracy(scores, label)
}
"""


@pytest.fixture
def feed() -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0)
    return {"x": draw.normal(size=(6, 4)).astype(np.float32), "label": draw.integers(0, 3, 6)}


def test_importing_loads_nothing() -> None:
    code = (
        "import latte, sys; print([m for m in ('lark', 'numpy', 'llvmlite') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_exist() -> None:
    for name in latte.__all__:
        assert getattr(latte, name) is not None
    assert latte.__version__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        latte.nothing  # noqa: B018


def test_forward_gives_losses_metrics_and_the_output(feed: dict[str, np.ndarray]) -> None:
    out = latte.loads(TEXT).compile(batch=6).forward(**feed)
    assert {"loss", "accuracy", "scores"} <= out.keys()
    assert out["scores"].shape == (6, 3)


def test_arguments_are_keywords(feed: dict[str, np.ndarray]) -> None:
    exe = latte.loads(TEXT, width=5).compile(batch=6)
    assert exe.params["enter.weight"].shape == (5, 4)


def test_step_is_forward_backward_update(feed: dict[str, np.ndarray]) -> None:
    apart, together = (latte.loads(TEXT).compile(batch=6, seed=3) for _ in range(2))
    for _ in range(3):
        apart.forward(**feed)
        apart.backward()
        apart.update()
        together.step(**feed)
    for name in apart.params:
        np.testing.assert_array_equal(apart.params[name], together.params[name])


def test_both_targets_agree(feed: dict[str, np.ndarray]) -> None:
    cpu, oracle = (latte.loads(TEXT).compile(batch=6, target=t) for t in ("cpu", "interp"))
    for exe in (cpu, oracle):
        exe.forward(**feed)
        exe.backward()
    for name in cpu.params:
        np.testing.assert_allclose(cpu.grads[name], oracle.grads[name], rtol=1e-4, atol=1e-6)


def test_predict_takes_any_number_and_only_what_it_needs(feed: dict[str, np.ndarray]) -> None:
    exe = latte.loads(TEXT).compile(batch=4, mode="infer")
    scores = exe.predict(x=feed["x"])
    assert scores.shape == (6, 3)
    np.testing.assert_array_equal(exe.predict(x=feed["x"][4:]), scores[4:])


def test_weights_survive_a_file(tmp_path: Path, feed: dict[str, np.ndarray]) -> None:
    first, second = (latte.loads(TEXT).compile(batch=6, seed=seed) for seed in (1, 2))
    first.save(tmp_path / "w.safetensors")
    second.load(tmp_path / "w.safetensors")
    np.testing.assert_array_equal(first.predict(x=feed["x"]), second.predict(x=feed["x"]))


def test_a_net_in_python_equals_its_text() -> None:
    with latte.Net("First") as net:
        x, label = net.input("x", 4), net.input("label", classes=3)
        hidden = net.Tanh(net.Linear(x, 8, name="enter"))
        scores = net.Linear(hidden, 3, name="scores")
        net.loss(net.SoftmaxLoss(scores, label))
        net.metric(net.Accuracy(scores, label), "accuracy")
    again = latte.loads(str(net)).elaborated
    assert show_net(again) == show_net(net.elaborated)
    text = latte.loads(TEXT).elaborated
    assert [p.name for p in text.parameters] == [p.name for p in again.parameters]
    assert text.output == again.output


def test_mistakes_in_python_are_diagnostics() -> None:
    with pytest.raises(latte.LatteError) as raised, latte.Net("Wrong") as net:
        net.loss(net.Convv(net.input("x", 4), 3))
    assert "did you mean `Conv`" in str(raised.value)


def test_definitions_are_seen_by_later_nets(monkeypatch: pytest.MonkeyPatch) -> None:
    from latte import model

    monkeypatch.setattr(model, "_defined", [])
    latte.define("neuron Twice(x) = 2 * x")
    exe = latte.loads("net A { input x[3]\n y = Twice(x) }").compile(batch=2)
    np.testing.assert_allclose(exe.predict(x=np.ones((2, 3))), 2)
    with pytest.raises(latte.LatteError):
        latte.define("neuron Broken(x) = 2 * y")


def test_unknown_targets_and_modes_are_told() -> None:
    net = latte.loads(TEXT)
    with pytest.raises(latte.LatteError, match="not in this build"):
        net.compile(batch=2, target="cuda")
    with pytest.raises(latte.LatteError, match="no mode `test`"):
        net.compile(batch=2, mode="test")
    with pytest.raises(latte.LatteError, match="batch=0"):
        net.compile(batch=0)


@pytest.mark.parametrize(
    "options", [{"batch": 2.5}, {"batch": True}, {"batch": 2, "threads": -1}, {"seed": "a"}]
)
def test_options_are_whole_numbers(options: dict[str, object]) -> None:
    with pytest.raises(latte.LatteError, match="E0913"):
        latte.loads(TEXT).compile(**options)


def test_a_net_that_grows_is_elaborated_again() -> None:
    net = latte.Net("Grows")
    hidden = net.Linear(net.input("x", 4), 3, name="a")
    assert net.summary().parameters == 15
    net.Linear(hidden, 2, name="b")
    assert net.summary().parameters == 15 + 8


def test_a_summary_counts_parameters_and_work() -> None:
    made = latte.loads(TEXT).summary()
    rows = {row.name: row for row in made.rows}
    assert rows["enter"].parameters == 4 * 8 + 8
    assert rows["enter"].flops == 8 * (4 * 2 + 1)
    assert made.parameters == 40 + 27
    assert made.peak is not None and made.peak > 4 * 3 * 67
    assert isinstance(made, summary.Summary)
    assert "<table>" in made.html() and "67 parameters" in made.text()


def test_which_net_is_meant_is_asked_at_once() -> None:
    two = "net A { input x[3]\n y = ReLU(x) }\nnet B { input x[3]\n y = Tanh(x) }"
    with pytest.raises(latte.LatteError, match="2 nets and none was named: `A`, `B`"):
        latte.loads(two)
    with pytest.raises(latte.LatteError, match="no net `C`"):
        latte.loads(two, net="C")
    assert latte.loads(two, net="B").elaborated.name == "B"


def test_a_loss_is_a_value_of_the_net() -> None:
    net = latte.Net("Wrong")
    with pytest.raises(TypeError, match="the value comes first"):
        net.metric("accuracy", net.ReLU(net.input("x", 3)))
