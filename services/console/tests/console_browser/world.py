"""The console in Chromium, for the tests of this folder: its pages over HTTP, the services that it asks, and hands that count."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Literal

import pytest
from console_owners import Owner
from fake_shop import FakeOrder, FakeShop
from parked_world import ParkedMessages
from playwright.async_api import Browser, BrowserContext, Locator, expect
from playwright.async_api import Page as Tab

from chassis.http.server import Server, configured, listen
from chassis.process.app import App
from console.handlers import SERVICE
from console.settings import Settings
from console.working import Worker
from devservices.ports import choose_port
from tests.browser import CHROMIUM, DESKTOP, MISSING, painted
from tests.waiting import PATIENCE_SECONDS

URL = os.environ.get("CONSOLE_TEST_DATABASE_URL", "")
IN_CHROMIUM = [
    pytest.mark.asyncio(loop_scope="package"),
    pytest.mark.skipif(not URL, reason="CONSOLE_TEST_DATABASE_URL is not set"),
    pytest.mark.skipif(CHROMIUM is None, reason=MISSING),
]
"""`pytestmark` of each file here: they share one browser and one console, and run on one worker (`conftest.py` of the root)."""
Role = Literal["button", "link"]
SECONDS_MAX = int(PATIENCE_SECONDS)
"""Playwright waits this long for what a test expects: the machine may be busy."""
expect.set_options(timeout=SECONDS_MAX * 1000)


@dataclass
class World:
    """The console over HTTP, the services that it asks, and a browser."""

    console: Console
    app: App
    """Another process of the console, which does what no page does."""
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
        self.port = choose_port("port", None)  # which no outgoing connection takes while it is stopped

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


def row_of(tab: Tab, order: FakeOrder) -> Locator:
    return tab.locator(f'tr[data-channel="order:{order.life.order_id}"]')
