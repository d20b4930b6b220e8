"""The VAT of one document: stated taxes as they are; else computed once per rate and spread over the lines. Every sum is exact.

Rounding per line would collect another amount: 3 x 19.99 @ 17 % is 8.71 on the sum, but 8.70 line by line.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import zip_longest
from typing import Final, NamedTuple

from contracts.base import Document
from contracts.invoicing import InvoiceLine, InvoiceLineWanted, LineTax, VatGroup
from contracts.money import canonical, round_half_up, split, vat_in_gross


class Assessed(NamedTuple):
    """Lines sum to what was captured. The groups' VAT sums to the lines' VAT."""

    groups: tuple[VatGroup, ...]
    lines: tuple[InvoiceLine, ...]


def assess(wanted: Sequence[InvoiceLineWanted]) -> Assessed:
    """Lines in the order given, groups in the order of their first line; rates in canonical form.

    A line's gross is what was captured for it. For the lines without stated VAT, the VAT of a rate = round half up
    (G x r / (100 + r)), and its net is spread over them by largest remainder.
    """
    vats = [line.vat_minor for line in wanted]
    by_rate: dict[str, list[int]] = {}
    for place, line in enumerate(wanted):
        if line.vat_minor is None and line.rate is not None:
            by_rate.setdefault(canonical(line.rate), []).append(place)
    for rate, places in by_rate.items():
        amounts = [wanted[place].amount_minor for place in places]
        net = sum(amounts) - vat_in_gross(sum(amounts), rate)
        for place, amount, share in zip(places, amounts, _spread(net, amounts), strict=True):
            vats[place] = amount - share
    lines = tuple(_line(line, vat or 0) for line, vat in zip(wanted, vats, strict=True))
    return Assessed(groups_of(lines), lines)


def _line(wanted: InvoiceLineWanted, vat: int) -> InvoiceLine:
    net = wanted.amount_minor - vat
    return InvoiceLine(
        line_id=wanted.line_id,
        sku=wanted.sku,
        title=wanted.title,
        quantity=wanted.quantity,
        rate=None if wanted.rate is None else canonical(wanted.rate),
        net_minor=net,
        vat_minor=vat,
        gross_minor=wanted.amount_minor,
        taxes=_parts(wanted, net) if wanted.taxes else (),
    )


def _parts(wanted: InvoiceLineWanted, net: int) -> tuple[LineTax, ...]:
    """Each tax with the net that it applies to.

    VAT and rate give a net. If these nets make up the line's, as far as rounded VAT can show, the line is a bundle and each
    tax applies to its own part; a part at 0 % is what the others leave. Else all apply to the whole, like those of a
    state and its county.
    """
    rates = [Fraction(tax.rate or 0) for tax in wanted.taxes]
    nets = [tax.vat_minor * 100 / rate if rate else Fraction(0) for tax, rate in zip(wanted.taxes, rates, strict=True)]
    slack = sum((50 / rate for rate in rates if rate), Fraction(1))
    left = net - sum(nets, Fraction(0))
    zero_rated = [n for n, tax in enumerate(wanted.taxes) if not rates[n] and not tax.vat_minor]
    if zero_rated and left > 0:
        nets[zero_rated[0]], left = left, Fraction(0)
    unrated = any(tax.vat_minor and not rate for tax, rate in zip(wanted.taxes, rates, strict=True))
    bundle = abs(left) <= slack and any(nets) and not unrated
    shares = split(net, [round_half_up(part) for part in nets]) if bundle else [net] * len(nets)
    return tuple(
        LineTax(rate=None if tax.rate is None else canonical(tax.rate), vat_minor=tax.vat_minor, net_minor=share)
        for tax, share in zip(wanted.taxes, shares, strict=True)
    )


def groups_of(lines: Sequence[InvoiceLine]) -> tuple[VatGroup, ...]:
    nets: dict[str | None, int] = {}
    vats: dict[str | None, int] = {}
    for line in lines:
        for tax in line.taxes or (line,):
            nets[tax.rate] = nets.get(tax.rate, 0) + tax.net_minor
            vats[tax.rate] = vats.get(tax.rate, 0) + tax.vat_minor
    return tuple(
        VatGroup(rate=rate, net_minor=net, vat_minor=vats[rate], gross_minor=net + vats[rate])
        for rate, net in nets.items()
    )


class CreditedLine(Document):
    """How much of an invoice's line its credit notes have. Amounts are minor units."""

    quantity: int = 0
    gross_minor: int = 0
    taxes: tuple[tuple[int, int], ...] = ()
    """(VAT, net) of each tax of the line; none before the first credit note."""

    def plus(self, line: InvoiceLine) -> CreditedLine:
        taxes = [(tax.vat_minor, tax.net_minor) for tax in line.taxes]
        sums = [(vat + more[0], net + more[1]) for (vat, net), more in zip_longest(self.taxes, taxes, fillvalue=(0, 0))]
        return CreditedLine(
            quantity=self.quantity + line.quantity, gross_minor=self.gross_minor + line.gross_minor, taxes=tuple(sums)
        )


NOTHING: Final = CreditedLine()


def credited(line: InvoiceLine, before: CreditedLine, quantity: int, amount: int) -> InvoiceLine:
    """The line of a credit note over a part of an invoice's line. `before`: how much of it is credited.

    Its VAT is the share of everything credited so far, rounded, less what was credited before: the credit notes of a line add
    up to it exactly. Raises ValueError if they would exceed it.

    >>> whole = InvoiceLine(line_id="1", title="", quantity=3, rate="23", net_minor=8130, vat_minor=1870, gross_minor=10000)
    >>> first = credited(whole, NOTHING, 1, 3333)
    >>> second = credited(whole, NOTHING.plus(first), 1, 3334)
    >>> [one.vat_minor for one in (first, second, credited(whole, NOTHING.plus(first).plus(second), 1, 3333))]
    [623, 624, 623]
    """
    gross_before = before.gross_minor
    if quantity > line.quantity - before.quantity or amount > line.gross_minor - gross_before:
        raise ValueError(f"line {line.line_id}: more than is left to credit")

    def share(total: int) -> int:
        """What this credit note has of an amount of the line, by gross."""
        if not line.gross_minor:
            return 0
        part = Fraction(total, line.gross_minor)
        return round_half_up(part * (gross_before + amount)) - round_half_up(part * gross_before)

    vat = share(line.vat_minor)
    taxes_before = before.taxes or ((0, 0),) * len(line.taxes)
    vats = _spread(vat, [tax.vat_minor - done for tax, (done, _) in zip(line.taxes, taxes_before, strict=True)])
    nets = [share(tax.net_minor) for tax in line.taxes]
    if sum(tax.net_minor for tax in line.taxes) == line.net_minor:  # each tax applies to its own part of the net
        left = [tax.net_minor - done for tax, (_, done) in zip(line.taxes, taxes_before, strict=True)]
        nets = _spread(amount - vat, left)
    return line.model_copy(
        update={
            "quantity": quantity,
            "net_minor": amount - vat,
            "vat_minor": vat,
            "gross_minor": amount,
            "taxes": tuple(
                tax.model_copy(update={"vat_minor": tax_vat, "net_minor": net})
                for tax, tax_vat, net in zip(line.taxes, vats, nets, strict=True)
            ),
        }
    )


def _spread(total: int, weights: Sequence[int]) -> list[int]:
    """Largest remainder; lines of nothing get nothing."""
    return split(total, weights) if any(weights) else [0] * len(weights)
