"""`latte profile`: where the time of a step goes, as a table and as a trace."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from latte.commands.bench import made_up
from latte.commands.command import Command, Settings, compile_options, net_argument

if TYPE_CHECKING:
    from latte.model import Net
    from latte.runtime.profile import Timing


@click.command(cls=Command)
@net_argument
@click.option("--phase", default="step", help="step, forward, backward, infer  [step]")
@click.option("--trace", default="trace.json", metavar="FILE", help="[trace.json]")
@compile_options
def command(net: Net, phase: str, trace: str, settings: Settings) -> None:
    """The time of each kernel of a phase, run one after another on made-up data.

    Open the trace in Perfetto (ui.perfetto.dev) or chrome://tracing.

    \b
      latte profile lenet.latte
      latte profile lenet.latte --phase infer --batch 1
    """
    from latte.errors import fail
    from latte.runtime.limits import measured_peak
    from latte.runtime.profile import by_ensemble, timings

    exe, fed = made_up(net, settings)
    names = [each.name for each in exe.program.phases]
    if phase not in names:
        fail("E0959", f"there is no phase `{phase}`", help=f"there are {', '.join(names)}")
    exe.step(**fed)
    found = timings(exe, phase)
    Path(trace).write_text(json.dumps({"traceEvents": _events(found), "displayTimeUnit": "ms"}))
    rows = by_ensemble(exe, phase, found)
    peak, total = measured_peak(exe.threads), sum(row.seconds for row in rows)
    click.echo(f"{'ms':>9}  {'share':>6}  {'GFLOP/s':>8}  {'of peak':>7}  kernel")
    for row in sorted(rows, key=lambda row: -row.seconds):
        speed = row.operations / max(row.seconds, 1e-9)
        click.echo(
            f"{row.seconds * 1e3:9.3f}  {row.seconds / total:6.1%}  {speed / 1e9:8.1f}  "
            f"{speed / peak:7.1%}  {row.name}: {row.part}"
        )
    click.echo(f"{total * 1e3:9.3f}  {phase} of {exe.batch} items; {trace} has them in order")


def _events(found: tuple[Timing, ...]) -> list[dict[str, Any]]:
    """Chrome's trace events: one complete event for each kernel, microseconds from the start."""
    events, at = [], 0.0
    for row in found:
        took = row.seconds * 1e6
        (origin, reason), *others = row.covers
        facts = {"reason": reason, "bytes": row.bytes, "with": [name for name, _ in others]}
        events.append(
            {
                "name": origin,
                "ph": "X",
                "ts": at,
                "dur": took,
                "pid": 0,
                "tid": 0,
                "args": facts,
            }
        )
        at += took
    return events
