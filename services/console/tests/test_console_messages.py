"""The page of an order's messages, with owners that answer as the journals do; needs `CONSOLE_TEST_DATABASE_URL`."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from aiohttp import web
from console_world import NOW, Browser, Life, Publisher, emptied

from chassis.process.app import App
from console import recording
from console.domain.offsets import Flow
from console.settings import OWNERS

URL = os.environ.get("CONSOLE_TEST_DATABASE_URL", "")
pytestmark = [pytest.mark.asyncio, pytest.mark.skipif(not URL, reason="CONSOLE_TEST_DATABASE_URL is not set")]
TABLES = ("order_rows", "stores", "people", "freshness", "audit", "inbox", "parked", "parked_keys")
CURSOR = "c2VydmljZXMgY3Vyc29y"


def entry(service: str, type: str, cause: str, **more: Any) -> dict[str, Any]:
    fields = {
        "service": service, "at": NOW.isoformat(), "kind": "event", "type": type, "version": 1, "published": True,
        "message_id": str(uuid4()), "operation_id": None, "actor": "api-key:demo", "via": None, "cause_type": "orders.place",
        "cause_id": cause, "body": {"buyer": {"email": "***"}, "note": "<script>"},
    }  # fmt: skip
    return fields | more


@dataclass
class Journals:
    """Answers for every service: entries by service, attempts of webhooks; a service that is named in `silent` does not."""

    items: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    more: set[str] = field(default_factory=set)
    asked: list[tuple[str, str | None, str]] = field(default_factory=list)
    """(service, cursor, scopes)."""

    async def answer(self, request: web.Request) -> web.Response:
        service = request.match_info["service"]
        self.asked.append((service, request.query.get("cursor"), request.headers["x-act-as-scopes"]))
        if service in self.silent:
            return web.Response(status=500)
        cursor = CURSOR if service in self.more else None
        return web.json_response({"items": self.items.get(service, []), "next_cursor": cursor})


@pytest.fixture
def journals() -> Journals:
    return Journals()


@pytest_asyncio.fixture
async def app(journals: Journals) -> AsyncIterator[App]:
    server = web.Application()
    server.router.add_get("/{service}/v1/{kind:journal|attempts}", journals.answer)
    runner = web.AppRunner(server)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    asked: dict[str, Any] = {f"{name}_url": f"{site.name}/{name}" for name in OWNERS}
    async with emptied(TABLES, **asked, **{f"{name}_api_key": "k" for name in OWNERS}) as app:
        yield app
    await runner.cleanup()


@pytest_asyncio.fixture
async def browser(app: App) -> AsyncIterator[Browser]:
    browser = Browser(app)
    async with browser.asgi.router.lifespan_context(browser.asgi):
        yield browser


@pytest_asyncio.fixture
async def order(app: App) -> UUID:
    life = Life()
    await Publisher(app).publish(life.received())
    return life.order_id


def lines(text: str) -> list[str]:
    """The rows of the tree as `<level>: <type>`."""
    found = re.findall(r"Level (\d+): .*?<code>([\w.:-]+)</code>", text, re.DOTALL)
    return [f"{level}: {type}" for level, type in found]


async def test_a_message_is_shown_with_its_causes_its_effects_and_its_json_without_personal_data(
    journals: Journals, browser: Browser, order: UUID
) -> None:
    """Task 5 has one click: the facts of the order's page lead here, with `message` or `operation` in their address."""
    command = entry("orders", "payments.authorize", "request", kind="command", operation_id=str(uuid4()))
    answer = entry("payments", "payments.authorized", command["message_id"], actor="orders", operation_id=command["operation_id"])  # fmt: skip
    journals.items = {
        "orders": [command],
        "payments": [answer],
        "webhooks": [
            {"id": str(uuid4()), "event_id": answer["message_id"], "endpoint_id": "e1", "host": "erp.example.com", "number": 2, "at": NOW.isoformat(),
             "outcome": "delivered", "http_status": 204, "error": None},
        ],
    }  # fmt: skip
    await browser.sign_in("administrator")
    whole = await browser.get(f"/orders/{order}/messages")
    assert lines(whole.text) == [
        "1: orders.place",
        "2: payments.authorize",
        "3: payments.authorized",
        "4: erp.example.com",
    ]
    assert 'id="message"' not in whole.text
    for query in (f"message={answer['message_id']}", f"operation={command['operation_id']}"):
        page = await browser.get(f"/orders/{order}/messages?{query}")
        chosen = re.findall(r'id="message".*?</section>', page.text, re.DOTALL)[0]
        causes, effects = chosen.split("Effects")
        assert re.findall(r"<code>([\w.]+)</code>", causes)[-2:] == ["orders.place", "payments.authorize"]
        assert "204" in effects and "try 2" in effects and "&#34;email&#34;: &#34;***&#34;" in effects
        assert "&lt;script&gt;" in effects
    assert all("personal.view" not in scopes for _, _, scopes in journals.asked)


