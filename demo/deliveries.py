"""What the receivers of the demo got, compared with what the services published."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from demo.receivers import Noted, Receiver
from devservices.databases import fetch
from system.installation import Installation

STALL_SECONDS: Final = 60.0
"""The demo no longer waits for deliveries after this time without one."""
PAUSE_SECONDS: Final = 0.2
UNSENT: Final = "select count(*) from outbox"
REQUESTS: Final = """
select count(*) filter (where delivered) as delivered, count(*) filter (where requests > 1) as retried from (
  select bool_or(outcome = 'delivered') as delivered, count(*) as requests from attempts
  where endpoint_id = any($1) group by endpoint_id, position) d"""
WAITING: Final = """
select (select count(*) from waiting where endpoint_id = any($1))
  + (select coalesce(sum(h.position - c.position + cardinality(c.open)), 0) from cursors c, feed_head h
     where c.endpoint_id = any($1))"""

Events = Mapping[str, str]
"""`<source>/<id>` of each published event -> its type."""


@dataclass(frozen=True, slots=True)
class Deliveries:
    """Pairs of event and receiver."""

    receivers: int
    delivered: int
    retried: int
    """Those that took more than one request."""
    waiting: int
    """Those that are still to be delivered."""
    unexpected: Sequence[str]
    """Sentences on what the receivers got too little or too much, or in the wrong order."""


async def all_sent(installation: Installation) -> None:
    """Returns when each service has published what it decided, or after `STALL_SECONDS`."""
    dsns = [installation.system.dsn(name) for name in installation.system.names]
    started = time.monotonic()
    while any([(await fetch(dsn, UNSENT))[0][0] for dsn in dsns]) and time.monotonic() - started < STALL_SECONDS:
        await asyncio.sleep(PAUSE_SECONDS)


async def all_delivered(installation: Installation, receivers: Sequence[Receiver], published: Events) -> None:
    """Returns when each receiver has its events and nothing waits, or nothing came for `STALL_SECONDS`."""
    wanted = sum(receiver.wants(event_type) for receiver in receivers for event_type in published.values())
    before, changed_at = -1, time.monotonic()
    while time.monotonic() - changed_at < STALL_SECONDS:
        came = sum(len(receiver.noted.delivery_ids) for receiver in receivers)
        if came >= wanted and not await _waiting(installation, receivers):
            return
        if came != before:
            before, changed_at = came, time.monotonic()
        await asyncio.sleep(PAUSE_SECONDS)


async def deliveries(installation: Installation, receivers: Sequence[Receiver], published: Events) -> Deliveries:
    unexpected: list[str] = []
    for receiver in receivers:
        wanted = {event for event, event_type in published.items() if receiver.wants(event_type)}
        unexpected += [f"{receiver.name}: {fault}" for fault in faults(wanted, receiver.noted)]
    [requests] = await fetch(installation.system.dsn("webhooks"), REQUESTS, _ids(receivers))
    waiting = await _waiting(installation, receivers)
    return Deliveries(len(receivers), requests["delivered"], requests["retried"], waiting, unexpected)


def faults(wanted: Collection[str], noted: Noted) -> list[str]:
    """What is wrong with what a receiver got. wanted: `<source>/<id>` of its events."""
    got = noted.delivery_ids
    missing, others = sorted(set(wanted) - got.keys()), sorted(got.keys() - set(wanted))
    found = [f"{what}: {n:,} times" for what, n in sorted(noted.faults.items())]
    if missing:
        found.append(f"{len(missing):,} of {len(wanted):,} events did not come, as {missing[0]}")
    if others:
        found.append(f"{len(others):,} events came that were not published, or that it does not want, as {others[0]}")
    if shared := len(got) - len(set(got.values())):
        found.append(f"{shared:,} webhook-ids were those of other events")
    return found


async def _waiting(installation: Installation, receivers: Sequence[Receiver]) -> int:
    [row] = await fetch(installation.system.dsn("webhooks"), WAITING, _ids(receivers))
    return int(row[0])


def _ids(receivers: Sequence[Receiver]) -> list[object]:
    return [receiver.endpoint_id for receiver in receivers]
