"""The plots of the overview: which series they have, over which time, and how they are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple

from console.domain.series import HOUR, MINUTE, POLL, Step, Values, downsampled, one_of_many
from contracts.registry import SERVICES

Span = Literal["1h", "24h", "30d"]
QUARTERS: Final = 4
"""Into which the time axis is divided."""


class Window(NamedTuple):
    """How long a plot reaches back, and of which values it is made."""

    title: str
    step: Step
    values: int
    points: int
    """Drawn at most."""
    clock: str
    """Format of a time on the axis."""


WINDOWS: Final[Mapping[Span, Window]] = {
    "1h": Window("1 hour", POLL, 1_800, 120, "%H:%M"),
    "24h": Window("24 hours", MINUTE, 1_440, 96, "%H:%M"),
    "30d": Window("30 days", HOUR, 720, 120, "%-d %b"),
}


class Plot(NamedTuple):
    name: str
    title: str
    series: Mapping[str, str]
    """Series -> how its line is named."""
    counted: bool = False
    """Whether it has a value a minute at least, and not every two seconds."""


GROUPS: Final = (*SERVICES, "console")
PLOTS: Final = (
    Plot("orders", "Orders per minute", {"orders.in": "received", "orders.out": "completed"}, counted=True),
    Plot("invoiced", "Seconds from received to invoiced", {"invoiced.p50": "p50", "invoiced.p99": "p99"}, counted=True),
    Plot(
        "processes", "Under way", {"processes.orders": "processes of orders", "processes.payments": "calls of gateways"}
    ),
    Plot("lag", "Lag, records", {f"lag.{group}": group for group in GROUPS}),
    Plot("outbox", "Outbox, rows", {f"outbox.{service}": service for service in SERVICES}),
    Plot("parked", "Parked messages", {f"parked.{service}": service for service in SERVICES}),
)


@dataclass(frozen=True, slots=True)
class Drawn:
    """What a plot shows."""

    plot: Plot
    times: Sequence[datetime]
    """When the time that each point covers begins, UTC."""
    lines: Mapping[str, Values]
    """By the name of the line."""
    marks: Sequence[tuple[float, str]]
    """Labels of the time axis, at places from 0 to 1."""

    @property
    def is_empty(self) -> bool:
        return all(value is None for line in self.lines.values() for value in line)

    @property
    def summary(self) -> str:
        """Returns the plot as text, for a screen reader."""
        found = []
        for name, line in self.lines.items():
            known = [value for value in line if value is not None]
            found.append(f"{name}: {known[-1]:,.3g}, at most {max(known):,.3g}" if known else f"{name}: nothing")
        return "; ".join(found)


def step_of(plot: Plot, window: Window) -> tuple[Step, int]:
    """Returns the step of the values that a plot is made of, and how many of them."""
    if plot.counted and window.step.seconds < MINUTE.seconds:
        return MINUTE, window.values * window.step.seconds // MINUTE.seconds
    return window.step, window.values


def drawn(plot: Plot, window: Window, ends_at: datetime, found: Mapping[str, Values]) -> Drawn:
    """ends_at: when the time of the last value ends. found: the values by series, as `step_of` states."""
    step, count = step_of(plot, window)
    lines = {
        label: downsampled(found[series], window.points, one_of_many(series)) for series, label in plot.series.items()
    }
    points = max((len(line) for line in lines.values()), default=0)
    span = timedelta(seconds=step.seconds * count)
    times = [ends_at - span + span * n / points for n in range(points)]
    marks = [
        (n / QUARTERS, f"{ends_at - span * (QUARTERS - n) / QUARTERS:{window.clock}}") for n in range(QUARTERS + 1)
    ]
    return Drawn(plot, times, lines, marks)
