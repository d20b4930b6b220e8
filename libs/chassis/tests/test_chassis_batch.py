"""The shell on real PostgreSQL: a batch is one transaction, and a bad message in it fails no other one."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from json import loads
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from chassis_counter import MODELS, SERVICE, STORE, Stick, World, filling, plus

from chassis.batch import golden, transaction
from chassis.batch.adoption import Adopted, adopt
from chassis.batch.aggregates import ANSWERED_MAX
from chassis.batch.errors import Conflict, is_transient
from chassis.batch.inbound import Inbound
from chassis.batch.intake import LANES_FROM, Intake
from chassis.batch.shell import Shell
from chassis.batch.unit_of_work import Batch
from chassis.declare.sql import Piece, Rows
from contracts.base import Event

pytestmark = pytest.mark.real


async def test_each_message_sees_what_the_ones_before_it_in_its_batch_did(world: World) -> None:
    key = uuid4()
    outcomes = await world.tell(plus(key, 2), plus(key, 3), plus(key, 4))
    assert [outcome.state.total for outcome in outcomes] == [2, 5, 9]
    assert await world.total(key) == 9
    rows = await world.rows(
        "select revision, version, payload::json->>'total' as t from journal where key = $1 order by id", key
    )
    assert [tuple(row) for row in rows] == [(1, 1, "2"), (2, 2, "5"), (3, 3, "9")]
    assert await world.one("select count(*) from outbox") == 3


async def test_a_batch_of_any_size_is_journaled_and_put_into_the_outbox_in_the_order_of_its_decisions(
    world: World,
) -> None:
    """Promise 2."""
    keys = [uuid4() for _ in range(40)]
    told = [plus(key, 1) for _ in range(4) for key in keys]
    await world.tell(*told)
    journaled = [row["operation_id"] for row in await world.rows("select operation_id from journal order by id")]
    pointed = await world.rows(
        "select j.operation_id from outbox o join journal j on j.id = o.journal_id order by o.id"
    )
    assert journaled == [row["operation_id"] for row in pointed] == [message.operation_id for message in told]


async def test_events_are_adopted_by_the_aggregate_that_their_key_names(world: World) -> None:
    """After a restore. The answer of an adopted operation is published again on request."""
    label, counter = uuid4(), uuid4()
    stick = Stick(label_id=label, store_id=STORE, operation_id=uuid4(), actor="test", text="fragile")
    await world.tell(stick, plus(counter, 3))
    stated = await world.rows("select key, message_id, at, type, payload from journal order by id")
    await world.empty()
    own = [
        Adopted(Inbound("topic", row["key"], STORE, uuid4(), row["type"], body, "c"), str(row["message_id"]), row["at"])
        for row in stated
        if isinstance(body := MODELS[row["type"]].model_validate_json(row["payload"]), Event)
    ]
    async with world.database.transaction() as tx:
        assert await adopt(Batch(SERVICE, tx, datetime.now(UTC)), own) == 2
    assert await world.one("select doc::json->>'text' from labels where key = $1", label) == "fragile"
    assert await world.total(counter) == 3
    assert [tuple(row) for row in await world.rows("select aggregate, key from journal order by id")] == [
        ("labels", label),
        ("counters", counter),
    ]
    await world.tell(stick)
    again = await world.rows("select j.key from outbox o join journal j on j.id = o.journal_id")
    assert [row["key"] for row in again] == [label]


def test_a_service_refuses_a_handler_of_another_key_and_two_aggregates_of_one() -> None:
    counters, labels = SERVICE.aggregates
    with pytest.raises(ValueError, match="counter.stick is about a label_id, counters are keyed by order_id"):
        replace(SERVICE, aggregates=(replace(counters, handlers=labels.handlers),))
    with pytest.raises(ValueError, match="two aggregates have the same key field"):
        replace(SERVICE, aggregates=(counters, replace(labels, key="order_id")))


async def test_private_events_count_revisions_and_not_versions_and_are_not_published(world: World) -> None:
    key = uuid4()
    await world.tell(plus(key, 1), plus(key, 1, play="quiet"), plus(key, 1))
    rows = await world.rows("select revision, version, topic is null from journal where key = $1 order by id", key)
    assert [tuple(row) for row in rows] == [(1, 1, False), (2, None, True), (3, 2, False)]
    assert await world.one("select count(*) from outbox") == 2


async def test_a_message_delivered_twice_in_one_batch_or_in_two_has_its_effect_once(world: World) -> None:
    """Promise 1."""
    key = uuid4()
    message = plus(key, 5)
    await world.take(world.from_topic(message, "m1"), world.from_topic(message, "m1"))
    await world.take(world.from_topic(message, "m1"))
    assert await world.total(key) == 5
    assert await world.one("select count(*) from journal where key = $1", key) == 1


async def test_when_one_half_of_a_large_poll_fails_all_of_it_is_taken_again_and_counts_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise 1: a large poll is two transactions at once, by order."""
    keys = [uuid4() for _ in range(2 * LANES_FROM)]
    poll = Intake([world.from_topic(plus(key, 1)) for key in keys])
    save = transaction.Transaction.save

    async def failing(work: Any, offsets: Any) -> None:
        await save(work, offsets)
        if keys[0] in work.keys:
            raise ConnectionResetError

    with monkeypatch.context() as patch:
        patch.setattr(transaction.Transaction, "save", failing)
        with pytest.raises(ConnectionResetError):
            await world.shell.take(poll)
    done = await world.one("select count(*) from journal")
    assert 0 < done < len(keys), "the other half is committed"
    await world.shell.take(poll)
    assert [await world.total(key) for key in keys] == [1] * len(keys)


