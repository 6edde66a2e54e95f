"""An answer is found once for the same objects, and again for equal ones."""

from __future__ import annotations

import pytest

from latte.compiler import once as module
from latte.compiler.once import once


def test_the_same_object_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[list[int], ...]] = []

    @once
    def total(*parts: list[int]) -> int:
        asked.append(parts)
        return sum(map(sum, parts))

    one, two, equal = [1], [2], [1]
    assert [total(one, two), total(one, two), total(one), total(equal)] == [3, 3, 1, 1]
    assert asked == [(one, two), (one,), (equal,)]
    monkeypatch.setattr(module, "MOST", 2)
    assert [total(two), total(one, two)] == [2, 3]
    assert len(asked) == 5
