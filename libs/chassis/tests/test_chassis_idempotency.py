"""An Idempotency-Key is stored in the transaction of its effect: the second request gets the first one's bytes."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from chassis_counter import World, plus

from chassis.batch.idempotency import KeyReused

pytestmark = pytest.mark.real


async def test_the_same_request_again_gets_the_same_bytes_and_no_second_effect(world: World) -> None:
    world.serve()
    key = uuid4()
    first = await world.shell.submit(world.request(plus(key, 5), "k1"))
    second = await world.shell.submit(world.request(plus(key, 5), "k1"))
    assert first.answer is not None
    assert second.answer is not None
    assert (second.status, second.answer.body, second.answer.status) == ("duplicate", first.answer.body, 200)
    assert second.answer.headers["idempotency-replayed"] == "true"
    assert await world.total(key) == 5


async def test_fifty_of_the_same_request_at_once_have_one_effect_and_one_answer(world: World) -> None:
    world.serve()
    key = uuid4()
    outcomes = await asyncio.gather(*(world.shell.submit(world.request(plus(key, 5), "k1")) for _ in range(50)))
    assert len({outcome.answer.body for outcome in outcomes if outcome.answer is not None}) == 1
    assert await world.total(key) == 5


async def test_the_key_with_another_body_is_told_so_and_has_no_effect(world: World) -> None:
    world.serve()
    key = uuid4()
    await world.shell.submit(world.request(plus(key, 5), "k1", b"one"))
    outcome = await world.shell.submit(world.request(plus(key, 6), "k1", b"other"))
    assert isinstance(outcome.error, KeyReused)
    assert await world.total(key) == 5
    repeated = await world.shell.submit(world.request(plus(key, 5), "k1", b"one"))
    assert repeated.status == "duplicate"


async def test_keys_of_two_stores_do_not_meet(world: World) -> None:
    world.serve()
    one, other = uuid4(), uuid4()
    await asyncio.gather(
        world.shell.submit(world.request(plus(one, 1), "k1")),
        world.shell.submit(world.request(plus(other, 2, store_id="st_2"), "k1")),
    )
    assert (await world.total(one), await world.total(other)) == (1, 2)


async def test_a_request_that_failed_by_our_fault_leaves_its_key_free(world: World) -> None:
    world.serve()
    key = uuid4()
    assert (await world.shell.submit(world.request(plus(key, 1, play="boom"), "k1"))).status == "faulty"
    assert await world.one("select count(*) from idempotency") == 0
    assert (await world.shell.submit(world.request(plus(key, 1), "k1"))).status == "done"


async def test_a_business_no_is_kept_like_a_yes(world: World) -> None:
    world.serve()
    first = await world.shell.submit(world.request(plus(uuid4(), 1, play="no"), "k1"))
    second = await world.shell.submit(world.request(plus(uuid4(), 1, play="no"), "k1"))
    assert first.answer is not None
    assert second.answer is not None
    assert second.answer.body == first.answer.body
