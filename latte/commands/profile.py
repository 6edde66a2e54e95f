"""`latte profile`: where the time of a phase goes, on which worker, and what is only moved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from latte.commands.bench import check_finite, made_ready, settle
from latte.commands.command import Command, Settings, compile_options, json_option, net_argument
from latte.commands.tables import show_copies, show_profile
from latte.errors import fail

if TYPE_CHECKING:
    from latte.model import Net
    from latte.runtime.backend import Backend
    from latte.runtime.copies import Copy
    from latte.runtime.executable import Executable
    from latte.runtime.profile import Profile

REPEATS = 5


@click.command(cls=Command)
@net_argument
@click.option("--phase", default="step", help="step, forward, backward, infer, predict  [step]")
@click.option("--trace", default="trace.json", metavar="FILE", help="[trace.json]")
@click.option("--copies", is_flag=True, help="Count what is fed, fetched and laid out anew")
@compile_options
@json_option
def command(
    net: Net, phase: str, trace: str, copies: bool, as_json: bool, settings: Settings
) -> None:
    """The time of each kernel of a phase, as the workers run it on made-up data.

    Open the trace in Perfetto (ui.perfetto.dev) or chrome://tracing: one track for each worker.
    A gap is a wait for other workers. The fastest of several runs is shown.

    \b
      latte profile lenet.latte
      latte profile lenet.latte --phase infer --batch 1 --copies
    """
    from latte.runtime.limits import measured_peak
    from latte.runtime.profile import by_kernel, profiled

    exe, fed, _ = made_ready(net, settings)
    names = [each.name for each in exe.program.phases]
    if phase not in names:
        fail("E0959", f"there is no phase `{phase}`", help=f"there are {', '.join(names)}")
    settle(exe)
    run_before(exe, phase, fed)
    found = profiled(exe, phase, REPEATS)
    if phase == "step":
        check_finite(exe)
    Path(trace).write_text(json.dumps(trace_of(found)), "utf-8")
    moved = counted(exe, phase, fed, found) if copies else ()
    rows = by_kernel(exe, found)
    if as_json:
        facts = {"net": exe.net.name, "batch": exe.batch, "threads": exe.threads, "phase": phase}
        facts |= {"ms": found.seconds * 1e3, "waiting_ms": found.waiting * 1e3, "trace": trace}
        facts["kernels"] = [row.as_json() for row in rows]
        facts["copies"] = [each.as_json() for each in moved]
        click.echo(json.dumps(facts))
        return
    click.echo(f"{exe.net.name}, batch {exe.batch}, {exe.threads} threads: {phase}")
    show_profile(found, rows, measured_peak(exe.threads))
    if copies:
        show_copies(moved)
    click.echo(f"{trace} has every kernel on every worker: open it in ui.perfetto.dev")


def run_before(exe: Executable, phase: str, fed: dict[str, Any]) -> None:
    """Runs what a phase needs to find done."""
    match phase:
        case "forward" | "backward" | "update":
            exe.forward(**fed)
            exe.backward()
        case "infer" | "predict":
            exe.evaluate(**fed)
        case _:
            exe.step(**fed)


def trace_of(found: Profile) -> dict[str, Any]:
    """Chrome's trace format: a track for each worker, microseconds from the phase's begin."""
    name = {"ph": "M", "pid": 1, "name": "process_name", "args": {"name": f"latte {found.phase}"}}
    events: list[dict[str, Any]] = [name]
    for worker in sorted({span.thread for span in found.spans}):
        events.append(
            {"ph": "M", "pid": 1, "tid": worker, "name": "thread_name",
             "args": {"name": f"worker {worker}"}}
        )  # fmt: skip
    for span in found.spans:
        kernel = span.kernel
        events.append(
            {
                "ph": "X",
                "pid": 1,
                "tid": span.thread,
                "name": kernel.origin or kernel.name,
                "cat": kernel.reason or "kernel",
                "ts": round(span.begin * 1e6, 3),
                "dur": round((span.end - span.begin) * 1e6, 3),
                "args": {"kernel": kernel.name, "reason": kernel.reason},
            }
        )
    return {"traceEvents": events, "displayTimeUnit": "ms"}


def counted(exe: Executable, phase: str, fed: dict[str, Any], found: Profile) -> tuple[Copy, ...]:
    """What one call moves without computing: inputs, results, arrays in another layout."""
    from latte.compiler.plan_memory import loaded
    from latte.runtime.copies import Counted, laid_out

    backend, counting = exe.backend, Counted(exe.backend)
    exe.backend = cast("Backend", counting)
    try:
        match phase:
            case "predict":
                read = loaded(exe.program.phase(phase))
                exe.predict(**{name: array for name, array in fed.items() if name in read})
            case "infer":
                exe.evaluate(**fed)
            case "forward" | "backward" | "update":
                exe.forward(**fed)
            case _:
                exe.step(**fed)
    finally:
        exe.backend = backend
    return (*counting.found(), *laid_out(exe, found.spans))
