"""The page of markets, sellers and stock; needs `CONSOLE_TEST_DATABASE_URL`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
import pytest_asyncio
from console_owners import REAL, Owner, page
from console_world import STORE, Browser
from markets_owner import MARKET, SELLER, STOCK

from chassis.process.app import App
from tests.waiting import patience

pytestmark = REAL


@pytest.fixture
def routes() -> list[str]:
    """The routes that orders, invoicing and fulfillment have."""
    return ["/v1/markets", "/v1/sellers", "/v1/stock"]


@pytest_asyncio.fixture
async def browser(app: App, shop: Owner, routes: list[str]) -> AsyncIterator[Browser]:
    """The routes are there before the console starts: it asks for them then."""
    shop.answers = {
        ("GET", "/openapi.json"): (200, {"paths": dict.fromkeys(routes)}),
        ("GET", "/v1/markets"): page(MARKET), ("GET", "/v1/sellers"): page(SELLER), ("GET", "/v1/stock"): page(STOCK, next_cursor="more"),
    }  # fmt: skip
    browser = Browser(app)
    async with browser.asgi.router.lifespan_context(browser.asgi):
        yield browser


async def test_what_is_set_up_for_a_store_is_shown(shop: Owner, browser: Browser, order: UUID) -> None:
    await browser.sign_in("viewer")
    found = await browser.get("/markets")
    for part in (
        "amazon",
        "50.00",
        "main, annex",
        "Shop Ltd",
        "MUG",
        "1,200",
        "card",
        "stripe second",
        "By invoice",
        "77.70",
        "2.25",
        "+1.5 %",
        "PUT /v1/markets/{code}",
    ):
        assert part in found.text, part
    assert shop.asked("/v1/markets").headers["x-store-id"] == STORE
    assert (await browser.get("/markets", cursor="more")).status == 200
    assert (shop.asked("/v1/stock").query["cursor"], "cursor" in shop.asked("/v1/markets").query) == ("more", False)


@pytest.mark.parametrize("routes", [["/v1/sellers"]])
async def test_a_list_is_shown_once_its_owner_has_the_route(shop: Owner, browser: Browser, order: UUID) -> None:
    await browser.sign_in()
    found = await browser.get("/markets")
    assert "Shop Ltd" in found.text and "amazon" not in found.text and "MUG" not in found.text
    assert 'href="/markets"' not in found.text, "the section is that of markets"


@pytest.mark.parametrize("routes", [["/v1/markets"]])
async def test_the_bar_has_the_section_once_the_routes_of_orders_were_read(
    shop: Owner, browser: Browser, order: UUID
) -> None:
    await browser.sign_in()
    async with patience():
        while 'href="/markets"' not in (await browser.get("/orders")).text:
            await asyncio.sleep(0.01)
    reads = [one for one in shop.requests if one.path == "/openapi.json"]
    await browser.get("/orders")
    assert len([one for one in shop.requests if one.path == "/openapi.json"]) == len(reads), "it is read once"


async def test_an_owner_that_does_not_answer_leaves_a_panel(shop: Owner, browser: Browser, order: UUID) -> None:
    shop.answers["GET", "/v1/sellers"] = (500, {})
    await browser.sign_in()
    found = await browser.get("/markets")
    assert found.status == 200 and "invoicing is silent" in found.text and "amazon" in found.text
    shop.answers["GET", "/v1/markets"] = page()
    assert "No market is set up" in (await browser.get("/markets")).text
