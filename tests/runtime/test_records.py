"""Where threads meet: before a kernel that touches what another one since the last meeting did."""

import pytest

from latte.codegen.llvm_driver import Segment
from latte.runtime.records import _Touch, _waits

PLACES = {name: (64 * k, 64 * k + 64) for k, name in enumerate("abcdef")}


def touch(text: str) -> _Touch:
    """`ab>c` reads a and b and writes c; `!` in front: on the first thread alone."""
    read, _, written = text.removeprefix("!").partition(">")
    places = (tuple(PLACES[name] for name in names) for names in (read, written))
    return _Touch(*places, text.startswith("!"))


@pytest.mark.parametrize(
    ("kernels", "expected"),
    [
        ("a>b a>c", ".."),  # both only read a
        ("a>b b>c", ".w"),  # written, then read
        ("b>c a>b", ".w"),  # read, then written over
        ("a>b c>b", ".w"),  # written twice
        ("a>b a>c bc>d", "..w"),
        ("a>b b>c a>d c>e", ".w.w"),  # a>d goes with b>c
        ("!a>b !b>c !c>d", "..."),  # one thread does all of it
        ("a>b !b>c !c>d d>e", ".w.w"),
    ],
)
def test_kernels_one_after_another(kernels: str, expected: str) -> None:
    touches = [touch(text) for text in kernels.split()]
    waits = _waits(touches, [Segment(0, len(touches), 0)])
    assert "".join("w" if wait else "." for wait in waits) == expected


def test_a_loop_over_time_meets_its_own_last_step() -> None:
    touches = [touch(text) for text in ("ab>c", "c>b", "b>d")]
    assert _waits(touches, [Segment(0, 3, 1)]) == [False, True, True]  # the second meeting serves
    touches = [touch(text) for text in ("b>c", "c>a", "e>b")]
    assert _waits(touches, [Segment(0, 3, 0)]) == [False, True, False]
    assert _waits(touches, [Segment(0, 3, 2)]) == [True, True, False]
    assert _waits([touch("a>b")], [Segment(0, 1, 1)]) == [True]
    assert _waits([touch("!b>b")], [Segment(0, 1, 1)]) == [False]


def test_overlapping_memory_of_different_buffers_counts() -> None:
    first, second = _Touch((), ((0, 100),), False), _Touch((), ((96, 200),), False)
    apart = _Touch((), ((100, 200),), False)
    assert _waits([first, second], [Segment(0, 2, 0)]) == [False, True]
    assert _waits([first, apart], [Segment(0, 2, 0)]) == [False, False]
