"""Orders to simulate: small ones in which every way of the processes occurs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from random import Random
from uuid import UUID

from contracts.gift_cards import GiftCardTender
from contracts.orders import EditChanges, LineEdit, MarketTerms, MethodCurrency, NewLine, PaymentMethod
from contracts.snapshot import Address, Line, OrderContent, Quantities, Snapshot, Source, Tax, TaxCollection, Totals

STORE = "st_1"
SKUS = ("A", "B")
LOCATIONS = ("main", "second")


def market(rng: Random) -> MarketTerms:
    terms = MarketTerms(
        code="m",
        gateway=rng.choice(["marketplace", "marketplace", "test", "test", "test", "manual", "recorded"]),
        capture=rng.choice(["on_placement", "on_approval", "per_shipment", "manual"]),
        hold_window_seconds=rng.choice([None, None, None, None, 50]),
        on_short=rng.choice(["cancel", "wait"]),
        approval=rng.choice(["automatic", "automatic", "manual"]),
        seller="acme",
        invoice_deemed_supplier=rng.random() < 0.3,
        locations=rng.choice([("main",), ("main", "second")]),
        give_up_after_seconds=rng.choice([None, None, None, 40, 600]),
        on_change=rng.choice(["apply", "ask", None]),
    )
    return with_methods(terms) if len(terms.locations) > 1 else terms


def with_methods(terms: MarketTerms) -> MarketTerms:
    """The same market with a list: the first method does not take the currency of the orders, the second is as the terms, and
    costs more where an order is placed by a request."""
    foreign = PaymentMethod(code="foreign", gateway="marketplace", currencies=(MethodCurrency(currency="ISK"),))
    own = PaymentMethod(
        code="own", gateway=terms.gateway, account="second", capture=terms.capture, surcharge_percent="3.5",
        currencies=(MethodCurrency(currency="EUR", surcharge_minor=40),),
    )  # fmt: skip
    return terms.model_copy(update={"payment_methods": (foreign, own), "gateway": "marketplace", "capture": "manual"})


def content(rng: Random, cards: Sequence[UUID] = ()) -> OrderContent:
    """cards: the gift cards that it may be paid with."""
    net = rng.random() < 1 / 3
    free = rng.random() < 0.1
    lines, items, taxes = [], 0, 0
    for n in range(rng.randint(1, 3)):
        total = 0 if free else rng.choice([0, 1, 99, 1999])
        items += total
        ordered = rng.randint(1, 3)
        tax = tuple(tax_of(rng, total) for _ in range(rng.choice([1, 1, 1, 2])))
        taxes += sum(one.amount_minor or 0 for one in tax)
        lines.append(
            Line(
                external_line_id=str(n + 1),
                sku=rng.choice(SKUS),
                quantity=Quantities(ordered=ordered, cancelled=rng.choice([0, 0, 0, rng.randint(0, ordered)])),
                line_total_minor=total,
                tax=tax,
                requires_shipping=rng.random() < 0.8,
                kind=rng.choice(["goods", "goods", "goods", "goods", "fee", "gift_card"]),
                fulfilled_by=rng.choice([None, None, None, "marketplace"]),
            )
        )
    shipping = 0 if free else rng.choice([0, 0, 495])
    discount = rng.choice([0, 0, 0, min(7, items), items]) if not taxes or net else 0
    if net and not free and any(one.amount_minor is None and one.rate != "0" for line in lines for one in line.tax):
        taxes += rng.randint(0, 30)  # what the rates make, as some marketplace rounds it
    taxes += 71 if shipping else 0
    return OrderContent(
        external_order_id="1",
        placed_at=datetime.fromisoformat("2026-01-01T00:00:00+00:00"),
        lifecycle="ready_to_fulfill" if rng.random() < 0.9 else "awaiting_payment",
        payment_state="paid" if rng.random() < 0.9 else "pending",
        test=rng.random() < 0.03,
        currency="EUR",
        price_basis="net" if net else "gross",
        payment_token=rng.choice([None, "tok_1"]),
        gift_cards=tuple(
            GiftCardTender(gift_card_id=card, amount_minor=rng.choice([None, None, 1, 500]))
            for card in (rng.sample(cards, rng.randint(1, len(cards))) if cards and rng.random() < 0.3 else ())
        ),
        tax_collection=TaxCollection(deemed_supplier=rng.random() < 0.1),
        lines=tuple(lines),
        totals=Totals(
            shipping_minor=shipping,
            shipping_tax=(Tax(rate="17", amount_minor=71),) if shipping else (),
            discount_minor=discount,
            tax_minor=taxes if net else None,
            grand_minor=items + shipping - discount + (taxes if net else 0),
        ),
    )


def changes(rng: Random, told: OrderContent) -> EditChanges:
    """Some lines with more or fewer pieces, another price, replaced or removed; a line added, a charge, an address."""
    edits = []
    for one in told.lines:
        if not one.pieces or rng.random() < 0.5:
            continue
        line_id = one.external_line_id
        edits.append(
            rng.choice(
                [
                    LineEdit(line_id=line_id, quantity=rng.randint(0, 4)),
                    LineEdit(line_id=line_id, quantity=max(one.pieces - 1, 0)),
                    LineEdit(line_id=line_id, quantity=one.pieces + 1),
                    LineEdit(line_id=line_id, unit_price_minor=rng.choice([0, 1, 350, 2500])),
                    LineEdit(line_id=line_id, replace_by=new_line(rng)),
                ]
            )
        )
    return EditChanges(
        lines=tuple(edits),
        add=(new_line(rng),) if rng.random() < 0.3 else (),
        shipping_minor=rng.choice([None, None, None, 0, 300]),
        ship_to=Address(line1=f"{rng.randint(1, 3)} Way", country="FR") if rng.random() < 0.2 else None,
    )


def new_line(rng: Random) -> NewLine:
    return NewLine(
        sku=rng.choice(SKUS), quantity=rng.randint(1, 2), unit_price_minor=rng.choice([0, 5, 999]), tax=(Tax(rate="17"),),
        requires_shipping=rng.random() < 0.8,
    )  # fmt: skip


def tax_of(rng: Random, total: int) -> Tax:
    """By rate, or stated beside it, or stated alone."""
    rate, amount = rng.choice(["0", "17", "8.1"]), rng.randint(0, total // 3)
    return rng.choice([Tax(rate=rate), Tax(rate=rate), Tax(rate=rate, amount_minor=amount), Tax(amount_minor=amount)])


def snapshot(told: OrderContent, account: str, at: datetime, seconds: int) -> Snapshot:
    source = Source(
        channel="bol", account=account, updated_at=at + timedelta(seconds=seconds), content_hash=told.model_dump_json()[-400:]
    )  # fmt: skip
    return Snapshot(source=source, order=told)
