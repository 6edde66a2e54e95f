"""A compiled net: what a user runs. Everything crosses this edge in declared axis order.

In: a Net, its Program, and a backend that runs phases.  Out: losses, values, gradients, weights.

    exe.step(image=x, label=y)  ->  0.31          exe.params["conv1.weight"]  ->  [20, 1, 5, 5]

Forward, backward and update leave every value and gradient readable; `step` and the phases of
inference share memory between values, and tell clearly when one is gone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from latte.codegen.interp import IndexOutOfRange, Run
from latte.compiler.ir import LOSS, Buffer, Program
from latte.compiler.net import Input, Join, Net, View
from latte.compiler.plan_memory import loaded
from latte.compiler.tables import CARRY
from latte.errors import did_you_mean, fail
from latte.runtime import weights
from latte.runtime.backend import Backend
from latte.runtime.feed import Feed, Feeder, Limits, numbers
from latte.runtime.initial import first_values, scheduled
from latte.runtime.nodes import find_node, viewed
from latte.runtime.nonfinite import NonFinite, first_nonfinite
from latte.runtime.stored import Stored

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
        self,
        net: Net,
        program: Program,
        backend: Backend,
        *,
        text: str = "",
        mode: Mode = "train",
        seed: int = 0,
        threads: int = 1,
    ) -> None:
        self.net = net
        self.text = text
        self.mode = mode
        self.threads = threads
        self.step_count = 0
        self.epoch = 0.0
        self.total_steps = 0
        self._seed = seed
        self.program = program
        self.backend = backend
        self._buffers = {buffer.name: buffer for buffer in program.buffers}
        self._hypers: dict[str, float] = {}
        self._loaded: dict[str, frozenset[str]] = {}
        self._limits = Limits.of(program)
        self._feeders: dict[str, Feeder] = {}
        self._output = find_node(net, net.output) if net.output else ""
        self._carried = [buffer for buffer in program.buffers if buffer.role == "carried"]
        self._results = [
            (name, self._buffers[f"result.{name}"])
            for name in ("loss", *(loss.name for loss in net.losses), *self.metric_names)
            if f"result.{name}" in self._buffers
        ]
        self._ready = False
        self._phase = ""
        self._goes_on = False
        self._told: tuple[tuple[int, ...], Run] = (), Run()
        self._feed: Feed | None = None
        self._state: dict[str, Array] | None = {}
        self.params = self._stored("parameter", ("parameter",))
        self.grads = self._stored("gradient", ("parameter gradient",))
        self.running = self._stored("running value", ("running",))
        self.solver_state = self._stored("solver state", ("state",))

    # What it is

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
        return tuple(metric.name for metric in self.net.metrics)

    @property
    def seed(self) -> int:
        return self._seed

    @seed.setter
    def seed(self, value: int) -> None:
        """Changes random draws from now on; parameters too, if nothing was run or read yet."""
        self._seed = value

    def initialize(self, seed: int | None = None) -> None:
        """Gives parameters, running values and solver states their first values again, and counts
        steps from 0."""
        self._seed = self._seed if seed is None else seed
        self.step_count = 0
        self._begin()

    # Running it

    def forward(self, *, lengths: object = None, carry: bool = False, **inputs: object) -> Any:
        """Losses, metrics and the output by name. In mode "train", `training` is true."""
        phase = "forward" if self.mode == "train" else "infer"
        self._run_on(phase, inputs, lengths, carry)
        return self._outcome()

    def backward(self) -> None:
        """Fills `grads` with the gradients of the averaged loss of the last `forward`."""
        if self._phase not in ("forward", "backward"):
            fail("E0909", "`backward` needs a `forward` before it", help=self._mode_help())
        self._run("backward")

    def update(self) -> None:
        """One step of the solver with the gradients of the last `backward`."""
        if self._phase != "backward":
            fail("E0909", "`update` needs a `backward` before it", help=self._mode_help())
        self._run("update")
        self.step_count += 1

    def step(self, *, lengths: object = None, carry: bool = False, **inputs: object) -> float:
        """Forward, backward and update in one; the loss."""
        if self.mode != "train":
            fail("E0909", "this net was compiled without its backward pass", help=self._mode_help())
        self._run_on("step", inputs, lengths, carry)
        self.step_count += 1
        return float(self._fetch(self._buffers[LOSS])) if self.net.losses else 0.0

    def evaluate(self, *, lengths: object = None, carry: bool = False, **inputs: object) -> Any:
        """As `forward`, with `training` false: what the trained net does."""
        self._run_on("infer", inputs, lengths, carry)
        return self._outcome()

    def predict(self, *, lengths: object = None, carry: bool = False, **inputs: object) -> Array:
        """The output for any number of items; needs only the inputs that it depends on."""
        if self.net.output is None:
            fail("E0909", "the net has no output: nothing is bound before its first loss")
        whole = self._checked("predict", inputs, lengths)
        if carry:
            self._check_items(whole)
        parts = []
        for start in range(0, whole.items, self.batch):
            part = whole.part(start, min(start + self.batch, whole.items))
            self._run_fed("predict", part, carry)
            parts.append(self._node_array(self._output, ""))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    # What came of it

    @property
    def state(self) -> dict[str, Array]:
        """The last step's values of the ensembles that `prev` reads, [batch, axes...] by name.
        `carry=True` starts the next call from them; they can be assigned (`{}`: from the start).
        """
        if self._state is None:
            pairs = ((buffer.origin, self._last(buffer)) for buffer in self._carried)
            self._state = {name: values for name, values in pairs if values is not None}
        return self._state

    @state.setter
    def state(self, values: Mapping[str, object]) -> None:
        self._state = {
            find_node(self.net, name): numbers(f"the state of `{name}`", value)
            for name, value in values.items()
        }

    @property
    def losses(self) -> dict[str, float]:
        """The losses and metrics of the last run, by name."""
        return {name: float(self._fetch(buffer)) for name, buffer in self._results}

    def value(self, name: str) -> Array:
        """The value of any ensemble, input or view after a run: [batch, (time,) axes...]."""
        return self._node_array(find_node(self.net, name), "")

    def grad(self, name: str) -> Array:
        """The gradient that reached an ensemble in the last backward pass."""
        return self._node_array(find_node(self.net, name), ".grad")

    def find_nonfinite(self) -> NonFinite | None:
        """Looks for the first infinite or undefined number: in the parameters, then by running
        the last batch once more. Tells nothing about how it came to be elsewhere."""
        kept = (("parameter", self.params), ("running value", self.running))
        for kind, arrays in kept:
            if found := first_nonfinite(kind, arrays.items()):
                return found
        if self._feed is None:
            return None
        if found := first_nonfinite("input", self._feed.arrays.items()):
            return found
        self._run_fed("forward" if self.mode == "train" else "infer", self._feed, False)
        return first_nonfinite("value", self._values())

    # Files and settings

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes parameters and running values as safetensors."""
        weights.save(path, {**self.params, **self.running}, self.text)

    def load(self, path: str | os.PathLike[str]) -> None:
        """Reads parameters and running values; raises LatteError if they do not fit."""
        wanted = [b for b in self._buffers.values() if b.role in ("parameter", "running")]
        shapes = {buffer.name: tuple(axis.size for axis in buffer.axes) for buffer in wanted}
        arrays = weights.load(path, shapes)
        self._prepare()
        for name, array in arrays.items():
            self.backend.write(name, array)

    def set_hyper(self, name: str, value: float) -> None:
        """Replaces the schedule of one of the solver's arguments by a number."""
        known = [hyper.name for hyper in self.net.training.solver.hypers]
        if name not in known:
            hint = did_you_mean(name, known) or f"it has {', '.join(known)}"
            fail("E0908", f"the solver has no argument `{name}`", help=hint)
        if not isinstance(value, Real):
            fail("E0908", f"`{name}` is a number, not {value!r}")
        self._hypers[name] = float(value)

    def hypers(self) -> dict[str, float]:
        """The solver's arguments for the next update."""
        return {
            hyper.name: self._hypers.get(
                hyper.name,
                scheduled(hyper.schedule, self.step_count, self.epoch, self.total_steps),
            )
            for hyper in self.net.training.solver.hypers
        }

    def tune(self, seconds: float, tell: Tell | None = None) -> Summary | None:
        """Searches for faster code, of the same bits, for so many seconds or until Ctrl-C. What was
        found is used from now on, here and by later compilations; a further search goes on where
        this one stopped. None where the target has nothing to choose."""
        phases = ("step", "infer") if self.mode == "train" else ("infer", "predict")
        self._phase = ""
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
                wanted &= self._reads(phase)
            self._feeders[phase] = Feeder(self.net.inputs, wanted, self._limits)
        return self._feeders[phase](inputs, lengths)

    def _reads(self, phase: str) -> frozenset[str]:
        if phase not in self._loaded:
            self._loaded[phase] = loaded(self.program.phase(phase))
        return self._loaded[phase]

    def _run_fed(self, phase: str, fed: Feed, carry: bool) -> None:
        self._prepare()
        self._carry(phase, fed if carry else None)
        self._feed = fed
        for name, array in fed.arrays.items():
            if name in self._buffers:
                self.backend.write(name, array)
        if "lengths" in self._buffers:
            self.backend.write("lengths", fed.lengths)
        self._run(phase)
        self._state = None

    def _carry(self, phase: str, fed: Feed | None) -> None:
        """Writes where a sequence goes on from: nothing is carried into the first call."""
        self._goes_on = fed is not None and bool(self.state)
        if fed is None or not self._goes_on:
            return
        for buffer in (b for b in self._carried if b.name in self._reads(phase)):
            shape = (fed.items, *(axis.size for axis in buffer.axes[1:]))
            values = self.state.get(buffer.origin)
            if values is None or values.shape != shape:
                found = "nothing" if values is None else f"the shape {list(values.shape)}"
                text = f"the state of `{buffer.origin}` is {found}, expected {list(shape)}"
                fail("E0907", text, help="carry=True needs the same items in every call")
            self.backend.write(buffer.name, np.asarray(values, np.float32))

    def _last(self, carried: Buffer) -> Array | None:
        """An ensemble's values at every item's last step; None if the last run has none."""
        assert self._feed is not None
        buffer = self._buffers[carried.origin]
        values = self.backend.read(buffer.name, self._sizes(buffer), self._phase)
        if values is None:
            return None
        return np.asarray(values[np.arange(self._feed.items), self._feed.lengths - 1])

    def _run(self, phase: str) -> None:
        try:
            self.backend.run(phase, self.now(phase))
        except IndexOutOfRange as error:
            fail("E0910", f"an index that is itself a value is wrong: {error}")
        self._phase = phase

    def now(self, phase: str) -> Run:
        """What a phase is told when it runs: items, steps, seed, scalars. The same object as
        before, if that says it all."""
        fed = self._feed
        assert fed is not None
        told = (fed.items, fed.steps, fed.total, self._seed, self.step_count, self._goes_on)
        if phase in ("update", "step"):
            return _run(*told, self.hypers())
        if told != self._told[0]:
            self._told = told, _run(*told, {})
        return self._told[1]

    def _prepare(self) -> None:
        if not self._ready:
            self._begin()

    def _begin(self) -> None:
        self._ready = True
        for first in first_values(self.net, self._seed, self.threads):
            if first.name in self._buffers:
                self.backend.begin(first)

    def _outcome(self) -> dict[str, Any]:
        found: dict[str, Any] = dict(self.losses)
        if self.net.output is not None:
            found[self.net.output] = self._node_array(self._output, "")
        return found

    def _node_array(self, node: str, suffix: str) -> Array:
        """A node's array; those of views and joins are made of their sources where not stored."""
        if node + suffix in self._buffers:
            return self._fetch(self._buffers[node + suffix])
        form = next((entry for entry in self.net.nodes if entry.name == node), None)
        if isinstance(form, View) and not suffix:
            return viewed(form, self._node_array(form.source, suffix))
        if isinstance(form, Join) and not suffix:
            parts = [self._node_array(part, suffix) for part in form.parts]
            return np.concatenate(parts, axis=form.axis - len(form.axes))
        what = "gradient" if suffix else "value"
        fail("E0911", f"`{node}` has no {what} in this net", help="nothing reads it")

    def _fetch(self, buffer: Buffer) -> Array:
        if buffer.role in ("parameter", "running", "state"):
            self._prepare()
        elif not self._phase:
            fail("E0909", f"nothing was run yet: `{buffer.origin}` has no value")
        array = self.backend.read(buffer.name, self._sizes(buffer), self._phase)
        if array is None:
            what = "gradient" if buffer.role.endswith("gradient") else "value"
            hint = f'compile with keep=["{buffer.origin}"], or run forward and backward'
            text = f"`{self._phase}` does not keep the {what} of `{buffer.origin}`"
            fail("E0911", text, help=hint)
        return array

    def _sizes(self, buffer: Buffer) -> tuple[int, ...]:
        fed = self._feed
        known = {"n": fed.items if fed else 0, "t": fed.steps if fed else 0, None: 0}
        return tuple(known[axis.symbol] or axis.size for axis in buffer.axes)

    def _stored(self, kind: str, roles: tuple[str, ...]) -> Stored:
        def write(buffer: Buffer, values: Array) -> None:
            self._prepare()
            self.backend.write(buffer.name, values)

        chosen = {
            buffer.origin if buffer.role == "parameter gradient" else buffer.name: buffer
            for buffer in self._buffers.values()
            if buffer.role in roles
        }
        return Stored(kind, chosen, self._fetch, write)

    def _values(self) -> Iterator[tuple[str, Array]]:
        """The value of every node that can be read, in the order of the net."""
        for node in self.net.nodes:
            buffer = self._buffers.get(node.name)
            if buffer is not None:
                array = self.backend.read(buffer.name, self._sizes(buffer), self._phase)
                if array is not None:
                    yield node.name, array

    def _mode_help(self) -> str:
        return "" if self.mode == "train" else 'compile with mode="train"'


def _run(
    items: int, steps: int, total: int, seed: int, count: int, goes_on: bool,
    hypers: Mapping[str, float],
) -> Run:  # fmt: skip
    scalars = {f"solver.{name}": value for name, value in hypers.items()}
    scalars |= {"items": float(items), "steps": float(total), "update": float(count)}
    return Run(items, steps, seed, count, scalars | {CARRY: float(goes_on)})
