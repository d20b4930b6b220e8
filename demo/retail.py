"""Makes an order of a document, and the snapshot of an order as a marketplace connector would send it.

Money is whole pence from here on, computed from exact decimals and rounded half up once per row.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Context, Decimal
from itertools import cycle, islice
from types import MappingProxyType
from typing import Any, Final, NamedTuple
from uuid import UUID

from demo.countries import iso_country
from demo.source import Book, Document, Row, SourceError, vat_rate

CHANNEL: Final = "online-retail"
ACCOUNT: Final = "demo"
CURRENCY: Final = "GBP"

SHIPPING_CODES: Final = frozenset({"POST", "DOT", "C2"})
"""Postage, the web shop's postage, carriage: the order's shipping charge."""
SERVICE_CODES: Final = frozenset({"M", "D", "S", "B", "BANK CHARGES", "AMAZONFEE", "CRUK"})
"""Manual, discount, samples, bad debt, ...: lines that need no shipping and no stock."""

_TITLE_CHARACTERS_MAX: Final = 10_000  # the width of a title in our messages
_EXACT: Final = Context(prec=100, rounding=ROUND_HALF_UP)
"""Precise enough for any quantity times any price that `source` accepts: only `pence` rounds."""

OrderId = Callable[[str, str, str, str], UUID]
"""(store_id, channel, account, external_order_id) -> order id; the project's own is `contracts.ids.order_id`."""


class RetailLine(NamedTuple):
    """A line of an order: pieces and pence. `place` counts the document's rows from 1, shipping rows included."""

    place: int
    sku: str
    title: str
    quantity: int
    unit_price_minor: int
    """Rounded by itself, for information; amounts are computed from `line_total_minor`."""
    line_total_minor: int
    kind: str
    """`goods`, or `service`, which never ships."""


class Goods(NamedTuple):
    sku: str
    quantity: int


@dataclass(frozen=True, slots=True)
class RetailOrder:
    """An order of the run. Its lines are computed on access: half a million of them need only the rows' memory."""

    external_order_id: str
    document: Document
    placed_at: datetime
    """UTC."""
    vat_rate: str
    """Per cent with two decimals, for all lines and the shipping charge."""
    items_minor: int
    shipping_minor: int

    @property
    def total_minor(self) -> int:
        return self.items_minor + self.shipping_minor

    @property
    def lines(self) -> list[RetailLine]:
        rows, _ = _lines_and_shipping(self.document)
        return [_line(row) for row in rows]

    @property
    def goods(self) -> list[Goods]:
        """The lines that need stock and a parcel; without prices, so cheap to compute."""
        rows, _ = _lines_and_shipping(self.document)
        wanted = ((row.stock_code.upper(), row.quantity) for row in rows)
        return [Goods(sku, quantity) for sku, quantity in wanted if _kind(sku) == "goods"]


def orders_of(book: Book) -> list[RetailOrder]:
    """Every order of the file once, in file order."""
    return [_order(document) for document in book.order_documents]


def run_orders(orders: Sequence[RetailOrder], count: int | None = None) -> list[RetailOrder]:
    """The orders of a run: the file's, or exactly `count` of them, in file order and round again.

    On pass k >= 2 the external id is `<InvoiceNo>-<k>`.
    Raises SourceError for a count below 1, or with nothing to repeat.
    """
    if count is None:
        return list(orders)
    if count < 1:
        raise SourceError(f"ORDERS is {count}: a number from 1 is expected.")
    if not orders:
        raise SourceError(f"The file contains no order, so it cannot give {count}: name another file.")
    return list(islice(_round_and_round(orders), count))


def _round_and_round(orders: Sequence[RetailOrder]) -> Iterator[RetailOrder]:
    for n, order in enumerate(cycle(orders)):
        turn = n // len(orders) + 1
        yield order if turn == 1 else replace(order, external_order_id=f"{order.external_order_id}-{turn}")


def id_of(order: RetailOrder, store_id: str, order_id: OrderId) -> UUID:
    return order_id(store_id, CHANNEL, ACCOUNT, order.external_order_id)


