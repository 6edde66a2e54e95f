"""Ctrl-C while training: the first one asks to stop after this step, the second stops at once.

In: SIGINT.  Out: `asked.now` is true from the first on; a second raises KeyboardInterrupt.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Self


class Interruption:
    """Stands for the interrupt key as long as its block runs (in the main thread)."""

    def __init__(self) -> None:
        self.now = False
        self._before: object = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._asked)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)  # type: ignore[arg-type]

    def _asked(self, number: int, frame: FrameType | None) -> None:
        if self.now:
            raise KeyboardInterrupt
        self.now = True
