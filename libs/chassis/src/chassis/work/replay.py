"""Replays parked messages: on a person's request, and a few times by itself.

A parked key is retried a few times, then waits for a person: replay, edit and replay, or discard.
"""

from __future__ import annotations

import asyncio
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
import structlog
from asyncpg import Connection

from chassis.batch.database import Database
from chassis.batch.errors import is_transient, overtaxes
from chassis.batch.inbound import Inbound
from chassis.batch.parking import frames, plain, raised_at, shown
from chassis.batch.record import Record, headers_from_json
from chassis.batch.staleness import STALE, judged_by_time
from chassis.batch.unit_of_work import Batch, Split
from chassis.declare.service import Service
from chassis.settings import ServiceSettings
from chassis.work.parked import COLUMNS, Outdated, edit, hold, unpark_if_empty
from contracts.envelope import Ignored, Poison, read
from contracts.ids import derived

log = structlog.get_logger("chassis.work.replay")

CHUNK = 100
"""Messages replayed per transaction."""
CLAIMED: frozenset[str] = frozenset({"fault", "timed_out", "waits", "store_differs"})
"""Causes of messages that were read, and claimed in the inbox when they were parked; the others claim when they are replayed."""
TRUNCATED = (
    "only the first part of its {value_bytes} bytes is stored; edit it with a body of at most 1 MiB, or discard it and let"
    " the sender send it again"
)

# The next turn is booked before this one runs: a message that kills the process is not retried for ever.
BOOKED = """
update parked_keys set retries = retries + 1,
  retry_at = case when retries < $1 then now() + make_interval(secs => $2 * 2 ^ retries) end
where key = (select key from parked_keys where retry_at <= now() order by retry_at limit 1 for update skip locked)
returning key, retries - 1 as retries"""

FAILED = """
update parked set version = version + 1, detail = $1, raised_at = coalesce($2, raised_at), stack = coalesce($3, stack)"""
"""A message failed again: with another error perhaps, or without one of our code."""
HELD = "select true from parked_keys where key = $1 for update"


@dataclass(slots=True)
class Replay:
    """How far a replay came."""

    replayed: int = 0
    left: int = 0
    stopped_at: int | None = None
    """The parked id that failed again."""
    detail: str = ""
    stack: Sequence[str] = ()
    """The lines of our code that its error has passed."""
    published: bool = False
    stored: bool = True
    """False of an edit that failed again: nothing of it was committed."""


