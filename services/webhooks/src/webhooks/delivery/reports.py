"""What deliveries change of an endpoint itself: it fails, is back, has exhausted deliveries, is given up."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, Literal

import structlog

from chassis.batch.errors import is_transient
from chassis.declare.app import App, Principal
from contracts.ids import derived
from webhooks.delivery.line import Line
from webhooks.domain.endpoint import Exhausted, Failing, GivenUp, Recovered, Report

log = structlog.get_logger("webhooks.reports")

FAILING_AFTER: Final = timedelta(minutes=10)
"""How long the breaker is open before it is reported."""
GIVEN_UP_AFTER: Final = timedelta(days=5)
"""Without a success."""
GIVEN_UP_FAILURES: Final = 20
EXHAUSTED_EVERY: Final = timedelta(hours=1)
RETRY_SECONDS: Final = 1.0
DISPATCHER: Final = Principal("dispatcher", "", frozenset(), kind="system")

What = Failing | Recovered | Exhausted | GivenUp


class Reports:
    """Reports to the aggregate, one after the other, until each is committed. Repeated ones have no effect there."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._pending: asyncio.Queue[Report] = asyncio.Queue()

    async def run(self) -> None:
        while True:
            report = await self._pending.get()
            await self._submit(report)

    async def _submit(self, report: Report) -> None:
        who = replace(DISPATCHER, store_id=report.store_id)
        while True:
            try:
                await self._app.submit(who, report)
                return
            except Exception as error:
                if not is_transient(error):
                    raise
                log.warning("report_delayed", endpoint_id=str(report.endpoint_id), error=repr(error))
                await asyncio.sleep(RETRY_SECONDS)

    def _add(self, line: Line, what: What, cause: str) -> None:
        self._pending.put_nowait(
            Report(
                endpoint_id=line.id,
                store_id=line.store_id,
                operation_id=derived(line.id, f"{what.kind} {cause}"),
                actor=DISPATCHER.actor,
                what=what,
            )
        )

    # -- what is reported when ----------------------------------------------------------------------------------------

    def succeeded(self, line: Line) -> None:
        if (since := line.endpoint.failing_since) is not None:
            self._add(line, Recovered(), since.isoformat())

    def failed(self, line: Line, now: datetime) -> None:
        failing, breaker = line.failing, line.breaker
        if failing.since is None:
            return
        if failing.failures >= GIVEN_UP_FAILURES and now - failing.since >= GIVEN_UP_AFTER:
            self._give_up(line, "failing")
        elif (
            line.endpoint.failing_since is None
            and breaker.opened_at is not None
            and now - breaker.opened_at >= FAILING_AFTER
        ):
            what = Failing(since=failing.since, failures=failing.failures, last=failing.last)
            self._add(line, what, failing.since.isoformat())

    def gone(self, line: Line) -> None:
        """The receiver has answered that it never wants anything again."""
        self._give_up(line, "gone")

    def _give_up(self, line: Line, because: Literal["gone", "failing"]) -> None:
        line.given_up = True
        self._add(line, GivenUp(because=because), f"{line.place.revision}")

    def exhausted(self, line: Line, event_id: str, event_type: str, now: datetime) -> None:
        line.exhausted += 1
        if now - line.exhausted_at < EXHAUSTED_EVERY:
            return
        what = Exhausted(count=line.exhausted, event_id=event_id, event_type=event_type, last=line.failing.last)
        self._add(line, what, now.isoformat())
        line.exhausted, line.exhausted_at = 0, now
