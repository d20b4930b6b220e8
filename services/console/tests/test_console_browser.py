"""The console in Chromium: tasks with counted keys, without JavaScript, axe, live pages; needs `CONSOLE_TEST_DATABASE_URL`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Literal

import pytest
import pytest_asyncio
from aiohttp import web
from console_owners import ENDPOINT, Owner, attempt, endpoint, page, replay, serving
from console_world import NOW, Publisher
from fake_shop import FakeOrder, FakeShop
from parked_world import ParkedMessages
from payments_owner import SETTLEMENT, books, ledger, operation, payments
from playwright.async_api import Browser, BrowserContext, Locator, Route, expect
from playwright.async_api import Page as Tab

from chassis.http.server import Server, configured, listen
from chassis.process.app import App
from console import api, sessions
from console.handlers import SERVICE
from console.owners import Owners
from console.settings import OWNERS, Settings
from console.working import Worker
from tests.browser import CHROMIUM, DESKTOP, FIRST, MISSING, PAGES, PHONE, launched, painted, violations, visit, width
from tests.browser import Page as Visited
from tests.databases import empty, migrated

URL = os.environ.get("CONSOLE_TEST_DATABASE_URL", "")
pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not URL, reason="CONSOLE_TEST_DATABASE_URL is not set"),
    pytest.mark.skipif(CHROMIUM is None, reason=MISSING),
]
TABLES = (
    "order_rows", "stores", "people", "freshness", "audit", "jobs", "inbox", "parked", "parked_keys", "reports", "flows", "series_rows",
)  # fmt: skip
OF_PAYMENTS = (
    Visited("settlement", "/payments/settlements", (FIRST,)), Visited("row-explained", f"/payments/rows?row={SETTLEMENT}/2"),
    Visited("gift-card", "/payments/gift-cards", (FIRST,)),
    Visited("books", "/orders?q=PAGES-1", (FIRST, "text=Books of the order")),
    Visited("record-payment", "/orders?q=PAGES-1", (FIRST,), opens="summary:text('Record a payment')"),
)  # fmt: skip
Role = Literal["button", "link"]
SECONDS_MAX = 30
"""Playwright waits this long for what a test expects: the machine may be busy."""
expect.set_options(timeout=SECONDS_MAX * 1000)


@dataclass
class World:
    """The console over HTTP, the services that it asks, and a browser."""

    console: Console
    base: str
    shop: FakeShop
    parked: ParkedMessages
    """Payments, which has nothing else."""
    hooks: Owner
    """Webhooks."""
    worker: Worker
    """Does the jobs that are started."""
    browser: Browser
    cookies: list[dict[str, object]] = field(default_factory=list)

    async def work(self) -> None:
        """Does all jobs."""
        while await self.worker.step() != "nothing":
            pass

    @contextlib.asynccontextmanager
    async def context(self, **options: object) -> AsyncIterator[BrowserContext]:
        """A signed-in person. At its end: no request has left the origin, and nothing broke the Content-Security-Policy."""
        requests: list[str] = []
        errors: list[str] = []
        context = await self.browser.new_context(**{"viewport": DESKTOP, **options})  # type: ignore[arg-type]
        context.set_default_timeout(SECONDS_MAX * 1000)
        context.on("request", lambda request: requests.append(request.url))
        context.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        context.on("weberror", lambda error: errors.append(str(error.error)))
        await context.add_cookies(self.cookies)  # type: ignore[arg-type]
        try:
            yield context
        finally:
            await context.close()
        assert [url for url in requests if not url.startswith(self.base)] == []
        assert [error for error in errors if not error.startswith("Failed to load resource")] == []

    @contextlib.asynccontextmanager
    async def tab(self, path: str = "/orders", **options: object) -> AsyncIterator[Tab]:
        async with self.context(**options) as context:
            tab = await context.new_page()
            await tab.goto(self.base + path)
            if options.get("java_script_enabled", True):
                await painted(tab)
            yield tab


class Console:
    """A process of the console, in this one; it can be stopped and started again at the same address."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        listener.close()

    async def start(self) -> None:
        self._app = App(SERVICE, self._settings, "api")
        self._server = InProcess(configured(self._app.asgi()))
        self._serving = asyncio.create_task(self._server.serve([listen("127.0.0.1", self.port)]))
        while not self._server.started:
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        self._app.end_soon()
        self._server.should_exit = True
        await self._serving

    @property
    def streams(self) -> float | None:
        return self._app.registry.get_sample_value("tradewind_console_streams", {"service": "console"})


