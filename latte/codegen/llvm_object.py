"""LLVM IR text -> machine code: objects that can be stored, and addresses of their functions.

In: the text of a module.  Out: the bytes of an object file for this machine; loaded, the address
of each function. Pages are never writable and executable at once.

    target = host_target();  data = compile_object(text, target)
    Compilers(target, 2).object(text).result()                     the same, beside other work
    loader = Loader(target);  address = loader.load("kernel", data)

The short list of passes is what printed vector code needs: it is hoisted and unrolled already. For
the same reason loop strength reduction is off: it took half of the time and gave 0 to 2 %.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from ctypes import string_at
from dataclasses import dataclass
from functools import cache
from queue import SimpleQueue
from typing import Any

import llvmlite
import llvmlite.binding as llvm

from latte.compiler.machine import Machine, host, masked

PASSES = (
    "sroa", "simplify_cfg", "loop_rotate", "instruction_combine", "dead_code_elimination",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Target:
    """What decides the machine code of a text: part of the key under which it is stored."""

    triple: str
    cpu: str
    features: str
    versions: str

    def key(self) -> str:
        """All of it as one line."""
        return "\n".join((self.triple, self.cpu, self.features, self.versions))


@cache
def host_target(machine: Machine | None = None) -> Target:
    """This machine: LLVM's name for it, and the features that the operating system offers too."""
    machine = machine or host()
    try:
        features = dict(llvm.get_host_cpu_features())
    except RuntimeError:
        features = {}
    offered = llvm.FeatureMap(masked(features, machine)).flatten()
    version = ".".join(map(str, llvm.llvm_version_info))
    versions = f"llvmlite {llvmlite.__version__}, LLVM {version}"
    return Target(llvm.get_process_triple(), llvm.get_host_cpu_name(), offered, versions)


def level_target(name: str) -> Target:
    """A level of the x86-64 psABI, for printing its assembly on any machine."""
    return Target("x86_64-unknown-linux-gnu", name, "", "")


def compile_object(text: str, target: Target) -> bytes:
    """The object file of a module. A text that LLVM refuses is our mistake."""
    return _compiled(text, _target_machine(target))


class Compilers:
    """Threads that compile modules at the same time, while Python does something else."""

    def __init__(self, target: Target, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, "latte-compile")
        self._machines: SimpleQueue[Any] = SimpleQueue()
        for _ in range(threads):
            self._machines.put(_new_target_machine(target))

    def object(self, text: str) -> Future[bytes]:
        """The object file of a module, as `compile_object` makes it, once it is done."""
        return self._pool.submit(self._object, text)

    def close(self) -> None:
        """Ends the threads; what nobody waits for is dropped."""
        self._pool.shutdown(cancel_futures=True)

    def _object(self, text: str) -> bytes:
        machine = self._machines.get()
        try:
            return _compiled(text, machine)
        finally:
            self._machines.put(machine)


def _compiled(text: str, machine: Any) -> bytes:
    module = llvm.parse_assembly(text, llvm.create_context())
    module.triple = machine.triple
    module.verify()
    _passes().run(module, _pass_builder(machine))
    return _emitted(machine, module)


def _emitted(machine: Any, module: Any) -> bytes:
    """The machine code of a module, made without llvmlite's lock: nearly all the time goes here,
    and LLVM lets each thread have a context and a target machine of its own."""
    library = llvm.ffi.lib
    emit = getattr(library.LLVMPY_TargetMachineEmitToMemory, "_cfn", None)
    if emit is None:
        return bytes(machine.emit_object(module))
    with llvm.ffi.OutputString() as problem:
        buffer = emit(machine, module, 1, problem)
        assert buffer, str(problem)
    try:
        start, size = library.LLVMPY_GetBufferStart(buffer), library.LLVMPY_GetBufferSize(buffer)
        return string_at(start, size)
    finally:
        library.LLVMPY_DisposeMemoryBuffer(buffer)


def assembly(text: str, target: Target) -> str:
    """The assembly of a module, for `--emit asm`."""
    machine = _target_machine(target)
    module = llvm.parse_assembly(text)
    _passes().run(module, _pass_builder(machine))
    return str(machine.emit_assembly(module))


class Loader:
    """Machine code in memory; lives as long as the loader."""

    def __init__(self, target: Target) -> None:
        _initialize()
        self._engine = llvm.create_lljit_compiler(_target_machine(target), use_jit_link=True)
        self._libraries: list[Any] = []
        self._addresses: dict[str, int] = {}

    def address(self, symbol: str) -> int:
        """Where a loaded function is; 0 if it was not loaded."""
        return self._addresses.get(symbol, 0)

    def load(self, symbol: str, data: bytes) -> int:
        """The address of the one function that an object exports under this name."""
        builder = llvm.JITLibraryBuilder().add_object_img(data).export_symbol(symbol)
        library = builder.link(self._engine, symbol)
        self._libraries.append(library)
        self._addresses[symbol] = int(library[symbol])
        return self._addresses[symbol]


@cache
def _initialize() -> None:
    llvm.set_option("", "-disable-lsr")  # of the whole process: there is no other way
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


@cache
def _target_machine(target: Target) -> Any:
    return _new_target_machine(target)


def _new_target_machine(target: Target) -> Any:
    """LLVM's code generator, for one thread at a time."""
    _initialize()
    return llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu,
        features=target.features,
        opt=3,
        reloc="pic",
        codemodel="small",
        jit=True,
    )


def _pass_builder(machine: Any) -> Any:
    return llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=3))


def _passes() -> Any:
    manager = llvm.create_new_module_pass_manager()
    for name in PASSES:
        getattr(manager, f"add_{name}_pass")()
    return manager
