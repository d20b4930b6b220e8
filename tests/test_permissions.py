"""Who may do what, route by route, from each service's own OpenAPI document: a key needs the scope of a route, and a key of
one store sees and changes nothing of another's.

A new route is tried as soon as it exists. `tests/integration/test_schemathesis.py` tries the same with two stores at work.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID, uuid4

import pytest

from contracts.ids import order_id
from tests.running_services import AID
from tests.test_hostile_requests import Client, Turns, client, good, operations, pytestmark, targets  # noqa: F401
from webhooks.domain.attempts import attempt_id

SCOPES: Final = frozenset({
    "orders.view", "orders.edit", "orders.cancel", "orders.force", "orders.export", "personal.view",
    "gift_cards.check", "gift_cards.edit", "payments.view", "payments.capture", "payments.refund", "payments.pay", "payments.record", "payments.reconcile", "fulfillment.view", "fulfillment.ship", "stock.edit", "invoices.view", "invoices.edit", "parked.view",
    "parked.edit", "operations.view", "journal.view", "events.view", "webhooks.view", "webhooks.edit",
})  # fmt: skip


ALSO: Final = {"dintero_compat": ("orders.view", "payments.view")}
"""A service -> scopes that each of its routes needs beside its own: it reads the order and its money at their services."""


def scope_of(operation: dict[str, Any]) -> str | None:
    """The scope that an operation's API key needs; None for one without a key."""
    named = {scope for one in operation.get("security", ()) for scopes in one.values() for scope in scopes}
    assert len(named) == bool(operation.get("security")), operation["operationId"]
    return next(iter(named), None)


def body_of(operation: dict[str, Any], document: dict[str, Any]) -> bytes:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    return json.dumps(good(content["schema"], document)).encode() if content else b""


async def test_a_key_without_the_scope_of_a_route_is_refused(client: Client) -> None:  # noqa: F811
    keys = client.app.keys
    refused = 0
    for method, path, operation in operations(client.document):
        needed = scope_of(operation)
        if needed is None:
            continue
        assert needed in SCOPES, f"{method} {path} needs {needed}: is it in the list of scopes?"
        as_all_others = client.with_key(await keys.create("st_1", "others", sorted(SCOPES - {needed})))
        as_none = client.with_key(await keys.create("st_1", "none", []))
        target, body = next(targets(path, operation, client.document, Turns())), body_of(operation, client.document)
        for caller in (as_all_others, as_none):
            status, answer = await caller(method, target, body)
            problem = json.loads(answer)
            assert (status, problem["type"]) == (403, "/problems/scope_missing"), (method, path, answer)
            assert needed in problem["detail"], (method, path)
        as_it = client.with_key(await keys.create("st_1", "it", [needed, *ALSO.get(client.app.service.name, ())]))
        assert (await as_it(method, target, body))[0] != 403, (method, path)
        refused += 1
    assert refused >= 9


@pytest.mark.parametrize("client", ["orders"], indirect=True)
async def test_a_key_of_one_store_sees_and_changes_nothing_of_anothers_order(client: Client) -> None:  # noqa: F811
    mine, theirs = f"st_{uuid4().hex[:8]}", f"st_{uuid4().hex[:8]}"
    number = f"number-{uuid4().hex}"
    as_mine, as_theirs = [client.with_key(await client.app.keys.create(store, "desk", ["*"])) for store in (mine, theirs)]  # fmt: skip
    status, answer = await as_mine("POST", "/v1/orders", new_order(number))
    assert status == 201, answer
    key = UUID(json.loads(answer)["order_id"])
    assert key == order_id(mine, "api", "default", number)
    _, before = await as_mine("GET", f"/v1/orders/{key}")

    tried = 0
    for method, path, operation in operations(client.document):
        if scope_of(operation) is None or path == "/v1/journal":
            continue
        target = next(targets(path, operation, client.document, Turns())).replace(str(UUID(int=0)), str(key), 1)
        status, answer = await as_theirs(method, target, body_of(operation, client.document))
        assert number.encode() not in answer, (method, path)
        if "{order_id}" in path:
            tried += 1
            if status == 200:  # a list below an order
                assert json.loads(answer)["items"] == [], (method, path, answer)
            else:  # 422: this body is refused before the order is looked up
                assert status == 404 or (status == 422 and "requestBody" in operation), (method, path, status, answer)
    assert tried >= 6
    status, journal = await as_theirs("GET", f"/v1/journal?order_id={key}")
    assert (status, json.loads(journal)["items"]) == (200, [])
    assert (await as_mine("GET", f"/v1/orders/{key}"))[1] == before


