"""Keeps Python's cycle collector out of compiling.

Compiling makes hundreds of thousands of small objects that are freed when they are no longer used;
there are few cycles among them, and looking for those takes a quarter of the time.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused() -> Iterator[None]:
    """No cycles are collected meanwhile, unless somebody has paused the collector already."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
