"""One console, its services and one Chromium for all files of this folder."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest_asyncio
from aiohttp import web
from console_owners import Owner, page, serving
from console_world import Publisher
from fake_shop import FakeOrder, FakeShop
from markets_owner import ROUTES
from parked_world import ParkedMessages
from payments_owner import payments

from chassis.process.app import App
from console import api, sessions
from console.handlers import SERVICE
from console.owners import Owners
from console.settings import OWNERS, Settings
from console.working import Worker
from console_browser.world import SECONDS_MAX, URL, Console, World
from tests.browser import launched
from tests.databases import empty, migrated

TABLES = (
    "order_rows", "stores", "people", "freshness", "audit", "jobs", "inbox", "parked", "parked_keys", "reports", "flows", "series_rows",
)  # fmt: skip


@contextlib.asynccontextmanager
async def owners(shop: FakeShop) -> AsyncIterator[str]:
    runner = web.AppRunner(shop.application())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield site.name
    await runner.cleanup()


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def world() -> AsyncIterator[World]:
    await migrated(SERVICE, URL)
    shop, parked, hooks = FakeShop(), ParkedMessages("payments"), Owner(default=page())
    shop.answers["/openapi.json"] = {"paths": ROUTES}
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
            world = World(console, app, base, shop, parked, hooks, Worker(app, asking), browser)
            link = f"/sign-in?token={await sessions.invite(app, 'ann', ['administrator'], None, api.now())}"
            async with world.tab(link) as tab:
                await tab.get_by_role("button", name="Sign in").click()
                await tab.wait_for_url("**/orders")
                world.cookies = await tab.context.cookies()  # type: ignore[assignment]
            yield world
            await console.stop()
        await app.database.close()


@pytest_asyncio.fixture(loop_scope="package")
async def order(world: World) -> FakeOrder:
    return await world.shop.add(f"ORDER-{len(world.shop.orders)}")
