"""No request makes a service fail: every route of every service, with hostile values for every parameter and field.

The routes come from each service's own OpenAPI document, so a new one is tried as soon as it exists. Values are sent as
they are on the wire: percent-encoded, as raw bytes of headers, as JSON text. Each parameter, header and field gets a third of the
values, in turn, so that every value meets every kind of them; `make chaos` sends all (TRADEWIND_HOSTILE_SHARE=1).
"""

from __future__ import annotations

import itertools
import json
import os
import re
from asyncio import Event
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack
from copy import copy
from typing import Any, Final
from urllib.parse import quote, unquote
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from chassis.http.paging import sealed
from chassis.process.app import App
from dintero_compat.accounts import AID_PATTERN
from system.processes import OPTIONAL
from tests.running_services import AID, compat_with_its_owners, running

SERVICES: Final = ("orders", "payments", "fulfillment", "invoicing", "webhooks", "dintero_compat")
STORE: Final = "st_1"
SHARE: Final = int(os.environ.get("TRADEWIND_HOSTILE_SHARE", "3"))
"""One of so many hostile values is sent for a parameter, header or field."""
ASKING_SHARE: Final = SHARE * 4 if SHARE > 1 else 1
"""The same for a service that asks others: each of its requests makes several."""
SURROGATE: Final = "\\ud800"
"""A text in JSON that has no form in UTF-8."""

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not os.environ.get("ORDERS_TEST_DATABASE_URL"), reason="ORDERS_TEST_DATABASE_URL is not set"),
]

