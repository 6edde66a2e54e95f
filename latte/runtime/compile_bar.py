"""A net being compiled as its user sees it: a bar on a terminal, if it takes more than a moment.

compiling GoogLeNet  ━━━━━━━━━━━━━━━━━╸━━━━━━━━  64%

Until the first kernel is made nobody knows how many there are: the bar only moves.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from threading import Timer
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress

    from latte.runtime.executable import Executable

PATIENCE = 1.0  # seconds in which nothing is shown


def compiled(
    name: str,
    make: Callable[[], Executable],
    phases: Iterable[str] | None = None,
    *,
    shown: bool = True,
) -> Executable:
    """What `make` gives, with the machine code of these phases (None: of all). Tells on stderr."""
    with _Bar(name, shown and sys.stderr.isatty()) as bar:
        exe = make()
        names = [phase.name for phase in exe.program.phases] if phases is None else [*phases]
        for number, phase in enumerate(names):
            bar.begin(number, len(names))
            exe.backend.prepare(phase, bar.tell)
    return exe


class _Bar:
    """Shown by a thread of its own, since compiling does not come back before it is done."""

    def __init__(self, name: str, shown: bool) -> None:
        self._name = name
        self._progress: Progress | None = None
        self._timer = Timer(PATIENCE, self._show) if shown else None
        self._before, self._parts = 0, 1
        self._done: float | None = None

    def __enter__(self) -> Self:
        if self._timer:
            self._timer.daemon = True
            self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        if self._timer:
            self._timer.cancel()
            self._timer.join()
        if self._progress:
            self._progress.stop()

    def begin(self, before: int, parts: int) -> None:
        """So many of the parts are done; `tell` counts within the next one."""
        self._before, self._parts = before, parts

    def tell(self, share: float) -> None:
        """The share of a part that is done; it does not fall."""
        self._done = max(self._done or 0.0, (self._before + share) / self._parts)
        if self._progress:
            self._progress.update(self._progress.task_ids[0], total=1.0, completed=self._done)

    def _show(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        columns = TextColumn("compiling {task.description}"), BarColumn(), TaskProgressColumn()
        progress = Progress(*columns, console=Console(stderr=True), transient=True)
        progress.add_task(self._name, total=None)
        progress.start()
        self._progress = progress
