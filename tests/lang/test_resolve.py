"""Names: the file first, then its imports, then texts from Python, then the library."""

from __future__ import annotations

from pathlib import Path

import pytest

from latte.errors import LatteError, Source
from latte.lang import ast, library
from latte.lang.resolve import load_file, load_text
from latte.options import stdlib_folder

LIBRARY = sorted(stdlib_folder().rglob("*.latte"))


@pytest.mark.parametrize("path", LIBRARY, ids=[path.stem for path in LIBRARY])
def test_the_library_has_no_mistakes(path: Path) -> None:
    load_file(path)


def test_a_definition_of_the_library_is_found_alone() -> None:
    conv = library.find(ast.Layer, "Conv")
    assert isinstance(conv, ast.Layer)
    assert conv.span.file == "latte/stdlib/convolution.latte"
    assert conv.span.text.startswith("layer Conv(")
    assert library.find(ast.Layer, "ReLU") is None
    assert library.find(ast.Neuron, "ReLU") is not None


def test_a_file_sees_its_own_neuron_and_the_library_keeps_its() -> None:
    definitions = load_text("neuron Weighted(x) = 2 * x\n")
    mine = definitions.find(ast.Neuron, "Weighted", definitions.file.source)
    linear = definitions.find(ast.Layer, "Linear", definitions.file.source)
    assert mine is not None and len(mine.formals) == 1
    assert linear is not None
    theirs = definitions.find(ast.Neuron, "Weighted", linear.span.source)
    assert theirs is not None and len(theirs.formals) == 3


def test_imports_stand_between(tmp_path: Path) -> None:
    (tmp_path / "a.latte").write_text('import "b.latte"\nneuron F(x) = x\nneuron H(x) = F(x)\n')
    (tmp_path / "b.latte").write_text(
        "neuron F(x) = 2 * x\nneuron G(x) = F(x)\nneuron ReLU(x) = x\n"
    )
    seen = load_file(tmp_path / "a.latte")
    near = seen.file.source
    place = {name: seen.find(ast.Neuron, name, near) for name in ("F", "G", "ReLU", "Tanh")}
    files = {name: Path(found.span.file).name for name, found in place.items() if found}
    assert files == {"F": "a.latte", "G": "b.latte", "ReLU": "b.latte", "Tanh": "neurons.latte"}


def test_texts_from_python_are_seen() -> None:
    extra = (Source("defined", "neuron Swish(x) = x / (1 + exp(-x))"),)
    definitions = load_text("neuron F(x) = Swish(x)\n", extra=extra)
    assert definitions.find(ast.Neuron, "Swish", definitions.file.source) is not None
    with pytest.raises(LatteError):
        load_text("neuron F(x) = Swish(x)\n")


def test_neurons_and_layers_are_two_namespaces() -> None:
    definitions = load_text("neuron F(x) = x\nlayer F(x[i...]) {\n    out = x\n}\n")
    assert definitions.find(ast.Neuron, "F", definitions.file.source) is not None
    assert definitions.find(ast.Layer, "F", definitions.file.source) is not None


def test_a_text_cannot_import() -> None:
    with pytest.raises(LatteError) as caught:
        load_text('import "a.latte"\nneuron F(x) = x\n')
    assert [problem.code for problem in caught.value.diagnostics] == ["E0005"]
