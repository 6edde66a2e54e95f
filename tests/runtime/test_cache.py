"""Compiled code on disk: found again, never trusted when it was touched, never in the way."""

import errno
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from latte.runtime.cache import Cache, clean, key

NAME = key("object", "x86-64", "define void @f()")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "deeper" / "cache"


def test_what_was_stored_is_found(folder: Path) -> None:
    Cache(folder).store(NAME, b"code\n\0more")
    assert Cache(folder).load(NAME) == b"code\n\0more"
    assert Cache(folder).load(key("other")) is None
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / NAME).stat().st_mode & 0o077 == 0


def test_parts_of_a_key_do_not_run_together() -> None:
    assert len({key("a", "bc"), key("ab", "c"), key("abc"), key("a", "b", "c")}) == 4


@pytest.mark.parametrize("place", [0, 60, -1])
def test_a_changed_entry_is_thrown_away(folder: Path, place: int) -> None:
    Cache(folder).store(NAME, b"code" * 100)
    data = bytearray((folder / NAME).read_bytes())
    data[place] ^= 1
    (folder / NAME).write_bytes(data)
    with pytest.warns(RuntimeWarning, match="E0915"):
        assert Cache(folder).load(NAME) is None
    Cache(folder).store(NAME, b"new")
    assert Cache(folder).load(NAME) == b"new"


def test_an_entry_under_another_key_is_refused(folder: Path) -> None:
    Cache(folder).store(NAME, b"code")
    (folder / NAME).rename(folder / key("victim"))
    with pytest.warns(RuntimeWarning, match="changed"):
        assert Cache(folder).load(key("victim")) is None


def test_links_are_not_followed(folder: Path, tmp_path: Path) -> None:
    cache = Cache(folder)
    cache.store(NAME, b"code")
    (folder / NAME).rename(tmp_path / "elsewhere")
    (folder / NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.warns(RuntimeWarning, match="E0915"):
        assert cache.load(NAME) is None
    other = tmp_path / "link"
    other.symlink_to(folder)
    with pytest.warns(RuntimeWarning, match="E0915"):
        Cache(other)


def test_a_folder_open_to_others_is_not_used(folder: Path) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    with pytest.warns(RuntimeWarning, match="others may write"):
        cache = Cache(folder)
    cache.store(NAME, b"code")
    assert list(folder.iterdir()) == []


def test_a_folder_that_cannot_be_made_costs_one_warning(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        cache = Cache(tmp_path / "file" / "cache")
        cache.store(NAME, b"code")
        assert cache.load(NAME) is None
    assert len(caught) == 1


def test_a_folder_that_cannot_be_written_is_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    Cache(folder).store(NAME, b"code")
    monkeypatch.setattr("latte.runtime.cache._write", refused)
    cache = Cache(folder)
    with pytest.warns(RuntimeWarning, match="E0915.*Read-only file system"):
        cache.store(key("other"), b"more")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.store(key("other"), b"more")
        assert cache.load(NAME) == b"code"
        assert cache.load(key("other")) is None


def test_without_a_folder_nothing_is_kept() -> None:
    cache = Cache(None)
    cache.store(NAME, b"code")
    assert cache.load(NAME) is None


def test_the_entries_used_longest_ago_go_first(folder: Path) -> None:
    cache = Cache(folder)
    for age in range(10):
        cache.store(key(str(age)), bytes(1000))
        os.utime(folder / key(str(age)), (1000 + age, 1000 + age))
    cache.load(key("0"))
    descriptor = os.open(folder, os.O_RDONLY)
    clean(descriptor, 6000)
    os.close(descriptor)
    left = [age for age in range(10) if (folder / key(str(age))).exists()]
    assert left[0] == 0 and left[1:] == list(range(10 - len(left) + 1, 10)) and len(left) < 6


def test_storing_cleans_now_and_then(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process may store little: what a store leaves to clean does not depend on their number,
    nor does a store look through all entries each time."""
    monkeypatch.setattr("latte.runtime.cache.CAP", 20_000)
    for number in range(1500):
        Cache(folder).store(key(str(number)), bytes(1000))
    left = len(list(folder.iterdir()))
    assert 16 < left < 1000


STORM = """
import sys, warnings
from pathlib import Path
from latte.runtime.cache import Cache, key
warnings.simplefilter("error")
for turn in range(50):
    cache, name = Cache(Path(sys.argv[1])), key(str(turn % 7))
    found = cache.load(name)
    assert found in (None, name.encode() * 999), "torn"
    cache.store(name, name.encode() * 999)
"""


def test_processes_share_a_cold_cache(folder: Path) -> None:
    command = [sys.executable, "-c", STORM, str(folder)]
    runs = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(6)]
    assert [run.communicate()[1] for run in runs] == [""] * 6
    assert sorted(p.name for p in folder.iterdir()) == sorted(key(str(k)) for k in range(7))
