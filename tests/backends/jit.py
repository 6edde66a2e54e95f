"""Compiles vector code with llvmlite alone and calls it on NumPy arrays: for tests only."""

import ctypes
from collections.abc import Sequence
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from numpy.typing import NDArray

from latte.codegen.llvm import module
from latte.compiler.machine import host, masked
from latte.compiler.vector import Function

PASSES = ("sroa", "simplify_cfg", "instruction_combine", "dead_code_elimination")
_alive: list[Any] = []


def compile_functions(functions: Sequence[Function], fma: bool = True) -> list[Any]:
    """Callables (table, scalars, places, first, last) for the functions."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    text = module(functions, fma)
    parsed = llvm.parse_assembly(text)
    parsed.verify()
    features = llvm.FeatureMap(masked(llvm.get_host_cpu_features(), host())).flatten()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=features, opt=3, jit=True
    )
    manager = llvm.create_new_module_pass_manager()
    for name in PASSES:
        getattr(manager, f"add_{name}_pass")()
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    manager.run(parsed, llvm.create_pass_builder(machine, options))
    engine = llvm.create_mcjit_compiler(parsed, machine)
    engine.finalize_object()
    _alive.append(engine)
    long, pointer = ctypes.c_longlong, ctypes.c_void_p
    kind = ctypes.CFUNCTYPE(None, pointer, pointer, pointer, long, long)
    return [kind(engine.get_function_address(function.name)) for function in functions]


def aligned(count: int, kind: str = "f4", fill: float | None = None) -> NDArray[Any]:
    """A flat array on a line of 64 bytes; NaN, or the largest integer, unless `fill` is given."""
    kind_ = np.dtype(kind)
    raw = np.zeros(count * kind_.itemsize + 128, np.uint8)
    start = -raw.ctypes.data % 64
    array = raw[start : start + count * kind_.itemsize].view(kind_)
    array[:] = fill if fill is not None else (np.nan if kind_.kind == "f" else 113)
    return array


def call(
    function: Any,
    arrays: Sequence[NDArray[Any]],
    scalars: NDArray[np.int64],
    around: Sequence[int],
    units: range,
) -> None:
    """Runs some units on the arrays; `around` is where the loops around the kernel are."""
    places = np.array([*around, 0], np.int64)
    table = np.array([array.ctypes.data for array in arrays] or [0], np.int64)
    function(table.ctypes.data, scalars.ctypes.data, places.ctypes.data, units.start, units.stop)
