"""What each line of an order costs: the snapshot's totals spread over its lines so that they add up to the penny."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

from contracts.base import SHIPPING_LINE
from contracts.money import split
from contracts.payments import MoneyLine
from contracts.snapshot import Line, OrderContent, highest_rate


class Payable(NamedTuple):
    """A line as it is authorized, captured and invoiced. `amount_minor` includes tax; the amounts add up to the grand total."""

    line_id: str
    sku: str | None
    title: str
    quantity: int
    """Pieces; 0 for the shipping charge."""
    amount_minor: int
    net_minor: int | None
    """With price_basis net."""
    rate: str
    ships: bool
    money: MoneyLine
    """The same as it is authorized and, at once and in full, captured."""


def ships(content: OrderContent, line: Line) -> bool:
    return line.requires_shipping and content.fulfilled_by == "merchant" and line.pieces > 0


def ships_anything(content: OrderContent) -> bool:
    return any(ships(content, line) for line in content.lines)


_AT_HAND_MAX = 1_000
_at_hand: dict[int, tuple[OrderContent, tuple[Payable, ...]]] = {}


def payable(content: OrderContent) -> tuple[Payable, ...]:
    """The lines, and one for the shipping charge if there is one. The order must be priced.

    Reckoned once while the same (immutable) content is at hand: an order asks for it at most of its steps.
    """
    known = _at_hand.get(id(content))
    if known is None or known[0] is not content:
        if len(_at_hand) >= _AT_HAND_MAX:
            _at_hand.clear()
        known = _at_hand[id(content)] = (content, _spread(content))
    return known[1]


def _spread(content: OrderContent) -> tuple[Payable, ...]:
    """Discount beyond the lines' own parts, and with net prices the told tax, are spread by largest remainder; a tax on
    nothing goes to the first line."""
    lines, totals = content.lines, content.totals
    before = [(line.line_total_minor or 0) - line.discount_minor for line in lines]
    rest = (totals.discount_minor or 0) - sum(line.discount_minor for line in lines)
    shares = split(rest, before) if rest and any(before) else [0] * len(lines)
    rows = [
        (line.external_line_id, line.sku, line.title or line.sku or line.external_line_id, line.pieces, amount - share,
         line.rate or "0", ships(content, line))
        for line, amount, share in zip(lines, before, shares, strict=True)
    ]  # fmt: skip
    if totals.shipping_minor:
        rate = next((tax.rate for tax in totals.shipping_tax if tax.rate is not None), None) or highest_rate(content)
        rows.append((SHIPPING_LINE, None, "Shipping", 0, totals.shipping_minor, rate, False))
    taxes: list[int] | None = None
    if content.price_basis == "net":
        weights = [int(amount * Fraction(rate) * 10_000) for _, _, _, _, amount, rate, _ in rows]
        if not any(weights):
            weights = [amount for _, _, _, _, amount, _, _ in rows]
        if not any(weights):
            weights = [int(n == 0) for n in range(len(rows))]
        taxes = split(totals.tax_minor or 0, weights) if rows else []
    spread = []
    for (line_id, sku, title, quantity, amount, rate, goes), tax in zip(rows, taxes or [0] * len(rows), strict=True):
        money = MoneyLine(line_id=line_id, quantity=quantity, amount_minor=amount + tax)
        net = amount if taxes is not None else None
        spread.append(Payable(line_id, sku, title, quantity, money.amount_minor, net, rate, goes, money))
    return tuple(spread)
