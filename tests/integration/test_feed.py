"""The feed of the webhooks service beside real services: every published event once, in order, while its writer dies."""

from __future__ import annotations

import asyncio
import html
import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

import aiohttp
import asyncpg
import pytest
from aiohttp import web
from aiokafka.admin import AIOKafkaAdminClient
from standardwebhooks import Webhook

from contracts.registry import SERVICES as PUBLISHERS
from system.processes import SAGA, SERVICES
from tests.forms import fields_of
from tests.integration.console import signed_in
from tests.integration.poison import Raw, send_raw
from tests.integration.shop import Options, Shop
from tests.waiting import PATIENCE_SECONDS, patience
from webhooks.domain.signing import new_secret

SHOP = Options(
    services=SERVICES,
    static_members=True,
    # A parked message waits for a person all through these tests.
    settings={"CONSOLE_ASK_SECONDS_MAX": "10", "ORDERS_PARK_RETRY_SECONDS": "3600"},
)
POINTS = ("mid_batch", "before_commit", "after_commit", "after_handling_before_ack")
"""Labels that the webhooks service passes."""
ORDERS = 12
JOB_ORDERS = 120
JOB = "select state, done from jobs where id = $1"
EVENTS = {f"{name}.events.v1" for name in ("orders", "payments", "fulfillment", "invoicing")}
READ_BY = {
    "orders": EVENTS - {"orders.events.v1"},
    **{name: {f"{name}.commands.v1"} for name in ("payments", "fulfillment", "invoicing")},
    **dict.fromkeys(("webhooks", "console"), EVENTS),
}
"""Topics with records, by the group that reads them."""
PUBLISHED = (
    "select message_id::text as id, key::text as key, version from journal where version is not null order by id"
)


async def read_all(shop: Shop, **query: Any) -> list[dict[str, Any]]:
    """The whole feed, by pages."""
    found: list[dict[str, Any]] = []
    after = ""
    while True:
        more = "".join(f"&{name}={value}" for name, value in query.items())
        status, page = await shop.call("webhooks", "GET", f"/v1/events?limit=50{after}{more}")
        assert status == 200, page
        found += page["items"]
        if not page["items"] and page["next_cursor"] == page["head"]:
            return found
        after = f"&after={page['next_cursor']}"


