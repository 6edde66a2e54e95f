"""The training loop: data in, updates, evaluation, checkpoints, until the epochs are done.

In: a net, data, and what differs from the net's `train` block.  Out: a `History`.

    train(net, "mnist:DIR", epochs=4)   ->   history[-1].loss, history[-1].metrics["accuracy"]

The order of the items is a function of (seed, epoch), random numbers of (seed, step): a run that
was stopped and resumed makes the same weights, bit for bit.
"""

from __future__ import annotations

import math
import time as clock
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, overload

import numpy as np

from latte.compiler.net import Net, Training
from latte.errors import fail
from latte.runtime.checkpoint import (
    Position,
    check_writable,
    find_checkpoint,
    read_checkpoint,
    read_position,
    write_checkpoint,
)
from latte.runtime.data import Dataset, Fitted, Loader, shuffled
from latte.runtime.datasets import from_arrays, open_data, open_test, parse_spec
from latte.runtime.fit import fit
from latte.runtime.interrupt import Interruption
from latte.runtime.metrics import Means
from latte.runtime.progress import Epoch, Listener, Log, Plan, Step, Together

if TYPE_CHECKING:
    from latte.runtime.executable import Executable

Data = str | Mapping[str, object] | Dataset


class Trainable(Protocol):
    """What `latte.load` gives: a net that can be compiled."""

    @property
    def elaborated(self) -> Net: ...
    @property
    def training(self) -> Training: ...
    def compile(
        self,
        batch: int | None = None,
        *,
        target: str = "cpu",
        threads: int | None = None,
        time: int | None = None,
        seed: int = 0,
        winograd: bool = True,
        no_fuse: Iterable[str] = (),
        tune: float = 0.0,
        target_cpu: str | None = None,
    ) -> Executable: ...


@dataclass(frozen=True, slots=True)
class History(Sequence[Epoch]):
    """The finished epochs, and the executable with the weights that they led to."""

    epochs: tuple[Epoch, ...]
    exe: Executable

    @overload
    def __getitem__(self, index: int) -> Epoch: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Epoch, ...]: ...
    def __getitem__(self, index: int | slice) -> Epoch | tuple[Epoch, ...]:
        return self.epochs[index]

    def __len__(self) -> int:
        return len(self.epochs)


