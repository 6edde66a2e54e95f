"""Imports go one way: errors, options < lang < compiler < codegen < runtime < build < all < cli."""

import ast
from pathlib import Path

import latte

ROOMS = {"errors": 0, "render": 0, "options": 0, "lang": 1, "compiler": 2, "codegen": 3}
ROOMS |= {"runtime": 4, "build": 5, "cli": 7, "commands": 7, "__main__": 8}
ELSE = 6
FOLDER = Path(latte.__file__).parent


def room(path):
    return ROOMS.get(path.split(".")[0], ELSE)


def imports(file):
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "latte":
            yield from (f"latte.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_imports_go_leftwards_only():
    files = [*FOLDER.rglob("*.py")]
    assert len(files) > 50
    wrong = [
        f"{file.relative_to(FOLDER)} imports {name}"
        for file in files
        for name in imports(file)
        if name.startswith("latte.")
        and room(name.removeprefix("latte."))
        > room(".".join(file.relative_to(FOLDER).with_suffix("").parts))
    ]
    assert not wrong
