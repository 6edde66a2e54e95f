"""Every command: what it prints, where, and its exit code."""

import gzip
import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from latte.cli import COMMANDS, main
from latte.options import demo_net

NET = """net Small(classes = 10) {
    input image[1, 8, 8]
    input label: class(classes)
    hidden = Tanh(Linear(image, width))
    scores = Linear(hidden, classes)
    loss SoftmaxLoss(scores, label)
    metric accuracy = Accuracy(scores, label)
}
const width = 16
train Small {
    solver Momentum(rate = 0.05)
    batch 50
    epochs 2
}
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A net in the folder in which the command runs."""
    monkeypatch.chdir(tmp_path)
    Path("net.latte").write_text(NET)
    return "net.latte"


def latte(*arguments, code=0):
    found = CliRunner().invoke(main, arguments, prog_name="latte")
    assert found.exit_code == code, found.output
    return found


def process(*arguments, **settings):
    return subprocess.run(
        [sys.executable, "-m", "latte", *arguments], capture_output=True, text=True, **settings
    )


# Help and usage


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_teaches_itself(name):
    text = latte(name, "--help").stdout
    assert f"  latte {name}" in text.split("Options:")[0].split("\n", 1)[1]


def test_help_lists_all_and_loads_little():
    text = latte("--help").stdout
    assert all(f"  {name} " in text for name in COMMANDS)
    loaded = process("--help", env={**os.environ, "PYTHONPROFILEIMPORTTIME": "1"}).stderr
    assert "click" in loaded
    for heavy in ("numpy", "llvmlite", "islpy", "rich.", "safetensors"):
        assert f" {heavy}" not in loaded


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["chek"], "Did you mean `check`?"),
        (["train", "x.latte", "--data", "digits", "--epoch", "3"], "--epochs"),
        (["train", "x.latte"], "--data"),
        (["compile", "x.latte", "--emit", "c"], "'c'"),
        (["summary", "x.latte", "-D", "width"], "NAME=VALUE"),
    ],
)
def test_usage_is_2(arguments, says):
    assert says in latte(*arguments, code=2).stderr


# Nets


def test_check(file):
    assert latte("check", file).stdout == "net.latte: no mistakes (Small)\n"
    assert latte("check", "--format", "json", file).stdout == "[]\n"


def test_check_tells_all_mistakes(file):
    Path("bad.latte").write_text(NET.replace("Tanh(", "Tahn(").replace("SoftmaxLoss", "SoftLoss"))
    text = latte("check", "bad.latte", code=1).stderr
    assert text.count("error[E") == 2
    assert "--> bad.latte:4:14" in text
    short = latte("check", "--format", "concise", "bad.latte", code=1).stderr.splitlines()
    assert short[0].startswith("bad.latte:4:14: error[E03")
    rows = json.loads(latte("check", "--format", "json", "bad.latte", code=1).stdout)
    assert [row["line"] for row in rows] == [4, 6]
    assert set(rows[0]) == {
        "code", "severity", "message", "file", "line", "column", "end_line", "end_column", "help",
    }  # fmt: skip


def test_a_missing_file_is_a_diagnostic(file):
    assert "error[E00" in latte("check", "none.latte", code=1).stderr


def test_a_net_is_named_after_the_file(file):
    Path("two.latte").write_text(NET + NET.split("const")[0].replace("Small", "Other"))
    assert latte("summary", "two.latte:Other").stdout.startswith("Other")
    text = latte("summary", "two.latte", code=1).stderr
    assert "Small" in text and "Other" in text


def test_definitions_change_arguments_and_constants(file):
    facts = json.loads(latte("summary", file, "--json", "-D", "width=32", "-D", "classes=5").stdout)
    assert facts["parameters"] == 64 * 32 + 32 + 32 * 5 + 5


@pytest.mark.parametrize(
    "stage, says",
    [
        ("ast", "Net"),
        ("net", "net Small"),
        ("program", "program Small"),
        ("vector", "load"),
        ("llvm", "define void"),
        ("asm", "ret"),
    ],
)
def test_every_stage_prints(file, stage, says):
    assert says in latte("compile", file, "--emit", stage, "--batch", "4").stdout


def test_a_program_after_a_pass(file):
    text = latte("compile", file, "--after", "simplify", "--phase", "predict").stdout
    assert "predict" in text and "backward" not in text
    assert "did you mean `simplify`?" in latte("compile", file, "--after", "simplfy", code=1).stderr
    assert "simplify" in latte("compile", file, "--explain").stdout


