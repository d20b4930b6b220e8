"""The requests of the README and of the pages for operators run as they are printed, and do what the text states."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

from tests.integration.shop import Shop
from tests.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]
PAGES = ("annotations", "search", "edits", "refunds", "holds")
"""The last one changes the market."""
NAMED = {"order_id": "ORDER", "hold_id": "HOLD", "edit_id": "EDIT", "refund_id": "REFUND"}
"""Field of an answer -> the variable that the next requests use it by."""
AS_THE_PAGES_STATE = {"refund_not_refused", "capture_automatic"}
"""Codes of requests that are for another state of the order than a page's other requests."""


def requests_of(page: str) -> list[str]:
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    return [request for block in blocks for request in re.split(r"\n(?=api )", block.strip())]


def api_of(page: str) -> list[str]:
    return re.findall(r"^api\(\).*$", (ROOT / page).read_text(), re.MULTILINE)


async def run(shop: Shop, request: str, named: dict[str, str]) -> dict[str, Any]:
    """Runs it in a shell. `named` has its variables, and afterwards also the ids of the answer."""
    (define,) = {line for page in ("README.md", "docs/operators-day.md") for line in api_of(page)}  # the same on both
    process = await asyncio.to_thread(
        subprocess.run,
        ["bash", "-c", f"{define}\n{request}"],
        env=os.environ | {"ORDERS": shop.system.url("orders"), "KEY": shop.keys["orders"]} | named,
        capture_output=True,
        timeout=PATIENCE_SECONDS,
    )
    assert process.returncode == 0, process.stderr
    answer: dict[str, Any] = json.loads(process.stdout)
    named |= {variable: answer[name] for name, variable in NAMED.items() if name in answer}
    if answer.get("preview"):
        named["PREVIEW"] = answer["preview"]["preview"]
    return answer


async def test_the_life_of_an_order_in_the_readme(shop: Shop) -> None:
    await shop.set_stock({"MUG": 10})
    start = next(n for n, request in enumerate(requests_of("README.md")) if "api()" in request)
    requests = requests_of("README.md")[start + 1 :]
    assert len(requests) == 8
    named: dict[str, str] = {}
    answers = [await run(shop, request, named) for request in requests]
    placed, held, edit, confirmed, released, refund, cancelled, read = answers
    assert (placed["status"], placed["payment_status"], held["waiting"]) == ("approved", "paid", "hold")
    shown = edit["preview"]
    assert (shown["stock"]["reserve"][0]["quantity"], shown["payments"]["authorize_minor"]) == (1, 500)
    assert confirmed["state"] == "confirmed"
    assert (released["status"], released["grand_minor"], released["holds"]) == ("approved", 1500, [])
    assert (refund["state"], refund["amount_minor"]) == ("open", 500)
    assert (cancelled["status"], cancelled["payment_status"]) == ("cancelled", "refunded"), cancelled
    assert [one["credited"] for one in read["invoices"]] == [True, True]
    assert {"orders.held", "orders.edited", "orders.refund_opened", "orders.cancelled"} <= {
        one["type"] for one in read["timeline"]
    }
    await shop.assert_promises()


async def test_every_request_of_the_pages_for_operators_is_carried_out(shop: Shop) -> None:
    for page in PAGES:
        order = shop.content([("S001", 2, 1000), ("S002", 1, 2500)])
        order |= {"totals": {"shipping_minor": 495, "grand_minor": 3995}}
        status, placed = await shop.call("orders", "POST", "/v1/orders?wait=paid&timeout=30", order)
        assert status == 201, placed
        named = {"ORDER": placed["order_id"]}
        requests = [one for one in requests_of(f"docs/{page}.md") if one.startswith("api ")]
        assert requests, page
        for request in requests:
            answer = await run(shop, request, named)
            if answer.get("status") in range(400, 600):
                assert answer["type"].rpartition("/")[2] in AS_THE_PAGES_STATE, (request, answer)
