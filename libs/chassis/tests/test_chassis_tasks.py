"""What happens outside: leased, one per key at a time and in order, run again until it has reported."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
from chassis_counter import STORE, Ask, Told, World, plus

from chassis.declare.service import Attempt, TaskKind, TryAgain
from chassis.work.tasks import Tasks
from tests.waiting import until

pytestmark = pytest.mark.real


class Outside:
    """A gateway that the test controls; `asked` has its calls."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[UUID, int]] = []
        self.open: list[UUID] = []
        self.most_open_of_a_key = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def run(self, body: Ask, attempt: Attempt) -> Told:
        self.asked.append((attempt.key, attempt.number))
        self.open.append(attempt.key)
        self.most_open_of_a_key = max(self.most_open_of_a_key, self.open.count(attempt.key))
        try:
            await self.gate.wait()
            answer = self.answers.pop(0) if self.answers else 1
            if isinstance(answer, Exception):
                raise answer
            return Told(answer=answer)
        finally:
            self.open.remove(attempt.key)


@asynccontextmanager
async def running(world: World, outside: Outside, lease_seconds: float = 30) -> Any:
    world.serve()
    kind = TaskKind("ask", Ask, Told, outside.run, lease_seconds=lease_seconds, backoff_seconds_max=0.1)
    tasks = Tasks((kind,), world.database, world.shell, concurrency=8)
    loop = asyncio.create_task(tasks.run())
    try:
        yield tasks
    finally:
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)


async def no_task_is_left(world: World) -> bool:
    return not await world.one("select count(*) from tasks")


async def no_task_is_left_of(world: World, key: UUID) -> bool:
    return not await world.one("select count(*) from tasks where key = $1", key)


async def test_a_task_is_run_once_and_its_outcome_passes_through_decide(world: World) -> None:
    key, outside = uuid4(), Outside(42)
    await world.tell(plus(key, 1, play="ask"))
    async with running(world, outside):
        await until(lambda: no_task_is_left(world), "the task's report")
    assert outside.asked == [(key, 1)]
    assert await world.total(key) == 42


async def test_an_unclear_outcome_is_asked_for_again_until_it_is_clear(world: World) -> None:
    key, outside = uuid4(), Outside(TryAgain("no answer", after_seconds=0), ValueError("a bug of the runner"), 5)
    await world.tell(plus(key, 1, play="ask"))
    async with running(world, outside):
        await until(lambda: no_task_is_left(world), "the report of the third try")
    assert outside.asked == [(key, 1), (key, 2), (key, 3)]
    assert await world.total(key) == 5


async def test_a_task_that_is_requested_while_it_runs_is_run_again_without_its_pause(world: World) -> None:
    key, outside = uuid4(), Outside(TryAgain("still pending", after_seconds=3600), 5)
    outside.gate.clear()
    await world.tell(plus(key, 1, play="ask"))
    async with running(world, outside):
        await until(lambda: outside.open, "its first call")
        await world.do("update tasks set run_at = clock_timestamp() where key = $1", key)
        outside.gate.set()
        await until(lambda: no_task_is_left(world), "the report of the second call")
    assert outside.asked == [(key, 1), (key, 2)] and await world.total(key) == 5


async def test_tasks_of_one_key_run_one_at_a_time_in_their_order_and_those_of_others_beside_them(world: World) -> None:
    one, other = uuid4(), uuid4()
    outside = Outside()
    outside.gate.clear()
    await world.tell(
        plus(one, 1, play="ask"), plus(one, 2, play="ask"), plus(one, 3, play="ask"), plus(other, 1, play="ask")
    )
    async with running(world, outside):
        await until(lambda: len(outside.open) == 2, "one call per key")
        outside.gate.set()
        await until(lambda: no_task_is_left(world), "four reports")
    assert outside.most_open_of_a_key == 1
    assert len(outside.asked) == 4


async def test_a_task_beside_the_others_waits_for_none_and_none_waits_for_it(world: World) -> None:
    key, outside = uuid4(), Outside()
    outside.gate.clear()
    await world.tell(plus(key, 1, play="ask"), plus(key, 2, play="ask beside"), plus(key, 3, play="ask"))
    async with running(world, outside):
        await until(lambda: len(outside.open) == 2, "the first task, and the one beside it")
        await world.do("delete from tasks where seq = (select min(seq) from tasks where key = $1)", key)
        await until(lambda: len(outside.open) == 3, "the third, which waited for the first alone")
        outside.gate.set()
        await until(lambda: no_task_is_left(world), "the reports")


