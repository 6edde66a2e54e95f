"""Answers that are found once, for one pass after another asks the same of the same objects.

    @once
    def find_parts(kernel): ...          find_parts(a), find_parts(a)     one of them is computed

What is asked about is known by its identity, not compared, and stays alive with its answer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

MOST = 8192  # answers of a function that are remembered

Forms = ParamSpec("Forms")
Answer = TypeVar("Answer")


def once(function: Callable[Forms, Answer]) -> Callable[Forms, Answer]:
    """The function, which has to be a pure one of forms that never change."""
    known: dict[tuple[int, ...], tuple[object, Answer]] = {}

    @wraps(function)
    def answer(*forms: Forms.args, **named: Forms.kwargs) -> Answer:
        assert not named, "forms are known by their places"
        key = tuple(map(id, forms))
        found = known.get(key)
        if found is None:
            if len(known) >= MOST:
                known.clear()
            found = known[key] = forms, function(*forms, **named)
        return found[1]

    return answer