@pytest.mark.parametrize("client", ["dintero_compat"], indirect=True)
async def test_a_key_of_one_store_sees_and_changes_nothing_of_anothers_account(client: Client) -> None:  # noqa: F811
    """With an account and a draft of its own beside it."""
    theirs, aid, mark = f"st_{uuid4().hex[:8]}", "P87654321", f"mark-{uuid4().hex}"
    async with client.app.database.transaction() as tx:
        await tx.execute("insert into accounts (aid, store_id, ships) values ($1, $2, true)", aid, theirs)
    as_theirs = client.with_key(await client.app.keys.create(theirs, "desk", ["*"]))
    body = {"order": {"currency": "EUR", "order_id": mark, "items": [{"id": "MUG", "gross_amount": 20}]}}
    status, draft = await client("POST", f"/v1/accounts/{AID}/shopping/draft_orders", json.dumps(body).encode())
    assert status == 200 and mark.encode() in draft, draft
    draft_id, tried = json.loads(draft)["id"], 0
    for method, path, operation in operations(client.document):
        if "{aid}" not in path or scope_of(operation) is None:
            continue
        target = next(targets(path, operation, client.document, Turns())).replace(str(UUID(int=0)), draft_id)
        named = target.replace("/orders/20", f"/orders/{mark}")
        for asked, refused in (
            (named, {"account_unknown"}),
            (named.replace(AID, aid), {"draft_unknown", "order_unknown"}),
        ):
            status, answer = await as_theirs(method, asked, body_of(operation, client.document))
            assert mark.encode() not in answer.replace(asked.encode(), b""), (method, asked)
            code = json.loads(answer).get("type", "").rpartition("/")[2]
            if code in refused:
                tried += 1
            else:  # 422: this body is refused before the order is looked up; 501: what is not done is not looked up
                assert status in (422, 501) or (status == 200 and "{" not in path.replace("{aid}", "")), (
                    method,
                    asked,
                    answer,
                )
    assert tried > 30
    assert (await client("GET", f"/v1/accounts/{AID}/shopping/draft_orders/{draft_id}"))[1] == draft


@pytest.fixture
def _secret_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBHOOKS_SECRET_KEYS", "a-key-of-a-test-that-is-long-enough")


@pytest.mark.usefixtures("_secret_keys")
@pytest.mark.parametrize("client", ["webhooks"], indirect=True)
async def test_a_key_of_one_store_sees_and_changes_nothing_of_anothers_webhooks(client: Client) -> None:  # noqa: F811
    """Endpoints, what was sent to them, replays and events: by path, by query and in lists."""
    mine, theirs = f"st_{uuid4().hex[:8]}", f"st_{uuid4().hex[:8]}"
    as_mine, as_theirs = [client.with_key(await client.app.keys.create(store, "desk", ["*"])) for store in (mine, theirs)]  # fmt: skip
    mark = f"mark-{uuid4().hex}"
    status, answer = await as_mine("POST", "/v1/endpoints", json.dumps({"url": f"https://example.com/{mark}"}).encode())
    assert status == 201, answer
    ids = await delivered(client, mine, UUID(json.loads(answer)["endpoint_id"]), mark)

    shown = [f"/v1/endpoints/{ids['endpoint_id']}", "/v1/endpoints", f"/v1/replays/{ids['replay_id']}", "/v1/attempts",
             f"/v1/events/{mark}", "/v1/events"]  # fmt: skip
    before = [await as_mine("GET", path) for path in shown]
    assert all(status == 200 for status, _ in before) and all(mark.encode() in before[n][1] for n in (0, 1, 3, 4, 5))

    tried: set[str] = set()
    for method, path, operation in operations(client.document):
        named = {one["name"]: one["in"] for one in operation.get("parameters", ())}
        of_mine = ids.keys() & named.keys() & {name for name, place in named.items() if place == "path"}
        if scope_of(operation) is None or "{parked_id}" in path:
            continue
        assert path.count("{") == len(of_mine), f"{path}: which row of a store does it name?"
        targeted = [path.replace(f"{{{name}}}", ids[name]) for name in of_mine] or [path]
        targeted += [f"{path}?{name}={ids[of]}" for name, of in QUERIES.items() if named.get(name) == "query"]
        if path == "/v1/journal":
            del targeted[0]  # it needs one of its parameters
        body = BODIES.get(path.rpartition("/")[2], body_of(operation, client.document))
        for target in targeted:
            status, answer = await as_theirs(method, target, body)
            assert not [one for one in (mark, ids["endpoint_id"]) if one.encode() in answer.replace(target.encode(), b"")], (method, target, answer)  # fmt: skip
            if of_mine:
                tried |= of_mine
                assert (status, json.loads(answer)["type"].endswith("_unknown")) == (404, True), (
                    method,
                    target,
                    answer,
                )
            elif method == "GET" and "items" in json.loads(answer):
                assert json.loads(answer)["items"] == [], (target, answer)
    assert tried == {"endpoint_id", "attempt_id", "replay_id", "event_id"}
    assert [await as_mine("GET", path) for path in shown] == before