class Replays:
    """Replays on request, and automatic retries."""

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
                at_most = 1  # the database refuses a row of this chunk: one by one, the messages before it go through
                continue
            total.replayed += chunk.replayed
            total.published |= chunk.published
            total.stopped_at, total.detail, total.left = chunk.stopped_at, chunk.detail, chunk.left
            if chunk.stopped_at is not None or chunk.left == 0:
                return total

    async def _refused_again(self, key: UUID, error: Exception, total: Replay) -> Replay:
        """Record the database's refusal on the first waiting message, and stop there."""
        log.warning("replay_refused", key=str(key), error=repr(error), exc_info=error)
        total.detail = shown(error)
        async with self.database.transaction() as tx:
            total.stopped_at = await tx.fetchval(
                f"{FAILED} where id = (select min(id) from parked where key = $4 and state = 'waiting') returning id",
                *_failure(total.detail, frames(error)),
                key,
            )
            total.left = await tx.fetchval("select count(*) from parked where key = $1 and state = 'waiting'", key)
        return total

    async def still_refused(self, row: Any) -> str | None:
        """Why a message that was parked for its time is still refused, judged by the time of now; None if it is not."""
        if row["cause"] not in STALE:
            return None
        stored = headers_from_json(orjson.loads(row["headers"]))
        time = read(
            row["topic"], row["record_key"], row["value"], stored, unknown=self.service.listens_to(row["topic"])
        ).time
        now = (await self.database.read_clock()).now()
        refused = judged_by_time(time, now, self.settings.inbox_horizon_seconds)
        return refused[1] if refused is not None else None

    def read_edited(self, row: Any, value: bytes) -> None:
        """Raises Poison if a parked message could not be read with another body."""
        headers = headers_from_json(orjson.loads(row["headers"]))
        read(row["topic"], row["record_key"], value, headers, unknown=self.service.listens_to(row["topic"]))

    async def replay_one(self, parked_id: int, by: str) -> Replay:
        """Replay a message that no other waits for, unless an earlier one of its order is parked."""
        async with self.database.transaction() as tx:
            return await self._chunk(tx, "id = $1", parked_id, by, lock=None)

    async def edit(
        self, parked_id: int, value: bytes, by: str, versions: Container[int] | None = None
    ) -> Replay | None:
        """Put another body in a message's place and replay its order; None if it does not wait.

        versions: raises Outdated if the message has another one.

        The edit, the replay of all messages before it and its own are one transaction: if one of them fails again, nothing
        is stored. Later messages are replayed afterwards, up to the first that fails.
        """
        try:
            async with self.database.transaction() as tx:
                if (row := await hold(tx, parked_id, versions)) is None:
                    return None
                await edit(tx, row, by, value)
                done = await self._through(tx, parked_id, row["key"], by)
        except Outdated:
            raise
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
                good.append(inbound_of(row, self.service))
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
                # It needs shared rows that only an earlier message named: no failure, the next chunk locks them.
                split = isinstance(error, Split) and done.replayed
                if not split:
                    log.warning("replay_failed", parked_id=inbound.parked_id, error=repr(error), exc_info=error)
                    done.stopped_at, done.detail, done.stack = inbound.parked_id, shown(error), frames(error)
                break
            done.replayed += 1
            if inbound.claim is not None:
                handled.add(inbound.claim)  # sent twice and parked twice: handled once
        await batch.save()
        await tx.execute("insert into inbox (id) select unnest($1::uuid[]) on conflict do nothing", sorted(handled))
        ids = [inbound.parked_id for inbound in good[: done.replayed]]
        await tx.execute(
            "update parked set version = version + 1, state = 'replayed', settled_by = $2, settled_at = now() where id = any($1::bigint[])",
            ids,
            by,
        )
        if done.stopped_at is not None:
            await tx.execute(f"{FAILED} where id = $4", *_failure(done.detail, done.stack), done.stopped_at)
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
        """Retry keys that are due, until cancelled. While the database is away, wait for it."""
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


def _failure(detail: str, stack: Sequence[str]) -> tuple[str, str | None, str | None]:
    return plain(detail), raised_at(stack), "\n".join(stack) or None


class _FailedAgain(Exception):
    """Undoes the transaction of an edit."""

    def __init__(self, replay: Replay) -> None:
        super().__init__(replay.detail)
        self.replay = replay


def inbound_of(row: Any, service: Service) -> Inbound:
    """A parked row as a message again. Raises Poison when it still cannot be read."""
    if row["value_bytes"] is not None:
        raise Poison("too_large", TRUNCATED.format(**row))
    record = Record(row["topic"], row["partition"] or 0, row["offset"] or 0, row["record_key"], row["value"],
                    headers_from_json(orjson.loads(row["headers"])))  # fmt: skip
    listened = service.listens_to(record.topic)
    received = read(record.topic, record.key, record.value, record.headers, unknown=listened)
    # An edited message is a new one; its id derives from the id of the original.
    identity = received.id if row["edited_from"] is None else derived(received.id, f"edited {row['id']}")
    unclaimed = row["edited_from"] is None and row["cause"] not in CLAIMED
    return Inbound(
        "replay", received.key, received.store_id, identity, received.type, received.body, received.correlation_id,
        received.traceparent, record=record, parked_id=row["id"], actor=received.source,
        ce_id=received.ce_id, claim=received.id if unclaimed else None, listened=received if listened else None,
    )  # fmt: skip
