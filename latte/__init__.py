"""Latte: a language and a compiler for neural networks.

    import latte
    exe = latte.compile("lenet.latte", batch=64)
    loss = exe.step(image=images, label=labels)

Names are imported when they are first used: `import latte` alone loads nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from latte.errors import LatteError as LatteError
    from latte.model import Net as Net
    from latte.model import compile as compile
    from latte.model import define as define
    from latte.model import load as load
    from latte.model import loads as loads
    from latte.model import train as train

__all__ = ["LatteError", "Net", "compile", "define", "load", "loads", "train"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from latte.options import __version__

        return __version__
    if name not in __all__:
        raise AttributeError(f"module 'latte' has no attribute {name!r}")
    if name == "LatteError":
        from latte import errors

        return errors.LatteError
    from latte import model

    return getattr(model, name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
