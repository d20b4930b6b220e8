"""How every order of the run must end, and what money and goods must have moved, computed from the file alone.

It deliberately shares no code with `retail`, `trouble`, `changes` or a service, except the reading of cells. Sums, rounding,
VAT, ids, trouble and changes are computed here a second time, in another way and in whole numbers.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple
from uuid import UUID

from demo.expected import Changes, End, Expected, Money
from demo.source import Book, Document, Row

_NAMESPACE: Final = UUID("b4f1c1a6-5d0e-5c39-9a43-6a1d1a0f7e21")
_SHIPPING: Final = {"POST", "DOT", "C2"}
_SERVICES: Final = {"M", "D", "S", "B", "BANK CHARGES", "AMAZONFEE", "CRUK"}
_UK_PERMILLE: Final = (
    # All changes are in winter, when London's midnight is midnight UTC.
    (datetime(2011, 1, 4, tzinfo=UTC), 200),
    (datetime(2010, 1, 1, tzinfo=UTC), 175),
    (datetime(2008, 12, 1, tzinfo=UTC), 150),
)


def expect(book: Book, store_id: str, count: int | None = None, *, with_stripe: bool = True) -> list[Expected]:
    """Every order of the run, in the order of sending. count: `ORDERS`, or None for the file's orders once each.

    with_stripe: a server in Stripe's shapes is beside the system; else its orders are paid at the test gateway.
    """
    documents = book.order_documents
    sold = [_sold(document) for document in documents]
    none_left = _zero_stock(sold)
    run = len(sold) if count is None else count
    return (
        [_expected(*divmod(n, len(sold)), sold, none_left, store_id, with_stripe) for n in range(run)] if sold else []
    )


def left_on_shelf(book: Book, expected: Sequence[Expected]) -> dict[str, int]:
    """SKU -> pieces in stock at the end. expected: of `expect`.

    Before the run there are as many pieces as all orders need after their edits; none of a SKU without stock.
    """
    documents = book.order_documents
    none_left = _zero_stock([_sold(document) for document in documents])
    left: Counter[str] = Counter()
    for n, order in enumerate(expected):
        goods = _goods(documents[n % len(documents)])
        left.update(dict.fromkeys((line.code for line in goods), 0))
        if order.end not in ("completed", "cancelled:refunded"):
            back = [(line.code, line.quantity) for line in goods]
        elif order.trouble == "line_cancelled":
            back = [(goods[-1].code, goods[-1].quantity)]
        elif order.trouble == "refunded":
            back = [(line.code, 1) for line in [_first_sold(goods)] if line is not None]
        else:
            back = []
        for code, quantity in back:
            left[code] += quantity
    return {code: 0 if code in none_left else left[code] for code in sorted(left)}


class _Sold(NamedTuple):
    """The sums of one document."""

    document: Document
    lines: int
    total: int
    vat: int
    goods: frozenset[str]
    """SKUs that need stock."""


class _Line(NamedTuple):
    """A row of goods."""

    place: int
    """Among the rows of its document, from 0."""
    code: str
    quantity: int
    pence: int


def _sold(document: Document) -> _Sold:
    codes = [row.stock_code.upper() for row in document.rows]
    shipping_rows = sum(code in _SHIPPING for code in codes)
    total = sum(_row_pence(row) for row in document.rows)  # shipping is charged like a line, only elsewhere
    return _Sold(
        document=document,
        lines=len(codes) - shipping_rows or len(codes),
        total=total,
        vat=_vat(document, total),
        goods=frozenset(codes) - _SHIPPING - _SERVICES,
    )


def _row_pence(row: Row) -> int:
    """floor(x + 1/2) of the exact fraction; nothing in an order is negative."""
    pounds, per = row.unit_price.as_integer_ratio()
    return (200 * row.quantity * pounds + per) // (2 * per)


def _goods(document: Document) -> list[_Line]:
    lines = (_Line(n, row.stock_code.upper(), row.quantity, _row_pence(row)) for n, row in enumerate(document.rows))
    return [line for line in lines if line.code not in _SHIPPING | _SERVICES]


def _piece(line: _Line) -> int:
    """The price of one piece of a line, pence."""
    return (2 * line.pence + line.quantity) // (2 * line.quantity)


def _first_sold(goods: Iterable[_Line]) -> _Line | None:
    """The first line of which a piece costs anything."""
    for line in goods:
        if _piece(line):
            return line
    return None


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


def _expected(
    turn: int, n: int, sold: Sequence[_Sold], none_left: set[str], store_id: str, with_stripe: bool
) -> Expected:
    order = sold[n]
    number = order.document.invoice_no
    external_id = number if turn == 0 else f"{number}-{turn + 1}"
    order_id = _order_id(store_id, external_id)
    trouble = _trouble(order, order_id, none_left)
    end, money, changes, vats = _ENDS[trouble](order)
    card = _card(order, order_id)
    return Expected(
        order_id, external_id, order.lines, order.total, order.vat, trouble, end, money, changes, *vats,
        card, _by_card(order, card, trouble, money), _gateway(order, order_id, with_stripe),
    )  # fmt: skip


def _card(order: _Sold, order_id: str) -> int:
    """One order in eight has one: for all of it if nothing goes wrong and the number is even, else for the smaller half."""
    head, second, *_ = order_id.split("-")
    if second[-1] not in "08":
        return 0
    number = int(head, 16) % 100
    return order.total if number > 27 and number % 2 == 0 else order.total // 2


def _gateway(order: _Sold, order_id: str, with_stripe: bool) -> str:
    """Half of the orders, and those whose trouble the test gateway makes, are paid there."""
    head, _, third, *_ = order_id.split("-")
    if int(head, 16) % 100 < 12:
        return "test"
    if third[-1] in "0123":
        return "stripe" if with_stripe and order.total < 10**8 else "test"
    return {"4": "manual", "5": "manual", "6": "marketplace", "7": "marketplace"}.get(third[-1], "test")


def _by_card(order: _Sold, card: int, trouble: str, money: Money) -> int:
    """The card pays each line by what it costs. What goes back of one line is the gateway's first, then the card's."""
    if trouble in ("out_of_stock", "declined", "cancelled"):
        return 0
    if trouble not in ("refunded", "line_cancelled"):
        return card
    goods = _goods(order.document)
    line = goods[-1] if trouble == "line_cancelled" else _first_sold(goods)
    assert line is not None
    of_line = _share(order, card, line.place)[1]
    return card - sorted((0, money.refunded_minor - (line.pence - of_line), of_line))[1]


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
    if order.total == 0 or group > 6:
        return ""
    trouble = ("declined", "late", "timed_out", "cancelled", "refunded", "line_cancelled", "edited")[group]
    if group < 4:
        return trouble
    goods = _goods(order.document)
    possible = sum(line.pence for line in goods[:-1]) > 0 if group == 5 else _first_sold(goods) is not None
    return trouble if possible else ""


# -- ends: stock is reserved before money is authorized; capture follows approval at once, and each capture its invoice ----

_End = tuple[End, Money, Changes, tuple[int, int]]
"""How an order ends, what moved, and (VAT invoiced, VAT credited)."""


def _out_of_stock(order: _Sold) -> _End:
    return "cancelled:out_of_stock", Money(), Changes(), (0, 0)


def _declined(order: _Sold) -> _End:
    return "cancelled:declined", Money(), Changes(), (0, 0)


def _completed(order: _Sold) -> _End:
    return "completed", _paid(order.total), Changes(), (order.vat, 0)


def _cancelled(order: _Sold) -> _End:
    money = _paid(order.total)._replace(refunded_minor=order.total, credited_minor=order.total)
    return "cancelled:customer", money, Changes(credit_notes=1), (order.vat, order.vat)


def _refunded(order: _Sold) -> _End:
    """A piece of the first line that costs something. If that was everything, the order is cancelled by it."""
    line = _first_sold(_goods(order.document))
    assert line is not None
    back = _piece(line)
    money = _paid(order.total)._replace(refunded_minor=back, credited_minor=back)
    changes = Changes(refunds=1, refunds_minor=back, credit_notes=1)
    end: End = "cancelled:refunded" if back == order.total else "completed"
    vat = _line_vat(order, line.place)
    return end, money, changes, (order.vat, (2 * vat * back + line.pence) // (2 * line.pence))


def _line_cancelled(order: _Sold) -> _End:
    """The last line of goods; nothing goes back for one that costs nothing."""
    line = _goods(order.document)[-1]
    back, one = line.pence, int(line.pence > 0)
    money = _paid(order.total)._replace(refunded_minor=back, credited_minor=back)
    changes = Changes(1, 0, 1, back, one, back, one)
    return "completed", money, changes, (order.vat, _line_vat(order, line.place))


def _edited(order: _Sold) -> _End:
    """One piece more of the first line that costs something: a second authorization, capture and invoice."""
    line = _first_sold(_goods(order.document))
    assert line is not None
    more = _piece(line)
    vat = order.vat + _vat(order.document, more)
    return "completed", _paid(order.total + more), Changes(edits=1, added_minor=more), (vat, 0)


_ENDS: Final[Mapping[str, Callable[[_Sold], _End]]] = {
    "": _completed, "late": _completed, "timed_out": _completed, "out_of_stock": _out_of_stock, "declined": _declined,
    "cancelled": _cancelled, "refunded": _refunded, "line_cancelled": _line_cancelled, "edited": _edited,
}  # fmt: skip


def _paid(pence: int) -> Money:
    return Money(authorized_minor=pence, captured_minor=pence, invoiced_minor=pence)


def _line_vat(order: _Sold, place: int) -> int:
    """The VAT of one row of an invoice: the order's net is spread over rows and shipping."""
    pence, net = _share(order, order.total - order.vat, place)
    return pence - net


def _share(order: _Sold, whole: int, place: int) -> tuple[int, int]:
    """The pence of a row, and its share of an amount that is spread over rows and shipping by largest remainder."""
    rows = [(n, _row_pence(row), row.stock_code.upper() in _SHIPPING) for n, row in enumerate(order.document.rows)]
    amounts = {n: pence for n, pence, is_shipping in rows if not is_shipping}
    amounts[len(rows)] = sum(pence for _, pence, is_shipping in rows if is_shipping)
    shares = {n: whole * pence // order.total for n, pence in amounts.items()}
    odd = whole - sum(shares.values())
    for n in sorted(shares, key=lambda n: (-(whole * amounts[n] % order.total), n))[:odd]:
        shares[n] += 1
    return amounts[place], shares[place]