async def test_personal_data_of_a_message_is_revealed_by_a_request_that_the_audit_has(
    app: App, journals: Journals, browser: Browser, order: UUID
) -> None:
    one = entry("orders", "orders.received", "request")
    journals.items = {"orders": [one]}
    await browser.sign_in("operator")
    chosen = await browser.get(f"/orders/{order}/messages?message={one['message_id']}")
    [address] = re.findall(r'action="(/orders/[^"]+/reveal[^"]*)"', chosen.text)
    journals.asked.clear()
    assert (await browser.call("POST", address.partition("?")[0], [("message", one["message_id"])], {"sec-fetch-site": "same-origin"})).status == 200  # fmt: skip
    assert all("personal.view" in scopes for _, _, scopes in journals.asked)
    [row] = await app.fetch("select subject_kind, subject_id, order_id, action, outcome from audit")
    assert tuple(row) == ("message", one["message_id"], order, "reveal", "done")
    await browser.sign_in("viewer")
    assert "/reveal" not in (await browser.get(f"/orders/{order}/messages?message={one['message_id']}")).text
    assert (await browser.call("POST", address.partition("?")[0], [("message", one["message_id"])], {"sec-fetch-site": "same-origin"})).status == 403  # fmt: skip


async def test_what_a_silent_service_has_is_missing_and_named(
    journals: Journals, browser: Browser, order: UUID
) -> None:
    lost = str(uuid4())
    journals.silent = {"payments"}
    journals.items = {"orders": [entry("orders", "orders.placed", lost, cause_type="payments.authorized", actor="payments")]}  # fmt: skip
    await browser.sign_in()
    page = await browser.get(f"/orders/{order}/messages?message={lost}")
    assert page.status == 200 and "payments is silent" in page.text and "of payments, which is not on this page" in page.text  # fmt: skip
    assert "Not on this page" in page.text and lines(page.text) == ["1: payments.authorized", "2: orders.placed"]


async def test_a_long_story_goes_on_where_each_journal_of_the_page_has_ended(
    journals: Journals, browser: Browser, order: UUID
) -> None:
    journals.more = {"orders", "payments"}
    await browser.sign_in()
    page = await browser.get(f"/orders/{order}/messages")
    address = re.findall(r'rel="next" href="([^"]+)"', page.text)[0].replace("&amp;", "&")
    journals.asked.clear()
    assert (await browser.get(address)).status == 200
    assert sorted(asked[:2] for asked in journals.asked) == [("orders", CURSOR), ("payments", CURSOR)]


async def test_messages_are_of_an_order_that_the_person_may_see(
    journals: Journals, browser: Browser, order: UUID
) -> None:
    await browser.sign_in("viewer", stores=["st_2"])
    assert (await browser.get(f"/orders/{order}/messages")).status == 404
    await browser.sign_in("viewer")
    for query in ("message=nonsense", "after=nonsense", "after=nobody:x"):
        assert (await browser.get(f"/orders/{order}/messages?{query}")).status == 400, query
    assert journals.asked == []


async def test_a_topic_shows_its_rate_and_when_the_lag_of_each_group_is_clear(app: App, browser: Browser) -> None:
    """As the poller has recorded it: the page asks Kafka for nothing."""
    lags = {"payments": [90, 5.0, 15.0], "console": [7, 5.0, 5.0], "webhooks": [0, 5.0, 5.0]}
    groups = {group: {"payments.commands.v1": lag} for group, lag in lags.items()}
    await app.fetch("delete from flows")
    await browser.sign_in("viewer")
    assert "Kafka has not answered the console yet" in (await browser.get("/topics")).text
    flows = {group: {topic: Flow(*one) for topic, one in by_topic.items()} for group, by_topic in groups.items()}
    await recording.flowed(app, flows, {"payments.commands.v1": 5.0}, datetime.now(UTC))
    page = await browser.get("/topics")
    [row] = re.findall(r"<tr><th scope=\"row\"><a [^>]*>payments.commands.v1</a>.*?</tr>", page.text, re.DOTALL)
    words = " ".join(re.sub(r"<[^>]+>", " ", row).split())
    assert words.endswith("5.0 console 7 not shrinking payments 90 in 9 s webhooks 0 now")
    await recording.flowed(app, flows, {}, datetime.now(UTC) - timedelta(minutes=1))
    assert "Kafka does not answer" in (await browser.get("/topics")).text
