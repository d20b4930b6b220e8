"""Each aggregate's earliest timer is a row. It fires through decide, at its time or late, never for a parked order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from chassis_counter import Counter, World, plus

from chassis.work.timers import Timers

pytestmark = pytest.mark.real


def ago(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)


async def due_at(world: World, key: UUID) -> datetime | None:
    found: datetime | None = await world.one("select due_at from timers where key = $1", key)
    return found


async def state(world: World, key: UUID) -> Counter:
    document: Any = await world.one("select doc::text from counters where key = $1", key)
    return Counter.model_validate_json(document)


async def test_a_timer_that_is_due_reaches_decide_once_and_its_row_goes(world: World) -> None:
    world.serve()
    key = uuid4()
    await world.tell(plus(key, 1, wake_at=ago(1)))
    timers = Timers(world.database, world.shell)
    assert await timers.fire() == 1
    assert (await state(world, key)).woken == 1
    assert await timers.fire() == 0
    assert await due_at(world, key) is None


async def test_an_earlier_wish_moves_the_timer_and_a_later_one_waits_until_it_fires(world: World) -> None:
    """`least` on save, lazily re-armed: most timers are overtaken by their answer and never written a second time."""
    world.serve()
    key = uuid4()
    first, sooner, later = ago(-600), ago(-300), ago(-900)
    await world.tell(plus(key, 1, wake_at=first))
    await world.tell(plus(key, 1, wake_at=sooner))
    assert await due_at(world, key) == sooner
    await world.tell(plus(key, 1, wake_at=later))
    assert await due_at(world, key) == sooner
    await world.do("update timers set due_at = now() - interval '1 second'")
    assert await Timers(world.database, world.shell).fire() == 1
    assert (await state(world, key)).woken == 0
    assert await due_at(world, key) == later


async def test_a_timer_that_nobody_waits_for_any_more_goes_with_the_answer(world: World) -> None:
    world.serve()
    key = uuid4()
    await world.tell(plus(key, 1, wake_at=ago(-600)))
    await world.tell(plus(key, 1, play="calm"))
    assert await due_at(world, key) is None
    assert await world.one("select armed_at from counters where key = $1", key) is None
    await world.tell(plus(key, 1, wake_at=ago(1)))
    assert await Timers(world.database, world.shell).fire() == 1


async def test_a_timer_of_a_parked_order_waits_with_it(world: World) -> None:
    world.serve()
    key = uuid4()
    await world.tell(plus(key, 1, wake_at=ago(1)))
    await world.take(world.from_topic(plus(key, 1, play="boom")))
    timers = Timers(world.database, world.shell)
    assert await timers.fire() == 0
    await world.do("delete from parked_keys")
    assert await timers.fire() == 1


async def test_a_timer_whose_decision_fails_is_tried_again_later_and_does_not_starve_the_others(world: World) -> None:
    """Promise 7: it stays, it is logged each time, and the timers behind it come to their turn."""
    world.serve()
    unlucky, fine = uuid4(), uuid4()
    await world.tell(plus(unlucky, 13, wake_at=ago(60)), plus(fine, 1, wake_at=ago(1)))
    timers = Timers(world.database, world.shell, at_most=1)
    assert await timers.fire() == 1
    again = await due_at(world, unlucky)
    assert again is not None
    assert again > datetime.now(UTC)
    assert await timers.fire() == 1
    assert (await state(world, fine)).woken == 1


async def test_two_workers_that_see_the_same_due_timer_wake_the_order_once(world: World) -> None:
    world.serve()
    key = uuid4()
    await world.tell(plus(key, 1, wake_at=ago(1)))
    timers = Timers(world.database, world.shell)
    async with world.database.connection() as connection:
        from chassis.work.timers import DUE

        rows = await connection.fetch(DUE, 10)
    for inbound in [*await timers._inbound(rows), *await timers._inbound(rows)]:
        assert (await world.shell.submit(inbound)).status == "done"
    assert (await state(world, key)).woken == 1
