"""Outbox -> topic. One relay per service at a time, under a lease; nobody else publishes, ever.

Order per key holds because who journals under a key holds that key's row lock, so outbox ids of a key rise in commit
order; and because one batch per partition is in flight at a time. What this process has just committed is published from memory as long
as nothing can be missing before it (`fresh.py`); everything else, and what is left behind, is found by looking. A crash
between ack and delete publishes again: readers tell by (source, id). No transaction is open while sending.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
import uuid
from collections import deque
from collections.abc import Sequence

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError, RecordListTooLargeError
from aiokafka.partitioner import murmur2
from asyncpg import Connection

from chassis import crash
from chassis.batch.database import Database
from chassis.batch.outbox import OutboxRow
from chassis.declare.service import Service
from chassis.kafka.fresh import Fresh, Look
from chassis.kafka.topics import client_arguments
from chassis.settings import ServiceSettings
from chassis.telemetry import Metrics
from contracts.envelope import headers
from contracts.registry import MESSAGES, PARTITIONS

log = structlog.get_logger("chassis.kafka.relay")

BATCH_BYTES_MAX = 48 * 1024
"""Unless one record alone is larger. Below what a consumer asks of a partition at a time: the broker hands out whole
batches, and one that is larger only when it is the first in its answer."""
RECORD_BYTES_MAX = 1024 * 1024
REQUEST_BYTES_MAX = 4 * 1024 * 1024
LOOK_SECONDS = 1.0
"""At the latest so long after a look the outbox is looked at again, to delete what was published."""
OTHERS_POLL_MS = 20
"""Between two looks at the outbox while other processes of the service put rows into it."""
POSITIONS_SECONDS = 1.0
"""Between two notes of how far the own topics are known."""
FLOOR_SECONDS = 120
"""Ids at or below the highest one published so long ago can hold nothing new: no transaction lives half as long."""

# Neither a lease nor a deletion has to survive the machine: a lost one publishes again, which readers tell. So their
# commits wait for no disk.
LEASE = """
with unsynced as (select set_config('synchronous_commit', 'off', true))
insert into leases (name, holder, until)
select 'relay', $1, clock_timestamp() + make_interval(secs => $2) from unsynced
on conflict (name) do update set holder = excluded.holder, until = excluded.until
where leases.holder = excluded.holder or leases.until < clock_timestamp()
returning holder"""

# One statement: forgets what was published since the last one and reads what comes next, without what it is just forgetting.
# The state of things stands in every row, and alone in one if there is nothing to read.
# Lateral with its limit: always a look-up by key. On a journal that grew since it was last analyzed, a plain join scans it.
NEXT = """
with unsynced as (select set_config('synchronous_commit', 'off', true)),
  gone as (delete from outbox using unsynced where id = any($3::bigint[])),
  positioned as (
    insert into relay_positions (topic, partition, next_offset)
    select u.* from unsynced, unnest($4::text[], $5::int[], $6::bigint[]) as u
    on conflict (topic, partition) do update set next_offset = greatest(relay_positions.next_offset, excluded.next_offset)),
  state as materialized (
    select pg_snapshot_xmin(pg_current_snapshot())::text::bigint as ended_before,
      case when $7::bool then pg_current_xact_id()::text::bigint end as own,
      exists (select from outbox_set_aside) as aside)
select r.*, state.*
from state left join (
  select o.id, o.day, o.journal_id, j.key, j.store_id, j.type, j.message_id, j.topic, j.at, j.cause_id, j.correlation_id,
    j.traceparent, j.payload, exists (select from outbox_set_aside s where s.key = j.key) as late
  from (select id, day, journal_id from outbox where id > $1 order by id limit $2 + cardinality($3::bigint[])) o
  cross join lateral (select * from journal where day = o.day and id = o.journal_id limit 1) j
  where o.id not in (select unnest($3::bigint[]))) r on true
order by r.id"""

_PARTITIONS: dict[bytes, int] = {}


def partition_of(key: bytes) -> int:
    """As Java's default partitioner: murmur2 of the key. Kept for the few messages that an order has in a row."""
    found = _PARTITIONS.get(key)
    if found is None:
        if len(_PARTITIONS) > 10_000:
            _PARTITIONS.clear()
        found = _PARTITIONS[key] = (murmur2(key) & 0x7FFFFFFF) % PARTITIONS
    return found


