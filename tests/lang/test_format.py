"""`latte fmt` on small texts, and on all specifications of the repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from latte.errors import LatteError, Source
from latte.lang.format import format_source
from latte.lang.source import read_source

ROOT = Path(__file__).parent.parent.parent
ROOMS = ("stdlib", "examples", "bench")
FILES = sorted(file for room in ROOMS for file in ROOT.glob(f"{room}/**/*.latte"))
CASES = {
    "blanks": ("net  N( n=3 ){ input x [ 1,2 ]\n}", "net N(n = 3) { input x[1, 2]\n}\n"),
    "blocks": (
        "layer L(x){\n\n\nif x>1{\nout=x\n}else{\nout = -x\n\n}\n\n\n}",
        "layer L(x) {\n    if x > 1 {\n        out = x\n    } else {\n        out = -x\n    }\n}\n",
    ),
    "signs": ("const a = - 3+2 *-1 - ( - 2)", "const a = -3 + 2*-1 - (-2)\n"),
    "tight": ("const a = 2*b + 3 * c ** 2 // d", "const a = 2*b + 3 * c ** 2 // d\n"),
    "windows": (
        "layer L(x[a,s...]) {\n  out=x[:,y*2-1..+3 by 2,0..a//2,...]\n}",
        "layer L(x[a, s...]) {\n    out = x[:, y*2 - 1 ..+ 3 by 2, 0 .. a//2, ...]\n}\n",
    ),
    "chains": (
        "net N {\n  y = x ->Conv( 3 )\n->Tanh\n        ->ReLU\n}",
        "net N {\n    y = x -> Conv(3)\n        -> Tanh\n          -> ReLU\n}\n",
    ),
    "arguments under their bracket": (
        "net N {\n  y = Conv( x,\n            kernel=3)\n}",
        "net N {\n    y = Conv(x,\n             kernel = 3)\n}\n",
    ),
    "comments": (
        "# first\nnet N {   # second\n  # third\n  input x# fourth\n}\n# last\n\n",
        "# first\nnet N {   # second\n    # third\n    input x  # fourth\n}\n# last\n",
    ),
    "columns": (
        "neuron F(x)   = x\nneuron Long(x) = x\nneuron G(x)    = x\nneuron H(x)    = x\n",
        "neuron F(x) = x\nneuron Long(x) = x\nneuron G(x)    = x\nneuron H(x)    = x\n",
    ),
    "reductions": ("neuron F(x[i])=sum(i)x[i]*(2)", "neuron F(x[i]) = sum(i) x[i]*(2)\n"),
    "inputs": (
        "net N {\ninput w[ @ time,3 ]:class( 5 )\n}",
        "net N {\n    input w[@time, 3]: class(5)\n}\n",
    ),
    "lines that go on": (
        "const a = b\n+ 1\nlayer L(x) {\n if x { out = x }\n else { out = x }\n}",
        "const a = b\n    + 1\nlayer L(x) {\n    if x { out = x }\n    else { out = x }\n}\n",
    ),
    "semicolons": (
        "neuron F(x) {forward {let a=x ;value=a}}",
        "neuron F(x) { forward { let a = x; value = a } }\n",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_layout(name: str) -> None:
    text, expected = CASES[name]
    assert format_source(Source(name, text)) == expected
    assert format_source(Source(name, expected)) == expected


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(ROOT)) for path in FILES])
def test_the_repository_is_laid_out(path: Path) -> None:
    source = read_source(path)
    assert format_source(source) == source.text


def test_a_text_with_errors_is_left_alone() -> None:
    with pytest.raises(LatteError):
        format_source(Source("bad", "net N {"))
