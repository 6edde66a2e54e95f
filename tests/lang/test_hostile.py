"""Files that are no specifications give one coded error, soon, with a place inside the file."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from latte.errors import LatteError
from latte.lang.resolve import load_file, load_text

NET = b"net N {\n    input x[3]\n    loss x\n}\n"
BYTES = {
    "NUL": (b"net N {\n\0}\n", "E0003", (2, 1)),
    "latin-1": (b"# caf\xe9\n" + NET, "E0002", (1, 6)),
    "cut UTF-8": (NET + b"# \xe2\x82", "E0002", (5, 3)),
    "UTF-16": (NET.decode().encode("utf-16"), "E0002", (1, 1)),
    "too large": (b"#" * 5_000_000, "E0004", (1, 1)),
    "empty": (b"", "E0202", (1, 1)),
    "only a mark": (b"\xef\xbb\xbf", "E0202", (1, 1)),
    "blank": (b"\n\n  \t\n", "E0202", (1, 1)),
}
DEEP = {
    "brackets": "const a = " + "(" * 20_000 + "1" + ")" * 20_000,
    "open brackets": "const a = " + "(" * 20_000,
    "braces": "net N " + "{" * 20_000,
    "signs": "const a = " + "-" * 20_000 + "1",
    "powers": "const a = " + "2 ** " * 20_000 + "1",
    "sums": "const a = " + "1 + " * 20_000 + "1",
    "nots": "const a = " + "not " * 20_000 + "true",
    "conditionals": "const a = " + "if 1 then 1 else " * 20_000 + "1",
    "chains": "net N {\n input x\n y = x" + " -> ReLU" * 20_000 + "\n}",
    "calls": "neuron F(x) = " + "exp(" * 5_000 + "x" + ")" * 5_000,
    "blocks": "layer L(x) {\n" + "if 1 {\n" * 5_000 + "}\n" * 5_001,
    "else if": "layer L(x) {\n if 1 { }" + " else if 1 { }" * 5_000 + "\n out = x\n}\n",
}


@pytest.mark.parametrize("name", BYTES)
def test_bytes(name: str, tmp_path: Path) -> None:
    data, code, place = BYTES[name]
    path = tmp_path / "bad.latte"
    path.write_bytes(data)
    with pytest.raises(LatteError) as caught:
        load_file(path)
    [problem] = caught.value.diagnostics
    assert problem.span is not None
    assert (problem.code, (problem.span.line, problem.span.column)) == (code, place)


@pytest.mark.parametrize("name", DEEP)
def test_nested_too_deeply(name: str) -> None:
    start = time.process_time()
    with pytest.raises(LatteError) as caught:
        load_text(DEEP[name])
    assert "E0105" in {problem.code for problem in caught.value.diagnostics}
    assert len(str(caught.value)) < 2_000
    assert time.process_time() - start < 5


def test_a_long_name_is_shown_in_part() -> None:
    with pytest.raises(LatteError) as caught:
        load_text("const " + "a" * 1_000_000 + " = 1")
    assert caught.value.diagnostics[0].code == "E0106"
    assert len(str(caught.value)) < 1_000


def test_many_mistakes_end() -> None:
    start = time.process_time()
    with pytest.raises(LatteError) as caught:
        load_text("what is this\n" * 20_000)
    assert len(caught.value.diagnostics) <= 100
    assert time.process_time() - start < 10


def test_line_ends_and_mark(tmp_path: Path) -> None:
    path = tmp_path / "windows.latte"
    path.write_bytes(b"\xef\xbb\xbf" + NET.replace(b"\n", b"\r\n"))
    assert [net.name.text for net in load_file(path).nets] == ["N"]


def test_no_such_file(tmp_path: Path) -> None:
    for path in (tmp_path / "none.latte", tmp_path, Path("a\0b")):
        with pytest.raises(LatteError) as caught:
            load_file(path)
        assert caught.value.diagnostics[0].code == "E0001"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.latte")
    with pytest.raises(LatteError) as caught:
        load_file(tmp_path / "pipe.latte")
    assert caught.value.diagnostics[0].code == "E0001"


def test_a_link_out_of_the_project(tmp_path: Path) -> None:
    (tmp_path / "secret.latte").write_bytes(NET)
    project = tmp_path / "project"
    project.mkdir()
    (project / "link.latte").symlink_to(tmp_path / "secret.latte")
    (project / "net.latte").write_bytes(b'import "link.latte"\n' + NET)
    with pytest.raises(LatteError) as caught:
        load_file(project / "net.latte")
    assert [problem.code for problem in caught.value.diagnostics] == ["E0005"]
