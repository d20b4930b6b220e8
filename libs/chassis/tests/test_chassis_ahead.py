"""What the next batch is made of, and what is taken over while the present one is under way."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import TopicPartition

from chassis.ahead import INTAKE_RECORDS_MAX, Ahead

pytestmark = pytest.mark.asyncio

NEW, UNDER_WAY, OTHER = TopicPartition("intake", 1), TopicPartition("replies", 1), TopicPartition("replies", 2)


class Client:
    """Answers from `waiting`, at most as many as it is asked for; notes that somebody waited in vain."""

    def __init__(self) -> None:
        self.waiting: dict[TopicPartition, list[int]] = {NEW: [], UNDER_WAY: [], OTHER: []}
        self.in_vain = 0

    def assignment(self) -> set[TopicPartition]:
        return set(self.waiting)

    async def getmany(
        self, *parts: TopicPartition, timeout_ms: int = 0, max_records: int
    ) -> dict[TopicPartition, list[int]]:
        if timeout_ms and not any(self.waiting.values()):
            self.in_vain += 1
            self.waiting[NEW].append(7)
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


async def meanwhile(ahead: Ahead, client: Client, until: int, **arrives: list[int]) -> None:
    """A batch that lasts until so much was taken over of what arrives."""
    named = {"new": NEW, "under_way": UNDER_WAY, "other": OTHER}
    async with ahead.looking(), asyncio.timeout(5):
        for name, records in arrives.items():
            client.waiting[named[name]] += records
        while len(ahead) < until:
            await asyncio.sleep(0.001)


async def test_a_poll_takes_what_is_under_way_first_and_only_some_of_what_is_new() -> None:
    """Taken in floods, orders would go through the services as one wave; and a poll is never empty."""
    client = Client()
    ahead_of(client)
    client.waiting |= {NEW: [*range(1_000)], UNDER_WAY: [*range(30)]}
    first = await client.getmany(timeout_ms=1_000, max_records=500)
    assert {part: len(records) for part, records in first.items()} == {UNDER_WAY: 30, NEW: INTAKE_RECORDS_MAX}
    second = await client.getmany(timeout_ms=1_000, max_records=500)
    assert {part: len(records) for part, records in second.items()} == {NEW: INTAKE_RECORDS_MAX}
    client.waiting[NEW].clear()
    assert await client.getmany(timeout_ms=1_000, max_records=500) == {NEW: [7]}
    assert client.in_vain == 1


async def test_what_arrives_during_a_batch_is_in_the_next_one_before_what_came_later() -> None:
    client = Client()
    ahead = ahead_of(client)
    await meanwhile(ahead, client, 3, under_way=[1, 2], new=[5])
    assert not any(client.waiting.values())  # so the client asks the broker for more
    client.waiting[UNDER_WAY].append(3)
    assert await client.getmany(timeout_ms=1_000, max_records=500) == {UNDER_WAY: [1, 2, 3], NEW: [5]}
    assert len(ahead) == 0


async def test_no_more_is_taken_over_than_a_batch_may_hold() -> None:
    client = Client()
    ahead = ahead_of(client, records_max=10)
    at_most = 10 + INTAKE_RECORDS_MAX
    await meanwhile(ahead, client, at_most, under_way=[*range(7)], other=[*range(7)], new=[*range(1_000)])
    await ahead._take_over()
    assert len(ahead) == at_most
    found = await client.getmany(timeout_ms=1_000, max_records=10)
    assert sum(map(len, found.values())) == at_most


async def test_what_was_found_and_is_forgotten_is_told_to_whoever_has_to_read_it_again() -> None:
    client = Client()
    ahead = ahead_of(client)
    await meanwhile(ahead, client, 2, under_way=[1, 2])
    assert ahead.forget() == [1, 2]
    assert len(ahead) == 0
    assert ahead.forget() == []
