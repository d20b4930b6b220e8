"""Who pays an order, by the oracle: its gateway, its gift card, and its buyer in a session before it."""

from __future__ import annotations

from demo.expected import Money, Prepaid
from demo.oracle_sums import Sold, first_sold, goods_of, share_of


def card_of(order: Sold, order_id: str) -> int:
    """One order in eight has one: for all of it if nothing goes wrong and the number is even, else for the smaller half."""
    head, second, *_ = order_id.split("-")
    if second[-1] not in "08":
        return 0
    number = int(head, 16) % 100
    return order.total if number > 35 and number % 2 == 0 else order.total // 2


def gateway_of(order: Sold, order_id: str, with_stripe: bool) -> str:
    """Half of the orders, and those whose trouble the test gateway makes, are paid there."""
    head, _, third, *_ = order_id.split("-")
    if int(head, 16) % 100 < 12:
        return "test"
    if third[-1] in "0123":
        return "stripe" if with_stripe and order.total < 10**8 else "test"
    return {"4": "manual", "5": "manual", "6": "marketplace", "7": "marketplace"}.get(third[-1], "test")


def prepaid_of(order: Sold, order_id: str, trouble: str, gateway: str, card: int) -> Prepaid:
    """One in eight of those that a buyer can pay, and every second of these with a pound too much. A declined buyer pays nothing."""
    due, digit, number = order.total - card, order_id.split("-")[3][-1], int(order_id[:8], 16) % 100
    if due == 0 or digit not in ("0", "8") or number < 4 or gateway in ("manual", "marketplace"):
        return Prepaid()
    more = 100 * (digit == "8" and due + 100 < 10**8)
    return Prepaid(1, due + more, due + more if trouble == "out_of_stock" else more)


def by_card_of(order: Sold, card: int, trouble: str, money: Money) -> int:
    """The card pays each line by what it costs. What goes back of one line is the gateway's first, then the card's. A piece that
    is replaced is taken off in the same sequence, and what the card has paid of it, it pays of the cheaper one first."""
    if trouble in ("out_of_stock", "declined", "cancelled"):
        return 0
    if trouble not in ("refunded", "line_cancelled", "replaced_cheaper"):
        return card
    goods = goods_of(order.document)
    line = goods[-1] if trouble == "line_cancelled" else first_sold(goods)
    assert line is not None
    of_line = share_of(order, card, line.place)[1]
    off = money.refunded_minor if trouble != "replaced_cheaper" else money.credited_minor
    of_card = sorted((0, off - (line.pence - of_line), of_line))[1]
    kept = off - money.refunded_minor
    return card - max(of_card - kept, 0)
