"""How every order of the run must end and what money must have moved, computed from the file alone.

It deliberately shares no code with `retail`, `trouble` or a service, except the reading of cells. Sums, rounding, VAT, ids
and trouble are computed here a second time, in another way and in whole numbers.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple, NotRequired, TypedDict
from uuid import UUID

from demo.source import Book, Document, Row

End = Literal["completed", "cancelled:out_of_stock", "cancelled:declined", "cancelled:customer"]

_NAMESPACE: Final = UUID("b4f1c1a6-5d0e-5c39-9a43-6a1d1a0f7e21")
_SHIPPING: Final = {"POST", "DOT", "C2"}
_SERVICES: Final = {"M", "D", "S", "B", "BANK CHARGES", "AMAZONFEE", "CRUK"}
_UK_PERMILLE: Final = (
    # All changes are in winter, when London's midnight is midnight UTC.
    (datetime(2011, 1, 4, tzinfo=UTC), 200),
    (datetime(2010, 1, 1, tzinfo=UTC), 175),
    (datetime(2008, 12, 1, tzinfo=UTC), 150),
)


class Money(NamedTuple):
    """Pence that moved in an order's whole life: gross and cumulative, nothing subtracted."""

    authorized_minor: int = 0
    captured_minor: int = 0
    voided_minor: int = 0
    refunded_minor: int = 0
    invoiced_minor: int = 0
    credited_minor: int = 0


MONEY: Final = Money._fields


class ActualRow(TypedDict):
    """The result of one order, as the services' databases have it afterwards."""

    actual: str
    """`completed`, `cancelled:<cause>` or `waiting:<reason>`."""
    authorized_minor: int
    captured_minor: int
    voided_minor: int
    refunded_minor: int
    invoiced_minor: int
    credited_minor: int
    total_minor: NotRequired[int | None]
    """The order's grand total; compared if present."""
    invoiced_vat_minor: NotRequired[int | None]
    """The VAT on all its invoices; compared if present."""
    settled: NotRequired[bool]
    """False while a process is open that does not wait for a person. Without it, `actual` decides."""


@dataclass(frozen=True, slots=True)
class Expected:
    """One order of the run as it must end. Amounts in pence."""

    order_id: str
    external_order_id: str
    lines: int
    total_minor: int
    vat_minor: int
    """The VAT in the total, owed only when it is invoiced."""
    trouble: str
    """`out_of_stock`, `declined`, `late`, `timed_out`, `cancelled`, or empty."""
    end: End
    money: Money

    @property
    def invoiced_vat_minor(self) -> int:
        return self.vat_minor if self.money.invoiced_minor else 0


@dataclass(frozen=True, slots=True)
class Aggregate:
    """All expected orders together."""

    received: int
    completed: int
    cancelled: dict[str, int]
    total_minor: int
    vat_minor: int
    invoiced_vat_minor: int
    money: Money


class Unexpected(NamedTuple):
    order_id: str
    reason: str


def expect(book: Book, store_id: str, count: int | None = None) -> list[Expected]:
    """Every order of the run, in the order of sending. count: `ORDERS`, or None for the file's orders once each."""
    documents = book.order_documents
    sold = [_sold(document) for document in documents]
    none_left = _zero_stock(sold)
    run = len(sold) if count is None else count
    return [_expected(*divmod(n, len(sold)), sold, none_left, store_id) for n in range(run)] if sold else []


def aggregate(expected: Sequence[Expected]) -> Aggregate:
    ends = Counter(order.end for order in expected)
    causes = {end.partition(":")[2]: n for end, n in sorted(ends.items()) if end != "completed"}
    return Aggregate(
        received=len(expected),
        completed=ends["completed"],
        cancelled=causes,
        total_minor=sum(order.total_minor for order in expected),
        vat_minor=sum(order.vat_minor for order in expected),
        invoiced_vat_minor=sum(order.invoiced_vat_minor for order in expected),
        money=Money(*(sum(order.money[n] for order in expected) for n in range(len(MONEY)))),
    )


def compare(expected: Iterable[Expected], actual: Mapping[str, ActualRow]) -> list[Unexpected]:
    """Every order that did not end as it must, in the order of sending, then orders that were not sent.

    actual: by order id. An order appears once, with all its differences.
    """
    found = []
    sent = set()
    for order in expected:
        sent.add(order.order_id)
        row = actual.get(order.order_id)
        wrong = ["never received"] if row is None else _differences(order, row)
        if wrong:
            found.append(Unexpected(order.order_id, "; ".join(wrong)))
    found += [Unexpected(order_id, "not in the file") for order_id in sorted(set(actual) - sent)]
    return found


