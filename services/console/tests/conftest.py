"""Fixtures of pages that ask other services: the console, services that answer as theirs do, and a browser."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

import pytest_asyncio
from console_owners import ENDPOINT, TABLES, Owner, checked, endpoint, page, serving, webhooks_document
from console_world import NOW, Browser, Life, Publisher, emptied

from chassis.process.app import App
from contracts import orders


@pytest_asyncio.fixture
async def hooks() -> AsyncIterator[Owner]:
    """Webhooks with one endpoint; at the end, every request to it was one that webhooks describes."""
    owner = Owner()
    owner.answers = {
        ("GET", "/v1/endpoints"): page(endpoint()),
        ("GET", f"/v1/endpoints/{ENDPOINT}"): (200, endpoint()),
        ("GET", "/v1/attempts"): page(),
        ("GET", "/v1/replays"): page(),
    }
    async with serving(owner):
        yield owner
    for request in owner.requests:
        if request.path != "/openapi.json":
            checked(webhooks_document(), request)


@pytest_asyncio.fixture
async def shop() -> AsyncIterator[Owner]:
    """Orders, invoicing and fulfillment."""
    statuses = {"status": "placed", "payment_status": "authorized", "fulfillment_status": "unfulfilled"}
    order = {**statuses, "waiting": "approval", "version": 2, "legal_actions": [], "money": None, "processes": []}
    order |= {"timeline": [], "holds": [], "exceptions": [], "notes": []}
    async with serving(Owner({("GET", "/v1/parked"): page()}, default=(200, order))) as owner:
        yield owner


@pytest_asyncio.fixture
async def app(hooks: Owner, shop: Owner) -> AsyncIterator[App]:
    of_shop = {f"{name}_url": shop.url for name in ("orders", "invoicing", "fulfillment")}
    keys = {f"{name}_api_key": "tw_1_secret" for name in ("orders", "invoicing", "fulfillment", "webhooks")}
    async with emptied(TABLES, webhooks_url=hooks.url, ask_seconds_max=20, **of_shop, **keys) as app:
        yield app


@pytest_asyncio.fixture
async def browser(app: App) -> AsyncIterator[Browser]:
    browser = Browser(app)
    async with browser.asgi.router.lifespan_context(browser.asgi):
        yield browser


@pytest_asyncio.fixture
async def order(app: App) -> UUID:
    life = Life(number="A-7")
    placed = life.next(orders.Placed, status="placed", payment_status="authorized", placed_at=NOW)
    await Publisher(app).publish(life.received(), placed)
    return life.order_id
