"""The Python front: what `import latte` promises."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
    for target in ("cuda", "gpu", "GPU"):
        code, text, help = told(lambda: net.compile(batch=2, target=target))  # noqa: B023
        assert (code, "not in this build" in text) == ("E0950", True)
        assert '"cpu"' in help
    assert told(lambda: net.compile(batch=2, target="CPU"))[2] == "did you mean `cpu`?"
    assert told(lambda: net.compile(batch=2, target=[]))[0] == "E0913"  # type: ignore[arg-type]
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


# What is given wrongly


def told(call: Callable[[], object]) -> tuple[str, str, str]:
    """The code, the message and the help of a mistake."""
    with pytest.raises(latte.LatteError) as raised:
        call()
    (found,) = raised.value.diagnostics
    return found.code, found.message, found.help


@pytest.mark.parametrize(
    "value, message, help",
    [
        (None, "`path` cannot be None", "give the path of a .latte file"),
        (3, "`path` cannot be 3", "give the path of a .latte file"),
        (["a.latte"], "`path` cannot be of the type list", "give the path of a .latte file"),
        (b"a.latte", "`path` cannot be b'a.latte'", "give the path of a .latte file"),
        ("net A {\n}", r"`path` cannot be 'net A {\n}'", "latte.loads takes one"),
        (latte.Net("A"), "`path` is a net, where a path is expected", "net.compile(...)"),
    ],
)
def test_what_is_no_path_is_told(value: object, message: str, help: str) -> None:
    for read in (latte.compile, latte.load):
        code, text, hint = told(lambda: read(value))  # noqa: B023
        assert (code, text) == ("E0918", message)
        assert help in hint


def test_a_folder_is_no_net(tmp_path: Path) -> None:
    assert told(lambda: latte.compile(tmp_path))[0] == "E0001"
    exe = latte.loads(TEXT).compile(batch=2)
    assert "is a folder" in told(lambda: exe.load(tmp_path))[1]
    assert told(lambda: exe.save(None))[0] == "E0916"  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [None, 3, b"net A {}", Path("net.latte"), "net.latte"])
def test_what_is_no_text_is_told(value: object) -> None:
    assert told(lambda: latte.loads(value))[0] == "E0918"  # type: ignore[arg-type]
    assert told(lambda: latte.define(value))[0] == "E0918"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options, message, help",
    [
        ({}, "`data` cannot be None", '{"x": ..., "label": ...}'),
        ({"data": [1]}, "`data` cannot be of the type list", "by name"),
        ({"data": {}}, "`data` cannot be an empty dict", "by name"),
        ({"data": np.zeros((2, 4))}, "`data` cannot be of the type ndarray", "by name"),
        ({"data": Path("d")}, "`data` cannot be of the type PosixPath", '"mnist:d"'),
        ({"data": "digits", "test": 3}, "`test` cannot be 3", 'test="digits"'),
        ({"data": "digits", "epochs": "3"}, "`epochs` cannot be '3'", "whole number"),
        ({"data": "digits", "save": 3}, "`save` cannot be 3", "a folder"),
        ({"data": "digits", "on_epoch": 3}, "`on_epoch` cannot be 3", "a function"),
        ({"data": "digits", "epoch": 3}, "`epoch` is no option of `train`", "`epochs`"),
    ],
)
def test_what_training_cannot_use_is_told(
    options: dict[str, object], message: str, help: str
) -> None:
    code, text, hint = told(lambda: latte.train(latte.loads(TEXT), **options))
    assert (code, text) == ("E0918", message)
    assert help in hint


def test_arrays_that_are_none_are_told() -> None:
    net = latte.loads(TEXT)
    assert told(lambda: latte.train(net, {"x": None}))[:2] == ("E0853", "`x` is None")
    assert told(lambda: latte.train(net, {"x": ["a"]}))[:2] == ("E0853", "`x` holds <U1")
    assert told(lambda: latte.train(net, {"x": [[1], [1, 2]]}))[0] == "E0853"


@pytest.mark.parametrize(
    "name, help",
    [
        ("fuse", "did you mean the option `no_fuse`?"),
        ("widht", "did you mean the argument `width`?"),
        ("with", "did you mean the argument `width`?"),
        ("bach", "did you mean the option `batch`?"),
        ("zzz", "; arguments of `First`: width"),
    ],
)
def test_an_unknown_option_of_compile_is_told(tmp_path: Path, name: str, help: str) -> None:
    (tmp_path / "first.latte").write_text(TEXT)
    wrong: dict[str, Any] = {name: False}
    for call in (
        lambda: latte.compile(tmp_path / "first.latte", **wrong),
        lambda: latte.loads(TEXT).compile(**wrong),
    ):
        code, text, hint = told(call)
        assert code == "E0415"
        assert text == f"`{name}` is neither an option of `compile` nor an argument of `First`"
        assert help in hint


def test_an_argument_of_the_net_is_no_option_of_its_compile() -> None:
    wrong: dict[str, Any] = {"width": 3}
    assert told(lambda: latte.loads(TEXT).compile(**wrong))[1:] == (
        "`width` is no option of `compile`",
        "it is an argument of `First`: give it to latte.load, or to latte.compile",
    )


def test_names_are_a_list_or_one() -> None:
    net = latte.loads(TEXT)
    net.compile(batch=2, keep="hidden", no_fuse="tiles")
    assert told(lambda: net.compile(keep=None))[2] == 'give a list of names, keep=["..."]'
    assert told(lambda: net.compile(tune="60s"))[0] == "E0918"  # type: ignore[arg-type]


def test_an_executable_says_what_it_is() -> None:
    exe = latte.loads(TEXT).compile(batch=2, threads=1, mode="infer")
    shown = "<latte.Executable First: batch 2, target cpu, threads 1, mode infer>"
    assert repr(exe) == shown
    slow = latte.loads(TEXT).compile(batch=2, threads=1, mode="infer", target="interp")
    assert repr(slow) == shown.replace("cpu", "interp")


def test_predict_needs_no_name_for_a_single_input(feed: dict[str, np.ndarray]) -> None:
    exe = latte.loads(TEXT).compile(batch=4, mode="infer")
    np.testing.assert_array_equal(exe.predict(feed["x"]), exe.predict(x=feed["x"]))
    assert told(lambda: exe.predict(feed["x"], feed["label"]))[1:] == (
        "`predict` needs `x`, and was given 2 arrays without a name",
        "write predict(x=...)",
    )
    assert told(lambda: exe.predict(feed["x"], x=feed["x"]))[0] == "E0902"
    two = latte.loads("net Two { input a[3]\n input b[3]\n y = a + b }").compile(batch=2)
    assert told(lambda: two.predict(np.ones((2, 3)))) == (
        "E0902",
        "`predict` needs `a` and `b`, and was given an array without a name",
        "write predict(a=..., b=...)",
    )
