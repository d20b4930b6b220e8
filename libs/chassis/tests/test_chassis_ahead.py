"""What the next batch is made of, and what is taken over while the present one is under way."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import TopicAuthorizationFailedError

from chassis.ahead import BYTES_MAX, INTAKE_RECORDS_MAX, Ahead

pytestmark = pytest.mark.asyncio

NEW, UNDER_WAY, OTHER = TopicPartition("intake", 1), TopicPartition("replies", 1), TopicPartition("replies", 2)


class Record(int):
    """A record of which only its number and its size are of interest."""

    value = b""


class Large(Record):
    value = bytes(BYTES_MAX // 2)


def records(*numbers: int) -> list[Record]:
    return [Record(number) for number in numbers]


class Client:
    """Answers from `waiting`, at most as many as it is asked for; notes that somebody waited in vain."""

    def __init__(self) -> None:
        self.waiting: dict[TopicPartition, list[Record]] = {NEW: [], UNDER_WAY: [], OTHER: []}
        self.in_vain = 0

    def assignment(self) -> set[TopicPartition]:
        return set(self.waiting)

    async def getmany(
        self, *parts: TopicPartition, timeout_ms: int = 0, max_records: int
    ) -> dict[TopicPartition, list[Record]]:
        if timeout_ms and not any(self.waiting.values()):
            self.in_vain += 1
            self.waiting[NEW] += records(7)
            return {}
        found = {}
        for part in parts or self.waiting:
            taken, self.waiting[part] = self.waiting[part][:max_records], self.waiting[part][max_records:]
            max_records -= len(taken)
            if taken:
                found[part] = taken
            if not max_records:
                break
        return found


def ahead_of(client: Client, records_max: int = 500) -> Ahead:
    ahead = Ahead({NEW.topic}, records_max)
    ahead.attach(client)
    return ahead


async def meanwhile(ahead: Ahead, client: Client, until: int, **arrives: list[Record]) -> None:
    """A batch that lasts until so much was taken over of what arrives."""
    named = {"new": NEW, "under_way": UNDER_WAY, "other": OTHER}
    async with ahead.looking(), asyncio.timeout(5):
        for name, told in arrives.items():
            client.waiting[named[name]] += told
        while len(ahead) < until:
            await asyncio.sleep(0.001)


async def test_a_poll_takes_what_is_under_way_first_and_only_some_of_what_is_new() -> None:
    """Taken in floods, orders would go through the services as one wave; and a poll is never empty."""
    client = Client()
    ahead_of(client)
    client.waiting |= {NEW: records(*range(1_000)), UNDER_WAY: records(*range(30))}
    first = await client.getmany(timeout_ms=1_000, max_records=500)
    assert {part: len(found) for part, found in first.items()} == {UNDER_WAY: 30, NEW: INTAKE_RECORDS_MAX}
    second = await client.getmany(timeout_ms=1_000, max_records=500)
    assert {part: len(found) for part, found in second.items()} == {NEW: INTAKE_RECORDS_MAX}
    client.waiting[NEW].clear()
    assert await client.getmany(timeout_ms=1_000, max_records=500) == {NEW: [7]}
    assert client.in_vain == 1


async def test_what_arrives_during_a_batch_is_in_the_next_one_before_what_came_later() -> None:
    client = Client()
    ahead = ahead_of(client)
    await meanwhile(ahead, client, 3, under_way=records(1, 2), new=records(5))
    assert not any(client.waiting.values())  # so the client asks the broker for more
    client.waiting[UNDER_WAY] += records(3)
    assert await client.getmany(timeout_ms=1_000, max_records=500) == {UNDER_WAY: [1, 2, 3], NEW: [5]}
    assert len(ahead) == 0


async def test_no_more_is_taken_over_than_a_batch_may_hold() -> None:
    client = Client()
    ahead = ahead_of(client, records_max=10)
    at_most = 10 + INTAKE_RECORDS_MAX
    await meanwhile(
        ahead, client, at_most, under_way=records(*range(7)), other=records(*range(7)), new=records(*range(1_000))
    )
    await ahead._take_over()
    assert len(ahead) == at_most
    found = await client.getmany(timeout_ms=1_000, max_records=10)
    assert sum(map(len, found.values())) == at_most


async def test_what_was_found_and_is_forgotten_is_told_to_whoever_has_to_read_it_again() -> None:
    client = Client()
    ahead = ahead_of(client)
    await meanwhile(ahead, client, 2, under_way=records(1, 2))
    assert ahead.forget() == [1, 2]
    assert len(ahead) == 0
    assert ahead.forget() == []


async def test_large_records_are_left_with_the_client_once_there_are_enough() -> None:
    """A flood of records of the largest size does not fill the memory: it is polled a few at a time."""
    client = Client()
    ahead = ahead_of(client)
    await meanwhile(ahead, client, 2, under_way=[Large(1), Large(2)])
    client.waiting |= {OTHER: [Large(3)], NEW: records(4)}
    assert await client.getmany(timeout_ms=1_000, max_records=500) == {UNDER_WAY: [1, 2]}
    assert await client.getmany(timeout_ms=1_000, max_records=500) == {OTHER: [3], NEW: [4]}


async def test_an_error_of_the_broker_while_looking_is_told_and_harms_no_batch(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The next poll asks again: only the look ends."""
    client = Client()
    ahead = ahead_of(client)
    getmany, refused = ahead._getmany, asyncio.Event()

    async def refusing(*parts: TopicPartition, max_records: int) -> dict[TopicPartition, list[Record]]:
        refused.set()
        raise TopicAuthorizationFailedError("replies")

    ahead._getmany = refusing
    async with ahead.looking(), asyncio.timeout(5):
        await refused.wait()
    ahead._getmany = getmany
    client.waiting[UNDER_WAY] += records(1)
    assert await client.getmany(timeout_ms=1_000, max_records=500) == {UNDER_WAY: [1]}
    assert "look_failed" in capsys.readouterr().out