class InProcess(Server):
    """The signals are those of pytest."""

    @contextlib.contextmanager
    def capture_signals(self) -> object:  # type: ignore[override]
        yield


@contextlib.asynccontextmanager
async def owners(shop: FakeShop) -> AsyncIterator[str]:
    runner = web.AppRunner(shop.application())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield site.name
    await runner.cleanup()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[World]:
    await migrated(SERVICE, URL)
    shop, parked, hooks = FakeShop(), ParkedMessages("payments"), Owner(default=page())
    parked.answers = {path: body for (_, path), (_, body) in payments().answers.items() if path != "/v1/parked"}  # type: ignore[misc]
    async with owners(shop) as address, parked.running(), serving(hooks), shop.topics.shown(), launched() as browser:
        urls = {f"{name}_url": address for name in OWNERS} | {"payments_url": parked.url, "webhooks_url": hooks.url}
        keys = {f"{name}_api_key": "tw_1_secret" for name in OWNERS}
        settings = Settings(database_url=URL, ask_seconds_max=SECONDS_MAX, **urls, **keys)  # type: ignore[arg-type]
        app, console, asking = App(SERVICE, settings, "api"), Console(settings), Owners(settings)
        async with app.database.connection() as connection, asking.running():
            await empty(connection, TABLES)
            shop.publisher = Publisher(app)
            await console.start()
            base = f"http://127.0.0.1:{console.port}"
            world = World(console, base, shop, parked, hooks, Worker(app, asking), browser)
            link = f"/sign-in?token={await sessions.invite(app, 'ann', ['administrator'], None, api.now())}"
            async with world.tab(link) as tab:
                await tab.get_by_role("button", name="Sign in").click()
                await tab.wait_for_url("**/orders")
                world.cookies = await tab.context.cookies()  # type: ignore[assignment]
            yield world
            await console.stop()
        await app.database.close()


@pytest_asyncio.fixture(loop_scope="module")
async def order(world: World) -> FakeOrder:
    return await world.shop.add(f"ORDER-{len(world.shop.orders)}")


def path_of(order: FakeOrder) -> str:
    return f"/orders/{order.life.order_id}"


async def come_to(tab: Tab, order: FakeOrder) -> None:
    await tab.wait_for_url(f"**{path_of(order)}")
    await painted(tab)


class Hands:
    """A person; counts what is pressed and clicked. A text counts once."""

    def __init__(self, tab: Tab) -> None:
        self.tab = tab
        self.done: list[str] = []

    async def press(self, *keys: str) -> None:
        for key in keys:
            self.done.append(key)
            await self.tab.keyboard.press(key)

    async def type(self, text: str) -> None:
        self.done.append(text)
        await self.tab.keyboard.type(text)

    async def click(self, role: Role, name: str | re.Pattern[str], within: str = "body") -> None:
        """Clicks on what has a name; then the page that it opens is there."""
        self.done.append(f"click {name if isinstance(name, str) else name.pattern}")
        await self.tab.locator(within).get_by_role(role, name=name).first.click()
        await self.tab.wait_for_load_state()


# -- the tasks --------------------------------------------------------------------------------------------------------


async def test_1_an_order_is_found_by_slash_number_enter(world: World, order: FakeOrder) -> None:
    async with world.tab() as tab:
        hands = Hands(tab)
        await hands.press("/")
        await hands.type(order.life.number.lower())
        await hands.press("Enter")
        await tab.wait_for_url(f"**{path_of(order)}")
        assert hands.done == ["/", order.life.number.lower(), "Enter"]


