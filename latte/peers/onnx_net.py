"""Graph -> an ONNX model, run by ONNX Runtime or OpenVINO.

Operators of the graph are ONNX's already: shapes and axes that ONNX wants as inputs become
constants, and the few forms of our own are spelt out.

    v = Window(x; axis 2, size 3, step 1)   ->   Gather(x, table of places; axis 2), Transpose
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latte.compiler.net import Net
from latte.errors import fail
from latte.peers.graph import Graph, Operation
from latte.peers.needs import needed
from latte.peers.translate import translate

Arrays = Mapping[str, NDArray[Any]]
Given = dict[str, NDArray[Any]]
Predict = Callable[[], NDArray[Any]]
OPSET = 20
IR_VERSION = 9
SAME = frozenset({
    "Add", "Sub", "Mul", "Div", "Pow", "Neg", "Exp", "Log", "Sqrt", "Tanh", "Sigmoid", "Abs",
    "Floor", "Erf", "Sin", "Cos", "Min", "Max", "Less", "LessOrEqual", "Greater",
    "GreaterOrEqual", "Equal", "And", "Or", "Not", "Where", "Relu", "Softplus", "LeakyRelu",
    "Elu", "MatMul", "Conv", "MaxPool", "AveragePool", "Gather", "GatherElements", "Concat",
    "Gelu", "Softmax", "LogSoftmax", "LRN",
})  # fmt: skip
NAMES = {"f32": 1, "i64": 7, "bool": 9}  # of TensorProto


@dataclass(slots=True)
class Model:
    """Nodes and constants of an ONNX graph on its way."""

    onnx: Any
    shapes: dict[str, tuple[int, ...]]
    nodes: list[Any] = field(default_factory=list)
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)

    def node(
        self,
        kind: str,
        inputs: list[str],
        outputs: tuple[str, ...] | None = None,
        **attributes: Any,
    ) -> str:
        """One node; its first output."""
        outputs = outputs or (f"@{len(self.nodes)}",)
        given = {k: list(v) if isinstance(v, tuple) else v for k, v in attributes.items()}
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, list(outputs), **given))
        return outputs[0]

    def constant(self, values: Any) -> str:
        """An array known now."""
        array = np.asarray(values)
        if array.dtype.kind == "i":
            array = array.astype(np.int64)
        name = f"@constant.{len(self.constants)}"
        self.constants[name] = array
        return name


def model_of(graph: Graph, weights: Arrays) -> Any:
    """The ONNX model of a graph with these weights inside. Raises E0961 without `onnx`."""
    onnx = needed("onnx")
    helper, numpy_helper = onnx.helper, needed("onnx.numpy_helper")
    shapes = {tensor.name: tensor.shape for tensor in (*graph.inputs, *graph.weights)}
    shapes |= {name: array.shape for name, array in graph.constants.items()}
    model = Model(onnx, shapes)
    for operation in graph.operations:
        _add(model, operation)
        shapes |= dict(zip(operation.outputs, operation.shapes, strict=True))
    arrays = {w.name: weights[w.name].astype(np.float32) for w in graph.weights}
    arrays |= graph.constants | model.constants
    stored = [numpy_helper.from_array(np.asarray(a, order="C"), name) for name, a in arrays.items()]
    inputs = [
        helper.make_tensor_value_info(entry.name, NAMES[entry.element], entry.shape)
        for entry in graph.inputs
    ]
    outputs = [
        helper.make_tensor_value_info(name, NAMES["f32"], shapes[name]) for _, name in graph.results
    ]
    body = helper.make_graph(model.nodes, graph.name, inputs, outputs, stored)
    opset = [helper.make_opsetid("", OPSET)]
    return helper.make_model(body, opset_imports=opset, ir_version=IR_VERSION)


def _add(model: Model, operation: Operation) -> None:
    given: dict[str, Any] = dict(operation.attributes)
    if operation.kind in SAME:
        model.node(operation.kind, list(operation.inputs), operation.outputs, **given)
        return
    rule = RULES.get(operation.kind)
    if rule is None:
        fail("E0960", f"`{operation.outputs[0]}`: ONNX has no operation {operation.kind}")
    rule(model, operation, given)


Rule = Callable[[Model, Operation, dict[str, Any]], object]


def _reshape(model: Model, operation: Operation, given: dict[str, Any]) -> None:
    shape = model.constant(np.array(given["shape"], np.int64))
    model.node(operation.kind, [operation.inputs[0], shape], operation.outputs)


def _reduction(model: Model, operation: Operation, given: dict[str, Any]) -> None:
    axes = model.constant(np.array(given["axes"], np.int64))
    model.node(operation.kind, [operation.inputs[0], axes], operation.outputs, keepdims=0)


def _slice(model: Model, operation: Operation, given: dict[str, Any]) -> None:
    parts = [model.constant(np.array([given[n]])) for n in ("start", "stop", "axis", "step")]
    model.node("Slice", [operation.inputs[0], *parts], operation.outputs)


def _select(model: Model, operation: Operation, given: dict[str, Any]) -> None:
    index = model.constant(np.array(given["index"]))
    model.node("Gather", [operation.inputs[0], index], operation.outputs, axis=given["axis"])


def _pad(model: Model, operation: Operation, given: dict[str, Any]) -> None:
    rank = len(model.shapes[operation.inputs[0]])
    sides = np.zeros((2, rank), np.int64)
    sides[:, given["axis"]] = given["before"], given["after"]
    value = model.constant(np.float32(given["value"]))
    model.node(
        "Pad", [operation.inputs[0], model.constant(sides.ravel()), value], operation.outputs
    )


def _window(model: Model, operation: Operation, given: dict[str, Any]) -> None:
    """Places of all windows along the axis, then the window's axis put last."""
    axis, size = given["axis"], given["size"]
    count = operation.shapes[0][axis]
    table = np.arange(count)[:, None] * given["step"] + np.arange(size) * given["dilation"]
    found = model.node("Gather", [operation.inputs[0], model.constant(table)], axis=axis)
    rank = len(operation.shapes[0])
    order = [k for k in range(rank) if k != axis + 1] + [axis + 1]
    model.node("Transpose", [found], operation.outputs, perm=order)


