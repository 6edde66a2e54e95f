"""A compiled net: what a user runs. Everything crosses this edge in declared axis order.

In: a Net, its Program, and a backend that runs phases.  Out: losses, values, gradients, weights.

    exe.step(image=x, label=y)  ->  0.31          exe.params["conv1.weight"]  ->  [20, 1, 5, 5]

Forward, backward and update leave every value and gradient readable; `step` and the phases of
inference share memory between values, and tell clearly when one is gone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from latte.codegen.interp import IndexOutOfRange, Run
from latte.compiler.ir import LOSS, Buffer, Program
from latte.compiler.net import Input, Net
from latte.compiler.tables import CARRY
from latte.errors import fail
from latte.runtime import weights
from latte.runtime.backend import Backend
from latte.runtime.carried import Carried
from latte.runtime.contents import Contents
from latte.runtime.feed import Feed, Feeder, Limits, named
from latte.runtime.hypers import Hypers
from latte.runtime.nodes import find_node
from latte.runtime.nonfinite import NonFinite, first_nonfinite

if TYPE_CHECKING:
    from latte.runtime.tune import Summary, Tell

Array = NDArray[Any]
Mode = Literal["train", "infer"]


class Executable:
    """A net compiled for one device. Not for use by several threads at once.

    `step_count`, `epoch` and `total_steps` are what schedules see; `seed` decides first values
    and random draws.
    """

    def __init__(
        self, net: Net, program: Program, backend: Backend, *, text: str = "",
        mode: Mode = "train", seed: int = 0, threads: int = 1,
    ) -> None:  # fmt: skip
        self.net = net
        self.text = text
        self.mode = mode
        self.threads = threads
        self.step_count = 0
        self.epoch = 0.0
        self.total_steps = 0
        self.program = program
        self._contents = Contents(net, program, backend, seed, threads)
        self._carried = Carried(net, self._contents)
        self._hypers = Hypers(net.training.solver.hypers)
        self._limits = Limits.of(program)
        self._feeders: dict[str, Feeder] = {}
        self._output = find_node(net, net.output) if net.output else ""
        self._results = _results(net, self._contents.buffers)
        self._told: tuple[tuple[int, ...], Run] = (), Run()
        self.params = self._contents.stored("parameter", "parameter")
        self.grads = self._contents.stored("gradient", "parameter gradient")
        self.running = self._contents.stored("running value", "running")
        self.solver_state = self._contents.stored("solver state", "state")

    # What it is

    def __repr__(self) -> str:
        what = f"batch {self.batch}, target {self.backend.target}, threads {self.threads}"
        return f"<latte.Executable {self.net.name}: {what}, mode {self.mode}>"

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The declared inputs."""
        return self.net.inputs

    @property
    def batch(self) -> int:
        """The largest number of items in one call."""
        return self._limits.items

    @property
    def time(self) -> int:
        """The largest number of steps in one call; 1 for a net without time."""
        return self._limits.steps

    @property
    def metric_names(self) -> tuple[str, ...]:
        """The names of the declared metrics."""
        return tuple(metric.name for metric in self.net.metrics)

    @property
    def backend(self) -> Backend:
        """What runs the phases and owns the arrays."""
        return self._contents.backend

    @backend.setter
    def backend(self, backend: Backend) -> None:
        self._contents.backend = backend

    @property
    def seed(self) -> int:
        """Decides random draws from now on; parameters too, if nothing was run or read yet."""
        return self._contents.seed

    @seed.setter
    def seed(self, value: int) -> None:
        self._contents.seed = value

    def initialize(self, seed: int | None = None) -> None:
        """Gives parameters, running values and solver states their first values again, and counts
        steps from 0."""
        self.seed = self.seed if seed is None else seed
        self.step_count = 0
        self._contents.begin()

    # Running it

    def forward(self, *, lengths: object = None, carry: bool = False, **inputs: object) -> Any:
        """Losses, metrics and the output by name. In mode "train", `training` is true."""
        phase = "forward" if self.mode == "train" else "infer"
        self._run_on(phase, inputs, lengths, carry)
        return self._outcome()

    def backward(self) -> None:
        """Fills `grads` with the gradients of the averaged loss of the last `forward`."""
        if self._contents.phase not in ("forward", "backward"):
            fail("E0909", "`backward` needs a `forward` before it", help=self._mode_help())
        self._run("backward")

    def update(self) -> None:
        """One step of the solver with the gradients of the last `backward`."""
        if self._contents.phase != "backward":
            fail("E0909", "`update` needs a `backward` before it", help=self._mode_help())
        self._run("update")
        self.step_count += 1

    def step(self, *, lengths: object = None, carry: bool = False, **inputs: object) -> float:
        """Forward, backward and update in one; the loss."""
        if self.mode != "train":
            fail("E0909", "this net was compiled without its backward pass", help=self._mode_help())
        self._run_on("step", inputs, lengths, carry)
        self.step_count += 1
        return float(self._contents.fetch(self._contents.buffers[LOSS])) if self.net.losses else 0.0

    def evaluate(self, *, lengths: object = None, carry: bool = False, **inputs: object) -> Any:
        """As `forward`, with `training` false: what the trained net does."""
        self._run_on("infer", inputs, lengths, carry)
        return self._outcome()

    def predict(
        self, *unnamed: object, lengths: object = None, carry: bool = False, **inputs: object
    ) -> Array:
        """The output for any number of items; needs only the inputs that it depends on. Where that
        is one, it needs no name."""
        if self.net.output is None:
            fail("E0909", "the net has no output: nothing is bound before its first loss")
        if unnamed:
            inputs = named(unnamed, inputs, self.net.inputs, self._contents.reads("predict"))
        whole = self._checked("predict", inputs, lengths)
        if carry:
            self._check_items(whole)
        parts = []
        for start in range(0, whole.items, self.batch):
            part = whole.part(start, min(start + self.batch, whole.items))
            self._run_fed("predict", part, carry)
            parts.append(self._contents.node(self._output))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    # What came of it

    @property
    def state(self) -> dict[str, Array]:
        """The last step's values of the ensembles that `prev` reads, [batch, axes...] by name.
        `carry=True` starts the next call from them; they can be assigned (`{}`: from the start).
        """
        return self._carried.state()

    @state.setter
    def state(self, values: Mapping[str, object]) -> None:
        self._carried.put(values)

    @property
    def losses(self) -> dict[str, float]:
        """The losses and metrics of the last run, by name."""
        return {name: float(self._contents.fetch(buffer)) for name, buffer in self._results.items()}

    def value(self, name: str) -> Array:
        """The value of any ensemble, input or view after a run: [batch, (time,) axes...]."""
        return self._contents.node(find_node(self.net, name))

    def grad(self, name: str) -> Array:
        """The gradient that reached an ensemble in the last backward pass."""
        return self._contents.node(find_node(self.net, name), ".grad")

    def find_nonfinite(self) -> NonFinite | None:
        """Looks for the first infinite or undefined number: in the parameters, then by running
        the last batch once more. Tells nothing about how it came to be elsewhere."""
        kept = (("parameter", self.params), ("running value", self.running))
        for kind, arrays in kept:
            if found := first_nonfinite(kind, arrays.items()):
                return found
        feed = self._contents.feed
        if feed is None:
            return None
        if found := first_nonfinite("input", feed.arrays.items()):
            return found
        self._run_fed("forward" if self.mode == "train" else "infer", feed, False)
        return first_nonfinite("value", self._contents.values())

    # Files and settings

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes parameters and running values as safetensors."""
        weights.save(path, {**self.params, **self.running}, self.text)

    def load(self, path: str | os.PathLike[str]) -> None:
        """Reads parameters and running values; raises LatteError if they do not fit."""
        wanted = [b for b in self._contents.buffers.values() if b.role in ("parameter", "running")]
        shapes = {buffer.name: tuple(axis.size for axis in buffer.axes) for buffer in wanted}
        arrays = weights.load(path, shapes)
        self._contents.prepare()
        for name, array in arrays.items():
            self.backend.write(name, array)

    def set_hyper(self, name: str, value: float) -> None:
        """Replaces the schedule of one of the solver's arguments by a number."""
        self._hypers.set(name, value)

    def hypers(self) -> dict[str, float]:
        """The solver's arguments for the next update."""
        return self._hypers.at(self.step_count, self.epoch, self.total_steps)

    def tune(self, seconds: float, tell: Tell | None = None) -> Summary | None:
        """Searches for faster code, of the same bits, for so many seconds or until Ctrl-C. What was
        found is used from now on, here and by later compilations; a further search goes on where
        this one stopped. None where the target has nothing to choose."""
        phases = ("step", "infer") if self.mode == "train" else ("infer", "predict")
        self._contents.phase = ""
        return self.backend.tune(phases, seconds, tell)

    def close(self) -> None:
        """Gives threads and memory back; the executable cannot be used afterwards."""
        self.backend.close()

    # Inside

    def _run_on(
        self, phase: str, inputs: Mapping[str, object], lengths: object, carry: bool
    ) -> None:
        fed = self._checked(phase, inputs, lengths)
        self._check_items(fed)
        self._run_fed(phase, fed, carry)

    def _check_items(self, fed: Feed) -> None:
        if fed.items > self.batch:
            text = f"{fed.items} items were given, compiled were at most {self.batch}"
            fail("E0905", text, help=f"compile with batch={fed.items}, or give fewer at once")

    def _checked(self, phase: str, inputs: Mapping[str, object], lengths: object) -> Feed:
        if phase not in self._feeders:
            wanted = frozenset(entry.name for entry in self.net.inputs)
            if phase == "predict":
                wanted &= self._contents.reads(phase)
            self._feeders[phase] = Feeder(self.net.inputs, wanted, self._limits)
        return self._feeders[phase](inputs, lengths)

    def _run_fed(self, phase: str, fed: Feed, carry: bool) -> None:
        self._contents.prepare()
        self._carried.begin(phase, fed if carry else None)
        self._contents.feed = fed
        for name, array in fed.arrays.items():
            if name in self._contents.buffers:
                self.backend.write(name, array)
        if "lengths" in self._contents.buffers:
            self.backend.write("lengths", fed.lengths)
        self._run(phase)
        self._carried.end()

    def _run(self, phase: str) -> None:
        try:
            self.backend.run(phase, self.now(phase))
        except IndexOutOfRange as error:
            fail("E0910", f"an index that is itself a value is wrong: {error}")
        self._contents.phase = phase

    def now(self, phase: str) -> Run:
        """What a phase is told when it runs: items, steps, seed, scalars. The same object as
        before, if that says it all."""
        fed, goes_on = self._contents.feed, self._carried.goes_on
        assert fed is not None
        told = (fed.items, fed.steps, fed.total, self.seed, self.step_count, goes_on)
        if phase in ("update", "step"):
            return _run(*told, self.hypers())
        if told != self._told[0]:
            self._told = told, _run(*told, {})
        return self._told[1]

    def _outcome(self) -> dict[str, Any]:
        found: dict[str, Any] = dict(self.losses)
        if self.net.output is not None:
            found[self.net.output] = self._contents.node(self._output)
        return found

    def _mode_help(self) -> str:
        return "" if self.mode == "train" else 'compile with mode="train"'


def _results(net: Net, buffers: Mapping[str, Buffer]) -> dict[str, Buffer]:
    """The buffers of the whole loss, of each loss and of each metric, by name."""
    names = ("loss", *(loss.name for loss in net.losses), *(each.name for each in net.metrics))
    found = {name: buffers.get(f"result.{name}") for name in names}
    return {name: buffer for name, buffer in found.items() if buffer is not None}


def _run(
    items: int, steps: int, total: int, seed: int, count: int, goes_on: bool,
    hypers: Mapping[str, float],
) -> Run:  # fmt: skip
    scalars = {f"solver.{name}": value for name, value in hypers.items()}
    scalars |= {"items": float(items), "steps": float(total), "update": float(count)}
    return Run(items, steps, seed, count, scalars | {CARRY: float(goes_on)})
