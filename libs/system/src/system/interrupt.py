"""Ctrl-C at any moment: the first signal ends the run in order; later ones are ignored, so that the clean-up completes.

A terminal, `make` and `timeout` each forward the same Ctrl-C, so a second signal soon after the first is normal.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from types import FrameType, TracebackType
from typing import Any, Self, TypeVar

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
Result = TypeVar("Result")


class Interrupt:
    """Inside the block, the first signal raises KeyboardInterrupt; during `run` it cancels the work first."""

    def __init__(self) -> None:
        self.received: int | None = None
        """The number of the first signal."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None

    def __enter__(self) -> Self:
        for number in SIGNALS:
            signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # only the process's end is left

    @property
    def exit_status(self) -> int:
        """As a shell reports it: 130 for Ctrl-C."""
        return 128 + (self.received or signal.SIGINT)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            return
        self.received = number
        if self._task is None or self._loop is None:
            raise KeyboardInterrupt
        self._loop.call_soon_threadsafe(self._task.cancel)

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """`asyncio.run` that a signal ends in order: the work's `finally` blocks run, then KeyboardInterrupt is raised."""

        async def main() -> Result:
            self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
            try:
                return await work
            finally:
                self._task = None

        try:
            with asyncio.Runner() as runner:
                return runner.run(main())
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None