def test_a_report_has_every_stage(file):
    latte("compile", file, "--report", "stages", "--mode", "infer")
    names = sorted(path.name for path in Path("stages").iterdir())
    assert names[:2] == ["01_ast.txt", "02_net.txt"]


def test_compiling(file):
    assert "step" in latte("compile", file).stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["compile", "net.latte", "--target", "cuda"],
        ["compile", "net.latte", "--emit", "ptx"],
        ["compile", "net.latte", "--target", "gpu", "--emit", "net"],
        ["train", "net.latte", "--data", "digits", "--target", "cuda"],
        ["bench", "net.latte", "--target", "gpu"],
        ["train", "net.latte", "--data", "digits", "--ranks", "2"],
    ],
)
def test_what_is_not_there_yet_says_so(file, arguments):
    text = latte(*arguments, code=1).stderr
    assert text.startswith("error[E0950]: ") and "not in this build" in text
    assert "= help: " in text


def test_gradcheck(file):
    assert "WRONG" not in latte("gradcheck", file).stdout
    Path("wrong.latte").write_text(
        "neuron Twice(x) { forward { value = 2 * x } backward { x.grad += value.grad } }\n"
        + NET.replace("Tanh(Linear(image, width))", "Twice(Linear(image, width))")
    )
    assert "WRONG  Twice.x" in latte("gradcheck", "wrong.latte", code=1).stdout


# Data and training


def test_train_eval_predict(file):
    result = latte("train", file, "--data", "digits", "--save", "out", "--run", "first")
    assert "test accuracy" in result.stdout
    assert result.stderr.count("epoch ") == 2
    log = [json.loads(line) for line in Path("runs/first/log.jsonl").read_text().splitlines()]
    assert log[-1]["event"] == "end"
    found = json.loads(latte("eval", file, "--data", "digits", "--weights", "out", "--json").stdout)
    assert found["data"] == "digits@test"
    assert found["accuracy"] == pytest.approx(log[-2]["test_accuracy"])
    np.save("x.npy", np.zeros((2, 1, 8, 8), np.float32))
    answers = json.loads(
        latte("predict", file, "--weights", "out", "--input", "x.npy", "--json").stdout
    )
    assert [row["input"] for row in answers["predictions"]] == ["x.npy[0]", "x.npy[1]"]
    assert 0 <= answers["predictions"][0]["class"] < 10


def test_predicting_an_idx_file(file):
    latte("train", file, "--data", "digits", "--epochs", "1", "--save", "out")
    pixels = np.arange(3 * 64, dtype=np.uint8).reshape(3, 8, 8)
    Path("x-idx3-ubyte").write_bytes(b"\0\0\x08\x03\0\0\0\3\0\0\0\x08\0\0\0\x08" + pixels.tobytes())
    Path("x.gz").write_bytes(gzip.compress(Path("x-idx3-ubyte").read_bytes()))
    np.save("x.npy", pixels[:, None])
    for name in ("x-idx3-ubyte", "x.gz", "x.npy"):
        latte("predict", file, "--weights", "out", "--input", name, "--output", f"{name}.out.npy")
    found = [np.load(f"{name}.out.npy") for name in ("x-idx3-ubyte", "x.gz", "x.npy")]
    assert found[0].shape == (3, 10)
    assert np.array_equal(found[0], found[2]) and np.array_equal(found[1], found[2])
    Path("wide.latte").write_text(NET.replace("[1, 8, 8]", "[1, 4, 16]"))
    text = latte("predict", "wide.latte", "--weights", "out", "--input", "x.gz", code=1).stderr
    assert "`x.gz` has shape [3, 8, 8], but the input `image` has [1, 4, 16]" in text


def test_the_shape_of_an_array_is_told_as_it_is(file):
    np.save("x.npy", np.zeros((3, 8, 8)))
    text = latte("predict", file, "--weights", "out", "--input", "x.npy", code=1).stderr
    assert "`x.npy` has shape [3, 8, 8], but the input `image` has [1, 8, 8]" in text
    assert "--> net.latte:2:5" in text
    assert "= help: give [1, 8, 8] for one item, or [items, 1, 8, 8]" in text


def test_predicting_an_image(file):
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    latte("train", file, "--data", "digits", "--epochs", "1", "--save", "out")
    image.new("L", (30, 20), 128).save("grey.png")
    text = latte("predict", file, "--weights", "out/weights.safetensors", "--input", "grey.png")
    assert text.stdout.startswith("grey.png  class ")


