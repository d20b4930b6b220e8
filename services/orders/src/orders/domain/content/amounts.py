"""What each line of an order costs: discount, cancelled pieces and taxes taken to its lines, exact to the minor unit.

The rows of `payable` are what is authorized, captured and invoiced: the part of each line that still counts. Stated taxes stay as they are.
A tax that is stated only in total is shared by the lines' rates; without any amount, a gross line's VAT is left to the invoice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from contracts.base import SHIPPING_LINE
from contracts.invoicing import TaxPart
from contracts.money import canonical, rate_of, split, vat_by_rate, vat_in_gross, vat_on_net
from contracts.payments import MoneyLine
from contracts.snapshot import SHIPPABLE, Address, Line, OrderContent, Tax, open_rate, seller_taxes


class Payable(NamedTuple):
    """A line as it is authorized, captured and invoiced. `amount_minor` includes tax."""

    line_id: str
    sku: str | None
    title: str
    quantity: int
    """Pieces; 0 for the shipping charge."""
    amount_minor: int
    rate: str | None
    """Null: several taxes, or none fits the stated VAT."""
    vat_minor: int | None
    """The tax in the amount; null: the invoice computes it from the rate."""
    taxes: tuple[TaxPart, ...]
    """The parts of `vat_minor` where there are several."""
    ships: bool
    money: MoneyLine
    """The same as it is authorized and, at once and in full, captured."""


class Amounts(NamedTuple):
    lines: tuple[Payable, ...]
    untaxed: tuple[str, ...]
    """Ids of lines that cost something and have no tax."""


def is_ours(content: OrderContent, line: Line) -> bool:
    """Whether the line is goods that the merchant ships, pieces left or not."""
    if not line.requires_shipping or line.kind not in SHIPPABLE:
        return False
    return (line.fulfilled_by or content.fulfilled_by) == "merchant"


def ships(content: OrderContent, line: Line) -> bool:
    return is_ours(content, line) and line.pieces > 0


def ships_anything(content: OrderContent) -> bool:
    return any(ships(content, line) for line in content.lines)


def addresses(content: OrderContent) -> list[Address | None]:
    """Returns the different addresses that the lines ship to; None: not stated."""
    found: list[Address | None] = []
    for line in content.lines:
        if ships(content, line) and (address := line.ship_to or content.ship_to) not in found:
            found.append(address)
    return found


def destination(content: OrderContent) -> Address | None:
    """Returns the address of the shipments: that of the lines, if all that ship have the same one, else the order's."""
    found = addresses(content)
    return found[0] if len(found) == 1 else content.ship_to


def payable(content: OrderContent) -> tuple[Payable, ...]:
    """The lines of which pieces are left, and one for the shipping charge if there is one. The order must be priced."""
    return amounts(content).lines


def grand_minor(content: OrderContent) -> int | None:
    """The price of the whole order; None until every price is stated."""
    return sum(line.amount_minor for line in payable(content)) if content.priced else None


_AT_HAND_MAX = 1_000
_at_hand: dict[int, tuple[OrderContent, Amounts]] = {}


def amounts(content: OrderContent) -> Amounts:
    """Computed once while the same (immutable) content is at hand: an order needs it at most of its steps."""
    known = _at_hand.get(id(content))
    if known is None or known[0] is not content:
        if len(_at_hand) >= _AT_HAND_MAX:
            _at_hand.clear()
        known = _at_hand[id(content)] = (content, _compute(content))
    return known[1]


@dataclass(slots=True)
class _Row:
    """A line, or the shipping charge, before net prices are made gross."""

    line_id: str
    sku: str | None
    title: str
    quantity: int
    is_goods: bool
    ships: bool
    sold: int
    """The price of all pieces ordered, after discount."""
    counts: int
    """The part of `sold` that is not cancelled."""
    taxes: tuple[Tax, ...] | None
    """Null: nothing is stated."""
    vats: Sequence[int] | None = None
    """What each of `taxes` comes to on `sold`; null: left to the invoice."""


