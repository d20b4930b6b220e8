"""Webhooks while their processes die and freeze: two processes deliver to real receivers what real services publish."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import aiohttp
import psutil  # type: ignore[import-untyped]
import pytest
import pytest_asyncio
from aiohttp import web

from system.processes import KEYS, SAGA, Member
from tests.integration import restoring
from tests.integration.shop import Options, Shop
from tests.waiting import PATIENCE_SECONDS, patience
from webhooks.delivery.shards import LEASE_SECONDS

SHOP = Options(services=(*SAGA, "webhooks"), workers_of={"webhooks": 2}, static_members=True)
PASSES = {"after_send": 20, "before_flush": 3, "after_flush": 3}
"""Where a process dies, and at which pass: deliveries are under way by then."""
ORDERS, ORDERS_PER_SECOND, ORDERS_MAX = 8, 10, 80
CHAOS_SECONDS, CHAOS_ORDERS_PER_SECOND = 180, 2
LATENCY_SECONDS = 0.01
"""What the receiver takes for an answer."""
EVENTS = """
select position, source, event_id, key::text as key from feed where store_id = $1 and position > $2 order by position"""
BEHIND = """
select 1 from cursors c, feed_head h where c.endpoint_id = any($1::uuid[]) and (c.position < h.position or c.open <> '{}')
union all select 1 from waiting where endpoint_id = any($1::uuid[]) and lane::text <> all($2::text[])"""

DUE = """
select endpoint_id::text, c.position, h.position, open::text from cursors c, feed_head h
where c.endpoint_id = any($1::uuid[]) and (c.position < h.position or c.open <> '{}')
union all select endpoint_id::text, position, tries, next_at::text from waiting
where endpoint_id = any($1::uuid[]) and not exhausted and next_at < clock_timestamp() + interval '10 seconds'"""


class Got(NamedTuple):
    """A request, or one of the events of a batch."""

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

    @property
    def is_refused(self) -> bool:
        """Whether its receiver refuses the orders of `Receiver.refused`."""
        return self.name.startswith("per_order")

    @property
    def is_batched(self) -> bool:
        return self.name.startswith("batches")


class Receiver:
    """Records every request, in the order in which they came. The path names the endpoint."""

    def __init__(self) -> None:
        self.url = ""
        self.got: list[Got] = []
        self.refused: list[str] = []
        """Orders whose events are answered 500 at endpoints that are `per_order`."""
        self.secrets: set[str] = set()
        """All that endpoints sign with, and the tokens that were issued."""
        self.down: set[str] = set()
        """Endpoints whose requests are answered 503."""
        self.falters: Callable[[str, str], bool] = lambda name, webhook_id: False
        """Which requests, by endpoint and `webhook-id`, are answered 500."""
        self.holds: Callable[[Got], bool] = lambda got: False
        """Which requests wait for their answer until `released`."""
        self.released = asyncio.Event()
        self._came = asyncio.Event()

    def of(self, name: str) -> list[Got]:
        return [got for got in self.got if got.endpoint == name]

    async def until(self, fulfilled: Callable[[], bool]) -> None:
        async with patience():
            while not fulfilled():
                self._came.clear()
                await self._came.wait()

    async def serve(self, request: web.Request) -> web.Response:
        body, name = await request.read(), request.match_info["name"]
        stated = json.loads(body)
        events = stated if isinstance(stated, list) else [stated]
        repeated = "\n".join(request.headers.values()) if name.startswith("echoes") else ""
        if events[0]["type"] == "webhooks.verify" or "tradewind-test" in request.headers:
            return web.Response(text=repeated)
        webhook_id = request.headers["webhook-id"]
        if name in self.down:
            status = 503
        else:
            is_refused = name.startswith("per_order") and any(event["subject"] in self.refused for event in events)
            status = 500 if is_refused or self.falters(name, webhook_id) else 200
        assert request.transport is not None
        port = request.transport.get_extra_info("peername")[1]
        got = [Got(name, webhook_id, event, body, status, port) for event in events]
        self.got += got
        self._came.set()
        if any(self.holds(one) for one in got):
            await self.released.wait()
        await asyncio.sleep(LATENCY_SECONDS)
        return web.Response(status=status, text=repeated)

    async def issue(self, request: web.Request) -> web.Response:
        """Issues a token, as the server of an endpoint's `token_url`."""
        token = f"token-{uuid4().hex}"
        self.secrets.add(token)
        return web.json_response({"access_token": token, "token_type": "Bearer", "expires_in": 3600})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def receiver() -> AsyncIterator[Receiver]:
    one, app = Receiver(), web.Application()
    app.router.add_post("/token", one.issue)
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
    batch = {"max": 5, "wait_ms": 50}
    for number in range(2):
        made.append(await register(shop, receiver, f"batches-{number}", order="per_order", batch=batch, payload="thin"))
        await verify(shop, made[-1])
    return made


