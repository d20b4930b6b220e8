"""What is refused, and how it comes back. A message refused before or in decide becomes a row of `parked`.

If its record key is an order id, that order's later records and timers queue behind it (`parked_keys`); every other
order goes on. A parked order retries itself a few times, then waits for a person: replay, edit-and-replay, discard.
Consumer and replay lock the same row of `parked_keys`, so neither strands what the other leaves.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg
import orjson
import structlog
from asyncpg import Connection

from chassis.batch.database import Database, is_transient, overtaxes
from chassis.batch.inbound import (
    HEADERS_BYTES_MAX,
    STALE,
    VALUE_BYTES_MAX,
    Inbound,
    Record,
    Rejected,
    headers_from_json,
    judged_by_time,
)
from chassis.batch.unit_of_work import Batch, Explained, Split
from chassis.declare.service import Service
from chassis.process.settings import ServiceSettings
from contracts.envelope import Ignored, Poison, read
from contracts.ids import derived

log = structlog.get_logger("chassis.work.parking")

CHUNK = 100
"""Messages replayed per transaction."""
COLUMNS = (
    'id, key, store_id, type, topic, partition, "offset", record_key, headers::text as headers, value, value_bytes, cause,'
    " detail, state, edited_from, parked_at, settled_by, settled_at, reason"
)
CLAIMED: frozenset[str] = frozenset({"fault", "timed_out", "waits", "store_differs"})
"""Causes of messages that were read, and claimed in the inbox when they were parked; the others claim when they are replayed."""
TRUNCATED = (
    "only the first part of its {value_bytes} bytes is stored; edit it with a body of at most 1 MiB, or discard it and let"
    " the sender send it again"
)
UNREAD: frozenset[str] = frozenset({"batch_unreadable", "batch_too_large", "records_missing", "not_ours"})
"""Causes of what is no message: there is nothing to replay or to edit."""


def shown(error: BaseException) -> str:
    """An error as whoever may see the message reads it. Tracebacks, errors of the driver and SQL are in the log alone."""
    if isinstance(error, (Explained, Poison, Ignored)):
        return str(error)
    if overtaxes(error):
        return "alone in its transaction, it exceeds a time limit of the database"
    what = (
        "the database refuses it" if isinstance(error, asyncpg.PostgresError) else f"{type(error).__name__} in our code"
    )
    return f"{what}; the log of the service has the cause"


def reject(entry: Inbound, error: BaseException) -> Rejected:
    """A message that decide or the database refused: a fault of ours, or a body that no check foresaw."""
    assert entry.record is not None
    log.warning("message_refused", type=entry.type, key=str(entry.key), message_id=str(entry.id), error=repr(error),
                exc_info=error)  # fmt: skip
    cause = "timed_out" if overtaxes(error) else "fault"
    detail = f"{shown(error)} (message {entry.id})"
    return Rejected(entry.record, entry.key, cause, detail, entry.store_id, entry.type, entry.claim)


def foreign(entry: Inbound, error: Exception) -> Rejected:
    """A message of one store under the key of another's order, which must not wait behind it."""
    assert entry.record is not None
    return Rejected(entry.record, None, "store_differs", str(error), entry.store_id, entry.type, entry.claim)


def queue(entry: Inbound) -> Rejected:
    """A good message that waits behind a parked one."""
    assert entry.record is not None
    return Rejected(entry.record, entry.key, "waits", "an earlier message of this order is parked", entry.store_id,
                   entry.type, entry.claim)  # fmt: skip


def plain(detail: str) -> str:
    """As PostgreSQL can keep it: an explanation must never be what stops the batch."""
    return detail[-4_000:].replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()


async def park(tx: Connection, refused: Sequence[Rejected]) -> None:
    """Write rows in the order given and make their keys wait."""
    keys = sorted({one.key for one in refused if one.key is not None})
    if keys:
        await tx.execute(
            # The update changes nothing but takes the row's lock: a replay that is about to unpark the key waits for us.
            "insert into parked_keys as p (key, retry_at) select k, now() from unnest($1::uuid[]) as k"
            " on conflict (key) do update set since = p.since",
            keys,
        )
    rows = [_row(one) for one in refused]
    await tx.execute(
        'insert into parked (key, store_id, type, topic, partition, "offset", record_key, headers, value, value_bytes,'
        " fingerprint, cause, detail) select key, store_id, type, topic, partition, off, record_key, headers, value,"
        " value_bytes, fingerprint, cause, detail from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::int[],"
        " $6::bigint[], $7::bytea[], $8::jsonb[], $9::bytea[], $10::int[], $11::bytea[], $12::text[], $13::text[])"
        " with ordinality as u(key, store_id, type, topic, partition, off, record_key, headers, value, value_bytes,"
        " fingerprint, cause, detail, n) order by n on conflict do nothing",
        *(list(column) for column in zip(*rows, strict=True)),
    )


