"""A message that exceeds a time limit of the database is found and parked; a database that is slow for all parks nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from chassis_counter import World, plus, settings

from chassis.batch import bisection
from chassis.batch.errors import OutcomeUnknown, TooSlow

pytestmark = pytest.mark.real

HEAVY = 777
"""An amount whose row takes the database longer than a transaction may take."""


@pytest_asyncio.fixture
async def limited(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A world with short time limits."""
    monkeypatch.setattr(bisection, "ISOLATED_SECONDS_MAX", 0.3)
    monkeypatch.setattr(bisection, "PROBE_SECONDS_MAX", 0.3)
    world = World(settings(database_url, transaction_seconds_max=0.6))
    await world.empty()
    yield world
    await world.close()


@asynccontextmanager
async def slow_rows(world: World, condition: str) -> AsyncIterator[None]:
    """Rows of `counters` for which `condition` holds take a minute each."""
    await world.do(
        "create or replace function slow_row() returns trigger language plpgsql as"
        " $$ begin perform pg_sleep(60); return new; end $$"
    )
    await world.do(
        "create trigger slow_row before insert or update on counters"
        f" for each row when ({condition}) execute function slow_row()"
    )
    try:
        yield
    finally:
        await world.do("drop trigger slow_row on counters")


async def causes(world: World) -> list[tuple[UUID, str]]:
    return [tuple(row) for row in await world.rows("select key, cause from parked order by id")]


async def test_an_order_that_is_too_slow_is_parked_and_all_others_of_its_batch_are_saved(limited: World) -> None:
    """Promise 6. Later messages of the order wait behind it, earlier ones count."""
    keys = sorted(uuid4() for _ in range(20))
    culprit = keys[13]
    messages = [plus(culprit, 1), *(plus(key, HEAVY - 1 if key == culprit else 1) for key in keys), plus(culprit, 3)]
    async with slow_rows(limited, f"new.total >= {HEAVY}"):
        await limited.take(*(limited.from_topic(message) for message in messages))
    assert await limited.one("select count(*) from counters where total = 1") == 20
    assert await causes(limited) == [(culprit, "timed_out"), (culprit, "waits")]
    assert await limited.one("select next_offset from consumer_offsets") == len(messages) + 1
    done = await limited.replays.replay_key(culprit, "person:ann")
    assert (done.left, await limited.total(culprit)) == (0, HEAVY + 3)


async def test_without_other_orders_to_compare_with_an_order_is_parked_after_three_timeouts_in_a_row(
    limited: World,
) -> None:
    heavy = limited.from_topic(plus(uuid4(), HEAVY))
    async with slow_rows(limited, f"new.total >= {HEAVY}"):
        for _ in range(bisection.TIMEOUTS_MAX - 1):
            with pytest.raises(TooSlow):
                await limited.take(heavy)
        assert await causes(limited) == []
        await limited.take(heavy)
        assert await causes(limited) == [(heavy.key, "timed_out")]
        done = await limited.replays.replay_key(heavy.key, "person:ann")
    assert (done.replayed, done.left) == (0, 1)
    assert "exceeds a time limit of the database" in done.detail


async def test_an_order_that_fails_while_others_succeed_beside_it_is_parked_the_first_time(limited: World) -> None:
    limited.serve()
    heavy, light = limited.from_topic(plus(uuid4(), HEAVY)), limited.request(plus(uuid4(), 1))

    async with slow_rows(limited, f"new.total >= {HEAVY}"):
        await asyncio.gather(limited.take(heavy), limited.shell.submit(light))
    assert await causes(limited) == [(heavy.key, "timed_out")]


async def test_a_database_that_is_slow_for_every_order_parks_none(limited: World) -> None:
    entries = [limited.from_topic(plus(uuid4(), 1)) for _ in range(4)]
    async with slow_rows(limited, "true"):
        for _ in range(bisection.TIMEOUTS_MAX + 1):
            with pytest.raises(TooSlow):
                await limited.take(*entries)
    assert await causes(limited) == []
    await limited.take(*entries)
    assert await limited.one("select count(*) from counters") == 4


async def test_a_database_that_answers_nobody_parks_no_order_however_often_it_fails(limited: World) -> None:
    """Even a single one: the statements of a batch time out for an order that does not exist, too."""
    entry = limited.from_topic(plus(uuid4(), 1))
    async with limited.database.transaction(60) as other:
        await other.execute("lock table inbox in exclusive mode")
        for _ in range(bisection.TIMEOUTS_MAX + 1):
            with pytest.raises(TooSlow):
                await limited.take(entry)
    assert await causes(limited) == []
    await limited.take(entry)
    assert await limited.total(entry.key) == 1


async def test_a_row_that_another_session_keeps_locked_stops_its_order_and_no_other(limited: World) -> None:
    locked, free = uuid4(), uuid4()
    await limited.tell(plus(locked, 1), plus(free, 1))
    async with limited.database.transaction(60) as other:
        await other.execute("select from counters where key = $1 for update", locked)
        await limited.take(*(limited.from_topic(plus(key, 1)) for key in (locked, free)))
    assert await causes(limited) == [(locked, "timed_out")]
    assert (await limited.total(locked), await limited.total(free)) == (1, 2)


async def test_a_request_that_is_too_slow_gets_an_answer_and_is_not_parked(limited: World) -> None:
    limited.serve()
    heavy, light = limited.request(plus(uuid4(), HEAVY)), limited.request(plus(uuid4(), 1))
    async with slow_rows(limited, f"new.total >= {HEAVY}"):
        slow, quick = await asyncio.gather(limited.shell.submit(heavy), limited.shell.submit(light))
    assert (slow.status, quick.status) == ("faulty", "done")
    assert isinstance(slow.error, TooSlow)
    assert await causes(limited) == []


async def test_a_commit_that_was_not_acknowledged_leaves_the_outcome_open(limited: World) -> None:
    """Its backend is terminated inside COMMIT; whether that was before or after the write, the client cannot see."""
    limited.serve()
    await limited.do(
        "create or replace function dies() returns trigger language plpgsql as"
        " $$ begin perform pg_terminate_backend(pg_backend_pid()); return null; end $$"
    )
    await limited.do(
        "create constraint trigger dies after insert on counters deferrable initially deferred"
        " for each row execute function dies()"
    )
    try:
        with pytest.raises(OutcomeUnknown):
            await limited.shell.submit(limited.request(plus(uuid4(), 1), "k1"))
    finally:
        await limited.do("drop trigger dies on counters")
    key = uuid4()
    outcome = await limited.shell.submit(limited.request(plus(key, 1), "k1"))
    assert (outcome.status, await limited.total(key)) == ("done", 1)