async def register(shop: Shop, receiver: Receiver, name: str, **config: Any) -> Endpoint:
    """Returns a pending endpoint."""
    status, made = await shop.call("webhooks", "POST", "/v1/endpoints", {"url": f"{receiver.url}/{name}", **config})
    assert status == 201, made
    receiver.secrets.add(made["secret"])
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

    await shop.until(delivered, "deliveries of everything in the feed", told=told)


async def missing_events(shop: Shop, receiver: Receiver, endpoint: Endpoint) -> list[Any]:
    """Returns the events that were not delivered; asserts that each of them waits, or is later in the lane of one that waits."""
    delivered = {got.identity for got in receiver.of(endpoint.name) if got.status == 200}
    waiting = await shop.rows("webhooks", "select lane, position from waiting where endpoint_id = $1", endpoint.id)
    rows, lanes = {row["position"] for row in waiting}, {str(row["lane"]): row["position"] for row in waiting}
    events = await shop.rows("webhooks", EVENTS, shop.store, endpoint.since)
    missing = [event for event in events if (event["source"], event["event_id"]) not in delivered]
    for event in missing:
        assert event["position"] in rows or event["position"] > lanes.get(event["key"], event["position"]), event
    return missing


async def assert_each_is_delivered_or_refused(shop: Shop, receiver: Receiver, endpoint: Endpoint) -> None:
    events = await shop.rows("webhooks", EVENTS, shop.store, endpoint.since)
    missing = await missing_events(shop, receiver, endpoint)
    refused = {event["key"] for event in events} & set(receiver.refused) if endpoint.is_refused else set()
    assert {event["key"] for event in missing} == refused


def assert_ids_and_bytes_are_the_same_in_each_attempt(got: Sequence[Got]) -> None:
    """An event of a batch always comes in the same one."""
    events, attempts = {one.identity for one in got}, {(one.identity, one.id, one.body) for one in got}
    assert len(attempts) == len(events)
    assert len({(one.id, one.body) for one in got}) == len({one.id for one in got})


def assert_first_sights_are_in_order(got: Sequence[Got]) -> None:
    """A version that comes for the first time is above all that came before of the same order and source."""
    seen: set[tuple[str, str]] = set()
    last: defaultdict[tuple[str, str], int] = defaultdict(int)
    for one in got:
        if one.identity not in seen:
            seen.add(one.identity)
            assert one.event["version"] > last[one.lane], (one.lane, one.event["version"], last[one.lane])
            last[one.lane] = one.event["version"]


async def assert_promise(shop: Shop, receiver: Receiver, endpoints: Sequence[Endpoint]) -> None:
    for endpoint in endpoints:
        got = receiver.of(endpoint.name)
        await assert_each_is_delivered_or_refused(shop, receiver, endpoint)
        assert_ids_and_bytes_are_the_same_in_each_attempt(got)
        if endpoint.order == "per_order":
            assert_first_sights_are_in_order(got)
        if endpoint.is_batched:
            assert any(len(json.loads(one.body)) > 1 for one in got)


@pytest.mark.parametrize("point", PASSES)
async def test_processes_that_die_deliver_each_event_in_order_or_keep_it_waiting_and_repeat_it_under_its_id(
    point: str, shop: Shop, receiver: Receiver, endpoints: list[Endpoint]
) -> None:
    members, before = shop.system.of("webhooks"), len(receiver.got)
    await shop.arm(members, f"{point}:{PASSES[point]}")
    refused = shop.snapshot()
    receiver.refused.append(refused.order_id)
    async with shop.load(ORDERS_PER_SECOND, orders_max=ORDERS_MAX):
        await shop.send([refused])
        await shop.until_dead_and_restarted(members, point)
    await until_delivered(shop, receiver, endpoints)
    await assert_promise(shop, receiver, endpoints)
    accepted = Counter((got.id, got.identity) for got in receiver.got[before:] if got.status == 200)
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
    await receiver.until(lambda: len(receiver.of(endpoint.name)) == frozen_at)
    in_flight = receiver.of(endpoint.name)[-1]
    await shop.until(lambda: are_written(frozen_at - 1), "all attempts but the one in flight")
    frozen = sender_of(shop, in_flight)
    frozen.send(signal.SIGSTOP)
    try:
        receiver.released.set()
        await receiver.until(lambda: len(receiver.of(endpoint.name)) > frozen_at)
    finally:
        frozen.send(signal.SIGCONT)
    assert len(receiver.of(endpoint.name)) < count  # there is more to send
    await until_delivered(shop, receiver, endpoints)
    await assert_promise(shop, receiver, endpoints)
    sent = Counter(got.id for got in receiver.of(endpoint.name))
    assert {name: times for name, times in sent.items() if times > 1} == {in_flight.id: 2}
    await shop.until(lambda: are_written(count + 1), "a row for each request, also for that of the frozen process")


