"""The channels `tail:<filters>`: messages as they come onto the topics, read once for all who watch any.

The filters are a query string: `topic`, `order`, `type`, `text`, and a `store` for each whose messages are shown; without one those
of all stores are. A position is a cursor: an offset of each partition that its page has read.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final, Protocol
from urllib.parse import parse_qs, urlencode
from uuid import UUID

from chassis.kafka.inspection import partitions_of
from console.domain.people import Person, Stores
from console.live.hub import POLL_SECONDS, Audience
from console.sought import Record, Sought
from console.tailing import Place, Positions, Tail, cursor_of, noted, partitions
from contracts.registry import TOPICS

NAME: Final = "tail"
SCOPE: Final = "events.view"
BEHIND_MAX: Final = 5_000
"""Messages that are read at once. If more wait, all of them are skipped."""
ROWS_MAX: Final = 100
"""Rows that are sent at once: the newest."""
PARTS: Final = partitions_of(TOPICS)
FILTERS: Final = frozenset({"topic", "order", "type", "text"})


class Shown(Protocol):
    """How a page shows messages, in HTML."""

    async def rows(self, records: Sequence[Record], sought: Sought) -> str:
        """Returns a row of each record."""

    def skipped(self, count: int) -> Mapping[str, str]:
        """Returns the cells of a tail of which messages were skipped."""


def channel_of(sought: Sought) -> str:
    filters = {"topic": sought.topic, "order": sought.order, "type": sought.type, "text": sought.text}
    named = {name: value for name, value in filters.items() if value}
    return f"{NAME}:{urlencode(named | {'store': sorted(sought.stores or ())}, doseq=True)}"


@lru_cache(maxsize=1_000)
def sought_of(channel: str) -> Sought | None:
    """Returns what is watched on a channel; None: it is none of ours."""
    kind, _, filters = channel.partition(":")
    values = parse_qs(filters)
    stores = frozenset(values.pop("store", ())) or None
    if kind != NAME or not values.keys() <= FILTERS or any(len(given) > 1 for given in values.values()):
        return None
    topic, order, type, text = (values.get(name, [""])[0] for name in ("topic", "order", "type", "text"))
    if topic and topic not in TOPICS:
        return None
    try:
        return Sought(stores, topic, UUID(order) if order else None, type, text)
    except ValueError:
        return None


class TailSource:
    name = NAME

    def __init__(self, tail: Tail, shown: Shown) -> None:
        self._tail, self._shown = tail, shown

    async def admitted(self, person: Person, channels: Collection[str]) -> Collection[str]:
        mine = person.stores_with(SCOPE)
        return [one for one in channels if (sought := sought_of(one)) is not None and _within(sought.stores, mine)]

    async def run(self, audience: Audience) -> None:
        at = await self._tail.ends(PARTS)
        while True:
            for newcomer in audience.newcomers():
                await self._publish(newcomer, begin(newcomer.positions, at), at)
                newcomer.reached(cursor_of(Place("on", at)))
            now = await self._tail.ends(PARTS)
            if now != at:
                await self._publish(audience, at, now)
                audience.reached(cursor_of(Place("on", now)))
            at = now
            await asyncio.sleep(POLL_SECONDS)

    async def _publish(self, audience: Audience, since: Positions, until: Positions) -> None:
        """Publishes what was appended between two positions."""
        watched = {channel: sought for channel in audience.channels if (sought := sought_of(channel)) is not None}
        parts = {part for sought in watched.values() for part in partitions(sought) if since[part] < until[part]}
        waiting = sum(until[part] - since[part] for part in parts)
        if waiting > BEHIND_MAX:
            for channel in watched:
                audience.publish(channel, {"cells": self._shown.skipped(waiting), "refresh": True})
            return
        found: defaultdict[str, list[Record]] = defaultdict(list)
        async for record in self._tail.between({part: since[part] for part in parts}, until):
            for channel, sought in watched.items():
                if sought.fits(record):
                    found[channel].append(record)
        for channel, records in found.items():
            skipped = len(records) - ROWS_MAX
            cells = {"cells": self._shown.skipped(skipped)} if skipped > 0 else {}
            rows = await self._shown.rows(records[-ROWS_MAX:], watched[channel])
            audience.publish(channel, {"rows": rows, **cells})


def begin(positions: Iterable[str], now: Positions) -> Positions:
    """Returns where the oldest of some positions is, of each partition; `now` for one that none of them names."""
    found = [place.positions for one in positions if (place := noted(one)) is not None]
    return {part: min((one[part] for one in found if part in one), default=at) for part, at in now.items()}


def _within(stores: Stores, others: Stores) -> bool:
    return others is None or (stores is not None and stores <= others)
