"""What is refused comes back: retried a few times by itself, then by a person; in order, and never twice."""

from __future__ import annotations

import asyncio
import hashlib
from uuid import UUID, uuid4

import pytest
from chassis_counter import Add, World, plus

from chassis.batch import parking
from chassis.batch.inbound import Inbound
from chassis.batch.parking import Rejected
from chassis.batch.record import HEADERS_BYTES_MAX, VALUE_BYTES_MAX
from chassis.work import parked
from chassis.work.replay import CHUNK

pytestmark = pytest.mark.real


async def park_one_with_two_behind(world: World, key: UUID) -> None:
    await world.take(*(world.from_topic(plus(key, n, play="boom" if n == 1 else "")) for n in (1, 10, 100)))
    assert await world.total(key) is None


async def mend(world: World) -> None:
    """What a fixed deployment would do: the parked body is understood."""
    await world.do("update parked set value = convert_to(replace(convert_from(value, 'UTF8'), 'boom', ''), 'UTF8')")


async def waiting(world: World) -> list[str]:
    return [row["cause"] for row in await world.rows("select cause from parked where state = 'waiting' order by id")]


async def test_a_replay_takes_what_waits_in_order_and_unparks_when_nothing_is_left(world: World) -> None:
    """Promise 2 and 6: replay after a fix keeps the order."""
    key = uuid4()
    await park_one_with_two_behind(world, key)
    await mend(world)
    done = await world.replays.replay_key(key, "person:ann")
    assert (done.replayed, done.left, done.stopped_at) == (3, 0, None)
    amounts = await world.rows(
        "select payload::json->>'amount' as a, payload::json->>'total' as t from journal order by id"
    )
    assert [(row["a"], row["t"]) for row in amounts] == [("1", "1"), ("10", "11"), ("100", "111")]
    assert await world.one("select count(*) from parked_keys") == 0
    assert {row["settled_by"] for row in await world.rows("select settled_by from parked")} == {"person:ann"}


async def test_a_record_is_parked_once_and_another_one_of_the_same_offset_of_a_new_broker_is_parked_too(
    world: World,
) -> None:
    """Promise 6: no rejected message is lost or parked twice."""
    old, other = world.from_topic(plus(uuid4(), 1)), world.from_topic(plus(uuid4(), 2))
    assert old.record is not None and other.record is not None
    anew = other.record._replace(offset=old.record.offset)
    for record in (old.record, old.record, anew, anew):
        await world.take(Rejected(record, None, "bad_body", "no"))
    parked = await world.rows("select record_key from parked order by id")
    assert [bytes(row["record_key"]) for row in parked] == [old.record.key, other.record.key]


async def test_a_replay_stops_at_the_first_failure_and_what_waits_behind_it_goes_on_waiting(world: World) -> None:
    key = uuid4()
    await park_one_with_two_behind(world, key)
    done = await world.replays.replay_key(key, "person:ann")
    assert (done.replayed, done.left) == (0, 3)
    assert done.detail == "ValueError in our code; the log of the service has the cause"
    assert await waiting(world) == ["fault", "waits", "waits"]
    assert await world.total(key) is None


async def test_a_replay_longer_than_a_chunk_is_several_transactions_and_leaves_nothing(world: World) -> None:
    key = uuid4()
    many = [world.from_topic(plus(key, 1, play="boom" if n == 0 else "")) for n in range(2 * CHUNK + 1)]
    await world.take(*many)
    await mend(world)
    done = await world.replays.replay_key(key, "retry")
    assert (done.replayed, done.left) == (2 * CHUNK + 1, 0)
    assert await world.total(key) == 2 * CHUNK + 1


async def test_while_an_order_is_parked_a_persons_request_and_a_report_still_apply(world: World) -> None:
    key = uuid4()
    await park_one_with_two_behind(world, key)
    world.serve()
    outcome = await world.shell.submit(world.request(plus(key, 7)))
    assert (outcome.status, await world.total(key)) == ("done", 7)


async def test_a_message_that_was_sent_twice_and_parked_twice_is_handled_once_when_it_is_replayed(world: World) -> None:
    """Promise 1: poison is parked before it is claimed, so the claim is made when it is replayed."""
    key = uuid4()
    message = plus(key, 5)
    refused = [Rejected(world.record(message, "same"), key, "bad_body", "as yet") for _ in range(2)]
    await world.take(*refused)
    done = await world.replays.replay_key(key, "person:ann")
    assert (done.replayed, done.left) == (2, 0)
    assert await world.total(key) == 5
    again = Rejected(world.record(message, "same"), key, "bad_body", "sent a third time")
    await world.take(again)
    await world.replays.replay_key(key, "person:ann")
    assert await world.total(key) == 5


async def test_the_same_record_read_again_is_parked_once(world: World) -> None:
    key = uuid4()
    refused = Rejected(world.record(plus(key)), key, "bad_body", "no")
    await world.take(refused)
    await world.take(refused)
    assert await world.one("select count(*) from parked") == 1


async def test_poison_without_an_order_blocks_nobody_and_is_replayed_alone(world: World) -> None:
    key = uuid4()
    await world.take(Rejected(world.record(plus(key, 3)), None, "unknown_type", "not yet"))
    await world.tell(plus(key, 1))
    assert await world.total(key) == 1
    done = await world.replays.replay_one(await world.one("select id from parked"), "person:ann")
    assert (done.replayed, await world.total(key)) == (1, 4)


