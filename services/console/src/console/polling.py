"""Every two seconds: what every process has under way and how far the groups are, recorded for the pages.

One process of a deployment polls, under a lease; another takes over within seconds. Without a broker, or without an answer of a
service, that part is missing from the round, and the plots have a gap.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, cast
from uuid import uuid4

import aiohttp
import structlog

from chassis.declare.app import App
from chassis.kafka.inspection import BrokerSilent, Inspector, partitions_of
from chassis.work.loops import delayed
from console import freshness, recording, reporting, throughput
from console.domain.offsets import Positions, flows, topic_rates, with_newest
from console.domain.operations import values_of
from console.domain.series import HOUR, MINUTE, POLL, Point, Step, downsampled, one_of_many
from console.owners import Owners
from console.parked_orders import ParkedOrders
from console.settings import Settings
from contracts.registry import SERVICES, TOPICS

log = structlog.get_logger("console.polling")

KEEP_SECONDS: Final = 10
"""Between two writes of values: a row of them is written again with each."""
BROKER_SECONDS_MAX: Final = 4.0


class Poller:
    def __init__(self, app: App, session: aiohttp.ClientSession, owners: Owners) -> None:
        self._app, self._session = app, session
        self._owners = cast(Settings, app.settings).owners
        self._parked_orders = ParkedOrders(app, owners)
        self._inspector = Inspector(app.settings)
        self._history: list[Positions] = []
        self._points: list[Point] = []
        self._kept_at = float("-inf")
        self._counted_to: datetime | None = None
        self._rolled_to: dict[Step, datetime] = {}
        self._pruned_at = float("-inf")

    async def close(self) -> None:
        await self._inspector.close()

    async def round(self, at: datetime) -> None:
        """Reads everything once. Raises a transient error of the database."""
        reports, history = await asyncio.gather(reporting.ask_all(self._session, self._owners), self._positions())
        found, rates = (flows(history), topic_rates(history)) if history else ({}, {})
        await recording.report(self._app, reports, at)
        await self._parked_orders.round(reports, at)
        if history:
            await recording.flowed(self._app, found, rates, at)
        values = values_of(reports, found, rates)
        self._points += [Point(series, POLL, POLL.floor(at), value) for series, value in values.items()]
        if time.monotonic() - self._kept_at >= KEEP_SECONDS:
            await self.keep(at)

    async def keep(self, at: datetime) -> None:
        """Writes the values since the last time, and makes those of whole minutes and hours of them."""
        kept, self._points = self._points, []
        await recording.keep(self._app, kept)
        await self._count_orders()
        await self._roll_up(POLL, MINUTE, at)
        await self._roll_up(MINUTE, HOUR, at)
        if time.monotonic() - self._pruned_at >= MINUTE.row_seconds:
            await recording.prune(self._app)
            self._pruned_at = time.monotonic()
        self._kept_at = time.monotonic()

    async def _positions(self) -> list[Positions]:
        """Returns the positions within the last seconds, the newest last; nothing if the broker does not answer now."""
        try:
            async with asyncio.timeout(BROKER_SECONDS_MAX):
                ends, *committed = await asyncio.gather(
                    self._inspector.ends(partitions_of(TOPICS)),
                    *(self._inspector.committed(group) for group in GROUPS),
                )
        except (BrokerSilent, TimeoutError) as error:
            log.info("broker_silent", error=repr(error))
            self._history = []
            return []
        newest = Positions(
            datetime.now(UTC),
            _by_topic(ends),
            {group: _by_topic(one) for group, one in zip(GROUPS, committed, strict=True) if one},
        )
        self._history = with_newest(self._history, newest)
        return self._history

    async def _count_orders(self) -> None:
        current_to, _ = await freshness.current_to(self._app)
        if current_to is None:
            return
        begins_at, ends_at = throughput.whole_minutes(self._counted_to, current_to)
        if begins_at < ends_at:
            await recording.keep(self._app, await throughput.points(self._app, begins_at, ends_at))
        self._counted_to = ends_at

    async def _roll_up(self, finer: Step, coarser: Step, at: datetime) -> None:
        """Makes one value of all in each span that has ended since the last time, the one before it included: orders are counted late."""
        ends_at = coarser.floor(at)
        if self._rolled_to.get(coarser) == ends_at:
            return
        span = timedelta(seconds=coarser.seconds)
        count = coarser.seconds // finer.seconds
        points: list[Point] = []
        for begins_at in (ends_at - 2 * span, ends_at - span):
            names = await recording.names(self._app, finer, begins_at, begins_at + span)
            found = await recording.values(self._app, names, finer, begins_at, count)
            for series, values in found.items():
                [value] = downsampled(values, 1, one_of_many(series))
                if value is not None:
                    points.append(Point(series, coarser, begins_at, value))
        await recording.keep(self._app, points)
        self._rolled_to[coarser] = ends_at


GROUPS: Final = (*SERVICES, "console")


def _by_topic(offsets: Mapping[tuple[str, int], int]) -> dict[str, dict[int, int]]:
    found: dict[str, dict[int, int]] = {}
    for (topic, partition), offset in offsets.items():
        found.setdefault(topic, {})[partition] = offset
    return found


def loops(app: App) -> Mapping[str, Callable[[], Awaitable[None]]]:
    async def poll() -> None:
        holder, owners = uuid4(), Owners(cast(Settings, app.settings))
        async with aiohttp.ClientSession() as session, owners.running():
            poller: Poller | None = None
            try:
                while True:
                    begun = time.monotonic()
                    with delayed("operations"):
                        if await recording.leased(app, holder):
                            poller = poller or Poller(app, session, owners)
                            await poller.round(datetime.now(UTC))
                        elif poller is not None:
                            await poller.close()
                            poller = None
                    await asyncio.sleep(max(POLL.seconds - (time.monotonic() - begun), 0.1))
            finally:
                if poller is not None:
                    await poller.close()
                with delayed("operations"):
                    await recording.released(app, holder)

    return {"operations": poll}
