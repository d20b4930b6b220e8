"""No text becomes markup: each page with hostile texts in every field has the same elements as with harmless ones.

The owners answer with a text in each of their fields, the database has it in each column of text, and forms and addresses
have it too. A new page needs one line in PAGES or FORMS, and in OWNED what it asks of an owner. Needs `CONSOLE_TEST_DATABASE_URL`.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any, Final
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from aiohttp import web
from console_owners import ENDPOINT, attempt, endpoint, replay
from console_world import STORE, Answered, Browser, Life, Publisher
from fake_topics import FakeTopics
from hostile_texts import ADDRESSES, together
from jinja2 import Environment

from chassis.process.app import App
from console import api, recording
from console.api import rendering
from console.domain.offsets import Flow
from console.domain.operations import Report
from console.handlers import SERVICE
from console.settings import OWNERS, Settings
from contracts.snapshot import Line
from contracts.snapshot.lines import Quantities
from tests.asgi import asgi_of
from tests.databases import empty, migrated

URL = os.environ.get("CONSOLE_TEST_DATABASE_URL", "")
pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not URL, reason="CONSOLE_TEST_DATABASE_URL is not set"),
]
TABLES = (
    "order_rows",
    "stores",
    "people",
    "audit",
    "jobs",
    "inbox",
    "parked",
    "parked_keys",
    "reports",
    "flows",
    "series_rows",
)
AT: Final = "2026-11-21T09:30:00+00:00"
ID: Final = "00000000-0000-4000-8000-00000000000a"
TEXT: Final = "text"
"""The text under test in the answers of OWNED."""


def marked(value: Any, name: str = "") -> Any:
    """Returns an answer with TEXT in place of each text that is no id, no time and no word that a page branches on."""
    match value:
        case str():
            fixed = name in ("status", "outcome", "only") or re.fullmatch(r"[0-9a-f-]{36}|\d{4}-\d\d-\d\dT.*", value)
            return value if fixed else TEXT
        case dict():
            return {key: marked(one, key) for key, one in value.items()}
        case list():
            return [marked(one, name) for one in value]
    return value


CONTENT: Final = {
    "buyer": {"name": TEXT, "email": TEXT}, "totals": {"shipping_minor": 5},
    "ship_to": dict.fromkeys(("name", "company", "line1", "house_number", "line2", "postcode", "city", "region", "country"), TEXT),
    "lines": [{"external_line_id": TEXT, "sku": TEXT, "title": TEXT + " of a line", "quantity": {"ordered": 2}, "line_total_minor": 5}],
}  # fmt: skip
ENTRY: Final = {
    "message_id": ID, "service": TEXT, "kind": "event", "type": TEXT, "at": AT, "published": True, "operation_id": None, "actor": TEXT,
    "via": TEXT, "cause_type": TEXT, "cause_id": None, "version": 1, "body": {TEXT: [TEXT, {"deep": TEXT}]},
}  # fmt: skip
PROCESS: Final = {"kind": TEXT, "step": TEXT, "waits_for": "answer", "end": None, "since": AT, "asks": 3, "detail": TEXT,
                  "forcible_operation_id": ID}  # fmt: skip
PARKED: Final = {
    "id": 1, "key": ID, "store_id": STORE, "type": TEXT, "topic": TEXT, "partition": 0, "offset": 1, "cause": TEXT, "detail": TEXT,
    "raised_at": TEXT, "state": "waiting", "version": 1, "parked_at": AT, "edited_from": 3, "settled_by": TEXT, "settled_at": AT,
    "reason": TEXT, "value": TEXT, "value_bytes": None, "stack": [TEXT], "record_key": TEXT, "headers": [{"name": TEXT, "value": TEXT}],
    "behind": 3, "masked": False,
}  # fmt: skip
OPERATION: Final = {
    "operation_id": ID, "kind": "capture", "state": "succeeded", "code": TEXT, "amount_minor": 1, "currency": TEXT, "gateway": TEXT,
    "gateway_reference": TEXT, "reason": TEXT, "recorded": TEXT, "at": AT,
}  # fmt: skip
SETTLEMENT: Final = {
    "settlement_id": ID, "gateway": TEXT, "account": TEXT, "statement_id": TEXT, "format": TEXT, "currency": TEXT, "begins_on": TEXT,
    "ends_on": TEXT, "opening_minor": 1, "closing_minor": 1, "stated_minor": 1, "actor": TEXT, "imported_at": AT,
}  # fmt: skip
SETTLEMENT_ROW: Final = {
    "settlement_id": ID, "place": 1, "number": 1, "kind": TEXT, "row_id": TEXT, "names": [TEXT], "currency": TEXT, "gross_minor": 1,
    "fee_minor": 1, "net_minor": 1, "booked_on": TEXT, "exchanged_currency": TEXT, "exchanged_minor": 1, "state": TEXT, "operation_id": ID,
    "order_id": ID, "allotted_minor": 1, "open": True, "text": TEXT, "problem": TEXT, "resolution": None, "reason": TEXT, "resolved_by": TEXT,
}  # fmt: skip
GIFT_CARD: Final = {
    "gift_card_id": ID, "state": "active", "status": TEXT, "currency": TEXT, "initial_minor": 1, "balance_minor": 1, "expires_at": AT,
    "single_use": True, "rechargeable": False, "code_end": TEXT, "version": 1, "created_at": AT,
}  # fmt: skip
OWNED: Final[dict[str, Any]] = {
    "orders/v1/orders/": {
        "channel": TEXT, "account": TEXT, "external_order_id": TEXT,
        "status": TEXT, "payment_status": TEXT, "fulfillment_status": TEXT, "waiting": "approval", "version": 2, "money": None,
        "order": CONTENT,
        "processes": [{"kind": TEXT, "step": TEXT, "waits_for": "approval", "end": None, "since": AT, "asks": 3, "detail": TEXT}],
        "holds": [{"hold_id": ID, "reason": TEXT, "note": TEXT, "placed_by": TEXT, "since": AT, "until": AT}],
        "exceptions": [{"code": TEXT, "detail": TEXT, "since": AT, "difference": [{"path": TEXT, "before": TEXT, "after": TEXT}]}],
        "notes": [{"text": TEXT, "author": TEXT, "actor": TEXT, "at": AT}],
        "timeline": [{"at": AT, "type": TEXT, "code": TEXT, "detail": TEXT, "reason": TEXT, "message_id": ID,
                      "caused_by": {"type": TEXT, "actor": TEXT, "id": ID}}],
        "legal_actions": [{"action": "cancel", "allowed": True, "why_not": None}, {"action": "refund", "allowed": True, "why_not": None},
                          {"action": "release", "allowed": True, "why_not": None}, {"action": "approve", "allowed": False, "why_not": TEXT}],
    },
    "payments/v1/payments/": {
        "totals": {"authorized_minor": 1, "captured_minor": 1, "voided_minor": 0, "refunded_minor": 0},
        "lines": [{"line_id": TEXT, "direction": 1, "authorized_minor": 1, "captured_minor": 1, "voided_minor": 0, "refunded_minor": 0}],
        "operations": [OPERATION, OPERATION | {"state": TEXT}],
    },
    "payments/openapi.json": {
        "paths": {path: {} for path in (
            "/v1/accounts", "/v1/settlements", "/v1/settlement-rows", "/v1/differences", "/v1/gift-cards", "/v1/disputes", "/v1/payment-sessions",
            "/v1/orders/{order_id}/ledger",
            "/v1/orders/{order_id}/payments/{collection}",
        )},
    },
    "payments/v1/accounts": {
        "from": TEXT, "to": TEXT,
        "currencies": [{"currency": TEXT, "debit_minor": 1, "credit_minor": 1, "accounts": [
            {"account": TEXT, "opening_minor": 1, "debit_minor": 1, "credit_minor": 1, "closing_minor": 1}]}],
    },
    f"payments/v1/settlements/{ID}/rows": {"items": [SETTLEMENT_ROW], "next_cursor": TEXT},
    "payments/v1/settlements/": SETTLEMENT | {"states": {TEXT: 1}},
    "payments/v1/settlements": {"items": [SETTLEMENT], "next_cursor": TEXT},
    "payments/v1/settlement-rows": {"items": [SETTLEMENT_ROW], "next_cursor": TEXT},
    "payments/v1/differences": {
        "items": [{"difference_id": ID, "version": 1, "status": "open", "gateway": TEXT, "account": TEXT, "kind": TEXT, "proposal": TEXT,
                   "order_id": ID, "ours": None, "theirs": {"amount_minor": 1, "currency": TEXT, "kind": TEXT, "reference": TEXT}, "at": AT,
                   "found_at": AT, "closed_at": AT, "actor": TEXT, "reason": TEXT}],
        "next_cursor": TEXT,
    },
    "payments/v1/disputes": {
        "items": [{"dispute_id": ID, "order_id": ID, "gateway": TEXT, "account": TEXT, "reference": TEXT, "state": TEXT, "currency": TEXT,
                   "amount_minor": 1, "withheld_minor": 1, "reason": TEXT, "due_at": AT, "opened_at": AT}],
        "next_cursor": TEXT,
    },
    "payments/v1/payment-sessions": {
        "items": [{"session_id": ID, "order_id": ID, "state": TEXT, "currency": TEXT, "amount_minor": 1, "authorization_id": ID, "code": TEXT,
                   "return_url": TEXT, "cancel_url": TEXT, "expires_at": AT, "created_at": AT,
                   "prepayment": TEXT, "held_minor": 1}],
        "next_cursor": TEXT,
    },
    "payments/v1/gift-cards/": GIFT_CARD | {"movements": [
        {"number": 1, "kind": TEXT, "amount_minor": 1, "balance_minor": 1, "order_id": ID, "at": AT}]},
    "payments/v1/gift-cards": {"items": [GIFT_CARD], "next_cursor": TEXT},
    "payments/v1/orders/": {
        "currency": TEXT, "gateway": TEXT, "payment_status": TEXT, "dintero_payment_status": TEXT, "dintero_transaction_status": TEXT,
        "lines": [{"line_id": TEXT, "direction": -1, **dict.fromkeys(
            ("authorized_minor", "captured_minor", "voided_minor", "refunded_minor", "capturable_minor", "refundable_minor"), 1)}],
        "operations": [OPERATION | {"state": TEXT}], "entries_cursor": TEXT,
        "entries": [{"operation_id": ID, "line_id": TEXT, "account": TEXT, "direction": 1, "amount_minor": 1, "currency": TEXT, "at": AT}],
    },
    "fulfillment/v1/fulfillments/": {
        "shipments": [{"shipment_id": ID, "status": TEXT, "location": TEXT, "carrier": TEXT, "tracking_number": TEXT, "lines": [{"quantity": 1}]}],
    },
    "invoicing/v1/invoices": {"items": [{"kind": TEXT, "number": TEXT, "issued_on": TEXT, "total_minor": 1, "currency": TEXT}]},
    "webhooks/v1/attempts": {"items": [marked(attempt(http_status=None, error="x", outcome="failed"))], "next_cursor": TEXT},
    "webhooks/v1/endpoints/": marked(endpoint(status="disabled", disabled_because="request")) | {"types": ["orders.*"]},
    "webhooks/v1/endpoints": {"items": [marked(endpoint())], "next_cursor": TEXT},
    "webhooks/v1/replays/": marked(replay()),
    "webhooks/v1/replays": {"items": [marked(replay())], "next_cursor": TEXT},
    "/v1/journal": {"items": [ENTRY], "next_cursor": TEXT},
    "orders/v1/processes": {
        "items": [{
            "order_id": ID, "waiting": "exception", "since": AT, "asks": 3, "processes": [PROCESS],
            "legal_actions": [{"action": "ask", "allowed": True, "detail": ""}, {"action": "force", "allowed": True, "detail": ""},
                              {"action": "retry", "allowed": False, "detail": TEXT}],
        }],
    },
    "orders/v1/parked-groups": {
        "items": [{"cause": cause, "raised_at": TEXT, "types": [TEXT], "count": 2, "or_more": True, "keys": 2, "behind": 1, "oldest_at": AT, "newest_at": AT,
                   "newest_id": 1, "detail": TEXT} for cause in ("fault", TEXT)],
    },
    "orders/v1/parked/": PARKED, "orders/v1/parked": {"items": [PARKED, PARKED | {"id": 2}], "next_cursor": TEXT},
}  # fmt: skip
"""Owner and beginning of a path -> its answer; a path without an owner is of each."""

REPORT: Final = {
    "service": "orders", "role": TEXT, "process": TEXT, "ready": True, "versions": {"tradewind": TEXT},
    "outbox": {"rows": 1, "oldest_since": AT, "set_aside": 1}, "parked": {"waiting": 1, "keys": 1, "oldest_since": AT},
    "tasks_open": 0, "timers_overdue": 0, "pools": [], "gauges": {}, "consumer": {"trouble": TEXT, "lag": 1, "intake_paused": False},
    "processes": {"items": [{"step": TEXT, "waiting": TEXT, "count": 1, "oldest_since": AT}]},
}  # fmt: skip
"""What a process answers about itself."""
COLUMNS: Final = (
    "update order_rows set number = $1, channel = $1, account = $1, market = $1, country = $1, currency = $1, tags = array[$1], status = $1,"
    " payment_status = $1, fulfillment_status = $1, cancel_cause = $1, step = $1",
    "update people set name = $1, groups = array[$1]",
    "update jobs set person = $1, filters = $1, code = $1, reason = $1, why = $1",
    "update job_items set code = $1, detail = $1",
    "update audit set person = $1, subject_id = $1, action = $1, reason = $1, outcome = $1",
)
"""Every text that a page shows of the database; $1: the text."""

Page = Callable[["World", str], Awaitable[Answered]]


def get(path: str, **query: str) -> Page:
    """A page at a path with ids of the world; a value of the query that is TEXT is the text under test."""

    async def ask(world: World, text: str) -> Answered:
        named = {name: text if value == TEXT else value for name, value in query.items()}
        return await world.browser.get(path.format(**world.ids), **named)

    return ask


def post(path: str, *names: str, **fields: str) -> Page:
    """The answer to a form whose fields of these names are the text under test."""

    async def ask(world: World, text: str) -> Answered:
        return await world.browser.post(path.format(**world.ids), {**fields, **dict.fromkeys(names, text)})

    return ask


async def unsent(world: World, text: str) -> Answered:
    """A form that comes too late is on its page after signing in."""
    page = f"/orders/{world.ids['order_id']}"
    world.clock.at += timedelta(hours=1)
    await world.browser.post(
        f"{page}/actions/cancel", {"reason": text, text: "a field"}, referer=f"http://console.test{page}"
    )
    await world.browser.sign_in(name="ann")
    return await world.browser.get(page)


PAGES: Final[dict[str, Page]] = {
    "list": get("/orders", column="tags"),
    "list, all columns": get(
        "/orders?column=waiting&column=amount&column=country&column=market&column=channel&column=status"
    ),
    "search": get("/orders", q=TEXT),
    "filters": get("/orders", tag=TEXT),
    "order": get("/orders/{order_id}"),
    "action that does not exist": get("/orders/{order_id}", done=TEXT),
    "messages": get("/orders/{order_id}/messages", message=ID),
    "jobs": get("/jobs"),
    "job": get("/jobs/{job_id}"),
    "audit": get("/audit"),
    "audit, filtered": get("/audit", person=TEXT, action=TEXT, order=TEXT),
    "endpoints": get("/webhooks"),
    "endpoint": get(f"/webhooks/{STORE}/{ENDPOINT}"),
    "endpoint, filtered": get(f"/webhooks/{STORE}/{ENDPOINT}", type=TEXT, order=TEXT),
    "endpoint, edited": get(f"/webhooks/{STORE}/{ENDPOINT}/edit"),
    "replay": get(f"/webhooks/{STORE}/{ENDPOINT}/replays/{ID}"),
    "markets": get("/markets"),
    "overview": get("/"),
    "processes": get("/processes"),
    "processes, forms": get("/processes", open=ID),
    "parked": get("/parked"),
    "parked, by order and line": get("/parked", order=ID, line=TEXT),
    "parked group": get("/parked/orders/group", cause="fault", line=TEXT),
    "replay of a group": get("/jobs/{replay_id}"),
    "parked message": get("/parked/orders/1"),
    "accounts": get("/payments"),
    "settlements": get("/payments/settlements"),
    "settlement": get(f"/payments/{STORE}/settlements/{ID}"),
    "settlement rows": get("/payments/rows", row=f"{ID}/1", order=ID),
    "gift cards": get("/payments/gift-cards"),
    "gift card": get(f"/payments/{STORE}/gift-cards/{ID}"),
    "payment sessions": get("/payments/sessions"),
    "disputes": get("/payments/disputes"),
    "differences": get("/payments/differences"),
    "books of an order": get("/orders/{order_id}/ledger"),
    "topics": get("/topics"),
    "tail": get("/topics/tail"),
    "tail, filtered": get("/topics/tail", text=TEXT, topic="invoicing.commands.v1"),
    "record": get("/topics/{record}"),
    "record that is not of its type": get("/topics/{stray}"),
    "people": get("/people"),
    "sign in": get("/sign-in", token=TEXT),
    "unknown parameter": get("/orders", colour=TEXT),
    "unknown filter": get("/orders", status=TEXT),
}
"""Pages that change nothing: a text is put into the fields once for all of them."""
FORMS: Final[dict[str, Page]] = {
    "order, revealed": post("/orders/{order_id}/reveal"),
    "action that is refused": post("/orders/{order_id}/actions/cancel", "reason"),
    "action that is not complete": post("/orders/{order_id}/actions/refund", "reason", "pieces:1", "code", "nonce"),
    "endpoint, form": post(f"/webhooks/{STORE}/new", "url", "types", "description", "reason"),
    "endpoint, action that is refused": post(f"/webhooks/{STORE}/{ENDPOINT}/actions/pause", "reason"),
    "replay, form": post(f"/webhooks/{STORE}/{ENDPOINT}/replay", "begin", "type", "reason"),
    "processes, action that is refused": post("/processes/{order_id}/give_up", "reason", version="1"),
    "parked message, revealed": post("/parked/orders/1/reveal"),
    "parked message, discard that is refused": post("/parked/orders/1/discard", "reason", version="1"),
    "parked message, edit that is no JSON": post("/parked/orders/1/preview", "value", version="1"),
    "settlement, import that is refused": post(
        f"/payments/{STORE}/settlements", "gateway", "statement_id", "account", format="stripe", report="x"
    ),
    "settlement row, explanation that is refused": post(
        f"/payments/{STORE}/settlements/{ID}/rows/1", "reason", resolution="fee"
    ),
    "gift card, action that is refused": post(f"/payments/{STORE}/gift-cards/{ID}/activate", "reason", version="1"),
    "difference, correction that is refused": post(
        f"/payments/{STORE}/differences/{ID}/dismiss", "reason", version="1"
    ),
    "payment that is not complete": post(
        "/orders/{order_id}/payments", "gateway", "payment_id", "reason", "amount:1", collection="captures"
    ),
    "record, revealed": post("/topics/{stray}/reveal"),
    "form that came too late": unsent,
}
"""Answers to forms."""


SILENT: Final = ("action that does not exist", "sign in", "unknown parameter", "unknown filter")
"""Pages that do not repeat the text: they read it, or state what is wrong without it."""


class Clock:
    def __init__(self) -> None:
        self.at = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.at


@dataclass
class World:
    app: App
    browser: Browser
    clock: Clock
    owned: dict[str, Any]
    ids: dict[str, str]
    topics: FakeTopics
    publisher: Publisher

    async def become(self, text: str) -> None:
        """Puts a text into every field."""
        self.owned["text"] = text
        for statement in COLUMNS:
            await self.app.fetch(statement, text)
        await self._operate(text)
        self._publish(text)

    async def _operate(self, text: str) -> None:
        """What the poller has recorded."""
        now = datetime.now(UTC)
        await self.app.fetch("delete from reports")
        works = filled(REPORT, text) | {"at": now.isoformat(), "started_at": now.isoformat()}
        silent = Report("payments", text, now, None, text, {})
        await recording.report(self.app, [Report("orders", text, now, now, "", works), silent], now)
        await recording.flowed(self.app, {text: {"orders.events.v1": Flow(5, 2.0, 1.0)}}, {}, now)

    def _publish(self, text: str) -> None:
        """A message of ours, and one that names no type of ours."""
        sold = Life(order_id=UUID(ID), number="A-1")
        line = Line(external_line_id="1", title=text, quantity=Quantities(ordered=1), line_total_minor=20_00)
        ours = self.publisher.record(sold.received(lines=(line,)))
        raw = text.encode()
        stray = replace(ours, value=raw, headers=[("ce_type", raw), ("ce_storeid", raw), (text, raw)])
        self.topics.clear()
        self.ids["record"], self.ids["stray"] = self.topics.append(ours, stray)


def filled(value: Any, text: str) -> Any:
    """Returns an answer with the text in place of each TEXT."""
    match value:
        case str():
            return value.replace(TEXT, text) if value.startswith(TEXT) else value
        case dict():
            return {(text if name == TEXT else name): filled(one, text) for name, one in value.items()}
        case list():
            return [filled(one, text) for one in value]
    return value


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[World]:
    await migrated(SERVICE, URL)
    owned: dict[str, Any] = {"text": TEXT}

    async def answer(request: web.Request) -> web.Response:
        found = next((body for path, body in OWNED.items() if path in request.path), None)
        if "needs_attention" in request.query:
            found = {"items": []}  # the bar counts in the background: its number comes with one page or the next
        if request.method != "GET":
            problem = {"type": "/problems/order_held", "title": owned["text"], "detail": owned["text"]}
            return web.json_response(problem, status=409)
        return web.json_response(filled(found, owned["text"]), status=200 if found is not None else 404)

    server = web.Application()
    server.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(server)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    reached = {f"{name}_url": f"{site.name}/{name}" for name in OWNERS} | {
        f"{name}_api_key": "tw_1_x" for name in OWNERS
    }
    app = App(SERVICE, Settings(database_url=URL, ask_seconds_max=30, **reached), "api")  # type: ignore[arg-type]
    clock = Clock()
    async with app.database.connection() as connection:
        await empty(connection, TABLES)
    topics = FakeTopics()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api, "now", clock)
        async with topics.shown():
            browser = Browser(app)
        async with browser.asgi.router.lifespan_context(browser.asgi):
            order, job, replayed = Life(order_id=UUID(ID)), uuid4(), uuid4()
            publisher = Publisher(app)
            await publisher.publish(order.received())
            await Browser(app).sign_in("viewer", name="other")
            await browser.sign_in(name="ann")
            await browser.get("/payments")  # by then the sections of the bar are cached
            await app.fetch(
                "insert into jobs (id, store_id, person_id, person, roles, filters, state, action, order_ids, whole, created_at, started_at)"
                " values ($1, 'st_1', $1, 'x', '{}', '', 'paused', 'approve', '{}', true, now(), now())", job,
            )  # fmt: skip
            await app.fetch(
                "insert into jobs (id, store_id, person_id, person, roles, filters, state, action, order_ids, whole, created_at, started_at,"
                " parked_group, listed_to) values ($1, '', $1, 'x', '{}', '', 'running', 'replay_group', '{}', false, now(), now(),"
                " '{\"service\": \"orders\"}', '')", replayed,
            )  # fmt: skip
            await app.fetch(
                "insert into job_items (job_id, position, order_id, parked_id, state, code, detail)"
                " values ($1, 1, $2, 1, 'refused', 'x', 'x')", replayed, order.order_id,
            )  # fmt: skip
            await app.fetch(
                "insert into audit (nonce, at, person_id, person, store_id, subject_kind, subject_id, action, reason, outcome)"
                " values ($1, now(), $1, 'x', 'st_1', 'endpoint', 'x', 'x', 'x', 'x')", job,
            )  # fmt: skip
            yield World(
                app,
                browser,
                clock,
                owned,
                {"order_id": str(order.order_id), "job_id": str(job), "replay_id": str(replayed)},
                topics,
                publisher,
            )
    await runner.cleanup()


class Skeleton(HTMLParser):
    """What a page is made of: its elements with their attributes, without their texts."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.addresses: list[str] = []
        self.declared = 0
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(name for name, _ in attrs)))
        self.addresses += [
            value or "" for name, value in attrs if name in ("href", "src", "action", "formaction", "data", "poster")
        ]

    def handle_endtag(self, tag: str) -> None:
        self.elements.append((f"/{tag}", ()))

    def handle_comment(self, data: str) -> None:
        self.declared += 1

    def handle_pi(self, data: str) -> None:
        self.declared += 1