def test_training_goes_on(file):
    latte("train", file, "--data", "digits", "--epochs", "1", "--save", "a")
    rest = latte("train", file, "--data", "digits", "--resume", "a", "--save", "a", "--json")
    assert [epoch["epoch"] for epoch in json.loads(rest.stdout)["epochs"]] == [2]
    whole = latte("train", file, "--data", "digits", "--json").stdout
    last, again = (json.loads(text)["epochs"][-1] for text in (rest.stdout, whole))
    assert last["loss"] == again["loss"]


def test_data_that_does_not_fit(file):
    Path("wide.latte").write_text(NET.replace("[1, 8, 8]", "[1, 28, 28]"))
    text = latte("train", "wide.latte", "--data", "digits", code=1).stderr
    assert "error[E0853]" in text and "[1, 28, 28]" in text and "[1, 8, 8]" in text
    assert "--> wide.latte:2" in text


def test_the_demo_learns():
    result = latte("demo", "digits", "--epochs", "3")
    assert float(result.stdout.split()[-1].rstrip("%")) > 85


def test_the_shipped_net_is_there():
    assert demo_net().is_file()


def test_bench(file):
    facts = json.loads(latte("bench", file, "--json", "--seconds", "0.05").stdout)
    assert [row["name"] for row in facts["passes"]] == ["forward", "backward", "step", "infer"]
    assert all(row["ms"] > 0 and row["gflops"] > 0 for row in facts["passes"])
    assert facts["peak_gflops"] > 1
    assert {"linear1", "scores"} <= {row["name"] for row in facts["layers"]}
    assert {row["phase"] for row in facts["layers"]} >= {"forward", "backward"}
    assert all(row["mbytes"] > 0 for row in facts["layers"] if row["name"] == "scores")
    assert facts["bandwidth_gbytes"] > 0.1
    assert facts["peers"] == []


def test_bench_with_a_peer(file):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    options = (
        "--peer",
        "torch",
        "--mode",
        "eager",
        "--rounds",
        "1",
        "--only-peers",
        "--batch",
        "4",
    )
    facts = json.loads(latte("bench", file, "--json", *options).stdout)
    assert [(row["phase"], row["mode"]) for row in facts["peers"]] == [
        ("step", "eager"), ("predict", "eager"),
    ]  # fmt: skip
    assert all(row["ratio"] > 0 and row["difference"] < 1e-3 for row in facts["peers"])
    assert "times as fast as torch eager" in latte("bench", file, *options).stdout


