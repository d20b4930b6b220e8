"""Photographs the console with the demo's data; `make screenshots` calls this.

Every page, in light and dark and at two sizes, goes to .devservices/pictures/. Those with a place in `DOCS` go to docs/.
"""

from __future__ import annotations

import asyncio
import struct
import sys
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import asyncpg
from playwright.async_api import FloatRect, TimeoutError
from rich.console import Console

from demo.command import options, task_of
from demo.runner import run
from system.installation import Installation
from system.interrupt import Interrupt
from system.processes import CONSOLE
from tests.browser import CHROMIUM, DESKTOP, MISSING, PAGES, PHONE, launched, visit, width

ROOT: Final = Path(__file__).parents[1]
FOLDER: Final = ROOT / ".devservices" / "pictures"
DOCS: Final = {
    ("orders", "light", "desktop"): "console-orders.png",
    ("order-held", "light", "desktop"): "console-order.png",
    ("cancel", "light", "desktop"): "console-action.png",
    ("messages", "light", "desktop"): "console-messages.png",
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
TILL: Final = {
    "code": "till", "gateway": "test", "capture": "on_approval", "on_short": "wait", "approval": "manual", "seller": "shop",
    "locations": ["main"],
}  # fmt: skip
"""The terms of a market whose orders wait for a person: all others of the demo end by themselves."""
WAITING: Final = 6
ORDERS: Final = "150"
BEHIND: Final = "select count(*) from order_rows where waiting <> '' and channel <> 'till'"


def main() -> int:
    if CHROMIUM is None:
        print(f"screenshots: {MISSING}", file=sys.stderr)
        return 1
    task = task_of(options(["--instance", "screenshots", "--orders", ORDERS, "--reports", str(FOLDER)]))
    FOLDER.mkdir(parents=True, exist_ok=True)
    with Interrupt() as interrupt:
        return run(task, interrupt, Console(), time.monotonic(), afterwards=photograph)


async def photograph(installation: Installation) -> None:
    await place_orders_that_wait(installation)
    await until_the_lists_have(installation)
    base = installation.system.url(CONSOLE)
    command = (CONSOLE, "sign-in", "--name", "ann")
    link = (await asyncio.to_thread(installation.system.run, *command, CONSOLE_PUBLIC_URL=base)).splitlines()[0]
    async with launched() as browser:
        signing_in = await browser.new_context()
        tab = await signing_in.new_page()
        await tab.goto(link)
        await tab.get_by_role("button", name="Sign in").click()
        await tab.wait_for_url("**/orders*")
        state = await signing_in.storage_state()
        for scheme in ("light", "dark"):
            for size, viewport in (("desktop", DESKTOP), ("phone", PHONE)):
                context = await browser.new_context(
                    storage_state=state, color_scheme=scheme, viewport=viewport, reduced_motion="reduce"
                )  # type: ignore[call-arg]
                for page in PAGES:
                    tab = await context.new_page()
                    try:
                        await visit(tab, base, page)
                    except TimeoutError as error:  # of playwright: the others are still worth having
                        print(f"{page.name}: {error}", file=sys.stderr)
                        await tab.close()
                        continue
                    picture = await tab.screenshot(clip=CLIP[size], path=FOLDER / f"{page.name}.{scheme}.{size}.png")
                    if await width(tab) > viewport["width"]:
                        print(f"{page.name} is wider than a {size}", file=sys.stderr)
                    if (place := DOCS.get((page.name, scheme, size))) is not None:
                        smaller = compressed(picture)
                        if len(smaller) > BYTES_MAX:
                            print(f"{place} has {len(smaller)} bytes", file=sys.stderr)
                        (ROOT / "docs" / place).write_bytes(smaller)
                    await tab.close()
                await context.close()


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


async def place_orders_that_wait(installation: Installation) -> None:
    """Orders of the demo's articles in a market where a person approves; one is held, one has an article that is sold out."""
    async with installation.client("orders") as orders, installation.client("fulfillment") as fulfillment:
        async with fulfillment.get("/v1/stock?limit=50") as answer:
            stocked = [one for one in (await answer.json())["items"] if one["on_hand"] > 20]
        market = {"channel": "till", "account": "main", "terms": TILL}
        async with orders.put("/v1/markets/till", json=market) as answer:
            assert answer.status == 200, await answer.text()
        placed = [await _place(orders, _content(n, stocked)) for n in range(WAITING)]
        held = {"reason": "fraud", "note": "The address is another one than last week."}
        async with orders.post(f"/v1/orders/{placed[2]}/holds", json=held) as answer:
            assert answer.status in (201, 202), await answer.text()


async def _place(orders: Any, content: Mapping[str, Any]) -> str:
    async with orders.post(
        "/v1/orders", json=content, headers={"idempotency-key": f"till-{content['external_order_id']}"}
    ) as answer:  # fmt: skip
        assert answer.status in (200, 201, 202), await answer.text()
        placed: str = (await answer.json())["order_id"]
        return placed


def _content(number: int, stocked: list[Mapping[str, Any]]) -> Mapping[str, Any]:
    lines = [
        {
            "external_line_id": str(n + 1), "sku": one["sku"], "title": one["sku"], "quantity": {"ordered": n + 1},
            "line_total_minor": 1295 * (n + 1), "tax": [{"rate": "20.00"}],
        }
        for n, one in enumerate((stocked * WAITING)[number : number + 3])
    ]  # fmt: skip
    return {
        "channel": "till", "account": "main", "external_order_id": f"T-{1042 + number}", "placed_at": "2026-11-21T10:00:00Z",
        "currency": "GBP", "lines": lines, "totals": {"grand_minor": sum(line["line_total_minor"] for line in lines)},
        "buyer": {"name": "Anna O'Brien", "email": "anna@example.com"},
        "ship_to": {"name": "Anna O'Brien", "line1": "7 Mill Lane", "city": "Leeds", "postcode": "LS1 4AP", "country": "GB"},
    }  # fmt: skip


async def until_the_lists_have(installation: Installation) -> None:
    """Waits until the console's lists have every order of the demo as settled, and those that wait."""
    connection = await asyncpg.connect(installation.system.dsn(CONSOLE))
    try:
        async with asyncio.timeout(120):
            while await connection.fetchval(BEHIND) or await connection.fetchval(
                "select count(*) from order_rows where channel = 'till' and waiting in ('approval', 'hold')"
            ) < WAITING:  # fmt: skip
                await asyncio.sleep(0.5)
    finally:
        await connection.close()


if __name__ == "__main__":
    sys.exit(main())
