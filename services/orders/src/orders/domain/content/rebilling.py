"""How a document describes and taxes the lines that replace reversed ones.

Payments has no rates of VAT: a new line has the rate that it states, else that of the line that it replaces. A line without a
rate has the tax of that line, in proportion to its amount.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction

from contracts import payments
from contracts.base import SHIPPING_LINE
from contracts.invoicing import InvoiceLineWanted, TaxPart
from contracts.money import round_half_up, split
from contracts.snapshot import OrderContent
from orders.domain.content.amounts import payable
from orders.domain.content.facts import CapturedLine


def terms(content: OrderContent, earlier: Iterable[InvoiceLineWanted]) -> dict[str, InvoiceLineWanted]:
    """line id -> how a document describes it. earlier: the lines of earlier reversals;
    of two descriptions of a line the first counts."""
    found = {
        line.line_id: InvoiceLineWanted(
            line_id=line.line_id, sku=line.sku, title=line.title, quantity=line.quantity, amount_minor=line.amount_minor,
            rate=line.rate, vat_minor=line.vat_minor, taxes=line.taxes,
        )
        for line in payable(content)
    }  # fmt: skip
    for line in earlier:
        found.setdefault(line.line_id, line)
    return found


def described(
    described_as: Mapping[str, InvoiceLineWanted], event: payments.Reversed, lines: Iterable[payments.ReplacingLine]
) -> tuple[InvoiceLineWanted, ...]:
    """The new lines of a reversal. Without a line of which neither it nor what it replaces states a title and a rate.

    described_as: as `terms` returns them. A line that names no line that it replaces replaces the first reversed one.
    """
    found = []
    for line in lines:
        origin = described_as.get(line.replaces or event.reversals[0].reverses)
        rate = line.rate or (origin.rate if origin is not None else None)
        title = line.title or (origin.title if origin is not None else None)
        if title is None or (rate is None and origin is None):
            continue
        sku = line.sku or (origin.sku if origin is not None and line.title is None else None)
        own = InvoiceLineWanted(
            line_id=line.line_id, sku=sku, title=title, quantity=line.quantity, amount_minor=line.amount_minor,
            rate=rate, vat_minor=None if rate is not None else 0,
        )  # fmt: skip
        if rate is None:
            assert origin is not None
            own = own.model_copy(update={"vat_minor": _vat(origin, line.amount_minor)})
            own = own.model_copy(update={"taxes": _taxes(origin, own.vat_minor or 0)})
        found.append(own)
    return tuple(found)


def part_of(like: InvoiceLineWanted, line: CapturedLine) -> InvoiceLineWanted:
    """A captured line, described and taxed as another amount of it."""
    quantity = 1 if line.line_id == SHIPPING_LINE else line.quantity
    shown = {"line_id": line.line_id, "quantity": quantity, "amount_minor": line.amount_minor}
    if like.rate is not None:
        return like.model_copy(update=shown | {"vat_minor": None, "taxes": ()})
    vat = _vat(like, line.amount_minor)
    return like.model_copy(update=shown | {"vat_minor": vat, "taxes": _taxes(like, vat)})


def _vat(like: InvoiceLineWanted, amount_minor: int) -> int:
    """The tax in an amount that is taxed as that of a line without a rate, in minor units."""
    if not like.amount_minor:
        return 0
    return round_half_up(Fraction((like.vat_minor or 0) * amount_minor, like.amount_minor))


def _taxes(like: InvoiceLineWanted, vat_minor: int) -> tuple[TaxPart, ...]:
    shares = (
        split(vat_minor, [tax.vat_minor for tax in like.taxes]) if like.taxes and vat_minor else [0] * len(like.taxes)
    )
    return tuple(tax.model_copy(update={"vat_minor": share}) for tax, share in zip(like.taxes, shares, strict=True))
