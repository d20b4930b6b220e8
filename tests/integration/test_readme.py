"""The commands of the README run as they are printed there, and do what the text below them states."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

from tests.integration.shop import Shop

README = Path(__file__).parents[2] / "README.md"


def commands() -> list[str]:
    """The commands of an order's life, without the start of the system."""
    block = re.search(r"## An order's life\n```sh\n(.*?)```", README.read_text(), re.DOTALL)
    assert block is not None
    found = re.split(r"\n(?=api )", block[1].strip())
    assert found[0].startswith("make up") and len(found) == 8 + 1, "the start, and eight requests"
    return found


async def test_the_life_of_an_order_in_the_readme(shop: Shop) -> None:
    await shop.set_stock({"MUG": 10})
    start, *requests = commands()
    _, define = start.split("\n")
    named = {"ORDERS": shop.system.url("orders"), "KEY": shop.keys["orders"]}
    answers: list[dict[str, Any]] = []
    for request in requests:
        run = await asyncio.to_thread(
            subprocess.run,
            ["bash", "-c", f"{define}\n{request}"],
            env=os.environ | named,
            capture_output=True,
            timeout=60,
        )
        assert run.returncode == 0, run.stderr
        answer = json.loads(run.stdout)
        assert answer.get("status") not in range(400, 600), (request, answer)
        named |= {
            name: answer[f"{name.lower()}_id"] for name in ("ORDER", "HOLD", "EDIT") if f"{name.lower()}_id" in answer
        }
        answers.append(answer)
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
