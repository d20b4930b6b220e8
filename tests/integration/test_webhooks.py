"""Webhooks while their processes die and freeze: two processes deliver to real receivers what real services publish."""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import psutil  # type: ignore[import-untyped]
import pytest
import pytest_asyncio
from aiohttp import web

from system.processes import SERVICES, Member
from tests.integration.shop import Options, Shop

SHOP = Options(services=SERVICES, workers_of={"webhooks": 2}, static_members=True)
PASSES = {"after_send": 20, "before_flush": 3, "after_flush": 3}
"""Where a process dies, and at which pass: deliveries are under way by then."""
ORDERS, ORDERS_PER_SECOND = 8, 10
LATENCY_SECONDS = 0.01
"""What the receiver takes for an answer."""
EVENTS = """
select position, source, event_id, key::text as key from feed where store_id = $1 and position > $2 order by position"""
BEHIND = """
select 1 from cursors c, feed_head h where c.endpoint_id = any($1::uuid[]) and (c.position < h.position or c.open <> '{}')
union all select 1 from waiting where endpoint_id = any($1::uuid[]) and lane::text <> all($2::text[])"""


class Got(NamedTuple):
    """A request."""

    endpoint: str
    id: str
    event: Any
    body: bytes
    status: int
    port: int
    """The sender's."""

    @property
    def identity(self) -> tuple[str, str]:
        return self.event["source"], self.event["id"]

    @property
    def lane(self) -> tuple[str, str]:
        return self.event["source"], self.event["subject"]


class Endpoint(NamedTuple):
    id: UUID
    name: str
    order: str
    since: int
    """Its place in the feed when it was created."""
    shard: int


class Receiver:
    """Records every request, in the order in which they came. The path names the endpoint."""

    def __init__(self) -> None:
        self.url = ""
        self.got: list[Got] = []
        self.refused: list[str] = []
        """Orders whose events are answered 500 at endpoints that are `per_order`."""
        self.holds: Callable[[Got], bool] = lambda got: False
        """Which requests wait for their answer until `released`."""
        self.released = asyncio.Event()
        self._came = asyncio.Event()

    def of(self, name: str) -> list[Got]:
        return [got for got in self.got if got.endpoint == name]

    async def until(self, fulfilled: Callable[[], bool], seconds_max: float) -> None:
        async with asyncio.timeout(seconds_max):
            while not fulfilled():
                self._came.clear()
                await self._came.wait()

    async def serve(self, request: web.Request) -> web.Response:
        body, name = await request.read(), request.match_info["name"]
        event = json.loads(body)
        if event["type"] == "webhooks.verify":
            return web.Response()
        status = 500 if name.startswith("per_order") and event["subject"] in self.refused else 200
        assert request.transport is not None
        port = request.transport.get_extra_info("peername")[1]
        self.got.append(got := Got(name, request.headers["webhook-id"], event, body, status, port))
        self._came.set()
        if self.holds(got):
            await self.released.wait()
        await asyncio.sleep(LATENCY_SECONDS)
        return web.Response(status=status)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def receiver() -> AsyncIterator[Receiver]:
    one, app = Receiver(), web.Application()
    app.router.add_post("/{name}", one.serve)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    one.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield one
    await runner.cleanup()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def endpoints(shop: Shop, receiver: Receiver) -> list[Endpoint]:
    """Each half of the shards has some of each `order`, so that both processes deliver. Later tests add theirs."""
    made: list[Endpoint] = []
    while len({(one.order, one.shard % 2) for one in made}) < 4:
        for order in ("per_order", "none"):
            made.append(await register(shop, receiver, f"{order}-{len(made)}", order=order))
            await verify(shop, made[-1])
    return made


async def register(shop: Shop, receiver: Receiver, name: str, **config: Any) -> Endpoint:
    """Returns a pending endpoint."""
    status, made = await shop.call("webhooks", "POST", "/v1/endpoints", {"url": f"{receiver.url}/{name}", **config})
    assert status == 201, made
    endpoint_id = UUID(made["endpoint_id"])
    [row] = await shop.rows("webhooks", "select position, shard from cursors where endpoint_id = $1", endpoint_id)
    return Endpoint(endpoint_id, name, config["order"], row["position"], row["shard"])


async def verify(shop: Shop, endpoint: Endpoint) -> None:
    status, answer = await shop.call("webhooks", "POST", f"/v1/endpoints/{endpoint.id}/verify")
    assert status == 200, answer


async def until_delivered(shop: Shop, receiver: Receiver, endpoints: Sequence[Endpoint]) -> None:
    """Until nothing of the feed is left to send, and only refused orders wait."""
    await shop.until_at_rest()
    ids = [one.id for one in endpoints]

    async def delivered() -> bool:
        return not await shop.rows("webhooks", BEHIND, ids, receiver.refused)

    async def told() -> list[tuple[Any, ...]]:
        return [tuple(row) for row in await shop.rows("webhooks", "select * from cursors, feed_head")]

    await shop.until(delivered, "deliveries of everything in the feed", 30, told)


