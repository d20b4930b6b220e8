"""Every page of the console in Chromium: what axe finds, in light and dark, and whether it fits its window."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from console_owners import ENDPOINT, attempt, endpoint, replay
from console_owners import page as listed
from fake_shop import FakeOrder
from markets_owner import MARKET, SELLER, STOCK
from payments_owner import books, ledger, operation
from playwright.async_api import Page as Tab
from reports_world import report

from console import recording
from console.domain.offsets import Flow
from console.domain.series import MINUTE, POLL, Point
from console_browser.world import IN_CHROMIUM, World
from tests.browser import (
    DESKTOP,
    OF_COLOURS,
    OF_SIZE,
    PHONE,
    bare_figures,
    cut_selects,
    start_job,
    violations,
    visit,
    width,
)
from tests.console_pages import PAGES, Page

pytestmark = IN_CHROMIUM


async def test_a_number_in_the_bar_does_not_widen_a_page_on_a_phone(world: World) -> None:
    async with world.context() as context:
        tab = await context.new_page()
        await tab.set_viewport_size(PHONE)
        await tab.goto(f"{world.base}/orders")
        number = '<span class="count bad">1<span class="unseen"> need a person</span></span>'
        await tab.evaluate("one => document.querySelectorAll('.bar nav a').forEach(a => a.insertAdjacentHTML('beforeend', one))", number)  # fmt: skip
        assert await width(tab) == PHONE["width"]


async def test_axe_finds_nothing_on_any_page_and_none_is_wider_than_its_window_or_cuts_what_it_shows(
    world: World,
) -> None:
    found: list[str] = []
    # Without motion: a colour that is just changing is none of the page's.
    async with furnished(world), world.context(reduced_motion="reduce") as context:
        tab = await context.new_page()
        await start_job(tab, world.base, "q=ROWS-2", "Hold")
        await world.work()
        for page in PAGES:
            found += [f"{page.name}: {one}" for one in await faults(tab, world.base, page)]
    assert found == [], "\n".join(found)


async def faults(tab: Tab, base: str, page: Page) -> list[str]:
    await visit(tab, base, page)
    found = await violations(tab)
    found += [f"the select {one} is cut" for one in await cut_selects(tab)]
    await tab.emulate_media(color_scheme="dark")
    found += [f"dark: {one}" for one in await violations(tab, OF_COLOURS)]
    await tab.set_viewport_size(PHONE)
    found += [f"on a phone: {one}" for one in await violations(tab, OF_SIZE)]
    if (wide := await width(tab)) > PHONE["width"]:
        found.append(f"{wide} pixels wide on a phone")
    found += [f"on a phone without a label: {one}" for one in await bare_figures(tab)]
    found += [f"on a phone the select {one} is cut" for one in await cut_selects(tab)]
    await tab.set_viewport_size(DESKTOP)
    await tab.emulate_media(color_scheme="light")
    return found


# -- a row on every page ----------------------------------------------------------------------------------------------


@asynccontextmanager
async def furnished(world: World) -> AsyncIterator[None]:
    """Every service has something to show; at the end what the tests of a task count is as before."""
    owners = (world.shop, world.parked, world.hooks)
    before = [dict(one.answers) for one in owners]
    await world.shop.add("ROWS-1")
    await world.shop.hold(await world.shop.add("ROWS-2"))
    asked = await world.shop.receive("ROWS-3", waiting="answer", allowed=("ask", "give_up"))
    done = await world.shop.add("ROWS-4")
    await world.shop.complete(done)
    of_order(world, done)
    of_webhooks(world, done)
    world.shop.answers |= {
        "/v1/markets": listed(MARKET)[1], "/v1/sellers": listed(SELLER)[1], "/v1/stock": listed(STOCK)[1],
    }  # fmt: skip
    parked = world.parked.park(), world.parked.park()
    world.parked.settle(parked[1], "discarded", "person:ann")
    world.parked.rows[parked[1]]["reason"] = "The marketplace has taken it back."
    await of_overview(world)
    try:
        yield
    finally:
        await world.shop.approve(asked)
        for one in parked:
            del world.parked.rows[one]
        for owner, answers in zip(owners, before, strict=True):
            owner.answers = answers


def of_order(world: World, order: FakeOrder) -> None:
    """Its money, its documents, its messages."""
    key, capture = order.life.order_id, operation()
    shipment = {"shipment_id": str(key), "status": "shipped", "location": "main", "lines": [{"quantity": 2}], "carrier": "post",
                "tracking_number": "T1"}  # fmt: skip
    caused = {
        "service": "orders", "kind": "event", "at": order.shown()["timeline"][0]["at"], "published": True, "operation_id": None,
        "actor": "marketplace:amazon", "via": "", "version": 1, "body": {"number": order.life.number},
    }  # fmt: skip
    first = {
        **caused,
        "message_id": str(key),
        "type": "orders.received",
        "cause_type": "marketplace.snapshot",
        "cause_id": None,
    }
    second = {
        **caused,
        "message_id": capture["operation_id"],
        "type": "orders.placed",
        "cause_type": "orders.received",
        "cause_id": str(key),
    }
    invoice = {"kind": "invoice", "number": "R-7", "issued_on": "2026-11-21", "total_minor": 20_00, "currency": "EUR"}
    world.parked.answers |= {
        f"/v1/payments/{key}": ledger(key, capture), f"/v1/orders/{key}/ledger": books(key, capture),
    }  # fmt: skip
    world.shop.answers |= {
        f"/v1/fulfillments/{key}": {"shipments": [shipment]}, "/v1/invoices": listed(invoice)[1], "/v1/journal": listed(first, second)[1],
    }  # fmt: skip


def of_webhooks(world: World, order: FakeOrder) -> None:
    own, again = f"/v1/endpoints/{ENDPOINT}", replay()
    tried = [attempt(subject=order.life.order_id, outcome=outcome, number=number, http_status=status)
             for number, outcome, status in ((2, "delivered", 200), (1, "failed", 503))]  # fmt: skip
    world.hooks.answers |= {
        ("GET", "/v1/endpoints"): listed(endpoint(failing_since=tried[0]["at"])), ("GET", own): (200, endpoint()),
        ("GET", "/v1/attempts"): listed(*tried), ("GET", "/v1/replays"): listed(again),
        ("GET", f"/v1/replays/{again['replay_id']}"): (200, again), ("GET", "/v1/events/event-1"): (200, {"type": "orders.placed"}),
    }  # fmt: skip


async def of_overview(world: World) -> None:
    """Two hours of figures, with a silence."""
    app, now = world.app, datetime.now(UTC)
    since = (now - timedelta(minutes=3)).isoformat()
    held = {"step": "place.reserve", "waiting": "no_answer", "count": 12, "oldest_since": since}
    processes = {"counted_at": since, "items": [held]}
    parked = {"waiting": 1, "keys": 1, "oldest_since": since}
    await recording.report(
        app, [report(processes=processes, parked=parked), report("payments", silent_seconds=30)], now
    )
    await recording.flowed(
        app, {"orders": {"payments.events.v1": Flow(600, 5.0, 4.0)}}, {"payments.events.v1": 5.0}, now
    )
    minute = MINUTE.floor(now) - timedelta(hours=2)
    await recording.keep(app, [Point("orders.in", MINUTE, minute + timedelta(minutes=n), n % 7) for n in range(120)])
    poll = POLL.floor(now) - timedelta(minutes=20)
    lags = [Point("lag.orders", POLL, poll + timedelta(seconds=2 * n), n) for n in range(600) if not 100 <= n < 200]
    await recording.keep(app, lags)
