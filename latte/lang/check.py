"""Checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latte.errors import Collector

if TYPE_CHECKING:
    from latte.lang.resolve import Definitions


def check(definitions: Definitions, found: Collector) -> None:
    """Tell everything that is wrong with the names."""
