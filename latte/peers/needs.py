"""The packages that peers need: optional ones, imported when first asked for.

needed("onnxruntime")   ->   the module, or E0961 with the command that installs it
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from latte.errors import fail


def needed(module: str) -> ModuleType:
    """An optional package. Raises E0961 where it is not installed."""
    try:
        return import_module(module)
    except ImportError as problem:
        package = module.partition(".")[0]
        fail(
            "E0961",
            f"`{package}` is not installed: {problem}",
            help=f"pip install {package}, or pip install 'latte-lang[peers]' for all peers",
        )
