"""LLVM IR text -> machine code: objects that can be stored, and addresses of their functions.

In: the text of a module.  Out: the bytes of an object file for this machine; loaded, the address
of each function. Pages are never writable and executable at once.

    target = host_target();  data = compile_object(text, target)
    loader = Loader(target);  address = loader.load("kernel", data)

The short list of passes is what printed vector code needs: it is hoisted and unrolled already.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import llvmlite
import llvmlite.binding as llvm

from latte.compiler.machine import Machine, host, masked

PASSES = (
    "sroa", "simplify_cfg", "instruction_combine", "loop_rotate", "instruction_combine",
    "dead_code_elimination",
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
    machine = _target_machine(target)
    module = llvm.parse_assembly(text)
    module.triple = target.triple
    module.verify()
    _passes(machine).run(module, _pass_builder(machine))
    return bytes(machine.emit_object(module))


def assembly(text: str, target: Target) -> str:
    """The assembly of a module, for `--emit asm`."""
    machine = _target_machine(target)
    module = llvm.parse_assembly(text)
    _passes(machine).run(module, _pass_builder(machine))
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
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


@cache
def _target_machine(target: Target) -> Any:
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


@cache
def _passes(machine: Any) -> Any:
    manager = llvm.create_new_module_pass_manager()
    for name in PASSES:
        getattr(manager, f"add_{name}_pass")()
    return manager