@pytest.mark.parametrize("scripted", [True, False])
async def test_2_why_it_is_stuck_and_who_ends_it_is_seen_without_a_click_or_scrolling(
    world: World, order: FakeOrder, scripted: bool
) -> None:
    await world.shop.hold(order)
    async with world.tab(path_of(order), java_script_enabled=scripted) as tab:
        for text in (
            "It waits for the release of its holds",
            "orders.edit",
            "Release each hold",
            "Since",
            "rule:fraud",
        ):
            box = await tab.locator("section.wait").get_by_text(text).first.bounding_box()
            assert box is not None and box["y"] >= 0 and box["y"] + box["height"] <= DESKTOP["height"], text


async def test_3_the_next_that_waits_is_approved_by_g_a_a_enter(world: World) -> None:
    for waiting in [one for one in world.shop.orders.values() if one.waiting == "approval"]:
        await world.shop.approve(waiting)
    order = await world.shop.add("NEXT")
    async with world.tab() as tab:
        hands = Hands(tab)
        await hands.press("g", "a")
        await come_to(tab, order)
        await hands.press("a")
        await expect(tab.get_by_role("dialog").get_by_role("button", name="Approve")).to_be_focused()
        await hands.press("Enter")
        await expect(tab.get_by_text("Approve: done.")).to_be_visible()
        assert hands.done == ["g", "a", "a", "Enter"]
    assert world.shop.requests[-1] == (f"/v1{path_of(order)}/approve", {})


async def test_4_an_order_is_cancelled_by_c_reason_enter(world: World, order: FakeOrder) -> None:
    async with world.tab(path_of(order)) as tab:
        hands = Hands(tab)
        await hands.press("c")
        await expect(tab.get_by_role("dialog").get_by_label("Reason")).to_be_focused()
        await hands.type("The customer called.")
        await hands.press("Enter")
        await expect(tab.get_by_text("Cancel: done.")).to_be_visible()
        assert hands.done == ["c", "The customer called.", "Enter"]
    assert world.shop.requests[-1] == (f"/v1{path_of(order)}/cancel", {"reason": "The customer called."})


async def test_5_the_message_that_caused_a_fact_is_one_click_away_with_its_json(world: World, order: FakeOrder) -> None:
    cause = {
        "message_id": str(order.life.order_id), "service": "orders", "kind": "event", "type": "orders.received", "at": NOW.isoformat(),
        "published": True, "operation_id": None, "actor": "marketplace:amazon", "via": "", "cause_type": "marketplace.snapshot",
        "cause_id": None, "version": 1, "body": {"number": order.life.number},
    }  # fmt: skip
    world.shop.answers["/v1/journal"] = {"items": [cause], "next_cursor": None}
    async with world.tab(path_of(order)) as tab:
        hands = Hands(tab)
        await hands.click("link", "orders.received", "main")
        await expect(tab.locator("#message pre")).to_contain_text(f'"number": "{order.life.number}"')
        await expect(tab.locator("#message")).to_contain_text("marketplace.snapshot")
        assert len(hands.done) == 1
    del world.shop.answers["/v1/journal"]


async def test_6_all_that_wait_for_an_answer_are_asked_again_by_four_clicks(world: World) -> None:
    orders = [await world.shop.receive(f"ASKED-{number}", allowed=("ask",)) for number in range(3)]
    async with world.tab() as tab:
        hands = Hands(tab)
        await hands.click("link", re.compile("^Processes"), "nav")
        await hands.click("link", re.compile("an answer"), "ul.groups")
        await hands.click("link", "Ask all of them again")
        await hands.click("button", re.compile("Start with 3"))
        await expect(tab.get_by_text("running")).to_be_visible()
        assert len(hands.done) == 4
        world.shop.requests.clear()
        await world.work()
        asked = {path for path, _ in world.shop.requests}
        assert asked == {f"/v1{path_of(order)}/ask" for order in orders}
        await tab.reload()
        await expect(tab.locator("main")).to_contain_text("done")
    for order in orders:
        await world.shop.approve(order)


