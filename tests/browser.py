"""Debian's Chromium, driven by playwright, and the pages of the console that tests and screenshots open."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

from axe_playwright_python.base import AXE_SCRIPT
from playwright.async_api import Browser, async_playwright
from playwright.async_api import Page as Tab

CHROMIUM: Final = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MISSING: Final = "no chromium, chromium-browser or google-chrome is installed (Debian: apt-get install chromium)"
DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
RULES: Final = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")


class Page(NamedTuple):
    """A page of the console, and how a person comes to it."""

    name: str
    path: str
    links: Sequence[str] = ()
    """Selectors of links that are followed from there, one after the other."""
    opens: str = ""
    """Selector of what is clicked at last: it opens a dialog."""
    press: str = ""
    """A key that is pressed at last."""


FIRST: Final = "tbody th[scope=row] a"
PAGES: Final = (
    Page("orders", "/orders"),
    Page("approval", "/orders?view=approval"),
    Page("filters", "/orders?fulfillment=unfulfilled"),
    Page("nothing-found", "/orders?q=nothing-has-this-number"),
    Page("keys", "/orders", press="?"),
    Page("order", "/orders?view=approval", (FIRST,)),
    Page("order-held", "/orders?view=hold", (FIRST,)),
    Page("refund", "/orders?view=approval", (FIRST,), opens="summary:text('Refund')"),
    Page("cancel", "/orders?view=approval", (FIRST,), opens="summary:text('Cancel')"),
    Page("messages", "/orders", (FIRST, "text=Messages of all services")),
    Page("jobs", "/jobs"),
    Page("people", "/people"),
    Page("webhooks", "/webhooks"),
    Page("audit", "/audit"),
    Page("markets", "/markets"),
    Page("overview", "/"),
    Page("processes", "/processes"),
    Page("parked", "/parked"),
    Page("payments", "/payments"),
    Page("settlements", "/payments/settlements"),
    Page("settlement-rows", "/payments/rows"),
    Page("disputes", "/payments/disputes"),
    Page("gift-cards", "/payments/gift-cards"),
    Page("differences", "/payments/differences"),
    Page("topics", "/topics"),
    Page("tail", "/topics/tail"),
    Page("record", "/topics/tail", (FIRST,)),
    Page("sign-in", "/sign-in"),
    Page("problem", "/orders?colour=red"),
)
"""A further page is one line: axe examines it in light and dark, and `make screenshots` takes it."""


@asynccontextmanager
async def launched() -> AsyncIterator[Browser]:
    """Chromium, without a window. It runs as root in containers, where it has no sandbox."""
    assert CHROMIUM is not None, MISSING
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        await browser.close()


async def painted(tab: Tab) -> None:
    """Waits until a person sees the page: Chromium drops keys that come before."""
    await tab.evaluate(
        "() => new Promise(done => new PerformanceObserver(() => done()).observe({type: 'paint', buffered: true}))"
    )


async def visit(tab: Tab, base: str, page: Page) -> None:
    """Opens a page as a person comes to it. Raises TimeoutError if a link is missing."""
    await tab.goto(base + page.path)
    for link in page.links:
        await tab.locator(link).first.click()
        await tab.wait_for_load_state()
    await painted(tab)
    if page.opens:
        await tab.locator(page.opens).first.click()
    if page.press:
        await tab.keyboard.press(page.press)


async def violations(tab: Tab) -> list[str]:
    """Returns what axe finds: rule, element, what to do."""
    await tab.evaluate(AXE_SCRIPT)
    found: list[Any] = await tab.evaluate(
        "async tags => (await axe.run(document, {runOnly: tags, resultTypes: ['violations']})).violations", list(RULES)
    )
    return [
        f"{rule['id']}: {node['html'][:120]} ({(node.get('failureSummary') or '')[:200]})" for rule in found for node in rule["nodes"]
    ]  # fmt: skip


async def width(tab: Tab) -> int:
    """Returns how wide the page is, in CSS pixels: more than its window has to be scrolled sideways."""
    found: int = await tab.evaluate("document.documentElement.scrollWidth")
    return found
