"""HTTP of invoicing on a real PostgreSQL; needs `INVOICING_TEST_DATABASE_URL` like the tests of the store."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from functools import partial
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest
import pytest_asyncio
from invoicing_office import credit, issue, line, uid

from chassis.batch.inbound import Inbound
from chassis.batch.intake import Intake
from chassis.process.app import App
from invoicing.handlers import SERVICE
from invoicing.settings import Settings
from tests.asgi import asgi_of, asked
from tests.databases import migrated

URL = os.environ.get("INVOICING_TEST_DATABASE_URL", "")
pytestmark = [pytest.mark.asyncio, pytest.mark.skipif(not URL, reason="INVOICING_TEST_DATABASE_URL is not set")]

ACME = {
    "name": "Acme Ltd",
    "address": {"line1": "1 Quay", "city": "London", "country": "GB"},
    "vat_number": "GB999999973",
    "time_zone": "Europe/London",
}


class Client:
    """Speaks ASGI to the service, with a key of a store of its own."""

    def __init__(self, app: App, store: str, key: str) -> None:
        self.app, self.asgi, self.store, self.key = app, asgi_of(app), store, key

    async def call(self, method: str, path: str, body: Any = None, if_match: str = "", **query: Any) -> tuple[int, Any]:
        headers = [(b"authorization", f"Bearer {self.key}".encode()), (b"content-type", b"application/json")]
        headers += [(b"if-match", if_match.encode())] if if_match else []
        return await asked(self.asgi, method, path, headers, body, urlencode(query))

    async def tell(self, *commands: Any) -> None:
        entries = [Inbound("replay", c.order_id, c.store_id, uuid4(), c.TYPE, c, "test") for c in commands]
        await self.app.shell.take(Intake(list(entries), {}))

    async def issues_three_and_credits_the_first(self) -> None:
        assert (await self.call("PUT", "/v1/sellers/acme", ACME))[0] == 200
        orders = [f"{self.store} {n}" for n in (1, 2, 3)]
        for order in orders:
            await self.tell(issue(line(1200), line(0, "5.50", line_id="2"), order=order, store=self.store))
        await self.tell(credit(order=orders[0], store=self.store))


@pytest_asyncio.fixture
async def app() -> AsyncIterator[App]:
    await migrated(SERVICE, URL)
    app = App(SERVICE, Settings(database_url=URL), "api")
    yield app
    await app.database.close()


@pytest_asyncio.fixture
async def client(app: App) -> Client:
    return await client_of(app, f"st_{uuid4().hex[:8]}", "invoices.view", "invoices.edit")


async def client_of(app: App, store: str, *scopes: str) -> Client:
    return Client(app, store, await app.keys.create(store, "test", scopes))


async def test_documents_are_listed_in_pages_in_the_order_of_issue(client: Client) -> None:
    await client.issues_three_and_credits_the_first()
    numbers: list[str] = []
    cursor: dict[str, str] = {}
    for _ in range(5):
        status, page = await client.call("GET", "/v1/invoices", limit=3, **cursor)
        assert status == 200
        numbers += [item["number"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert numbers == ["CN-000001", "INV-000003", "INV-000002", "INV-000001"]
    _, page = await client.call("GET", "/v1/invoices", limit=4)
    assert [item["version"] for item in page["items"]] == [2, 1, 1, 1]


async def test_documents_are_found_by_order_and_kind(client: Client) -> None:
    await client.issues_three_and_credits_the_first()
    order = uid(f"{client.store} 1")
    _, both = await client.call("GET", "/v1/invoices", order_id=order)
    assert [(item["kind"], item["total_minor"]) for item in both["items"]] == [("credit", 1200), ("invoice", 1200)]
    _, notes = await client.call("GET", "/v1/invoices", order_id=order, kind="credit")
    assert [item["invoice_id"] for item in notes["items"]] == [both["items"][1]["document_id"]]
    assert "buyer" not in both["items"][0]


async def test_a_document_is_shown_word_for_word(client: Client) -> None:
    await client.issues_three_and_credits_the_first()
    _, page = await client.call("GET", "/v1/invoices", order_id=uid(f"{client.store} 1"))
    note, invoice = page["items"]
    status, shown = await client.call("GET", f"/v1/invoices/{invoice['document_id']}")
    assert status == 200
    assert (shown["kind"], shown["number"], shown["seller"]["name"]) == ("invoice", "INV-000001", "Acme Ltd")
    assert (shown["credited_by"], shown["document_id"]) == ([note["document_id"]], shown["invoice_id"])
    assert [part["gross_minor"] for part in shown["lines"]] == [1200, 0]
    _, credited = await client.call("GET", f"/v1/invoices/{note['document_id']}")
    assert (credited["kind"], credited["invoice_number"], credited["lines"]) == ("credit", "INV-000001", shown["lines"])


async def test_documents_of_another_store_are_not_there(client: Client, app: App) -> None:
    await client.issues_three_and_credits_the_first()
    _, page = await client.call("GET", "/v1/invoices")
    other = await client_of(app, f"{client.store}x", "invoices.view")
    assert await other.call("GET", "/v1/invoices") == (200, {"items": [], "next_cursor": None})
    status, problem = await other.call("GET", f"/v1/invoices/{page['items'][0]['document_id']}")
    assert (status, problem["type"]) == (404, "/problems/document_unknown")
    assert (await other.call("GET", "/v1/sellers/acme"))[0] == 404


async def test_a_seller_is_written_whole_and_read_again(client: Client) -> None:
    status, written = await client.call("PUT", "/v1/sellers/acme", {"name": "Acme"})
    assert (status, written["missing"]) == (200, ["address.line1", "address.country", "vat_number"])
    status, written = await client.call("PUT", "/v1/sellers/acme", ACME | {"invoice_prefix": "A-"})
    assert (status, written["missing"]) == (200, [])
    status, read = await client.call("GET", "/v1/sellers/acme")
    assert status == 200
    numbers = {
        "invoice_prefix": "A-",
        "credit_prefix": "CN-",
        "number_format": "{prefix}{number}",
        "number_reset": "never",
    }
    address = {name: value for name, value in read["address"].items() if value is not None}
    assert read | {"address": address} == {"code": "acme", "version": 2, **ACME, **numbers}
    assert (await client.call("GET", "/v1/sellers"))[1]["items"] == [read]


async def test_a_seller_is_replaced_only_at_the_version_that_if_match_names(client: Client) -> None:
    put = partial(client.call, "PUT", "/v1/sellers/acme")
    for precondition in ("*", '"1"'):
        assert (await put(ACME, if_match=precondition))[0] == 412
    assert [(await put(body))[1]["version"] for body in (ACME, ACME, {"name": "Acme plc"})] == [1, 1, 2]
    status, problem = await put(ACME, if_match='"1"')
    assert (status, problem["type"], problem["version"]) == (412, "/problems/version_outdated", 2)
    assert (await put(ACME, if_match='"2"'))[1]["version"] == 3


@pytest.mark.parametrize(
    "body",
    [
        {"vat_no": "GB1"},
        {"invoice_prefix": "X-", "credit_prefix": "X-"},
        {"invoice_prefix": "A1"},
        {"time_zone": "Mars/Olympus"},
        {"name": "\x00"},
    ],
)
async def test_a_seller_with_a_mistake_is_refused(client: Client, body: dict[str, str]) -> None:
    assert (await client.call("PUT", "/v1/sellers/acme", body))[0] == 422
    assert (await client.call("GET", "/v1/sellers/acme"))[0] == 404


async def test_a_prefix_of_the_other_kind_is_a_conflict(client: Client) -> None:
    await client.issues_three_and_credits_the_first()
    status, problem = await client.call("PUT", "/v1/sellers/acme", {"invoice_prefix": "CN-", "credit_prefix": "X-"})
    assert (status, problem["type"]) == (409, "/problems/prefix_taken")
    assert (await client.call("GET", "/v1/sellers/acme"))[1]["invoice_prefix"] == "INV-"


async def test_reading_does_not_allow_writing(client: Client, app: App) -> None:
    viewer = await client_of(app, client.store, "invoices.view")
    assert (await viewer.call("PUT", "/v1/sellers/acme", ACME))[0] == 403
    assert (await viewer.call("GET", "/v1/sellers"))[0] == 200


@pytest.mark.parametrize("cursor", ["x", "WzFd", "WyJhIiwiYiJd"])
async def test_a_cursor_that_is_not_ours_is_refused(client: Client, cursor: str) -> None:
    assert (await client.call("GET", "/v1/invoices", cursor=cursor))[0] == 400