class LeaseLost(Exception):
    """Another relay has taken over while this one was silent."""


class Relay:
    def __init__(self, service: Service, settings: ServiceSettings, database: Database, metrics: Metrics) -> None:
        self.service, self.settings, self.database, self.metrics = service, settings, database, metrics
        self.holder = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self.stopping = False
        self.flushed_at = time.monotonic()
        self._wake = asyncio.Event()
        self._producer: AIOKafkaProducer | None = None
        self._renew_at = 0.0
        """Until then the lease is ours; 0: it is not."""
        self._fresh = Fresh()
        self._aside = True
        """Whether there may be rows set aside, which later ones of their keys have to follow. Told by each look; between
        two looks only we, who hold the lease, set any aside."""
        self._looked_at = 0.0
        self._strange: set[int] = set()
        """What the last look has shown and no commit of this process has told: those of another, or told in a moment."""
        self._others_until = 0.0
        """Until then other processes of the service are taken to put rows into the outbox."""
        self._floor = 0
        self._published: deque[tuple[float, int]] = deque()
        self._acked: list[int] = []
        """Ids that the broker has and the outbox still holds; the next look at it deletes them."""
        self._positions: dict[tuple[str, int], int] = {}
        """(topic, partition) -> the offset after our last record there, where it is not stored yet."""
        self._positioned_at = 0.0
        self._one_by_one: set[tuple[str, int]] = set()
        """Lanes whose last batch was refused for its size."""

    def wake(self) -> None:
        """There may be something new in the outbox."""
        self._wake.set()

    def offer(self, rows: Sequence[OutboxRow]) -> None:
        """Something new is in the outbox; `rows` of it were put there by a transaction of this process, now committed."""
        self._fresh.offer(rows)
        self._strange.difference_update(row.id for row in rows)
        self._wake.set()

    async def run(self) -> None:
        """Publish until `stopping` and the outbox is empty. Any producer error: a new producer, the same rows.

        This process says when it has committed something. Rows of other processes are found by looking: often while
        there are some, since each look is a statement.
        """
        while True:
            self._wake.clear()
            try:
                count = await self.flush()
            except Exception as error:
                log.warning("relay_again", error=repr(error))
                self._forget()
                await self._drop_producer()
                if self.stopping:
                    return
                await asyncio.sleep(0.5)
                continue
            if count >= self.settings.relay_rows_max or (count and (self.stopping or self._fresh.waiting)):
                continue
            if self.stopping:
                await self._drop_producer()
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.pause_ms / 1000):
                    await self._wake.wait()

    @property
    def pause_ms(self) -> int:
        """At most so long until the next look."""
        return OTHERS_POLL_MS if time.monotonic() < self._others_until else self.settings.relay_poll_ms_max

    async def flush(self) -> int:
        """Publish what may go from memory, else one look's rows; how many. 0 also when another relay holds the lease."""
        rows = self._fresh.take(self.settings.relay_rows_max) if self._may_do_without_a_look() else []
        rows = rows or await self._look()
        if not rows:
            self.flushed_at = time.monotonic()
            return 0
        crash.point("before_produce")
        acked, offsets = await self._send(rows)
        crash.point("after_produce_before_delete")
        self._positions |= offsets
        self._acked += acked
        self.metrics.relayed.inc(len(acked))
        self.flushed_at = time.monotonic()
        self._raise_floor(max(row.id for row in rows))
        return len(rows)

    def _may_do_without_a_look(self) -> bool:
        return (
            not self._aside
            and len(self._acked) < self.settings.relay_rows_max
            and time.monotonic() < min(self._looked_at + LOOK_SECONDS, self._renew_at)
        )

    async def _look(self) -> list[OutboxRow]:
        """What the outbox holds, but for what was published and what has to follow a row that is set aside."""
        async with self.database.connection() as connection:
            if not await self._holds(connection):
                self._forget()
                return []
            rows, late = await self._next(connection)
            if late:
                async with connection.transaction():
                    await _move_aside(connection, late, "an earlier row of its order is set aside")
        return rows

    async def _next(self, connection: Connection) -> tuple[list[OutboxRow], list[OutboxRow]]:
        """The next rows, and those of them that come late: an earlier row of their key is set aside.

        The database forgets what the broker has, and remembers now and then how far that is. Remembered too late, a restored
        database reads a little more of what it knows.
        """
        due = self.stopping or time.monotonic() > self._positioned_at + POSITIONS_SECONDS
        ordered = sorted(self._positions.items()) if due else []
        found = await connection.fetch(
            NEXT, self._floor, self.settings.relay_rows_max, self._acked,
            [topic for (topic, _), _ in ordered],
            [partition for (_, partition), _ in ordered],
            [offset for _, offset in ordered],
            self._fresh.asks_own,
        )  # fmt: skip
        self._acked.clear()
        if due:
            self._positions.clear()
            self._positioned_at = time.monotonic()
        state = found[0]
        rows: list[OutboxRow] = []
        late: list[OutboxRow] = []
        for one in found if state["id"] is not None else ():
            (late if one["late"] else rows).append(OutboxRow(*one[: len(OutboxRow._fields)]))
        complete = len(rows) + len(late) < self.settings.relay_rows_max
        ids = [row.id for row in (*rows, *late)]
        if self._strange:
            self._others_until = time.monotonic() + 1
        self._strange = {number for number in ids if number not in self._fresh}
        self._fresh.looked(Look(ids, complete, state["ended_before"], state["own"]))
        self._aside, self._looked_at = state["aside"], time.monotonic()
        return rows, late

    def _forget(self) -> None:
        """Ids mean something in one database only: another may have taken its place, and what is published again is known."""
        self._fresh.forget()
        self._strange.clear()
        self._floor = 0
        self._published.clear()
        self._acked.clear()
        self._positions.clear()

    def _raise_floor(self, highest: int) -> None:
        now = time.monotonic()
        self._published.append((now, highest))
        while self._published and now - self._published[0][0] > FLOOR_SECONDS:
            self._floor = max(self._floor, self._published.popleft()[1])

    async def _holds(self, connection: Connection) -> bool:
        """Whether the lease is ours. Renewed when a fifth of it is gone; a process that was stopped finds it run out."""
        seconds = self.settings.relay_lease_seconds
        if time.monotonic() < self._renew_at:
            return True
        asked_at = time.monotonic()
        held = await connection.fetchval(LEASE, self.holder, seconds) is not None
        self._renew_at = asked_at + seconds / 5 if held else 0.0
        return held

    # -- sending ------------------------------------------------------------------------------------------------------

    async def _send(self, rows: list[OutboxRow]) -> tuple[list[int], dict[tuple[str, int], int]]:
        """Publish rows in order; one batch per partition in flight. Renews the lease between batches of a partition."""
        producer = await self._producer_ready()
        lanes: dict[tuple[str, int], list[OutboxRow]] = {}
        for row in rows:
            lanes.setdefault((row.topic, partition_of(str(row.key).encode())), []).append(row)
        acked: list[int] = []
        offsets: dict[tuple[str, int], int] = {}
        await asyncio.gather(*(self._lane(producer, *lane, its, acked, offsets) for lane, its in lanes.items()))
        return acked, offsets

    async def _lane(
        self, producer: AIOKafkaProducer, topic: str, partition: int, rows: list[OutboxRow], acked: list[int],
        offsets: dict[tuple[str, int], int],
    ) -> None:  # fmt: skip
        position = 0
        while position < len(rows):
            if position:
                await self._renew()
            builder = producer.create_batch()
            first = position
            last = len(rows) if (topic, partition) not in self._one_by_one else first + 1
            while position < last:
                row = rows[position]
                if position > first and builder.size() + len(row.payload) > BATCH_BYTES_MAX:
                    break
                if builder.append(key=str(row.key).encode(), value=row.payload.encode(), timestamp=None,
                                  headers=self._headers(row)) is None:  # fmt: skip
                    break
                position += 1
            if position == first:
                rows = await self._set_aside(rows, first, "larger than a batch")
                continue
            builder.close()
            try:
                future = await producer.send_batch(builder, topic, partition=partition)
                metadata = await future
            except (MessageSizeTooLargeError, RecordListTooLargeError) as error:
                if position - first > 1:  # which of them? The next flush sends this lane a row at a time
                    self._one_by_one.add((topic, partition))
                    raise
                rows, position = await self._set_aside(rows, first, repr(error)), first
                continue
            offsets[topic, partition] = max(offsets.get((topic, partition), 0), metadata.offset + position - first)
            acked += [row.id for row in rows[first:position]]
        self._one_by_one.discard((topic, partition))

    def _headers(self, row: OutboxRow) -> list[tuple[str, bytes]]:
        return headers(
            ce_id=str(row.message_id),
            source=self.service.name,
            type=row.type,
            time=row.at,
            subject=str(row.key),
            store_id=row.store_id,
            correlation_id=row.correlation_id,
            causation_id=str(row.cause_id),
            traceparent=row.traceparent,
            schema_version=MESSAGES[row.type].SCHEMA_VERSION,
        )

    async def _renew(self) -> None:
        async with self.database.connection() as connection:
            if not await self._holds(connection):
                raise LeaseLost(self.holder)

    async def _producer_ready(self) -> AIOKafkaProducer:
        if self._producer is None:
            producer = AIOKafkaProducer(
                **client_arguments(self.settings),
                client_id=f"tradewind-{self.service.name}-relay",
                enable_idempotence=True,
                acks="all",
                linger_ms=0,
                max_batch_size=RECORD_BYTES_MAX,
                max_request_size=REQUEST_BYTES_MAX,
                request_timeout_ms=180_000,
            )
            try:
                await producer.start()
            except BaseException:
                with contextlib.suppress(Exception):
                    await producer.stop()
                raise
            self._producer = producer
        return self._producer

    async def close(self) -> None:
        """After `run` was cancelled: what was handed to the client is sent, or given up after a while."""
        await self._drop_producer()

    async def _drop_producer(self) -> None:
        """A producer that raised once has lost a sequence number for good: throw it away."""
        producer, self._producer = self._producer, None
        if producer is not None:
            with contextlib.suppress(Exception, asyncio.CancelledError):
                async with asyncio.timeout(5):
                    await producer.stop()

    # -- rows that the broker refuses for themselves ------------------------------------------------------------------

    async def _set_aside(self, rows: list[OutboxRow], at: int, cause: str) -> list[OutboxRow]:
        """Set the row `at` aside, and with it the later ones of its key; the rows that are left."""
        row = rows[at]
        late = [other for other in rows[at + 1 :] if other.key == row.key]
        log.error("row_set_aside", outbox_id=row.id, type=row.type, key=str(row.key), cause=cause)
        async with self.database.transaction() as tx:
            await _move_aside(tx, [row], cause)
            await _move_aside(tx, late, "an earlier row of its order is set aside")
        self._aside = True
        return [*rows[:at], *(other for other in rows[at + 1 :] if other.key != row.key)]

    async def put_back(self) -> int:
        """After the cause is mended: publish what was set aside, in order."""
        async with self.database.transaction() as tx:
            done: str = await tx.execute(
                "with back as (delete from outbox_set_aside returning id, day, journal_id)"
                " insert into outbox (day, journal_id) select day, journal_id from back order by id"
            )
        self.wake()
        return int(done.rpartition(" ")[2])


async def _move_aside(tx: Connection, rows: list[OutboxRow], cause: str) -> None:
    await tx.execute(
        "insert into outbox_set_aside (id, key, day, journal_id, cause)"
        " select id, key, day, journal_id, $5 from unnest($1::bigint[], $2::uuid[], $3::date[], $4::bigint[])"
        " as u(id, key, day, journal_id) on conflict do nothing",
        [row.id for row in rows],
        [row.key for row in rows],
        [row.day for row in rows],
        [row.journal_id for row in rows],
        cause,
    )
    await tx.execute("delete from outbox where id = any($1::bigint[])", [row.id for row in rows])
