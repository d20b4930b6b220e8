"""Endpoints over HTTP on a real PostgreSQL; needs `WEBHOOKS_TEST_DATABASE_URL`."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
import standardwebhooks
from aiohttp import web
from structlog.testing import capture_logs
from webhooks_feed import Client, Publisher, noted

from chassis.declare.app import Principal
from chassis.process.app import App
from tests.databases import empty, migrated
from webhooks.api import endpoints
from webhooks.domain.endpoint import Verified, notices_id, shard_of
from webhooks.domain.signing import kind_of, new_secret, public_key_of
from webhooks.handlers import SERVICE
from webhooks.settings import Settings
from webhooks.tables import metadata
from webhooks.vault import Vault

URL = os.environ.get("WEBHOOKS_TEST_DATABASE_URL", "")
pytestmark = [pytest.mark.asyncio, pytest.mark.skipif(not URL, reason="WEBHOOKS_TEST_DATABASE_URL is not set")]
KEY = "a-key-of-a-test-that-is-long-enough"
BODY = {"url": "https://example.com/hooks?a=b"}
TABLES = (
    "feed", "feed_epochs", "order_facts", "inbox", "parked", "parked_keys", "journal", "outbox", "idempotency", "endpoints",
    "cursors", "waiting", "closed_operations",
)  # fmt: skip


@pytest_asyncio.fixture
async def app() -> AsyncIterator[App]:
    await migrated(SERVICE, URL)
    app = App(SERVICE, Settings(database_url=URL, secret_keys=KEY, allowed_networks="127.0.0.0/8"), "api")
    async with app.database.connection() as connection:
        await empty(connection, TABLES)
        await connection.execute("update feed_head set epoch = 0, position = 0, certificate = ''")
    shell = asyncio.create_task(app.shell.run())
    yield app
    shell.cancel()
    await asyncio.gather(shell, return_exceptions=True)
    app.end_soon()
    await app.database.close()


@pytest_asyncio.fixture
async def client(app: App) -> Client:
    return await of_store(app, "st_1")


async def of_store(app: App, store: str, *scopes: str) -> Client:
    return Client(app, await app.keys.create(store, "ann", scopes or ("webhooks.view", "webhooks.edit")))


async def created(client: Client, **body: Any) -> dict[str, Any]:
    status, made, _ = await client.call("POST", "/v1/endpoints", BODY | body)
    assert status == 201, made
    return made


async def verified(app: App, made: dict[str, Any], store: str = "st_1") -> None:
    """As when its receiver has answered."""
    command = Verified(
        endpoint_id=UUID(made["endpoint_id"]), store_id=store, operation_id=uuid4(), actor="test", url=made["url"]
    )
    outcome = await app.submit(Principal("test", store, frozenset()), command)
    assert outcome.refusal is None


async def rows(app: App, query: str, *arguments: Any) -> list[Any]:
    async with app.database.connection() as connection:
        return await connection.fetch(query, *arguments)


async def test_an_endpoint_is_created_pending_and_shown_without_its_secret(client: Client) -> None:
    status, made, headers = await client.call("POST", "/v1/endpoints", BODY)
    assert (status, made["status"], headers["etag"]) == (201, "pending", '"1"')
    assert kind_of(made["secret"]) == "v1"
    path = headers["location"]
    assert path == f"/v1/endpoints/{made['endpoint_id']}"
    status, shown, headers = await client.answer(path)
    assert (status, headers["etag"]) == (200, '"1"')
    assert shown == {name: value for name, value in made.items() if name != "secret"} | {
        "breaker": None, "last_success_at": None, "backlog": {"retries": 0, "or_more": False, "since": None},
    }  # fmt: skip
    assert (shown["url"], shown["order"], shown["in_flight"], shown["auth"]) == (
        BODY["url"],
        "per_order",
        8,
        {"kind": "none"},
    )
    assert [sorted(secret) for secret in shown["secrets"]] == [["created_at", "expires_at", "id", "kind", "public_key"]]
    _, page = await client.get("/v1/endpoints")
    assert page == {"items": [shown], "next_cursor": None}


async def test_an_endpoint_shows_what_it_has_not_received_and_those_that_get_nothing_are_listed(
    app: App, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoints, "RETRIES_MAX", 2)
    well, down, off = [await created(client) for _ in range(3)]
    for made in (well, down, off):
        await verified(app, made)
    await client.call("POST", f"/v1/endpoints/{off['endpoint_id']}/disable")
    publisher = Publisher(app)
    await publisher.publish(noted("st_1"), noted("st_2"))
    [[written]] = await rows(app, "select at from feed where store_id = 'st_1' and type = 'orders.note_added'")
    await app.fetch(
        "update cursors set succeeded_at = $2, position = 1000 where endpoint_id = $1",
        UUID(well["endpoint_id"]),
        written,
    )
    key = UUID(down["endpoint_id"])
    await app.fetch(
        "update cursors set breaker_because = 'failures', breaker_since = $2 where endpoint_id = $1", key, written
    )
    await app.fetch("""
        insert into waiting (endpoint_id, position, tries, next_at, exhausted, last, delivered)
        select $1, n, 1, now(), n = 4, '500', n = 5 from generate_series(1, 5) n""", key)  # fmt: skip
    _, page = await client.get("/v1/endpoints")
    backlogs = {one["endpoint_id"]: (one["backlog"]["retries"], one["backlog"]["or_more"]) for one in page["items"]}
    assert backlogs == {well["endpoint_id"]: (0, False), down["endpoint_id"]: (2, True), off["endpoint_id"]: (0, False)}
    assert [one["backlog"]["since"] is not None for one in page["items"]] == [False, True, True]
    assert datetime.fromisoformat(page["items"][0]["last_success_at"]) == written
    _, page = await client.get("/v1/endpoints", needs_attention="true")
    assert [one["endpoint_id"] for one in page["items"]] == [down["endpoint_id"], off["endpoint_id"]]


async def test_a_request_that_is_repeated_creates_one_endpoint_and_shows_the_same_secret(
    app: App, client: Client
) -> None:
    once = {"idempotency-key": "k1"}
    first, second = [await client.call("POST", "/v1/endpoints", BODY, once) for _ in range(2)]
    assert first[:2] == second[:2]
    assert second[2]["idempotency-replayed"] == "true"
    [stored] = await rows(app, "select body from idempotency")
    assert first[1]["secret"].encode() not in stored["body"]
    path = f"/v1/endpoints/{first[1]['endpoint_id']}/rotate"
    rotations = [await client.call("POST", path, {}, once) for _ in range(2)]
    assert rotations[0][:2] == rotations[1][:2]
    assert rotations[0][1]["secret"] != first[1]["secret"]


async def test_the_place_in_the_feed_stands_from_the_creation(app: App, client: Client) -> None:
    publisher = Publisher(app)
    await publisher.begin("first")
    await publisher.publish(*(noted("st_1") for _ in range(3)))
    made = await created(client)
    await publisher.publish(noted("st_1"))
    endpoint_id = UUID(made["endpoint_id"])
    [cursor] = await rows(app, "select endpoint_id, store_id, shard, position, moves from cursors")
    assert tuple(cursor) == (endpoint_id, "st_1", shard_of(endpoint_id), 3, 0)


async def test_a_change_replaces_the_configuration_at_the_version_that_if_match_names(client: Client) -> None:
    made = await created(client, types=["orders.*"], in_flight=2)
    path = f"/v1/endpoints/{made['endpoint_id']}"
    status, shown, headers = await client.call("PUT", path, BODY | {"order": "none"}, {"if-match": '"1"'})
    assert (status, headers["etag"], shown["order"], shown["types"], shown["in_flight"]) == (200, '"2"', "none", [], 8)
    status, problem, _ = await client.call("PUT", path, BODY, {"if-match": '"1"'})
    assert (status, problem["type"], problem["version"]) == (412, "/problems/version_outdated", 2)
    assert (await client.call("PUT", path, BODY | {"oder": "none"}))[0] == 422


async def test_an_endpoint_is_disabled_enabled_and_removed(app: App, client: Client) -> None:
    made = await created(client)
    path = f"/v1/endpoints/{made['endpoint_id']}"
    on = {"from": "cursor"}
    status, problem, _ = await client.call("POST", f"{path}/enable", on)
    assert (status, problem["type"]) == (409, "/problems/not_verified")
    await verified(app, made)
    states = [(await client.call("POST", f"{path}/{what}", on))[1] for what in ("disable", "enable")]
    assert [(one["status"], one["disabled_because"]) for one in states] == [("disabled", "request"), ("enabled", None)]
    [published] = await rows(app, "select type, version, payload from journal where topic = 'webhooks.events.v1'")
    assert (published["type"], published["version"]) == ("webhooks.endpoint_disabled", 1)
    status, gone, _ = await client.call("DELETE", path)
    assert (status, gone["status"], gone["secrets"], gone["url"]) == (200, "removed", [], "")
    assert (await client.get(path))[0] == (await client.call("DELETE", path))[0] == 404
    assert (await client.get("/v1/endpoints"))[1]["items"] == []
    assert await rows(app, "select from cursors") == []


async def test_a_rotated_secret_is_shown_once_and_the_old_one_expires(client: Client) -> None:
    made = await created(client)
    path = f"/v1/endpoints/{made['endpoint_id']}/rotate"
    status, rotated, _ = await client.call("POST", path, {"signature": "v1a", "overlap_hours": 1})
    assert (status, kind_of(rotated["secret"])) == (200, "v1a")
    new, old = rotated["secrets"]
    assert (new["kind"], new["public_key"], new["expires_at"]) == ("v1a", public_key_of(rotated["secret"]), None)
    left = (datetime.fromisoformat(old["expires_at"]) - datetime.now(UTC)).total_seconds()
    assert 3_500 < left <= 3_600
    brought = new_secret()
    assert (await client.call("POST", path, {"secret": brought}))[1]["secret"] == brought
    status, problem, _ = await client.call("POST", path, {})
    assert (status, problem["type"]) == (409, "/problems/too_many_secrets")


async def test_no_store_sees_or_changes_anothers_endpoint(app: App, client: Client) -> None:
    made = await created(client)
    other = await of_store(app, "st_2")
    path = f"/v1/endpoints/{made['endpoint_id']}"
    assert (await other.get("/v1/endpoints"))[1]["items"] == []
    assert (await other.get(path))[0] == 404
    for method, below, body in (
        ("PUT", "", BODY), ("DELETE", "", None), ("POST", "/disable", None), ("POST", "/rotate", {}),
        ("POST", "/enable", {"from": "now"}), ("POST", "/verify", None),
    ):  # fmt: skip
        status, problem, _ = await other.call(method, path + below, body)
        assert (status, problem["type"].partition("_")[2]) == (404, "unknown"), below
    once = {"idempotency-key": "k"}
    mine, theirs = [(await one.call("POST", "/v1/endpoints", BODY, once))[1] for one in (client, other)]
    assert mine["endpoint_id"] != theirs["endpoint_id"]
    assert [one["endpoint_id"] for one in (await other.get("/v1/endpoints"))[1]["items"]] == [theirs["endpoint_id"]]


async def test_a_store_has_exactly_so_many_endpoints_also_if_they_are_created_at_the_same_time(
    app: App, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webhooks.domain.endpoint.ENDPOINTS_MAX", 5)
    second = asyncio.create_task(app.shell.run())  # as many batches at the same time as a process has
    answers = await asyncio.gather(*(client.call("POST", "/v1/endpoints", BODY) for _ in range(12)))
    second.cancel()
    assert sorted(status for status, _, _ in answers) == [201] * 5 + [409] * 7
    assert {one["type"] for status, one, _ in answers if status == 409} == {"/problems/too_many_endpoints"}
    made = next(one for status, one, _ in answers if status == 201)
    assert (await client.call("DELETE", f"/v1/endpoints/{made['endpoint_id']}"))[0] == 200
    await created(client)


@pytest.mark.parametrize(("scopes", "view", "edit"), [
    (["webhooks.view"], 200, 403), (["webhooks.edit"], 403, 201), (["events.view"], 403, 403), (["*"], 200, 201),
])  # fmt: skip
async def test_reading_and_changing_are_scopes_of_their_own(app: App, scopes: list[str], view: int, edit: int) -> None:
    client = await of_store(app, "st_1", *scopes)
    assert (await client.get("/v1/endpoints"))[0] == view
    assert (await client.call("POST", "/v1/endpoints", BODY))[0] == edit


async def test_personal_values_go_to_an_endpoint_only_of_a_key_that_may_see_them(app: App, client: Client) -> None:
    status, problem, _ = await client.call("POST", "/v1/endpoints", BODY | {"personal": True})
    assert (status, problem["type"]) == (403, "/problems/scope_missing")
    may = await of_store(app, "st_1", "webhooks.edit", "personal.view")
    made = await created(may, personal=True)
    path = f"/v1/endpoints/{made['endpoint_id']}"
    assert (await client.call("PUT", path, BODY | {"personal": True, "url": "https://elsewhere.example/"}))[0] == 403


async def test_without_a_key_for_secrets_nothing_is_created(app: App, client: Client) -> None:
    closed = App(SERVICE, Settings(database_url=URL), "api")
    status, problem, _ = await Client(closed, client.key).call("POST", "/v1/endpoints", BODY)
    assert (status, problem["type"]) == (409, "/problems/secret_unstorable")
    assert await rows(app, "select from endpoints") == []
    await closed.database.close()


async def test_a_stored_answer_whose_key_is_gone_says_so(app: App, client: Client) -> None:
    once = {"idempotency-key": "k"}
    await client.call("POST", "/v1/endpoints", BODY, once)
    other = App(SERVICE, Settings(database_url=URL, secret_keys="another-key-of-a-test-long-enough"), "api")
    shell = asyncio.create_task(other.shell.run())
    status, problem, _ = await Client(other, client.key).call("POST", "/v1/endpoints", BODY, once)
    assert (status, problem["type"]) == (409, "/problems/secret_unreadable")
    shell.cancel()
    await asyncio.gather(shell, return_exceptions=True)
    await other.database.close()


async def test_no_secret_is_in_a_table_a_log_or_an_answer_that_does_not_make_it(app: App, client: Client) -> None:
    brought = new_secret()
    with capture_logs() as logs:
        made = await created(client, secret=brought)
        path = f"/v1/endpoints/{made['endpoint_id']}"
        _, rotated, _ = await client.call("POST", f"{path}/rotate", {}, {"idempotency-key": "k"})
        answers = [
            (await client.call("PUT", path, BODY | {"in_flight": 1}))[1],
            (await client.get(path))[1],
            (await client.get("/v1/endpoints"))[1],
            (await client.call("POST", "/v1/endpoints", BODY | {"secret": brought + "x", "oops": brought}))[1],
            (await client.call("DELETE", path))[1],
        ]
    secrets = [made["secret"], rotated["secret"]]
    assert brought == made["secret"]
    tables = await rows(
        app, "select relname from pg_class where relkind in ('r', 'p') and relnamespace = 'public'::regnamespace"
    )
    assert {table.name for table in metadata.sorted_tables} <= {row["relname"] for row in tables}
    stored = [await rows(app, f'select * from "{row["relname"]}"') for row in tables]
    texts = [repr(tuple(row)) for row in chain.from_iterable(stored)] + [json.dumps(answers), repr(logs)]
    assert any("endpoint_created" in text for text in texts)
    for secret in secrets:
        assert not [text for text in texts if secret.partition("_")[2] in text]
    [doc] = await rows(app, "select payload from journal where type = 'webhooks.endpoint_created'")
    sealed = json.loads(doc["payload"])["secret"]["sealed"]
    assert Vault([KEY]).open(UUID(made["endpoint_id"]), sealed) == brought


# -- whether the receiver expects events ------------------------------------------------------------------------------


@asynccontextmanager
async def receiver(answer: Callable[[web.Request, bytes], web.Response]) -> AsyncIterator[str]:
    """A receiver on this machine; yields its URL."""

    async def handle(request: web.Request) -> web.Response:
        return answer(request, await request.read())

    application = web.Application()
    application.router.add_post("/hooks", handle)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/hooks"
    finally:
        await runner.cleanup()


async def test_a_receiver_that_answers_a_signed_request_is_enabled(client: Client) -> None:
    asked: list[Any] = []

    def answer(request: web.Request, body: bytes) -> web.Response:
        asked.append(standardwebhooks.Webhook(made["secret"]).verify(body, dict(request.headers)))
        return web.Response(status=204)

    async with receiver(answer) as url:
        made = await created(client, url=url)
        path, once = f"/v1/endpoints/{made['endpoint_id']}/verify", {"idempotency-key": "k1"}
        status, shown, _ = await client.call("POST", path, more=once)
    assert (status, shown["status"], shown["version"]) == (200, "enabled", 2)
    assert (await client.call("POST", path, more=once))[:2] == (200, shown), "its receiver is gone"
    [request] = asked
    assert (request["type"], request["subject"], request["storeid"]) == ("webhooks.verify", made["endpoint_id"], "st_1")


async def test_a_receiver_that_requires_its_headers_can_be_verified(client: Client) -> None:
    def answer(request: web.Request, body: bytes) -> web.Response:
        return web.Response(status=204 if request.headers.get("authorization") == "Bearer of-the-erp" else 401)

    async with receiver(answer) as url:
        auth = {"kind": "headers", "headers": {"authorization": "Bearer of-the-erp"}}
        made = await created(client, url=url, auth=auth)
        status, shown, _ = await client.call("POST", f"/v1/endpoints/{made['endpoint_id']}/verify")
    assert (status, shown["status"]) == (200, "enabled")


@pytest.mark.parametrize(("echo", "status"), [
    (lambda challenge: challenge, 200), (lambda challenge: f"{challenge}\n", 200), (lambda challenge: json.dumps({"challenge": challenge}), 200),
    (lambda challenge: json.dumps(challenge), 200), (lambda challenge: "", 409), (lambda challenge: "ok", 409),
    (lambda challenge: challenge[:-1], 409), (lambda challenge: json.dumps({"challenge": 1}), 409), (lambda challenge: "[]", 409),
])  # fmt: skip
async def test_where_outsiders_register_the_receiver_returns_the_challenge(
    client: Client, echo: Callable[[str], str], status: int
) -> None:
    async with receiver(lambda request, body: web.Response(text=echo(json.loads(body)["data"]["challenge"]))) as url:
        made = await created(client, url=url, verify="echo")
        answer = await client.call("POST", f"/v1/endpoints/{made['endpoint_id']}/verify")
    assert answer[0] == status, answer


@pytest.mark.parametrize("answered", [500, 302, 404])
async def test_any_other_answer_leaves_the_endpoint_pending(client: Client, answered: int) -> None:
    redirect = {"location": "http://127.0.0.1:1/"}
    async with receiver(lambda request, body: web.Response(status=answered, headers=redirect)) as url:
        made = await created(client, url=url)
        path = f"/v1/endpoints/{made['endpoint_id']}"
        status, problem, _ = await client.call("POST", f"{path}/verify")
        assert (status, problem["type"], problem["http_status"]) == (409, "/problems/not_verified", answered)
    status, problem, _ = await client.call("POST", f"{path}/verify")
    assert (status, problem["http_status"], problem["error"]) == (409, None, "connect_failed")
    assert (await client.get(path))[1]["status"] == "pending"


# -- where deliveries go on -------------------------------------------------------------------------------------------


async def test_enabling_counts_the_events_to_deliver_and_goes_on_where_it_is_told_to(app: App, client: Client) -> None:
    publisher = Publisher(app)
    await publisher.begin("first")
    await publisher.publish(noted("st_1"))
    await publisher.publish(noted("st_1"))
    made = await created(client, types=["orders.note_added"])
    await verified(app, made)
    path = f"/v1/endpoints/{made['endpoint_id']}"
    await publisher.publish(noted("st_1"), noted("st_2"), noted("st_1"))
    written_at = (await rows(app, "select at from feed where position = 2"))[0]["at"]
    await client.call("POST", f"{path}/disable")

    async def enable(begin: str, **more: Any) -> tuple[int, str, int, int]:
        _, shown, _ = await client.call("POST", f"{path}/enable", {"from": begin, **more})
        [cursor] = await rows(app, "select position, moves from cursors")
        return shown["to_deliver"]["events"], shown["status"], cursor["position"], cursor["moves"]

    assert await enable("cursor", dry_run=True) == (2, "disabled", 2, 0)
    assert await enable(written_at.isoformat(), dry_run=True) == (3, "disabled", 2, 0)
    async with app.database.connection() as connection:
        await connection.execute(
            "insert into waiting (endpoint_id, position, tries, next_at, last) values ($1, 1, 1, now(), '500')",
            UUID(made["endpoint_id"]),
        )
    assert await enable("cursor") == (3, "enabled", 2, 0)
    assert await enable("1999-01-01T00:00:00Z") == (4, "enabled", 0, 1)
    assert await rows(app, "select from waiting") == []
    assert await enable((datetime.now(UTC) + timedelta(days=1)).isoformat()) == (0, "enabled", 5, 2)
    assert await enable("now") == (0, "enabled", 5, 3)


async def test_counts_apply_what_deliveries_apply(app: App, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """By slices of two events: what waits behind an event that failed counts, and what the conditions leave out does not."""
    monkeypatch.setattr("webhooks.counting.WHOLE_EVENTS", 2)
    publisher, orders = Publisher(app), [uuid4() for _ in range(3)]
    await publisher.begin("first")
    made = await created(client, types=["orders.*"], where=[{"path": "data.version", "in": [1, 3, 5]}])
    await verified(app, made)
    for version in range(1, 6):
        await publisher.publish(*(noted("st_1", version=version, order_id=order) for order in orders))
    endpoint_id = UUID(made["endpoint_id"])
    path = f"/v1/endpoints/{endpoint_id}"

    async def to_deliver(begin: str) -> int:
        _, shown, _ = await client.call("POST", f"{path}/enable", {"from": begin, "dry_run": True})
        return int(shown["to_deliver"]["events"])

    async def to_replay(**body: Any) -> tuple[int, bool]:
        body = {"from": "1999-01-01T00:00:00Z", "dry_run": True} | body
        status, shown, _ = await client.call("POST", f"{path}/replay", body)
        assert status == 200, shown
        return shown["count"], shown["or_more"]

    assert (await to_deliver("cursor"), await to_replay()) == (9, (0, False))
    async with app.database.connection() as connection:
        await connection.execute("update cursors set position = 9, open = '{7}'")
        await connection.execute(
            "insert into waiting (endpoint_id, position, lane, tries, next_at, last) values ($1, 2, $2, 1, now(), '500')",
            endpoint_id, orders[1],
        )  # fmt: skip
    assert await to_deliver("cursor") == 3 + 1 + 1 + 1  # ahead, open, the one that failed, and the third of its order
    assert await to_deliver("1999-01-01T00:00:00Z") == 9
    assert [await to_replay(), await to_replay(types=["orders.placed"]), await to_replay(only="missing")] == [
        (3, False), (0, False), (3, False),  # without the open one, the one that failed, and the second of its order
    ]  # fmt: skip
    monkeypatch.setattr("webhooks.counting.SECONDS_MAX", 0)
    assert await to_replay() == (1, True)


async def test_nothing_is_replayed_to_an_endpoint_that_gets_nothing(app: App, client: Client) -> None:
    made = await created(client)
    path = f"/v1/endpoints/{made['endpoint_id']}"
    body = {"from": "1999-01-01T00:00:00Z"}

    async def code(path: str, body: Any = None) -> tuple[int, str]:
        status, answer, _ = await client.call("POST", path, body)
        return status, answer.get("type", "")

    assert await code(f"{path}/replay", body) == (409, "/problems/not_verified")
    await verified(app, made)
    _, replay, _ = await client.call("POST", f"{path}/replay", body)
    assert (await code(f"{path}/disable"))[0] == 200
    assert await code(f"{path}/replay", body) == (409, "/problems/disabled")
    assert (await code(f"{path}/replay", body | {"dry_run": True}))[0] == 200
    assert (await code(f"/v1/replays/{replay['replay_id']}/pause"))[0] == 200
    assert await code(f"/v1/replays/{replay['replay_id']}/resume") == (409, "/problems/disabled")
    assert (await code(f"{path}/enable", {"from": "cursor"}))[0] == 200
    assert (await code(f"/v1/replays/{replay['replay_id']}/resume"))[0] == 200


async def test_a_count_has_a_limit_and_says_so(app: App, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webhooks.counting.COUNTED_MAX", 2)
    publisher = Publisher(app)
    await publisher.begin("first")
    made = await created(client)
    await verified(app, made)
    path = f"/v1/endpoints/{made['endpoint_id']}/enable"
    for events, counted in ((2, {"events": 2, "or_more": False}), (1, {"events": 2, "or_more": True})):
        await publisher.publish(*(noted("st_1") for _ in range(events)))
        assert (await client.call("POST", path, {"from": "cursor", "dry_run": True}))[1]["to_deliver"] == counted


async def test_events_that_the_feed_no_longer_has_are_not_passed_over_in_silence(app: App, client: Client) -> None:
    publisher = Publisher(app)
    await publisher.begin("first")
    made = await created(client)
    await verified(app, made)
    await publisher.publish(*(noted("st_1") for _ in range(3)))
    async with app.database.connection() as connection:
        await connection.execute("delete from feed where position < 3")
    path = f"/v1/endpoints/{made['endpoint_id']}/enable"
    status, problem, _ = await client.call("POST", path, {"from": "cursor"})
    assert (status, problem["type"]) == (410, "/problems/beyond_retention")
    assert (await client.call("POST", path, {"from": "now"}))[0] == 200


async def test_notices_have_a_place_of_their_own_while_there_is_a_url_for_them(app: App, client: Client) -> None:
    publisher = Publisher(app)
    await publisher.begin("first")
    made = await created(client)
    path, endpoint_id = f"/v1/endpoints/{made['endpoint_id']}", UUID(made["endpoint_id"])

    async def places() -> list[tuple[Any, ...]]:
        found = await rows(app, "select endpoint_id, notices_of, position from cursors order by position")
        return [tuple(row) for row in found]

    await publisher.publish(noted("st_1"))
    status, shown, _ = await client.call("PUT", path, BODY | {"notify_url": "https://example.com/n"})
    assert (status, shown["notify_url"]) == (200, "https://example.com/n")
    assert await places() == [(endpoint_id, None, 0), (notices_id(endpoint_id), endpoint_id, 1)]
    await publisher.publish(noted("st_1"))
    assert (await client.call("PUT", path, BODY | {"notify_url": "https://example.com/other"}))[0] == 200
    assert (await places())[1] == (notices_id(endpoint_id), endpoint_id, 1)
    assert (await client.call("PUT", path, BODY))[0] == 200
    assert await places() == [(endpoint_id, None, 0)]
    both = await created(client, notify_url="https://example.com/n")
    assert len(await places()) == 3
    assert (await client.call("DELETE", f"/v1/endpoints/{both['endpoint_id']}"))[0] == 200
    assert await places() == [(endpoint_id, None, 0)]
