"""Reconciliations of a shop: what the test gateway makes beside the ledgers of payments, and the comparison that finds it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import aiohttp

from tests.integration.shop import Shop


async def made(shop: Shop, kind: str, order: str, amount_minor: int, refers_to: str | None = None) -> str:
    """The gateway moves money that no service has asked for. Returns its key of it."""
    assert shop.gateway is not None
    key = str(uuid4())
    body = {"kind": kind, "order_id": order, "amount_minor": amount_minor, "currency": "GBP", "refers_to": refers_to,
            "reference": key, "account": shop.store}  # fmt: skip
    sent = {"Idempotency-Key": key}
    async with (
        aiohttp.ClientSession() as client,
        client.post(f"{shop.gateway.url}/operations", json=body, headers=sent) as answer,
    ):
        assert answer.status == 201, await answer.text()
    return key


async def reconcile(shop: Shop) -> list[dict[str, Any]]:
    """Compares the last hour. Returns the differences, those found last first."""
    now = datetime.now(UTC)
    period = {"begins_at": str(now - timedelta(hours=1)), "ends_at": str(now + timedelta(hours=1))}
    status, asked = await shop.call("payments", "POST", "/v1/reconciliations", {"gateway": "test", **period})
    assert status == 202, asked

    async def ended() -> bool:
        _, one = await shop.call("payments", "GET", f"/v1/reconciliations/{asked['reconciliation_id']}")
        assert one["state"] != "failed", one
        return bool(one["state"] == "done")

    await shop.until(ended, "the end of a reconciliation")
    _, page = await shop.call("payments", "GET", "/v1/differences")
    found: list[dict[str, Any]] = page["items"]
    return found