@pytest.mark.parametrize("point", POINTS)
async def test_a_feed_whose_writer_dies_misses_and_repeats_nothing(point: str, shop: Shop) -> None:
    """Each event that a service published is in the feed once, those of an order of a service by their versions."""
    members = shop.system.of("webhooks")
    await shop.arm(members, point)
    placing = asyncio.gather(shop.place_many(ORDERS // 2), shop.send_snapshots(ORDERS // 2))
    await shop.until_dead_and_restarted(members, point)
    orders = [order for some in await placing for order in some]
    await shop.until_at_rest(orders)
    by_source: dict[str, dict[str, list[tuple[str, int]]]] = defaultdict(lambda: defaultdict(list))
    for event in await read_all(shop):
        by_source[event["source"]][event["subject"]].append((event["id"], event["version"]))
    for name in SAGA:
        published: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for row in await shop.rows(name, PUBLISHED):
            published[row["key"]].append((row["id"], row["version"]))
        assert by_source[name] == {key: sorted(events, key=lambda one: one[1]) for key, events in published.items()}


async def test_a_stream_shows_an_order_as_it_is_processed(shop: Shop) -> None:
    _, now = await shop.call("webhooks", "GET", "/v1/cursors")
    url = f"{shop.system.url('webhooks')}/v1/events?after={now['cursor']}&types=orders.*"
    sent = {"authorization": f"Bearer {shop.keys['webhooks']}", "accept": "text/event-stream"}
    seen: list[str] = []
    async with patience(), aiohttp.ClientSession() as client, client.get(url, headers=sent) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        order = await shop.place()
        async for line in stream.content:
            if line.startswith(b"data: "):
                event = json.loads(line[6:])
                assert event["subject"] == order
                seen.append(event["type"])
                if event["type"] == "orders.approved":
                    break
    assert seen[0] == "orders.received" and seen.index("orders.placed") < seen.index("orders.approved")


async def test_listen_sends_what_happens_to_a_program_here_also_while_the_service_is_away(shop: Shop) -> None:
    got: list[Any] = []
    secret = new_secret()

    async def hooks(request: web.Request) -> web.Response:
        got.append(Webhook(secret).verify(await request.read(), dict(request.headers)))
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/hooks", hooks)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    to = f"http://127.0.0.1:{runner.addresses[0][1]}/hooks"
    _, now = await shop.call("webhooks", "GET", "/v1/cursors")
    options = ["--to", to, "--url", shop.system.url("webhooks"), "--secret", secret, "--types", "orders.*"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "webhooks", "listen", *options, "--after", now["cursor"],
        env=os.environ | {"WEBHOOKS_API_KEY": shop.keys["webhooks"]}, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None

    async def line_with(word: str) -> str:
        assert process.stdout is not None
        async with patience():
            while word not in (line := (await process.stdout.readline()).decode()):
                assert line, f"it ended before it printed {word}"
        return line

    try:
        await line_with("Ctrl-C")
        first = await shop.place()
        assert first in await line_with("orders.placed") and got
        [member] = shop.system.of("webhooks")
        await asyncio.to_thread(shop.system.kill, member)
        await line_with("connecting again")
        second = await shop.place()
        await shop.restart(member)
        assert second in await line_with("orders.placed")
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), PATIENCE_SECONDS) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await runner.cleanup()
    assert {first, second} <= {event["subject"] for event in got}  # orders of other tests may still be under way
    assert len({event["id"] for event in got}) == len(got)


async def test_the_feed_has_what_its_own_service_publishes(shop: Shop) -> None:
    status, endpoint = await shop.call("webhooks", "POST", "/v1/endpoints", {"url": "http://127.0.0.1:9/hooks"})
    assert status == 201, endpoint
    status, _ = await shop.call("webhooks", "POST", f"/v1/endpoints/{endpoint['endpoint_id']}/disable")
    assert status == 200

    async def published() -> Any:
        return (await shop.call("webhooks", "GET", "/v1/events?types=webhooks.endpoint_disabled&wait=25"))[1]["items"]

    [event] = await shop.until(published, "its event in the feed")
    assert (event["source"], event["subject"], event["version"]) == ("webhooks", endpoint["endpoint_id"], 1)
    assert (event["data"]["because"], event["data"]["host"]) == ("request", "127.0.0.1")


async def test_lists_whose_writer_dies_have_each_event_once(shop: Shop) -> None:
    """That they are those of their owners is checked with the other promises, below."""
    members = shop.system.of("console")
    await shop.arm(members, "before_commit")
    placing = asyncio.gather(shop.place_many(ORDERS // 2), shop.send_snapshots(ORDERS // 2))
    await shop.until_dead_and_restarted(members, "before_commit")
    await shop.until_at_rest([order for some in await placing for order in some])


async def test_the_page_of_an_order_shows_what_its_owners_answer(shop: Shop) -> None:
    order = await shop.place(number="seen", buyer={"name": "Anna Huber", "email": "anna@example.com"})
    await shop.until_at_rest([order])
    await shop.ship_all()
    await shop.until_at_rest([order])
    async with signed_in(shop) as console:

        async def is_found() -> bool:
            return f"/orders/{order}" in await console.get("/orders?q=anna")

        await shop.until(is_found, "the search finds the order")
        assert "Anna Huber" not in await console.get(f"/orders/{order}"), "masked until it is revealed"
        shown = (await console.post(f"/orders/{order}/reveal", {})).text
        actions = f"/orders/{order}/actions"
        refund = {"pieces:1": "1", "code": "damaged", "reason": "A cup is broken."}
        assert (await console.post(f"{actions}/refund", refund)).status == 303
        refused = await console.post(f"{actions}/hold", {"code": "fraud"})
        assert refused.status == 409 and "The order" in refused.text
        assert "person:administrator" in await console.get(f"/orders/{order}")
    assert "is silent" not in shown
    for part in ("Anna Huber", "orders.completed", "payments.authorized", "Thing S", "It waits for nothing", "invoice"):
        assert part in shown, part


async def test_a_job_whose_process_is_killed_does_each_order_once(shop: Shop) -> None:
    """A hold that is requested with another nonce is a second hold."""
    numbers = [f"bulk-{n}" for n in range(JOB_ORDERS)]
    orders = list(await asyncio.gather(*(shop.place(number=number) for number in numbers)))
    await shop.until_at_rest(orders)
    [member] = shop.system.of("console")
    async with signed_in(shop, "--name", "bea") as console:

        async def noted() -> str:
            page = await console.get("/jobs/new?q=bulk-")
            return page if f"Start with {JOB_ORDERS}" in page else ""

        async def begun(action: str, **fields: str) -> str:
            page = await shop.until(noted, "the lists have the orders")
            [job] = set(re.findall(r"/jobs/([0-9a-f-]{36})/start", page))
            start = f"/jobs/{job}/start"
            answer = await console.post(start, fields_of(page, start) | {"action": action, **fields})
            assert answer.status == 303, answer.text
            return job

        async def counted(type_: str) -> Counter[str]:
            found = await shop.rows("orders", "select key::text from journal where type = $1", type_)
            return Counter(row["key"] for row in found if row["key"] in orders)

        async def ended(job: str) -> bool:
            [row] = await shop.rows("console", JOB, UUID(job))
            return bool(row["state"] == "done" and row["done"] == JOB_ORDERS)

        job = await begun("hold", code="manual", reason="a count")

        async def is_under_way() -> bool:
            return len(await counted("orders.held")) > 5

        await shop.until(is_under_way, "the job has held some orders")
        await shop.restart(member)
        # As if the lease of the killed process had ended by itself.
        await shop.rows("console", "update jobs set leased_until = now() where state = 'running' returning id")
        await shop.until(lambda: ended(job), "the job ends")
        assert await counted("orders.held") == dict.fromkeys(orders, 1)
        assert f"{JOB_ORDERS} of {JOB_ORDERS}" in await console.get(f"/jobs/{job}")
        job = await begun("release")
        await shop.until(lambda: ended(job), "the job ends")
        assert await counted("orders.released") == dict.fromkeys(orders, 1)


async def test_the_console_follows_each_process_and_each_group(shop: Shop) -> None:
    """Its offsets are those of Kafka: each group is at the end of every topic that it reads."""
    await shop.until_at_rest([await shop.place(number="followed")])

    async def is_followed() -> bool:
        reports = await shop.rows("console", "select service, body from reports where why = ''")
        flows = await shop.rows("console", "select body::text from flows")
        if {row["service"] for row in reports} != set(PUBLISHERS) or not flows:
            return False
        groups = json.loads(flows[0]["body"])["groups"]
        read = {name: set(topics) for name, topics in groups.items() if not any(lag for lag, *_ in topics.values())}
        return read.keys() == set(SERVICES) and all(READ_BY[name] <= topics for name, topics in read.items())

    await shop.until(is_followed, "every service has answered, and every group has read its topics to their ends")


async def test_messages_are_tailed_from_a_time_and_from_an_offset_and_no_group_notices(shop: Shop) -> None:
    """Task 11: one click from the page of the order. Nothing is produced, no group appears, no offset is committed."""
    order = await shop.place(number="tailed", buyer={"name": "Zoë van Dijk"})
    await shop.until_at_rest([order])
    before = await groups(shop)

    async with signed_in(shop) as console:

        async def is_listed() -> bool:
            return f"/orders/{order}" in await console.get("/orders?q=tailed")

        await shop.until(is_listed, "the order is in the lists")
        shown = await console.get(f"/orders/{order}")
        [address] = re.findall(r'href="(/topics/tail[^"]+)"', shown)
        tail = await console.get(html.unescape(address))
        records = listed(tail)
        types = [type for *_, type in records]
        assert {"orders.received", "fulfillment.reserve", "fulfillment.reserved", "payments.authorized"} <= set(types)
        assert "tailed" in tail
        first = records[types.index("orders.received")]
        received = await console.get("/topics/{}/{}/{}".format(*first))
        assert "***" in received
        assert "Zoë" not in tail + received
        revealed = await console.post("/topics/{}/{}/{}/reveal".format(*first), {})
        assert revealed.status == 200 and "Zoë van Dijk" in revealed.text
        topic, partition, offset, _ = records[types.index("payments.authorized")]
        further = await console.get(f"/topics/tail?topic={topic}&partition={partition}&offset={offset}&order={order}")
        assert listed(further)[0][-1] == "payments.authorized"
        record = await console.get(f"/topics/{topic}/{partition}/{offset}")
        assert "ce_causationid" in record and "captured_minor" in record
        newest = await console.get(f"/topics/tail?order={order}&type=orders.")
        assert listed(newest)[-1][-1] == "orders.received"
        # The messages of fulfillment do not name the order's number; the authorization has it as its reference.
        found = {type for *_, type in listed(await console.get(f"/topics/tail?order={order}&text=tailed"))}
        assert {"orders.received", "payments.authorized"} <= found and "fulfillment.reserved" not in found
        async with patience(), console.stream(await console.get("/topics/tail?type=orders.received")) as come:
            placed = await shop.place(number="seen-at-once")
            rows = await anext(body["rows"] async for body in come if "rows" in body)
            assert len(re.findall("<tr ", rows)) == 1 and placed in rows
        overview = await console.get("/topics")
        assert "payments.commands.v1" in overview and "webhooks" in overview
    assert await groups(shop) == before


def listed(page: str) -> list[tuple[str, str, str, str]]:
    """Topic, partition, offset and type of each message of a tail."""
    return re.findall(r'href="/topics/([\w.]+)/(\d+)/(\d+)"><code>([\w.]+)<', page)


async def groups(shop: Shop) -> set[str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=shop.kafka.bootstrap_servers)
    await admin.start()
    try:
        return {name for name, _ in await admin.list_consumer_groups()}
    finally:
        await admin.close()


async def test_a_person_edits_a_parked_message_and_replays_a_group_from_the_console(shop: Shop) -> None:
    """What stops the group is fixed by an update, as a new release of the sender or of ours would."""
    goods = [shop.snapshot() for _ in range(3)]
    await send_raw(shop, [replace(Raw.of(one), value=b"{") for one in goods])

    async def are_parked() -> bool:
        return len(await shop.rows("orders", "select from parked where state = 'waiting'")) == len(goods)

    await shop.until(are_parked, "the messages are parked")
    async with signed_in(shop, "--role", "operator", "--name", "ann") as console:
        parked = re.search(r'/parked/orders/group\?cause=bad_json[^"]*', await console.get("/parked"))
        assert parked is not None
        one, *others = await shop.rows("orders", "select id, key from parked where state = 'waiting' order by id")
        good = {one.order_id: one.value for one in goods}
        here = f"/parked/orders/{one['id']}"
        assert "Hidden: it does not fit the schema" in await console.get(here)
        typed = fields_of((await console.post(f"{here}/reveal", {})).text, f"{here}/preview")
        assert typed["value"] == "{"
        refused = await console.post(f"{here}/preview", typed | {"value": "[]"})
        assert refused.status == 422 and "nothing was stored" in refused.text
        preview = await console.post(f"{here}/preview", typed | {"value": good[str(one["key"])].decode()})
        assert (await console.post(f"{here}/edit", fields_of(preview.text, f"{here}/edit"))).status == 303
        assert "Replayed by person:ann" in await console.get(here)

        for row in others:
            fixed = "update parked set value = $2 where id = $1 returning id"
            await shop.rows("orders", fixed, row["id"], good[str(row["key"])])
        replay = "/parked/orders/group/replay"
        group = fields_of(await console.get(html.unescape(parked[0])), replay)
        assert (await console.post(replay, group)).status == 303

        async def replayed() -> bool:
            [row] = await shop.rows("console", "select state, done from jobs where action = 'replay_group'")
            return (row["state"], row["done"]) == ("done", 2)

        await shop.until(replayed, "the job has replayed the group")
    await shop.until_at_rest([good.order_id for good in goods])
    settled = await shop.rows("orders", "select distinct settled_by from parked where state = 'replayed'")
    assert [row["settled_by"] for row in settled] == ["person:ann"]


async def test_a_rebuild_makes_every_row_again_also_after_one_that_was_killed(shop: Shop) -> None:
    """Rows in several states, compared by a hash of all their columns; other orders of this shop still wait and ask again. The first
    rebuild dies while it reads the lists: an owner does not answer. The second waits for a reader of the table that it replaces, and
    dies there."""
    held, *_, cancelled = orders = await shop.place_many(4)
    await shop.until_at_rest(orders)
    await shop.ship_all(orders[1:2])
    assert (await shop.call("orders", "POST", f"/v1/orders/{held}/holds", {"reason": "fraud"}))[0] < 300
    assert (await shop.cancel(cancelled))[0] < 300
    await shop.until_at_rest()
    await shop.until(lists_are_current(shop, await shop.rows("console", "select now()")), "the lists are current")
    live = await hashes(shop, orders)
    assert len(live) == len(orders)

    async with deaf() as (address, asked):
        rebuild = rebuilding(shop, CONSOLE_INVOICING_URL=address)
        await asyncio.wait_for(asked.wait(), PATIENCE_SECONDS)
        await shop.until(lambda: shop.rows("console", "select from rebuild.payments"), "lists of other owners, read")
        rebuild.kill()
        await asyncio.to_thread(rebuild.wait)
    assert await hashes(shop, orders) == live

    async with reading(shop, "order_rows"):
        rebuild = rebuilding(shop)

        async def waits_at_its_end() -> bool:
            return bool(
                await shop.rows("console", "select from pg_locks where not granted and mode = 'AccessExclusiveLock'")
            )

        await shop.until(waits_at_its_end, "the rebuild waits for the table")
        rebuild.kill()
        await asyncio.to_thread(rebuild.wait)
    assert await hashes(shop, orders) == live

    rows = "select order_id from order_rows"
    known = {row["order_id"] for row in await shop.rows("console", rows)}
    again = rebuilding(shop)
    assert await asyncio.to_thread(again.wait, PATIENCE_SECONDS) == 0
    assert await hashes(shop, orders) == live
    new = await shop.place()

    async def goes_on() -> bool:
        return {row["order_id"] for row in await shop.rows("console", rows)} == {*known, UUID(new)}

    await shop.until(goes_on, "the projection goes on in the new table, which has every order")


NOT_REBUILT = ("since", "changed_at", "received_at", "invoiced_at", "written_by")
"""Times that no list states, and the transaction that wrote the row: see `console.domain.listed`."""


def lists_are_current(shop: Shop, asked: Sequence[Any]) -> Callable[[], Awaitable[bool]]:
    """asked: a row of the time, on the console's database, of which the lists have to have every event."""

    async def are_current() -> bool:
        return bool(await shop.rows("console", "select from freshness where current_to > $1", asked[0][0]))

    return are_current


async def hashes(shop: Shop, orders: Sequence[Any]) -> dict[str, str]:
    """Order -> a hash of its row in the lists."""
    rows = await shop.rows(
        "console",
        "select order_id::text, md5((to_jsonb(r) - $1::text[])::text) as hash from order_rows as r"
        " where order_id = any($2::text[]::uuid[])",
        list(NOT_REBUILT),
        [str(order) for order in orders],
    )
    return {row["order_id"]: row["hash"] for row in rows}


def rebuilding(shop: Shop, **settings: str) -> subprocess.Popen[bytes]:
    """A running `python -m console rebuild`. settings: instead of those of the console."""
    [member] = shop.system.of("console")
    environment = os.environ | member.environment | settings
    return subprocess.Popen([sys.executable, "-m", "console", "rebuild"], env=environment, stdout=subprocess.DEVNULL)


@asynccontextmanager
async def deaf() -> AsyncIterator[tuple[str, asyncio.Event]]:
    """The address of a service that answers nothing in the block; the event is set when it was asked."""
    asked, over = asyncio.Event(), asyncio.Event()

    async def wait(request: web.Request) -> web.Response:
        asked.set()
        await over.wait()
        return web.json_response({}, status=503)

    server = web.Application()
    server.router.add_get("/{path:.*}", wait)
    runner = web.AppRunner(server)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield site.name, asked
    over.set()
    await runner.cleanup()


@asynccontextmanager
async def reading(shop: Shop, table: str) -> AsyncIterator[None]:
    """A transaction that has read a table of the console is open in the block."""
    connection = await asyncpg.connect(shop.postgres.dsn(shop.system.database("console")))
    try:
        async with connection.transaction():
            await connection.execute(f"select from {table} limit 1")
            yield
    finally:
        await connection.close()


async def test_the_promises_hold_for_the_feed(shop: Shop) -> None:
    await shop.ship_all()
    await shop.until_at_rest()
    await shop.assert_promises()
