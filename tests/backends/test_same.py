"""One suite for every backend: it agrees with the oracle; threads, memory and batches change
nothing."""

import os
from collections.abc import Iterator

import numpy as np
import pytest
from nets import CASES, Case, data

import latte
from latte.runtime import cpu, records
from latte.runtime.executable import Executable

TARGETS = ("cpu",)


@pytest.fixture(autouse=True, scope="module")
def private_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compiled code is shared between these tests and with nothing else."""
    before = os.environ.get("LATTE_CACHE")
    os.environ["LATTE_CACHE"] = str(tmp_path_factory.mktemp("cache") / "objects")
    yield
    if before is None:
        del os.environ["LATTE_CACHE"]
    else:
        os.environ["LATTE_CACHE"] = before


@pytest.fixture
def always_parallel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "PARALLEL_WORK", 0)
    monkeypatch.setattr(records, "ALONE_WORK", 0)


def compiled(case: Case, **options: object) -> Executable:
    net = latte.loads(case.text)
    return net.compile(batch=case.batch, time=case.time, **options)  # type: ignore[arg-type]


def trained(case: Case, items: int, **options: object) -> bytes:
    """Everything that lasts after three steps, and a prediction, bit for bit."""
    exe = compiled(case, **options)
    for seed in range(3):
        exe.step(**data(exe.inputs, items, case.time, seed))
    given = data(exe.inputs, items, case.time)
    arrays = [*exe.params.values(), *exe.running.values(), *exe.solver_state.values()]
    arrays.append(exe.evaluate(**given)[exe.net.output])
    exe.close()
    return b"".join(array.tobytes() for array in arrays)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", CASES)
def test_it_agrees_with_the_oracle(name: str, target: str) -> None:
    case = CASES[name]
    ours, oracle = compiled(case, target=target), compiled(case, target="interp")
    for items in (case.batch, 3):
        given = data(ours.inputs, items, case.time)
        for exe in (ours, oracle):
            exe.forward(**given)
            exe.backward()
        for key, value in oracle.losses.items():
            assert ours.losses[key] == pytest.approx(value, rel=1e-4, abs=1e-5), key
        for key in oracle.params:
            close(ours.grads[key], oracle.grads[key], f"gradient of {key}")
        for node, _ in oracle.net.names:
            if node in (entry.name for entry in oracle.net.nodes):
                close(ours.value(node), oracle.value(node), node)
        for exe in (ours, oracle):
            exe.update()
        for key in oracle.params:
            close(ours.params[key], oracle.params[key], key, 2e-3)
        for key in oracle.running:
            close(ours.running[key], oracle.running[key], key)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", CASES)
def test_a_step_is_forward_backward_update(name: str, target: str) -> None:
    case = CASES[name]
    whole, parts = compiled(case, target=target), compiled(case, target=target)
    for seed in range(2):
        given = data(whole.inputs, case.batch, case.time, seed)
        whole.step(**given)
        parts.forward(**given)
        parts.backward()
        parts.update()
        for key, value in parts.losses.items():  # a fused sum may have another order
            assert whole.losses[key] == pytest.approx(value, rel=1e-5), key
    for key in whole.params:
        close(whole.params[key], parts.params[key], key, 2e-4)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.usefixtures("always_parallel")
def test_same_bits_for_any_number_of_threads(name: str) -> None:
    case = CASES[name]
    for items in (case.batch, case.batch // 2, 1):
        assert len({trained(case, items, threads=threads) for threads in (1, 2, 3, 4)}) == 1


@pytest.mark.parametrize("name", CASES)
def test_nothing_reads_or_writes_outside_its_place(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every buffer ends at a page that faults, and holds NaN before each phase."""
    case = CASES[name]
    for items in (case.batch, 1):
        plain = trained(case, items)
        monkeypatch.setenv("LATTE_GUARD", "1")
        assert trained(case, items) == plain
        monkeypatch.delenv("LATTE_GUARD")


@pytest.mark.parametrize("name", CASES)
def test_what_was_computed_before_leaves_no_trace(name: str) -> None:
    """A full batch of large numbers, then a small one: as if the small one had been alone."""
    case = CASES[name]
    fresh, used = compiled(case), compiled(case)
    large = data(used.inputs, case.batch, case.time, seed=9)
    large = {k: v * 1e30 if v.dtype.kind == "f" else v for k, v in large.items()}
    used.evaluate(**large)
    used.forward(**large)
    used.backward()
    small = data(used.inputs, 2, case.time)
    for exe in (fresh, used):
        exe.forward(**small)
        exe.backward()
    for key in fresh.params:
        np.testing.assert_array_equal(fresh.grads[key], used.grads[key], key)
    assert fresh.evaluate(**small)["loss"] == used.evaluate(**small)["loss"]


@pytest.mark.parametrize("name", CASES)
def test_the_items_of_a_batch_do_not_meet_in_inference(name: str) -> None:
    case = CASES[name]
    exe = compiled(case)
    given = data(exe.inputs, case.batch + 3, case.time)
    needed = {k: v for k, v in given.items() if k not in ("label", "target")}
    together = exe.predict(**needed)
    alone = np.concatenate(
        [exe.predict(**{k: v[i : i + 1] for k, v in needed.items()}) for i in range(len(together))]
    )
    np.testing.assert_array_equal(together, alone)


def close(ours: np.ndarray, expected: np.ndarray, what: str, tolerance: float = 1e-3) -> None:
    """The greatest difference is small beside the greatest value. NaN is close to nothing."""
    assert ours.shape == expected.shape, what
    difference = np.abs(np.asarray(ours, np.float64) - expected)
    assert (difference <= tolerance * max(np.abs(expected).max(), 1e-3)).all(), what