async def test_a_parked_order_retries_itself_three_times_and_then_waits_for_a_person(world: World) -> None:
    key = uuid4()
    await park_one_with_two_behind(world, key)
    tries = 0
    for expected in (1, 2, 3, 4):
        assert await world.replays.retry_due()
        row = (await world.rows("select retries, retry_at from parked_keys"))[0]
        assert row["retries"] == expected
        tries += row["retry_at"] is not None
        await world.do("update parked_keys set retry_at = now() where retry_at is not null")
    assert tries == 3
    assert not await world.replays.retry_due()
    assert await waiting(world) == ["fault", "waits", "waits"]


async def test_a_retry_after_a_fix_needs_nobody(world: World) -> None:
    key = uuid4()
    await park_one_with_two_behind(world, key)
    await mend(world)
    assert await world.replays.retry_due()  # books the pause
    await world.do("update parked_keys set retry_at = now()")
    assert await world.replays.retry_due()
    assert await world.total(key) == 111
    assert not await world.replays.retry_due()


async def test_an_edited_message_takes_the_place_of_its_original_whose_bytes_are_kept(world: World) -> None:
    key = uuid4()
    await park_one_with_two_behind(world, key)
    first = await world.one("select min(id) from parked")
    edited = plus(key, 2).model_dump_json().encode()
    async with world.database.transaction() as tx:
        await parked.edit(tx, await parked.hold(tx, first), "person:ann", edited)
    done = await world.replays.replay_key(key, "person:ann")
    assert (done.replayed, await world.total(key)) == (3, 112)
    kept = (await world.rows("select value, settled_by from parked where state = 'edited'"))[0]
    assert Add.model_validate_json(kept["value"]).play == "boom"
    assert kept["settled_by"] == "person:ann"


async def test_a_discard_is_audited_and_lets_the_order_go_on(world: World) -> None:
    """Promise 6: the one allowed loss."""
    key = uuid4()
    await park_one_with_two_behind(world, key)
    first = await world.one("select min(id) from parked")
    async with world.database.transaction() as tx:
        assert len(await parked.discard(tx, parked.Chosen(ids=[first]), "person:ann", "a test")) == 1
    async with world.database.transaction() as tx:
        assert await parked.discard(tx, parked.Chosen(ids=[first]), "person:bob", "late") == []
    await world.replays.replay_key(key, "person:ann")
    assert await world.total(key) == 110
    row = (await world.rows("select state, settled_by, settled_at from parked where id = $1", first))[0]
    assert (row["state"], row["settled_by"]) == ("discarded", "person:ann")


async def test_a_replay_racing_with_newly_arriving_messages_strands_none_and_keeps_their_order(world: World) -> None:
    """Promise 2 and 6: consumer and replay lock the same row."""
    for _ in range(5):
        key = uuid4()
        await park_one_with_two_behind(world, key)
        await mend(world)
        late = [world.from_topic(plus(key, 1_0)) for _ in range(10)]

        async def consume(entries: list[Inbound]) -> None:
            for entry in entries:
                await world.take(entry)

        await asyncio.gather(consume(late), world.replays.replay_key(key, "a"), world.replays.replay_key(key, "b"))
        while await world.one("select count(*) from parked_keys where key = $1", key):
            await world.replays.replay_key(key, "c")
        assert await world.one("select count(*) from parked where state = 'waiting' and key = $1", key) == 0
        totals = await world.rows(
            "select (payload::json->>'total')::int as t from journal where key = $1 order by id", key
        )
        assert [row["t"] for row in totals] == [1, 11, 111, *range(121, 212, 10)]


async def test_a_message_that_kills_every_transaction_is_parked_and_its_detail_shows_no_error_of_the_driver(
    world: World,
) -> None:
    entry = world.from_topic(plus(uuid4(), 9_999))
    await world.take(entry)
    detail = await world.one("select detail from parked")
    assert detail == f"the database refuses it; the log of the service has the cause (message {entry.id})"
    assert parking.plain("a\0b\ud800") == "a\\0b\\ud800"  # what PostgreSQL could not keep


async def test_of_a_large_value_the_beginning_and_the_hash_are_stored_and_only_an_edit_brings_it_back(
    world: World,
) -> None:
    """Promise 6: a flood of large records must not fill the database, and a part of a message is never handled."""
    key, large = uuid4(), b"x" * (VALUE_BYTES_MAX + 5)
    good = world.from_topic(plus(key, 1))
    assert good.record is not None
    foreign = [(f"h{n}", b"x" * 1000) for n in range(2_000)]
    bad = good.record._replace(key=str(key).encode(), value=large, headers=[*foreign, *good.record.headers])
    await world.take(Rejected(bad, key, "too_large", "no", good.store_id, good.type))
    (row,) = await world.rows("select *, pg_column_size(headers) as header_bytes from parked")
    assert (row["value"], row["value_bytes"]) == (large[:VALUE_BYTES_MAX], len(large))
    assert hashlib.sha256(large).hexdigest() in row["detail"]
    assert row["header_bytes"] < 3 * HEADERS_BYTES_MAX
    done = await world.replays.replay_key(key, "person:ann")
    assert (done.replayed, done.left, done.stopped_at) == (0, 1, row["id"])
    assert "only the first part" in done.detail and "edit it" in done.detail
    edited = await world.replays.edit(row["id"], plus(key, 1).model_dump_json().encode(), "person:ann")
    assert edited is not None and (edited.replayed, edited.left, edited.stopped_at) == (1, 0, None)
    assert await world.total(key) == 1
