"""The series of the deliveries of a process; docs/operations.md lists them. None has a label per endpoint: there are thousands."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, get_args

from prometheus_client import Counter, Gauge, Histogram

from chassis.declare.app import App
from webhooks.delivery.line import Line, Outcome

SERVICE: Final = "webhooks"
SECONDS: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15)


class DeliveryMetrics:
    """Made once per process, by `App.shared`."""

    def __init__(self, app: App) -> None:
        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"tradewind_{name}", text, ("service",), registry=app.registry).labels(SERVICE)

        self.in_flight = gauge("deliveries_in_flight", "Requests under way")
        self.waiting = gauge("deliveries_waiting", "Deliveries that wait for a retry")
        self.breakers_open = gauge("breakers_open", "Endpoints that are sent nothing new")
        self.shards_held = gauge("shards_held", "Shards that this process delivers to")
        self.age = gauge("dispatcher_age_seconds", "Time since all parts of the dispatcher have worked")
        self._lag = Gauge(
            "tradewind_delivery_lag", "Events that the last endpoint is behind, by its breaker", ("service", "breaker"),
            registry=app.registry,
        )  # fmt: skip
        self._attempts = Counter(
            "tradewind_delivery_attempts", "Requests that have ended", ("service", "outcome"), registry=app.registry
        )
        self._seconds = Histogram(
            "tradewind_delivery_attempt_seconds", "Duration of a request", ("service",), registry=app.registry,
            buckets=SECONDS,
        ).labels(SERVICE)  # fmt: skip
        for outcome in get_args(Outcome):
            self._attempts.labels(SERVICE, outcome)
        self.observe((), 0)

    def attempted(self, outcome: str, seconds: float) -> None:
        self._attempts.labels(SERVICE, outcome).inc()
        self._seconds.observe(seconds)

    def observe(self, lines: Iterable[Line], head: int) -> None:
        """Set the gauges of the endpoints. head: the position of the newest event."""
        waiting = 0
        lags: dict[bool, list[int]] = {False: [], True: []}
        for line in lines:
            waiting += line.lanes.waiting
            lags[line.opened.because is not None].append(head - line.lanes.cursor)
        self.waiting.set(waiting)
        self.breakers_open.set(len(lags[True]))
        for is_open, name in ((False, "closed"), (True, "open")):
            self._lag.labels(SERVICE, name).set(max(lags[is_open], default=0))
