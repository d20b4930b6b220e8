"""The page of processes, with an owner that answers as orders does; needs `CONSOLE_TEST_DATABASE_URL`."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from aiohttp import web
from console_world import NOW, Browser, Life, Publisher, emptied

from chassis.process.app import App
from console import listing
from contracts import orders

URL = os.environ.get("CONSOLE_TEST_DATABASE_URL", "")
pytestmark = [pytest.mark.asyncio, pytest.mark.skipif(not URL, reason="CONSOLE_TEST_DATABASE_URL is not set")]
TABLES = ("order_rows", "stores", "people", "freshness", "audit", "inbox", "parked", "parked_keys")
OPERATION = uuid4()


@dataclass
class Orders:
    """Answers as orders does: which actions are possible, with asks and the last refusal of each order."""

    allowed: tuple[str, ...] = ("ask", "give_up", "force")
    detail: str = ""
    silent: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    """Ends the silence."""
    status: int = 202
    problem: dict[str, Any] = field(default_factory=dict)
    asked: list[list[str]] = field(default_factory=list)
    requests: list[tuple[str, str, Any]] = field(default_factory=list)
    """(path, nonce, body)."""
    versions: list[str | None] = field(default_factory=list)
    """The `If-Match` of each request."""

    async def processes(self, request: web.Request) -> web.Response:
        if self.silent:
            await self.ended.wait()
        ids = request.query.getall("order_id")
        self.asked.append(ids)
        process = {
            "id": "place", "kind": "place", "step": "authorize", "waits_for": "no_answer", "since": NOW.isoformat(), "end": "",
            "asks": 7, "operation_id": str(OPERATION), "detail": self.detail, "forcible_operation_id": str(OPERATION),
        }  # fmt: skip
        legal = [
            {
                "action": name,
                "allowed": name in self.allowed,
                "why_not": "step_not_failed",
                "detail": f"<b>not</b> {name}",
            }
            for name in ("ask", "give_up", "force", "retry")
        ]
        order = {"version": 3, "waiting": "no_answer", "processes": [process], "legal_actions": legal}
        return web.json_response({"items": [{"order_id": one, **order} for one in ids]})

    async def act(self, request: web.Request) -> web.Response:
        self.requests.append((request.path, request.headers["idempotency-key"], await request.json()))
        self.versions.append(request.headers.get("if-match"))
        return web.json_response(self.problem, status=self.status)


@pytest.fixture
def owner() -> Orders:
    return Orders()


@pytest_asyncio.fixture
async def app(owner: Orders, request: pytest.FixtureRequest) -> AsyncIterator[App]:
    server = web.Application()
    server.router.add_get("/v1/processes", owner.processes)
    server.router.add_post("/v1/orders/{order_id}/{action}", owner.act)
    runner = web.AppRunner(server, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    async with emptied(
        TABLES, orders_url=site.name, orders_api_key="tw_1_secret", **getattr(request, "param", {})
    ) as app:
        yield app
    owner.ended.set()
    await runner.cleanup()


@pytest_asyncio.fixture
async def browser(app: App) -> AsyncIterator[Browser]:
    browser = Browser(app)
    async with browser.asgi.router.lifespan_context(browser.asgi):
        yield browser


@pytest.fixture
def publisher(app: App) -> Publisher:
    return Publisher(app)


async def waiting_orders(publisher: Publisher) -> dict[str, UUID]:
    """Number -> id: two are being placed, one waits for approval, one for a person after a refusal, one for a marketplace."""
    lives = {number: Life(number=number) for number in ("P-1", "P-2", "APPROVAL", "REFUSED", "UNPAID")}
    await publisher.publish(*(lives[number].received() for number in ("P-1", "P-2", "APPROVAL", "REFUSED")))
    await publisher.publish(lives["UNPAID"].received(status="pending"))
    approval, refused = lives["APPROVAL"], lives["REFUSED"]
    await publisher.publish(approval.next(orders.Placed, status="placed", placed_at=NOW))
    await publisher.publish(
        refused.next(orders.StepFailed, process="settle:1", step="capture", code="gateway_refused", reason="no")
    )
    return {number: life.order_id for number, life in lives.items()}


def numbers(page: str) -> list[str]:
    return re.findall(r'<th scope="row"><a href="/orders/[0-9a-f-]+">([^<]+)</a>', page)


async def test_it_has_every_order_that_waits_in_a_process_the_longest_wait_first(
    owner: Orders, publisher: Publisher, browser: Browser
) -> None:
    ids = await waiting_orders(publisher)
    await browser.sign_in("operator")
    page = (await browser.get("/processes")).text
    assert numbers(page) == ["P-1", "P-2", "APPROVAL", "REFUSED"]
    assert owner.asked == [[str(ids[number]) for number in numbers(page)]], "asked once, for the rows that are shown"
    assert "place.authorize" in page and "no answer" in page and 'data-label="Asks">7×</td>' in page


async def test_its_groups_count_by_step_and_each_leads_to_its_orders(publisher: Publisher, browser: Browser) -> None:
    await waiting_orders(publisher)
    await browser.sign_in("viewer")
    page = (await browser.get("/processes")).text
    groups = re.findall(
        r'<a href="(/processes\?[^"]+)" >\s*<span class="spread"><strong>(\d+)</strong> <code>([^<]+)</code>', page
    )
    assert [(count, step) for _, count, step in groups] == [
        ("2", "place"),
        ("1", "place.approve"),
        ("1", "settle.capture"),
    ]
    for address, count, _ in groups:
        assert len(numbers((await browser.get(address.replace("&amp;", "&"))).text)) == int(count)


async def test_all_of_a_group_are_asked_again_by_a_job(publisher: Publisher, browser: Browser) -> None:
    await waiting_orders(publisher)
    await browser.sign_in("operator")
    group = (await browser.get("/processes?waiting=answer&step=place")).text
    [job] = re.findall(r'href="(/jobs/new\?[^"]+)"', group)
    preview = (await browser.get(job.replace("&amp;", "&"))).text
    assert "<h1>2 orders at once</h1>" in preview and '<option value="ask" selected>' in preview
    assert "/jobs/new?" not in (await browser.get("/processes?waiting=approval")).text


async def test_a_group_has_no_more_orders_than_are_counted(
    monkeypatch: pytest.MonkeyPatch, publisher: Publisher, browser: Browser
) -> None:
    monkeypatch.setattr(listing, "COUNT_MAX", 2)
    await publisher.publish(*(Life(number=f"P-{n}").received() for n in range(3)))
    await browser.sign_in("viewer")
    assert "<strong>2+</strong>" in (await browser.get("/processes")).text


async def test_its_pages_have_each_order_once(
    monkeypatch: pytest.MonkeyPatch, publisher: Publisher, browser: Browser
) -> None:
    monkeypatch.setattr(listing, "PAGE_ROWS", 2)
    await publisher.publish(*(Life(number=f"P-{n}").received() for n in range(5)))
    await browser.sign_in("viewer")
    address, found = "/processes?waiting=answer", list[str]()
    while address:
        page = (await browser.get(address)).text
        found += numbers(page)
        further = re.search(r'rel="next" href="([^"]+)"', page)
        address = further[1].replace("&amp;", "&") if further else ""
    assert found == [f"P-{n}" for n in range(5)]


@pytest.mark.parametrize("query", ["waiting=snapshot", "step=a%20b", "cursor=nonsense", "colour=red", "open=1"])
async def test_a_filter_that_cannot_be_used_is_named(browser: Browser, query: str) -> None:
    await browser.sign_in("viewer")
    page = await browser.get(f"/processes?{query}")
    assert page.status == 400 and query.partition("=")[0] in page.text


async def test_asking_again_is_one_click_is_done_once_and_comes_back_to_the_same_list(
    app: App, owner: Orders, publisher: Publisher, browser: Browser
) -> None:
    ids = await waiting_orders(publisher)
    await browser.sign_in("operator", name="ann")
    page = (await browser.get("/processes?waiting=answer")).text
    path, nonce = re.findall(r'action="([^"]+/ask[^"]*)"><input type="hidden" name="nonce" value="([^"]+)"', page)[0]
    assert path == f"/processes/{ids['P-1']}/ask?waiting=answer"
    for _ in range(2):
        answer = await browser.post(path, {"nonce": nonce})
        assert (answer.status, answer.location) == (303, "/processes?waiting=answer&done=ask")
    assert owner.requests == [(f"/v1/orders/{ids['P-1']}/ask", nonce, {})] * 2, "orders has the nonce"
    [row] = await app.fetch("select person, action, subject_id, outcome from audit")
    assert tuple(row) == ("ann", "ask", str(ids["P-1"]), "done")
    assert "Ask again: done." in (await browser.get(answer.location)).text


async def test_an_opened_row_has_the_forms_that_orders_and_the_roles_allow_and_why_not_the_others(
    owner: Orders, publisher: Publisher, browser: Browser
) -> None:
    ids = await waiting_orders(publisher)
    await browser.sign_in("administrator")
    page = (await browser.get(f"/processes?open={ids['P-1']}")).text
    forms = [
        action for key, action in re.findall(r'action="/processes/([0-9a-f-]+)/(\w+)', page) if key == str(ids["P-1"])
    ]
    assert forms == ["ask", "give_up", "force"]
    assert f'<option value="{OPERATION}"' in page
    assert "Retry: &lt;b&gt;not&lt;/b&gt; retry" in page
    await browser.sign_in("viewer")
    assert "<form class=" not in (await browser.get(f"/processes?open={ids['P-1']}")).text.partition("<main")[2]


async def test_a_wait_is_given_up_as_the_page_has_shown_it(
    owner: Orders, publisher: Publisher, browser: Browser
) -> None:
    ids = await waiting_orders(publisher)
    await browser.sign_in("operator")
    page = (await browser.get(f"/processes?open={ids['P-1']}")).text
    [version] = re.findall(r'name="version" value="(\d+)"', page)
    path, fields = f"/processes/{ids['P-1']}/give_up", {"reason": "silent"}
    assert (await browser.post(path, fields)).status == 422, "without a version it is not sent"
    assert (await browser.post(path, fields | {"version": version})).status == 303
    assert owner.versions == ['"3"'], "the version that orders has stated for the page"
    owner.status, owner.problem = 412, {"type": "/problems/version_outdated", "title": "Changed", "detail": "now 4"}
    page = (await browser.post(path, fields | {"version": version})).text
    assert "Changed" in page and "now 4" in page and 'value="silent"' in page, "the form again, with what is true now"


async def test_a_person_states_an_outcome_with_its_reference_and_reason(
    owner: Orders, publisher: Publisher, browser: Browser
) -> None:
    ids = await waiting_orders(publisher)
    await browser.sign_in("finance")
    path = f"/processes/{ids['P-1']}/force"
    fields = {
        "nonce": str(uuid4()),
        "operation_id": str(OPERATION),
        "code": "failed",
        "reference": "",
        "reason": "seen",
    }
    assert (await browser.post(path, fields | {"operation_id": "../"})).status == 422
    assert (await browser.post(path, fields | {"code": "perhaps"})).status == 422
    assert (await browser.post(path, fields | {"reason": ""})).status == 422
    assert owner.requests == []
    assert (await browser.post(path, fields)).status == 303
    [(path, _, body)] = owner.requests
    assert path == f"/v1/orders/{ids['P-1']}/force"
    assert body == {"operation_id": str(OPERATION), "outcome": "failed", "reference": None, "reason": "seen"}


async def test_what_is_no_longer_possible_is_the_list_anew_with_the_form_and_the_owners_reason(
    app: App, owner: Orders, publisher: Publisher, browser: Browser
) -> None:
    ids = await waiting_orders(publisher)
    owner.status, owner.problem = (
        409,
        {"type": "/problems/step_not_waiting", "title": "No", "detail": "<script>it goes on"},
    )
    await browser.sign_in("operator")
    nonce = str(uuid4())
    sent = {"nonce": nonce, "reason": '"><script>', "version": "3"}
    page = await browser.post(f"/processes/{ids['P-1']}/give_up", sent)
    assert page.status == 409 and "&lt;script&gt;it goes on" in page.text and "<script>" not in page.text
    assert "&#34;&gt;&lt;script&gt;" in page.text and nonce not in page.text
    owner.status, owner.problem = 503, {}
    page = await browser.post(f"/processes/{ids['P-1']}/give_up", sent)
    assert page.status == 503 and nonce in page.text, "sent again, it is done once"
    assert [row["outcome"] for row in await app.fetch("select outcome from audit")] == ["silent"]


async def test_who_may_not_act_and_what_is_no_action_of_this_person_is_refused(
    owner: Orders, publisher: Publisher, browser: Browser
) -> None:
    ids = await waiting_orders(publisher)
    await browser.sign_in("viewer")
    assert (await browser.post(f"/processes/{ids['P-1']}/ask", {})).status == 403
    await browser.sign_in("operator", stores=["st_2"])
    assert (await browser.post(f"/processes/{ids['P-1']}/ask", {})).status == 404
    await browser.sign_in("administrator")
    assert (await browser.post(f"/processes/{ids['P-1']}/destroy", {})).status == 404
    other_port = {"sec-fetch-site": "same-site"}
    assert (await browser.post(f"/processes/{ids['P-1']}/ask", {}, **other_port)).status == 403
    assert owner.requests == []


@pytest.mark.parametrize("app", [{"ask_seconds_max": 0.8}], indirect=True)
async def test_with_orders_silent_it_shows_within_a_second_what_the_lists_have(
    owner: Orders, publisher: Publisher, browser: Browser
) -> None:
    ids = await waiting_orders(publisher)
    await browser.sign_in("administrator")
    owner.silent = True
    began = time.process_time(), time.monotonic()
    page = await browser.get("/processes", open=ids["P-1"])
    took = time.monotonic() - began[1]
    assert page.status == 200 and numbers(page.text) == ["P-1", "P-2", "APPROVAL", "REFUSED"]
    assert "orders is silent" in page.text and "<code>settle.capture</code>" in page.text
    assert 'action="/processes/' not in page.text, "what is possible, only orders states"
    idle = time.process_time() - began[0] < 0.2 * took
    assert took < 1 or idle, f"{took:.1f} s: more than the time that orders is given"
