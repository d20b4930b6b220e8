"""A listener receives every event of its topics once, in the order of each key, also those of types of a newer release."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import NamedTuple
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from aiokafka import ConsumerRecord
from chassis_counter import EVENTS, SERVICE, STORE, Added, Settings, World, metadata, settings

from chassis.declare.service import Listener, Service
from chassis.declare.sql import Piece, Rows, columns
from chassis.kafka.attempts import Attempts
from chassis.kafka.consumer import topics_of
from chassis.kafka.decoding import Decoder
from contracts.envelope import Received, Unknown, headers

pytestmark = pytest.mark.real
OFFSETS = count(1)
UNKNOWN_KEY = UUID("cdac17fa-748d-5c30-afb4-776fd89a573f")


class Entry(NamedTuple):
    key: UUID
    type: str
    amount: int


def fold(event: Received) -> Entry:
    amount = event.body.fields["amount"] if isinstance(event.body, Unknown) else event.body.amount
    if amount == 13:
        raise ValueError("an unlucky number")
    return Entry(event.key, event.type, amount)


RECEIVED = Piece(
    "received_written as (insert into received (key, type, amount) select unnest({0}::uuid[]), unnest({1}::text[]), unnest({2}::bigint[]))",
    3,
)


def write(entries: Sequence[Entry]) -> list[Rows]:
    return [Rows(RECEIVED, columns(entries, 3))]


LISTENING = Service(
    name="listening",
    aggregates=(),
    listener=Listener(topics=frozenset({EVENTS}), fold=fold, write=write),
    settings=Settings,
    metadata=metadata,
    migrations=Path(),
)


class Listening(World):
    """Takes records as a consumer does: decoded, then in a batch."""

    def __init__(self, wishes: Settings) -> None:
        super().__init__(wishes, LISTENING)
        self.decoder = Decoder(LISTENING, wishes, self.database, self.metrics, Attempts())

    async def take_records(self, *records: ConsumerRecord) -> None:
        await self.shell.take(await self.decoder.decode(records))

    async def received(self) -> list[Entry]:
        return [Entry(*row) for row in await self.rows("select key, type, amount from received order by n")]

    async def parked(self) -> list[str]:
        return [row["cause"] for row in await self.rows("select cause from parked where state = 'waiting' order by id")]


@pytest_asyncio.fixture
async def world(database_url: str) -> AsyncIterator[Listening]:
    world = Listening(settings(database_url))
    await world.empty()
    yield world
    await world.close()


def record(amount: int, key: UUID, *, type: str = "counter.added", value: bytes | None = None) -> ConsumerRecord:
    event = Added(order_id=key, store_id=STORE, amount=amount, total=amount, version=1)
    named = headers(ce_id=str(uuid4()), source="counter", type=type, time=datetime.now(UTC), subject=str(key),
                    store_id=STORE, correlation_id="c")  # fmt: skip
    return ConsumerRecord(
        EVENTS, 0, next(OFFSETS), 0, 0, str(key).encode(), value or event.model_dump_json().encode(), None, 0, 0, named
    )  # fmt: skip


async def test_an_event_is_heard_once_in_the_order_of_its_key_however_often_it_is_delivered(world: Listening) -> None:
    one, other = uuid4(), uuid4()
    records = [record(1, one), record(2, other), record(3, one)]
    await world.take_records(*records, records[0])
    await world.take_records(*records)
    assert await world.received() == [(one, "counter.added", 1), (other, "counter.added", 2), (one, "counter.added", 3)]
    assert await world.one("select count(*) from journal") == 0


async def test_an_event_of_a_type_that_is_not_known_yet_is_heard_as_it_was_sent(world: Listening) -> None:
    """A service that is deployed first must not lose its events for those that are deployed later."""
    await world.take_records(record(4, UNKNOWN_KEY, type="counter.doubled", value=b'{"amount": 4, "by": [2]}'))
    assert await world.received() == [(UNKNOWN_KEY, "counter.doubled", 4)]


async def test_what_is_no_json_object_or_is_of_another_store_is_parked_with_its_cause(world: Listening) -> None:
    await world.take_records(
        record(1, uuid4(), type="counter.doubled", value=b"{"),
        record(1, uuid4(), type="counter.doubled", value=b"[4]"),
        record(1, uuid4(), type="counter.doubled", value=b'{"store_id": "st_2"}'),
        record(1, uuid4(), value=b'{"amount": "many"}'),
    )
    assert await world.parked() == ["bad_json", "bad_body", "store_differs", "bad_body"]
    assert await world.received() == []


async def test_an_event_that_the_fold_refuses_is_parked_and_those_behind_it_wait_until_it_is_replayed(
    world: Listening,
) -> None:
    key, other = uuid4(), uuid4()
    await world.take_records(record(13, key), record(14, key), record(15, other))
    await world.take_records(record(16, key))
    assert (await world.received(), await world.parked()) == (
        [(other, "counter.added", 15)],
        ["fault", "waits", "waits"],
    )
    # "13" alone may also be part of the key
    corrected = """replace(convert_from(value, 'UTF8'), '"amount":13', '"amount":12')"""
    await world.do(f"update parked set value = convert_to({corrected}, 'UTF8')")
    done = await world.replays.replay_key(key, "person:ann")
    assert (done.replayed, done.left) == (3, 0)
    assert [one.amount for one in await world.received()] == [15, 12, 14, 16]


async def test_a_row_that_the_database_refuses_parks_its_event_alone(world: Listening) -> None:
    keys = [uuid4() for _ in range(4)]
    await world.take_records(*(record(1_000 if n == 2 else n, key) for n, key in enumerate(keys)))
    assert sorted(one.amount for one in await world.received()) == [0, 1, 3]
    assert await world.parked() == ["fault"]


def test_a_service_reads_the_topics_that_it_hears() -> None:
    assert topics_of(LISTENING) == [EVENTS]


def test_the_messages_of_a_topic_are_either_handled_or_folded() -> None:
    with pytest.raises(ValueError, match="for its handlers or for its listener"):
        Service(
            name="both", aggregates=SERVICE.aggregates, settings=Settings, metadata=metadata, migrations=Path(),
            listener=Listener(topics=frozenset({"counter.commands.v1"}), fold=fold, write=write),
        )  # fmt: skip