def _compute(content: OrderContent) -> Amounts:
    net = content.price_basis == "net"
    rows, unknown = _taxed(content)
    lines = tuple(_payable(row, net) for row in rows if row.quantity or row.counts)
    untaxed = {row.line_id for row in unknown}
    return Amounts(lines, tuple(line.line_id for line in lines if line.amount_minor and line.line_id in untaxed))


def _taxed(content: OrderContent) -> tuple[list[_Row], list[_Row]]:
    """The rows of an order with their taxes, and those whose tax is not stated and does not follow."""
    net, total = content.price_basis == "net", content.totals.tax_minor
    rows = _rows(content)
    if rows and rows[-1].line_id == SHIPPING_LINE:
        *goods, shipping = rows
        if shipping.taxes is None and (total is None or not all(map(_is_stated, goods))):
            shipping.taxes = _taxes_of_goods(goods, net)
    if total is None:
        unknown = [row for row in rows if row.taxes is None]
        for row in rows:
            if row.taxes is not None and (len(row.taxes) != 1 or row.taxes[0].amount_minor is not None):
                row.vats = _vats(row)
    else:
        unknown = _share_total(rows, total, net)
    if content.tax_collection.deemed_supplier:
        for row in unknown:  # the marketplace owes the tax
            row.taxes, row.vats = row.taxes or (), row.vats or ()
        unknown = []
    return rows, unknown


def taxes_of_a_charge(content: OrderContent) -> tuple[Tax, ...]:
    """The taxes of a charge of which none is stated: as shipping, it has the rates of the goods with the largest total. Empty if
    none of theirs is stated."""
    rows, _ = _taxed(content)
    net = content.price_basis == "net"
    return _taxes_of_goods([row for row in rows if row.line_id != SHIPPING_LINE], net) or ()


def itemized(content: OrderContent) -> OrderContent:
    """The same order with its whole discount, and every tax that is an amount, stated on its lines and its shipping charge.

    What is payable of it stays the same, and a change of one line then changes the amount of no other one.
    """
    rows, _ = _taxed(content)
    lines = tuple(
        line.model_copy(
            update={"discount_minor": (line.line_total_minor or 0) - row.sold, "tax": _with_amounts(line.tax, row)}
        )
        for line, row in zip(content.lines, rows, strict=False)
    )
    totals: dict[str, object] = {"discount_minor": sum(line.discount_minor for line in lines)}
    if rows and rows[-1].line_id == SHIPPING_LINE:
        totals["shipping_tax"] = _with_amounts(content.totals.shipping_tax, rows[-1])
    totals["tax_minor"] = sum(sum(row.vats or ()) for row in rows) if content.price_basis == "net" else None
    return content.model_copy(update={"lines": lines, "totals": content.totals.model_copy(update=totals)})


def _with_amounts(stated: tuple[Tax, ...], row: _Row) -> tuple[Tax, ...]:
    """The taxes of a row, the seller's with their amounts where these do not follow from the rate on the invoice."""
    if not row.taxes:
        return stated
    vats: Sequence[int | None] = row.vats or [tax.amount_minor for tax in row.taxes]
    ours = (tax.model_copy(update={"amount_minor": vat}) for tax, vat in zip(row.taxes, vats, strict=True))
    return (*ours, *(tax for tax in stated if tax.collected_by == "marketplace"))


def _rows(content: OrderContent) -> list[_Row]:
    shipping = shipping_counts = content.totals.shipping_minor or 0
    rows = []
    for line, sold in zip(content.lines, content.discounted(), strict=True):
        pieces = line.pieces
        rows.append(
            _Row(
                line.external_line_id, line.sku, line.title or line.sku or line.external_line_id, pieces,
                line.kind == "goods", ships(content, line), sold, _counts(line, pieces, sold), seller_taxes(line.tax),
            )
        )  # fmt: skip
        if not pieces:
            shipping_counts -= line.shipping_minor
    if shipping:
        taxes = seller_taxes(content.totals.shipping_tax)
        rows.append(_Row(SHIPPING_LINE, None, "Shipping", 0, False, False, shipping, shipping_counts, taxes))
    return rows


