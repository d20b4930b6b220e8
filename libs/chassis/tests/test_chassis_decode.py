"""What a record becomes: a message, or a row of `parked` with a cause and with or without an order that waits behind it.

Records are plain data; most tests need no broker and no database.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from aiokafka import TopicPartition
from chassis_counter import COMMANDS, EVENTS, SERVICE, Add, Added, World, plus, settings
from prometheus_client import generate_latest

from chassis.batch.clock import Clock
from chassis.batch.inbound import Inbound
from chassis.batch.intake import LANES_FROM, Intake
from chassis.batch.parking import Rejected
from chassis.batch.record import Record, headers_from_json
from chassis.kafka.attempts import ALONE, CRASHES_MAX
from chassis.kafka.consumer import Consumer, topics_of
from chassis.kafka.offsets import COMMIT_SECONDS, IDLE_SECONDS
from contracts.envelope import headers, traceparent
from contracts.ids import message_id
from contracts.limits import BODY_BYTES_MAX

KEY = UUID("cdac17fa-748d-5c30-afb4-776fd89a573f")
PART = TopicPartition(COMMANDS, 3)


@dataclass
class FakeRecord:
    """The fields of a ConsumerRecord that are read."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


def record(
    value: bytes | None = None, key: bytes | None = str(KEY).encode(), topic: str = COMMANDS, **named: Any
) -> Any:
    """A good record of `counter.add`, but for what is named: `ce_id=None` leaves a header out, bytes are sent as they are."""
    named_so_far: dict[str, Any] = dict(
        headers(ce_id="1", source="test", type="counter.add", time=datetime.now(UTC), subject=str(KEY), store_id="st_1",
                correlation_id="c")
    )  # fmt: skip
    null = [name for name, wanted in named.items() if wanted is NULL]
    named_so_far |= {name: wanted.encode() if isinstance(wanted, str) else wanted for name, wanted in named.items()}
    sent: list[tuple[str, bytes | None]] = [
        (name, None if name in null else wanted) for name, wanted in named_so_far.items() if wanted is not None
    ]
    body = plus(KEY, 1).model_dump_json().encode() if value is None else value
    return FakeRecord(topic, 3, 7, 0, key, None if value is TOMBSTONE else body, sent)


NULL = object()
TOMBSTONE = b"tombstone"


@pytest_asyncio.fixture
async def consumer() -> AsyncIterator[Consumer]:
    world = World(settings("postgresql://nobody@127.0.0.1:1/none"))
    world.database.read_clock = database_clock(world, 0)  # type: ignore[method-assign]
    yield Consumer(SERVICE, world.settings, world.database, world.shell, world.metrics)
    await world.close()


def database_clock(world: World, ahead_seconds: float) -> Any:
    """Replaces `Database.read_clock`: the database's clock is ahead of the host's."""

    async def read() -> Clock:
        now = time.monotonic()
        world.database.clock.read(time.time() + ahead_seconds, now, now, time.time())
        return world.database.clock

    return read


async def decoded(consumer: Consumer, *records: Any) -> Any:
    intake = await consumer.decoder.decode(records)
    return intake.entries[0] if intake.entries else None


async def test_a_good_record_becomes_a_message_with_the_claim_of_its_identity(consumer: Consumer) -> None:
    now = datetime.now(UTC)
    entry = await decoded(consumer, record(ce_time=now.isoformat()))
    assert isinstance(entry, Inbound)
    assert isinstance(entry.body, Add)
    assert (entry.key, entry.store_id, entry.origin) == (KEY, "st_1", "topic")
    assert entry.claim == entry.id == message_id(now, "test", "st_1", KEY, "1")


def body(**more: Any) -> bytes:
    return plus(KEY, 1, **more).model_dump_json().encode()


BLOCKS, FREE = True, False
"""Whether the order that the record key names waits behind the parked record."""

