"""Orders to simulate: small ones in which every way of the processes occurs."""

from __future__ import annotations

from datetime import datetime, timedelta
from random import Random

from contracts.orders import MarketTerms
from contracts.snapshot import Line, OrderContent, Quantities, Snapshot, Source, Tax, Totals

SKUS = ("A", "B")
LOCATIONS = ("main", "second")


def market(rng: Random) -> MarketTerms:
    return MarketTerms(
        code="m",
        gateway=rng.choice(["marketplace", "test"]),
        capture=rng.choice(["on_placement", "on_approval", "per_shipment"]),
        on_short=rng.choice(["cancel", "wait"]),
        auto_approve=rng.random() < 0.7,
        seller="acme",
        locations=rng.choice([("main",), ("main", "second")]),
        give_up_after_seconds=rng.choice([None, None, None, 40, 600]),
    )


def content(rng: Random) -> OrderContent:
    basis = rng.choice(["gross", "gross", "net"])
    free = rng.random() < 0.1
    lines, items = [], 0
    for n in range(rng.randint(1, 3)):
        total = 0 if free else rng.choice([0, 1, 99, 1999])
        items += total
        lines.append(
            Line(
                external_line_id=str(n + 1),
                sku=rng.choice(SKUS),
                quantity=Quantities(ordered=rng.randint(1, 3)),
                line_total_minor=total,
                tax=(Tax(rate=rng.choice(["0", "17", "8.1"])),),
                requires_shipping=rng.random() < 0.8,
            )
        )
    shipping = 0 if free else rng.choice([0, 0, 495])
    discount = rng.choice([0, 0, 0, min(7, items), items])
    tax = rng.randint(0, 30) if basis == "net" and not free else 0
    return OrderContent(
        external_order_id="1",
        placed_at=datetime.fromisoformat("2026-01-01T00:00:00+00:00"),
        lifecycle="ready_to_fulfil" if rng.random() < 0.9 else "awaiting_payment",
        currency="EUR",
        price_basis=basis,  # type: ignore[arg-type]
        lines=tuple(lines),
        totals=Totals(
            shipping_minor=shipping,
            discount_minor=discount,
            tax_minor=tax if basis == "net" else None,
            grand_minor=items + shipping - discount + tax,
        ),
    )


def snapshot(told: OrderContent, account: str, at: datetime, seconds: int) -> Snapshot:
    source = Source(
        channel="bol", account=account, updated_at=at + timedelta(seconds=seconds), content_hash=told.model_dump_json()[-400:]
    )  # fmt: skip
    return Snapshot(source=source, order=told)