def discounts(content: OrderContent) -> list[int]:
    """The discount on the pieces that are left of each line, its share of the order's discount included."""
    found = []
    for line, sold in zip(content.lines, content.discounted(), strict=True):
        discount, counts = (line.line_total_minor or 0) - sold, _counts(line, line.pieces, sold)
        found.append(split(discount, [counts, sold - counts])[0] if sold else discount if line.pieces else 0)
    return found


def _counts(line: Line, pieces: int, sold: int) -> int:
    """What is still to be paid of a line. An odd minor unit goes to the pieces that are left if the halves are equal."""
    if not pieces:
        return 0
    if line.cancelled_minor is not None:
        return sold - line.cancelled_minor
    return split(sold, [pieces, line.quantity.cancelled])[0] if line.quantity.cancelled else sold


def _payable(row: _Row, net: bool) -> Payable:
    """The row with its tax, as far as it counts: a stated tax shrinks with the amount that it is on."""
    amount, vat = row.counts, None
    if row.vats is not None:
        vat = sum(row.vats)
        if row.counts != row.sold:
            vat = split(vat, [row.counts, row.sold - row.counts])[0]
        amount += vat if net else 0
    rate: str | None = None
    parts: tuple[TaxPart, ...] = ()
    if row.taxes is not None and len(row.taxes) < 2:
        rate = _rate(row, 0, net) if row.taxes else "0"
    elif row.vats is not None and vat is not None:
        shares = split(vat, row.vats) if vat else [0] * len(row.vats)
        parts = tuple(TaxPart(rate=_rate(row, n, net), vat_minor=share) for n, share in enumerate(shares))
    money = MoneyLine(line_id=row.line_id, quantity=row.quantity, amount_minor=amount)
    return Payable(row.line_id, row.sku, row.title, row.quantity, amount, rate, vat, parts, row.ships, money)


# -- taxes ------------------------------------------------------------------------------------------------------------


def _is_stated(row: _Row) -> bool:
    """Whether the amount of every tax is stated, or is 0 by its rate."""
    return row.taxes is not None and not Decimal(open_rate(row.taxes))


def _stated_minor(row: _Row) -> int:
    return sum(tax.amount_minor or 0 for tax in row.taxes or ())


def _rate(row: _Row, n: int, net: bool) -> str | None:
    """The rate of the row's nth tax: as stated, or what follows from the amounts."""
    assert row.taxes is not None
    if (stated := row.taxes[n].rate) is not None:
        return stated
    vats = row.vats or [tax.amount_minor or 0 for tax in row.taxes]
    return rate_of(row.sold if net else row.sold - sum(vats), vats[n])


def _taxes_of_goods(rows: Sequence[_Row], net: bool) -> tuple[Tax, ...] | None:
    """The rates of the goods that weigh most (the higher of equals): shipping follows them if nothing is stated of it.

    Without goods, those of the other lines.
    """
    if any(row.is_goods for row in rows):
        rows = [row for row in rows if row.is_goods]
    weights: dict[tuple[str, ...], int] = {}
    for row in rows:
        if (taxes := row.taxes) is not None and (row.quantity or net):
            plain = taxes[0].rate if len(taxes) == 1 else None
            stated = (plain,) if plain else tuple(_rate(row, n, net) or "0" for n in range(len(taxes)))
            rates = tuple(map(canonical, stated))
            weights[rates] = weights.get(rates, 0) + (row.sold if net else row.counts)
    if not weights:
        return None
    heaviest = max(weights, key=lambda rates: (weights[rates], sum(map(Decimal, rates))))
    return tuple(Tax(rate=rate) for rate in heaviest)


