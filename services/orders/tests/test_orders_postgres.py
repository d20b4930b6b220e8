"""Store and HTTP of orders on a real PostgreSQL: `ORDERS_TEST_DATABASE_URL` names an empty database."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from orders_play import NOW, content, line, market

from chassis.batch.inbound import Inbound
from chassis.process.app import App
from contracts import payments
from contracts.ids import order_id
from contracts.orders import AddNote, Cancel, Place
from contracts.payments import MoneyTotals
from contracts.snapshot import Address, OrderContent, Snapshot, Source
from orders import store
from orders.api.waits import POLL_SECONDS, WAITERS_MAX, Waits
from orders.handlers import SERVICE
from orders.settings import Settings
from tests.databases import empty, migrated

URL = os.environ.get("ORDERS_TEST_DATABASE_URL", "")
pytestmark = [pytest.mark.real, pytest.mark.skipif(not URL, reason="ORDERS_TEST_DATABASE_URL is not set")]
TABLES: Final = (
    "orders", "order_search", "order_marks", "notes", "attachments", "markets", "journal", "outbox", "timers", "inbox",
    "idempotency",
)  # fmt: skip
LIMIT = 300


@pytest_asyncio.fixture
async def app() -> AsyncIterator[App]:
    """The service without its background, on emptied tables."""
    await migrated(SERVICE, URL)
    app = App(SERVICE, Settings(database_url=URL), "api")
    async with app.database.transaction() as tx:
        await empty(tx, TABLES)
    shell = asyncio.create_task(app.shell.run())
    yield app
    shell.cancel()
    await asyncio.gather(shell, return_exceptions=True)
    await app.database.close()


def digital(number: str, **more: Any) -> OrderContent:
    return content(line(requires_shipping=False), external_order_id=number, **more)


async def handle(app: App, *inbounds: Inbound) -> None:
    for start in range(0, len(inbounds), 100):
        outcomes = await app.shell.handle(inbounds[start : start + 100])
        assert {outcome.status for outcome in outcomes} == {"done"}, outcomes


def inbound(body: Any, key: UUID, store_id: str) -> Inbound:
    message_id = uuid4()
    return Inbound("http", key, store_id, message_id, body.TYPE, body, str(message_id), actor="test")


async def place(app: App, count: int, store_id: str, **more: Any) -> list[UUID]:
    keys, inbounds = [], []
    for n in range(count):
        told = digital(f"{store_id}-{n}", **more)
        key = order_id(store_id, "api", "default", told.external_order_id)
        message = Place(order_id=key, store_id=store_id, operation_id=uuid4(), actor="test", channel="api",
                        account="default", order=told)  # fmt: skip
        keys.append(key)
        inbounds.append(inbound(message, key, store_id))
    await handle(app, *inbounds)
    return keys


async def used(app: App) -> int:
    async with app.database.connection() as connection:
        count: int = await connection.fetchval(store.IN_FLIGHT, LIMIT)
        return count


async def execute(app: App, sql: str, *values: Any) -> None:
    async with app.database.transaction() as tx:
        await tx.execute(sql, *values)


async def put_market(app: App, store_id: str, **terms: Any) -> None:
    async with app.database.transaction() as tx:
        await store.put_market(tx, store.Market(store=store_id, terms=market(**terms)))


async def woken(app: App) -> list[float]:
    """Seconds until each timer that is armed."""
    async with app.database.connection() as connection:
        rows = await connection.fetch(
            "select extract(epoch from due_at - clock_timestamp())::float8 from timers order by 1"
        )
    return [row[0] for row in rows]


# -- intake -----------------------------------------------------------------------------------------------------------


async def test_commands_that_were_just_asked_count_in_full(app: App) -> None:
    await place(app, 200, "a")
    await place(app, 50, "b")
    assert await used(app) == 250


async def test_one_store_with_a_slow_gateway_uses_a_quarter_of_the_limit_and_nothing_after_five_minutes(
    app: App,
) -> None:
    await place(app, LIMIT + 50, "a")
    await execute(app, "update orders set waiting_since = now() - interval '6 seconds'")
    assert await used(app) == LIMIT // 4
    await place(app, 10, "b")
    assert await used(app) == LIMIT // 4 + 10
    await execute(app, "update orders set waiting_since = now() - interval '301 seconds'")
    assert await used(app) == 0


async def test_bank_transfers_that_are_pending_at_a_gateway_use_nothing_of_the_limit(app: App) -> None:
    await put_market(app, "a", gateway="test")
    keys = await place(app, LIMIT + 10, "a")
    async with app.database.connection() as connection:
        asked = await connection.fetch("select key, operation_id from journal where type = 'payments.authorize'")
    operations = {row["key"]: row["operation_id"] for row in asked}
    assert len(operations) == len(keys)
    await handle(app, *(
        inbound(payments.Pending(
            order_id=key, store_id="a", version=1, operation_id=operations[key], currency="EUR", totals=MoneyTotals(),
            command="authorize", since=NOW,
        ), key, "a")
        for key in keys
    ))  # fmt: skip
    assert await used(app) == 0


# -- corrected terms --------------------------------------------------------------------------------------------------


async def test_a_corrected_market_wakes_the_orders_that_wait_a_hundred_a_second_and_no_other(app: App) -> None:
    await put_market(app, "a", currency="GBP")
    waiting = await place(app, 250, "a")
    await put_market(app, "a", currency="GBP")  # the same again
    await place(app, 3, "b", lifecycle="awaiting_payment")
    assert await woken(app) == []
    await put_market(app, "a", currency="EUR")
    due = await woken(app)
    assert len(due) == len(waiting) and [sum(n - 1 < one <= n for one in due) for n in range(3)] == [100, 100, 50]


async def test_a_corrected_market_wakes_a_rejected_invoice_and_no_other_exception_of_what_is_placed(app: App) -> None:
    await put_market(app, "a", seller="wrong")
    keys = await place(app, 2, "a")
    await execute(app, "update orders set status = 'approved', waiting = 'exception', waiting_step = 'place.fulfill'")
    await execute(app, "update orders set waiting_step = 'settle.invoice' where key = $1", keys[0])
    await execute(app, "delete from timers")
    await put_market(app, "a", seller="acme")
    async with app.database.connection() as connection:
        assert [row["key"] for row in await connection.fetch("select key from timers")] == [keys[0]]


async def test_a_woken_order_starts_with_the_corrected_terms(app: App) -> None:
    await put_market(app, "a", currency="GBP")
    (key,) = await place(app, 1, "a")
    await put_market(app, "a", currency="EUR")
    assert await app.timers.fire() == 1
    async with app.database.connection() as connection:
        row = await connection.fetchrow("select status, waiting, market from orders where key = $1", key)
    assert row is not None and (row["status"], row["waiting"]) == ("placing", "answer") and '"EUR"' in row["market"]


# -- exceptions over HTTP ---------------------------------------------------------------------------------------------


class Client:
    """Speaks ASGI to the service with a key of one store."""

    def __init__(self, app: App, key: str) -> None:
        self.asgi, self.key = app.asgi(), key

    async def __call__(self, method: str, path: str, body: Any = None, query: str = "", **more: str) -> tuple[int, Any]:
        sent: list[Any] = []
        named = {"authorization": f"Bearer {self.key}", "content_type": "application/json", **more}
        headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in named.items()]
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": path, "raw_path": quote(path).encode(), "query_string": query.encode(), "root_path": "", "headers": headers,
            "server": ("test", 80), "client": ("test", 1),
        }  # fmt: skip

        async def receive() -> Any:
            return {"type": "http.request", "body": json.dumps(body).encode() if body is not None else b""}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.asgi(scope, receive, send)
        return sent[0]["status"], json.loads(b"".join(part.get("body", b"") for part in sent[1:]))


async def test_an_exception_is_shown_with_its_difference_and_ended_once(app: App) -> None:
    call = Client(app, await app.keys.create("a", "desk", ["*"]))
    (key,) = await place(app, 1, "a")
    moved = digital("a-0", ship_to=Address(name="Ann", line1="2 Way", city="Lyon", country="FR"))
    source = Source(channel="api", account="default", updated_at="2099-01-01T00:00:00Z", content_hash="x")
    await handle(app, inbound(Snapshot(source=source, order=moved), key, "a"))
    _, shown = await call("GET", f"/v1/orders/{key}")
    (one,) = shown["exceptions"]
    assert (one["code"], one["resolutions"]) == ("address_changed", ["accept", "keep"]) and one["since"]
    assert {"path": "ship_to.line1", "change": "changed", "before": None, "after": None} in one["difference"]
    assert [one["code"] for one in shown["remarks"]] == ["updated_at_ahead"] and {
        "action": "resolve",
        "allowed": True,
        "why_not": None,
        "detail": None,
    } in shown["legal_actions"]
    path = f"/v1/orders/{key}/exceptions/{one['exception_id']}/resolve"
    assert (await call("POST", path, {"resolution": "maybe"}))[0] == 422
    status, shown = await call("POST", path, {"resolution": "accept", "reason": "moved"})
    assert (status, shown["exceptions"], shown["order"]["ship_to"]["line1"]) == (200, [], "2 Way")
    status, problem = await call("POST", path, {"resolution": "accept"})
    assert (status, problem["type"]) == (404, "/problems/exception_unknown")
    _, shown = await call("GET", f"/v1/orders/{key}")
    (resolved,) = [entry for entry in shown["timeline"] if entry["type"] == "orders.exception_resolved"]
    assert (resolved["code"], resolved["resolution"], resolved["reason"]) == ("address_changed", "accept", "moved")


async def test_an_order_is_shown_with_its_latest_steps_and_the_timeline_has_all_of_them(app: App) -> None:
    call = Client(app, await app.keys.create("a", "desk", ["*"]))
    (key,) = await place(app, 1, "a")
    there = Address(name="Ann", line1="2 Way", city="Lyon", country="FR")
    for n in range(60):  # an exception is raised, and disappears with its cause
        moved = digital("a-0", ship_to=there) if n % 2 == 0 else digital("a-0")
        at = f"2099-01-01T00:{n:02}:00Z"
        source = Source(channel="api", account="default", updated_at=at, content_hash=str(n))
        await handle(app, inbound(Snapshot(source=source, order=moved), key, "a"))
    _, shown = await call("GET", f"/v1/orders/{key}")
    versions = [step["version"] for step in shown["timeline"] if step["version"]]
    assert len(shown["timeline"]) == 50 and versions == sorted(versions) and versions[-1] == shown["version"]
    steps, cursor = [], ""
    while cursor is not None:
        path = f"/v1/orders/{key}/timeline"
        _, page = await call("GET", path, query=f"limit=20{cursor}")
        steps += page["items"]
        cursor = page["next_cursor"] and f"&cursor={page['next_cursor']}"
    assert steps[:50] == shown["timeline"][::-1] and len(steps) > 50
    assert steps[-1]["type"] == "orders.received" and len({step["message_id"] for step in steps}) == len(steps)
    _, page = await call("GET", path, query=f"limit=500&cursor={shown['timeline_next_cursor']}")
    assert page["items"] == steps[50:]


async def test_what_several_orders_wait_for_is_read_at_once_in_the_order_of_the_request(app: App) -> None:
    call = Client(app, await app.keys.create("a", "desk", ["*"]))
    first, second = await place(app, 2, "a")
    (foreign,) = await place(app, 1, "b")
    await execute(app, "insert into parked_keys (key) values ($1)", second)
    query = "&".join(f"order_id={key}" for key in (second, foreign, uuid4(), first, second))
    status, found = await call("GET", "/v1/processes", query=query)
    assert status == 200 and [one["order_id"] for one in found["items"]] == [str(second), str(first)]
    assert [one["waiting"] for one in found["items"]] == ["parked", "answer"]
    _, shown = await call("GET", f"/v1/orders/{first}")
    assert {name: shown[name] for name in ("order_id", "version", "waiting", "processes", "legal_actions")} == found[
        "items"
    ][1]
    asked = shown["processes"][0]["operation_id"]
    status, after = await call("POST", f"/v1/orders/{first}/ask", idempotency_key="1")
    assert (status, after["version"], after["processes"][0]["operation_id"]) == (202, shown["version"], asked)
    status, after = await call("POST", f"/v1/orders/{first}/give_up", {"reason": "in vain"}, idempotency_key="2")
    assert (status, after["status"], after["cancel_cause"]) == (202, "cancelled", "gave_up")
    assert (await call("GET", "/v1/processes"))[0] == 422


async def test_another_store_ends_no_exception(app: App) -> None:
    (key,) = await place(app, 1, "a", lifecycle="partially_shipped")
    mine, theirs = [Client(app, await app.keys.create(name, "desk", ["*"])) for name in ("a", "b")]
    _, shown = await mine("GET", f"/v1/orders/{key}")
    path = f"/v1/orders/{key}/exceptions/{shown['exceptions'][0]['exception_id']}/resolve"
    assert (await theirs("POST", path, {"resolution": "accept"}))[0] == 404


# -- what people attach over HTTP -------------------------------------------------------------------------------------


async def count(app: App, table: str) -> int:
    async with app.database.connection() as connection:
        found: int = await connection.fetchval(f"select count(*) from {table}")
        return found


async def test_notes_are_added_once_and_paged_newest_first(app: App) -> None:
    call = Client(app, await app.keys.create("a", "desk", ["*"]))
    key, other = await place(app, 2, "a")
    path = f"/v1/orders/{key}/notes"
    status, first = await call("POST", path, {"text": "call back", "author": "Ann"}, idempotency_key="n-1")
    assert (status, first["note_count"]) == (201, 1)
    assert await call("POST", path, {"text": "call back", "author": "Ann"}, idempotency_key="n-1") == (201, first)
    for n in range(2, 24):
        assert (await call("POST", path, {"text": f"{n}", "audience": "customer"}))[0] == 201
    _, shown = await call("GET", f"/v1/orders/{key}")
    assert (shown["note_count"], [one["number"] for one in shown["notes"]]) == (23, [*range(23, 3, -1)])
    seen, cursor = [], ""
    while cursor is not None:
        _, page = await call("GET", path, query="limit=10" + (f"&cursor={cursor}" if cursor else ""))
        seen, cursor = seen + page["items"], page["next_cursor"]
    assert [one["number"] for one in seen] == [*range(23, 0, -1)]
    last = seen[-1]
    assert (last["note_id"], last["text"], last["author"], last["actor"], last["audience"]) == (
        first["note_id"], "call back", "Ann", "api-key:desk", "internal",
    )  # fmt: skip
    _, page = await call("GET", path, query="limit=1")
    assert (await call("GET", f"/v1/orders/{other}/notes", query=f"cursor={page['next_cursor']}"))[0] == 400
    assert await call("GET", f"/v1/orders/{other}/notes") == (200, {"items": [], "next_cursor": None})
    assert await count(app, "notes") == 23


async def test_a_repeated_operation_on_the_topic_adds_one_note(app: App) -> None:
    (key,) = await place(app, 1, "a")
    asked = AddNote(order_id=key, store_id="a", operation_id=uuid4(), actor="erp", text="call back")
    await handle(app, inbound(asked, key, "a"))
    await handle(app, inbound(asked, key, "a"), inbound(asked, key, "a"))
    assert await count(app, "notes") == 1


async def test_tags_metadata_reference_and_archive_are_searched_and_shown(app: App) -> None:
    call = Client(app, await app.keys.create("a", "desk", ["*"]))
    key, other = await place(app, 2, "a")
    path = f"/v1/orders/{key}"
    assert (await call("POST", f"{path}/tags", {"add": ["null", "vip", "a:b"]}))[1]["tags"] == ["a:b", "null", "vip"]
    assert (await call("PUT", f"{path}/reference", {"reference": 'ERP 7 \u00e4"{}'}))[0] == 200
    assert (await call("PATCH", f"{path}/metadata", {"erp": {"id": 7}, "gone": 1}))[0] == 200
    status, shown = await call("PATCH", f"{path}/metadata", {"gone": None, "price": 1.1})
    assert (status, shown["metadata"]) == (200, {"erp": {"id": 7}, "price": 1.1})
    assert (await call("PUT", f"{path}/metadata", {"x": "y" * 16_400}))[0] == 422
    assert (await call("PUT", f"{path}/metadata", [1]))[0] == 422
    link = {"name": "Claim", "url": "https://a.example/1.pdf"}
    status, shown = await call("POST", f"{path}/attachments", link)
    assert (status, shown["attachment_count"]) == (201, 1)
    assert (await call("POST", f"{path}/attachments", {**link, "url": "javascript:alert(1)"}))[0] == 422
    _, read = await call("GET", path)
    assert read["metadata"] == {"erp": {"id": 7}, "price": 1.1} and read["tags"] == ["a:b", "null", "vip"]
    assert [(one["name"], one["url"]) for one in read["attachments"]] == [("Claim", "https://a.example/1.pdf")]
    async with app.database.connection() as connection:
        rows = await connection.fetch("select key, tags, reference from orders where tags @> '{null}'::text[]")
        assert rows == []  # an element that is null is equal to nothing
        rows = await connection.fetch("select key, tags, reference from orders where tags @> array['null', 'vip']")
    assert [(one["key"], one["tags"], one["reference"]) for one in rows] == [
        (key, ["a:b", "null", "vip"], 'ERP 7 \u00e4"{}')
    ]
    status, shown = await call("POST", f"{path}/archive")
    assert status == 200 and shown["archived_at"] and shown["status"] == read["status"]
    assert (await call("POST", f"{path}/archive"))[1]["archived_at"] == shown["archived_at"]

    async def listed(query: str) -> list[str]:
        return [one["order_id"] for one in (await call("GET", "/v1/orders", query=query))[1]["items"]]

    assert await listed("") == [str(other)] and await listed("archived=true") == [str(key)]
    assert await listed(f"external_order_id={read['external_order_id']}") == [str(key)]
    assert await listed("archived=false&waiting=answer") == [str(other)] and len(await listed("waiting=answer")) == 2
    assert (await call("POST", f"{path}/unarchive"))[0] == 200 and len(await listed("")) == 2


async def test_metadata_of_other_changes_is_not_written_again(app: App) -> None:
    """It is a part of the row of its own: PostgreSQL keeps the stored value while other columns change."""
    call = Client(app, await app.keys.create("a", "desk", ["*"]))
    (key,) = await place(app, 1, "a")
    noise = "".join(chr(33 + hash((n, "x")) % 90) for n in range(15_000)).replace('"', "'").replace("\\", "/")
    assert (await call("PUT", f"/v1/orders/{key}/metadata", {"noise": noise}))[0] == 200

    async def stored() -> list[int]:
        async with app.database.connection() as connection:
            toast = await connection.fetchval(
                "select reltoastrelid::regclass::text from pg_class where relname = 'orders'"
            )
            return [
                row["chunk_id"] for row in await connection.fetch(f"select distinct chunk_id from {toast} order by 1")
            ]

    before = await stored()
    for n in range(3):
        assert (await call("POST", f"/v1/orders/{key}/notes", {"text": f"{n}"}))[0] == 201
    assert before and await stored() == before
    assert (await call("GET", f"/v1/orders/{key}"))[1]["metadata"] == {"noise": noise}


async def test_another_store_attaches_and_reads_nothing(app: App) -> None:
    (key,) = await place(app, 1, "a")
    mine, theirs = [Client(app, await app.keys.create(name, "desk", ["*"])) for name in ("a", "b")]
    assert (await mine("POST", f"/v1/orders/{key}/notes", {"text": "secret"}))[0] == 201
    path, link = f"/v1/orders/{key}", {"name": "Claim", "url": "https://a.example/1.pdf"}
    for method, below, body in (
        ("POST", "archive", None), ("POST", "unarchive", None), ("POST", "notes", {"text": "x"}), ("POST", "tags", {"add": ["x"]}),
        ("PATCH", "metadata", {"x": 1}), ("PUT", "metadata", {"x": 1}), ("POST", "attachments", link),
        ("PUT", "reference", {"reference": "x"}), ("GET", "notes", None), ("GET", "attachments", None),
    ):  # fmt: skip
        assert (await theirs(method, f"{path}/{below}", body))[0] == 404, below
    _, shown = await mine("GET", path)
    assert (shown["note_count"], shown["tags"], shown["metadata"], shown["archived_at"]) == (1, [], {}, None)


async def test_a_key_that_may_only_view_attaches_nothing(app: App) -> None:
    (key,) = await place(app, 1, "a")
    call = Client(app, await app.keys.create("a", "viewer", ["orders.view"]))
    assert (await call("POST", f"/v1/orders/{key}/notes", {"text": "x"}))[0] == 403
    assert (await call("GET", f"/v1/orders/{key}/notes"))[0] == 200


async def test_the_checker_finds_a_note_that_is_missing(app: App) -> None:
    call = Client(app, await app.keys.create("a", "desk", ["*"]))
    (key,) = await place(app, 1, "a")
    assert (await call("POST", f"/v1/orders/{key}/notes", {"text": "x"}))[0] == 201

    async def violated() -> dict[str, int]:
        async with app.database.connection() as connection:
            return {name: wrong for name, made, wrong in await SERVICE.check(connection) if wrong}  # type: ignore[misc]

    assert await violated() == {}
    await execute(app, "delete from notes")
    assert await violated() == {"orders.notes_and_attachments_are_all_there": 1}


# -- requests that wait -----------------------------------------------------------------------------------------------


async def seconds_of(call: Any) -> tuple[float, Any]:
    started_at = time.monotonic()
    return (found := await call) and (time.monotonic() - started_at, found)


async def test_a_request_waits_until_another_one_moves_the_order(app: App) -> None:
    call = Client(app, await app.keys.create("a", "desk", ["*"]))
    (key,) = await place(app, 1, "a", lifecycle="awaiting_payment")
    waiting = asyncio.create_task(
        call("POST", f"/v1/orders/{key}/notes", {"text": "x"}, query="wait=cancelled&timeout=30")
    )
    await asyncio.sleep(0.3)
    assert not waiting.done()
    assert (await call("POST", f"/v1/orders/{key}/cancel"))[0] == 202
    seconds, (status, answer) = await seconds_of(waiting)
    assert (status, answer["status"], answer["note_count"]) == (201, "cancelled", 1) and answer["note_id"]
    assert seconds < 155


async def test_after_the_timeout_the_answer_states_how_far_the_order_is(app: App) -> None:
    call = Client(app, await app.keys.create("a", "desk", ["*"]))
    told = json.loads(digital("W-1").model_dump_json())
    seconds, (status, answer) = await seconds_of(
        call("POST", "/v1/orders", told, query="wait=placed&timeout=0.4", idempotency_key="k")
    )
    assert (status, answer["status"], answer["waiting"]) == (202, "placing", "answer") and 0.4 <= seconds < 15
    status, again = await call("POST", "/v1/orders", told, query="timeout=0&wait=paid", idempotency_key="k")
    assert (status, again["order_id"]) == (202, answer["order_id"]), "other parameters of the wait are the same request"
    assert (await call("POST", "/v1/orders", told, idempotency_key="k"))[0] == 201
    assert (await call("POST", "/v1/orders", told, query="wait=placed&timeout=0", idempotency_key="other"))[0] == 202


async def test_what_is_reached_or_cannot_be_reached_is_answered_at_once(app: App) -> None:
    call = Client(app, await app.keys.create("a", "desk", ["*"]))
    gone, test = await place(app, 2, "a", lifecycle="awaiting_payment")
    await call("GET", f"/v1/orders/{gone}")  # the first request of a process is slow: it makes the OpenAPI document
    seconds, (status, answer) = await seconds_of(
        call("POST", f"/v1/orders/{gone}/cancel", query="wait=cancelled&timeout=30")
    )
    assert (status, answer["status"]) == (200, "cancelled") and answer["operation_id"] and seconds < 15
    seconds, (status, answer) = await seconds_of(
        call("POST", f"/v1/orders/{gone}/archive", query="wait=placed&timeout=30")
    )
    assert status == 202 and answer["archived_at"] and seconds < 15
    seconds, (status, problem) = await seconds_of(
        call("POST", f"/v1/orders/{test}/approve", query="wait=approved&timeout=30")
    )
    assert (status, problem["type"]) == (409, "/problems/order_not_awaiting_approval") and seconds < 15


@pytest.mark.parametrize(
    "query", ["wait=shipped", "wait=", "wait=placed&timeout=31", "wait=placed&timeout=-1", "wait=placed&timeout=nan"]
)
async def test_a_wait_that_is_wrong_is_refused_before_the_write(app: App, query: str) -> None:
    call = Client(app, await app.keys.create("a", "desk", ["*"]))
    (key,) = await place(app, 1, "a")
    assert (await call("POST", f"/v1/orders/{key}/archive", query=query))[0] == 422
    assert (await call("GET", f"/v1/orders/{key}"))[1]["archived_at"] is None


class Caller:
    """A request whose client may disconnect."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}