@pytest.mark.parametrize("scripted", [True, False])
async def test_7_a_parked_group_is_replayed_by_three_clicks(world: World, scripted: bool) -> None:
    parked = [world.parked.park() for _ in range(2)]
    async with world.tab(java_script_enabled=scripted) as tab:
        hands = Hands(tab)
        await hands.click("link", re.compile("^Parked"), "nav")
        await hands.click("link", re.compile("^Replay"), "tbody")
        await hands.click("button", "Replay 2 messages")
        await expect(tab.get_by_text("running")).to_be_visible()
        assert len(hands.done) == 3
        await world.work()
        if not scripted:
            await tab.reload()  # a script shows by itself how far it came
        await expect(tab.get_by_text("2 of 2")).to_be_visible()
    assert [world.parked.rows[one]["state"] for one in parked] == ["replayed"] * 2


async def test_8_a_parked_message_is_edited_and_replayed_by_three_clicks_and_the_text(world: World) -> None:
    parked_id = world.parked.park({"name": "Ann", "works": False})
    async with world.tab(f"/parked/payments/{parked_id}") as tab:
        hands = Hands(tab)
        await hands.click("button", "Reveal and edit")
        await tab.get_by_label("The new body, JSON").focus()
        await tab.keyboard.press("Control+a")
        await hands.type('{"name": "Bob"}')
        await hands.click("button", "Preview the edit")
        await expect(tab.get_by_role("row", name="Bob")).to_be_visible()
        await hands.click("button", "Store and replay")
        await expect(tab.get_by_text("Replayed by person:ann")).to_be_visible()
        assert len(hands.done) == 4
    assert world.parked.rows[parked_id]["value"] == '{"name": "Bob"}'


async def test_9_what_an_integrator_missed_is_sent_again_by_two_clicks(world: World, order: FakeOrder) -> None:
    missed = attempt(outcome="exhausted", http_status=500, subject=order.life.order_id)
    arrived = attempt(subject=order.life.order_id, event_id="event-2")
    world.hooks.answers["GET", "/v1/attempts"] = page(missed, arrived)
    world.hooks.answers["POST", f"/v1/attempts/{missed['id']}/resend"] = (202, replay())
    async with world.tab(path_of(order)) as tab:
        hands = Hands(tab)
        hands.done.append("click Resend")
        await tab.locator("summary", has_text="Resend 1 missed").click()
        await hands.click("button", "Send again")
        await expect(tab.get_by_text("Resend: done.")).to_be_visible()
        assert len(hands.done) == 2
    assert [one.path for one in world.hooks.writes][-1] == f"/v1/attempts/{missed['id']}/resend"
    del world.hooks.answers["GET", "/v1/attempts"]


async def test_10_events_since_a_time_are_counted_and_sent_again_by_four_clicks(world: World, order: FakeOrder) -> None:
    counted, begun = replay(replay_id=None, status=None, count=1_042), replay()
    own = f"/v1/endpoints/{ENDPOINT}"
    world.hooks.answers |= {
        ("GET", "/v1/endpoints"): page(endpoint()), ("GET", own): (200, endpoint()),
        ("POST", f"{own}/replay"): lambda request: (200, counted) if request.body.get("dry_run") else (202, begun),
        ("GET", f"/v1/replays/{begun['replay_id']}"): (200, begun),
    }  # fmt: skip
    async with world.tab() as tab:
        hands = Hands(tab)
        await hands.click("link", re.compile("^Webhooks"), "nav")
        await hands.click("link", re.compile("^Replay"), "main")
        await tab.get_by_label("From (UTC)").fill("2026-11-28T14:00")
        await hands.click("button", "Count")
        await hands.click("button", "Send 1,042 events again")
        await expect(tab.get_by_text("running")).to_be_visible()
        assert len(hands.done) == 4
    count, send = world.hooks.writes[-2:]
    assert count.body["from"] == "2026-11-28T14:00:00+00:00" and send.body["from"] == counted["from"]


