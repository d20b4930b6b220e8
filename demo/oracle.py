"""How every order of the run must end, and what money and goods must have moved, computed from the file alone.

It deliberately shares no code with `retail`, `trouble`, `changes` or a service, except the reading of cells. Sums, rounding,
VAT, ids, trouble and changes are computed here a second time, in another way and in whole numbers.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from uuid import UUID

from demo.expected import Changes, End, Expected, Money
from demo.oracle_payment import by_card_of, card_of, gateway_of, prepaid_of
from demo.oracle_sums import Sold, first_sold, goods_of, line_vat_of, piece_of, sums_of, vat_of
from demo.source import Book

_NAMESPACE: Final = UUID("b4f1c1a6-5d0e-5c39-9a43-6a1d1a0f7e21")
_REPLACED: Final = (*["replaced_cheaper"] * 3, *["replaced_equal"] * 2, *["replaced_dearer"] * 3)


def expect(book: Book, store_id: str, count: int | None = None, *, with_stripe: bool = True) -> list[Expected]:
    """Every order of the run, in the order of sending. count: `ORDERS`, or None for the file's orders once each.

    with_stripe: a server in Stripe's shapes is beside the system; else its orders are paid at the test gateway.
    """
    documents = book.order_documents
    sold = [sums_of(document) for document in documents]
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
    none_left = _zero_stock([sums_of(document) for document in documents])
    left: Counter[str] = Counter()
    for n, order in enumerate(expected):
        goods = goods_of(documents[n % len(documents)])
        left.update(dict.fromkeys((line.code for line in goods), 0))
        if order.end not in ("completed", "cancelled:refunded"):
            back = [(line.code, line.quantity) for line in goods]
        elif order.trouble == "line_cancelled":
            back = [(goods[-1].code, goods[-1].quantity)]
        elif order.trouble == "refunded":
            back = [(line.code, 1) for line in [first_sold(goods)] if line is not None]
        else:
            back = []
        for code, quantity in back:
            left[code] += quantity
    return {code: 0 if code in none_left else left[code] for code in sorted(left)}


def _zero_stock(sold: Sequence[Sold]) -> set[str]:
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
    turn: int, n: int, sold: Sequence[Sold], none_left: set[str], store_id: str, with_stripe: bool
) -> Expected:
    order = sold[n]
    number = order.document.invoice_no
    external_id = number if turn == 0 else f"{number}-{turn + 1}"
    order_id = _order_id(store_id, external_id)
    trouble = _trouble(order, order_id, none_left)
    end, money, changes, vats = _ENDS[trouble](order)
    card, gateway = card_of(order, order_id), gateway_of(order, order_id, with_stripe)
    return Expected(
        order_id, external_id, order.lines, order.total, order.vat, trouble, end, money, changes, *vats,
        card, by_card_of(order, card, trouble, money), gateway, prepaid_of(order, order_id, trouble, gateway, card),
    )  # fmt: skip


def _order_id(store_id: str, external_id: str) -> str:
    """A name-based UUID (version 5), by hand: SHA-1 over namespace and name, then version and variant bits."""
    name = f"{store_id}|online-retail|demo|{external_id}"
    digest = bytearray(hashlib.sha1(_NAMESPACE.bytes + name.encode("utf-8"), usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    return str(UUID(bytes=bytes(digest)))


def _trouble(order: Sold, order_id: str, none_left: set[str]) -> str:
    if not order.goods.isdisjoint(none_left):
        return "out_of_stock"
    number = int(order_id[:8], 16) % 100
    if order.total == 0 or number > 35:
        return ""
    by_fours = ("declined", "late", "timed_out", "cancelled", "refunded", "line_cancelled", "edited")
    trouble = by_fours[number // 4] if number < 28 else _REPLACED[number - 28]
    if number < 16:
        return trouble
    goods = goods_of(order.document)
    possible = sum(line.pence for line in goods[:-1]) > 0 if 20 <= number < 24 else first_sold(goods) is not None
    return trouble if possible else ""


# -- ends: stock is reserved before money is authorized; capture follows approval at once, and each capture its invoice ----

_End = tuple[End, Money, Changes, tuple[int, int]]
"""How an order ends, what moved, and (VAT invoiced, VAT credited)."""


def _out_of_stock(order: Sold) -> _End:
    return "cancelled:out_of_stock", Money(), Changes(), (0, 0)


def _declined(order: Sold) -> _End:
    return "cancelled:declined", Money(), Changes(), (0, 0)


def _completed(order: Sold) -> _End:
    return "completed", _paid(order.total), Changes(), (order.vat, 0)


def _cancelled(order: Sold) -> _End:
    money = _paid(order.total)._replace(refunded_minor=order.total, credited_minor=order.total)
    return "cancelled:customer", money, Changes(credit_notes=1), (order.vat, order.vat)


def _refunded(order: Sold) -> _End:
    """A piece of the first line that costs something. If that was everything, the order is cancelled by it."""
    line = first_sold(goods_of(order.document))
    assert line is not None
    back = piece_of(line)
    money = _paid(order.total)._replace(refunded_minor=back, credited_minor=back)
    changes = Changes(refunds=1, refunds_minor=back, credit_notes=1)
    end: End = "cancelled:refunded" if back == order.total else "completed"
    vat = line_vat_of(order, line.place)
    return end, money, changes, (order.vat, (2 * vat * back + line.pence) // (2 * line.pence))


def _line_cancelled(order: Sold) -> _End:
    """The last line of goods; nothing goes back for one that costs nothing."""
    line = goods_of(order.document)[-1]
    back, one = line.pence, int(line.pence > 0)
    money = _paid(order.total)._replace(refunded_minor=back, credited_minor=back)
    changes = Changes(1, 0, 1, back, one, back, one)
    return "completed", money, changes, (order.vat, line_vat_of(order, line.place))


def _edited(order: Sold) -> _End:
    """One piece more of the first line that costs something: a second authorization, capture and invoice."""
    line = first_sold(goods_of(order.document))
    assert line is not None
    more = piece_of(line)
    vat = order.vat + vat_of(order.document, more)
    return "completed", _paid(order.total + more), Changes(edits=1, added_minor=more), (vat, 0)


def _replaced(order: Sold, cost: Callable[[int], int]) -> _End:
    """A piece of the first line that costs something is credited, and what replaces it has an invoice of its own, for what the piece
    has paid of it. What it costs more is a second authorization, capture and invoice."""
    line = first_sold(goods_of(order.document))
    assert line is not None
    piece = piece_of(line)
    new = cost(piece)
    paid, more, back = min(piece, new), max(new - piece, 0), max(piece - new, 0)
    money = Money(
        authorized_minor=order.total + more, captured_minor=order.total + more, refunded_minor=back,
        invoiced_minor=order.total + new, credited_minor=piece,
    )  # fmt: skip
    credited = (2 * line_vat_of(order, line.place) * piece + line.pence) // (2 * line.pence)
    invoiced = order.vat + vat_of(order.document, paid) + vat_of(order.document, more)
    return "completed", money, Changes(credit_notes=1, reversals=1, reversed_minor=piece), (invoiced, credited)


def _replaced_cheaper(order: Sold) -> _End:
    return _replaced(order, lambda piece: piece - piece // 2)


def _replaced_equal(order: Sold) -> _End:
    return _replaced(order, lambda piece: piece)


def _replaced_dearer(order: Sold) -> _End:
    return _replaced(order, lambda piece: piece + 100)


_ENDS: Final[Mapping[str, Callable[[Sold], _End]]] = {
    "": _completed, "late": _completed, "timed_out": _completed, "out_of_stock": _out_of_stock, "declined": _declined,
    "cancelled": _cancelled, "refunded": _refunded, "line_cancelled": _line_cancelled, "edited": _edited,
    "replaced_cheaper": _replaced_cheaper, "replaced_equal": _replaced_equal, "replaced_dearer": _replaced_dearer,
}  # fmt: skip


def _paid(pence: int) -> Money:
    return Money(authorized_minor=pence, captured_minor=pence, invoiced_minor=pence)