async def test_a_message_that_raises_loses_only_its_own_changes_and_later_ones_of_its_key_wait(world: World) -> None:
    """Promise 6."""
    bad, good = uuid4(), uuid4()
    await world.take(
        world.from_topic(plus(bad, 1)),
        world.from_topic(plus(good, 1)),
        world.from_topic(plus(bad, 10, play="boom")),
        world.from_topic(plus(bad, 100)),
        world.from_topic(plus(good, 1)),
    )
    assert (await world.total(bad), await world.total(good)) == (1, 2)
    parked = await world.rows("select key, cause, state from parked order by id")
    assert [tuple(row) for row in parked] == [(bad, "fault", "waiting"), (bad, "waits", "waiting")]
    assert [row["key"] for row in await world.rows("select key from parked_keys")] == [bad]


async def test_of_a_message_that_fails_half_way_nothing_stays(world: World) -> None:
    key = uuid4()
    await world.take(world.from_topic(plus(key, 5, play="half")))
    assert await world.total(key) is None
    assert await world.one("select count(*) from journal") == 0
    assert await world.one("select count(*) from parked where cause = 'fault'") == 1


async def test_the_row_that_the_database_refuses_is_found_by_halving_and_all_others_are_saved(world: World) -> None:
    """Promise 6: `counters_below_1000` refuses one row of twenty; nothing else of the batch is lost."""
    keys = sorted(uuid4() for _ in range(20))
    culprit = keys[13]
    await world.take(*(world.from_topic(plus(key, 5_000 if key == culprit else 1)) for key in keys))
    assert await world.one("select count(*) from counters") == 19
    assert await world.total(culprit) is None
    row = (await world.rows("select key, cause, detail from parked"))[0]
    assert (row["key"], row["cause"]) == (culprit, "fault")
    assert row["detail"].startswith("the database refuses it")
    assert await world.one("select next_offset from consumer_offsets") == 21


async def test_after_the_refused_row_its_later_messages_wait_and_its_earlier_ones_stand(world: World) -> None:
    key = uuid4()
    await world.take(*(world.from_topic(plus(key, amount)) for amount in (1, 5_000, 2)))
    assert await world.total(key) == 1
    assert [row["cause"] for row in await world.rows("select cause from parked order by id")] == ["fault", "waits"]


async def test_a_request_that_the_database_refuses_hears_it_and_is_not_parked(world: World) -> None:
    world.serve()
    outcome = await world.shell.submit(world.request(plus(uuid4(), 5_000)))
    assert outcome.status == "faulty"
    assert isinstance(outcome.error, asyncpg.CheckViolationError)
    assert await world.one("select count(*) from parked") == 0


async def test_a_decision_too_large_for_a_topic_is_parked_where_it_is_made(world: World) -> None:
    key = uuid4()
    await world.take(world.from_topic(plus(key, 1, play="huge")))
    assert "bytes, at most" in await world.one("select detail from parked")


