"""Logs and metrics: structlog JSON on stdout, Prometheus at /metrics. Never a `Personal` field in either."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


def configure_logging(service: str, level: str) -> None:
    """One JSON object per line; other libraries' records come the same way."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for noisy in ("aiokafka", "faststream"):
        logging.getLogger(noisy).addFilter(_Sparse())
    structlog.contextvars.bind_contextvars(service=service)


class _Sparse(logging.Filter):
    """A client that cannot reach its broker writes 65 lines a second: keep one of a kind per ten seconds."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        now = time.monotonic()
        if now - self._last.get(record.msg, -60) < 10:
            return False
        if len(self._last) > 500:
            self._last.clear()
        self._last[record.msg] = now
        return True


class Metrics:
    """The series that operations.md lists. One registry per process."""

    def __init__(self, service: str) -> None:
        self.registry = CollectorRegistry()
        label = {"labelnames": ("service",), "registry": self.registry}

        def counter(name: str, text: str) -> Counter:
            return Counter(f"tradewind_{name}", text, **label).labels(service)  # type: ignore[arg-type]

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"tradewind_{name}", text, **label).labels(service)  # type: ignore[arg-type]

        self.handled = counter("messages_handled", "Messages decided on and committed")
        self.duplicates = counter("duplicates_removed", "Deliveries that the inbox refused")
        self.ignored = counter("events_ignored", "Events of unknown types on others' topics")
        self.parked = counter("messages_parked", "Messages parked with a cause")
        self.batches_unreadable = counter(
            "batches_unreadable", "Record batches that could not be read, and were parked"
        )
        self.records_missing = counter("records_missing", "Offsets that the broker deleted before they were read")
        self.relayed = counter("rows_relayed", "Outbox rows acknowledged by the broker")
        self.outbox_rows = gauge("outbox_rows", "Rows not yet published")
        self.outbox_age = gauge("outbox_age_seconds", "Age of the oldest row not yet published")
        self.set_aside = gauge("outbox_set_aside", "Rows that the broker refuses for themselves")
        self.parked_waiting = gauge("parked_waiting", "Parked messages that wait")
        self.parked_keys = gauge("parked_keys", "Orders that wait behind a parked message")
        self.timers_overdue = gauge("timers_overdue", "Timers more than ten seconds late")
        self.tasks_open = gauge("tasks_open", "Tasks not yet reported")
        self.lag = gauge("consumer_lag", "Records not yet handled, over all partitions of this member")
        self.lag_age = gauge("consumer_lag_age_seconds", "Age of the oldest record not yet handled")
        self.clock_skew = gauge("clock_skew_seconds", "This host's clock minus the database's")
        self.intake_paused = gauge("intake_paused", "1 while intake topics are paused")
        self.rows = Histogram(
            "tradewind_batch_messages", "Messages per transaction", ("service",), registry=self.registry,
            buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000),
        ).labels(service)  # fmt: skip
        self.seconds = Histogram(
            "tradewind_batch_seconds", "Duration of a transaction", ("service",), registry=self.registry,
            buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
        ).labels(service)  # fmt: skip
        by = {"labelnames": ("service", "step", "waiting"), "registry": self.registry}
        self._service = service
        self._under_way = Gauge("tradewind_processes", "What is under way, by step and what it waits for", **by)  # type: ignore[arg-type]
        self._age = Gauge("tradewind_process_age_seconds", "Age of the oldest of them", **by)  # type: ignore[arg-type]
        self.own = frozenset(family.name for family in self.registry.collect())
        """The names of these series; the registry also has those of the service itself."""

    def under_way(self, rows: Iterable[Any]) -> None:
        """Replace the series of the last call. rows: (step, waiting, count, age of the oldest in seconds)."""
        self._under_way.clear()
        self._age.clear()
        for step, waiting, count, age in rows:
            self._under_way.labels(self._service, step, waiting).set(count)
            self._age.labels(self._service, step, waiting).set(age)

    def batch(self, statuses: Sequence[str], rows: int, seconds: float) -> None:
        duplicates = parked = 0
        for status in statuses:
            duplicates += status == "duplicate"
            parked += status in ("parked", "queued")
        if duplicates:
            self.duplicates.inc(duplicates)
        if parked:
            self.parked.inc(parked)
        self.handled.inc(len(statuses) - duplicates - parked)
        self.rows.observe(len(statuses))
        self.seconds.observe(seconds)
