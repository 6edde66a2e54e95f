"""Who is told how a run goes: a bar on a terminal, plain lines elsewhere, a log file.

In: what `train` does, as it happens.  Out: text on stderr, or one JSON object a line.

    epoch 2/10   80/235  loss 0.412  accuracy 0.871  9214/s  0:17 left
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from latte.errors import fail

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

EVERY = 10.0  # seconds between two lines where there is no terminal
LOGGED = 100  # steps between two lines of the log


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is going to do; `first` batches of the whole are done already."""

    name: str
    epochs: int
    batches: int
    items: int
    batch: int
    first: int = 0


@dataclass(frozen=True, slots=True)
class Epoch:
    """A finished epoch, `number` from 1. `metrics` and `test_metrics` are averages over items.

    `epoch["accuracy"]` is a metric, `epoch["loss"]` the loss, `epoch["test_loss"]` the test's.
    """

    number: int
    loss: float
    metrics: Mapping[str, float]
    test_loss: float | None
    test_metrics: Mapping[str, float]
    seconds: float
    items_per_second: float

    def __getitem__(self, name: str) -> Any:
        return self.as_json()[name]

    def as_json(self) -> dict[str, Any]:
        """All of it by name, the test's with `test_` in front."""
        tests = {f"test_{name}": value for name, value in self.test_metrics.items()}
        if self.test_loss is not None:
            tests["test_loss"] = self.test_loss
        return {
            "epoch": self.number,
            "loss": self.loss,
            **self.metrics,
            **tests,
            "seconds": self.seconds,
            "items_per_second": self.items_per_second,
        }


@dataclass(frozen=True, slots=True)
class Step:
    """One update, `step` of the run and `batch` of the epoch, both from 1."""

    step: int
    epoch: int
    batch: int
    items: int
    averages: Mapping[str, float]


class Listener(Protocol):
    """Hears what happens in a run."""

    def start(self, plan: Plan) -> None: ...
    def step(self, step: Step) -> None: ...
    def epoch(self, epoch: Epoch) -> None: ...
    def note(self, text: str) -> None: ...
    def stop(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Together:
    """Several listeners as one."""

    listeners: tuple[Listener, ...]

    def start(self, plan: Plan) -> None:
        for listener in self.listeners:
            listener.start(plan)

    def step(self, step: Step) -> None:
        for listener in self.listeners:
            listener.step(step)

    def epoch(self, epoch: Epoch) -> None:
        for listener in self.listeners:
            listener.epoch(epoch)

    def note(self, text: str) -> None:
        for listener in self.listeners:
            listener.note(text)

    def stop(self) -> None:
        for listener in self.listeners:
            listener.stop()


def numbers_text(values: Mapping[str, Any]) -> str:
    """`loss 0.4121  accuracy 0.871`: floats shortly, in the given order."""
    return "  ".join(f"{name} {value:.4g}" for name, value in values.items())


def epoch_text(epoch: Epoch, plan: Plan) -> str:
    """A finished epoch in a line."""
    parts = [
        f"epoch {epoch.number}/{plan.epochs}",
        numbers_text({"loss": epoch.loss, **epoch.metrics}),
    ]
    if epoch.test_loss is not None:
        parts.append(f"test {numbers_text({'loss': epoch.test_loss, **epoch.test_metrics})}")
    return f"{'  '.join(parts)}  {epoch.seconds:.1f} s  {epoch.items_per_second:,.0f}/s"


@dataclass(slots=True)
class Lines:
    """A line for each epoch, and one every ten seconds within it."""

    file: TextIO
    clock: Callable[[], float] = time.monotonic
    plan: Plan | None = None
    said: float = 0.0

    def start(self, plan: Plan) -> None:
        self.plan, self.said = plan, self.clock()

    def step(self, step: Step) -> None:
        assert self.plan
        if self.clock() - self.said >= EVERY:
            self.said = self.clock()
            place = f"epoch {step.epoch}/{self.plan.epochs}  {step.batch}/{self.plan.batches}"
            self.note(f"{place}  {numbers_text(step.averages)}")

    def epoch(self, epoch: Epoch) -> None:
        assert self.plan
        self.said = self.clock()
        self.note(epoch_text(epoch, self.plan))

    def note(self, text: str) -> None:
        print(text, file=self.file, flush=True)

    def stop(self) -> None:
        pass


@dataclass(slots=True)
class Bar:
    """A bar over the whole run, with the epoch's averages so far, speed and time left."""

    file: TextIO
    color: bool | None = None
    plan: Plan | None = None
    progress: Progress | None = None
    task: TaskID | None = None
    started: float = 0.0
    items: int = 0

    def start(self, plan: Plan) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self.plan, self.started = plan, time.monotonic()
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[numbers]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=Console(file=self.file, no_color=self.color is False),
            transient=True,
            refresh_per_second=8,
        )
        self.progress.start()
        total = plan.epochs * plan.batches
        self.task = self.progress.add_task("", total=total, completed=plan.first, numbers="")

    def step(self, step: Step) -> None:
        assert self.plan and self.progress and self.task is not None
        self.items += step.items
        speed = self.items / max(time.monotonic() - self.started, 1e-9)
        self.progress.update(
            self.task,
            advance=1,
            description=f"epoch {step.epoch}/{self.plan.epochs}",
            numbers=f"{numbers_text(step.averages)}  {speed:,.0f}/s",
        )

    def epoch(self, epoch: Epoch) -> None:
        assert self.plan
        self.note(epoch_text(epoch, self.plan))

    def note(self, text: str) -> None:
        if self.progress:
            self.progress.console.print(text, highlight=False, markup=False)
        else:
            print(text, file=self.file, flush=True)

    def stop(self) -> None:
        if self.progress:
            self.progress.stop()
            self.progress = None


@dataclass(slots=True)
class Log:
    """A file with one JSON object a line: the start, some steps, each epoch, the end."""

    path: Path
    settings: Mapping[str, Any] = field(default_factory=dict)

    def start(self, plan: Plan) -> None:
        facts = {"epochs": plan.epochs, "batch": plan.batch, "items": plan.items}
        self._write({"event": "start", "net": plan.name, **facts, **self.settings})

    def step(self, step: Step) -> None:
        if step.step % LOGGED == 0:
            self._write({"event": "step", "step": step.step, "epoch": step.epoch, **step.averages})

    def epoch(self, epoch: Epoch) -> None:
        self._write({"event": "epoch", **epoch.as_json()})

    def note(self, text: str) -> None:
        self._write({"event": "note", "text": text})

    def stop(self) -> None:
        self._write({"event": "end"})

    def _write(self, facts: Mapping[str, Any]) -> None:
        line = json.dumps({"time": round(time.time(), 3), **facts})
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as problem:
            fail("E0955", f"the log `{self.path}` cannot be written: {problem.strerror}")
