"""A listener hears every event of its topics once, in the order of each key, also those of types that it does not know."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from aiokafka import ConsumerRecord
from asyncpg import Connection
from chassis_counter import EVENTS, SERVICE, STORE, Added, Settings, World, metadata, settings

from chassis.declare.service import Listener, Service
from chassis.kafka.attempts import Attempts
from chassis.kafka.consumer import topics_of
from chassis.kafka.decoding import Decoder
from contracts.envelope import Received, Unknown, headers

pytestmark = pytest.mark.real
UNKNOWN_KEY = UUID("cdac17fa-748d-5c30-afb4-776fd89a573f")


class Heard(NamedTuple):
    key: UUID
    type: str
    amount: int


def fold(event: Received) -> Heard:
    amount = event.body.fields["amount"] if isinstance(event.body, Unknown) else event.body.amount
    if amount == 13:
        raise ValueError("an unlucky number")
    return Heard(event.key, event.type, amount)


async def write(tx: Connection, heard: Sequence[Heard]) -> None:
    await tx.executemany("insert into heard (key, type, amount) values ($1, $2, $3)", heard)


LISTENING = Service(
    name="listening",
    aggregates=(),
    listener=Listener(topics=frozenset({EVENTS}), fold=fold, write=write),
    settings=Settings,
    metadata=metadata,
    migrations=Path(),
)


class Ear(World):
    """Takes records as a consumer does: decoded, then in a batch."""

    def __init__(self, wishes: Settings) -> None:
        super().__init__(wishes, LISTENING)
        self.decoder = Decoder(LISTENING, wishes, self.database, self.metrics, Attempts())

    async def hear(self, *records: ConsumerRecord) -> None:
        await self.shell.take(await self.decoder.decode(records))

    async def heard(self) -> list[Heard]:
        return [Heard(*row) for row in await self.rows("select key, type, amount from heard order by n")]

    async def parked(self) -> list[str]:
        return [row["cause"] for row in await self.rows("select cause from parked where state = 'waiting' order by id")]


@pytest_asyncio.fixture
async def ear(database_url: str) -> AsyncIterator[Ear]:
    ear = Ear(settings(database_url))
    await ear.empty()
    yield ear
    await ear.close()


def record(amount: int, key: UUID, *, type: str = "counter.added", value: bytes | None = None) -> ConsumerRecord:
    event = Added(order_id=key, store_id=STORE, amount=amount, total=amount, version=1)
    named = headers(ce_id=str(uuid4()), source="counter", type=type, time=datetime.now(UTC), subject=str(key),
                    store_id=STORE, correlation_id="c")  # fmt: skip
    record.offset += 1  # type: ignore[attr-defined]
    return ConsumerRecord(
        EVENTS, 0, record.offset, 0, 0, str(key).encode(), value or event.model_dump_json().encode(), None, 0, 0, named  # type: ignore[attr-defined]
    )  # fmt: skip


record.offset = 0  # type: ignore[attr-defined]


async def test_an_event_is_heard_once_in_the_order_of_its_key_however_often_it_is_delivered(ear: Ear) -> None:
    one, other = uuid4(), uuid4()
    records = [record(1, one), record(2, other), record(3, one)]
    await ear.hear(*records, records[0])
    await ear.hear(*records)
    assert await ear.heard() == [(one, "counter.added", 1), (other, "counter.added", 2), (one, "counter.added", 3)]
    assert await ear.one("select count(*) from journal") == 0


async def test_an_event_of_a_type_that_is_not_known_yet_is_heard_as_it_was_sent(ear: Ear) -> None:
    """A service that is deployed first must not lose its events for those that are deployed later."""
    await ear.hear(record(4, UNKNOWN_KEY, type="counter.doubled", value=b'{"amount": 4, "by": [2]}'))
    assert await ear.heard() == [(UNKNOWN_KEY, "counter.doubled", 4)]


async def test_what_is_no_json_object_or_is_of_another_store_is_parked_with_its_cause(ear: Ear) -> None:
    await ear.hear(
        record(1, uuid4(), type="counter.doubled", value=b"{"),
        record(1, uuid4(), type="counter.doubled", value=b"[4]"),
        record(1, uuid4(), type="counter.doubled", value=b'{"store_id": "st_2"}'),
        record(1, uuid4(), value=b'{"amount": "many"}'),
    )
    assert await ear.parked() == ["bad_json", "bad_body", "store_differs", "bad_body"]
    assert await ear.heard() == []


async def test_an_event_that_the_fold_refuses_is_parked_and_those_behind_it_wait_until_it_is_replayed(ear: Ear) -> None:
    key, other = uuid4(), uuid4()
    await ear.hear(record(13, key), record(14, key), record(15, other))
    await ear.hear(record(16, key))
    assert (await ear.heard(), await ear.parked()) == ([(other, "counter.added", 15)], ["fault", "waits", "waits"])
    await ear.do("update parked set value = convert_to(replace(convert_from(value, 'UTF8'), '13', '12'), 'UTF8')")
    done = await ear.replays.replay_key(key, "person:ann")
    assert (done.replayed, done.left) == (3, 0)
    assert [one.amount for one in await ear.heard()] == [15, 12, 14, 16]


async def test_a_row_that_the_database_refuses_parks_its_event_alone(ear: Ear) -> None:
    keys = [uuid4() for _ in range(4)]
    await ear.hear(*(record(1_000 if n == 2 else n, key) for n, key in enumerate(keys)))
    assert sorted(one.amount for one in await ear.heard()) == [0, 1, 3]
    assert await ear.parked() == ["fault"]


def test_a_service_reads_the_topics_that_it_hears() -> None:
    assert topics_of(LISTENING) == [EVENTS]


def test_the_messages_of_a_topic_are_either_handled_or_heard() -> None:
    with pytest.raises(ValueError, match="either handled or heard"):
        Service(
            name="both", aggregates=SERVICE.aggregates, settings=Settings, metadata=metadata, migrations=Path(),
            listener=Listener(topics=frozenset({"counter.commands.v1"}), fold=fold, write=write),
        )  # fmt: skip
