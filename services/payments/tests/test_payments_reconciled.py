"""Reconciliations on a real PostgreSQL and a gateway with a book of its own: each difference once, applied once, or left."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from payments_database import URL
from payments_reconciled import SCOPES, Books, books

from chassis.batch.database import Database
from contracts.payments import Capture, Refund
from payments import comparing, reconciliations, reconciling
from payments.gateways import test
from payments.gateways.test import TestGateway
from payments.reconciling import Reconciler
from tests.test_hostile_requests import Client

pytestmark = [pytest.mark.real, pytest.mark.skipif(not URL, reason="PAYMENTS_TEST_DATABASE_URL is not set")]


@pytest_asyncio.fixture
async def mine(database: Database) -> AsyncIterator[Books]:
    async with books() as one:
        yield one


async def test_what_the_gateway_made_alone_is_found_and_booked_once(mine: Books) -> None:
    order, authorization, capture = await mine.paid(10_00, 4_00)
    await mine.refund(order, capture, 1_00)
    assert (await mine.reconciled())["found"] == 0, "all is as the gateway has it"
    name = mine.made(kind="capture", amount_minor=2_50, refers_to=str(authorization))
    back = mine.made(kind="refund", amount_minor=75, refers_to=str(capture))
    done = await mine.reconciled()
    assert (done["listed"], done["orders"], done["found"], done["error"]) == (4, 1, 2, "")
    found = {one["theirs"]["reference"]: one for one in await mine.differences("?status=open")}
    assert {name: one["kind"] for name, one in found.items()} == {name: "not_booked", back: "not_booked"}
    assert {one["proposal"] for one in found.values()} == {"book"}
    for reference in (name, back):
        path = f"/v1/differences/{found[reference]['difference_id']}/apply"
        answers = await asyncio.gather(*(mine.http("POST", path, {"reason": "seen"}, f"key {n}") for n in range(4)))
        assert sorted(status for status, _ in answers) == [200, 409, 409, 409], answers
        assert {answer["type"] for status, answer in answers if status == 409} <= {
            "/problems/difference_closed", "/problems/difference_changed"}  # fmt: skip
        again = await asyncio.gather(*(mine.http("POST", path, {"reason": "seen"}, f"key {n}") for n in range(4)))
        assert again.count(next(one for one in answers if one[0] == 200)) >= 1, "the same answer to the same key"
    assert await mine.moved(order) == (6_50, 1_75)
    assert (await mine.reconciled())["found"] == 0
    assert await mine.kinds() == {"not_booked": "applied"}


async def test_what_was_made_twice_is_given_back_once(mine: Books) -> None:
    order, _, capture = await mine.paid(10_00)
    mine.again(capture)
    await mine.reconciled()
    [one] = await mine.differences()
    assert (one["kind"], one["proposal"], one["ours"]["operation_id"]) == ("made_twice", "refund", str(capture))
    path = f"/v1/differences/{one['difference_id']}/apply"
    no_refunds = Client(mine.app, await mine.app.keys.create(mine.store_id, "clerk", ["payments.reconcile"]))
    status, answer = await no_refunds("POST", path, b"{}")
    assert status == 403 and "payments.refund" in json.loads(answer)["detail"]
    answers = await asyncio.gather(*(mine.http("POST", path, {}, f"key {n}") for n in range(3)))
    assert sorted(status for status, _ in answers) == [200, 409, 409]
    refund = "select operation_id from operations where order_id = $1 and kind = 'refund'"
    [row] = await mine.app.fetch(refund, order)
    await mine.ended(row["operation_id"])
    assert mine.moved_at_gateway("capture") - mine.moved_at_gateway("refund") == 10_00
    assert await mine.moved(order) == (20_00, 10_00)
    assert (await mine.reconciled())["found"] == 0


async def test_a_difference_is_the_same_row_and_closes_itself_when_it_is_gone(mine: Books) -> None:
    _, _, wrong = await mine.paid(10_00)
    mine.at_gateway_as(wrong, amount_minor=9_00)
    _, _, missing = await mine.paid(7_00)
    mine.forgets(missing)
    mine.made(kind="capture", amount_minor=5_00, refers_to="of no one")
    await mine.reconciled()
    first = await mine.differences()
    assert {one["kind"]: one["proposal"] for one in first} == {
        "amount_differs": "ask", "payment_unknown": "ask", "not_at_gateway": "ask"}  # fmt: skip
    await mine.reconciled()
    assert await mine.differences() == first, "found again, each is the same"
    left = next(one for one in first if one["kind"] == "payment_unknown")
    asked = next(one for one in first if one["kind"] == "amount_differs")
    status, problem = await mine.http("POST", f"/v1/differences/{asked['difference_id']}/apply", {})
    assert (status, problem["type"]) == (409, "/problems/proposal_missing")
    status, done = await mine.http(
        "POST", f"/v1/differences/{left['difference_id']}/dismiss", {"reason": "a test charge"}
    )
    assert (status, done["status"], done["reason"]) == (200, "dismissed", "a test charge")
    status, problem = await mine.http("POST", f"/v1/differences/{left['difference_id']}/dismiss", {"reason": "again"})
    assert (status, problem["type"]) == (409, "/problems/difference_closed")
    mine.at_gateway_as(wrong, amount_minor=10_00)
    assert (await mine.reconciled())["gone"] == 1
    assert (await mine.kinds()).items() >= {"amount_differs": "gone", "payment_unknown": "dismissed"}.items()
    other = Client(mine.app, await mine.app.keys.create("st_other", f"other {uuid4()}", SCOPES))
    assert (await other("GET", f"/v1/differences/{left['difference_id']}"))[0] == 404
    assert (await other("POST", f"/v1/differences/{left['difference_id']}/apply", b"{}"))[0] == 404


async def test_what_a_gateway_made_outside_the_period_or_has_not_made_yet_is_no_difference(mine: Books) -> None:
    order, _, early = await mine.paid(10_00)
    mine.at_gateway_as(early, settles_at=mine.began.timestamp() - 3600)
    mine.faults.tell(order, {"refund": "silent"})
    waiting = await mine.submit(Refund, order, 1_00, wait=False, capture_id=early)
    while not any(entry.key == str(waiting) for entry in mine.gateway.entries):
        await asyncio.sleep(0.01)
    done = await mine.reconciled()
    assert (done["listed"], done["orders"], done["found"]) == (1, 1, 0)
    mine.faults.tell(order, {"refund": None})
    await mine.ended(waiting)
    assert (await mine.reconciled())["found"] == 0


async def test_what_failed_here_and_succeeded_there_is_booked(mine: Books) -> None:
    order, authorization, _ = await mine.paid(10_00, 4_00)
    mine.faults.tell(order, {"capture": "declined"})
    refused = await mine.submit(Capture, order, 3_00, authorization_id=authorization)
    assert (await mine.reconciled())["found"] == 0
    mine.at_gateway_as(refused, state="succeeded", code="")
    await mine.reconciled()
    [one] = await mine.differences()
    assert (one["kind"], one["proposal"], one["ours"]["operation_id"]) == ("state_differs", "book", str(refused))
    status, done = await mine.http("POST", f"/v1/differences/{one['difference_id']}/apply", {})
    assert (status, done["status"]) == (200, "applied"), done
    assert await mine.moved(order) == (7_00, 0)
    assert (await mine.reconciled())["found"] == 0


async def test_a_proposal_is_refused_when_the_ledger_has_changed_or_has_no_room(mine: Books) -> None:
    order, authorization, capture = await mine.paid(10_00, 4_00)
    mine.made(kind="refund", amount_minor=4_01, refers_to=str(capture))
    name = mine.made(kind="capture", amount_minor=2_00, refers_to=str(authorization))
    await mine.reconciled()
    dear, known = sorted(await mine.differences(), key=lambda one: -int(one["theirs"]["amount_minor"]))
    status, problem = await mine.http("POST", f"/v1/differences/{dear['difference_id']}/apply", {})
    assert (status, problem["type"]) == (409, "/problems/proposal_refused")
    assert (problem["because"], problem["line"], problem["allowed_minor"]) == ("exceeds_refundable", "1", 4_00)
    own = await mine.submit(Capture, order, 2_00, authorization_id=authorization)
    await mine.app.fetch("update operations set gateway_reference = $2 where operation_id = $1", own, name)
    status, problem = await mine.http("POST", f"/v1/differences/{known['difference_id']}/apply", {})
    assert (status, problem["type"]) == (409, "/problems/difference_changed")
    assert await mine.moved(order) == (6_00, 0)


async def test_a_reconciliation_goes_on_where_it_was_killed_and_two_processes_do_it_once(
    mine: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is killed at every one of its steps, before and after what the step writes."""
    for module, name in ((test, "PAGE_ROWS"), (comparing, "CHUNK_ORDERS"), (comparing, "CHUNK_ROWS"), (reconciling, "CHUNK_ORDERS"), (reconciling, "CHUNK_ROWS")):  # fmt: skip
        monkeypatch.setattr(module, name, 2)
    orders = [await mine.paid(10_00, 4_00) for _ in range(5)]
    for _, authorization, _ in orders[:3]:
        mine.made(kind="capture", amount_minor=50, refers_to=str(authorization))
    for n in range(3):
        mine.made(kind="refund", amount_minor=5_00, refers_to=f"of no one {n}")
    path = await mine.asked()
    steps = 0
    real_save, real_listed = reconciliations.save, TestGateway.listed

    class Killed(BaseException):
        pass

    turn: dict[str, Any] = {"left": 0}

    def tick() -> None:
        turn["left"] -= 1
        if turn["left"] == 0:
            raise Killed

    async def save(*given: Any, **more: Any) -> Any:
        tick()
        saved = await real_save(*given, **more)
        tick()
        return saved

    async def listed(*given: Any) -> Any:
        tick()
        return await real_listed(*given)

    monkeypatch.setattr(reconciliations, "save", save)
    monkeypatch.setattr(TestGateway, "listed", listed)
    while True:
        steps += 1
        turn["left"] = steps % 4 + 1
        try:
            assert await Reconciler(mine.app).one(), "it is due until it has ended"
        except Killed:
            await mine.app.fetch("update reconciliations set lease_until = null where ended_at is null")
            continue
        _, one = await mine.http("GET", path)
        assert one["error"] == "", "only a kill stops a step"
        if one["ended_at"]:
            break
    assert steps > 10
    assert (one["state"], one["listed"], one["orders"], one["found"]) == ("done", 11, 5, 6)
    assert sorted(one["kind"] for one in await mine.differences()) == ["not_booked"] * 3 + ["payment_unknown"] * 3
    assert {one["version"] for one in await mine.differences()} == {1}, "each was found once"
    turn["left"] = -1
    path = await mine.asked()
    await asyncio.gather(*(Reconciler(mine.app).one() for _ in range(4)))
    _, one = await mine.http("GET", path)
    assert (one["state"], one["listed"], one["found"]) == ("done", 11, 6)


