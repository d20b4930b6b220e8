"""The feed: every event of every service, in one order without gaps.

A batch draws its positions from the one row of `feed_head`, in its last statement. The row stays locked until the commit, so
positions grow in the order of the commits: a reader that has seen a position has seen every one before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from asyncpg import Connection

from chassis.declare.service import Listener
from chassis.declare.sql import Piece, Rows, columns
from contracts import orders
from contracts.base import Event
from contracts.envelope import Received, Unknown
from contracts.registry import TOPICS

EVENTS: Final = frozenset(topic.name for topic in TOPICS.values() if not topic.addressed)
VERSION_MAX: Final = 2**31 - 1


class Facts(NamedTuple):
    """What only `orders.received` states of an order."""

    order_id: UUID
    store_id: str
    channel: str
    account: str
    market: str


class FeedRow(NamedTuple):
    """In the order of the columns that `APPENDED` names."""

    event_id: str
    source: str
    type: str
    store_id: str
    key: UUID
    version: int | None
    time: datetime
    correlation_id: str
    body: str


class Entry(NamedTuple):
    row: FeedRow
    facts: Facts | None


def fold(event: Received) -> Entry:
    row = FeedRow(
        event.ce_id, event.source, event.type, event.store_id, event.key, _version(event), event.time,
        event.correlation_id, event.value.decode(),
    )  # fmt: skip
    return Entry(row, _facts(event.body) if isinstance(event.body, orders.Received) else None)


def _version(event: Received) -> int | None:
    if isinstance(event.body, Event):
        return event.body.version
    stated = event.body.fields.get("version") if isinstance(event.body, Unknown) else None
    return stated if type(stated) is int and 0 <= stated <= VERSION_MAX else None


def _facts(event: orders.Received) -> Facts:
    return Facts(event.order_id, event.store_id, event.source.channel, event.source.account, event.market.code)


# `at` is read once the head is locked, so it grows with the position, except for steps of the clock.
APPENDED: Final = Piece(
    """
head as (
  update feed_head set position = position + cardinality({0}::text[]) where one and cardinality({0}::text[]) > 0
  returning position - cardinality({0}::text[]) as before, clock_timestamp() as at),
appended as (
  insert into feed (position, event_id, source, type, store_id, key, version, time, correlation_id, body, at)
  select head.before + u.n, event_id, source, type, store_id, key, version, time, correlation_id, body, head.at
  from head, unnest({0}::text[], {1}::text[], {2}::text[], {3}::text[], {4}::uuid[], {5}::int[], {6}::timestamptz[],
    {7}::text[], {8}::text[]) with ordinality
    as u(event_id, source, type, store_id, key, version, time, correlation_id, body, n))""",
    9,
)
STATED: Final = Piece(
    """
stated as (
  insert into order_facts (order_id, store_id, channel, account, market)
  select * from unnest({0}::uuid[], {1}::text[], {2}::text[], {3}::text[], {4}::text[]) on conflict (order_id) do nothing)""",
    5,
)


def write(entries: Sequence[Entry]) -> Sequence[Rows]:
    facts = [one.facts for one in entries if one.facts is not None]
    appended = Rows(APPENDED, columns([one.row for one in entries], len(FeedRow._fields)))
    return [appended, Rows(STATED, columns(facts, len(Facts._fields)))] if facts or not entries else [appended]


# The time in milliseconds: an epoch that a restored database no longer has is not given again.
BEGUN: Final = """
with raised as (
  update feed_head set certificate = $1,
    epoch = greatest(epoch + 1, (extract(epoch from clock_timestamp()) * 1000)::bigint)
  where one and certificate <> $1 returning epoch, position)
insert into feed_epochs (epoch, position) select epoch, position from raised"""


async def begin(tx: Connection, certificate: str) -> None:
    """Begin an epoch if the data may have been replaced since the last one."""
    await tx.execute(BEGUN, certificate)


FEED: Final = Listener(topics=EVENTS, fold=fold, write=write, begin=begin)