# fmt: off
POISON = [
    # what                              the record                                                        cause                 the order
    ("bad JSON",                        record(b"{"),                                                     "bad_json",           BLOCKS),
    ("no JSON object",                  record(b"[]"),                                                    "bad_body",           BLOCKS),
    ("a wrong type of field",           record(body().replace(b'"amount":1', b'"amount":"many"')),        "bad_body",           BLOCKS),
    ("bytes that are not UTF-8",        record(b'{"amount": "\xff"}'),                                    "bad_json",           BLOCKS),
    ("a tombstone",                     record(TOMBSTONE),                                                "no_body",            BLOCKS),
    ("a body of 2 MB",                  record(b" " * 2 * BODY_BYTES_MAX),                                "too_large",          BLOCKS),
    ("a type of no contract",           record(ce_type="counter.multiply"),                               "unknown_type",       BLOCKS),
    ("a type we do not handle",         record(ce_type="payments.void", value=b'{"order_id":"%s","store_id":"st_1","operation_id":"%s","actor":"a","authorization_id":"%s"}' % ((str(KEY).encode(),) * 3)), "unknown_type", BLOCKS),
    ("no type",                         record(ce_type=None),                                             "missing_header",     BLOCKS),
    ("no id",                           record(ce_id=None),                                               "missing_header",     BLOCKS),
    ("an empty source",                 record(ce_source=""),                                             "missing_header",     BLOCKS),
    ("a header that is not UTF-8",      record(ce_id=b"\xff\xfe"),                                        "bad_header",         BLOCKS),
    ("a null header",                   record(ce_source=NULL),                                           "bad_header",         BLOCKS),
    ("NUL in an id",                    record(ce_id="a\0b"),                                             "bad_header",         BLOCKS),
    ("a time without an offset",        record(ce_time="2026-11-21T09:00:00"),                            "bad_header",         BLOCKS),
    ("a store that is no code",         record(ce_storeid="st 1"),                                        "bad_header",         BLOCKS),
    ("a store and a newline",           record(ce_storeid="st_1\n"),                                      "bad_header",         BLOCKS),
    ("a source of a page",              record(ce_source="s" * 201),                                      "bad_header",         BLOCKS),
    ("a spec version to come",          record(ce_specversion="2.0"),                                     "bad_header",         BLOCKS),
    ("a body of another store",         record(body(store_id="st_2")),                                    "store_differs",      BLOCKS),
    ("no key",                          record(key=None),                                                 "bad_key",            FREE),
    ("a key that is no order id",       record(key=b"order-1"),                                           "bad_key",            FREE),
    ("a key that is not the subject",   record(ce_subject=str(uuid4())),                                  "key_is_not_subject", FREE),
    ("a body about another order",      record(plus(uuid4(), 1).model_dump_json().encode()),              "key_is_not_subject", FREE),
    ("older than the inbox remembers",  record(ce_time="2020-01-01T00:00:00Z"),                           "too_old",            FREE),
    ("two days ahead",                  record(ce_time=(datetime.now(UTC) + timedelta(days=2)).isoformat()), "from_the_future", FREE),
]
# fmt: on


@pytest.mark.parametrize(("poison", "cause", "blocks"), [row[1:] for row in POISON], ids=[row[0] for row in POISON])
async def test_poison_is_refused_with_its_cause_and_blocks_only_the_order_it_surely_belongs_to(
    consumer: Consumer, poison: Any, cause: str, blocks: bool
) -> None:
    """Promise 6."""
    entry = await decoded(consumer, poison)
    assert isinstance(entry, Rejected)
    assert (entry.cause, entry.key) == (cause, KEY if blocks else None)
    assert "\0" not in f"{entry.detail}{entry.type}{entry.store_id}"
    assert headers_from_json(entry.record.headers_json()) == list(poison.headers)


