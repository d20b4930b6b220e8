"""A message that exceeds a time limit of the database is found and parked; a database that is slow for all parks nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from chassis_counter import World, plus, settings

from chassis.batch import bisection
from chassis.batch.errors import OutcomeUnknown, TooSlow, overtaxes

pytestmark = pytest.mark.real

HEAVY = 777
"""An amount whose row takes the database longer than a statement may take."""
LONG_SECONDS = 60.0
SLEEPS = f"perform pg_sleep({LONG_SECONDS});"
OVERTAXED = "raise exception 'canceling statement due to statement timeout' using errcode = 'query_canceled';"
"""As the database ends a statement that is too slow, without the time: a busy machine does not exceed a limit that is not there."""


@pytest_asyncio.fixture
async def world(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A world with time limits that no ordinary transaction exceeds on a busy machine."""
    monkeypatch.setattr(bisection, "ISOLATED_SECONDS_MAX", LONG_SECONDS)
    monkeypatch.setattr(bisection, "PROBE_SECONDS_MAX", LONG_SECONDS)
    world = World(settings(database_url, transaction_seconds_max=LONG_SECONDS))
    await world.empty()
    yield world
    await world.close()


@contextmanager
def hurried(world: World) -> Iterator[None]:
    """Time limits that every transaction is to exceed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.database, "_transaction_seconds_max", 0.2)
        patch.setattr(bisection, "ISOLATED_SECONDS_MAX", 0.1)
        yield


@asynccontextmanager
async def slow_rows(world: World, condition: str, happens: str = OVERTAXED) -> AsyncIterator[None]:
    """What happens to rows of `counters` for which `condition` holds."""
    await world.do(
        "create or replace function slow_row() returns trigger language plpgsql as"
        f" $$ begin {happens} return new; end $$"
    )
    await world.do(
        "create trigger slow_row before insert or update on counters"
        f" for each row when ({condition}) execute function slow_row()"
    )
    try:
        yield
    finally:
        await world.do("drop trigger slow_row on counters")


@asynccontextmanager
async def waits_for_locks(world: World, at_most: str) -> AsyncIterator[None]:
    """A time limit of waiting alone: a transaction that is slow otherwise keeps within it."""
    transaction = world.database.transaction

    @asynccontextmanager
    async def limited(seconds_max: float | None = None) -> AsyncIterator[Any]:
        async with transaction(seconds_max) as tx:
            await tx.execute(f"set local lock_timeout = '{at_most}'")
            yield tx

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.database, "transaction", limited)
        yield


async def causes(world: World) -> list[tuple[UUID, str]]:
    return [tuple(row) for row in await world.rows("select key, cause from parked order by id")]


async def test_an_order_that_is_too_slow_is_parked_and_all_others_of_its_batch_are_saved(world: World) -> None:
    """Promise 6. Later messages of the order wait behind it, earlier ones count."""
    keys = sorted(uuid4() for _ in range(20))
    culprit = keys[13]
    messages = [plus(culprit, 1), *(plus(key, HEAVY - 1 if key == culprit else 1) for key in keys), plus(culprit, 3)]
    async with slow_rows(world, f"new.total >= {HEAVY}"):
        await world.take(*(world.from_topic(message) for message in messages))
    assert await world.one("select count(*) from counters where total = 1") == 20
    assert await causes(world) == [(culprit, "timed_out"), (culprit, "waits")]
    assert await world.one("select next_offset from consumer_offsets") == len(messages) + 1
    done = await world.replays.replay_key(culprit, "person:ann")
    assert (done.left, await world.total(culprit)) == (0, HEAVY + 3)


async def test_without_other_orders_to_compare_with_an_order_is_parked_after_three_timeouts_in_a_row(
    world: World,
) -> None:
    heavy = world.from_topic(plus(uuid4(), HEAVY))
    async with slow_rows(world, f"new.total >= {HEAVY}", SLEEPS):
        with hurried(world):
            for _ in range(bisection.TIMEOUTS_MAX - 1):
                with pytest.raises(TooSlow):
                    await world.take(heavy)
    assert await causes(world) == []
    async with slow_rows(world, f"new.total >= {HEAVY}"):
        await world.take(heavy)
        assert await causes(world) == [(heavy.key, "timed_out")]
        done = await world.replays.replay_key(heavy.key, "person:ann")
    assert (done.replayed, done.left) == (0, 1)
    assert "exceeds a time limit of the database" in done.detail


async def test_an_order_that_fails_while_others_succeed_beside_it_is_parked_the_first_time(world: World) -> None:
    world.serve()
    heavy, light = world.from_topic(plus(uuid4(), HEAVY)), world.request(plus(uuid4(), 1))

    after_the_other = f"""
    while not exists (select from counters where key = '{light.key}') loop perform pg_sleep(0.05); end loop; {OVERTAXED}"""
    async with slow_rows(world, f"new.total >= {HEAVY}", after_the_other):
        await asyncio.gather(world.take(heavy), world.shell.submit(light))
    assert await causes(world) == [(heavy.key, "timed_out")]


async def test_a_database_that_is_slow_for_every_order_parks_none(world: World) -> None:
    entries = [world.from_topic(plus(uuid4(), 1)) for _ in range(4)]
    async with slow_rows(world, "true", SLEEPS):
        with hurried(world):
            for _ in range(bisection.TIMEOUTS_MAX + 1):
                with pytest.raises(TooSlow):
                    await world.take(*entries)
    assert await causes(world) == []
    await world.take(*entries)
    assert await world.one("select count(*) from counters") == 4


async def test_a_database_that_answers_nobody_parks_no_order_however_often_it_fails(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even a single one: the statements of a batch time out for an order that does not exist, too."""
    monkeypatch.setattr(bisection, "PROBE_SECONDS_MAX", 0.3)
    entry = world.from_topic(plus(uuid4(), 1))
    async with world.database.transaction(LONG_SECONDS) as other:
        await other.execute("lock table inbox in exclusive mode")
        with hurried(world):
            for _ in range(bisection.TIMEOUTS_MAX + 1):
                with pytest.raises(TooSlow):
                    await world.take(entry)
    assert await causes(world) == []
    await world.take(entry)
    assert await world.total(entry.key) == 1