def _gemm(model: Model, operation: Operation, given: dict[str, Any]) -> None:
    inputs = [name for name in operation.inputs if name]
    model.node("Gemm", inputs, operation.outputs, transB=given["transB"])


def _arg(model: Model, operation: Operation, given: dict[str, Any]) -> None:
    model.node(
        operation.kind, [operation.inputs[0]], operation.outputs, axis=given["axis"], keepdims=0
    )


def _silu(model: Model, operation: Operation, given: dict[str, Any]) -> None:
    gate = model.node("Sigmoid", [operation.inputs[0]])
    model.node("Mul", [operation.inputs[0], gate], operation.outputs)


def _prelu(model: Model, operation: Operation, given: dict[str, Any]) -> None:
    model.node("PRelu", list(operation.inputs), operation.outputs)


def _cast(model: Model, operation: Operation, given: dict[str, Any]) -> None:
    model.node("Cast", list(operation.inputs), operation.outputs, to=NAMES[given["to"]])


def _normalisation(model: Model, operation: Operation, given: dict[str, Any]) -> None:
    model.node(
        "BatchNormalization", list(operation.inputs), operation.outputs, epsilon=given["epsilon"]
    )


def _layer_normalisation(model: Model, operation: Operation, given: dict[str, Any]) -> None:
    model.node(
        "LayerNormalization", list(operation.inputs), operation.outputs, axis=given["axis"],
        epsilon=given["epsilon"],
    )  # fmt: skip


def _identity(model: Model, operation: Operation, given: dict[str, Any]) -> None:
    model.node("Identity", list(operation.inputs), operation.outputs)


def _lstm(model: Model, operation: Operation, given: dict[str, Any]) -> None:
    """Gates go from input, forget, candidate, output to ONNX's input, output, forget, candidate;
    time goes in front, and back behind the batch."""
    x, *weights = operation.inputs
    size = given["hidden_size"]
    order = np.concatenate([np.arange(size) + size * gate for gate in (0, 3, 1, 2)])
    places = model.constant(order)
    wx, wh, bias = (model.node("Gather", [name, places], axis=0) for name in weights)
    front = model.constant(np.array([0]))
    wx, wh = (model.node("Unsqueeze", [name, front]) for name in (wx, wh))
    zeros = model.constant(np.zeros(4 * size, np.float32))
    both = model.node("Unsqueeze", [model.node("Concat", [bias, zeros], axis=0), front])
    steps = model.node("Transpose", [x], perm=(1, 0, 2))
    found = model.node("LSTM", [steps, wx, wh, both], hidden_size=size)
    found = model.node("Squeeze", [found, model.constant(np.array([1]))])
    model.node("Transpose", [found], operation.outputs, perm=(1, 0, 2))


RULES: dict[str, Rule] = {
    "Reshape": _reshape,
    "Expand": _reshape,
    "ReduceSum": _reduction,
    "ReduceMean": _reduction,
    "ReduceMax": _reduction,
    "ReduceMin": _reduction,
    "ReduceProd": _reduction,
    "Slice": _slice,
    "Select": _select,
    "Pad": _pad,
    "Window": _window,
    "Gemm": _gemm,
    "ArgMax": _arg,
    "ArgMin": _arg,
    "Silu": _silu,
    "PRelu": _prelu,
    "Cast": _cast,
    "BatchNormalization": _normalisation,
    "LayerNormalization": _layer_normalisation,
    "Stop": _identity,
    "LSTM": _lstm,
    "Transpose": lambda m, o, g: m.node("Transpose", list(o.inputs), o.outputs, perm=g["perm"]),
}


def inference(
    net: Net, weights: Arrays, fed: Arrays, *, items: int, steps: int, peer: str, threads: int
) -> Predict:
    """A function that computes the net's output once, in float32."""
    graph = translate(net, items=items, steps=steps, training=False)
    kinds: dict[str, type] = {"f32": np.float32, "i64": np.int64, "bool": np.bool_}
    given: Given = {
        entry.name: np.ascontiguousarray(fed[entry.name], kinds[entry.element])
        for entry in graph.inputs
    }
    start = _openvino if peer == "openvino" else _onnxruntime
    return start(model_of(graph, weights), given, threads)


def _onnxruntime(
    model: Any, given: dict[str, NDArray[Any]], threads: int
) -> Callable[[], NDArray[Any]]:
    runtime = needed("onnxruntime")
    settings = runtime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.log_severity_level = 3
    session = runtime.InferenceSession(
        model.SerializeToString(), settings, providers=["CPUExecutionProvider"]
    )

    def run() -> NDArray[Any]:
        found: NDArray[Any] = session.run(None, given)[0]
        return found

    return run


def _openvino(
    model: Any, given: dict[str, NDArray[Any]], threads: int
) -> Callable[[], NDArray[Any]]:
    openvino = needed("openvino")
    core = openvino.Core()
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",  # on machines with bfloat16 it would use that
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = core.compile_model(
        core.read_model(BytesIO(model.SerializeToString())), "CPU", settings
    )
    request = compiled.create_infer_request()
    output = compiled.output(0)

    def run() -> NDArray[Any]:
        found: NDArray[Any] = request.infer(given)[output]
        return found

    return run
