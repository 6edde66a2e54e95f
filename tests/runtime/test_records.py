"""Where threads meet: before a kernel that touches what another one since the last meeting did."""

import pytest

from latte.runtime.records import Touch, meetings

PLACES = {name: (64 * k, 64 * k + 64) for k, name in enumerate("abcdef")}


def touch(text: str) -> Touch:
    """`ab>c` reads a and b and writes c; `!` in front: on the first thread alone."""
    read, _, written = text.removeprefix("!").partition(">")
    places = (tuple(PLACES[name] for name in names) for names in (read, written))
    return Touch(*places, text.startswith("!"))


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
    waits = meetings(enumerate(touches))
    assert "".join("w" if number in waits else "." for number in range(len(touches))) == expected


def test_a_loop_over_time_meets_its_own_last_step() -> None:
    def waits(text: str) -> frozenset[int]:
        return meetings(2 * list(enumerate(touch(part) for part in text.split())))

    assert waits("ab>c c>b b>d") == {1, 2}  # the second meeting serves
    assert meetings(enumerate(touch(part) for part in ("b>c", "c>a", "e>b"))) == {1}
    assert waits("b>c c>a e>b") == {0, 1}
    assert waits("a>b") == {0}
    assert waits("!b>b") == frozenset()


def test_overlapping_memory_of_different_buffers_counts() -> None:
    first, second = Touch((), ((0, 100),), False), Touch((), ((96, 200),), False)
    apart = Touch((), ((100, 200),), False)
    assert meetings(enumerate([first, second])) == {1}
    assert meetings(enumerate([first, apart])) == frozenset()
