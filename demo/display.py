"""The progress of the demo: a line per step, then a bar that fills until every order is settled.

Without a terminal (the log of CI) it prints a plain line every `LINE_SECONDS`.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from demo.following import Counts

LINE_SECONDS: Final = 10.0
"""Time between two plain lines."""


class Display:
    def __init__(self, console: Console, orders: int) -> None:
        self._console, self._orders = console, orders
        self._live = console.is_terminal
        self._spinner = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console, transient=True
        )
        self._bar = Progress(
            TextColumn("orders settled"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            TextColumn("{task.description}"), console=console, transient=True,
        )  # fmt: skip
        self._shown: Progress | None = None
        self._task: TaskID | None = None
        self._line_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def step(self, text: str) -> None:
        """Shows what is done now; the next call ends it."""
        if self._live:
            self._begin(self._spinner, f"{text} ...")
        else:
            self._console.print(f"{text} ...", markup=False, highlight=False)

    def show(self, counts: Counts) -> None:
        """Shows the progress of the orders."""
        if self._live:
            if self._shown is not self._bar:
                self._begin(self._bar, "")
            assert self._task is not None
            self._bar.update(self._task, completed=min(counts.settled, self._orders), description=_words(counts))
        elif time.monotonic() - self._line_at > LINE_SECONDS:
            self._line_at = time.monotonic()
            line = f"{counts.settled:,} of {self._orders:,} orders settled: {_words(counts)}"
            self._console.print(line, markup=False, highlight=False)

    def _begin(self, progress: Progress, text: str) -> None:
        self._end()
        for task in list(progress.task_ids):
            progress.remove_task(task)
        self._task = progress.add_task(text, total=max(self._orders, 1) if progress is self._bar else None)
        progress.start()
        self._shown = progress

    def _end(self) -> None:
        if self._shown is not None:
            self._shown.stop()
            self._shown = None


def _words(counts: Counts) -> str:
    words = [f"{counts.received:,} received", f"{counts.completed:,} completed", f"{counts.cancelled:,} cancelled"]
    if counts.parked:
        words.append(f"{len(counts.parked):,} parked")
    words += [f"{n:,} for {word}" for word, n in sorted(counts.waiting.items()) if word not in ("answer", "outcomes")]
    return ", ".join(words)