QUERIES: Final = {
    "endpoint": "endpoint_id",
    "endpoint_id": "endpoint_id",
    "order_id": "order_id",
    "event_id": "event_id",
}
"""Parameter of a query -> whose id is its value."""
BODIES: Final = {
    "enable": b'{"from": "now"}', "replay": b'{"from": "2020-01-01T00:00:00Z"}', "test": b'{"type": "orders.placed"}',
    "rotate": b"{}", "{endpoint_id}": b'{"url": "https://example.com/theirs"}',
}  # fmt: skip
"""By the end of a path: a body that is refused for no other reason than whose the endpoint is."""


async def delivered(client: Client, store: str, endpoint_id: UUID, mark: str) -> dict[str, str]:  # noqa: F811
    """An event of a store, an attempt to deliver it and a replay; returns all ids, by the names of parameters."""
    order, replay, at = uuid4(), uuid4(), datetime.now(UTC)
    attempt = attempt_id(at, uuid4())
    async with client.app.database.transaction() as tx:
        position = await tx.fetchval("update feed_head set position = position + 1 returning position")
        await tx.execute(
            """
            insert into feed (position, event_id, source, type, store_id, key, version, time, at, correlation_id, body)
            values ($1, $2, 'orders', 'orders.teleported', $3, $4, 1, clock_timestamp(), clock_timestamp(), $2, $5)""",
            position, mark, store, order, json.dumps({"mark": mark}),
        )  # fmt: skip
        await tx.execute(
            """
            insert into attempts (id, endpoint_id, store_id, position, event_id, type, key, delivery_id, number, at,
              duration_ms, outcome, http_status, response, events, notice)
            values ($1, $2, $3, $4, $5, 'orders.teleported', $6, 'msg_1', 1, $7, 1, 'delivered', 200, $5, 1, false)""",
            attempt, endpoint_id, store, position, mark, order, at,
        )  # fmt: skip
        await tx.execute(
            """
            insert into replays (id, endpoint_id, store_id, first, last, position, types, which, as_new, actor, created_at)
            values ($1, $2, $3, 0, $4, 0, '{}', 'all', false, $5, clock_timestamp())""",
            replay, endpoint_id, store, position, mark,
        )  # fmt: skip
    return {
        "endpoint_id": str(endpoint_id), "attempt_id": str(attempt), "replay_id": str(replay), "event_id": mark,
        "order_id": str(order),
    }  # fmt: skip


def new_order(number: str) -> bytes:
    line = {"external_line_id": "1", "sku": "MUG", "title": "Mug", "quantity": {"ordered": 2}, "line_total_minor": 1000, "tax": [{"rate": "20"}]}  # fmt: skip
    return json.dumps({
        "external_order_id": number, "placed_at": "2026-11-21T10:00:00Z", "currency": "EUR", "lines": [line], "totals": {"grand_minor": 1000},
    }).encode()  # fmt: skip
