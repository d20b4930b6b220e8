"""Reads what the overview shows: the figures of now, and the values of its plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from chassis.declare.app import App
from console import recording
from console.domain.offsets import Flow, together
from console.domain.operations import SILENT_AFTER, Now, Report, now_of
from console.domain.overview import PLOTS, Drawn, Window, drawn, step_of
from console.domain.series import MINUTE, Values, mean

RECENT_MINUTES: Final = 5
COUNTED_AFTER: Final = timedelta(seconds=30)
"""By then a minute is counted: plots end before, so that they have no gap at their end."""


@dataclass(frozen=True, slots=True)
class Recent:
    """What the last minutes that are counted have brought; null: none is."""

    received: float | None
    """Orders per minute."""
    completed: float | None
    p50_seconds: float | None
    p99_seconds: float | None
    """In the slowest minute."""


@dataclass(frozen=True, slots=True)
class Overview:
    reports: Sequence[Report]
    now: Now
    groups: Mapping[str, Flow]
    """Each group of consumers over all its topics; empty if the broker does not answer."""
    recent: Recent
    polled_at: datetime | None
    """Null: never."""


async def read(app: App, at: datetime) -> Overview:
    reports = await recording.reports(app)
    flowed_at, flows, _ = await recording.flows(app)
    polled_at = max((one.asked_at for one in reports), default=flowed_at)
    answers = flowed_at is not None and polled_at is not None and polled_at - flowed_at <= SILENT_AFTER
    groups = {group: together(list(topics.values())) for group, topics in flows.items()} if answers else {}
    return Overview(reports, now_of(reports), groups, await _recent(app, at), polled_at)


async def _recent(app: App, at: datetime) -> Recent:
    """Reads some minutes more: those of the last seconds are not counted yet."""
    begins_at = MINUTE.floor(at) - timedelta(minutes=RECENT_MINUTES + 2)
    names = ("orders.in", "orders.out", "invoiced.p50", "invoiced.p99")
    found = await recording.values(app, names, MINUTE, begins_at, RECENT_MINUTES + 2)
    received, completed, p50, p99 = (_known(found[name]) for name in names)
    return Recent(
        mean(received) if received else None, mean(completed) if completed else None,
        mean(p50) if p50 else None, max(p99, default=None),
    )  # fmt: skip


def _known(values: Values) -> list[float]:
    return [value for value in values if value is not None][-RECENT_MINUTES:]


async def plots(app: App, window: Window, at: datetime) -> list[Drawn]:
    found: dict[str, Values] = {}
    for step, count in dict.fromkeys(step_of(plot, window) for plot in PLOTS):
        series = [one for plot in PLOTS if step_of(plot, window) == (step, count) for one in plot.series]
        found |= await recording.values(app, series, step, _begin(at, window, count * step.seconds), count)
    return [drawn(plot, window, _end(at, window), found) for plot in PLOTS]


def _end(at: datetime, window: Window) -> datetime:
    """All plots of a page have one time axis. Its end is a whole minute, so that it has the values of each step."""
    return max(MINUTE, window.step, key=lambda step: step.seconds).floor(at - COUNTED_AFTER)


def _begin(at: datetime, window: Window, seconds: int) -> datetime:
    return _end(at, window) - timedelta(seconds=seconds)
