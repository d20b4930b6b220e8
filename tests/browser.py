"""Debian's Chromium, driven by playwright: how tests and screenshots open a page of the console, and what axe finds on it."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import urlsplit

from axe_playwright_python.base import AXE_SCRIPT
from playwright.async_api import Browser, async_playwright
from playwright.async_api import Page as Tab

from tests.console_pages import Page

CHROMIUM: Final = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MISSING: Final = "no chromium, chromium-browser or google-chrome is installed (Debian: apt-get install chromium)"
DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
RULES: Final = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")

OF_COLOURS: Final = ("color-contrast", "link-in-text-block")
"""Rules of these that a change of the colours alone can break."""
OF_SIZE: Final = ("target-size", "scrollable-region-focusable")
"""Rules of these that a smaller window can break."""


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


class Strayed(Exception):
    """The links of a page lead somewhere else."""


async def visit(tab: Tab, base: str, page: Page) -> None:
    """Opens a page as a person comes to it. Raises TimeoutError of playwright if a link is missing, and Strayed."""
    await tab.goto(base + page.path)
    for link in page.links:
        await tab.locator(link).first.click()
        await tab.wait_for_load_state()
    if not re.fullmatch(re.sub(r"{\w+}", "[^/]+", page.shows), urlsplit(tab.url).path):
        raise Strayed(f"{page.name} is at {urlsplit(tab.url).path}, not at {page.shows}")
    await painted(tab)
    if page.opens:
        await tab.locator(page.opens).first.click()
        await tab.wait_for_load_state()
    if page.press:
        await tab.keyboard.press(page.press)


async def start_job(tab: Tab, base: str, filters: str, action: str) -> None:
    """Has something done with all orders of a list, as a person does. action: the title of it."""
    await tab.goto(f"{base}/jobs/new?{filters}")
    await tab.locator(".job-form select[name=action]").select_option(label=action)
    await tab.locator(".job-form input[name=reason]").fill("Checked with the buyer.")
    await tab.get_by_role("button", name=re.compile("^Start with")).click()
    await tab.wait_for_url("**/jobs/*-*")


async def violations(tab: Tab, rules: Sequence[str] = ()) -> list[str]:
    """Returns what axe finds: rule, element, what to do. rules: only these; empty: all of `RULES`."""
    if not await tab.evaluate("() => 'axe' in window"):
        await tab.evaluate(AXE_SCRIPT)
    only = {"type": "rule", "values": list(rules)} if rules else {"type": "tag", "values": list(RULES)}
    found: list[Any] = await tab.evaluate(
        "async only => (await axe.run(document, {runOnly: only, resultTypes: ['violations']})).violations", only
    )
    return [
        f"{rule['id']}: {node['html'][:120]} ({(node.get('failureSummary') or '')[:200]})" for rule in found for node in rule["nodes"]
    ]  # fmt: skip


async def width(tab: Tab) -> int:
    """Returns how wide the page is, in CSS pixels: more than its window has to be scrolled sideways."""
    found: int = await tab.evaluate("document.documentElement.scrollWidth")
    return found


CUT: Final = """
() => [...document.querySelectorAll('select')].filter(one => one.checkVisibility()).filter(one => {
  const whole = one.cloneNode(true)
  whole.style.cssText = 'width: max-content; position: absolute'
  one.after(whole)
  const cut = whole.offsetWidth > one.offsetWidth
  whole.remove()
  return cut
}).map(one => one.name)"""
BARE: Final = r"""
() => [...document.querySelectorAll('main table:has(thead)')].filter(one => !one.tHead.checkVisibility())
  .flatMap(one => [...one.querySelectorAll('tbody td')]).filter(one => one.checkVisibility())
  .filter(one => /^[\s–\d.,×]+$/.test(one.innerText) && getComputedStyle(one, '::before').content === 'none')
  .map(one => one.outerHTML.slice(0, 120))"""


async def cut_selects(tab: Tab) -> list[str]:
    """Returns the names of the selects that are narrower than their longest option."""
    found: list[str] = await tab.evaluate(CUT)
    return found


async def bare_figures(tab: Tab) -> list[str]:
    """Returns the cells of tables without a visible head that have a figure or a dash, and no word of what it is."""
    found: list[str] = await tab.evaluate(BARE)
    return found
