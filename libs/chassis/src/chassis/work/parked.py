"""Rows of `parked` and what a person may do with those that wait: edit the body, or discard."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from asyncpg import Connection

COLUMNS = (
    'id, key, store_id, type, topic, partition, "offset", record_key, headers::text as headers, value, value_bytes, cause,'
    " detail, raised_at, stack, state, version, edited_from, parked_at, settled_by, settled_at, reason"
)
UNREAD: frozenset[str] = frozenset({"batch_unreadable", "batch_too_large", "records_missing", "not_ours"})
"""Causes of what is no message: there is nothing to replay or to edit."""


class Outdated(Exception):
    """The message has another version than those that a request names."""

    def __init__(self, version: int) -> None:
        super().__init__(f"the present version is {version}")
        self.version = version


async def hold(tx: Connection, parked_id: int, versions: Container[int] | None = None) -> Any:
    """Lock a message that waits, after its key, as every writer does. Answers its row, None if it does not wait.

    versions: raises Outdated if the message, waiting or settled, has another one.
    """
    key = await tx.fetchval("select key from parked where id = $1", parked_id)
    if key is not None:
        await tx.execute("select 1 from parked_keys where key = $1 for update", key)
    row = await tx.fetchrow(f"select {COLUMNS} from parked where id = $1 for update", parked_id)
    if row is None:
        return None
    if versions is not None and row["version"] not in versions:
        raise Outdated(row["version"])
    return row if row["state"] == "waiting" else None


async def edit(tx: Connection, row: Any, by: str, value: bytes) -> None:
    """Replace the body of a row that is held, at its place in the queue.

    The edited row keeps its id, which is its place; the original bytes go into a row of their own that is settled.
    """
    parked_id = row["id"]
    # The original takes the record's place (topic, partition, offset): a redelivery of the record is a duplicate.
    await tx.execute("update parked set version = version + 1, edited_from = id where id = $1", parked_id)
    original = await tx.fetchval(
        'insert into parked (key, store_id, type, topic, partition, "offset", record_key, headers, value, value_bytes,'
        " fingerprint, cause, detail, raised_at, stack, state, settled_by, settled_at, edited_from, parked_at)"
        ' select key, store_id, type, topic, partition, "offset", record_key, headers, value, value_bytes, fingerprint, cause, detail, raised_at, stack, '
        "'edited', $2, now(), $3, parked_at from parked where id = $1 returning id",
        parked_id,
        by,
        row["edited_from"],
    )
    await tx.execute(
        "update parked set version = version + 1, value = $2, value_bytes = null, edited_from = $3, cause = 'edited', detail = $4 where id = $1",
        parked_id,
        value,
        original,
        f"edited by {by}; the original bytes are in {original}",
    )


FILTERS: Mapping[str, str] = {
    "store_id": "store_id = ${}", "key": "key = ${}", "cause": "cause = ${}", "raised_at": "coalesce(raised_at, '') = ${}",
    "id_max": "id <= ${}",
}  # fmt: skip


def listed(state: str, filters: Mapping[str, Any], id_below: int, rows: int) -> tuple[str, Sequence[Any]]:
    """Returns the query of a list, the newest first, and its values. state: one of the closed set. filters: by the names of FILTERS;
    None: any.

    A filter that is not given is no condition: the plan that PostgreSQL caches for the query can use the index of the others.
    """
    given = {name: value for name, value in filters.items() if value is not None}
    conditions = [f"state = '{state}'", "id < $1", *(FILTERS[name].format(n) for n, name in enumerate(given, 3))]
    return (
        'select id, key, store_id, type, topic, partition, "offset", cause, detail, raised_at, state, version, parked_at, edited_from,'
        f" settled_by, settled_at, reason from parked where {' and '.join(conditions)} order by id desc limit $2",
        [id_below, rows, *given.values()],
    )


REPLAY_MAX = 100
"""Messages that one request replays: each is a transaction, or more."""
BEHIND = "select count(*) from parked where state = 'waiting' and key = $1 and id > $2"
KEYS = """
select k.key, k.since from parked_keys as k where ($2::uuid is null or k.key > $2)
  and ($1::text is null or exists (select from parked p where p.key = k.key and p.state = 'waiting' and p.store_id = $1))
order by k.key limit $3"""
DISCARD_MAX = 1_000
"""Messages that one request discards."""

CHOSEN = """
select id, key from parked where state = 'waiting' and ($1::bigint[] is null or id = any($1)) and ($2::uuid is null or key = $2)
  and ($3::text is null or cause = $3) and ($4::text is null or store_id = $4) order by id limit $5"""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Waiting messages: those that fit all that is given."""

    ids: Sequence[int] | None = None
    key: UUID | None = None
    cause: str | None = None
    store_id: str | None = None
    """None: of every store, and those whose store could not be read."""


async def discard(tx: Connection, chosen: Chosen, by: str, reason: str) -> list[tuple[int, UUID | None]]:
    """Discard up to DISCARD_MAX messages, the oldest first; (id, key) of each. Orders with nothing left to wait for go on;
    those with more are retried at once."""
    rows = await tx.fetch(CHOSEN, chosen.ids, chosen.key, chosen.cause, chosen.store_id, DISCARD_MAX)
    keys = sorted({row["key"] for row in rows if row["key"] is not None})
    await tx.execute("select 1 from parked_keys where key = any($1::uuid[]) order by key for update", keys)
    done = await tx.fetch(
        "update parked set version = version + 1, state = 'discarded', settled_by = $2, settled_at = now(), reason = $3"
        " where id = any($1::bigint[]) and state = 'waiting' returning id, key",
        [row["id"] for row in rows],
        by,
        reason,
    )
    await tx.execute(
        "delete from parked_keys k where key = any($1::uuid[])"
        " and not exists (select from parked p where p.key = k.key and p.state = 'waiting')",
        keys,
    )
    await tx.execute("update parked_keys set retries = 1, retry_at = now() where key = any($1::uuid[])", keys)
    return sorted((row["id"], row["key"]) for row in done)


async def unpark_if_empty(tx: Connection, key: UUID) -> int:
    """How many still wait under the key; when none, the order goes on. The caller holds the key's row."""
    left: int = await tx.fetchval("select count(*) from parked where key = $1 and state = 'waiting'", key)
    if left == 0:
        await tx.execute("delete from parked_keys where key = $1", key)
    return left