def harmless(text: str) -> str:
    """Returns a text of the same length and lines that cannot be anything else; a filter refuses it where it refuses the other."""
    return re.sub(r"[^\x00-\x1f]", "x", text)


def texts() -> Iterator[str]:
    yield together()
    yield from ADDRESSES


async def shown(world: World, page: Page, text: str) -> Skeleton:
    answer = await page(world, text)
    assert answer.status != 500 and answer.headers["content-type"].startswith("text/html"), answer.text
    assert not re.search(r"[\r\n]", "".join(answer.headers.values()))
    return Skeleton(answer.text)


def compare(name: str, hostile: Skeleton, plain: Skeleton) -> None:
    assert hostile.elements == plain.elements, name
    assert hostile.declared == plain.declared, name
    strange = [one for one in hostile.addresses if not re.match(r"/(?![/\\])|#", one)]
    assert strange == [], f"{name}: an address of a page begins with one slash"
    names = {attribute for _, attributes in hostile.elements for attribute in attributes}
    assert not {one for one in names if one.startswith("on") or one == "style"}, name


@pytest.mark.parametrize("text", texts(), ids=["together", *map(repr, ADDRESSES)])
async def test_no_text_of_a_page_becomes_markup(world: World, text: str) -> None:
    found = []
    for one in (text, harmless(text)):
        await world.become(one)
        found.append({name: await shown(world, page, one) for name, page in PAGES.items()})
    for name in PAGES:
        compare(name, *(pages[name] for pages in found))


@pytest.mark.parametrize("name", FORMS)
async def test_no_text_of_a_form_becomes_markup(world: World, name: str) -> None:
    for text in texts():
        found = []
        for one in (text, harmless(text)):
            await world.become(one)
            found.append(await shown(world, FORMS[name], one))
        compare(name, *found)


async def test_the_texts_are_on_the_pages(world: World) -> None:
    """A page that does not show its text would pass the tests above without escaping it."""
    mark = "the text under test"
    await world.become(mark)
    for name, page in (PAGES | FORMS).items():
        if name in FORMS:
            await world.become(mark)
        if name not in SILENT:
            assert mark in (await page(world, mark)).text, name


class Unescaped(Environment):
    """An environment in which every value is markup."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options | {"autoescape": False})


async def test_a_page_that_does_not_escape_is_found(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "Environment", Unescaped)
    asgi_of.cache_clear()
    broken, found = Browser(world.app), []
    broken.cookies = world.browser.cookies
    for text in (together(), harmless(together())):
        await world.become(text)
        found.append(Skeleton((await broken.get("/orders", column="tags")).text))
    asgi_of.cache_clear()
    assert found[0].elements != found[1].elements
