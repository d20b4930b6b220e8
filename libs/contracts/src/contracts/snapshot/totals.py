"""The totals of an order, and the checks that a priced order adds up. Every check raises ValueError."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from contracts.base import Frozen, IfStated, Minor, MinorUnsigned
from contracts.money import canonical, split, vat_by_rate
from contracts.snapshot.lines import SHIPPABLE, Line
from contracts.snapshot.taxes import Taxes, open_rate, seller_taxes


class Totals(Frozen):
    """Sums over the order as it was sold, cancelled pieces included: lines + shipping - discount (+ tax if net) = grand."""

    items_minor: IfStated[MinorUnsigned] = None
    """Sum of `line_total_minor`."""
    shipping_minor: IfStated[MinorUnsigned] = None
    shipping_tax: Taxes = ()
    """If no tax is stated, shipping has the rates of the goods with the largest total."""
    discount_minor: IfStated[MinorUnsigned] = None
    tax_minor: IfStated[MinorUnsigned] = None
    """All tax of the seller, on lines and shipping. Required with net prices. What the stated amounts leave of it is the
    tax of the lines that state only a rate."""
    grand_minor: IfStated[MinorUnsigned] = None
    """Without the tax that the marketplace remits."""
    remitted_minor: IfStated[MinorUnsigned] = None
    """Tax and fees that the marketplace collects from the buyer and remits itself: on top of `grand_minor`."""
    buyer_paid_minor: IfStated[MinorUnsigned] = None
    """grand + remitted."""
    due_minor: IfStated[Minor] = None
    """The amount that the buyer still has to pay. Informs only."""
    commission_minor: IfStated[Minor] = None
    """The marketplace's commission on the order as a whole, besides those of the lines."""


def discounted(lines: Sequence[Line], totals: Totals) -> list[int]:
    """Returns what each line costs after its own discount and its share of the order's discount beyond that.

    The share goes by largest remainder to the lines that are goods; to fees and tips only if goods cost too little.
    """
    after = [(line.line_total_minor or 0) - line.discount_minor for line in lines]
    rest = (totals.discount_minor or 0) - sum(line.discount_minor for line in lines)
    if not rest or not any(after):
        return after
    weights = [amount if line.kind in SHIPPABLE else 0 for line, amount in zip(lines, after, strict=True)]
    if sum(weights) < rest:
        weights = after
    return [amount - share for amount, share in zip(after, split(rest, weights), strict=True)]


def check(lines: Sequence[Line], totals: Totals, net: bool) -> None:
    """Raises ValueError unless a priced order adds up."""
    _check_grand(lines, totals, net)
    _check_remitted(lines, totals)
    cancelled, taxed = False, totals.tax_minor is not None or bool(totals.shipping_tax)
    for line in lines:  # most orders state neither a cancelled nor a tax amount
        cancelled = cancelled or line.cancelled_minor is not None
        for tax in line.tax:
            taxed = taxed or tax.amount_minor is not None
    if cancelled:
        _check_cancelled(lines, discounted(lines, totals))
    if taxed:
        _check_tax(lines, totals, net)


def _check_grand(lines: Sequence[Line], totals: Totals, net: bool) -> None:
    items = sum(line.line_total_minor or 0 for line in lines)
    shipping, discount = totals.shipping_minor or 0, totals.discount_minor or 0
    if totals.items_minor is not None and totals.items_minor != items:
        raise ValueError(f"totals.items_minor is {totals.items_minor}, the lines add up to {items}")
    tax = 0
    if net:
        if totals.tax_minor is None:
            raise ValueError("totals.tax_minor is required when price_basis is net")
        tax = totals.tax_minor
    if items + shipping - discount + tax != totals.grand_minor:
        raise ValueError(
            f"totals.grand_minor is {totals.grand_minor}, but lines {items} + shipping {shipping} - discount {discount}"
            f" + tax {tax} = {items + shipping - discount + tax}; totals include cancelled pieces, which"
            " lines[].cancelled_minor takes off, and leave out tax that the marketplace remits"
        )
    for name, parts, total in (
        ("discount_minor", sum(line.discount_minor for line in lines), discount),
        ("shipping_minor", sum(line.shipping_minor for line in lines), shipping),
    ):
        if parts > total:
            raise ValueError(f"lines[].{name} add up to {parts}, more than totals.{name} {total}")
    for line in lines:
        if line.discount_minor > (line.line_total_minor or 0):
            raise ValueError(f"line {line.external_line_id}: discount_minor exceeds line_total_minor")
    if discount > items:
        raise ValueError(f"totals.discount_minor {discount} exceeds the lines' total {items}")