def _vats(row: _Row, net: bool = False, open_minor: int | None = None) -> list[int]:
    """What each tax of a row comes to. open_minor: what those without an amount make together; null: what their rates do."""
    taxes = row.taxes or ()
    if open_minor is None:
        open_minor = (vat_on_net if net else vat_in_gross)(
            row.sold - (0 if net else _stated_minor(row)), open_rate(taxes)
        )
    weights = [int(Decimal(tax.rate or 0) * 10_000) if tax.amount_minor is None else 0 for tax in taxes]
    shares = split(open_minor, weights) if any(weights) else [0] * len(taxes)
    return [share if tax.amount_minor is None else tax.amount_minor for tax, share in zip(taxes, shares, strict=True)]


def _share_total(rows: Sequence[_Row], total: int, net: bool) -> list[_Row]:
    """Give every row its tax, so that all add up to the stated total (a gross order's stated amounts may be a few minor
    units beside it). Returns the rows whose tax does not follow from it.

    Rows with a rate take what their rates make. A row of which nothing is stated takes the rest, if it is the only one.
    """
    unstated = [row for row in rows if row.taxes is None]
    unstated = [row for row in unstated if row.sold] or unstated
    rated = [row for row in rows if not _is_stated(row) and row.taxes is not None]
    bases = [row.sold - (0 if net else _stated_minor(row)) for row in rated]
    rates = [canonical(open_rate(row.taxes or ())) for row in rated]
    by_rate = vat_by_rate(zip(bases, rates, strict=True), "net" if net else "gross")
    left = max(total - sum(map(_stated_minor, rows)), 0)
    rest = max(left - sum(by_rate.values()), 0) if unstated else 0
    follows = left - rest == sum(by_rate.values()) and (
        not rest or (len(unstated) == 1 and (net or rest <= unstated[0].sold))
    )
    unknown = unstated if unstated and not follows else []

    for row in rows:
        if row.taxes is not None and row not in rated:
            row.vats = _vats(row, net)
    if not unknown or net:  # net: also without a stated tax, so that the amounts add up to the stated total
        for row, vat in zip(unstated, _split(rest, [row.sold for row in unstated]), strict=True):
            row.taxes, row.vats = (Tax(amount_minor=vat),), (vat,)
    for row, vat in zip(rated, _vats_of_rates(bases, rates, by_rate, left - rest, net), strict=True):
        row.vats = _vats(row, net, vat)
    sums = [sum(row.vats or ()) for row in rows]
    if net and sum(sums) != total:  # the stated amounts are rounded otherwise than the total, which the buyer has paid
        for row, vat in zip(rows, _split(total, sums), strict=True):
            row.vats = _split(vat, row.vats or ())
    return unknown


def _vats_of_rates(
    bases: Sequence[int], rates: Sequence[str], by_rate: Mapping[str, int], total: int, net: bool
) -> list[int]:
    """The total shared over amounts by their rates; within each rate, where the VAT computed once per rate adds up to it."""
    if total == sum(by_rate.values()):
        shares = {
            rate: iter(_split(vat, [base for base, r in zip(bases, rates, strict=True) if r == rate]))
            for rate, vat in by_rate.items()
        }
        return [next(shares[rate]) for rate in rates]
    percents = [Fraction(rate) for rate in rates]
    exact = [base * percent / (100 + (0 if net else percent)) for base, percent in zip(bases, percents, strict=True)]
    vats = _split(total, [int(vat * 1_000_000) for vat in exact])
    # A few minor units more than the rates make could exceed a tiny gross amount.
    return vats if net or all(vat <= base for vat, base in zip(vats, bases, strict=True)) else _split(total, bases)


def _split(total: int, weights: Sequence[int]) -> list[int]:
    """As `split`; if nothing weighs anything, the first takes all."""
    return split(total, weights if any(weights) else [int(n == 0) for n in range(len(weights))]) if weights else []
