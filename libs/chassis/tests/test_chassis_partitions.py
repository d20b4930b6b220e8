"""Day partitions: made ahead, bounded by the day in an inbox id, the default one as a net, the inbox's dropped in time."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from chassis_counter import World, plus

from chassis.work.partitions import drop_old_answers, drop_old_inbox, ensure, inbox_bound
from contracts.ids import message_id

DAY = date(2031, 5, 17)


def identity(at: datetime, ce_id: str = "1") -> UUID:
    return message_id(at, "s", "st_1", UUID(int=1), ce_id)


def test_every_inbox_id_of_a_day_lies_between_its_bounds_and_none_of_its_neighbours() -> None:
    low, high = inbox_bound(DAY), inbox_bound(DAY + timedelta(days=1))
    start = datetime(2031, 5, 17, tzinfo=UTC)
    for at in (start, start + timedelta(hours=12), start + timedelta(days=1, milliseconds=-1)):
        for n in range(20):
            assert low <= identity(at, str(n)) < high
    assert identity(start - timedelta(milliseconds=1)) < low
    assert identity(start + timedelta(days=1)) >= high


@pytest.mark.real
async def test_partitions_are_made_once_whoever_asks_and_rows_go_into_their_day(world: World) -> None:
    async def make() -> None:
        async with world.database.transaction() as tx:
            await ensure(tx, DAY, DAY + timedelta(days=1))

    await asyncio.gather(make(), make(), make())
    at = datetime(2031, 5, 17, 23, 59, 59, tzinfo=UTC)
    await world.do("insert into inbox values ($1)", identity(at))
    assert await world.one("select count(*) from inbox_20310517") == 1
    assert await world.one("select count(*) from inbox_default") == 0


@pytest.mark.real
async def test_rows_that_came_before_their_partition_stay_in_the_default_one_and_count(world: World) -> None:
    """The net: a clock that ran ahead, a service that was down for days. Duplicates are seen all the same."""
    at = datetime(2032, 1, 1, 12, tzinfo=UTC)
    await world.do("insert into inbox values ($1)", identity(at))
    async with world.database.transaction() as tx:
        await ensure(tx, at.date(), at.date())
    assert await world.one("select to_regclass('inbox_20320101')") is None
    assert await world.one("select to_regclass('journal_20320101')") is not None
    assert await world.one("select count(*) from inbox where id = $1", identity(at)) == 1


@pytest.mark.real
async def test_only_inbox_days_past_the_horizon_are_dropped_and_the_journal_stays(world: World) -> None:
    first = date(2020, 3, 1)  # before every day of another test
    async with world.database.transaction() as tx:
        await ensure(tx, first, first + timedelta(days=2))
        dropped = await drop_old_inbox(tx, first + timedelta(days=2))
    assert dropped == ["inbox_20200301", "inbox_20200302"]
    assert await world.one("select to_regclass('inbox_20200303')") is not None
    assert await world.one("select to_regclass('journal_20200301')") is not None


@pytest.mark.real
async def test_batches_go_on_while_partitions_are_made(world: World) -> None:
    key = uuid4()

    async def work() -> None:
        for _ in range(20):
            await world.tell(plus(key, 1))

    async def keep() -> None:
        for n in range(10):
            async with world.database.transaction() as tx:
                await ensure(tx, DAY + timedelta(days=10 + n), DAY + timedelta(days=10 + n))

    await asyncio.gather(work(), keep())
    assert await world.total(key) == 20


@pytest.mark.real
async def test_the_answer_to_an_idempotency_key_is_stored_for_its_retention_and_then_deleted(world: World) -> None:
    assert world.settings.idempotency_retention_days == 30
    await world.do(
        "insert into idempotency (store_id, key, fingerprint, created_at)"
        " select 'st_1', d::text, '', now() - make_interval(days => d) + interval '1 minute' from unnest(array[4, 30, 31]) d"
    )
    async with world.database.transaction() as tx:
        await drop_old_answers(tx, world.settings.idempotency_retention_days)
    assert [row["key"] for row in await world.rows("select key from idempotency order by 1")] == ["30", "4"]
