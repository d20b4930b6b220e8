"""Actions from the page of an order: what is requested of its owner, and what the person sees; needs `CONSOLE_TEST_DATABASE_URL`."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from aiohttp import web
from console_world import NOW, Browser, Life, Publisher, emptied

from chassis.process.app import App
from console.domain.acting import request_of
from contracts import orders
from contracts.limits import ORDER_LINES_MAX

URL = os.environ.get("CONSOLE_TEST_DATABASE_URL", "")
real = [pytest.mark.asyncio, pytest.mark.skipif(not URL, reason="CONSOLE_TEST_DATABASE_URL is not set")]
TABLES = ("order_rows", "stores", "people", "freshness", "audit", "inbox", "parked", "parked_keys")
ORDER = UUID("00000000-0000-4000-8000-000000000001")
LEGAL = [
    {"action": "approve", "allowed": True, "why_not": None},
    {"action": "cancel", "allowed": True, "why_not": None},
    {"action": "hold", "allowed": True, "why_not": None},
    {"action": "capture", "allowed": False, "why_not": "capture_automatic"},
]


@dataclass
class Owner:
    """Answers as orders does, and notes what was requested."""

    status: int = 200
    answer: dict[str, Any] = field(default_factory=dict)
    waits: dict[str, Any] = field(default_factory=dict)
    """Replaces what the order states of itself."""
    requests: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    url: str = ""

    async def read(self, request: web.Request) -> web.Response:
        statuses = {"status": "placed", "payment_status": "authorized", "fulfillment_status": "unfulfilled"}
        body = {**statuses, "waiting": "approval", "version": 2, "legal_actions": LEGAL, "money": None, "processes": []}
        return web.json_response(body | {"timeline": [], "holds": [], "exceptions": [], "notes": []} | self.waits)

    async def act(self, request: web.Request) -> web.Response:
        sent = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append((request.path, sent, await request.json()))
        return web.json_response(self.answer, status=self.status)


@pytest_asyncio.fixture
async def owner() -> AsyncIterator[Owner]:
    owner = Owner()
    server = web.Application()
    server.router.add_get("/v1/orders/{order_id}", owner.read)
    server.router.add_post("/v1/orders/{order_id}/{action:.*}", owner.act)
    runner = web.AppRunner(server)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    owner.url = site.name
    yield owner
    await runner.cleanup()


@pytest_asyncio.fixture
async def app(owner: Owner) -> AsyncIterator[App]:
    async with emptied(TABLES, orders_url=owner.url, orders_api_key="tw_1_secret") as app:
        yield app


@pytest_asyncio.fixture
async def browser(app: App) -> AsyncIterator[Browser]:
    browser = Browser(app)
    async with browser.asgi.router.lifespan_context(browser.asgi):
        yield browser


@pytest_asyncio.fixture
async def order(app: App) -> UUID:
    life = Life()
    placed = life.next(orders.Placed, status="placed", payment_status="authorized", placed_at=NOW)
    await Publisher(app).publish(life.received(), placed)
    return life.order_id


class TestOnARealPostgres:
    pytestmark = real

    async def test_an_action_is_requested_for_the_person_once_and_is_in_the_audit(
        self, app: App, owner: Owner, browser: Browser, order: UUID
    ) -> None:
        await browser.sign_in("operator", name="ann")
        page = await browser.get(f"/orders/{order}")
        nonce = re.findall(r'actions/cancel">\s*<input type="hidden" name="nonce" value="([^"]+)"', page.text)[0]
        fields = {"nonce": nonce, "reason": "The customer changed their mind."}
        answer = await browser.post(f"/orders/{order}/actions/cancel", fields)
        assert (answer.status, answer.location) == (303, f"/orders/{order}?done=cancel")
        assert "Cancel: done." in (await browser.get(answer.location)).text
        [(path, sent, body)] = owner.requests
        assert (path, body) == (f"/v1/orders/{order}/cancel", {"reason": "The customer changed their mind."})
        assert (sent["x-act-as"], sent["x-store-id"], sent["idempotency-key"]) == ("ann", "st_1", nonce)
        assert (
            "orders.cancel" in sent["x-act-as-scopes"].split()
            and "payments.refund" not in sent["x-act-as-scopes"].split()
        )
        [row] = await app.fetch("select nonce::text, person, action, reason, outcome from audit")
        assert tuple(row) == (nonce, "ann", "cancel", "The customer changed their mind.", "done")

    async def test_the_page_has_the_actions_that_the_owner_allows_and_why_not_the_others(
        self, browser: Browser, order: UUID
    ) -> None:
        await browser.sign_in("operator")
        text = (await browser.get(f"/orders/{order}")).text
        assert set(re.findall(r"/actions/(\w+)", text)) == {"approve", "cancel", "hold"}
        assert "Capture: capture automatic" in text

    async def test_a_step_without_an_answer_is_asked_again_given_up_or_its_outcome_stated(
        self, owner: Owner, browser: Browser, order: UUID
    ) -> None:
        operation = str(uuid4())
        process = {
            "id": "settle:1", "kind": "settle", "step": "capture", "waits_for": "no_answer", "since": NOW.isoformat(),
            "end": "", "asks": 6, "operation_id": operation, "detail": "", "forcible_operation_id": operation,
        }  # fmt: skip
        legal = [{"action": name, "allowed": True, "why_not": None} for name in ("ask", "give_up", "force")]
        owner.waits = {"waiting": "no_answer", "processes": [process], "legal_actions": legal}
        await browser.sign_in("administrator")
        text = (await browser.get(f"/orders/{order}")).text
        assert re.findall(r"/actions/(\w+)", text) == ["ask", "give_up", "force"]
        assert "asked 6 times" in text and f'<option value="{operation}" >settle.capture, no answer</option>' in text
        assert '<input type="hidden" name="version" value="2">' in text, "a wait is given up as it was read"
        for name, fields in (("ask", {}), ("give_up", {"reason": "silent", "version": "2"})):
            assert (await browser.post(f"/orders/{order}/actions/{name}", fields)).status == 303
        stated = {
            "operation_id": operation,
            "code": "succeeded",
            "reference": " ch_1 ",
            "reason": "seen at the gateway",
        }
        assert (await browser.post(f"/orders/{order}/actions/force", stated)).status == 303
        assert [headers.get("if-match") for _, headers, _ in owner.requests] == [None, '"2"', None]
        assert [(path.rpartition("/")[2], body) for path, _, body in owner.requests] == [
            ("ask", {}),
            ("give_up", {"reason": "silent"}),
            (
                "force",
                {
                    "operation_id": operation,
                    "outcome": "succeeded",
                    "reference": "ch_1",
                    "reason": "seen at the gateway",
                },
            ),
        ]

    async def test_what_is_no_longer_legal_is_the_page_anew_with_the_owners_reason(
        self, app: App, owner: Owner, browser: Browser, order: UUID
    ) -> None:
        owner.status, owner.answer = (
            409,
            {"type": "/problems/order_held", "title": "The order is held", "detail": "release it"},
        )
        await browser.sign_in()
        nonce = str(uuid4())
        page = await browser.post(f"/orders/{order}/actions/approve", {"nonce": nonce})
        assert page.status == 409 and "The order is held" in page.text and "release it" in page.text
        assert nonce not in page.text, "the answer is stored under the nonce: another try is another request"
        assert [row["outcome"] for row in await app.fetch("select outcome from audit")] == ["order_held"]

    async def test_an_owner_without_an_answer_leaves_the_form_as_it_was_with_its_nonce(
        self, app: App, owner: Owner, browser: Browser, order: UUID
    ) -> None:
        owner.status = 503
        await browser.sign_in()
        nonce = str(uuid4())
        page = await browser.post(f"/orders/{order}/actions/cancel", {"nonce": nonce, "reason": "<b>kept</b>"})
        assert page.status == 503 and nonce in page.text and "&lt;b&gt;kept&lt;/b&gt;" in page.text
        owner.status = 202
        assert (await browser.post(f"/orders/{order}/actions/cancel", {"nonce": nonce, "reason": "kept"})).status == 303
        assert {sent["idempotency-key"] for _, sent, _ in owner.requests} == {nonce}
        assert [row["outcome"] for row in await app.fetch("select outcome from audit")] == ["done"]

    async def test_a_form_may_have_a_field_for_each_line_of_the_largest_order(
        self, owner: Owner, browser: Browser, order: UUID
    ) -> None:
        await browser.sign_in()
        pieces = {f"pieces:{line}": "1" for line in range(1, ORDER_LINES_MAX + 1)}
        fields = {"reason": "They came broken.", "code": "damaged", **pieces}
        assert (await browser.post(f"/orders/{order}/actions/refund", fields)).status == 303
        [(_, _, body)] = owner.requests
        assert len(body["lines"]) == ORDER_LINES_MAX
        too_many = fields | {f"more:{n}": "" for n in range(100)}
        answer = await browser.post(f"/orders/{order}/actions/refund", too_many)
        assert answer.status == 400 and "fields" in answer.text

    async def test_nothing_is_requested_without_the_scope_the_store_or_what_the_form_needs(
        self, app: App, owner: Owner, browser: Browser, order: UUID
    ) -> None:
        await browser.sign_in("viewer")
        assert "/actions/" not in (await browser.get(f"/orders/{order}")).text
        assert (await browser.post(f"/orders/{order}/actions/approve", {})).status == 403
        await browser.sign_in("administrator", stores=["st_2"])
        assert (await browser.post(f"/orders/{order}/actions/approve", {})).status == 404
        await browser.sign_in("administrator")
        assert (await browser.post(f"/orders/{order}/actions/cancel", {"reason": " "})).status == 422
        assert (await browser.post(f"/orders/{order}/actions/destroy", {})).status == 404
        other_site = {"sec-fetch-site": "same-site"}
        assert (await browser.post(f"/orders/{order}/actions/approve", {}, **other_site)).status == 403
        assert owner.requests == [] and await app.fetch("select 1 from audit") == []


def test_a_refund_names_the_pieces_of_each_line() -> None:
    fields = {
        "pieces:1": "2",
        "pieces:2": "",
        "pieces:3": "0",
        "code": "damaged",
        "reason": "broken",
        "restock": "true",
    }
    assert request_of("refund", ORDER, fields).body == {
        "lines": [{"line_id": "1", "quantity": 2}], "reason": "damaged", "note": "broken", "restock": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("action", "fields", "missing"),
    [
        ("cancel", {}, "reason"),
        ("refund", {"reason": "x", "code": "damaged"}, "pieces"),
        ("refund", {"reason": "x", "code": "damaged", "pieces:1": "-1"}, "pieces"),
        ("refund", {"reason": "x", "code": "damaged", "pieces:1": "²"}, "pieces"),
        ("refund", {"reason": "x", "code": "nonsense", "pieces:1": "1"}, "choose"),
        ("hold", {}, "choose"),
        ("give_up", {}, "reason"),
        ("give_up", {"reason": "silent"}, "version"),
        ("force", {"reason": "seen", "code": "failed", "operation_id": "../cancel"}, "operation"),
        (
            "force",
            {"reason": "seen", "code": "perhaps", "operation_id": "0f6f1c1e-8f0b-5f43-9a3e-53c3f0f9a6d1"},
            "choose",
        ),
        ("release", {"hold_id": "../cancel"}, "hold"),
    ],
)
def test_a_form_that_is_not_complete_names_what_is_missing(action: str, fields: dict[str, str], missing: str) -> None:
    with pytest.raises(ValueError, match=missing):
        request_of(action, ORDER, fields)