def _row(one: Rejected) -> tuple[Any, ...]:
    """Of a value above VALUE_BYTES_MAX only the beginning and the hash are stored: a flood must not fill the database."""
    record, detail = one.record, plain(one.detail)
    value, value_bytes = record.value, None
    if value is not None and len(value) > VALUE_BYTES_MAX:
        value_bytes = len(value)
        detail += f" (of the value's {value_bytes} bytes the first {VALUE_BYTES_MAX} are stored; {sha256_of(value)})"
        value = value[:VALUE_BYTES_MAX]
    key = record.key[:HEADERS_BYTES_MAX] if record.key is not None else None
    return (
        one.key, one.store_id, one.type, record.topic, record.partition, record.offset, key,
        orjson.dumps(record.headers_json()).decode(), value, value_bytes, record.fingerprint(), one.cause, detail,
    )  # fmt: skip


def sha256_of(value: bytes) -> str:
    return f"SHA-256 {hashlib.sha256(value).hexdigest()}"


@dataclass(slots=True)
class Replay:
    """How far a replay came."""

    replayed: int = 0
    left: int = 0
    stopped_at: int | None = None
    """The parked id that failed again."""
    detail: str = ""
    published: bool = False
    stored: bool = True
    """False of an edit that failed again: nothing of it was committed."""


class _FailedAgain(Exception):
    """Undoes the transaction of an edit."""

    def __init__(self, replay: Replay) -> None:
        super().__init__(replay.detail)
        self.replay = replay


def inbound_of(row: Any) -> Inbound:
    """A parked row as a message again. Raises Poison when it still cannot be read."""
    if row["value_bytes"] is not None:
        raise Poison("too_large", TRUNCATED.format(**row))
    record = Record(row["topic"], row["partition"] or 0, row["offset"] or 0, row["record_key"], row["value"],
                    headers_from_json(orjson.loads(row["headers"])))  # fmt: skip
    received = read(record.topic, record.key, record.value, record.headers)
    # An edited message is a new one, and says by its id which one it came of.
    identity = received.id if row["edited_from"] is None else derived(received.id, f"edited {row['id']}")
    unclaimed = row["edited_from"] is None and row["cause"] not in CLAIMED
    return Inbound(
        "replay", received.key, received.store_id, identity, received.type, received.body, received.correlation_id,
        received.traceparent, record=record, parked_id=row["id"], actor=received.source,
        claim=received.id if unclaimed else None,
    )  # fmt: skip


# The next turn is booked before this one runs: a message that kills the process is not retried for ever.
BOOKED = """
update parked_keys set retries = retries + 1,
  retry_at = case when retries < $1 then now() + make_interval(secs => $2 * 2 ^ retries) end
where key = (select key from parked_keys where retry_at <= now() order by retry_at limit 1 for update skip locked)
returning key, retries - 1 as retries"""


HELD = "select true from parked_keys where key = $1 for update"