async def test_a_process_that_is_frozen_past_its_lease_changes_nothing_when_it_wakes(
    mine: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has read a page of the list; another process does the whole reconciliation meanwhile."""
    _, authorization, _ = await mine.paid(10_00, 4_00)
    mine.made(kind="capture", amount_minor=50, refers_to=str(authorization))
    frozen, other = Reconciler(mine.app), Reconciler(mine.app)
    frozen._holder, other._holder = "frozen:1", "other:2"
    asleep, woken, real_listed = asyncio.Event(), asyncio.Event(), TestGateway.listed

    async def listed(*given: Any) -> Any:
        page = await real_listed(*given)
        if not asleep.is_set():
            asleep.set()
            await woken.wait()
        return page

    monkeypatch.setattr(TestGateway, "listed", listed)
    path = await mine.asked()
    sleeping = asyncio.create_task(frozen.one())
    await asleep.wait()
    await mine.app.fetch(
        "update reconciliations set lease_until = clock_timestamp() - interval '1 s' where ended_at is null"
    )
    assert await other.one()
    done = await mine.http("GET", path)
    assert (done[1]["state"], done[1]["listed"], done[1]["found"]) == ("done", 2, 1)
    woken.set()
    assert await sleeping
    assert await mine.http("GET", path) == done
    assert [one["version"] for one in await mine.differences()] == [1]
    assert (await mine.app.fetch("select count(*) as n from reconciled_rows"))[0]["n"] == 0


async def test_what_is_not_there_is_answered_with_its_code(mine: Books) -> None:
    period = {"begins_at": "2026-11-01T00:00:00Z", "ends_at": "2026-11-02T00:00:00Z"}
    for gateway, status, code in (("manual", 409, "list_missing"), ("stripe", 404, "gateway_unknown")):
        answered, problem = await mine.http("POST", "/v1/reconciliations", {"gateway": gateway, **period})
        assert (answered, problem["type"]) == (status, f"/problems/{code}")
    for path, code in (
        ("reconciliations", "reconciliation_unknown"), ("settlements", "settlement_unknown"), ("differences", "difference_unknown"),
    ):  # fmt: skip
        answered, problem = await mine.http("GET", f"/v1/{path}/{uuid4()}")
        assert (answered, problem["type"]) == (404, f"/problems/{code}")


async def test_nights_are_made_once_for_accounts_that_have_a_list(mine: Books) -> None:
    now = datetime(2026, 11, 29, 1, 59, tzinfo=UTC)
    add = (
        "insert into gateway_accounts (store_id, gateway, account, credentials, settings)"
        """ select $1, gateway, $1, '{"api_key": "env:X"}', '{}' from unnest(array['stripe', 'other']) as gateway"""
    )
    await mine.app.fetch(add, mine.store_id)

    async def made(at: datetime) -> int:
        return int(await mine.app.write(lambda tx: reconciliations.create_nightly(tx, ["stripe"], at, 2)))

    assert [await made(now), await made(now), await made(now + timedelta(minutes=1))] == [3, 0, 1]
    rows = await mine.app.fetch(
        "select begins_at, ends_at from reconciliations where store_id = $1 order by 1", mine.store_id
    )
    assert [row["begins_at"].day for row in rows] == [25, 26, 27, 28]
    assert {row["ends_at"] - row["begins_at"] for row in rows} == {timedelta(days=1)}