def _check_remitted(lines: Sequence[Line], totals: Totals) -> None:
    if totals.remitted_minor is None and totals.buyer_paid_minor is None:
        return
    entries = [tax for line in lines for tax in line.tax] + list(totals.shipping_tax)
    parts = sum(tax.amount_minor or 0 for tax in entries if tax.collected_by == "marketplace")
    remitted = parts if totals.remitted_minor is None else totals.remitted_minor
    if parts > remitted:
        raise ValueError(
            f"taxes collected by the marketplace add up to {parts}, more than totals.remitted_minor {remitted}"
        )
    paid = (totals.grand_minor or 0) + remitted
    if totals.buyer_paid_minor not in (None, paid):
        raise ValueError(
            f"totals.buyer_paid_minor is {totals.buyer_paid_minor}, but grand {totals.grand_minor} + remitted {remitted} = {paid}"
        )


def _check_cancelled(lines: Sequence[Line], after: Sequence[int]) -> None:
    """after: what each line costs after discount."""
    for line, costs in zip(lines, after, strict=True):
        if line.cancelled_minor is None:
            continue
        if line.cancelled_minor > costs:
            raise ValueError(
                f"line {line.external_line_id}: cancelled_minor {line.cancelled_minor} exceeds the {costs} that the line"
                " costs after discount"
            )
        if not line.pieces and line.cancelled_minor != costs:
            raise ValueError(
                f"line {line.external_line_id}: no piece is left, so cancelled_minor must be {costs}, all that the line"
                f" costs after discount, and not {line.cancelled_minor}"
            )


def _check_tax(lines: Sequence[Line], totals: Totals, net: bool) -> None:
    if not totals.shipping_minor and any(tax.amount_minor for tax in totals.shipping_tax):
        raise ValueError("totals.shipping_tax states an amount, but there is no totals.shipping_minor")
    rows = [
        (f"line {line.external_line_id}", amount, line.tax, line.quantity.ordered)
        for line, amount in zip(lines, discounted(lines, totals), strict=True)
    ]
    if shipping := totals.shipping_minor or 0:
        rows.append(("totals.shipping_tax", shipping, totals.shipping_tax, 1))
    stated, rated, unstated, slack = 0, [], False, 0
    for name, amount, all_taxes, pieces in rows:
        slack += pieces + 1  # a marketplace may round each piece, or each line, or only the total
        taxes = seller_taxes(all_taxes)
        if taxes is None:
            unstated = True
            continue
        amounts = sum(tax.amount_minor or 0 for tax in taxes)
        if amounts > amount and not net:
            raise ValueError(f"{name}: taxes of {amounts} exceed the gross amount {amount} that contains them")
        stated += amounts
        if Decimal(rate := open_rate(taxes)):
            rated.append((amount - (0 if net else amounts), canonical(rate)))
    if totals.tax_minor is None:
        return
    left = totals.tax_minor - stated
    if left < -slack or (left > slack and not rated and not unstated):
        raise ValueError(
            f"totals.tax_minor is {totals.tax_minor}, but lines[].tax and totals.shipping_tax add up to {stated}; tax that"
            " the marketplace collects is in totals.remitted_minor"
        )
    if not net and rated and not unstated:
        computed = sum(vat_by_rate(rated, "gross").values())
        if abs(left - computed) > slack or left > sum(amount for amount, _ in rated):
            raise ValueError(
                f"totals.tax_minor is {totals.tax_minor}, but amounts and rates of lines[].tax and totals.shipping_tax make"
                f" {stated + computed}"
            )
