"""Photographs the console with the demo's data; `make screenshots` calls this.

Every page, whole, in light and dark and at two sizes, goes to .devservices/pictures/. Those with a place in `DOCS` go to docs/. Returns 1
if a page was missed, is wider than its window, or has a picture that is too large.
"""

from __future__ import annotations

import asyncio
import struct
import sys
import time
import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from playwright.async_api import Browser, BrowserContext, FloatRect, TimeoutError
from rich.console import Console

from demo.command import options, task_of
from demo.runner import run
from system.installation import Installation
from system.interrupt import Interrupt
from system.processes import CONSOLE
from tests import scenes
from tests.browser import CHROMIUM, DESKTOP, MISSING, PHONE, Strayed, launched, start_job, visit, width
from tests.console_pages import PAGES, Page

ROOT: Final = Path(__file__).parents[1]
FOLDER: Final = ROOT / ".devservices" / "pictures"
DOCS: Final = {
    ("orders", "light", "desktop"): "console-orders.png",
    ("order-held", "light", "desktop"): "console-order.png",
    ("cancel", "light", "desktop"): "console-action.png",
    ("message-waiting", "light", "desktop"): "console-messages.png",
    ("overview", "light", "desktop"): "console-overview.png",
    ("processes", "light", "desktop"): "console-processes.png",
    ("order-held", "light", "phone"): "console-phone.png",
    ("approval", "dark", "desktop"): "console-dark.png",
}
"""(page, scheme, size) -> file below docs/."""
BYTES_MAX: Final = 150_000
CLIP: Final[Mapping[str, FloatRect]] = {
    "desktop": {"x": 0, "y": 0, "width": 1280, "height": 700}, "phone": {"x": 0, "y": 0, "width": 390, "height": 844},
}  # fmt: skip
ORDERS: Final = "150"
SIZES: Final = {"desktop": DESKTOP, "phone": PHONE}
SECONDS_MAX: Final = 20
"""A page that is not there by then is missed: the others are still worth having."""


def main() -> int:
    if CHROMIUM is None:
        print(f"screenshots: {MISSING}", file=sys.stderr)
        return 1
    task = task_of(options(["--instance", "screenshots", "--orders", ORDERS, "--reports", str(FOLDER)]))
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.glob("*.png"):
        old.unlink()
    faults: list[str] = []

    async def afterwards(installation: Installation) -> None:
        await scenes.set_up(installation)
        faults.extend(await photographed(installation))

    with Interrupt() as interrupt:
        status = run(task, interrupt, Console(), time.monotonic(), afterwards=afterwards)
    for fault in faults:
        print(f"screenshots: {fault}", file=sys.stderr)
    return 1 if faults else status


async def photographed(installation: Installation) -> list[str]:
    """Returns what is wrong with the pictures."""
    faults: list[str] = []
    base = installation.system.url(CONSOLE)
    async with launched() as browser:
        state = await signed_in(browser, installation, base)
        for size in SIZES:
            async with window(browser, size, state) as context:
                for page in PAGES:
                    faults += await pictures_of(context, base, page, size)
    return faults


async def signed_in(browser: Browser, installation: Installation, base: str) -> Any:
    """A person who has begun a job. Returns the state of the browser."""
    command = (CONSOLE, "sign-in", "--name", "ann")
    link = (await asyncio.to_thread(installation.system.run, *command, CONSOLE_PUBLIC_URL=base)).splitlines()[0]
    async with window(browser, "desktop") as context:
        tab = await context.new_page()
        await tab.goto(link)
        await tab.get_by_role("button", name="Sign in").click()
        await tab.wait_for_url("**/orders*")
        await start_job(tab, base, f"view=approval&country={scenes.SENT_OUT}", "Approve")
        return await context.storage_state()


@asynccontextmanager
async def window(browser: Browser, size: str, state: Any = None) -> AsyncIterator[BrowserContext]:
    context = await browser.new_context(storage_state=state, viewport=SIZES[size], reduced_motion="reduce")  # type: ignore[arg-type]
    context.set_default_timeout(SECONDS_MAX * 1000)
    yield context
    await context.close()


async def pictures_of(context: BrowserContext, base: str, page: Page, size: str) -> list[str]:
    """Takes a page in light and dark. Returns what is wrong with it."""
    faults: list[str] = []
    tab = await context.new_page()
    try:
        await visit(tab, base, page)
        if await width(tab) > SIZES[size]["width"]:
            faults.append(f"{page.name} is wider than a {size}")
        for scheme in ("light", "dark"):
            await tab.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            await tab.screenshot(full_page=True, path=FOLDER / f"{page.name}.{scheme}.{size}.png")
            if (place := DOCS.get((page.name, scheme, size))) is not None:
                smaller = compressed(await tab.screenshot(clip=CLIP[size]))
                if len(smaller) > BYTES_MAX:
                    faults.append(f"{place} has {len(smaller)} bytes, more than {BYTES_MAX}")
                (ROOT / "docs" / place).write_bytes(smaller)
    except (TimeoutError, Strayed) as error:
        faults.append(f"{page.name} is missed on a {size}: {error}")
    await tab.close()
    return faults


def compressed(png: bytes) -> bytes:
    """Returns the same picture in fewer bytes: Chromium compresses for speed.

    A PNG is a signature of 8 bytes and chunks of length, type, data, CRC; the data of all IDAT chunks are one zlib stream.
    """
    head, pixels, rest, at = png[:8], b"", b"", 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        chunk = png[at : at + 12 + length]
        at += 12 + length
        if chunk[4:8] == b"IDAT":
            pixels += chunk[8:-4]
        elif chunk[4:8] == b"IEND":
            rest = chunk
        else:
            head += chunk
    named = b"IDAT" + zlib.compress(zlib.decompress(pixels), 9)
    return head + struct.pack(">I", len(named) - 4) + named + struct.pack(">I", zlib.crc32(named)) + rest


if __name__ == "__main__":
    sys.exit(main())