def snapshot(
    order: RetailOrder, gift_card: str | None = None, payment: Mapping[str, str] = MappingProxyType({})
) -> dict[str, Any]:
    """The canonical snapshot body, `{"source": {...}, "order": {...}}`: JSON types only, money in pence.

    gift_card: the id of the card that the order is paid with before the gateway is asked. payment: the order's payment
    method and token.

    `content_hash` is over the canonical JSON of `order`: sorted keys, no spaces, UTF-8.
    """
    placed_at = _timestamp(order.placed_at)
    body = _order_body(order, placed_at) | dict(payment)
    if gift_card is not None:
        body["gift_cards"] = [{"gift_card_id": gift_card}]
    source = {
        "channel": CHANNEL,
        "account": ACCOUNT,
        "updated_at": placed_at,
        "sequence": 1,
        "content_hash": "sha256:" + hashlib.sha256(canonical_json(body)).hexdigest(),
        "raw_ref": None,
    }
    return {"source": source, "order": body}


def canonical_json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def pence(pounds: Decimal) -> int:
    """Round half up, away from zero.

    >>> pence(Decimal("0.005")), pence(Decimal("-0.005")), pence(Decimal("0.00499999"))
    (1, -1, 0)
    """
    return int(_EXACT.quantize(_EXACT.scaleb(pounds, 2), Decimal(1)))


def _order(document: Document) -> RetailOrder:
    rows, shipping = _lines_and_shipping(document)
    placed_at = document.placed_at
    rate = vat_rate(document.country, placed_at)
    assert rate is not None, document.invoice_no  # `source` leaves such a document out
    return RetailOrder(
        external_order_id=document.invoice_no,
        document=document,
        placed_at=placed_at,
        vat_rate=rate,
        items_minor=sum(_total(row) for row in rows),
        shipping_minor=sum(_total(row) for row in shipping),
    )


def _lines_and_shipping(document: Document) -> tuple[list[Row], list[Row]]:
    """(rows that are lines, rows that are the shipping charge). If all rows are shipping, they are lines."""
    lines: list[Row] = []
    shipping: list[Row] = []
    for row in document.rows:
        (shipping if row.stock_code.upper() in SHIPPING_CODES else lines).append(row)
    return (lines, shipping) if lines else (shipping, [])


def _line(row: Row) -> RetailLine:
    sku = row.stock_code.upper()
    return RetailLine(
        place=row.place,
        sku=sku,
        title=(row.description or sku)[:_TITLE_CHARACTERS_MAX],
        quantity=row.quantity,
        unit_price_minor=pence(row.unit_price),
        line_total_minor=_total(row),
        kind=_kind(sku),
    )


def _kind(sku: str) -> str:
    return "service" if sku in SERVICE_CODES or sku in SHIPPING_CODES else "goods"


def _total(row: Row) -> int:
    return pence(_EXACT.multiply(row.unit_price, Decimal(row.quantity)))


def _timestamp(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _order_body(order: RetailOrder, placed_at: str) -> dict[str, Any]:
    return {
        "external_order_id": order.external_order_id,
        "placed_at": placed_at,
        "lifecycle": "ready_to_fulfill",
        "payment_state": "paid",
        "currency": CURRENCY,
        "buyer": {"external_id": order.document.customer_id},
        "ship_to": {"country": iso_country(order.document.country)},
        "lines": [_line_body(line, order.vat_rate) for line in order.lines],
        "totals": {
            "items_minor": order.items_minor,
            "shipping_minor": order.shipping_minor,
            "shipping_tax": _tax(order.vat_rate),
            "grand_minor": order.total_minor,
        },
    }


def _line_body(line: RetailLine, rate: str) -> dict[str, Any]:
    return {
        "external_line_id": str(line.place),
        "kind": line.kind,
        "sku": line.sku,
        "title": line.title,
        "quantity": {"ordered": line.quantity},
        "unit_price_minor": line.unit_price_minor,
        "line_total_minor": line.line_total_minor,
        "tax": _tax(rate),
    }


def _tax(rate: str) -> list[dict[str, Any]]:
    """Without an amount: invoicing computes VAT once per invoice."""
    return [{"rate": rate}]
