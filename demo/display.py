"""What is seen while the demo runs: a line that says what is done, then a bar that fills until every order is at rest.

On something that is not a terminal (a log of CI) a plain line now and then.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from demo.following import Look

LINE_SECONDS: Final = 10.0
"""Between two plain lines."""


class Display:
    def __init__(self, console: Console, orders: int) -> None:
        self._console, self._orders = console, orders
        self._live = console.is_terminal
        self._spinner = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console, transient=True
        )
        self._bar = Progress(
            TextColumn("orders at rest"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
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
        """Say what is done now. Nothing more is needed for it to end."""
        if self._live:
            self._begin(self._spinner, f"{text} ...")
        else:
            self._console.print(f"{text} ...", markup=False, highlight=False)

    def show(self, look: Look) -> None:
        """How far the orders are."""
        if self._live:
            if self._shown is not self._bar:
                self._begin(self._bar, "")
            assert self._task is not None
            self._bar.update(self._task, completed=min(look.at_rest, self._orders), description=_words(look))
        elif time.monotonic() - self._line_at > LINE_SECONDS:
            self._line_at = time.monotonic()
            told = f"{look.at_rest:,} of {self._orders:,} orders at rest: {_words(look)}"
            self._console.print(told, markup=False, highlight=False)

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


def _words(look: Look) -> str:
    told = [f"{look.received:,} received", f"{look.completed:,} completed", f"{look.cancelled:,} cancelled"]
    if look.parked:
        told.append(f"{len(look.parked):,} parked")
    told += [f"{n:,} for {word}" for word, n in sorted(look.waiting.items()) if word not in ("answer", "outcomes")]
    return ", ".join(told)
