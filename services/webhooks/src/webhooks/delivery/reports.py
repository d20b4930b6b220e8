"""What deliveries change of an endpoint itself: it fails, is back, has exhausted deliveries, is given up."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import replace
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

import structlog

from chassis.batch.errors import is_transient
from chassis.declare.app import App, Principal
from contracts.ids import derived
from webhooks.delivery.line import Line
from webhooks.domain.endpoint import Exhausted, Failing, GivenUp, Recovered, Report
from webhooks.domain.notices import Exhaustions, verdict

log = structlog.get_logger("webhooks.reports")

RETRY_SECONDS: Final = 1.0
DISPATCHER: Final = Principal("dispatcher", "", frozenset(), kind="system")

What = Failing | Recovered | Exhausted | GivenUp


class Reports:
    """Reports to the aggregate, one after the other, until each is committed. Repeated ones have no effect there."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._pending: asyncio.Queue[Report] = asyncio.Queue()
        self._exhaustions: defaultdict[tuple[UUID, str], Exhaustions] = defaultdict(Exhaustions)
        """By endpoint and store, for the hour of a notice."""

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

    def _add(self, endpoint_id: UUID, store_id: str, what: What, cause: str) -> None:
        self._pending.put_nowait(
            Report(
                endpoint_id=endpoint_id,
                store_id=store_id,
                operation_id=derived(endpoint_id, f"{what.kind} {cause}"),
                actor=DISPATCHER.actor,
                what=what,
            )
        )

    # -- what is reported when: nothing of a `notify_url`, because a notice about notices would go the same way -------

    def succeeded(self, line: Line) -> None:
        if line.is_of_notices or line.opened.since is not None:
            return
        if (since := line.endpoint.failing_since) is not None:
            self._add(line.id, line.store_id, Recovered(), since.isoformat())

    def failed(self, line: Line, now: datetime) -> None:
        failing, opened_at = line.failing, line.opened.since
        if failing.since is None or line.is_of_notices:
            return
        found = verdict(failing.since, failing.failures, opened_at, now, pauses=line.pauses(now))
        if found == "given_up":
            self._give_up(line, "failing")
        elif found == "failing" and line.endpoint.failing_since is None:
            since = failing.since if opened_at is None else min(failing.since, opened_at)
            what = Failing(since=since, failures=failing.failures, last=failing.last)
            self._add(line.id, line.store_id, what, since.isoformat())

    def gone(self, line: Line) -> None:
        """The receiver has answered that it never wants anything again."""
        self._give_up(line, "gone")

    def _give_up(self, line: Line, because: Literal["gone", "failing"]) -> None:
        line.given_up = True
        if not line.is_of_notices:
            self._add(line.id, line.store_id, GivenUp(because=because), f"{line.place.revision}")

    def exhausted(self, line: Line, count: int, event_id: str, event_type: str, last: str, now: datetime) -> None:
        """event_id, event_type: of the latest."""
        if not line.is_of_notices:
            self._exhaustions[line.id, line.store_id].add(count, event_id, event_type, last)
            self.due(now)

    def due(self, now: datetime) -> None:
        """Report the exhausted deliveries whose time has come."""
        for (endpoint_id, store_id), exhaustions in list(self._exhaustions.items()):
            if (what := exhaustions.notice(now)) is not None:
                self._add(endpoint_id, store_id, what, now.isoformat())
            elif exhaustions.is_over(now):
                del self._exhaustions[endpoint_id, store_id]
