"""The search for faster variants, with times that are made up: what it finds, keeps and resumes."""

from pathlib import Path

import pytest

import latte
from latte import build
from latte.runtime import tune
from latte.runtime.cpu import Native
from latte.runtime.tune import Summary, Trial
from tests.runtime import small

BEST = 3


class Looks:
    """Stands for the clock: variant 3 of every kernel takes half the time. `stop` interrupts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, stop: int = 1 << 30) -> None:
        self.seen: list[tuple[str, int]] = []
        self.stop = stop
        looks = self

        def look(trial: Trial, variant: int) -> float:
            if len(looks.seen) >= looks.stop:
                raise KeyboardInterrupt
            looks.seen.append((trial._kernel, variant))
            return 0.5 if variant == BEST else 1.0 + 0.001 * variant

        monkeypatch.setattr(Trial, "look", look)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LATTE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def executable() -> object:
    return latte.loads(small.TEXT.replace("x, 8", "x, 48")).compile(batch=32)


def losses(exe: object) -> list[float]:
    data = {name: array[:30] for name, array in small.data().items()}
    return [exe.step(**data) for _ in range(3)]


def test_the_fastest_variant_is_found_and_used(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = losses(executable())
    Looks(monkeypatch)
    exe = executable()
    found = exe.tune(60)
    able = [kernel for kernel in found.kernels if kernel.variants > BEST]
    assert able and all(k.done for k in found.kernels)
    assert all(k.best == BEST and k.share == 0.5 for k in able)
    assert losses(exe) == before, "not the same bits"
    used: list[int] = []
    lowered = build.lower_kernel

    def spied(*arguments: object) -> object:
        used.append(arguments[4] if len(arguments) > 4 else 0)
        return lowered(*arguments)

    monkeypatch.setattr(build, "lower_kernel", spied)
    assert losses(executable()) == before
    assert not used, "what was compiled for the search is compiled again"
    for entry in cache.iterdir():
        if b"ELF" in entry.read_bytes():
            entry.unlink()
    assert losses(executable()) == before
    assert BEST in used


def test_a_search_goes_on_where_it_stopped(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Looks(monkeypatch)
    latte.loads(small.TEXT).compile(batch=8, tune=60)
    count = len({look for look in whole.seen if look[1]})
    for entry in cache.iterdir():
        entry.unlink()
    seen: list[tuple[str, int]] = []
    for _ in range(100):
        looks = Looks(monkeypatch, stop=25)
        found = latte.loads(small.TEXT).compile(batch=8).tune(60)
        seen += {look for look in looks.seen if look[1] not in (0, BEST)}
        if all(kernel.done for kernel in found.kernels):
            break
    assert len(looks.seen) <= 25
    assert count - len({k for k, v in whole.seen if v == BEST}) == len(set(seen))
    assert Looks(monkeypatch).seen == []


def test_a_finished_search_looks_at_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Looks(monkeypatch)
    first = executable().tune(60)
    again = Looks(monkeypatch)
    assert executable().tune(60) == first and again.seen == []


def test_no_time_changes_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = Looks(monkeypatch)
    found = executable().tune(1e-9)
    assert looks.seen == [] and all(k.tried == 1 and k.best == 0 for k in found.kernels)
    assert "goes on from here" in str(found)


def test_without_a_cache_this_process_remembers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATTE_CACHE", "off")
    Looks(monkeypatch)
    exe = executable()
    exe.tune(60)
    assert isinstance(exe.backend, Native)
    assert set(exe.backend._jit._chosen.values()) >= {BEST}


def test_notes_that_were_changed_are_not_believed(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = Looks(monkeypatch)
    executable().tune(60)
    before = len(looks.seen)
    for entry in cache.iterdir():
        if b'"share"' in entry.read_bytes():
            entry.write_bytes(entry.read_bytes().replace(b'"best": 3', b'"best": 2'))
    with pytest.warns(RuntimeWarning, match="E0915"):
        executable().tune(60)
    assert len(looks.seen) >= 2 * before


def test_real_looks_take_time_and_ctrl_c_ends_them(cache: Path) -> None:
    told: list[float] = []

    def tell(done: float, name: str) -> None:
        told.append(done)
        if len(told) == 4:
            raise KeyboardInterrupt

    found = executable().tune(60, tell)
    assert len(told) == 4 and sum(k.tried - 1 for k in found.kernels) in (2, 3)
    assert all(k.seconds > 0 for k in found.kernels if k.tried > 1)
    assert losses(executable())


def test_the_oracle_has_nothing_to_tune() -> None:
    assert small.net().compile(target="interp").tune(1) is None
    assert str(Summary(())) == "nothing to tune"
    assert tune.FIRST > 1