ROW = {"status": "placing", "payment_status": "unpaid", "fulfillment_status": "unfulfilled", "waiting": "answer",
       "placed_at": None, "completed_at": None}  # fmt: skip


async def test_waiters_share_a_read_are_bounded_and_leave_when_their_clients_do(app: App) -> None:
    found = Waits(app)
    keys = await place(app, 50, "a")

    async def wait(key: UUID, caller: Any, seconds: float = 30) -> None:
        await found.until(key, ROW, "placed", seconds, caller)

    callers = [Caller() for _ in range(WAITERS_MAX)]
    tasks = [asyncio.create_task(wait(keys[n % 50], caller)) for n, caller in enumerate(callers)]
    await asyncio.sleep(1)
    assert len(found) == WAITERS_MAX and 1 <= found.reads <= 1 / POLL_SECONDS
    seconds, _ = await seconds_of(asyncio.wait_for(asyncio.gather(wait(keys[0], Caller())), 10))
    assert seconds < 5, "one more is answered without a wait"
    for caller in callers[:150]:
        caller.gone.set()
    await asyncio.wait_for(asyncio.gather(*tasks[:150]), 10)
    assert len(found) == 50 and not any(task.done() for task in tasks[150:])
    app.end_soon()
    await asyncio.wait_for(asyncio.gather(*tasks), 10)
    assert len(found) == 0
    reads = found.reads
    await asyncio.sleep(4 * POLL_SECONDS)
    assert found.reads == reads, "without a waiter nothing is read"