async def test_11_the_messages_of_an_order_are_tailed_by_one_click(world: World, order: FakeOrder) -> None:
    async with world.tab(path_of(order)) as tab:
        hands = Hands(tab)
        await hands.click("link", "Tail them on the topics")
        types = tab.locator("main tbody th")
        await expect(types).to_have_text(["orders.received", "orders.placed"])
        await expect(tab.locator("#live")).to_have_text("Live")
        await world.shop.approve(order)
        await expect(types).to_have_text(["orders.received", "orders.placed", "orders.approved"])
        assert len(hands.done) == 1


async def test_12_a_list_is_exported_as_csv_by_three_clicks(world: World, order: FakeOrder) -> None:
    async with world.tab("/topics") as tab:
        hands = Hands(tab)
        await hands.click("link", "Orders", "nav")
        await hands.click("link", re.compile("^Approval"), "main")
        async with tab.expect_download() as begun:
            await hands.click("link", "Export CSV")
        csv = (await (await begun.value).path()).read_text()
        assert len(hands.done) == 3
    assert order.life.number in csv and "ASKED-0" not in csv


async def test_the_tasks_are_done_without_javascript(world: World) -> None:
    kept, cancelled = await world.shop.add("PLAIN-1"), await world.shop.add("PLAIN-2")
    async with world.tab(java_script_enabled=False) as tab:
        await tab.get_by_label("Search orders").fill("PLAIN-1")
        await tab.keyboard.press("Enter")
        await tab.wait_for_url(f"**{path_of(kept)}")
        await tab.locator("summary", has_text="Approve").first.click()
        await tab.get_by_role("button", name="Approve").click()
        await expect(tab.get_by_text("Approve: done.")).to_be_visible()
        await tab.goto(world.base + "/orders")
        await tab.get_by_role("link", name="Approval").click()
        await tab.get_by_role("link", name="PLAIN-2").click()
        await tab.locator("summary", has_text="Cancel").click()
        form = tab.locator("form[action$='/cancel']")
        await form.get_by_label("Reason").fill("The customer called.")
        await form.get_by_role("button", name="Cancel").click()
        await expect(tab.get_by_text("Cancel: done.")).to_be_visible()
    assert [path for path, _ in world.shop.requests[-2:]] == [
        f"/v1{path_of(kept)}/approve", f"/v1{path_of(cancelled)}/cancel",
    ]  # fmt: skip


# -- keys, dialogs, filters -------------------------------------------------------------------------------------------


async def test_rows_are_walked_by_j_and_k_and_a_dialog_gives_the_focus_back(world: World, order: FakeOrder) -> None:
    await world.shop.add("AFTER")
    async with world.tab() as tab:
        hands = Hands(tab)
        rows = tab.locator("tbody th[scope=row] a")
        await hands.press("j", "j", "k")
        await expect(rows.nth(0)).to_be_focused()
        await hands.press("?")
        await expect(tab.get_by_role("dialog")).to_be_visible()
        await hands.press("j")
        await hands.press("Escape")
        await expect(rows.nth(0)).to_be_focused()
        await hands.press("Enter")
        await tab.wait_for_url("**/orders/*-*")
        await painted(tab)
        await hands.press("g", "o")
        await tab.wait_for_url("**/orders")
        await painted(tab)
        await hands.press("?")
        await tab.get_by_label("single keys act on the page").uncheck()
        await hands.press("Escape", "j")
        await expect(rows.nth(0)).not_to_be_focused()


async def test_a_dialog_that_is_closed_leaves_the_form_where_it_was(world: World, order: FakeOrder) -> None:
    async with world.tab(path_of(order)) as tab:
        hands = Hands(tab)
        await hands.press("c")
        await hands.type("half a")
        await hands.press("Escape")
        await expect(tab.locator("summary", has_text="Cancel")).to_be_focused()
        await hands.press("c")
        await expect(tab.get_by_role("dialog").get_by_label("Reason")).to_have_value("half a")


