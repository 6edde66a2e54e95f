"""The work of compiling, counted: equal kernels once, others in proportion, none twice."""

from pathlib import Path

import pytest

import latte
from latte import build
from latte.codegen import llvm_object
from latte.compiler.machine import host
from latte.compiler.pipeline import optimize
from latte.runtime.cache import Cache
from latte.runtime.jit import Entry, Jit


def deep(layers: int, kind: str, step: int = 0) -> str:
    """A chain of layers, each `step` wider than the one before."""
    lines, last = ["net Deep {", "    input x[16, 6, 6]", "    input label: class(4)"], "x"
    for layer in range(layers):
        width = 16 + layer * step
        arguments = f"{width}, kernel = 3, pad = 1" if kind == "Conv" else f"{width}"
        lines.append(f"    h{layer} = ReLU({kind}({last}, {arguments}))")
        last = f"h{layer}"
    lines += [f"    scores = Linear({last}, 4)", "    loss SoftmaxLoss(scores, label)", "}"]
    return "\n".join(lines) + "\n"


class Counted:
    """The Jit of a net's training step, and how often it asked for vector code and for LLVM."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cache: Cache | None = None) -> None:
        self.lowered = self.compiled = 0
        self.cache = cache or Cache(None)
        compiled = llvm_object._compiled

        def counted(text: str, machine: object) -> bytes:
            self.compiled += 1
            return compiled(text, machine)

        monkeypatch.setattr(llvm_object, "_compiled", counted)

    def entries(self, text: str, batch: int = 4) -> list[Entry]:
        machine = host()
        program = optimize(build.program_of(latte.loads(text).elaborated, batch=batch), machine)
        return Jit(machine, self.cache, 2).entries(program, program.phase("step"), self._lower)

    def _lower(self, *arguments: object) -> object:
        self.lowered += 1
        return build.lower_kernel(*arguments)


@pytest.mark.parametrize("kind", ["Conv", "Linear"])
def test_equal_layers_are_compiled_once(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = []
    for layers in (4, 12):
        work = Counted(monkeypatch)
        entries = work.entries(deep(layers, kind))
        assert len(entries) > layers * 4
        counts.append((work.lowered, work.compiled))
    assert counts[0] == counts[1]


def test_other_layers_cost_the_same_each(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = []
    for layers in (2, 4, 6):
        work = Counted(monkeypatch)
        work.entries(deep(layers, "Linear", step=1))
        counts.append(work.lowered)
        assert work.compiled == work.lowered
    assert counts[1] - counts[0] == counts[2] - counts[1]


def test_a_changed_layer_alone_is_compiled_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(tmp_path / "cache")
    cold = Counted(monkeypatch, cache)
    cold.entries(deep(4, "Linear", step=1))
    again = Counted(monkeypatch, cache)
    again.entries(deep(4, "Linear", step=1))
    assert (again.lowered, again.compiled) == (0, 0)
    longer = Counted(monkeypatch, cache)
    longer.entries(deep(5, "Linear", step=1))
    assert 0 < longer.lowered < cold.lowered / 2


def test_a_lost_function_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cache"
    text = deep(2, "Linear")
    cold = Counted(monkeypatch, Cache(folder))
    units = [entry.units for entry in cold.entries(text)]
    lost = [path for path in folder.iterdir() if b"ELF" in path.read_bytes()][:2]
    for path in lost:
        path.unlink()
    again = Counted(monkeypatch, Cache(folder))
    assert [entry.units for entry in again.entries(text)] == units
    assert again.compiled == len(lost)


def test_threads_compile_the_same_code() -> None:
    text = "\n".join(
        f"define float @f{k}(float %x) {{\n  %y = fmul float %x, {k}.0\n  ret float %y\n}}"
        for k in range(40)
    )
    target = llvm_object.host_target()
    compilers = llvm_object.Compilers(target, 4)
    results = {future.result() for future in [compilers.object(text) for _ in range(24)]}
    compilers.close()
    assert results == {llvm_object.compile_object(text, target)}
