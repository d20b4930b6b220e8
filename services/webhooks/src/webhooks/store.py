"""SQL of endpoints: their places in the feed, those of their notices, and how many a store has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

from asyncpg import Connection

from chassis.declare.service import Change
from chassis.declare.sql import Piece, Rows, columns
from webhooks.domain.endpoint import Endpoint, StoreKey, notices_id, shard_of

# Read in the statement that creates the endpoint: an event with a greater position commits later.
BEGUN: Final = Piece(
    """
cursors_begun as (
  insert into cursors (endpoint_id, store_id, shard, notices_of, position)
  select u.endpoint_id, u.store_id, u.shard, u.notices_of, feed_head.position
  from unnest({0}::uuid[], {1}::text[], {2}::int2[], {3}::uuid[]) as u(endpoint_id, store_id, shard, notices_of), feed_head)""",
    4,
)
MOVED: Final = Piece(
    """
cursors_moved as (
  update cursors c set position = u.position, open = '{{}}', batches = '[]', moves = u.moves, failing_since = null, failed_in_a_row = 0,
    breaker_because = null, breaker_since = null
  from unnest({0}::uuid[], {1}::bigint[], {2}::int[]) as u(endpoint_id, position, moves) where c.endpoint_id = u.endpoint_id),
waiting_moved as (delete from waiting w using unnest({0}::uuid[]) as u(endpoint_id) where w.endpoint_id = u.endpoint_id)""",
    3,
)
RESUMED: Final = Piece(
    """
cursors_resumed as (
  update cursors c set failing_since = null, failed_in_a_row = 0, breaker_because = null, breaker_since = null
  from unnest({0}::uuid[]) as u(endpoint_id) where c.endpoint_id = u.endpoint_id)""",
    1,
)
ENDED: Final = Piece(
    """
cursors_ended as (delete from cursors c using unnest({0}::uuid[]) as u(endpoint_id) where c.endpoint_id = u.endpoint_id),
waiting_ended as (delete from waiting w using unnest({0}::uuid[]) as u(endpoint_id) where w.endpoint_id = u.endpoint_id)""",
    1,
)


def rows(changes: Sequence[Change[Endpoint]]) -> Sequence[Rows]:
    """What became of their places. A row is written by one expression at most, as PostgreSQL demands of a statement."""
    begun = list[tuple[UUID, str, int, UUID | None]]()
    moved, resumed, ended = [], [], []
    for change in changes:
        before, after = change.before, change.after
        if after.status == "removed":
            ended.append((change.key,))
        elif before.created_at is None:
            begun.append((change.key, change.store_id, shard_of(change.key), None))
        elif after.moves != before.moves:
            moved.append((change.key, after.moved_to, after.moves))
        elif after.status == "enabled" and before.status != "enabled":
            resumed.append((change.key,))
        notices = notices_id(change.key)
        if after.config.notify_url is not None and before.config.notify_url is None:
            begun.append((notices, change.store_id, shard_of(notices), change.key))
        elif after.config.notify_url is None and before.config.notify_url is not None:
            ended.append((notices,))
    found = ((BEGUN, begun), (MOVED, moved), (RESUMED, resumed), (ENDED, ended))
    return [Rows(piece, columns(some, piece.parameters)) for piece, some in found if some or not changes]


# Whoever creates an endpoint of the store waits here, and counts what the one before has committed.
LOCK_STORES: Final = """
select pg_advisory_xact_lock(hashtextextended('endpoints of ' || store_id, 0))
from (select store_id from unnest($1::text[]) as u(store_id) order by store_id) as sorted"""
COUNT: Final = """
select store_id, count(*) as endpoints from endpoints where store_id = any($1::text[]) and status <> 'removed' group by store_id"""


async def load_counts(tx: Connection, keys: Sequence[StoreKey]) -> Mapping[StoreKey, int]:
    stores = [key.store_id for key in keys]
    await tx.fetch(LOCK_STORES, stores)
    return {StoreKey(row["store_id"]): row["endpoints"] for row in await tx.fetch(COUNT, stores)}
