"""Figures of speed as tables for people and as JSON for programs.

Line("conv1", "forward", 0.0042, 1.3e9, 17e6)   ->   conv1  forward   4.200 ms   309.5  65.3 % ...
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from latte.peers.compare import Comparison
    from latte.runtime.copies import Copy
    from latte.runtime.profile import Profile, Share

LAYERS = 24  # shown; the rest is added up in one line
KERNELS = 40
WIDTH = 132  # of tables that no terminal limits


@dataclass(frozen=True, slots=True)
class Line:
    """One measured thing: its best time, its arithmetic, the bytes that have to move."""

    name: str
    part: str
    seconds: float
    operations: int
    bytes: int

    def as_json(self, peak: float, bandwidth: float) -> dict[str, Any]:
        """Milliseconds, and speeds beside what the machine can do."""
        speed, flow = self.speed, self.flow
        facts: dict[str, Any] = {"name": self.name} | ({"phase": self.part} if self.part else {})
        facts |= {
            "ms": round(self.seconds * 1e3, 4),
            "gflops": round(speed / 1e9, 2),
            "share_of_peak": round(speed / peak, 4),
        }
        if self.bytes:
            facts |= {
                "mbytes": round(self.bytes / 1e6, 3),
                "gbytes_per_second": round(flow / 1e9, 2),
                "share_of_bandwidth": round(flow / bandwidth, 4),
            }
        return facts

    @property
    def speed(self) -> float:
        """Operations a second."""
        return self.operations / self.seconds if self.seconds else 0.0

    @property
    def flow(self) -> float:
        """Bytes a second."""
        return self.bytes / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True)
class Figures:
    """All of a net's figures, and what the machine can do: operations and bytes a second."""

    ready: float
    peak: float
    bandwidth: float
    passes: tuple[Line, ...]
    layers: tuple[Line, ...]

    def as_json(self) -> dict[str, Any]:
        """As `latte bench --json` prints it."""
        return {
            "compile_seconds": round(self.ready, 3),
            "peak_gflops": round(self.peak / 1e9, 1),
            "bandwidth_gbytes": round(self.bandwidth / 1e9, 1),
            "passes": [line.as_json(self.peak, self.bandwidth) for line in self.passes],
            "layers": [line.as_json(self.peak, self.bandwidth) for line in self.layers],
        }


def console() -> Console:
    """Where tables go: as wide as the terminal, else as wide as they need to be."""
    from rich.console import Console

    from latte.commands.command import colored

    wide = None if sys.stdout.isatty() else WIDTH
    return Console(width=wide, highlight=False, no_color=not colored(sys.stdout))


def show_figures(figures: Figures) -> None:
    """Passes, then layers by phase."""
    out = console()
    peak, bandwidth = figures.peak / 1e9, figures.bandwidth / 1e9
    out.print(f"measured now: peak {peak:,.0f} GFLOP/s, memory is read at {bandwidth:,.1f} GB/s\n")
    table = _table("pass", "ms", "GFLOP/s", "of peak")
    for line in figures.passes:
        table.add_row(line.name, *_cells(line, figures)[:3])
    out.print(table)
    out.print("\nof a step, a worker on average:")
    table = _table("layer", "ms", "GFLOP/s", "of peak", "MB", "GB/s", "of memory", phase=True)
    shown, rest = _longest(figures.layers)
    total = sum(line.seconds for line in figures.layers)
    previous = ""
    for line in shown:
        name = line.name if line.name != previous else ""
        table.add_row(name, line.part, *_cells(line, figures))
        previous = line.name
    if rest:
        table.add_row(f"{len(rest)} more", "", _ms(sum(line.seconds for line in rest)))
    table.add_section()
    table.add_row("together", "", _ms(total))
    out.print(table)


def _longest(lines: Sequence[Line]) -> tuple[list[Line], list[Line]]:
    """The layers that take longest, in the order of the net, and the others."""
    totals: dict[str, float] = {}
    for line in lines:
        totals[line.name] = totals.get(line.name, 0.0) + line.seconds
    names = set(sorted(totals, key=lambda name: -totals[name])[:LAYERS])
    shown = [line for line in lines if line.name in names]
    return shown, [line for line in lines if line.name not in names]