@pytest.mark.parametrize("days", [2, -2, 30])
async def test_a_message_is_too_old_or_from_the_future_by_the_databases_clock_not_by_the_hosts(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    """The host's clock is wrong by days, in either direction."""
    truth, monotonic = time.time(), time.monotonic

    async def read() -> Clock:
        consumer.database.clock.read(truth, monotonic(), monotonic(), time.time())
        return consumer.database.clock

    monkeypatch.setattr(consumer.database, "read_clock", read)
    monkeypatch.setattr(time, "time", lambda: truth + days * 86_400)
    at = datetime.fromtimestamp(truth, UTC)
    assert isinstance(await decoded(consumer, record(ce_time=at.isoformat())), Inbound)
    future = await decoded(consumer, record(ce_time=(at + timedelta(days=2)).isoformat()))
    old = await decoded(consumer, record(ce_time=(at - timedelta(days=9)).isoformat()))
    assert (future.cause, old.cause) == ("from_the_future", "too_old")
    assert consumer.database.clock.differs


async def test_a_time_is_judged_anew_before_a_message_is_refused_for_it(consumer: Consumer) -> None:
    """A host that was suspended extrapolates a clock that lags behind until it is read again."""
    behind = time.time() - 3 * 86_400
    consumer.database.clock.read(behind, time.monotonic(), time.monotonic(), behind)
    assert isinstance(await decoded(consumer, record()), Inbound)


TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize("extra", [
    {"x-note": NULL}, {"x-note": b"\xff\xfe"}, {"x-note": b"x" * 100_000}, {"ce_causationid": b"\0"}, {"ce_dataschema": NULL},
    {"ce_correlationid": NULL}, {"ce_correlationid": b"\xff"}, {"ce_correlationid": "c" * 201}, {"ce_correlationid": "a\0b"},
    {"traceparent": NULL}, {"traceparent": b"\xff"}, {"traceparent": "00-" + "a" * 300}, {"traceparent": TRACE + "\n"},
], ids=lambda extra: next(iter(extra)))  # fmt: skip
async def test_a_header_that_is_not_needed_or_cannot_be_copied_does_not_park_a_good_message(
    consumer: Consumer, extra: dict[str, Any]
) -> None:
    entry = await decoded(consumer, record(**extra))
    assert isinstance(entry, Inbound)
    assert entry.correlation_id == ("1" if "ce_correlationid" in extra else "c")
    assert entry.traceparent is None


@pytest.mark.parametrize(("text", "read"), [
    (TRACE, True), (TRACE.replace("00-4", "cc-4"), True), (TRACE.upper(), False), (TRACE.replace("00-4", "ff-4"), False),
    ("00-" + "0" * 32 + TRACE[35:], False), (TRACE[:36] + "0" * 16 + "-01", False), (TRACE + "-more", False), ("", False),
])  # fmt: skip
def test_a_trace_context_is_passed_on_as_it_is_or_not_at_all(text: str, read: bool) -> None:
    assert traceparent(text) == (text if read else None)


async def test_the_records_around_a_poisoned_one_are_decoded_and_every_offset_counts(consumer: Consumer) -> None:
    records = [record(), record(b"{"), record()]
    for n, one in enumerate(records):
        one.offset = n
    intake = await consumer.decoder.decode(records)
    assert [type(entry) for entry in intake.entries] == [Inbound, Rejected, Inbound]
    assert intake.offsets == {(COMMANDS, 3): 3}


async def test_an_event_that_this_service_does_not_handle_is_ignored_and_counted(consumer: Consumer) -> None:
    event = Added(order_id=KEY, store_id="st_1", amount=1, total=1).model_dump_json().encode()
    intake = await consumer.decoder.decode(
        [record(event, topic=EVENTS, ce_type="counter.added"), record(topic=EVENTS, ce_type="counter.new")]
    )
    assert (intake.entries, intake.ignored, intake.offsets) == ([], 2, {(EVENTS, 3): 8})


async def test_a_record_that_was_alone_and_ended_the_process_three_times_is_parked_unhandled(
    consumer: Consumer,
) -> None:
    """Promise 6: a message that kills the process is not taken for ever."""
    consumer.attempts.tried[PART] = (7, ALONE + CRASHES_MAX - 1)
    assert isinstance(await decoded(consumer, record()), Inbound)
    consumer.attempts.tried[PART] = (7, ALONE + CRASHES_MAX)
    entry = await decoded(consumer, record())
    assert isinstance(entry, Rejected)
    assert (entry.cause, entry.key, entry.type) == ("crashed", KEY, "counter.add")


async def test_a_batch_that_was_cut_off_is_taken_in_halves_until_the_culprit_is_alone(consumer: Consumer) -> None:
    records = [record() for _ in range(8)]
    for n, one in enumerate(records):
        one.offset = n
    sizes = []
    for crashes in (0, 1, 2, 3):
        consumer.attempts.tried[PART] = (0, crashes)
        sizes.append([len(chunk) for chunk in consumer.attempts.chunks(records)[1]])
    assert sizes == [[8], [4, 4], [2, 2, 2, 2], [1] * 8]


async def test_redelivered_duplicates_from_before_the_crash_do_not_hide_the_culprit_behind_them(
    consumer: Consumer,
) -> None:
    """The process died before it committed to Kafka: the poll begins before the batch tried last. Else it would crash for ever."""
    records = [record() for _ in range(8)]
    for n, one in enumerate(records):
        one.offset = n
    consumer.attempts.tried[PART] = (3, ALONE + 1)
    handled, chunks = consumer.attempts.chunks(records)
    assert [one.offset for one in handled] == [0, 1, 2]
    assert [[one.offset for one in chunk] for chunk in chunks] == [[3], [4], [5], [6], [7]]


def test_a_service_reads_the_topics_of_the_messages_it_handles_and_no_other() -> None:
    assert topics_of(SERVICE) == [COMMANDS]


@pytest.mark.real
async def test_duplicates_from_before_a_deadly_batch_leave_the_count_of_its_crashes(world: World) -> None:
    await world.do(
        "insert into consumer_offsets (topic, partition, tried_offset, crashes) values ($1, 3, 54, $2)",
        COMMANDS,
        ALONE + 2,
    )
    crashes = "select crashes from consumer_offsets"
    await world.shell.take(Intake(offsets={(COMMANDS, 3): 54}))
    assert await world.one(crashes) == ALONE + 2
    await world.shell.take(Intake(offsets={(COMMANDS, 3): 55}))
    assert await world.one(crashes) == 0


@pytest.mark.real
async def test_an_error_that_the_process_survives_changes_no_count_of_crashes(world: World) -> None:
    consumer, deadly = Consumer(SERVICE, world.settings, world.database, world.shell, world.metrics), record()
    consumer.attempts.tried[PART] = (deadly.offset, ALONE + 1)
    for _ in range(2):
        consumer.attempts.begin(consumer.attempts.begun_with([deadly], {PART}))
        assert consumer.attempts.tried[PART] == (deadly.offset, ALONE + 2)
        await consumer._pause_after(TimeoutError())
        assert consumer.attempts.tried[PART] == (deadly.offset, ALONE + 1)


@pytest.mark.real
async def test_each_batch_of_a_partition_is_noted_until_the_first_commit_since_its_assignment(world: World) -> None:
    """After a restart, reading begins at the record that ended the process; behind it one commit a second is enough."""
    consumer, client = Consumer(SERVICE, world.settings, world.database, world.shell, world.metrics), FakeClient(PART)
    consumer._subscriber.consumer = client
    offsets = "select next_offset, tried_offset, crashes from consumer_offsets"
    await consumer.on_partitions_assigned([PART])

    async def poll(offset: int) -> None:
        one = record(plus(KEY, 1).model_dump_json().encode())
        one.offset = offset
        await consumer._handle([one])
        consumer.offsets.done([one])

    for offset in (0, 1):
        await poll(offset)
        assert await world.rows(offsets) == [(offset + 1, offset, 0)]
    await consumer.commit()
    assert client.committed_offsets == {PART: 2}
    await poll(2)
    assert await world.rows(offsets) == [(2, 1, 0)]
    await consumer.commit()
    assert (await world.rows(offsets), client.committed_offsets) == ([(3, 1, 0)], {PART: 3})
    await consumer.on_partitions_assigned([PART])
    await poll(3)
    assert await world.rows(offsets) == [(4, 3, 0)]


@pytest.mark.real
async def test_offsets_are_committed_once_a_second_between_batches_and_at_once_when_no_more_records_come(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chassis.kafka.offsets.time", clock := SimpleNamespace(monotonic=lambda: clock.now, now=100.0))
    consumer, client = Consumer(SERVICE, world.settings, world.database, world.shell, world.metrics), FakeClient(PART)
    consumer._subscriber.consumer = client
    await consumer.on_partitions_assigned([PART])
    one = record(plus(KEY, 1).model_dump_json().encode())

    async def committed_after(seconds: float) -> int | None:
        clock.now += seconds
        await consumer.commit_if_due()
        return client.committed_offsets.get(PART)

    async def handle(offset: int) -> None:
        one.offset = offset
        await consumer._on_batch([one])

    await handle(0)
    assert await committed_after(0) == 1
    await handle(1)
    assert await committed_after(IDLE_SECONDS / 2) == 1
    async with consumer._busy:  # a long batch
        assert await committed_after(IDLE_SECONDS) == 1
    assert await committed_after(0) == 2
    for offset in range(2, 12):
        await handle(offset)
        assert await committed_after(0.15 * COMMIT_SECONDS) == (9 if offset >= 8 else 2)
    assert await committed_after(IDLE_SECONDS) == 12


class FakeClient:
    """What `pause_intake`, an assignment and a commit use of an aiokafka consumer."""

    def __init__(self, *parts: TopicPartition) -> None:
        self.parts, self.held = set(parts), set[TopicPartition]()
        self.committed_offsets: dict[TopicPartition, int] = {}
        self.sought: dict[TopicPartition, int] = {}
        self._client = SimpleNamespace(send=None)
        self.getmany = None

    async def beginning_offsets(self, parts: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(parts, 0)

    def seek(self, part: TopicPartition, offset: int) -> None:
        self.sought[part] = offset

    def assignment(self) -> set[TopicPartition]:
        return self.parts

    def paused(self) -> set[TopicPartition]:
        return self.held

    def pause(self, *parts: TopicPartition) -> None:
        self.held |= set(parts)

    def resume(self, *parts: TopicPartition) -> None:
        self.held -= set(parts)

    async def committed(self, part: TopicPartition) -> None:
        return None

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        self.committed_offsets = offsets


@pytest.mark.real
async def test_nothing_is_read_before_the_offsets_of_an_assignment_are_loaded(world: World) -> None:
    """Promises 2 and 7: a later message overtakes none, even if a pause and a commit happen meanwhile; nothing stays paused."""
    other = TopicPartition(COMMANDS, 4)
    service = replace(SERVICE, intake=frozenset({COMMANDS}))
    consumer = Consumer(service, world.settings, world.database, world.shell, world.metrics)

    class Meanwhile(FakeClient):
        async def committed(self, part: TopicPartition) -> None:
            assert self.paused() == {PART, other}
            consumer.pause_intake(False)
            consumer.offsets._handled = {PART: 1, other: 1}
            await consumer.commit()

    client = Meanwhile(PART, other)
    consumer._subscriber.consumer = client
    consumer.pause_intake(True)
    await consumer.on_partitions_assigned([PART, other])
    assert client.paused() == set()
    consumer.pause_intake(True)
    assert client.paused() == {PART, other}
    consumer.pause_intake(False)
    assert client.paused() == set()


@pytest.mark.real
async def test_a_batch_that_failed_is_read_again_from_its_first_records(world: World) -> None:
    """Promise 2: records behind it must not overtake those that are retried."""
    consumer = Consumer(SERVICE, world.settings, world.database, world.shell, world.metrics)
    other, elsewhere = TopicPartition(COMMANDS, 4), TopicPartition(COMMANDS, 5)
    consumer._subscriber.consumer = client = FakeClient(PART, other)
    consumer.reads.attach(client)
    failed: Any = [SimpleNamespace(topic=part.topic, partition=part.partition, offset=offset)
                   for part, offset in ((PART, 7), (PART, 8), (other, 3), (elsewhere, 1))]  # fmt: skip
    consumer.offsets.rewind(client, failed)
    assert client.sought == {PART: 7, other: 3}  # the third was assigned to another member meanwhile


async def test_a_batch_that_fails_is_counted_by_faststream_and_read_again(consumer: Consumer) -> None:
    """The database is away: the error reaches FastStream's middlewares, and no record is passed over."""
    subscriber, client = consumer._subscriber, FakeClient(PART)
    subscriber.consumer = client
    consumer.reads.attach(client)
    consumer.broker._setup_logger()
    subscriber._build_fastdepends_model()
    subscriber._post_start()
    await subscriber.consume((record(),))
    await subscriber.consume((record(),))
    text = generate_latest(consumer.metrics.registry).decode()
    labels = 'app_name="tradewind",broker="kafka",'
    assert f'faststream_received_messages_total{{{labels}handler="counter"}} 2.0' in text
    assert f'faststream_received_processed_messages_total{{{labels}handler="counter",status="error"}} 2.0' in text
    assert client.sought == {PART: 7}


def test_a_large_poll_is_halved_by_order_and_a_small_one_is_left_whole() -> None:
    """No order is in both halves, and within a half the order of the records is unchanged. With offsets to store it is whole."""
    keys = [None, *(UUID(int=n) for n in range(6))]
    refused = [Rejected(Record("t", 0, n, None, None, []), keys[n % 7], "bad_body", "no") for n in range(LANES_FROM)]
    for whole in (Intake(list(refused[1:])), Intake(list(refused), {("t", 0): LANES_FROM})):
        assert whole.lanes() == [whole]
    halves = [lane.entries for lane in Intake(list(refused)).lanes()]
    assert len(halves) == 2
    for half in halves:
        assert half == [one for one in refused if one in half]
    owned = [{one.key for one in half} for half in halves]
    assert not owned[0] & owned[1]
    assert owned[0] | owned[1] == set(keys)
