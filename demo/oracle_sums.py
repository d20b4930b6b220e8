"""The oracle's sums of one document, in whole pence: its rows, their VAT, and how an amount is spread over them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final, NamedTuple

from demo.source import Document, Row

_SHIPPING: Final = {"POST", "DOT", "C2"}
_SERVICES: Final = {"M", "D", "S", "B", "BANK CHARGES", "AMAZONFEE", "CRUK"}
_UK_PERMILLE: Final = (
    # All changes are in winter, when London's midnight is midnight UTC.
    (datetime(2011, 1, 4, tzinfo=UTC), 200),
    (datetime(2010, 1, 1, tzinfo=UTC), 175),
    (datetime(2008, 12, 1, tzinfo=UTC), 150),
)


class Sold(NamedTuple):
    """The sums of one document."""

    document: Document
    lines: int
    total: int
    vat: int
    goods: frozenset[str]
    """SKUs that need stock."""


class Line(NamedTuple):
    """A row of goods."""

    place: int
    """Among the rows of its document, from 0."""
    code: str
    quantity: int
    pence: int


def sums_of(document: Document) -> Sold:
    codes = [row.stock_code.upper() for row in document.rows]
    shipping_rows = sum(code in _SHIPPING for code in codes)
    total = sum(row_pence(row) for row in document.rows)  # shipping is charged like a line, only elsewhere
    return Sold(
        document=document,
        lines=len(codes) - shipping_rows or len(codes),
        total=total,
        vat=vat_of(document, total),
        goods=frozenset(codes) - _SHIPPING - _SERVICES,
    )


def row_pence(row: Row) -> int:
    """floor(x + 1/2) of the exact fraction; nothing in an order is negative."""
    pounds, per = row.unit_price.as_integer_ratio()
    return (200 * row.quantity * pounds + per) // (2 * per)


def goods_of(document: Document) -> list[Line]:
    lines = (Line(n, row.stock_code.upper(), row.quantity, row_pence(row)) for n, row in enumerate(document.rows))
    return [line for line in lines if line.code not in _SHIPPING | _SERVICES]


def piece_of(line: Line) -> int:
    """The price of one piece of a line, pence."""
    return (2 * line.pence + line.quantity) // (2 * line.quantity)


def first_sold(goods: Iterable[Line]) -> Line | None:
    """The first line of which a piece costs anything."""
    for line in goods:
        if piece_of(line):
            return line
    return None


def vat_of(document: Document, gross: int) -> int:
    if document.country != "United Kingdom":
        return 0
    first = min(row.invoiced_at for row in document.rows)
    rate = next(permille for since, permille in _UK_PERMILLE if first >= since)
    return (2 * gross * rate + 1000 + rate) // (2 * (1000 + rate))


def line_vat_of(order: Sold, place: int) -> int:
    """The VAT of one row of an invoice: the order's net is spread over rows and shipping."""
    pence, net = share_of(order, order.total - order.vat, place)
    return pence - net


def share_of(order: Sold, whole: int, place: int) -> tuple[int, int]:
    """The pence of a row, and its share of an amount that is spread over rows and shipping by largest remainder."""
    rows = [(n, row_pence(row), row.stock_code.upper() in _SHIPPING) for n, row in enumerate(order.document.rows)]
    amounts = {n: pence for n, pence, is_shipping in rows if not is_shipping}
    amounts[len(rows)] = sum(pence for _, pence, is_shipping in rows if is_shipping)
    shares = {n: whole * pence // order.total for n, pence in amounts.items()}
    odd = whole - sum(shares.values())
    for n in sorted(shares, key=lambda n: (-(whole * amounts[n] % order.total), n))[:odd]:
        shares[n] += 1
    return amounts[place], shares[place]