def test_bench_without_the_peers_package(file, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    told = latte("bench", file, "--peer", "onnxruntime", code=1).stderr
    assert "E0961" in told
    assert "pip install onnxruntime" in told
    assert "Choose from" not in told
    latte("bench", file, "--peer", "caffe", code=2)


# The rest


def test_new(file):
    latte("new", "project")
    assert "no mistakes" in latte("check", "project/net.latte").stdout
    assert "already" in latte("new", "project", code=1).stderr


def test_explain():
    assert latte("explain", "e0853").stdout.startswith("## E0853")
    assert "E0958" in latte("explain", "E9999", code=1).stderr


def test_doctor():
    facts = json.loads(latte("doctor", "--json").stdout)
    assert {"LLVM", "processor", "threads", "cache", "MPI", "CUDA"} <= set(facts)
    assert not [fact for fact in facts.values() if fact.startswith("unknown")]


@pytest.mark.parametrize("value", ["x", "0", "-2", "1.5"])
def test_threads_in_the_environment_are_a_number(file, monkeypatch, value):
    monkeypatch.setenv("LATTE_THREADS", value)
    text = latte("compile", file, code=1).stderr
    told = f"LATTE_THREADS={value} is not a whole number of at least 1"
    assert text.startswith(f"error[E0914]: {told}\n")
    assert "= help: give a number of workers, as in LATTE_THREADS=4" in text
    assert told in json.loads(latte("doctor", "--json").stdout)["threads"]
    assert "LATTE_THREADS" in latte("explain", "E0914").stdout


def test_our_mistakes_are_70_and_leave_a_report(file, monkeypatch, tmp_path):
    import latte.model

    def broken(*_, **__):
        raise AssertionError("a pass lost a kernel")

    monkeypatch.setattr(latte.model, "load", broken)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    text = CliRunner().invoke(main, ["summary", file])
    assert text.exit_code == 70
    assert "internal error: AssertionError: a pass lost a kernel" in text.stderr
    assert "Traceback" not in text.stderr
    (report,) = tmp_path.glob("latte-error-*.txt")
    assert "Traceback" in report.read_text()


def test_exit_codes_of_the_real_process(file):
    assert process("check", file).returncode == 0
    assert process("check", "none.latte").returncode == 1
    assert process("chek").returncode == 2


def test_ctrl_c_saves_and_is_130(file):
    started = subprocess.Popen(
        [sys.executable, "-m", "latte", "train", file, "--data", "digits", "--epochs", "100000",
         "--save", "out"],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while not Path("out/weights.safetensors").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        started.send_signal(2)
        _, talk = started.communicate(timeout=30)
    finally:
        started.kill()
    assert started.returncode == 130
    assert "resume from out" in talk and "Traceback" not in talk


def test_ctrl_c_while_a_command_is_imported_is_130(monkeypatch):
    def interrupted(name):
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib, "import_module", interrupted)
    assert latte("train", code=130).stderr == "interrupted\n"


def test_a_cache_that_cannot_be_costs_one_line(file):
    Path("cache").write_text("")
    found = process("compile", file, env={**os.environ, "LATTE_CACHE": "cache"})
    assert found.returncode == 0
    assert found.stderr.startswith("warning[E0915]: compiled code is not cached in `cache`: ")
    assert found.stderr.count("\n") == 1


def test_no_color(file):
    Path("bad.latte").write_text(NET.replace("Tanh", "Tahn"))
    plain = process("check", "bad.latte", env={**os.environ, "NO_COLOR": "1"})
    forced = process("check", "bad.latte", env={**os.environ, "FORCE_COLOR": "1", "NO_COLOR": ""})
    assert "\x1b[" not in plain.stderr
    assert "\x1b[" in forced.stderr


def test_fmt(file):
    Path("wild.latte").write_text(NET.replace("    hidden =", "  hidden=").replace("= 16", "=16"))
    latte("fmt", "--check", "wild.latte", code=1)
    latte("fmt", "wild.latte")
    assert latte("fmt", "--check", "wild.latte").stdout == ""
    assert "hidden = Tanh" in Path("wild.latte").read_text()


def test_what_the_system_refuses_is_no_mistake_of_ours(file):
    text = latte("compile", file, "--emit", "net", "-o", "none/such.txt", code=1).stderr
    assert text.startswith("error[E0951]: `none/such.txt`")
    Path("taken").write_text("")
    assert "E0955" in latte("train", file, "--data", "digits", "--save", "taken", code=1).stderr


def test_profile(file):
    text = latte("profile", file, "--batch", "4").stdout
    assert "scores" in text
    assert "waiting" in text
    assert "moved, not computed" not in text
    events = json.loads(Path("trace.json").read_text())["traceEvents"]
    names = [event["args"]["name"] for event in events if event["name"] == "thread_name"]
    assert names[0] == "worker 0"
    done = [event for event in events if event["ph"] == "X"]
    assert all(event["dur"] >= 0 and event["tid"] < len(names) for event in done)
    assert [event["ts"] for event in done] == sorted(event["ts"] for event in done)
    assert "forward" in {event["cat"].split(", ")[0] for event in done}
    assert "E0959" in latte("profile", file, "--phase", "stop", code=1).stderr


@pytest.mark.parametrize("phase", ["step", "forward", "backward", "update", "infer", "predict"])
def test_profile_of_each_phase(file, phase):
    options = ("--phase", phase, "--copies", "--batch", "4", "--trace", "t.json", "--json")
    facts = json.loads(latte("profile", file, *options).stdout)
    assert facts["phase"] == phase
    assert facts["ms"] >= facts["waiting_ms"] >= -1e-6
    assert sum(row["ms"] for row in facts["kernels"]) <= facts["ms"] + 1e-2
    assert any(row["operations"] > 0 for row in facts["kernels"])
    fed = {row["name"] for row in facts["copies"] if row["kind"] == "fed"}
    assert fed == ({"image"} if phase == "predict" else {"image", "label"})
    fetched = {row["name"] for row in facts["copies"] if row["kind"] == "fetched"}
    assert fetched == {"scores.out"} if phase == "predict" else "result.loss" in fetched
    assert all(row["bytes"] > 0 for row in facts["copies"])