# fmt: off
ENCODED: Final = [
    "%00", "a%00b", "%ff%fe", "%ed%a0%80", "%C0%80", "a%0a", "demo%0a", "%", "%zz", "..%2f..%2fparked", "%F0%9F%98%80", "é",
    "0", "-1", str(2**31), str(2**63 - 1), str(2**63), str(-2**63 - 1), "9" * 400, "9" * 5_000, "1e400", "NaN", "Infinity", "1.5",
    "true", "null", "%27;drop%20table%20orders;--", "x" * 3_000, "00000000-0000-0000-0000-000000000000",
]
PLACES: Final = [
    "null", "[]", "{}", "[1]", "[true]", "[null,null]", "[{},[]]", f"[{2**63}]", f"[{-2**63 - 1}]", "[1e400]", '["a\\u0000"]',
    f'["{SURROGATE}"]', '["x","y"]', '["0000-01-01T00:00:00Z","00000000-0000-0000-0000-000000000000"]',
    '["infinity","00000000-0000-0000-0000-000000000000"]', '["0001-01-01T00:00:00+14:00","00000000-0000-0000-0000-000000000000"]',
    '["2026-01-01T00:00:00","00000000-0000-0000-0000-000000000000"]', '["main","a\\u0000"]', "[" * 2_000,
]
LISTS: Final = ["orders", "markets", "payments", "stock", "shipments", "invoices", "sellers", "parked"]
KEYS: Final = {"order_id", "endpoint_id", "difference_id", "gift_card_id"}
"""A journal is read by one of them."""
HEADERS: Final = {
    "x-store-id": [b"bad store!", b"", b"x" * 5_000, b"demo|x", "é".encode(), b"demo\xff", b"demo\n", b"a\0b", b"demo"],
    "x-act-as": [b"ann", b"", b"x" * 256, "é".encode(), b"\xff", b"a\0b", b"'; drop table orders;--"],
    "x-act-as-scopes": [b"*", b"", b"\xff", b"a\0b", b"x " * 5_000],
    "idempotency-key": [b"k" * 255, b"k" * 256, b"", "é".encode(), b"\xff", b"a\0b", b"'; drop table orders;--"],
    "traceparent": [b"00-" + b"a" * 300, b"\xff", b"", b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01"],
    "authorization": [b"Bearer \xff", b"Bearer tw_a\0b_c", b"Bearer tw__", b"Basic x", b"Bearer " + b"x" * 5_000],
    "host": [b"[", b"a/b?c#d", b"\xff", b""],
    "content-type": [b"text/plain", b"application/json; charset=utf-16", b"\xff"],
}
JSON: Final = [
    "", "null", "[]", "5", '""', "{}", "{", '{"a":', "\ufeff{}", "[" * 100_000, '{"a":' * 50_000, "NaN", '{"' + SURROGATE + '": 1}',
]
LEAVES: Final = [
    "null", "true", '""', '"a\\u0000b"', f'"{SURROGATE}"', '"demo\\n"', '"' + "x" * 3_000 + '"', "-1", str(2**63), "9" * 5_000,
    "1.5", "1e400", "NaN", "[]", "{}", '{"' + SURROGATE + '": 1}', "[" * 2_000 + "]" * 2_000, '"9999-12-31T23:59:59-12:00"', '"0000-00-00"',
]
# fmt: on


PATTERNS: Final = {"A-Z]{3}": "EUR", "A-Z]{2}": "DE", AID_PATTERN: AID}
"""A part of a pattern -> a word that fits it."""


class Turns:
    """Deals values out: each call returns every n-th of them, beginning one further than the call before."""

    def __init__(self, n: int = SHARE) -> None:
        self._turn, self._n = itertools.count(), n

    def __call__(self, values: Sequence[str | bytes]) -> Sequence[Any]:
        return values[next(self._turn) % self._n :: self._n]


class Client:
    """Calls an application as a server does. An exception becomes status 599."""

    def __init__(self, app: App, key: str) -> None:
        self.app, self.asgi, self.key = app, app.asgi(), key
        self.document: dict[str, Any] = self.asgi.openapi()

    def with_key(self, key: str) -> Client:
        """The same application, called with another key."""
        other = copy(self)
        other.key = key
        return other

    async def __call__(self, method: str, target: str, body: bytes = b"", **headers: bytes) -> tuple[int, bytes]:
        path, _, query = target.partition("?")
        named = {"authorization": f"Bearer {self.key}".encode(), "content-type": b"application/json", "host": b"localhost",
                 "x-store-id": STORE.encode()}  # fmt: skip
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        raw = path.encode()
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "root_path": "", "scheme": "http",
            "path": unquote(raw.decode("latin-1")), "raw_path": raw, "query_string": query.encode(), "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80), "headers": [(name.encode(), value) for name, value in named.items()],
        }  # fmt: skip
        sent: list[Any] = []

        unread = [body]

        async def receive() -> Any:
            if not unread:
                await Event().wait()  # the client stays connected: a streamed answer listens until it has ended
            return {"type": "http.request", "body": unread.pop(), "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        try:
            await self.asgi(scope, receive, send)
        except Exception as error:
            if not sent:
                return 599, repr(error).encode()
        return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


@pytest_asyncio.fixture(params=SERVICES)
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    """A service on its own database, called with an administrator's key that has every scope."""
    async with AsyncExitStack() as stack:
        if request.param in OPTIONAL:
            app = await stack.enter_async_context(compat_with_its_owners(STORE))
        else:
            app = await stack.enter_async_context(running(request.param))
        found = Client(app, await app.keys.create(None, "Müller Söhne", ["*", "act_as"]))
        if request.param in OPTIONAL:
            await stack.enter_async_context(found.asgi.router.lifespan_context(found.asgi))
        yield found


# -- what is asked ----------------------------------------------------------------------------------------------------


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def good(schema: dict[str, Any], document: dict[str, Any]) -> Any:
    """Returns a value that fits a schema. Rules that a schema cannot state may refuse it."""
    schema = resolved(schema, document)
    if "const" in schema or "enum" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    match schema.get("type"):
        case "object":
            return {name: good(one, document) for name, one in schema.get("properties", {}).items()}
        case "array":
            return [good(schema["items"], document)] if "items" in schema else []
        case "integer" | "number":
            return int(schema.get("minimum", 1))
        case "boolean":
            return False
        case "string":
            formats = {"uuid": str(UUID(int=0)), "date-time": "2026-11-21T10:00:00Z", "date": "2026-11-21"}
            pattern = schema.get("pattern", "")
            of_pattern = (word for part, word in PATTERNS.items() if part in pattern)
            return formats.get(schema.get("format", ""), next(of_pattern, "20"))
        case _:
            return None


def resolved(schema: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    while True:
        if "$ref" in schema:
            schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        elif choices := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
            schema = choices[0]
        else:
            return schema


def with_each_leaf_replaced(value: Any, share: Turns) -> Iterator[str]:
    """JSON texts: the value with one leaf after another replaced by its share of the hostile ones."""
    if isinstance(value, dict) and value:
        for name, child in value.items():
            for text in with_each_leaf_replaced(child, share):
                others = [f"{json.dumps(key)}: {json.dumps(one)}" for key, one in value.items() if key != name]
                yield "{" + ", ".join([f"{json.dumps(name)}: {text}", *others]) + "}"
    elif isinstance(value, list) and value:
        for text in with_each_leaf_replaced(value[0], share):
            yield f"[{text}]"
    else:
        yield from share(LEAVES)


def targets(path: str, operation: dict[str, Any], document: dict[str, Any], share: Turns) -> Iterator[str]:
    """The path with good values, then with hostile values for one parameter after another."""
    parameters = [one for one in operation.get("parameters", []) if one["in"] in ("path", "query")]

    def target(changed: str = "", value: str = "") -> str:
        filled, asked = path, []
        for one in parameters:
            name = one["name"]
            if one["in"] == "path":
                text = value if name == changed else quote(str(good(one["schema"], document)), safe="")
                filled = filled.replace(f"{{{name}}}", text)
            elif name == changed:
                asked.append(f"{name}={value}")
        return filled + ("?" + "&".join(asked) if asked else "")

    yield target()
    for one in parameters:
        for value in share(ENCODED):
            yield target(one["name"], value)
        if one["name"] == "cursor":
            places = [
                *PLACES,
                *(
                    f'["{name}",{place[1:]}'
                    for name in LISTS
                    for place in PLACES
                    if place.startswith("[") and place != "[]"
                ),
            ]
            for place in share(places):
                yield target("cursor", sealed(place.encode()))


async def requests(client: Client) -> AsyncIterator[tuple[str, int, bytes]]:
    document = client.document
    share = Turns(ASKING_SHARE if client.app.service.name in OPTIONAL else SHARE)
    for method, path, operation in operations(document):
        content = operation.get("requestBody", {}).get("content", {}).get("application/json")
        example = good(content["schema"], document) if content else None
        body = json.dumps(example).encode() if content else b""
        every = list(targets(path, operation, document, share))
        for target in every:
            yield f"{method} {target[:200]}", *await client(method, target, body)
        for name, values in HEADERS.items():
            for value in share(values):
                yield f"{method} {path} {name}: {value[:60]!r}", *await client(method, every[0], body, **{name: value})
        if content:
            for text in (*JSON, *with_each_leaf_replaced(example, share)):
                yield (
                    f"{method} {path} {text[:300]}",
                    *await client(method, every[0], text.encode("utf-8", "surrogatepass")),
                )
            for raw in (body.decode().encode("utf-16"), body.replace(b'"20"', b'"\xff"'), b"\xff" * 10):
                yield f"{method} {path} {raw[:60]!r}", *await client(method, every[0], raw)


async def test_no_hostile_value_of_any_parameter_makes_a_service_fail(client: Client) -> None:
    asked, failed = 0, []
    async for what, status, body in requests(client):
        asked += 1
        if status >= 500 and status != 501:
            failed.append(f"{what} -> {status} {body[:200]!r}")
        for leak in (b"Traceback", b"asyncpg", b"sqlalchemy", b"psycopg", b"SELECT "):
            assert leak not in body or what.startswith("GET /metrics"), f"{what} shows {leak!r}: {body[:300]!r}"
    assert asked > 500
    assert not failed, "\n".join(failed[:40])


async def test_every_list_answers_its_first_page(client: Client) -> None:
    for method, path, operation in operations(client.document):
        if method == "GET" and any(one["name"] == "cursor" for one in operation.get("parameters", [])):
            key = next((one["name"] for one in operation["parameters"] if one["name"] in KEYS), "")
            keyed = f"?{key}={uuid4()}" if path == "/v1/journal" else ""
            status, body = await client("GET", re.sub(r"\{\w+_id\}", str(uuid4()), path) + keyed)
            if "{order_id}" in path and status == 404:
                assert json.loads(body)["type"] == "/problems/order_unknown", path
                continue
            assert status == 200, (path, body)
            assert set(json.loads(body)) >= {"items", "next_cursor"}, path


@pytest.mark.parametrize("client", ["orders"], indirect=True)
async def test_the_markets_of_a_store_are_listed_page_by_page(client: Client) -> None:
    store = f"st_{uuid4().hex[:8]}".encode()
    for code, where in (("b", {"channel": "bol", "account": "main"}), ("a", {})):
        body = json.dumps({"terms": {"code": code}, **where}).encode()
        status, answer = await client("PUT", f"/v1/markets/{code}", body, x_store_id=store)
        assert status == 200, answer
    seen, cursor = [], ""
    while cursor is not None:
        status, answer = await client("GET", f"/v1/markets?limit=1{cursor}", x_store_id=store)
        assert status == 200, answer
        page = json.loads(answer)
        seen += [(one["code"], one["channel"], one["terms"]["code"]) for one in page["items"]]
        cursor = page["next_cursor"] and f"&cursor={page['next_cursor']}"
    assert seen == [("a", None, "a"), ("b", "bol", "b")]
    other = await client("PUT", "/v1/markets/c", json.dumps({"terms": {"code": "c"}}).encode(), x_store_id=store)
    assert (other[0], json.loads(other[1])["type"]) == (409, "/problems/market_taken")


@pytest.mark.parametrize("client", ["orders"], indirect=True)
async def test_a_market_is_replaced_only_at_the_version_that_if_match_names(client: Client) -> None:
    store, code = f"st_{uuid4().hex[:8]}".encode(), "m"

    async def put(seller: str, **headers: bytes) -> tuple[int, Any]:
        body = json.dumps({"terms": {"code": code, "seller": seller}}).encode()
        status, answer = await client("PUT", f"/v1/markets/{code}", body, x_store_id=store, **headers)
        return status, json.loads(answer)

    for any_or_one in (b"*", b'"1"'):
        status, problem = await put("a", if_match=any_or_one)
        assert (status, problem["type"], problem.get("version")) == (412, "/problems/version_outdated", None)
    assert [(await put(seller))[1]["version"] for seller in ("a", "a", "b")] == [1, 1, 2]
    status, problem = await put("c", if_match=b'"1"')
    assert (status, problem["version"]) == (412, 2)
    assert (await put("c", if_match=b'"2"'))[1]["version"] == 3
    assert (await put("c", if_match=b"3"))[0] == 400
    status, read = await client("GET", f"/v1/markets/{code}", x_store_id=store)
    assert (status, json.loads(read)["version"], json.loads(read)["terms"]["seller"]) == (200, 3, "c")
    status, _ = await client("GET", "/v1/markets/other", x_store_id=store)
    assert status == 404
