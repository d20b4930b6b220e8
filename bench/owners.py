"""The lists of the services that own the orders, imitated in a process of its own, as `python -m console rebuild` reads them.

    python -m bench.owners --orders 1000000

It prints its address as JSON. Every order is completed, with three lines, a shipment and an invoice. Pages are made when they are
asked for, at a fraction of what a service pays, so that mostly the console is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from aiohttp import web

ORDERS_PAGE: Final = 100
"""The most that orders answers with the content of each."""
SINCE: Final = datetime(2024, 11, 1, tzinfo=UTC)
PLACED: Final = {"placed_at": "@at", "completed_at": "@at", "archived_at": None}
ITEMS: Final[dict[str, Any]] = {
    "/v1/orders": {
        "order_id": "@id", "version": 8, "number": "@n", "channel": "web", "account": "main", "status": "approved",
        "payment_status": "paid", "fulfillment_status": "fulfilled", "cancel_cause": None, "grand_minor": 6000, **PLACED,
        "reference": None, "tags": [], "updated_at": "@at", "since": None,
        "open": {"holds": [], "exceptions": [], "refused": [], "stuck": {}, "refunds": [], "edit": ""},
        "market": {"code": "de", "capture": "on_approval"},
        "order": {
            "external_order_id": "@n", "placed_at": "@at", "currency": "EUR", "buyer": {"name": "Anna Huber", "email": "b@n@example.com"},
            "ship_to": {"name": "Anna Huber", "line1": "Ring 1", "postcode": "1010", "city": "Wien", "country": "AT"},
            "lines": [
                {"external_line_id": str(n), "sku": f"MUG-{n}", "title": "Mug", "quantity": {"ordered": 2}, "line_total_minor": 2000}
                for n in (1, 2, 3)
            ],
            "totals": {"grand_minor": 6000},
        },
    },
    "/v1/payments": {
        "order_id": "@id", "version": 3,
        "totals": {"authorized_minor": 6000, "captured_minor": 6000, "voided_minor": 0, "refunded_minor": 0},
    },
    "/v1/fulfillments": {"order_id": "@id", "version": 4, "totals": {"reserved": 0, "shipped": 6}},
    "/v1/shipments": {"order_id": "@id", "tracking_number": "1Z@n", "shipped_at": "@at"},
    "/v1/invoices": {"order_id": "@id", "version": 1, "kind": "invoice", "number": "R@n", "total_minor": 6000},
}  # fmt: skip
"""Path -> an item; `@id`, `@n` and `@at` are those of its order."""


class Lists:
    def __init__(self, orders: int) -> None:
        self._orders = orders
        self._texts = {path: json.dumps(item) for path, item in ITEMS.items()}

    async def page(self, request: web.Request) -> web.Response:
        start = int(request.query.get("cursor", 0))
        most = ORDERS_PAGE if "content" in request.query else 500
        end = min(start + min(int(request.query["limit"]), most), self._orders)
        items = ",".join(self._item(request.path, self._orders - n) for n in range(start, end))
        cursor = f'"{end}"' if end < self._orders else "null"
        return web.Response(text=f'{{"items":[{items}],"next_cursor":{cursor}}}', content_type="application/json")

    def _item(self, path: str, n: int) -> str:
        at = (SINCE + timedelta(minutes=n)).isoformat()
        return self._texts[path].replace("@id", str(UUID(int=n))).replace("@at", at).replace("@n", str(n))


async def serve(orders: int) -> None:
    app = web.Application()
    app.router.add_get("/{path:.*}", Lists(orders).page)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(json.dumps({"url": f"http://127.0.0.1:{runner.addresses[0][1]}"}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.owners", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--orders", type=int, required=True)
    asyncio.run(serve(parser.parse_args().orders))
