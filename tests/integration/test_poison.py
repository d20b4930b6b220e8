"""Bad input among good traffic delays only its own order (promise 6): parked with its cause, fixed, replayed in order."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import aiohttp
from aiokafka import AIOKafkaProducer, TopicPartition

from chassis.kafka.attempts import CRASHES_MAX
from chassis.kafka.decompression import bound_decompression
from contracts.envelope import read
from contracts.registry import SNAPSHOTS
from devservices.raw_batches import ZSTD, batch, binary_header
from devservices.raw_batches import send as send_batch
from system.processes import Member
from tests.integration import test_force as forced
from tests.integration.poison import POISONS, Poison, Raw, send_raw
from tests.integration.shop import STORE, Options, Shop, SnapshotRecord
from tests.waiting import PATIENCE_SECONDS

bound_decompression()  # as in every service: the checker, which runs in this process, reads the same topics

SHOP = Options(
    gateway=("--latency-ms", "5", "--hold-ms", "200"),
    static_members=True,
    markets={"slow": {"approval": "manual"}},
    # Orders waits for a person all through these tests; payments retries itself quickly.
    settings={
        "ORDERS_PARK_RETRY_SECONDS": "3600",
        "PAYMENTS_PARK_RETRY_SECONDS": "0.2",
        "PAYMENTS_GATEWAY_BACKOFF_SECONDS_MAX": "0.5",
    },
)
SOURCE = "api/main"
PARKED = 'select * from parked where topic = $1 and partition = $2 and "offset" = $3 and edited_from is null'


def later(first: SnapshotRecord, number: int = 1, **changed: Any) -> Raw:
    """A newer snapshot of the same order."""
    body = json.loads(first.value)
    body["source"] |= {
        "updated_at": (datetime.now(UTC) + timedelta(seconds=number)).isoformat(),
        "content_hash": f"{number}",
    }
    body["order"] |= changed
    raw = replace(Raw.of(first), value=json.dumps(body).encode())
    return raw.with_header("ce_id", f"{first.order_id}-{number}".encode())


async def parked_row(shop: Shop, place: tuple[int, int], topic: str = SNAPSHOTS, service: str = "orders") -> Any:
    async def row() -> Any:
        rows = await shop.rows(service, PARKED, topic, *place)
        return rows[0] if rows else None

    return await shop.until(row, f"a parked row for {topic} {place}")


async def types_of(shop: Shop, order: str) -> list[str]:
    rows = await shop.rows("orders", "select type from journal where key = $1 and version > 0 order by id", UUID(order))
    return [row["type"] for row in rows]


@dataclass
class Case:
    poison: Poison
    good: SnapshotRecord
    place: tuple[int, int]
    behind: tuple[int, int]


async def spoilt(shop: Shop, poisons: Sequence[Poison]) -> tuple[list[Case], list[str]]:
    """Sends one order per poison: the bad message, then a good one. Also returns the good orders sent among them, by id."""
    cases: list[Case] = []
    others: list[str] = []
    for poison in poisons:
        good = shop.snapshot()
        others += await shop.send_snapshots(2)
        place, behind = await send_raw(shop, [poison.spoil(Raw.of(good)), later(good, lifecycle="cancelled")])
        cases.append(Case(poison, good, place, behind))
    return cases, others


async def discard(shop: Shop, case: Case) -> Any:
    """By a person of its store, or an administrator if no store can be read. Returns the parked row."""
    row = await parked_row(shop, case.place)
    who = await operator(shop, None if row["store_id"] is None else STORE, "parked.edit")
    assert (await who("POST", f"/v1/parked/{row['id']}/replay"))[0] == 409, case.poison.name
    status, answer = await who("POST", f"/v1/parked/{row['id']}/discard")
    assert (status, answer) == (200, {"discarded": row["id"]})
    return await parked_row(shop, case.place)


async def test_each_poison_is_parked_with_its_cause_while_all_other_orders_go_on(shop: Shop) -> None:
    """Promise 6: and later messages of the same order wait behind it, wherever its key is an order id."""
    cases, others = await spoilt(shop, POISONS)
    others += await shop.send_snapshots(10)
    await shop.until_at_rest(others)
    for case in cases:
        row = await parked_row(shop, case.place)
        assert (case.poison.name, row["cause"]) == (case.poison.name, case.poison.cause), row["detail"]
        assert (case.poison.name, row["key"] is not None) == (case.poison.name, case.poison.blocks)
        known = await shop.rows("orders", "select status from orders where key = $1", UUID(case.good.order_id))
        if case.poison.blocks:
            assert (await parked_row(shop, case.behind))["cause"] == "waits", case.poison.name
            assert not known, case.poison.name
        else:  # the later message is the first of its order that is handled
            assert [row["status"] for row in known] == ["cancelled"], case.poison.name
    await shop.assert_promises(parked=True)
    for case in cases:
        await discard(shop, case)


async def test_batches_that_the_client_cannot_read_are_parked_and_cost_no_other_record(shop: Shop) -> None:
    """Promises 1 and 6: on several partitions at once, in a flow of good orders; lz4 beside them is read as it should be."""
    good, compressed = await shop.send_snapshots(20), [shop.snapshot() for _ in range(5)]
    bad = {
        (partition, cause): raw
        for partition in (2, 7)
        for cause, raw in (
            ("batch_unreadable", binary_header(batch([b"{}"] * 2))),
            ("batch_too_large", batch([b"0" * (64 << 20)], codec=ZSTD)),
        )
    }
    places: dict[tuple[int, int], str] = {}
    async with AIOKafkaProducer(bootstrap_servers=shop.kafka.bootstrap_servers) as producer:
        for (partition, cause), raw in bad.items():
            offset = await send_batch(producer, TopicPartition(SNAPSHOTS, partition), raw)
            places[partition, offset] = cause
            good += await shop.send_snapshots(10)
    async with AIOKafkaProducer(bootstrap_servers=shop.kafka.bootstrap_servers, compression_type="lz4") as producer:
        for one in compressed:
            raw_one = Raw.of(one)
            await producer.send_and_wait(SNAPSHOTS, raw_one.value, key=raw_one.key, headers=list(raw_one.headers))
    await shop.until_at_rest([*good, *(one.order_id for one in compressed)])
    root = await operator(shop, None, "parked.view", "parked.edit")
    for place, cause in places.items():
        row = await parked_row(shop, place)
        assert (row["cause"], row["key"]) == (cause, None), row["detail"]
        assert f"offsets {place[1]} to " in row["detail"]
        status, answer = await root("POST", f"/v1/parked/{row['id']}/replay")
        assert (status, answer["type"]) == (409, "/problems/message_unreplayable")
        assert (await root("POST", f"/v1/parked/{row['id']}/discard"))[0] == 200
    assert await metric(shop, "orders", "tradewind_batches_unreadable_total") >= len(places)
    assert (await shop.call("orders", "GET", "/health/ready"))[0] == 200
    await shop.assert_promises(parked=True)


async def test_an_edited_message_takes_its_place_before_those_that_waited_behind_it(shop: Shop) -> None:
    mended, _ = await spoilt(shop, [poison for poison in POISONS if poison.mends and poison.blocks])
    assert len(mended) > 5
    for case in mended:
        assert (await parked_row(shop, case.behind))["cause"] == "waits", case.poison.name
    for case in mended:
        row = await parked_row(shop, case.place)
        still_bad = {"value": "[]"}
        status, answer = await shop.call("orders", "POST", f"/v1/parked/{row['id']}/edit", still_bad)
        assert (status, [one["where"] for one in answer["errors"]]) == (422, ["value"]), case.poison.name
        status, answer = await shop.call(
            "orders", "POST", f"/v1/parked/{row['id']}/edit", {"value": case.good.value.decode()}
        )
        assert (status, answer) == (200, {"replayed": 2, "left": 0}), case.poison.name
        kept = await shop.rows("orders", "select state, value from parked where id = any($1) or edited_from = $2 or"
                               ' (topic = $3 and partition = $4 and "offset" = $5) order by id',
                               [row["id"]], row["id"], SNAPSHOTS, *case.place)  # fmt: skip
        assert ("edited", row["value"]) in [(one["state"], one["value"]) for one in kept], (
            "the original bytes are stored"
        )
    keys = [case.good.order_id for case in mended]
    await shop.until_at_rest(keys)
    for key in keys:  # received first, then cancelled: the other way round it would have begun as a cancelled one
        types = await types_of(shop, key)
        assert types[0] == "orders.received" and "orders.cancelled" in types, types
    await shop.assert_promises(parked=True)


async def test_a_discard_is_audited_and_lets_the_order_go_on(shop: Shop) -> None:
    """The one allowed loss (promise 6)."""
    hopeless, _ = await spoilt(shop, [poison for poison in POISONS if not poison.mends])
    for case in hopeless:
        row = await discard(shop, case)
        assert (row["state"], row["settled_by"]) == ("discarded", "api-key:cli") and row["settled_at"] is not None
    await shop.until_at_rest([case.good.order_id for case in hopeless])
    assert not await shop.rows("orders", "select * from parked_keys")
    await shop.assert_promises()


async def test_stores_do_not_see_each_others_parked_messages_and_scopes_are_asked_for(shop: Shop) -> None:
    readable, nobodys = Raw.of(shop.snapshot()), Raw.of(shop.snapshot())
    places = await send_raw(shop, [replace(readable, value=b"{"), nobodys.without_header("ce_storeid")])
    mine, unreadable = [(await parked_row(shop, place))["id"] for place in places]
    clerk = await operator(shop, STORE, "parked.view")
    other = await operator(shop, "other", "parked.view", "parked.edit")
    root = await operator(shop, None, "parked.view", "parked.edit")
    blind = await operator(shop, STORE, "orders.view")

    assert await seen(clerk) == {mine} and await seen(other) == set() and await seen(root) == {mine, unreadable}
    assert (await blind("GET", "/v1/parked"))[0] == 403
    assert (await clerk("GET", f"/v1/parked/{mine}"))[1]["cause"] == "bad_json"
    for action in ("replay", "discard"):
        assert (await clerk("POST", f"/v1/parked/{mine}/{action}"))[0] == 403
        assert (await other("POST", f"/v1/parked/{mine}/{action}"))[0] == 404
        assert (await other("POST", f"/v1/parked/{unreadable}/{action}"))[0] == 404
    assert (await other("GET", f"/v1/parked/{mine}"))[0] == 404
    assert (await clerk("GET", f"/v1/parked/{unreadable}"))[0] == 404
    for one in (mine, unreadable):
        assert (await root("POST", f"/v1/parked/{one}/discard"))[0] == 200
    assert await seen(root) == set()


Operator = Callable[..., Awaitable[tuple[int, Any]]]


async def operator(shop: Shop, store: str | None, *scopes: str) -> Operator:
    """A person with an API key of these scopes; without a store, an administrator."""
    options = [option for scope in scopes for option in ("--scope", scope)] + (["--store", store] if store else [])
    made = _operators.get((store, scopes))
    if made is None:
        said = await asyncio.to_thread(shop.system.run, "orders", "api-key", "create", *options)
        made = _operators[store, scopes] = said.strip().splitlines()[-1]

    async def call(method: str, path: str) -> tuple[int, Any]:
        named = {"authorization": f"Bearer {made}"}
        async with aiohttp.ClientSession(headers=named) as http:
            async with http.request(method, shop.system.url("orders") + path) as answer:
                return answer.status, await answer.json()

    return call


_operators: dict[tuple[str | None, tuple[str, ...]], str] = {}


async def seen(who: Operator) -> set[int]:
    status, page = await who("GET", "/v1/parked?limit=500")
    assert status == 200, page
    return {row["id"] for row in page["items"]}


async def test_unknown_types_on_events_of_others_are_ignored_and_counted(shop: Shop) -> None:
    before = await metric(shop, "orders", "tradewind_events_ignored_total")
    strange = Raw.of(shop.snapshot()).with_header("ce_type", b"payments.levitated")
    await send_raw(shop, [strange] * 3, "payments.events.v1")

    async def counted() -> bool:
        return await metric(shop, "orders", "tradewind_events_ignored_total") >= before + 3

    await shop.until(counted, "three ignored records")
    assert not await shop.parked()


async def metric(shop: Shop, service: str, name: str) -> float:
    async with aiohttp.ClientSession() as http, http.get(f"{shop.system.url(service)}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


async def test_a_parked_order_retries_itself_three_times_then_waits_for_a_person(shop: Shop) -> None:
    (order,) = await shop.place_many(1)
    await shop.until_at_rest([order])
    topic = "payments.commands.v1"
    bad = Raw(order, order.encode(), b"{", Raw.of(shop.snapshot()).with_header("ce_subject", order.encode()).headers)
    (place,) = await send_raw(shop, [bad.with_header("ce_type", b"payments.void")], topic)
    row = await parked_row(shop, place, topic, "payments")

    async def given_up() -> Any:
        rows = await shop.rows("payments", "select * from parked_keys where key = $1 and retry_at is null", UUID(order))
        return rows[0] if rows else None

    assert (await shop.until(given_up, "the order to wait for a person"))["retries"] == 4  # the first turn only waits
    assert (await shop.order(order))["waiting"] == "warehouse"
    status, _ = await shop.call("payments", "POST", f"/v1/parked/{row['id']}/discard")
    assert status == 200


async def test_outcomes_of_tasks_still_apply_to_a_parked_order_and_its_messages_queue(shop: Shop) -> None:
    order = await forced.place(shop, {"authorize": "silent"})
    topic = "payments.commands.v1"

    async def asked() -> Any:
        return await shop.rows("payments", "select 1 from tasks where key = $1", UUID(order))

    await shop.until(asked, "the gateway to be asked")
    subject = Raw.of(shop.snapshot()).with_header("ce_subject", order.encode())
    (place,) = await send_raw(shop, [replace(subject, key=order.encode(), value=b"{").with_header("ce_type", b"payments.void")], topic)  # fmt: skip
    row = await parked_row(shop, place, topic, "payments")

    await forced.trouble(shop, order, {"authorize": None})

    async def behind() -> Any:
        return await shop.rows(
            "payments", "select 1 from parked where key = $1 and type = 'payments.capture'", UUID(order)
        )

    await shop.until(behind, "the capture to wait behind the poison")  # so the authorization got through
    (ledger,) = await shop.rows("payments", "select * from ledgers where key = $1", UUID(order))
    assert (ledger["authorized_minor"] > 0, ledger["captured_minor"]) == (True, 0)
    status, _ = await shop.call("payments", "POST", f"/v1/parked/{row['id']}/discard")
    assert status == 200
    await shop.until_at_rest([order])
    assert await shop.ends([order]) == {"approved/paid/in_progress": 1}
    await shop.assert_promises()


async def test_a_persons_actions_apply_to_a_parked_order_and_its_timers_wait(shop: Shop) -> None:
    order, other = await shop.place(account="slow"), await shop.place(account="slow")
    await shop.until_at_rest([order, other])
    subject = Raw.of(shop.snapshot()).with_header("ce_subject", order.encode())
    (place,) = await send_raw(shop, [replace(subject, key=order.encode(), value=b"{")])
    row = await parked_row(shop, place)
    assert (await shop.order(order))["waiting"] == "parked"

    await shop.rows("orders", "insert into timers (aggregate, key, due_at) select 'orders', k, now() - interval '1 s'"
                    " from unnest($1::uuid[]) k on conflict (aggregate, key) do update set due_at = excluded.due_at",
                    [UUID(order), UUID(other)])  # fmt: skip
    due = "select 1 from timers where key = $1 and due_at < now()"

    async def fired(key: str) -> bool:
        return not await shop.rows("orders", due, UUID(key))

    await shop.until(lambda: fired(other), "the timer of the order that is not parked")
    assert not await fired(order)

    status, answer = await shop.approve(order)
    assert (status, answer["status"]) == (200, "approved"), answer
    status, _ = await shop.call("orders", "POST", f"/v1/parked/{row['id']}/discard")
    assert status == 200
    await shop.until(lambda: fired(order), "the timer of the order that is no longer parked")
    await shop.until_at_rest([order])
    assert await shop.ends([order]) == {"approved/paid/in_progress": 1}


async def test_replay_and_consumer_racing_strand_nothing(shop: Shop) -> None:
    """Promises 1, 2, 6: newer snapshots of the same orders arrive while a person fixes the bad ones."""
    count = 40
    firsts = [shop.snapshot(lifecycle="awaiting_payment") for _ in range(6)]
    keys = await shop.send(firsts)
    good: dict[bytes, Raw] = {}

    async def keep_sending(first: SnapshotRecord) -> None:
        for number in range(1, count + 1):
            one = later(first, number, external_number=str(number))
            if number % 7 == 3:
                good[f"{first.order_id} {number}".encode()] = one
                await send_raw(shop, [replace(one, value=f"{first.order_id} {number}".encode())])
            else:
                await send_raw(shop, [one])

    async def keep_mending() -> int:
        mended = 0
        while True:
            sending = not sent.done()
            _, page = await shop.call("orders", "GET", "/v1/parked?limit=500")
            bad = [row for row in page["items"] if row["cause"] != "waits" and row["key"] in keys]
            for row in bad:
                _, whole = await shop.call("orders", "GET", f"/v1/parked/{row['id']}")
                value = good.get(whole.get("value", "").encode())
                if value is None:
                    continue  # fixed in the meantime
                assert value.value is not None
                body = {"value": value.value.decode()}
                status, _ = await shop.call("orders", "POST", f"/v1/parked/{row['id']}/edit", body)
                mended += status == 200
            if not sending and not bad and not await shop.unread():
                return mended

    sent = asyncio.gather(*(keep_sending(first) for first in firsts))
    await asyncio.wait_for(keep_mending(), 120)
    await sent
    assert not await shop.rows("orders", "select * from parked where state = 'waiting'")
    assert not await shop.rows("orders", "select * from parked_keys")
    for first in firsts:
        assert await numbers_told(shop, first.order_id) == [None, *map(str, range(1, count + 1))]
    await shop.assert_promises()


async def test_a_message_that_kills_the_process_is_parked_alone_and_replayed_after_the_fix(shop: Shop) -> None:
    """Promise 6: messages that shared its batches are not parked; a supervisor that restarts the process suffices."""
    (member,) = shop.system.of("orders")
    first = shop.snapshot(lifecycle="awaiting_payment")
    await shop.send([first])
    await shop.until(lambda: shop.rows("orders", "select 1 from orders where key = $1", UUID(first.order_id)), "it")
    # All of one order, so of one partition: two halvings leave the good one before the deadly one alone at their head.
    updates = [later(first, number, external_number=str(number)) for number in range(1, 5)]
    deadly = updates[1]
    identity = read(SNAPSHOTS, deadly.key, deadly.value, deadly.headers).id
    await asyncio.to_thread(shop.system.kill, member)
    places = await send_raw(shop, updates)
    others = await shop.send_snapshots(10)
    assert await restarted_until_parked(shop, member, identity, places[1]) > CRASHES_MAX

    async def the_rest_waits() -> bool:
        parked = await shop.rows("orders", "select cause, count(*) from parked where state = 'waiting' group by 1")
        return dict(map(tuple, parked)) == {"crashed": 1, "waits": 2}

    await shop.until(the_rest_waits, "the deadly one parked alone and two behind it")
    await shop.until_at_rest(others)

    shop.system.kill(member)
    shop.system.restart(member, CRASH_ON="")  # the fix
    await asyncio.to_thread(shop.system.wait_ready, [member], PATIENCE_SECONDS)
    row = await parked_row(shop, places[1])
    assert "died 3 times" in row["detail"] and row["value"] == deadly.value
    status, answer = await shop.call("orders", "POST", f"/v1/parked/{row['id']}/replay")
    assert (status, answer) == (200, {"replayed": 3, "left": 0})
    assert await numbers_told(shop, first.order_id) == [None, *map(str, range(1, 5))]
    await shop.until_at_rest(others)
    await shop.assert_promises()


async def restarted_until_parked(shop: Shop, member: Member, deadly: UUID, place: tuple[int, int]) -> int:
    """Restarts the service whenever it dies, like a supervisor; returns how often it died."""
    deaths = 0
    shop.system.restart(member, CRASH_ON=str(deadly))

    async def parked() -> bool:
        nonlocal deaths
        if not member.running:
            assert member.exit_status(PATIENCE_SECONDS) == 137
            deaths += 1
            shop.system.restart(member)
        return bool(await shop.rows("orders", PARKED, SNAPSHOTS, *place))

    async def told() -> str:
        tried = await shop.rows(
            "orders", "select * from consumer_offsets where topic = $1 and partition = $2", SNAPSHOTS, place[0]
        )
        lines = member.log.read_text(errors="replace").splitlines()[-25:]
        return f"it died {deaths} times; {[dict(row) for row in tried]}; its last words:\n" + "\n".join(lines)

    await shop.until(parked, f"the message at {place} is parked", 240, told)
    return deaths


async def numbers_told(shop: Shop, order: str) -> list[str | None]:
    """The names that an order got, in the order of its events; their versions have no gap."""
    told = await shop.rows(
        "orders", "select payload::json->'order'->>'external_number' as number, version from journal"
        " where key = $1 and version > 0 order by id", UUID(order)
    )  # fmt: skip
    assert [row["version"] for row in told] == list(range(1, len(told) + 1))
    return [row["number"] for row in told]