async def test_a_list_is_filtered_while_one_types(world: World, order: FakeOrder) -> None:
    await world.shop.add("TYPED-1")
    async with world.tab() as tab:
        await tab.keyboard.press("/")
        await tab.keyboard.type("typed")
        await expect(tab.locator("#list tbody tr")).to_have_count(1)
        await tab.wait_for_url("**/orders?q=typed")
        await expect(tab.get_by_label("Search orders")).to_be_focused()
        await tab.reload()
        await expect(tab.locator("#list tbody tr")).to_have_count(1)


# -- live -------------------------------------------------------------------------------------------------------------


def row_of(tab: Tab, order: FakeOrder) -> Locator:
    return tab.locator(f'tr[data-channel="order:{order.life.order_id}"]')


async def test_eight_tabs_are_live_with_one_stream_and_a_reconnect_loses_nothing(
    world: World, order: FakeOrder
) -> None:
    async with world.context() as context:
        tabs = [await context.new_page() for _ in range(8)]
        for tab in tabs:
            await tab.goto(world.base + "/orders")
            await expect(tab.locator("#live")).to_have_text("Live")
        assert world.console.streams == 1
        await world.shop.approve(order)
        for tab in tabs:
            await expect(row_of(tab, order).locator("[data-cell=status]")).to_have_text("approved")
        other = await world.shop.add("MISSED")
        await tabs[0].goto(world.base + path_of(other))
        await expect(tabs[0].locator("#live")).to_have_text("Live")
        await world.console.stop()
        await world.shop.approve(other)
        await world.console.start()
        await expect(tabs[0].locator("ul.words")).to_contain_text("approved")


async def test_a_new_tab_misses_nothing_that_the_stream_of_another_one_has_passed(
    world: World, order: FakeOrder
) -> None:
    """Its script comes after the change has come to the first tab."""
    async with world.context() as context:
        first, second = await context.new_page(), await context.new_page()
        await first.goto(world.base + "/orders")
        await expect(first.locator("#live")).to_have_text("Live")
        come = asyncio.Event()

        async def wait(route: Route) -> None:
            await come.wait()
            await route.continue_()

        await second.route("**/assets/console.*.js", wait)
        await second.goto(world.base + "/orders", wait_until="commit")
        await expect(row_of(second, order)).to_have_count(1)
        await world.shop.approve(order)
        await expect(row_of(first, order).locator("[data-cell=status]")).to_have_text("approved")
        come.set()
        await expect(row_of(second, order).locator("[data-cell=status]")).to_have_text("approved")


async def test_a_tail_shows_messages_as_they_come_where_the_newest_are_and_each_once(
    world: World, order: FakeOrder
) -> None:
    types = ["orders.received", "orders.placed", "orders.approved", "payments.captured"]
    tails = {"": types[::-1], "&since=2026-11-21T00:00": types}
    async with world.context() as context:
        tabs = {since: await context.new_page() for since in tails}
        for since, tab in tabs.items():
            await tab.goto(f"{world.base}/topics/tail?order={order.life.order_id}{since}")
            await expect(tab.locator("#live")).to_have_text("Live")
        await world.shop.approve(order)
        await world.shop.publish(order.life.paid(captured_minor=20_00))
        for since, tab in tabs.items():
            await expect(tab.locator("main tbody th")).to_have_text(tails[since])


async def test_a_row_catches_up_with_what_its_owner_answered(world: World, order: FakeOrder) -> None:
    world.shop.publishes = False
    async with world.tab(path_of(order)) as tab:
        await tab.locator("summary", has_text="Approve").first.click()
        await tab.get_by_role("button", name="Approve").click()
        await expect(tab.get_by_text("lists catch up")).to_be_visible()
        await tab.goto(world.base + "/orders")
        row = row_of(tab, order)
        await expect(row).to_contain_text("catching up")
        world.shop.publishes = True
        await world.shop.publish(*world.shop.unpublished)
        await expect(row).not_to_contain_text("catching up")
        await expect(row.locator("[data-cell=status]")).to_have_text("approved")