async def test_a_withdrawn_task_is_not_run_again_and_what_its_runner_reports_is_decided_on(world: World) -> None:
    key, operation = uuid4(), uuid4()
    outside = Outside(TryAgain("no answer", after_seconds=0), 7)
    outside.gate.clear()
    await world.tell(plus(key, 1, play="ask", operation_id=operation))
    async with running(world, outside):
        await until(lambda: outside.open, "the call")
        await world.tell(plus(key, 0, play="withdraw", pot=str(operation)))
        assert await no_task_is_left(world)
        await world.tell(plus(key, 1, play="ask"))  # nothing of this order is in its way
        await until(lambda: len(outside.open) == 2, "the next call")
        outside.gate.set()
        await until(lambda: no_task_is_left(world), "its report")
    assert len(outside.asked) == 2, "the first, whose outcome was unclear, was not run again"
    assert await world.total(key) == 7


async def test_a_task_whose_holder_died_is_run_by_another_when_its_lease_is_over(world: World) -> None:
    key, outside = uuid4(), Outside(7)
    await world.tell(plus(key, 1, play="ask"))
    await world.do("update tasks set leased_by = 'dead', lease_until = now() + interval '0.5 second', tries = 1")
    async with running(world, outside):
        await until(lambda: no_task_is_left(world), "the report after the lease")
    assert outside.asked == [(key, 2)]


async def test_a_task_of_a_kind_that_this_process_does_not_have_is_left_to_one_that_has(world: World) -> None:
    """During an upgrade, processes of two releases run beside each other."""
    newer, ours = uuid4(), uuid4()
    await world.tell(plus(newer, 1, play="ask"), plus(newer, 2, play="ask"), plus(ours, 1, play="ask"))
    await world.do("update tasks set kind = 'newer' where seq = (select min(seq) from tasks where key = $1)", newer)
    outside = Outside(5)
    async with running(world, outside):
        await until(lambda: outside.asked and no_task_is_left_of(world, ours), "the report of the kind that exists")
    assert outside.asked == [(ours, 1)]  # the newer task's successor keeps its place behind it
    rows = await world.rows("select kind, tries, leased_by from tasks order by seq")
    assert [tuple(row) for row in rows] == [("newer", 0, None), ("ask", 0, None)]


async def test_a_call_that_outlasts_its_lease_is_cut_off_and_tried_again(world: World) -> None:
    key, outside = uuid4(), Outside(*[7] * 1_000)  # the same to each of its calls
    outside.gate.clear()
    await world.tell(plus(key, 1, play="ask"))
    async with running(world, outside, lease_seconds=0.3):
        await until(lambda: len(outside.asked) >= 2, "a second try")
        outside.gate.set()
        await until(lambda: no_task_is_left(world), "its report")
    assert await world.total(key) == 7


async def test_the_first_report_counts_the_same_again_is_nothing_and_another_one_is_shown_to_a_person(
    world: World,
) -> None:
    """Promise 7: the lease fences who may call, not who may report."""
    key, operation = uuid4(), uuid4()
    await world.tell(plus(key, 1, play="ask", operation_id=operation))
    row = dict((await world.rows("select *, body::text as body from tasks"))[0]) | {"tries": 1}
    async with running(world, Outside(5)) as tasks:
        await until(lambda: no_task_is_left(world), "the first report")
        await tasks._report(row, Ask(), Told(answer=5))
        assert await world.one("select count(*) from parked") == 0
        await tasks._report(row | {"tries": 2}, Ask(), Told(answer=6))
    assert await world.total(key) == 5
    found = (await world.rows("select cause, key, convert_from(value, 'UTF8') as value from parked"))[0]
    assert (found["cause"], found["key"]) == ("contradiction", None)
    assert str(key) in found["value"]


async def test_a_task_of_another_order_or_store_is_neither_replaced_nor_silently_dropped(world: World) -> None:
    first, operation = uuid4(), uuid4()
    asking = plus(first, 1, play="ask", operation_id=operation)
    others = [plus(uuid4(), 2, play="ask", operation_id=operation, store_id=store) for store in (STORE, "st_2")]
    await world.take(world.from_topic(asking))
    await world.take(*(world.from_topic(other) for other in others), world.from_topic(plus(uuid4(), 1)))
    [task] = await world.rows("select key, store_id from tasks where task_id = $1", operation)
    assert tuple(task) == (first, STORE)
    parked = await world.rows("select key, detail from parked where state = 'waiting'")
    assert {row["key"] for row in parked} == {other.order_id for other in others}
    assert all(row["detail"].startswith("TaskTaken in our code") for row in parked)
    assert await world.one("select count(*) from counters") == 1


async def test_an_operation_is_asked_outside_at_most_once_however_often_it_is_wished(world: World) -> None:
    key, operation = uuid4(), uuid4()
    await world.tell(plus(key, 1, play="ask", operation_id=operation), plus(key, 1, play="ask", operation_id=operation))
    assert await world.one("select count(*) from tasks") == 1
