"""Searches for the fastest variant of each contraction of a net, and remembers it.

In: a Program, how long to search.  Out: a `Summary`; for each fingerprint a variant in the cache,
which `Jit` compiles from then on.

    conv2.out   default 12.1 ms,  variant 7: 11.2 ms   ->   variant 7, a gain of 7 %

Each kernel runs alone on made-up data, its best variant and the next in turns, so that a machine
whose speed wanders favours neither. All variants give the same bits (`contract_variants.py`). A
search that ends early, by time or by Ctrl-C, goes on next time where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from math import prod
from time import perf_counter

import numpy as np

from latte.codegen.interp import Run
from latte.compiler.alone import Alone, Single, alone, read
from latte.compiler.contract import count_variants
from latte.compiler.contract_wish import work
from latte.compiler.ir import Group, Item, Phase, Program, nests
from latte.compiler.machine import Machine
from latte.runtime.cache import Cache
from latte.runtime.cpu import Native
from latte.runtime.jit import Jit
from latte.runtime.making import Lower

FIRST = 9  # variants of every kernel that are tried before any kernel's others
MOST = 1 << 30
GAIN = 0.98  # of the time of the best: less is taken for chance
HOPELESS = 1.15  # times that of the best, after one look
TURNS = 4
SHORTEST = 10e-3  # seconds that a look takes at least: until all threads have a core of their own
MOST_CALLS = 1000
PHASE = "alone"

Tell = Callable[[float, str], None]  # the share of the search that is done, and the kernel at hand


@dataclass(frozen=True, slots=True)
class Tuned:
    """What is known of one kernel: `tried` of `variants` variants, the `best` of them, what it
    takes, and its time as a share of the default's. It occurs `times` in the phases."""

    kernel: str
    times: int
    variants: int
    tried: int = 1
    best: int = 0
    seconds: float = 0.0
    share: float = 1.0

    @property
    def done(self) -> bool:
        return self.tried >= self.variants


@dataclass(frozen=True, slots=True)
class Summary:
    """Where a search stands."""

    kernels: tuple[Tuned, ...]

    @property
    def before(self) -> float:
        """Seconds of all kernels with the defaults."""
        return sum(k.seconds / k.share * k.times for k in self.kernels)

    @property
    def after(self) -> float:
        """Seconds of all kernels with the best found."""
        return sum(k.seconds * k.times for k in self.kernels)

    def __str__(self) -> str:
        if not self.kernels:
            return "nothing to tune"
        done = sum(k.done for k in self.kernels)
        faster = [k for k in self.kernels if k.best]
        near = sum(k.share >= 0.95 for k in self.kernels)
        lines = [
            f"tuned {done} of {len(self.kernels)} kernels; {len(faster)} faster than before",
            f"all together {self.before * 1e3:.2f} -> {self.after * 1e3:.2f} ms; "
            f"{near} of the defaults were within 5 % of the best found",
        ]
        for each in sorted(faster, key=lambda k: k.share)[:5]:
            lines.append(f"  {each.kernel}: {each.seconds * 1e3:.3f} ms, {1 - each.share:.0%} less")
        if done < len(self.kernels):
            lines.append("a further search goes on from here")
        return "\n".join(lines)


def search(
    program: Program,
    phases: Iterable[str],
    lower: Lower,
    *,
    seconds: float,
    threads: int,
    cache: Cache,
    machine: Machine,
    tell: Tell | None = None,
) -> tuple[Summary, dict[str, int]]:
    """The state of the search after at most so many seconds, and the best variant of every
    fingerprint. Ctrl-C ends it early."""
    jit = Jit(machine, cache, threads)
    parts = list(_parts(program, phases, machine))
    known = {p.fingerprint: _resumed(state, jit.search(p.fingerprint)) for p, state in parts}
    clock = _Clock(seconds, tell)
    with suppress(KeyboardInterrupt):
        for part, limit in _turns([part for part, _ in parts], known):
            if clock.late(known[part.fingerprint].kernel):
                break
            trial = Trial(part, lower, threads=threads, cache=cache, machine=machine)
            for state in trial.improve(known[part.fingerprint], limit):
                known[part.fingerprint] = state
                jit.note_search(part.fingerprint, _noted(state))
                if clock.late(state.kernel):
                    break
            trial.close()
    return Summary(tuple(known.values())), {name: state.best for name, state in known.items()}


