"""A net in PyTorch: the same function, the same weights, the same solver.

In: a Net and the values of its parameters.  Out: `Runner`s for a training step and inference, in
each of PyTorch's modes: eager, channels last, compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latte.compiler.net import Net
from latte.peers.graph import Graph
from latte.peers.needs import needed
from latte.peers.own_solver import OwnSolver
from latte.peers.solver import solver_of
from latte.peers.torch_text import function_text
from latte.peers.translate import translate

Arrays = Mapping[str, NDArray[Any]]
MODES = ("eager", "channels_last", "compile")


class TorchNet:
    """A graph as a PyTorch function with weights of its own.

    `last` puts channels last, in memory, in all arrays of four axes.
    """

    def __init__(self, graph: Graph, weights: Arrays, *, last: bool = False) -> None:
        self.torch = needed("torch")
        self.graph = graph
        self.last = last
        space: dict[str, Any] = {"torch": self.torch, "F": self.torch.nn.functional}
        exec(function_text(graph), space)
        self.function: Callable[..., Any] = space["forward"]
        self.weights = [self._tensor(weights[w.name].astype(np.float32)) for w in graph.weights]
        arrays = [array for array in graph.constants.values() if array.ndim]
        self.constants = [self.torch.from_numpy(array.copy()) for array in arrays]

    def inputs(self, fed: Arrays) -> list[Any]:
        """The inputs as the function takes them."""
        found = []
        for entry in self.graph.inputs:
            array = fed[entry.name]
            kind = np.float32 if entry.element == "f32" else np.int64
            found.append(self._tensor(array.astype(kind)))
        return found

    def _tensor(self, array: NDArray[Any]) -> Any:
        tensor = self.torch.from_numpy(np.array(array))
        if self.last and tensor.dim() == 4:
            return tensor.contiguous(memory_format=self.torch.channels_last)
        return tensor


def inference(
    net: Net, weights: Arrays, fed: Arrays, *, items: int, steps: int, mode: str
) -> Callable[[], NDArray[Any]]:
    """A function that computes the net's output once."""
    graph = translate(net, items=items, steps=steps, training=False)
    model = TorchNet(graph, weights, last=mode == "channels_last")
    torch, inputs = model.torch, model.inputs(fed)
    function = torch.compile(model.function) if mode == "compile" else model.function

    def run() -> NDArray[Any]:
        with torch.inference_mode():
            found: NDArray[Any] = function(model.weights, model.constants, *inputs)[0].numpy()
            return found

    return run


class TorchTraining:
    """Training steps of one net; `set_rate` changes the solver's rate."""

    def __init__(
        self,
        net: Net,
        weights: Arrays,
        fed: Arrays,
        hypers: Mapping[str, float],
        *,
        items: int,
        steps: int,
        mode: str,
    ) -> None:
        graph = translate(net, items=items, steps=steps, training=True)
        self.model = TorchNet(graph, weights, last=mode == "channels_last")
        self.names = [tensor.name for tensor in graph.weights]
        learned = {entry.name: entry for entry in net.parameters}
        self._learned = [
            (learned[name], weight)
            for name, weight in zip(self.names, self.model.weights, strict=True)
            if name in learned
        ]
        for _, weight in self._learned:
            weight.requires_grad_(True)
        self._inputs = self.model.inputs(fed)
        self._solver = optimizer(self.model.torch, net, self._learned, hypers)
        function = self.model.function
        self._function = self.model.torch.compile(function) if mode == "compile" else function

    def step(self) -> float:
        """Forward, backward and the solver's update; the loss."""
        self._solver.zero_grad()
        loss = self._function(self.model.weights, self.model.constants, *self._inputs)[0]
        loss.backward()
        self._solver.step()
        return float(loss.detach())

    def set_rate(self, rate: float) -> None:
        """Makes the updates so small that figures stay finite however long one measures."""
        for group in self._solver.param_groups:
            group["lr"] = rate

    def parameters(self) -> dict[str, NDArray[Any]]:
        """The learned weights as they are now."""
        return {entry.name: weight.detach().numpy() for entry, weight in self._learned}


def optimizer(
    torch: Any, net: Net, learned: list[tuple[Any, Any]], hypers: Mapping[str, float]
) -> Any:
    """PyTorch's optimizer that does what the net's solver does; where it has none, one made of the
    solver's update."""
    kind = solver_of(net.training.solver)
    groups = [
        {
            "params": [weight],
            "lr": hypers["rate"] * entry.rate,
            "weight_decay": hypers.get("decay", 0.0) * entry.decay,
        }
        for entry, weight in learned
    ] if kind else []  # fmt: skip
    groups = _joined(groups)
    optim = torch.optim
    match kind:
        case "SGD":
            return optim.SGD(groups, lr=0.1, fused=True)
        case "Momentum":
            return optim.SGD(groups, lr=0.1, momentum=hypers["momentum"], fused=True)
        case "Nesterov":
            momentum = hypers["momentum"]
            return optim.SGD(groups, lr=0.1, momentum=momentum, nesterov=True, fused=True)
        case "Adam" | "AdamW":
            given = {"betas": (hypers["beta1"], hypers["beta2"]), "eps": hypers["epsilon"]}
            return getattr(optim, kind)(groups, fused=True, **given)
        case "RMSprop":
            return optim.RMSprop(groups, alpha=hypers["memory"], eps=hypers["epsilon"])
        case "AdaGrad":
            return optim.Adagrad(groups, eps=hypers["epsilon"], fused=True)
    return OwnSolver(net.training.solver, learned, hypers)


def _joined(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Groups with the same settings as one."""
    found: dict[tuple[float, float], dict[str, Any]] = {}
    for group in groups:
        key = (group["lr"], group["weight_decay"])
        known = found.setdefault(key, {**group, "params": []})
        known["params"] += group["params"]
    return list(found.values())
