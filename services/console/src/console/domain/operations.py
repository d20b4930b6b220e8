"""What the reports of all processes and the offsets show: figures of now, and the values that are stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from console.domain.offsets import Flow, together

SILENT_AFTER: Final = timedelta(seconds=10)
"""A process that was asked for that long without an answer is shown as silent, and has no figures."""


@dataclass(frozen=True, slots=True)
class Report:
    """What one process answered last to `GET /v1/operations`."""

    service: str
    address: str
    asked_at: datetime
    answered_at: datetime | None
    """Null: never since it was found."""
    why: str
    """What was wrong with its last answer; empty: nothing."""
    body: Mapping[str, Any]
    """As it was answered; empty without an answer."""

    @property
    def is_silent(self) -> bool:
        return self.answered_at is None or self.asked_at - self.answered_at > SILENT_AFTER


class UnderWay(NamedTuple):
    service: str
    step: str
    waiting: str
    number: int
    oldest_since: datetime


@dataclass(frozen=True, slots=True)
class Backlog:
    """Something that should be empty, over all services."""

    count: int = 0
    oldest_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Now:
    """The figures of the processes that answer."""

    processes: Sequence[UnderWay]
    """Oldest first."""
    outbox: Backlog
    set_aside: int
    parked: Backlog
    """Its count: messages."""
    parked_keys: int
    """Orders that wait behind a parked message."""
    tasks_open: int
    timers_overdue: int
    endpoints_failing: int
    deliveries_waiting: int
    silent: Sequence[Report]


def now_of(reports: Sequence[Report]) -> Now:
    services = of_services(reports)
    bodies = [report.body for report in services.values()]
    hooks = [report.body.get("gauges", {}) for report in _distinct(reports) if report.service == "webhooks"]
    return Now(
        processes=sorted(
            (one for service, report in services.items() for one in _under_way(service, report.body)),
            key=lambda one: one.oldest_since,
        ),
        outbox=Backlog(sum(body["outbox"]["rows"] for body in bodies), _oldest(body["outbox"] for body in bodies)),
        set_aside=sum(body["outbox"]["set_aside"] for body in bodies),
        parked=Backlog(sum(body["parked"]["waiting"] for body in bodies), _oldest(body["parked"] for body in bodies)),
        parked_keys=sum(body["parked"]["keys"] for body in bodies),
        tasks_open=sum(body["tasks_open"] for body in bodies),
        timers_overdue=sum(body["timers_overdue"] for body in bodies),
        endpoints_failing=int(sum(gauges.get("breakers_open", 0) for gauges in hooks)),
        deliveries_waiting=int(sum(gauges.get("deliveries_waiting", 0) for gauges in hooks)),
        silent=[report for report in reports if report.is_silent],
    )  # fmt: skip


def of_services(reports: Iterable[Report]) -> dict[str, Report]:
    """Returns the newest report of each service: what waits in its database, each of its processes states alike."""
    found: dict[str, Report] = {}
    for report in _distinct(reports):
        if report.service not in found or report.body["at"] > found[report.service].body["at"]:
            found[report.service] = report
    return found


def values_of(
    reports: Sequence[Report], flows: Mapping[str, Mapping[str, Flow]], topics: Mapping[str, float | None]
) -> dict[str, float]:
    """Returns the values that are stored, by the name of their series; of a service that is silent there is none."""
    found: dict[str, float] = {}
    for service, report in of_services(reports).items():
        body = report.body
        found |= {
            f"outbox.{service}": body["outbox"]["rows"],
            f"parked.{service}": body["parked"]["waiting"],
            f"tasks.{service}": body["tasks_open"],
            f"processes.{service}": sum(one.number for one in _under_way(service, body)),
        }
    found |= {f"lag.{group}": together(list(by_topic.values())).lag for group, by_topic in flows.items()}
    return found | {f"topic.{topic}": rate for topic, rate in topics.items() if rate is not None}


def _distinct(reports: Iterable[Report]) -> list[Report]:
    """Processes that answer, each once: two addresses may be those of one."""
    found = {report.body["process"]: report for report in reports if not report.is_silent}
    return list(found.values())


def _under_way(service: str, body: Mapping[str, Any]) -> list[UnderWay]:
    return [
        UnderWay(service, one["step"], one["waiting"], one["count"], datetime.fromisoformat(one["oldest_since"]))
        for one in body["processes"]["items"]
    ]


def _oldest(backlogs: Iterable[Mapping[str, Any]]) -> datetime | None:
    return min(
        (datetime.fromisoformat(one["oldest_since"]) for one in backlogs if one["oldest_since"] is not None),
        default=None,
    )