@dataclass(frozen=True, slots=True)
class Job:
    """A run that is ready to go."""

    exe: Executable
    data: Fitted
    test: Fitted | None
    epochs: int
    batch: int
    seed: int
    listener: Listener
    folder: Path | None
    save_every: int | None
    on_epoch: Callable[[Epoch], object] | None

    @property
    def batches(self) -> int:
        """Batches in an epoch."""
        return -(-len(self.data) // self.batch)


def train(
    net: Trainable,
    data: Data,
    *,
    test: Data | None = None,
    epochs: int | None = None, batch: int | None = None, rate: float | None = None, seed: int = 0,
    winograd: bool = True, no_fuse: Iterable[str] = (), tune: float = 0.0,
    target_cpu: str | None = None, threads: int | None = None, target: str = "cpu",
    time: int | None = None,
    save: str | Path | None = None, save_every: int | None = None,
    resume: str | Path | None = None, run: str | Path | None = None,
    on_epoch: Callable[[Epoch], object] | None = None, listeners: Sequence[Listener] = (),
) -> History:  # fmt: skip
    """Train a net and return the history, one record for each epoch.

    `data` and `test` are a SPEC (`mnist:DIR`), arrays by name, or a `Dataset`; a SPEC with a test
    split is evaluated on it after each epoch. `epochs`, `batch` and the solver's `rate` default
    to the net's `train` block. `save` is a folder for checkpoints (each epoch, and every
    `save_every` updates), `resume` one to go on from, `run` one for log.jsonl. `on_epoch` is
    called with each `Epoch`; if it returns False, the run ends there.

    Raises LatteError (data that does not fit, E0956 where the loss is no longer a number), and
    KeyboardInterrupt after Ctrl-C, with a checkpoint saved if `save` was given.
    """
    feed, tested = _open(data, test, net.elaborated.inputs, time)
    listener = _heard(listeners, run)
    folder = _folder(save)
    place = _resumed(resume, listener)
    before = read_position(place) if place else Position(seed=seed, batch=net.training.batch)
    size = min(batch or before.batch, len(feed))
    exe = net.compile(
        size, target=target, threads=threads, time=time or feed.steps, seed=before.seed,
        winograd=winograd, no_fuse=no_fuse, tune=tune, target_cpu=target_cpu,
    )  # fmt: skip
    if rate is not None:
        exe.set_hyper("rate", rate)
    job = Job(
        exe, feed, tested, net.training.epochs if epochs is None else epochs, size,
        before.seed, listener, folder, save_every, on_epoch,
    )  # fmt: skip
    return _run(job, _start(job, place), net.elaborated.name)


def evaluate(exe: Executable, data: Fitted, batch: int) -> dict[str, float]:
    """Losses and metrics over all items, as the trained net does (`training` is false)."""
    means = Means()
    with closing(Loader(data, batch).run(np.arange(len(data)))) as batches:
        for part in batches:
            exe.evaluate(**part.arrays)
            means.add(figures(exe), part.weight)
    return means.result()


def figures(exe: Executable) -> dict[str, float]:
    """Losses and metrics of the last run; a single loss is just called `loss`."""
    found = exe.losses
    if len(exe.net.losses) == 1:
        found.pop(exe.net.losses[0].name if exe.net.losses[0].name != "loss" else "", None)
    return found


def _open(
    data: Data, test: Data | None, inputs: Sequence[Any], steps: int | None
) -> tuple[Fitted, Fitted | None]:
    """The training data, and what to test on, if anything."""
    feed = open_any(data, inputs, steps)
    if test is not None:
        return feed, open_any(test, inputs, steps)
    spec = parse_spec(data, steps) if isinstance(data, str) else None
    if spec is None or spec.split == "test":
        return feed, None
    return feed, open_test(spec, inputs)


def open_any(data: Data, inputs: Sequence[Any], steps: int | None = None) -> Fitted:
    """A SPEC, arrays by name or a dataset, as the inputs take it."""
    if isinstance(data, str):
        return open_data(parse_spec(data, steps), inputs)
    if isinstance(data, Mapping):
        return from_arrays(data, inputs)
    return fit(data, inputs, "the given data")


def _heard(listeners: Sequence[Listener], run: str | Path | None) -> Listener:
    """All who are told of the run, its log among them."""
    logs = [Log(Path(run) / "log.jsonl")] if run else []
    return Together((*listeners, *logs))


def _folder(save: str | Path | None) -> Path | None:
    """Where checkpoints go, made if it was not there. Raises E0955."""
    if not save:
        return None
    check_writable(Path(save))
    return Path(save)


def _resumed(resume: str | Path | None, listener: Listener) -> Path | None:
    """The newest whole checkpoint; damaged ones are told of and passed over."""
    if resume is None:
        return None
    place, damaged = find_checkpoint(Path(resume))
    for path in damaged:
        listener.note(f"the checkpoint `{path}` is damaged; going on from `{place}`")
    return place


def _start(job: Job, place: Path | None) -> Position:
    """Where the run begins; one that goes on from a checkpoint gets its weights back, and must cut
    the same data into the same batches. Raises E0954."""
    start = read_checkpoint(place, job.exe) if place else Position()
    for what, now, then in (
        ("items in a batch", job.batch, start.batch),
        ("items", len(job.data), start.items),
    ):
        if then and now != then:
            fail("E0954", f"the checkpoint was made with {then} {what}, this run has {now}")
    return replace(start, seed=job.seed, batch=job.batch, items=len(job.data))


def _run(job: Job, start: Position, name: str) -> History:
    """All epochs from a position on, each followed by its evaluation and checkpoint."""
    first = start.epoch * job.batches + start.batches
    plan = Plan(name, job.epochs, job.batches, len(job.data), job.batch, first)
    job.exe.total_steps = job.epochs * job.batches
    done: list[Epoch] = []
    loader = Loader(job.data, job.batch)
    job.listener.start(plan)
    try:
        with Interruption() as asked:
            while start.epoch < job.epochs:
                epoch = _epoch(job, loader, start, asked)
                done.append(epoch)
                start = _next(start, job.exe.step_count)
                job.listener.epoch(epoch)
                if job.folder:
                    write_checkpoint(job.folder, job.exe, start)
                if job.on_epoch and job.on_epoch(epoch) is False:
                    break
    finally:
        job.listener.stop()
    return History(tuple(done), job.exe)


def _next(done: Position, step: int) -> Position:
    """Where the next epoch begins."""
    return replace(done, epoch=done.epoch + 1, batches=0, step=step, sums={}, weight=0)


def _epoch(job: Job, loader: Loader, start: Position, asked: Interruption) -> Epoch:
    began, means = clock.perf_counter(), Means(dict(start.sums), start.weight)
    job.exe.epoch = start.epoch
    order = shuffled(len(job.data), job.seed, start.epoch)[start.batches * job.batch :]
    with closing(loader.run(order)) as batches:
        for number, part in enumerate(batches, start.batches + 1):
            _step(job, part.arrays, start.epoch)
            means.add(figures(job.exe), part.weight)
            step = Step(job.exe.step_count, start.epoch + 1, number, part.count, means.result())
            job.listener.step(step)
            here = replace(
                start,
                batches=number,
                step=job.exe.step_count,
                sums=dict(means.sums),
                weight=means.weight,
            )
            _save_within(job, here, asked)
    seconds = clock.perf_counter() - began
    return _record(job, start, means, seconds, len(order) / max(seconds, 1e-9))


def _step(job: Job, arrays: Mapping[str, Any], epoch: int) -> None:
    """One update; raises E0956 as soon as its loss is not a number."""
    loss = job.exe.step(**arrays)
    if math.isfinite(loss):
        return
    found = job.exe.find_nonfinite()
    rate = job.exe.hypers().get("rate")
    fail(
        "E0956",
        f"the loss is {loss} at step {job.exe.step_count} (epoch {epoch + 1})"
        + (f": {found}" if found else ""),
        help="lower the solver's rate" + (f", which is {rate:g}" if rate else "")
        + ", or look at the data and at what divides, takes a logarithm or a root",
    )  # fmt: skip


def _save_within(job: Job, here: Position, asked: Interruption) -> None:
    """A checkpoint inside an epoch: because it is time, or because the user wants to stop."""
    due = job.save_every and here.step % job.save_every == 0
    if job.folder and (due or asked.now):
        write_checkpoint(job.folder, job.exe, here)
    if asked.now:
        saved = f"; resume from {job.folder}" if job.folder else ""
        job.listener.note(f"interrupted at step {here.step}{saved}")
        raise KeyboardInterrupt


def _record(job: Job, start: Position, means: Means, seconds: float, speed: float) -> Epoch:
    found = means.result()
    tested = evaluate(job.exe, job.test, job.batch) if job.test else {}
    loss, test_loss = found.pop("loss", 0.0), tested.pop("loss", None)
    return Epoch(start.epoch + 1, loss, found, test_loss, tested, seconds, speed)