async def test_an_error_of_the_database_ends_no_wait(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    found, read, failures = Waits(app), app.read, iter(range(3))
    (key,) = await place(app, 1, "a", lifecycle="awaiting_payment")

    async def flaky(statement: Any) -> Any:
        if next(failures, None) is not None:
            raise ConnectionError("the database is away")
        return await read(statement)

    monkeypatch.setattr(app, "read", flaky)
    waiting = asyncio.create_task(found.until(key, ROW, "cancelled", 30, Caller()))  # type: ignore[arg-type]
    await handle(app, inbound(Cancel(order_id=key, store_id="a", operation_id=uuid4(), actor="test"), key, "a"))
    await asyncio.wait_for(waiting, 15)
    assert found.reads == 1


# -- which error comes first ------------------------------------------------------------------------------------------


async def test_a_request_that_is_wrong_in_every_way_is_answered_in_the_documented_order(app: App) -> None:
    """docs/errors.md: each step corrects what the answer before named."""
    (key,) = await place(app, 1, "a")
    good = await app.keys.create("a", "desk", ["*"])
    viewer = await app.keys.create("a", "viewer", ["orders.view"])
    admin = await app.keys.create(None, "admin", ["*"])
    ten = [f"t{n}" for n in range(10)]
    assert (await Client(app, good)("POST", f"/v1/orders/{key}/tags", {"add": ten}, idempotency_key="used"))[0] == 200
    bad = {"idempotency_key": "\x7f", "if_match": "7"}
    more, unknown = {"add": ["more"]}, uuid4()
    steps: list[tuple[str, str, Any, str, str, dict[str, str]]] = [
        # expected, key, body, query, order, headers
        ("media_type_unsupported", "", {"add": [7]}, "wrong=1", "x", {**bad, "content_type": "text/plain"}),
        ("query_parameter_unknown", "", {"add": [7]}, "wrong=1", "x", bad),
        ("api_key_missing", "", {"add": [7]}, "", "x", bad),
        ("api_key_unknown", "tw_a_b", {"add": [7]}, "", "x", bad),
        ("scope_missing", viewer, {"add": [7]}, "", "x", bad),
        ("store_invalid", admin, {"add": [7]}, "", "x", {**bad, "x_store_id": "?"}),
        ("store_missing", admin, {"add": [7]}, "", "x", bad),
        ("request_invalid", good, {"add": [7]}, "wait=x", "x", bad),
        ("idempotency_key_invalid", good, more, "", str(unknown), bad),
        ("if_match_invalid", good, more, "", str(key), {**bad, "idempotency_key": "used"}),
        ("idempotency_key_reused", good, more, "", str(key), {"if_match": '"99"', "idempotency_key": "used"}),
        ("order_unknown", good, more, "", str(unknown), {"if_match": '"99"', "idempotency_key": "new"}),
        ("version_outdated", good, more, "", str(key), {"if_match": '"99"', "idempotency_key": "newer"}),
        ("tags_exceeded", good, more, "", str(key), {"if_match": "*", "idempotency_key": "newest"}),
    ]
    for expected, api_key, body, query, order, headers in steps:
        status, problem = await Client(app, api_key)("POST", f"/v1/orders/{order}/tags", body, query, **headers)
        assert status >= 400 and problem["type"] == f"/problems/{expected}", (expected, problem)
    _, problem = await Client(app, good)("POST", "/v1/orders/x/tags", {"add": ["ok", 7, "NO"]}, "wait=x")
    assert {(one["where"], one["pointer"]) for one in problem["errors"]} == {
        ("path", "/order_id"), ("query", "/wait"), ("body", "/add/1"), ("body", "/add/2"),
    }  # fmt: skip


# -- payment methods --------------------------------------------------------------------------------------------------


async def test_a_storefront_reads_what_a_method_costs_and_a_card_number_is_stored_nowhere(app: App) -> None:
    call = Client(app, await app.keys.create("a", "till", ["*"]))
    methods = [
        {"code": "card", "gateway": "stripe", "account": "second", "countries": ["DE"]},
        {"code": "invoice", "gateway": "manual", "surcharge_percent": "1.5",
         "currencies": [{"currency": "EUR", "max_minor": 200_00, "surcharge_minor": 2_00}]},
    ]  # fmt: skip
    terms = {"code": "shop", "payment_methods": methods}
    assert (await call("PUT", "/v1/markets/shop", {"terms": terms}))[0] == 200
    assert (await call("GET", "/v1/markets/shop"))[1]["terms"]["payment_methods"] == methods
    wanted = "currency=EUR&amount_minor=1000&country=FR"
    status, found = await call("GET", "/v1/markets/shop/payment-methods", query=wanted)
    assert status == 200 and [(one["code"], one["fits"], one["total_minor"]) for one in found["items"]] == [
        ("card", False, 10_00), ("invoice", True, 12_15),
    ]  # fmt: skip
    assert (await call("GET", "/v1/markets/other/payment-methods", query=wanted))[0] == 404
    told = json.loads(digital("A-1").model_dump_json(exclude_none=True))
    refused = {**told, "payment_token": "4242-4242-4242-4242"}
    status, problem = await call("POST", "/v1/orders", refused, idempotency_key="k1")
    assert (status, problem["type"]) == (422, "/problems/payment_token_refused") and "4242" not in json.dumps(problem)
    status, shown = await call("POST", "/v1/orders", {**told, "payment_token": "pm_1"}, idempotency_key="k2")
    assert (status, shown["grand_minor"]) == (201, 12_15)
    assert (shown["market"]["payment_method"], shown["market"]["gateway"]) == ("invoice", "manual")
    status, again = await call("POST", "/v1/orders", {**told, "payment_token": "pm_1"}, idempotency_key="k3")
    assert (status, again["order_id"], again["version"]) == (201, shown["order_id"], shown["version"])
    async with app.database.connection() as connection:
        for table in TABLES:
            rows = await connection.fetchval(f"select count(*) from {table} t where t::text like '%4242%'")
            assert rows == 0, table
        asked = await connection.fetchval(
            "select count(*) from journal t where t::text like '%\"payment_token\"%pm_1%'"
        )
    assert asked, "the token is passed on with the authorization"