class Parking:
    """Replays, and the retries that nobody has to ask for."""

    def __init__(self, service: Service, database: Database, settings: ServiceSettings) -> None:
        self.service, self.database, self.settings = service, database, settings

    async def replay_key(self, key: UUID, by: str) -> Replay:
        """Replay what waits under a key, in order, in chunks; stops at the first failure, unparks when it is empty."""
        total, at_most = Replay(), CHUNK
        while True:
            try:
                async with self.database.transaction() as tx:
                    chunk = await self._chunk(tx, "key = $1", key, by, lock=key, at_most=at_most)
            except Exception as error:
                if is_transient(error) and not overtaxes(error):
                    raise
                if at_most == 1:
                    return await self._refused_again(key, error, total)
                at_most = (
                    1  # the database refuses something in this chunk: one by one, what stands before it goes through
                )
                continue
            total.replayed += chunk.replayed
            total.published |= chunk.published
            total.stopped_at, total.detail, total.left = chunk.stopped_at, chunk.detail, chunk.left
            if chunk.stopped_at is not None or chunk.left == 0:
                return total

    async def _refused_again(self, key: UUID, error: Exception, total: Replay) -> Replay:
        """The database refuses the first that waits: say so on it, and stop there."""
        log.warning("replay_refused", key=str(key), error=repr(error), exc_info=error)
        total.detail = shown(error)
        async with self.database.transaction() as tx:
            total.stopped_at = await tx.fetchval(
                "update parked set detail = $2 where id = (select min(id) from parked where key = $1 and state = 'waiting')"
                " returning id",
                key,
                plain(total.detail),
            )
            total.left = await tx.fetchval("select count(*) from parked where key = $1 and state = 'waiting'", key)
        return total

    async def still_refused(self, row: Any) -> str | None:
        """Why a message that was parked for its time is still refused, judged by the time of now; None if it is not."""
        if row["cause"] not in STALE:
            return None
        time = read(row["topic"], row["record_key"], row["value"], headers_from_json(orjson.loads(row["headers"]))).time
        now = (await self.database.read_clock()).now()
        refused = judged_by_time(time, now, self.settings.inbox_horizon_seconds)
        return refused[1] if refused is not None else None

    async def replay_one(self, parked_id: int, by: str) -> Replay:
        """Replay a message that blocks nobody; but not past a parked one of its order."""
        async with self.database.transaction() as tx:
            return await self._chunk(tx, "id = $1", parked_id, by, lock=None)

    async def edit(self, parked_id: int, value: bytes, by: str) -> Replay | None:
        """Put another body in a message's place and replay its order; None if it does not wait.

        The edit and the replay of what stands before it and of itself are one transaction: if one of them fails again,
        nothing is stored. What stands behind it is replayed afterwards, as far as it goes.
        """
        try:
            async with self.database.transaction() as tx:
                if (row := await edit(tx, parked_id, by, value)) is None:
                    return None
                done = await self._through(tx, parked_id, row["key"], by)
        except _FailedAgain as failed:
            return failed.replay
        except Exception as error:
            if is_transient(error) and not overtaxes(error):
                raise
            log.warning("edit_refused", parked_id=parked_id, error=repr(error), exc_info=error)
            return Replay(stopped_at=parked_id, detail=shown(error), stored=False)
        if done.left:
            rest = await self.replay_key(row["key"], by)
            rest.replayed, rest.published = rest.replayed + done.replayed, rest.published or done.published
            return rest
        return done

    async def _through(self, tx: Connection, parked_id: int, key: UUID | None, by: str) -> Replay:
        """Replay one by one until the message is through. Raises _FailedAgain where it stops before that."""
        total, waits = Replay(), True
        while waits:
            if key is not None:
                done = await self._chunk(tx, "key = $1", key, by, lock=key)
            else:
                done = await self._chunk(tx, "id = $1", parked_id, by, lock=None)
            total.replayed, total.left = total.replayed + done.replayed, done.left
            total.published |= done.published
            waits = await tx.fetchval("select state = 'waiting' from parked where id = $1", parked_id)
            if done.stopped_at is not None and waits:
                raise _FailedAgain(Replay(stopped_at=done.stopped_at, detail=done.detail, left=done.left, stored=False))
        return total

    async def _chunk(
        self, tx: Connection, where: str, argument: Any, by: str, lock: UUID | None, at_most: int = 1
    ) -> Replay:
        if lock is not None:
            await tx.execute("select 1 from parked_keys where key = $1 for update", lock)
        rows = await tx.fetch(
            f"select {COLUMNS} from parked where {where} and state = 'waiting' order by id limit {at_most} for update",
            argument,
        )
        done = Replay()
        good: list[Inbound] = []
        for row in rows:
            try:
                good.append(inbound_of(row))
            except (Poison, Ignored) as poison:
                done.stopped_at, done.detail = row["id"], str(poison)
                break
        if lock is None and good and await tx.fetchval(HELD, good[0].key):
            done.stopped_at, done.detail = (
                good[0].parked_id,
                "an earlier message of its order is parked: replay that first",
            )
            good.clear()
        batch = Batch(self.service, tx, await tx.fetchval("select clock_timestamp()"))
        await batch.load(good)
        claims = [inbound.claim for inbound in good if inbound.claim is not None]
        handled = {row["id"] for row in await tx.fetch("select id from inbox where id = any($1::uuid[])", claims)}
        for position, inbound in enumerate(good):
            try:
                if inbound.claim not in handled:
                    batch.decide(inbound, position)
            except Exception as error:
                if is_transient(error):
                    raise
                # Shared rows that only an earlier one made known are a new chunk, not a failure, once something is done.
                split = isinstance(error, Split) and done.replayed
                if not split:
                    log.warning("replay_failed", parked_id=inbound.parked_id, error=repr(error), exc_info=error)
                    done.stopped_at, done.detail = inbound.parked_id, shown(error)
                break
            done.replayed += 1
            if inbound.claim is not None:
                handled.add(inbound.claim)  # sent twice and parked twice: handled once
        await batch.save()
        await tx.execute("insert into inbox (id) select unnest($1::uuid[]) on conflict do nothing", sorted(handled))
        ids = [inbound.parked_id for inbound in good[: done.replayed]]
        await tx.execute(
            "update parked set state = 'replayed', settled_by = $2, settled_at = now() where id = any($1::bigint[])",
            ids,
            by,
        )
        if done.stopped_at is not None:
            await tx.execute("update parked set detail = $2 where id = $1", done.stopped_at, plain(done.detail))
        if lock is not None:
            done.left = await unpark_if_empty(tx, lock)
        done.published = batch.published
        return done

    async def retry_due(self) -> bool:
        """Retry one parked key whose time has come; false when there is none."""
        async with self.database.connection() as connection:
            row = await connection.fetchrow(BOOKED, self.settings.park_retries_max, self.settings.park_retry_seconds)
        if row is None:
            return False
        if row["retries"] == 0:
            return True  # parked just now: the first retry comes after a pause, not at once
        try:
            done = await self.replay_key(row["key"], "retry")
        except Exception as error:
            if is_transient(error):
                raise
            log.warning("retry_refused", key=str(row["key"]), error=repr(error))
            return True
        log.info("retried", key=str(row["key"]), replayed=done.replayed, left=done.left, detail=done.detail[:200])
        return True

    async def run(self, on_published: Any) -> None:
        """Retry for ever; a database that is away is waited for."""
        while True:
            try:
                busy = await self.retry_due()
                if busy:
                    on_published()
            except Exception as error:
                if not is_transient(error):
                    log.error("parking_failed", error=repr(error), exc_info=True)
                busy = False
            if not busy:
                await asyncio.sleep(0.5)