async def test_a_page_that_is_paused_changes_when_it_goes_on(world: World, order: FakeOrder) -> None:
    async with world.tab() as tab:
        status = row_of(tab, order).locator("[data-cell=status]")
        await expect(tab.locator("#live")).to_have_text("Live")
        await tab.keyboard.press("p")
        await world.shop.approve(order)
        await expect(tab.locator("#live")).to_have_text(re.compile(r"Paused \(\d+\)"))
        await expect(status).to_have_text("placed")
        await tab.keyboard.press("p")
        await expect(status).to_have_text("approved")
        await expect(tab.locator("#live")).to_have_text("Live")


async def test_orders_that_come_are_shown_when_the_person_wants_it(world: World, order: FakeOrder) -> None:
    async with world.tab() as tab:
        await expect(tab.locator("#live")).to_have_text("Live")
        come = await world.shop.add("COMES")
        await expect(tab.get_by_text("1 order has changed")).to_be_visible()
        await expect(row_of(tab, come)).to_have_count(0)
        await tab.keyboard.press("r")
        await expect(row_of(tab, come)).to_have_count(1)
        await expect(tab.locator("#news")).to_be_hidden()


async def test_a_page_changes_at_most_four_times_a_second(world: World, order: FakeOrder) -> None:
    async with world.tab("/orders?column=captured&column=status") as tab:
        await expect(tab.locator("#live")).to_have_text("Live")
        await tab.evaluate("""() => {
          window.changes = []; window.begun = performance.now();
          new MutationObserver(() => window.changes.push(performance.now())).observe(
            document.querySelector("table"), {subtree: true, childList: true});
        }""")
        for n in range(20):
            await world.shop.publish(order.life.paid(authorized_minor=20_00, captured_minor=n))
        await world.shop.approve(order)
        await expect(row_of(tab, order).locator("[data-cell=status]")).to_have_text("approved")
        changes, seconds = await tab.evaluate("[window.changes.length, (performance.now() - window.begun) / 1000]")
        assert 1 <= changes <= seconds * 4 + 1


# -- every page -------------------------------------------------------------------------------------------------------


async def test_a_number_in_the_bar_does_not_widen_a_page_on_a_phone(world: World) -> None:
    async with world.context() as context:
        tab = await context.new_page()
        await tab.set_viewport_size(PHONE)
        await tab.goto(f"{world.base}/orders")
        number = '<span class="count bad">1<span class="unseen"> need a person</span></span>'
        await tab.evaluate("one => document.querySelectorAll('.bar nav a').forEach(a => a.insertAdjacentHTML('beforeend', one))", number)  # fmt: skip
        assert await width(tab) == PHONE["width"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_on_any_page_and_none_is_wider_than_its_window(world: World, scheme: str) -> None:
    first = (await world.shop.add("PAGES-1")).life.order_id
    world.parked.answers |= {
        f"/v1/payments/{first}": ledger(first, operation()),
        f"/v1/orders/{first}/ledger": books(first, operation()),
    }
    world.parked.park()
    await world.shop.hold(await world.shop.add("PAGES-2"))
    found: dict[str, list[str]] = {}
    async with world.context(color_scheme=scheme) as context:
        tab = await context.new_page()
        for page in (*PAGES, *OF_PAYMENTS):
            await visit(tab, world.base, page)
            found[page.name] = await violations(tab)
            if scheme == "light":
                await tab.set_viewport_size(PHONE)
                if (wide := await width(tab)) > PHONE["width"]:
                    found[page.name].append(f"{wide} pixels wide on a phone")
                await tab.set_viewport_size(DESKTOP)
    assert {name: what for name, what in found.items() if what} == {}