class Trial(Native):
    """One kernel on made-up data."""

    def __init__(
        self, part: Alone, lower: Lower, *, threads: int, cache: Cache, machine: Machine
    ) -> None:
        made = read(part.text)
        item: Item = Group(made.around, (made.kernel,)) if made.around else made.kernel
        program = Program(PHASE, made.program.buffers, (Phase(PHASE, (item,)),),
                          made.program.scalars)  # fmt: skip
        super().__init__(program, lower, threads=threads, cache=cache, machine=machine)
        self._kernel = part.fingerprint
        sizes = {a.symbol: a.size for b in program.buffers for a in b.axes if a.symbol}
        self._now = Run(items=sizes.get("n", 1), steps=sizes.get("t", 1),
                        scalars=dict.fromkeys(program.scalars, 0.5))  # fmt: skip
        self._make_up(program)

    def improve(self, state: Tuned, limit: int) -> Iterator[Tuned]:
        """The state after each further variant, up to `limit` of them."""
        if not state.seconds:
            state = replace(state, seconds=self.look(state.best))
        for variant in range(state.tried, min(limit, state.variants)):
            state = self._against(state, variant)
            yield state

    def look(self, variant: int) -> float:
        """Seconds of a call: the fastest of a few."""
        self._jit.choose(self._kernel, variant)
        self._phases.clear()
        self.run(PHASE, self._now)
        best, begun = float("inf"), perf_counter()
        for calls in range(MOST_CALLS):
            start = perf_counter()
            self.run(PHASE, self._now)
            end = perf_counter()
            best = min(best, end - start)
            if calls >= 1 and end - begun > SHORTEST:
                break
        return best

    def _against(self, state: Tuned, variant: int) -> Tuned:
        """Whether a variant is faster than the best so far: looked at in turns."""
        best, new = state.seconds, self.look(variant)
        if new < best * HOPELESS:
            for _ in range(TURNS):
                best, new = min(best, self.look(state.best)), min(new, self.look(variant))
        tried = variant + 1
        if new >= best * GAIN:
            return replace(state, tried=tried, seconds=best)
        share = state.share * new / best
        return replace(state, tried=tried, best=variant, seconds=new, share=share)

    def _make_up(self, program: Program) -> None:
        """Numbers of usual size; indices stay 0."""
        some = np.random.default_rng(0).normal(size=8192).astype(np.float32)
        places = {**self._memory.lasting, **self._memory.of(program.phases[0]).places}
        for buffer in program.buffers:
            if buffer.element == "f32" and buffer.name in places:
                memory = places[buffer.name]
                memory[: memory.size // 4 * 4].view(np.float32)[:] = np.resize(
                    some, memory.size // 4
                )


class _Clock:
    """Tells how much of a search is done, and knows when its time is over."""

    def __init__(self, seconds: float, tell: Tell | None) -> None:
        self._seconds = seconds
        self._tell = tell
        self._begun = perf_counter()

    def late(self, kernel: str) -> bool:
        """Whether the time is over, with this kernel at hand."""
        gone = perf_counter() - self._begun
        if self._tell is not None:
            self._tell(min(1.0, gone / self._seconds), kernel)
        return gone > self._seconds


def _turns(parts: Sequence[Alone], known: Mapping[str, Tuned]) -> Iterator[tuple[Alone, int]]:
    """Kernels with variants that were not tried yet, and how many to try: a few of each kernel,
    then all of each."""
    for limit in (FIRST, MOST):
        for part in parts:
            state = known[part.fingerprint]
            if state.tried < min(limit, state.variants):
                yield part, limit


def _parts(
    program: Program, phases: Iterable[str], machine: Machine
) -> Iterator[tuple[Alone, Tuned]]:
    """The distinct kernels that have variants, the largest first."""
    found: dict[str, tuple[Alone, Single, str]] = {}
    times: dict[str, int] = {}
    for phase in phases:
        for kernel, around in nests(program.phase(phase).items):
            if not any(a.symbol == "t" for a in around):  # else one step of many, small alone
                part = alone(kernel, around, program)
                times[part.fingerprint] = times.get(part.fingerprint, 0) + 1
                if part.fingerprint not in found:
                    found[part.fingerprint] = part, read(part.text), kernel.name
    for part, made, name in sorted(
        found.values(), key=lambda each: -_work(each[1]) * times[each[0].fingerprint]
    ):
        variants = count_variants(made.kernel, made.program, machine)
        if variants > 1:
            yield part, Tuned(name, times[part.fingerprint], variants)


def _work(made: Single) -> int:
    return work(made.kernel) * prod(a.size for a in made.around)


def _resumed(state: Tuned, found: Mapping[str, float]) -> Tuned:
    """What an earlier search noted, if anything."""
    if not found:
        return state
    return replace(
        state, tried=int(found["tried"]), best=int(found["best"]), seconds=found["seconds"],
        share=found["share"],
    )  # fmt: skip


def _noted(state: Tuned) -> dict[str, float]:
    return {
        "tried": state.tried, "best": state.best, "seconds": state.seconds, "share": state.share,
    }  # fmt: skip