async def unpark_if_empty(tx: Connection, key: UUID) -> int:
    """How many still wait under the key; when none, the order goes on. The caller holds the key's row."""
    left: int = await tx.fetchval("select count(*) from parked where key = $1 and state = 'waiting'", key)
    if left == 0:
        await tx.execute("delete from parked_keys where key = $1", key)
    return left


async def edit(tx: Connection, parked_id: int, by: str, value: bytes) -> Any:
    """Replace the body of a waiting row at its place in the queue. Answers the row as it was, None if none waits.

    The edited row keeps its id, which is its place; the original bytes go into a row of their own that is settled.
    """
    row = await tx.fetchrow(f"select {COLUMNS} from parked where id = $1", parked_id)
    if row is None:
        return None
    if row["key"] is not None:
        await tx.execute("select 1 from parked_keys where key = $1 for update", row["key"])
    row = await tx.fetchrow(f"select {COLUMNS} from parked where id = $1 and state = 'waiting' for update", parked_id)
    if row is None:
        return None
    # The original takes the record's place (topic, partition, offset): when the record is delivered again, it is known.
    await tx.execute("update parked set edited_from = id where id = $1", parked_id)
    original = await tx.fetchval(
        'insert into parked (key, store_id, type, topic, partition, "offset", record_key, headers, value, value_bytes,'
        " fingerprint, cause, detail, state, settled_by, settled_at, edited_from, parked_at)"
        ' select key, store_id, type, topic, partition, "offset", record_key, headers, value, value_bytes, fingerprint, cause, detail, '
        "'edited', $2, now(), $3, parked_at from parked where id = $1 returning id",
        parked_id,
        by,
        row["edited_from"],
    )
    await tx.execute(
        "update parked set value = $2, value_bytes = null, edited_from = $3, cause = 'edited', detail = $4 where id = $1",
        parked_id,
        value,
        original,
        f"edited by {by}; the original bytes are in {original}",
    )
    return row


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
        "update parked set state = 'discarded', settled_by = $2, settled_at = now(), reason = $3"
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
