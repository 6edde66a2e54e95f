"""Equal kernels are one: their structure is named by a hash, whatever their names are."""

import json
import subprocess
import sys
from dataclasses import fields, is_dataclass, replace
from time import perf_counter

import pytest

import latte
from latte import build
from latte.compiler.affine import axis
from latte.compiler.alone import alone, read
from latte.compiler.expression import Apply, Load, Number
from latte.compiler.ir import Kernel, Program
from latte.compiler.structure import KINDS, Table, forms
from tests.compiler.programs import convolution


def renamed(program: Program, suffix: str) -> Program:
    """The same program with other names of buffers and kernels."""
    text = json.dumps(_rows(program))
    for name in (*(buffer.name for buffer in program.buffers), "f", "c", "y", "ky"):
        text = text.replace(f'"{name}"', f'"{name}{suffix}"')
    return forms(json.loads(text))[-1]


def _rows(form: object) -> list:
    table = Table()
    table.number(form)
    return table.rows


def kernels(program: Program) -> tuple[Kernel, ...]:
    return program.phases[0].items


def test_names_do_not_matter() -> None:
    one, other = convolution(), renamed(convolution(), ".b")
    assert other.buffers[0].name == "image.b"
    for a, b in zip(kernels(one), kernels(other), strict=True):
        first, second = alone(a, (), one), alone(b, (), other)
        assert first.fingerprint == second.fingerprint and first.text == second.text
        single = read(first.text)
        assert single.kernel is single.program.phases[0].items[0]
        assert [f"{name}.b" for name in first.buffers] == list(second.buffers)


@pytest.mark.parametrize("change", [{"height": 8}, {"channels": 4}, {"filters": 6}, {"pad": 0}])
def test_sizes_and_indices_matter(change: dict[str, int]) -> None:
    one, other = convolution(), convolution(**change)
    first, second = kernels(one)[0], kernels(other)[0]
    assert alone(first, (), one).fingerprint != alone(second, (), other).fingerprint


def test_which_buffers_are_the_same_matters() -> None:
    program = convolution()
    kernel = kernels(program)[0]
    (write,) = kernel.writes
    pairs = []
    for second in ("image", "out"):
        product = Apply("mul", (Load("image", write.index), Load(second, write.index)))
        changed = replace(kernel, writes=(replace(write, buffer="best", expression=product),))
        pairs.append(alone(changed, (), program).fingerprint)
    assert pairs[0] != pairs[1]


def test_a_form_comes_back_from_its_rows() -> None:
    net = latte.load("examples/02_lenet_mnist/net.latte").elaborated
    program = build.program_of(net, batch=4)
    for form in (net, program):
        back = forms(json.loads(json.dumps(_rows(form))))[-1]
        assert back == form
        assert _rows(back) == _rows(form)


def test_numbers_keep_their_kind_and_sign() -> None:
    values = (1, 1.0, True, 0.0, -0.0, float("inf"), None, "1")
    back = forms(json.loads(json.dumps(_rows(values))))[-1]
    assert list(map(repr, back)) == list(map(repr, values))
    assert json.dumps(_rows(Number(0.0))) != json.dumps(_rows(Number(-0.0)))


def test_what_is_shared_is_walked_once() -> None:
    """A tree of 2^40 nodes that are 41 objects."""
    deep = Load("x", (axis("n"),))
    for _ in range(40):
        deep = Apply("add", (deep, deep))
    start = perf_counter()
    assert len(_rows(deep)) < 200 and perf_counter() - start < 1


def test_a_fingerprint_is_the_same_in_every_process() -> None:
    code = (
        "from latte.compiler.alone import alone\n"
        "from tests.compiler.programs import convolution\n"
        "program = convolution()\n"
        "print(alone(program.phases[0].items[0], (), program).fingerprint)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    program = convolution()
    assert done.stdout.strip() == alone(kernels(program)[0], (), program).fingerprint


def test_fields_left_out_come_last() -> None:
    for kind in KINDS.values():
        if is_dataclass(kind):
            compared = [field.compare for field in fields(kind) if field.init]
            assert compared == sorted(compared, reverse=True), kind