def _differences(order: Expected, row: ActualRow) -> list[str]:
    pairs: list[tuple[str, object, object]] = [("end", order.end, row["actual"])]
    pairs += [(name, getattr(order.money, name), row[name]) for name in MONEY]  # type: ignore[literal-required]  # MONEY holds keys of the row
    pairs += [
        (name, must_be, is_now)
        for name, must_be, is_now in (
            ("total_minor", order.total_minor, row.get("total_minor")),
            ("invoiced_vat_minor", order.invoiced_vat_minor, row.get("invoiced_vat_minor")),
        )
        if is_now is not None
    ]
    return [f"{name} is {is_now}, expected {must_be}" for name, must_be, is_now in pairs if is_now != must_be]


class _Sold(NamedTuple):
    """The sums of one document."""

    invoice_no: str
    lines: int
    total: int
    vat: int
    goods: frozenset[str]
    """SKUs that need stock."""


def _sold(document: Document) -> _Sold:
    codes = [row.stock_code.upper() for row in document.rows]
    shipping_rows = sum(code in _SHIPPING for code in codes)
    total = sum(_row_pence(row) for row in document.rows)  # shipping is charged like a line, only elsewhere
    return _Sold(
        invoice_no=document.invoice_no,
        lines=len(codes) - shipping_rows or len(codes),
        total=total,
        vat=_vat(document, total),
        goods=frozenset(codes) - _SHIPPING - _SERVICES,
    )


def _row_pence(row: Row) -> int:
    """floor(x + 1/2) of the exact fraction; nothing in an order is negative."""
    pounds, per = row.unit_price.as_integer_ratio()
    return (200 * row.quantity * pounds + per) // (2 * per)


def _vat(document: Document, gross: int) -> int:
    if document.country != "United Kingdom":
        return 0
    first = min(row.invoiced_at for row in document.rows)
    rate = next(permille for since, permille in _UK_PERMILLE if first >= since)
    return (2 * gross * rate + 1000 + rate) // (2 * (1000 + rate))


def _zero_stock(sold: Sequence[_Sold]) -> set[str]:
    """Counts, for one SKU after the other, the orders that have one of the SKUs chosen so far."""
    orders_with: dict[str, list[int]] = {}
    for n, order in enumerate(sold):
        for sku in order.goods:
            orders_with.setdefault(sku, []).append(n)
    none_left: set[str] = set()
    is_short = bytearray(len(sold))
    short = 0
    for sku in sorted(orders_with, key=lambda sku: hashlib.sha256(sku.encode("utf-8")).digest()):
        if 100 * short >= 3 * len(sold):
            break
        added = [n for n in orders_with[sku] if not is_short[n]]
        if 100 * (short + len(added)) > 6 * len(sold):
            continue
        none_left.add(sku)
        short += len(added)
        for n in added:
            is_short[n] = 1
    return none_left


def _expected(turn: int, n: int, sold: Sequence[_Sold], none_left: set[str], store_id: str) -> Expected:
    order = sold[n]
    external_id = order.invoice_no if turn == 0 else f"{order.invoice_no}-{turn + 1}"
    order_id = _order_id(store_id, external_id)
    trouble = _trouble(order, order_id, none_left)
    end, money = _end(trouble, order.total)
    return Expected(order_id, external_id, order.lines, order.total, order.vat, trouble, end, money)


def _order_id(store_id: str, external_id: str) -> str:
    """A name-based UUID (version 5), by hand: SHA-1 over namespace and name, then version and variant bits."""
    name = f"{store_id}|online-retail|demo|{external_id}"
    digest = bytearray(hashlib.sha1(_NAMESPACE.bytes + name.encode("utf-8"), usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    return str(UUID(bytes=bytes(digest)))


def _trouble(order: _Sold, order_id: str, none_left: set[str]) -> str:
    if not order.goods.isdisjoint(none_left):
        return "out_of_stock"
    group = int(order_id[:8], 16) % 100 // 4
    if order.total == 0 or group > 3:
        return ""
    return ("declined", "late", "timed_out", "cancelled")[group]


def _end(trouble: str, total: int) -> tuple[End, Money]:
    """Stock is reserved before money is authorized; capture follows approval at once, and each capture its invoice."""
    if trouble == "out_of_stock":
        return "cancelled:out_of_stock", Money()
    if trouble == "declined":
        return "cancelled:declined", Money()
    if trouble == "cancelled":
        return "cancelled:customer", Money(total, total, 0, total, total, total)
    return "completed", Money(authorized_minor=total, captured_minor=total, invoiced_minor=total)