async def test_a_shared_row_that_only_an_earlier_message_made_known_splits_the_batch_in_two(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shared rows are locked before decisions; a key that appears later is locked by a transaction of its own."""
    key = uuid4()
    transactions = count_calls(monkeypatch, transaction.Transaction, "save")
    await world.take(world.from_topic(plus(key, 1, pot="jar")), world.from_topic(filling(key, 7)))
    assert await world.one("select filled from pots where name = 'jar'") == 7
    assert await world.total(key) == 8
    assert len(transactions) == 2
    assert await world.one("select next_offset from consumer_offsets") == 3


async def test_two_orders_that_fill_the_same_shared_row_in_one_batch_see_each_other(world: World) -> None:
    one, other = uuid4(), uuid4()
    await world.tell(plus(one, 0, pot="jar"), plus(other, 0, pot="jar"))
    await world.tell(filling(one, 3), filling(other, 4))
    assert await world.one("select filled from pots") == 7


async def test_a_known_operation_is_answered_again_by_the_same_journal_row(world: World) -> None:
    """Asking again is a new message of the same operation: no second effect, a second pointer to the first answer."""
    key, operation = uuid4(), uuid4()
    await world.tell(plus(key, 5, operation_id=operation))
    await world.tell(plus(key, 5, operation_id=operation))
    assert await world.total(key) == 5
    ids = await world.rows("select journal_id from outbox order by id")
    assert len(ids) == 2
    assert len({row["journal_id"] for row in ids}) == 1


async def test_what_is_said_of_an_unknown_order_does_nothing_and_counts_when_it_is_said_again_of_a_known_one(
    world: World,
) -> None:
    """After a restore an answer may be read before its order is there again; asked again, it comes with the same id."""
    key = uuid4()
    answer = plus(key, 5, play="if present")
    await world.take(world.from_topic(answer, "a1"), world.from_topic(answer, "a1"))
    assert await world.total(key) is None
    await world.tell(plus(key, 1))
    for _ in range(2):
        await world.take(world.from_topic(answer, "a1"))
    assert await world.total(key) == 6


async def test_an_answer_that_nobody_asked_for_has_its_effects_and_counts_when_it_is_said_again(world: World) -> None:
    key = uuid4()
    for total in (1, 2):
        await world.take(world.from_topic(plus(key, 1, play="unasked"), ce_id="same"))
        assert await world.total(key) == total
    assert await world.one("select count(*) from inbox") == 0


async def test_ids_of_what_a_message_caused_are_the_same_when_it_is_decided_again(world: World) -> None:
    key = uuid4()
    inbound = world.from_topic(plus(key, 1), "again")
    async with world.database.transaction() as tx:
        batch = Batch(world.shell.service, tx, await tx.fetchval("select now()"))
        await batch.load([inbound])
        batch.decide(inbound, 0)
        (row,) = batch._journal
    await world.take(inbound)
    assert await world.rows("select message_id from journal where key = $1", key) == [(UUID(row.message_id),)]
    assert UUID(row.message_id) not in (inbound.id, key)


async def test_an_operation_is_answered_again_by_its_journal_row_however_many_came_after_it(world: World) -> None:
    """The aggregate's row has the latest operations only; the earlier ones are rows of their own, also within one batch."""
    key, operations = uuid4(), [uuid4() for _ in range(2 * ANSWERED_MAX + 3)]
    for operation in operations[: ANSWERED_MAX + 1]:
        await world.tell(plus(key, 1, operation_id=operation))
    await world.tell(*(plus(key, 1, operation_id=operation) for operation in operations[ANSWERED_MAX + 1 :]))
    assert len(loads(await world.one("select answered from counters where key = $1", key))) == ANSWERED_MAX
    assert await world.one("select count(*) from closed_operations where key = $1", key) == ANSWERED_MAX + 3
    await world.do("delete from outbox")
    for told in (operations[:1], operations):
        await world.tell(*(plus(key, 1, operation_id=operation) for operation in told))
    assert await world.total(key) == len(operations)
    again = await world.rows("select j.operation_id from outbox o join journal j on j.id = o.journal_id order by o.id")
    assert [row["operation_id"] for row in again] == [operations[0], *operations]
    await world.tell(plus(uuid4(), 1, operation_id=operations[0]))  # of another key: another operation
    assert await world.one("select count(*) from outbox") == len(again) + 1


async def test_a_new_row_that_somebody_else_made_meanwhile_is_a_conflict_and_the_batch_is_taken_again(
    world: World,
) -> None:
    """No row, no lock: the insert compares instead. Twenty first messages of one key at the same time all count."""
    key = uuid4()
    await asyncio.gather(*(world.take(world.from_topic(plus(key, 1))) for _ in range(6)))
    assert await world.total(key) == 6
    versions = [
        row["version"] for row in await world.rows("select version from journal where key = $1 order by id", key)
    ]
    assert versions == [1, 2, 3, 4, 5, 6]


async def test_a_row_of_the_services_own_that_could_not_be_written_undoes_its_message_and_no_other(
    world: World,
) -> None:
    """Promises 1 and 6: a reservation that would move twice, an operation id that had another effect."""

    class PotTaken(Exception):
        pass

    once = Piece(
        "filled as (insert into pots select * from unnest({0}::text[], {1}::bigint[]) on conflict do nothing returning 1)",
        2,
    )
    (pots,) = SERVICE.shares
    strict = replace(pots, rows=lambda told: Rows(once, [list(told), list(told.values())], "filled", PotTaken))
    world.shell = Shell(replace(SERVICE, shares=(strict,)), world.database, world.metrics)
    world.serve()
    first, second, bystander = uuid4(), uuid4(), uuid4()
    for key in (first, second):
        await world.tell(plus(key, 1, pot="jar"))
    await world.take(world.from_topic(filling(first, 5)))
    await world.take(world.from_topic(filling(second, 7)), world.from_topic(plus(bystander, 3)))
    assert await world.one("select filled from pots where name = 'jar'") == 5
    assert (await world.total(second), await world.total(bystander)) == (1, 3)
    assert await world.one("select count(*) from journal where key = $1", second) == 1
    parked = await world.rows("select key, detail from parked")
    assert [row["key"] for row in parked] == [second]
    assert parked[0]["detail"].startswith("PotTaken in our code")


async def test_compare_and_swap_refuses_a_row_that_was_written_past_its_lock(world: World) -> None:
    key = uuid4()
    inbound = world.from_topic(plus(key, 1))
    async with world.database.transaction() as tx:
        batch = Batch(world.shell.service, tx, await tx.fetchval("select now()"))
        await batch.load([inbound])
        batch.decide(inbound, 0)
        await world.tell(plus(key, 10))
        with pytest.raises(Conflict):
            await batch.save()
    assert await world.total(key) == 10
    assert is_transient(Conflict())


async def test_an_id_that_a_sender_gives_to_several_orders_and_stores_is_several_messages(world: World) -> None:
    """One source, one `ce_id`, one time: each order of each store gets its effect, under ids of its own."""
    told = [plus(uuid4(), 5, store_id=store) for store in (STORE, STORE, "st_2")]
    await world.take(*(world.from_topic(message, "m1") for message in told))
    await world.take(*(world.from_topic(message, "m1") for message in told))
    assert [await world.total(message.order_id) for message in told] == [5, 5, 5]
    assert await world.one("select count(distinct message_id) from journal") == 3
    assert await world.one("select array_agg(distinct cause_id) from journal") == ["m1"]


async def test_a_message_of_another_store_is_parked_and_the_order_does_not_wait_behind_it(world: World) -> None:
    key = uuid4()
    await world.tell(plus(key, 5))
    await world.take(world.from_topic(plus(key, 7, store_id="st_2")), world.from_topic(plus(key, 1)))
    assert await world.total(key) == 6
    [row] = await world.rows("select key, store_id, cause from parked")
    assert tuple(row) == (None, "st_2", "store_differs")
    assert await world.one("select count(*) from parked_keys") == 0


async def test_a_message_without_effect_claims_no_key_for_its_store(world: World) -> None:
    """Both in one batch: the second one's events carry the second one's store."""
    key = uuid4()
    await world.tell(plus(key, 1, play="no", store_id="st_2"), plus(key, 5))
    assert await world.one("select store_id from counters where key = $1", key) == STORE
    assert await world.one("select distinct payload::json->>'store_id' from journal where key = $1", key) == STORE


async def test_an_order_of_another_store_is_not_touched(world: World) -> None:
    key = uuid4()
    await world.tell(plus(key, 1))
    outcome = (await world.tell(plus(key, 1, store_id="st_2")))[0]
    assert outcome.status == "parked"
    assert await world.total(key) == 1


async def test_a_refusal_is_heard_by_the_asker_and_leaves_nothing(world: World) -> None:
    world.serve()
    outcome = await world.shell.submit(world.request(plus(uuid4(), 1, play="no")))
    assert outcome.refusal is not None
    assert outcome.refusal.code == "no"
    assert await world.one("select count(*) from journal") == 0


async def test_the_journal_names_the_store_actor_and_cause_of_every_row(world: World) -> None:
    key = uuid4()
    inbound = world.from_topic(plus(key, 1))
    await world.take(inbound)
    row = (await world.rows("select store_id, actor, cause_type, cause_id, topic from journal"))[0]
    assert tuple(row) == (STORE, "test", "counter.add", inbound.ce_id, "counter.events.v1")


async def test_when_every_connection_is_busy_the_batch_is_taken_again_and_nothing_is_parked() -> None:
    from sqlalchemy.exc import TimeoutError as PoolTimeout

    assert is_transient(PoolTimeout("QueuePool limit"))
    assert not is_transient(ValueError("a bug"))
    assert not is_transient(asyncpg.CheckViolationError("a row"))


def count_calls(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> list[UUID]:
    """How often a method really ran; it still does its work."""
    calls: list[UUID] = []
    original = getattr(owner, name)

    async def counted(*arguments: Any) -> None:
        await original(*arguments)
        calls.append(uuid4())

    monkeypatch.setattr(owner, name, counted)
    return calls


async def test_a_batch_that_needs_too_many_shared_rows_is_split_and_one_message_may_need_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [uuid4() for _ in range(3)]
    await world.tell(*(plus(key, 1, pot=f"pot-{n}") for n, key in enumerate(keys)))
    monkeypatch.setattr(transaction, "SHARED_ROWS_MAX", 0)
    outcomes = await world.tell(*(filling(key, 1) for key in keys))
    assert [outcome.status for outcome in outcomes] == ["done"] * 3
    assert await world.one("select sum(filled) from pots") == 3
    assert await world.one("select count(distinct xmin::text) from pots") == 3, "a transaction for each"


def expressions(sql: str) -> set[str]:
    """The parts of a statement, without the numbers of its parameters, which depend on the parts before it."""
    parts = golden.clauses(golden.normal(sql))
    return {re.sub(r"\$\d+", "$", part).rstrip(", ").removeprefix("with ") for part in parts}


async def test_every_statement_of_a_batch_is_on_its_page(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page of SQL is made without a database: this is what makes it true."""
    sent: list[str] = []
    connect = world.database.connection

    @asynccontextmanager
    async def logged() -> AsyncIterator[asyncpg.Connection]:
        async with connect() as connection:
            with connection.query_logger(lambda query: sent.append(query.query)):
                yield connection

    monkeypatch.setattr(world.database, "connection", logged)
    world.serve()
    key, pot = uuid4(), uuid4()
    first, asking = plus(key, 1), plus(key, 1, play="ask")
    stick = Stick(label_id=uuid4(), store_id=STORE, operation_id=uuid4(), actor="test", text="fragile")
    await world.tell(first, asking, plus(pot, 1, pot="jar"))
    await world.tell(first, stick, filling(pot, 7))  # both tables; an answer again; a shared row
    world.shell.cache.clear()
    await world.take(
        world.from_topic(plus(uuid4(), 1, play="if present"), "a1"), world.from_topic(plus(key, 1, play="boom"))
    )
    for body in (b"one", b"other"):
        await world.shell.submit(world.request(plus(key, 5), "k1", body))
    await world.shell.submit(world.request(plus(uuid4(), 1, play="boom"), "k2"))
    steps = await asyncio.to_thread(lambda: list(golden.steps(SERVICE)))
    on_page = {part for step in steps for part in expressions(step.sql)}
    ours = [
        sql for sql in sent if not sql.lstrip()[0].isupper()
    ]  # the driver's own are BEGIN, COMMIT and its queries for types
    others = {part for sql in ours for part in expressions(sql)} - on_page
    counts = "select array(select key from held)"  # ends with a count for each table that was written
    assert not {part for part in others if not part.startswith(counts)}
    assert len(set(ours)) > 10