def show_comparisons(found: Sequence[Comparison]) -> None:
    """Each peer's modes; then how Latte compares with the best of each phase."""
    from latte.peers.compare import best

    out = console()
    out.print("\nin turn with others, the fastest run of each side:")
    table = _table("phase", "Latte ms", "peer ms", "peer / Latte", "differs by", second="peer")
    for each in found:
        tied = "" if each.difference is None else f"{each.difference:.0e}"
        strong = "bold" if each is best(e for e in found if e.what == each.what) else ""
        table.add_row(
            each.what, f"{each.peer} {each.mode}", _ms(each.ours), _ms(each.theirs),
            f"{each.ratio:.2f}", tied, style=strong,
        )  # fmt: skip
    out.print(table)
    for phase in dict.fromkeys(each.what for each in found):
        rival = best(each for each in found if each.what == phase)
        out.print(f"{phase}: {rival.ratio:.2f} times as fast as {rival.peer} {rival.mode}")


def show_profile(found: Profile, rows: Sequence[Share], peak: float) -> None:
    """The kernels of a phase, the longest first."""
    out = console()
    table = _table(
        "kernel", "ms", "of phase", "slowest", "GFLOP/s", "of peak", "MB", "GB/s", second="for"
    )
    for row in sorted(rows, key=lambda row: -row.seconds)[:KERNELS]:
        speed, flow = row.operations / row.seconds / 1e9, row.bytes / row.seconds / 1e9
        known = (f"{speed:,.1f}", f"{speed * 1e9 / peak:.0%}") if row.operations else ("", "")
        table.add_row(
            row.name, row.part, _ms(row.seconds), f"{row.seconds / found.seconds:.1%}",
            f"{row.slowest / row.seconds:.2f}", *known, f"{row.bytes / 1e6:,.1f}", f"{flow:,.1f}",
        )  # fmt: skip
    rest = sorted(rows, key=lambda row: -row.seconds)[KERNELS:]
    if rest:
        table.add_row(f"{len(rest)} more", "", _ms(sum(row.seconds for row in rest)))
    table.add_row("waiting", "", _ms(found.waiting), f"{found.waiting / found.seconds:.1%}")
    table.add_row("together", "", _ms(found.seconds))
    out.print(table)


def show_copies(found: Sequence[Copy]) -> None:
    """What moved without being computed."""
    out = console()
    out.print("moved, not computed:")
    table = _table("array", "MB", "ms", "GB/s", second="how")
    for row in sorted(found, key=lambda row: -row.seconds):
        flow = row.bytes / row.seconds / 1e9 if row.seconds else 0.0
        table.add_row(
            row.name, row.kind, f"{row.bytes / 1e6:,.2f}", _ms(row.seconds), f"{flow:,.1f}"
        )
    total, seconds = sum(row.bytes for row in found), sum(row.seconds for row in found)
    table.add_row("together", "", f"{total / 1e6:,.2f}", _ms(seconds))
    out.print(table)


def _table(first: str, *numbers: str, phase: bool = False, second: str = "") -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(first, no_wrap=True)
    if phase or second:
        table.add_column(second or "phase", no_wrap=True)
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _cells(line: Line, figures: Figures) -> tuple[str, ...]:
    facts = line.as_json(figures.peak, figures.bandwidth)
    speed = (
        (f"{facts['gflops']:,.1f}", f"{facts['share_of_peak']:.0%}")
        if line.operations
        else ("", "")
    )
    if not line.bytes:
        return (_ms(line.seconds), *speed)
    flow = (f"{facts['gbytes_per_second']:,.1f}", f"{facts['share_of_bandwidth']:.0%}")
    return (_ms(line.seconds), *speed, f"{facts['mbytes']:,.1f}", *flow)


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:,.3f}"
