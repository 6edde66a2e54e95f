"""Graph -> the text of a PyTorch function, as a person would write it.

    conv1.out:0 = Conv(image, conv1.weight, conv1.bias; strides (4, 4), pads (2, 2, 2, 2))
->  v0 = F.conv2d(x0, w[0], w[1], (4, 4), (2, 2), (1, 1), 1)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from latte.peers.graph import Graph, Operation

ELEMENTS = {"f32": "torch.float32", "i64": "torch.int64", "bool": "torch.bool"}
INFIX = {
    "Add": "+", "Sub": "-", "Mul": "*", "Div": "/", "Less": "<", "LessOrEqual": "<=",
    "Greater": ">", "GreaterOrEqual": ">=", "Equal": "==", "And": "&", "Or": "|",
}  # fmt: skip
CALLS = {
    "Neg": "torch.neg", "Exp": "torch.exp", "Log": "torch.log", "Sqrt": "torch.sqrt",
    "Tanh": "torch.tanh", "Sigmoid": "torch.sigmoid", "Abs": "torch.abs", "Floor": "torch.floor",
    "Erf": "torch.erf", "Sin": "torch.sin", "Cos": "torch.cos", "Relu": "F.relu", "Silu": "F.silu",
    "Gelu": "F.gelu", "Softplus": "F.softplus", "MatMul": "torch.matmul", "Pow": "torch.pow",
    "Where": "torch.where", "Not": "torch.logical_not", "Gemm": "F.linear",
}  # fmt: skip
REDUCTIONS = {"ReduceSum": "sum", "ReduceMean": "mean", "ReduceMax": "amax", "ReduceMin": "amin"}


@dataclass(frozen=True, slots=True)
class Call:
    """An operation with its operands as texts, and their shapes."""

    operation: Operation
    operands: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    def __getitem__(self, name: str) -> Any:
        return dict(self.operation.attributes)[name]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.operation.shapes[0]


def function_text(graph: Graph) -> str:
    """`def forward(w, c, x0, x1, ...)`: w are the weights in the graph's order, c its constants
    that are arrays. Returns the results as a tuple."""
    names = {tensor.name: f"x{k}" for k, tensor in enumerate(graph.inputs)}
    names |= {tensor.name: f"w[{k}]" for k, tensor in enumerate(graph.weights)}
    arrays = [name for name, array in graph.constants.items() if array.ndim]
    names |= {name: f"c[{k}]" for k, name in enumerate(arrays)}
    names |= {n: _number(a.item()) for n, a in graph.constants.items() if not a.ndim}
    shapes = {tensor.name: tensor.shape for tensor in (*graph.inputs, *graph.weights)}
    shapes |= {name: array.shape for name, array in graph.constants.items()}
    lines = [f"def forward(w, c, {', '.join(f'x{k}' for k in range(len(graph.inputs)))}):"]
    for operation in graph.operations:
        made = [f"v{len(names) + k}" for k in range(len(operation.outputs))]
        names |= dict(zip(operation.outputs, made, strict=True))
        shapes |= dict(zip(operation.outputs, operation.shapes, strict=True))
        lines.append(f"    {', '.join(made)} = {_text(operation, names, shapes)}")
    results = "".join(f"{names[name]}, " for _, name in graph.results)
    return "\n".join([*lines, f"    return ({results})", ""])


def _text(
    operation: Operation, names: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]]
) -> str:
    call = Call(
        operation,
        tuple(names[name] if name else "None" for name in operation.inputs),
        tuple(shapes.get(name, ()) for name in operation.inputs),
    )
    kind, operands = operation.kind, call.operands
    if kind in INFIX:
        return f"{operands[0]} {INFIX[kind]} {operands[1]}"
    if kind in CALLS:
        return f"{CALLS[kind]}({', '.join(operands)})"
    if kind in REDUCTIONS:
        return f"{operands[0]}.{REDUCTIONS[kind]}({call['axes']})"
    return RULES[kind](call)


def _conv(call: Call) -> str:
    rank, (x, weight, bias) = len(call["strides"]), call.operands
    strides, dilations = call["strides"], call["dilations"]
    taps = call.shapes[1][2:]
    reach = [d * (k - 1) + 1 for d, k in zip(dilations, taps, strict=True)]
    padding, x = _padding(call, reach, x, 0.0)
    return (
        f"F.conv{rank}d({x}, {weight}, {bias}, {strides}, {padding}, {dilations}, {call['group']})"
    )


def _padding(call: Call, reach: list[int], x: str, fill: float) -> tuple[tuple[int, ...], str]:
    """The same padding on both sides where that gives the right size, else an explicit one."""
    rank, sizes = len(reach), call.shapes[0][2:]
    before, after = call["pads"][:rank], call["pads"][rank:]
    out = call.shape[2:]
    both = [(n + 2 * b - r) // s + 1 for n, b, r, s in zip(
        sizes, before, reach, call["strides"], strict=True)]  # fmt: skip
    if tuple(both) == out and (
        fill == 0.0 or all(2 * b <= r for b, r in zip(before, reach, strict=True))
    ):
        return before, x
    sides = [side for pair in reversed(list(zip(before, after, strict=True))) for side in pair]
    return (0,) * rank, f"F.pad({x}, {tuple(sides)}, value={_number(fill)})"


def _number(value: float) -> str:
    return repr(value) if math.isfinite(value) else f"float('{value}')"


def _max_pool(call: Call) -> str:
    rank, kernel, dilations = len(call["strides"]), call["kernel_shape"], call["dilations"]
    reach = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
    ceil = _ceil(call, reach)
    padding, x = (call["pads"][:rank], call.operands[0]) if ceil else _padding(
        call, reach, call.operands[0], -math.inf
    )  # fmt: skip
    rest = f"{call['strides']}, {padding}, {dilations}, {ceil}"
    return f"F.max_pool{rank}d({x}, {kernel}, {rest})"


def _ceil(call: Call, reach: list[int]) -> bool:
    """Whether the pool is PyTorch's with `ceil_mode`, and not without."""
    rank, sizes = len(reach), call.shapes[0][2:]
    before = call["pads"][:rank]
    spans = [n + 2 * b - r for n, b, r in zip(sizes, before, reach, strict=True)]
    steps = call["strides"]
    floor = tuple(span // s + 1 for span, s in zip(spans, steps, strict=True))
    ceil = tuple(
        -(-span // s) + 1 - (-(-span // s) * s >= n + b)
        for span, s, n, b in zip(spans, steps, sizes, before, strict=True)
    )
    fits = all(2 * b <= r for b, r in zip(before, reach, strict=True))
    return fits and call.shape[2:] == ceil and ceil != floor


def _average_pool(call: Call) -> str:
    rank, kernel = len(call["strides"]), call["kernel_shape"]
    x, strides, reach = call.operands[0], call["strides"], list(kernel)
    ceil = _ceil(call, reach)
    _, padded = _padding(call, reach, x, -1.0)
    if ceil or padded == x:
        before = call["pads"][:rank]
        return f"F.avg_pool{rank}d({x}, {kernel}, {strides}, {before}, {ceil}, False)"
    padded = padded.replace("value=-1.0", "value=0.0")
    ones = padded.replace(x, f"torch.ones_like({x})", 1)
    pool = f"F.avg_pool{rank}d({{}}, {kernel}, {strides})"
    return f"{pool.format(padded)} / {pool.format(ones)}"


def _window(call: Call) -> str:
    reach = call["dilation"] * (call["size"] - 1) + 1
    text = f"{call.operands[0]}.unfold({call['axis']}, {reach}, {call['step']})"
    return text if call["dilation"] == 1 else f"{text}[..., ::{call['dilation']}]"


def _slice(call: Call) -> str:
    part = f"{call['start']}:{call['stop']}:{call['step']}"
    return f"{call.operands[0]}[{':, ' * call['axis']}{part}]"


def _pad(call: Call) -> str:
    behind = len(call.shapes[0]) - call["axis"] - 1
    sides = (0, 0) * behind + (call["before"], call["after"])
    return f"F.pad({call.operands[0]}, {sides}, value={call['value']})"


def _gather(call: Call) -> str:
    table, index = call.operands
    if call["axis"] == 0 and len(call.shapes[0]) == 2:
        return f"F.embedding({index}, {table})"
    return f"{table}[{':, ' * call['axis']}{index}]"


def _extreme(call: Call) -> str:
    """Min and Max of two tensors, or of a tensor and a number."""
    tensors, number = ("maximum", "clamp_min") if call.operation.kind == "Max" else (
        "minimum", "clamp_max"
    )  # fmt: skip
    a, b = call.operands
    if _is_number(a) or _is_number(b):
        return f"torch.{number}({b}, {a})" if _is_number(a) else f"torch.{number}({a}, {b})"
    return f"torch.{tensors}({a}, {b})"


def _is_number(text: str) -> bool:
    return text.startswith("float(") or text.lstrip("-").replace(".", "").isdigit() or "e-" in text


def _product(call: Call) -> str:
    text = call.operands[0]
    for place in sorted(call["axes"], reverse=True):
        text = f"{text}.prod({place})"
    return text


def _normalisation(call: Call) -> str:
    x, gamma, beta, mean, variance = call.operands
    training, momentum = bool(call["training_mode"]), 1.0 - call["momentum"]
    return (
        f"F.batch_norm({x}, {mean}, {variance}, {gamma}, {beta}, {training}, "
        f"{momentum!r}, {call['epsilon']!r})"
    )


def _layer_normalisation(call: Call) -> str:
    x, gamma, beta = call.operands
    shape = call.shapes[0][call["axis"] :]
    return f"F.layer_norm({x}, {shape}, {gamma}, {beta}, {call['epsilon']!r})"


def _response_normalisation(call: Call) -> str:
    given = f"{call['size']}, {call['alpha']!r}, {call['beta']!r}, {call['bias']!r}"
    return f"F.local_response_norm({call.operands[0]}, {given})"


def _lstm(call: Call) -> str:
    x, wx, wh, bias = call.operands
    zeros = f"{x}.new_zeros(1, {call.shapes[0][0]}, {call['hidden_size']})"
    weights = f"({wx}, {wh}, {bias}, torch.zeros_like({bias}))"
    return (
        f"torch.lstm({x}, ({zeros}, {zeros}), {weights}, True, 1, 0.0, "
        f"{bool(call['training'])}, False, True)[0]"
    )


RULES: dict[str, Callable[[Call], str]] = {
    "Conv": _conv,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "Window": _window,
    "Slice": _slice,
    "Pad": _pad,
    "Gather": _gather,
    "Max": _extreme,
    "Min": _extreme,
    "ReduceProd": _product,
    "BatchNormalization": _normalisation,
    "LayerNormalization": _layer_normalisation,
    "LRN": _response_normalisation,
    "LSTM": _lstm,
    "GatherElements": lambda c: f"torch.gather({c.operands[0]}, {c['axis']}, {c.operands[1]})",
    "Reshape": lambda c: f"{c.operands[0]}.reshape({c['shape']})",
    "Transpose": lambda c: f"{c.operands[0]}.permute({c['perm']})",
    "Select": lambda c: f"{c.operands[0]}.select({c['axis']}, {c['index']})",
    "Expand": lambda c: _expand(c),
    "Concat": lambda c: f"torch.cat(({', '.join(c.operands)},), {c['axis']})",
    "Cast": lambda c: f"{c.operands[0]}.to({ELEMENTS[c['to']]})",
    "ArgMax": lambda c: f"{c.operands[0]}.argmax({c['axis']})",
    "ArgMin": lambda c: f"{c.operands[0]}.argmin({c['axis']})",
    "LeakyRelu": lambda c: f"F.leaky_relu({c.operands[0]}, {c['alpha']!r})",
    "Elu": lambda c: f"F.elu({c.operands[0]}, {c['alpha']!r})",
    "PRelu": lambda c: "torch.where({0} > 0, {0}, {1} * {0})".format(*c.operands),
    "Dropout": lambda c: f"F.dropout({c.operands[0]}, {c['ratio']!r})",
    "Softmax": lambda c: f"torch.softmax({c.operands[0]}, {c['axis']})",
    "LogSoftmax": lambda c: f"torch.log_softmax({c.operands[0]}, {c['axis']})",
    "CrossEntropy": lambda c: f"F.cross_entropy({', '.join(c.operands)}, reduction='none')",
    "Stop": lambda c: f"{c.operands[0]}.detach()",
    "RandomUniform": lambda c: f"torch.rand({c['shape']})",
    "RandomNormal": lambda c: f"torch.randn({c['shape']})",
}


def _expand(call: Call) -> str:
    text = call.operands[0]
    if _is_number(text):
        return f"torch.full({call['shape']}, {text})"
    return f"{text}.expand({call['shape']})"