async def assert_each_is_delivered_or_waits(shop: Shop, receiver: Receiver, endpoint: Endpoint) -> None:
    delivered = {got.identity for got in receiver.of(endpoint.name) if got.status == 200}
    lanes = {
        str(row["lane"]): row["position"]
        for row in await shop.rows("webhooks", "select lane, position from waiting where endpoint_id = $1", endpoint.id)
    }
    events = await shop.rows("webhooks", EVENTS, shop.store, endpoint.since)
    missing = [event for event in events if (event["source"], event["event_id"]) not in delivered]
    assert [event for event in missing if event["position"] < lanes.get(event["key"], event["position"] + 1)] == []
    refused = {event["key"] for event in events} & set(receiver.refused) if endpoint.order == "per_order" else set()
    assert {event["key"] for event in missing} == refused


def assert_ids_and_bytes_are_the_same_in_each_attempt(got: Sequence[Got]) -> None:
    events, attempts = {one.identity for one in got}, {(one.identity, one.id, one.body) for one in got}
    assert len(attempts) == len(events) == len({one.id for one in got})


def assert_first_sights_are_in_order(got: Sequence[Got]) -> None:
    """A version that comes for the first time is above all that came before of the same order and source."""
    seen: set[str] = set()
    last: defaultdict[tuple[str, str], int] = defaultdict(int)
    for one in got:
        if one.id not in seen:
            seen.add(one.id)
            assert one.event["version"] > last[one.lane], (one.lane, one.event["version"], last[one.lane])
            last[one.lane] = one.event["version"]


async def assert_promise(shop: Shop, receiver: Receiver, endpoints: Sequence[Endpoint]) -> None:
    for endpoint in endpoints:
        got = receiver.of(endpoint.name)
        await assert_each_is_delivered_or_waits(shop, receiver, endpoint)
        assert_ids_and_bytes_are_the_same_in_each_attempt(got)
        if endpoint.order == "per_order":
            assert_first_sights_are_in_order(got)


@pytest.mark.parametrize("point", PASSES)
async def test_processes_that_die_deliver_each_event_in_order_or_keep_it_waiting_and_repeat_it_under_its_id(
    point: str, shop: Shop, receiver: Receiver, endpoints: list[Endpoint]
) -> None:
    members, before = shop.system.of("webhooks"), len(receiver.got)
    await shop.arm(members, f"{point}:{PASSES[point]}")
    refused = shop.snapshot()
    receiver.refused.append(refused.order_id)
    async with shop.load(ORDERS_PER_SECOND):
        await shop.send([refused])
        await shop.until_dead_and_restarted(members, point)
    await until_delivered(shop, receiver, endpoints)
    await assert_promise(shop, receiver, endpoints)
    accepted = Counter(got.id for got in receiver.got[before:] if got.status == 200)
    assert max(accepted.values()) > 1 or point == "after_flush"  # else it died when nothing was under way


def sender_of(shop: Shop, got: Got) -> Member:
    """Returns the process that holds the connection."""
    [member] = [
        member
        for member in shop.system.of("webhooks")
        if any(one.laddr.port == got.port for one in psutil.Process(member.pid).net_connections("tcp"))
    ]
    return member


async def test_a_process_frozen_past_its_lease_is_replaced_and_sends_nothing_more_when_it_wakes(
    shop: Shop, receiver: Receiver, endpoints: list[Endpoint]
) -> None:
    """One request at a time: what was in flight is sent by both processes, and nothing else."""
    endpoint = await register(shop, receiver, "per_order-frozen", order="per_order", in_flight=1)
    endpoints.append(endpoint)
    await shop.place_many(ORDERS)
    await shop.until_at_rest()
    count = len(await shop.rows("webhooks", EVENTS, shop.store, endpoint.since))
    frozen_at = count // 4

    async def written() -> int:
        [row] = await shop.rows("webhooks", "select count(*) from attempts where endpoint_id = $1", endpoint.id)
        return int(row[0])

    async def are_written(number: int) -> bool:
        return await written() == number

    receiver.holds = lambda got: got.endpoint == endpoint.name and len(receiver.of(got.endpoint)) == frozen_at
    await verify(shop, endpoint)
    await receiver.until(lambda: len(receiver.of(endpoint.name)) == frozen_at, 20)
    in_flight = receiver.of(endpoint.name)[-1]
    await shop.until(lambda: are_written(frozen_at - 1), "all attempts but the one in flight", 10)
    frozen = sender_of(shop, in_flight)
    frozen.send(signal.SIGSTOP)
    try:
        receiver.released.set()
        await receiver.until(lambda: len(receiver.of(endpoint.name)) > frozen_at, 30)
    finally:
        frozen.send(signal.SIGCONT)
    assert len(receiver.of(endpoint.name)) < count  # there is more to send
    await until_delivered(shop, receiver, endpoints)
    await assert_promise(shop, receiver, endpoints)
    sent = Counter(got.id for got in receiver.of(endpoint.name))
    assert {name: times for name, times in sent.items() if times > 1} == {in_flight.id: 2}
    await shop.until(lambda: are_written(count + 1), "a row for each request, also for that of the frozen process", 10)


async def test_the_promises_hold_after_all_this(shop: Shop) -> None:
    await shop.until_at_rest()
    await shop.assert_promises()
