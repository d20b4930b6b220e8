"""The orders of every measurement: 1-5 lines (mean 3), 10,000 SKUs of equal popularity, one seller.

Order `n` of a series is a function of (series, n) alone, so that different processes create the same order.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import orjson

from contracts.envelope import headers
from contracts.ids import order_id

STORE: Final = "bench"
CHANNEL: Final = "bench"
ACCOUNT: Final = "shop"
SELLER: Final = "shop"
SKUS: Final = 10_000
LINES_MAX: Final = 5
SEED: Final = 20_111_209
"""A change of the seed changes every order, and figures before and after cannot be compared."""


@dataclass(frozen=True)
class Series:
    """`name` is part of every order id, so that runs have different orders. hot: every line has the same SKU."""

    name: str
    hot: bool = False

    def external_id(self, n: int) -> str:
        return f"{self.name}-{n}"

    def key(self, n: int) -> UUID:
        return order_id(STORE, CHANNEL, ACCOUNT, self.external_id(n))

    def order(self, n: int) -> dict[str, Any]:
        """The content of an order, for `POST /v1/orders` and for a snapshot."""
        dice = random.Random(f"{SEED}/{self.name}/{n}")
        lines: list[dict[str, Any]] = []
        items = 0
        for line in range(1, dice.randint(1, LINES_MAX) + 1):
            pieces = dice.randint(1, 3)
            total = pieces * dice.randint(1_00, 50_00)
            items += total
            lines.append(
                {
                    "external_line_id": str(line),
                    "sku": sku(0) if self.hot else sku(dice.randrange(SKUS)),
                    "title": "A thing that a person wants",
                    "quantity": {"ordered": pieces},
                    "line_total_minor": total,
                    "tax": [{"rate": "20.00"}],
                }
            )
        shipping = dice.choice((0, 3_95))
        return {
            "external_order_id": self.external_id(n),
            "placed_at": "2026-01-05T10:00:00Z",
            "currency": "GBP",
            "buyer": {"external_id": f"buyer-{dice.randrange(5_000)}", "name": "A. Buyer", "email": "a.buyer@example.com"},
            "ship_to": {"name": "A. Buyer", "line1": "1 High Street", "postcode": "E1 6AN", "city": "London", "country": "GB"},
            "lines": lines,
            "totals": {"items_minor": items, "shipping_minor": shipping, "grand_minor": items + shipping},
        }  # fmt: skip

    def snapshot(self, n: int) -> tuple[bytes, bytes]:
        """Key and value of the record of an order that is ready to fulfill."""
        body = {
            "source": {
                "channel": CHANNEL,
                "account": ACCOUNT,
                "updated_at": "2026-01-05T10:00:00Z",
                "content_hash": self.external_id(n),
            },
            "order": {"lifecycle": "ready_to_fulfill", **self.order(n)},
        }
        return str(self.key(n)).encode(), orjson.dumps(body)

    def snapshot_headers(self, n: int, key: bytes, now: datetime) -> list[tuple[str, bytes]]:
        return headers(
            ce_id=self.external_id(n),
            source=f"{CHANNEL}/{ACCOUNT}",
            type="marketplace.snapshot",
            time=now,
            subject=key.decode(),
            store_id=STORE,
            correlation_id=self.external_id(n),
        )

    def snapshots(self, first: int, count: int) -> Iterator[tuple[int, bytes, bytes]]:
        for n in range(first, first + count):
            yield n, *self.snapshot(n)


def sku(n: int) -> str:
    return f"SKU-{n:05d}"


def utc_now() -> datetime:
    return datetime.now(UTC)