async def test_a_row_that_another_session_keeps_locked_stops_its_order_and_no_other(world: World) -> None:
    locked, free = uuid4(), uuid4()
    await world.tell(plus(locked, 1), plus(free, 1))
    async with world.database.transaction(LONG_SECONDS) as other:
        await other.execute("select from counters where key = $1 for update", locked)
        async with waits_for_locks(world, "300ms"):
            await world.take(*(world.from_topic(plus(key, 1)) for key in (locked, free)))
    assert await causes(world) == [(locked, "timed_out")]
    assert (await world.total(locked), await world.total(free)) == (1, 2)


async def test_a_request_that_is_too_slow_gets_an_answer_and_is_not_parked(world: World) -> None:
    world.serve()
    heavy, light = world.request(plus(uuid4(), HEAVY)), world.request(plus(uuid4(), 1))
    async with slow_rows(world, f"new.total >= {HEAVY}"):
        slow, quick = await asyncio.gather(world.shell.submit(heavy), world.shell.submit(light))
    assert (slow.status, quick.status) == ("faulty", "done")
    assert slow.error is not None and overtaxes(slow.error)
    assert await causes(world) == []


async def test_a_commit_that_was_not_acknowledged_leaves_the_outcome_open(world: World) -> None:
    """Its backend is terminated inside COMMIT; whether that was before or after the write, the client cannot see."""
    world.serve()
    await world.do(
        "create or replace function dies() returns trigger language plpgsql as"
        " $$ begin perform pg_terminate_backend(pg_backend_pid()); return null; end $$"
    )
    await world.do(
        "create constraint trigger dies after insert on counters deferrable initially deferred"
        " for each row execute function dies()"
    )
    try:
        with pytest.raises(OutcomeUnknown):
            await world.shell.submit(world.request(plus(uuid4(), 1), "k1"))
    finally:
        await world.do("drop trigger dies on counters")
    key = uuid4()
    outcome = await world.shell.submit(world.request(plus(key, 1), "k1"))
    assert (outcome.status, await world.total(key)) == ("done", 1)