async def test_that_an_endpoint_is_disabled_is_sent_to_its_notify_url(shop: Shop, receiver: Receiver) -> None:
    notify = {"notify_url": f"{receiver.url}/notices", "types": ["orders.*"]}
    endpoint = await register(shop, receiver, "noticed", order="none", **notify)
    await verify(shop, endpoint)
    status, answer = await shop.call("webhooks", "POST", f"/v1/endpoints/{endpoint.id}/disable")
    assert status == 200, answer
    await receiver.until(lambda: bool(receiver.of("notices")))
    [notice] = receiver.of("notices")
    assert (notice.event["type"], notice.event["subject"]) == ("webhooks.endpoint_disabled", str(endpoint.id))


async def test_no_secret_is_in_a_log_or_in_an_answer_that_does_not_make_it(shop: Shop, receiver: Receiver) -> None:
    """The logs of everything above, too. The receivers repeat all headers of a request in their answers."""
    api_key, client_secret = f"key-{uuid4().hex}", f"client-{uuid4().hex}"
    auths = [
        {"kind": "headers", "headers": {"x-api-key": api_key}},
        {"kind": "oauth2", "token_url": f"{receiver.url}/token", "client_id": "shop", "client_secret": client_secret},
    ]
    made = [await register(shop, receiver, f"echoes-{auth['kind']}", order="none", auth=auth) for auth in auths]
    for endpoint in made:
        await verify(shop, endpoint)
        status, rotated = await shop.call("webhooks", "POST", f"/v1/endpoints/{endpoint.id}/rotate", {})
        assert status == 200, rotated
        receiver.secrets.add(rotated["secret"])
    await shop.until_at_rest([await shop.place()])
    await until_delivered(shop, receiver, made)
    answers = [
        json.dumps(answer)
        for endpoint in made
        for method, path, body in (
            ("GET", f"/v1/endpoints/{endpoint.id}", None), ("POST", f"/v1/endpoints/{endpoint.id}/test", {"type": "orders.placed"}),
            ("GET", f"/v1/attempts?endpoint={endpoint.id}&limit=100", None), ("GET", f"/v1/journal?endpoint_id={endpoint.id}", None),
            ("GET", "/v1/endpoints?limit=100", None), ("GET", "/v1/events?limit=1000&types=webhooks.*", None),
        )
        for status, answer in [await shop.call("webhooks", method, path, body)]
        if status == 200 or pytest.fail(f"{path}: {answer}")
    ]  # fmt: skip
    assert (
        sum("***" in answer for answer in answers) >= 4
    )  # the attempts and the test of each: what is repeated is hidden
    logs = [path.read_text() for path in shop.system.logs.iterdir() if path.is_file()]
    assert any("dispatch" in log or "webhooks" in log for log in logs)
    known = {api_key, client_secret, *shop.keys.values(), *KEYS["webhooks"].values(), *receiver.secrets}
    assert len(receiver.secrets) >= 2 * len(made) + 1
    for secret in {part for one in known for part in (one, one.partition("_")[2]) if part}:
        assert not [text[:200] for text in (*answers, *logs) if secret in text], secret


async def test_a_database_restored_from_a_backup_repeats_events_and_misses_none(
    shop: Shop, receiver: Receiver, endpoints: list[Endpoint]
) -> None:
    """Also to a reader whose cursor is beyond what was restored. Other bytes than before: the cursor in them is another."""
    await restoring.backup(shop, "webhooks")
    lost = await shop.place_many(ORDERS)
    await until_delivered(shop, receiver, endpoints)
    _, now = await shop.call("webhooks", "GET", "/v1/cursors")
    before = {one.name: len(receiver.of(one.name)) for one in endpoints}
    await restoring.restore(shop, "webhooks")
    new = await shop.place_many(2)
    await until_delivered(shop, receiver, endpoints)

    for endpoint in endpoints:
        got = receiver.of(endpoint.name)
        await assert_each_is_delivered_or_refused(shop, receiver, endpoint)
        if not endpoint.is_batched:  # the restored database may form other batches: `source` and `id` show a repetition
            assert (
                len({(one.identity, one.id) for one in got})
                == len({one.identity for one in got})
                == len({one.id for one in got})
            )
        if endpoint.order == "per_order":
            assert_first_sights_are_in_order(got)
        earlier, later = got[: before[endpoint.name]], got[before[endpoint.name] :]
        assert {one.identity for one in earlier} & {one.identity for one in later}
    url, named = f"{shop.system.url('webhooks')}/v1/events", {"authorization": f"Bearer {shop.keys['webhooks']}"}
    asked = {"after": now["cursor"], "limit": "1000", "types": "orders.*"}
    async with aiohttp.ClientSession() as client, client.get(url, params=asked, headers=named) as answer:
        read, rewound = await answer.json(), answer.headers["tradewind-rewound"]
    assert rewound == "true" and {*lost, *new} <= {event["subject"] for event in read["items"]}


