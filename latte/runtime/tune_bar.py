"""A search for faster code as its user sees it: a bar on a terminal, what was found at the end.

tuning conv2.weight.grad  ━━━━━━━━━━━━━━━━━╸━━━━━━━━  64%
tuned 14 of 22 kernels; 3 faster than before
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from latte.runtime.executable import Executable


def tune(exe: Executable, seconds: float) -> None:
    """Searches, and tells on stderr."""
    if not sys.stderr.isatty():
        print(exe.tune(seconds) or "nothing to tune", file=sys.stderr)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    columns = TextColumn("tuning {task.description}"), BarColumn(), TaskProgressColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("", total=1.0)
        found = exe.tune(
            seconds, lambda done, name: progress.update(bar, completed=done, description=name)
        )
    print(found or "nothing to tune", file=sys.stderr)
