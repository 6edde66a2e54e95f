"""The training loop: what it learns, reports, repeats, and when it stops."""

import json
import os
import signal

import numpy as np
import pytest
import small

from latte.errors import LatteError
from latte.runtime.checkpoint import find_checkpoint
from latte.runtime.metrics import Means
from latte.runtime.progress import Bar, Epoch, Lines, Plan, Step
from latte.runtime.train import train


def test_it_learns():
    history = train(small.net(), small.data(300), epochs=5, test=small.data(90, seed=1))
    assert [epoch.number for epoch in history] == [1, 2, 3, 4, 5]
    assert history[-1].loss < history[0].loss / 2
    assert history[-1].test_metrics["accuracy"] > 0.9
    assert history[-1]["accuracy"] == history[-1].metrics["accuracy"]


def test_defaults_come_from_the_train_block():
    history = train(small.net(), small.data())
    assert len(history) == 3
    assert history.exe.step_count == 3 * 4
    assert history.exe.total_steps == 3 * 4


def test_the_same_seed_gives_the_same_bits_for_any_number_of_threads():
    runs = [train(small.net(), small.data(), seed=5, threads=n).exe for n in (1, 2)]
    assert small.same(*map(small.weights, runs))
    other = train(small.net(), small.data(), seed=6).exe
    assert not small.same(small.weights(runs[0]), small.weights(other))


def test_averages_weigh_partial_batches():
    means = Means()
    means.add({"loss": 1.0}, 8)
    means.add({"loss": 4.0}, 2)
    assert means.result() == {"loss": 1.6}


def test_evaluation_is_the_average_over_the_items():
    data = small.data(30)
    history = train(small.net(), data, epochs=1, test=data)
    whole = small.net().compile(30)
    whole.params.update(small.weights(history.exe))
    expected = whole.evaluate(**data)
    assert history[0].test_loss == pytest.approx(expected["loss"], rel=1e-5)
    assert history[0].test_metrics["accuracy"] == pytest.approx(expected["accuracy"])


@pytest.mark.parametrize("stop_after", [1, 5, 8])
def test_a_resumed_run_is_bitwise_the_uninterrupted_one(tmp_path, stop_after):
    whole = train(small.net(), small.data(), seed=3)

    class Stop:
        def step(self, step):
            if step.step == stop_after:
                os.kill(os.getpid(), signal.SIGINT)

        def start(self, plan): ...
        def epoch(self, epoch): ...
        def note(self, text): ...
        def stop(self): ...

    with pytest.raises(KeyboardInterrupt):
        train(small.net(), small.data(), seed=3, save=tmp_path, listeners=[Stop()])
    resumed = train(small.net(), small.data(), resume=tmp_path)
    assert resumed.exe.step_count == whole.exe.step_count
    assert small.same(small.weights(resumed.exe), small.weights(whole.exe))
    assert small.same(dict(resumed.exe.solver_state), dict(whole.exe.solver_state))
    assert resumed[-1].loss == whole[-1].loss


def test_the_second_interrupt_stops_at_once():
    class Twice:
        def step(self, step):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            raise AssertionError("still running")

        def start(self, plan): ...
        def epoch(self, epoch): ...
        def note(self, text): ...
        def stop(self): ...

    with pytest.raises(KeyboardInterrupt):
        train(small.net(), small.data(), listeners=[Twice()])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_checkpoints_within_an_epoch(tmp_path):
    train(small.net(), small.data(), epochs=1, save=tmp_path, save_every=3)
    assert [p.name for p in sorted(tmp_path.glob("checkpoint-*"))] == [
        "checkpoint-000001",
        "checkpoint-000002",
    ]


def test_resuming_with_other_data_is_refused(tmp_path):
    train(small.net(), small.data(), epochs=1, save=tmp_path)
    with pytest.raises(LatteError, match="made with 30 items, this run has 31"):
        train(small.net(), small.data(31), resume=tmp_path)
    with pytest.raises(LatteError, match="made with 8 items in a batch"):
        train(small.net(), small.data(), batch=4, resume=tmp_path)


def test_it_stops_at_the_first_number_that_is_none():
    data = small.data()
    data["x"][17, 2] = np.nan
    with pytest.raises(LatteError, match=r"the loss is nan at step \d \(epoch 1\): .*`") as problem:
        train(small.net(), data)
    assert problem.value.diagnostics[0].code == "E0956"


def test_on_epoch_can_end_the_run():
    seen = []
    history = train(small.net(), small.data(), on_epoch=lambda epoch: seen.append(epoch) or False)
    assert tuple(seen) == history.epochs
    assert len(seen) == 1


def test_a_rate_replaces_the_schedule():
    history = train(small.net(), small.data(), rate=0.0, epochs=1)
    first = small.net().compile(8)
    assert small.same(small.weights(history.exe), small.weights(first))


def test_the_log_has_an_object_a_line(tmp_path):
    train(small.net(), small.data(), run=tmp_path / "runs" / "a")
    lines = [
        json.loads(x) for x in (tmp_path / "runs" / "a" / "log.jsonl").read_text().splitlines()
    ]
    assert [line["event"] for line in lines] == ["start", "epoch", "epoch", "epoch", "end"]
    assert lines[1]["loss"] > 0 and "accuracy" in lines[1]


PLAN = Plan("Small", epochs=2, batches=10, items=100, batch=10)
EPOCH = Epoch(1, 0.5, {"accuracy": 0.75}, 0.6, {"accuracy": 0.7}, 2.0, 50.0)


def test_lines(capsys):
    import sys

    now = [0.0]
    lines = Lines(sys.stderr, clock=lambda: now[0])
    lines.start(PLAN)
    for number in range(1, 4):
        now[0] += 6
        lines.step(Step(number, 1, number, 10, {"loss": 1 / number}))
    lines.epoch(EPOCH)
    assert capsys.readouterr().err.splitlines() == [
        "epoch 1/2  2/10  loss 0.5",
        "epoch 1/2  loss 0.5  accuracy 0.75  test loss 0.6  accuracy 0.7  2.0 s  50/s",
    ]


def test_a_bar_shows_where_it_is(tmp_path):
    with (tmp_path / "out").open("w+") as file:
        bar = Bar(file)
        bar.start(PLAN)
        bar.step(Step(1, 1, 1, 10, {"loss": 0.25}))
        assert "loss 0.25" in str(bar.progress.tasks[0].fields["numbers"])
        assert bar.progress.tasks[0].completed == 1
        bar.epoch(EPOCH)
        bar.stop()
        file.seek(0)
        assert "epoch 1/2  loss 0.5" in file.read()


def test_checkpoints_are_found_by_folder(tmp_path):
    train(small.net(), small.data(), save=tmp_path)
    place, damaged = find_checkpoint(tmp_path)
    assert (place.name, damaged) == ("checkpoint-000003", ())
    assert find_checkpoint(place)[0] == place