async def kill_and_freeze_at_random(
    shop: Shop, receiver: Receiver, endpoints: Sequence[Endpoint], seconds: float
) -> None:
    """SIGKILL one process after the other and start it again, freeze some past their lease, and let receivers be down."""
    dice, ends_at, done = random.Random(20), time.monotonic() + seconds, Counter[str]()
    thawing: set[asyncio.Task[None]] = set()

    async def thaw(frozen: Member) -> None:
        await asyncio.sleep(LEASE_SECONDS + 2)  # longer than the lease: that is the subject
        with contextlib.suppress(ProcessLookupError):
            frozen.send(signal.SIGCONT)

    while time.monotonic() < ends_at:
        receiver.down = {one.name for one in endpoints if dice.random() < 0.15}
        member = dice.choice(shop.system.of("webhooks"))
        if dice.random() < 0.25:
            member.send(signal.SIGSTOP)
            thawing.add(asyncio.create_task(thaw(member)))
            done["frozen"] += 1
        else:
            await shop.restart(member, wait=False)
            done["killed"] += 1
        await asyncio.sleep(dice.uniform(1, 6))
    receiver.down = set()
    await asyncio.gather(*thawing)
    print(dict(done))


async def replayed(shop: Shop, endpoint: Endpoint) -> str:
    """Begins a replay of everything; returns its id."""
    body = {"from": "2020-01-01T00:00:00Z"}
    status, shown = await shop.call("webhooks", "POST", f"/v1/endpoints/{endpoint.id}/replay", body)
    assert status == 202, shown
    return str(shown["replay_id"])


async def until_replayed(shop: Shop, replay_id: str) -> Any:
    async def finished() -> Any:
        _, shown = await shop.call("webhooks", "GET", f"/v1/replays/{replay_id}")
        return shown if shown["status"] == "finished" else None

    return await shop.until(finished, f"the end of replay {replay_id}", 120)


@pytest.mark.chaos(minutes=5)
@pytest.mark.timeout(900)
async def test_processes_killed_at_random_for_minutes_deliver_each_event_or_keep_it_waiting(
    shop: Shop, receiver: Receiver, endpoints: list[Endpoint]
) -> None:
    """Two processes; receivers that are down now and then and falter at one of twenty events."""
    dice, seen = random.Random(21), set[tuple[str, str]]()

    def falters(name: str, webhook_id: str) -> bool:
        is_first = (name, webhook_id) not in seen
        seen.add((name, webhook_id))
        return is_first and dice.random() < 0.05

    before = len(receiver.got)
    receiver.falters = falters
    async with shop.load(CHAOS_ORDERS_PER_SECOND) as orders:
        await kill_and_freeze_at_random(shop, receiver, endpoints, CHAOS_SECONDS / 2)
        replays = [
            await replayed(shop, one) for one in endpoints[:2]
        ]  # none of batches: those of a replay have other ids
        await kill_and_freeze_at_random(shop, receiver, endpoints, CHAOS_SECONDS / 2)
    receiver.falters = lambda name, webhook_id: False
    await asyncio.to_thread(shop.system.wait_ready, None, PATIENCE_SECONDS)
    await shop.until_at_rest(orders)
    ids = [one.id for one in endpoints]

    async def nothing_is_due() -> bool:
        return not await shop.rows("webhooks", DUE, ids)

    async def told() -> Any:
        return [tuple(row) for row in await shop.rows("webhooks", DUE, ids)][:20]

    await shop.until(nothing_is_due, "deliveries of everything that is due", 300, told)
    ended = [await until_replayed(shop, replay_id) for replay_id in replays]
    assert all(replay["delivered"] > replay["failed"] for replay in ended), ended
    late = 0
    for endpoint in endpoints:
        late += len(await missing_events(shop, receiver, endpoint))
        assert_ids_and_bytes_are_the_same_in_each_attempt(receiver.of(endpoint.name))
        if endpoint.order == "per_order":
            assert_first_sights_are_in_order(receiver.of(endpoint.name))
    got = receiver.got[before:]
    events, accepted = {one.id for one in got}, [one for one in got if one.status == 200]
    print(f"{len(orders)} orders, {len(got)} requests, {len(accepted)} accepted, {len(events)} deliveries, {late} wait")
    assert late < len(events) / 20  # the pauses between attempts are long; what is down is probed


async def test_the_promises_hold_after_all_this(shop: Shop) -> None:
    await shop.until_at_rest()
    await shop.assert_promises()
