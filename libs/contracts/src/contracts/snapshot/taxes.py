"""The taxes of a line and of the shipping charge, and who owes them."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from contracts.base import Flag, Frozen, IfStated, MinorUnsigned, Rate, Text
from contracts.limits import TAXES_MAX


class Tax(Frozen):
    """One of the taxes on a line or on the shipping charge. Several add up.

    A stated amount counts and is never computed again. An amount without a rate gives the rate. An entry with neither
    states nothing. Rates without amounts tax the whole line; a bundle of goods at several rates states amounts.
    """

    rate: IfStated[Rate] = None
    amount_minor: IfStated[MinorUnsigned] = None
    """The tax on the pieces ordered, after discount: contained in a gross amount, on top of a net one."""
    collected_by: Literal["seller", "marketplace"] = "seller"
    """`marketplace`: the marketplace collects and remits this tax. It is in no amount of the lines and in no total but
    `totals.remitted_minor`."""
    kind: IfStated[Text] = None
    """E.g. `vat`, `sales_tax`, `gst`, `recycling_fee`."""
    reference: IfStated[Text] = None
    """The number under which the marketplace remits it."""


Taxes = Annotated[tuple[Tax, ...], Field(max_length=TAXES_MAX)]


class TaxCollection(Frozen):
    deemed_supplier: Flag = False
    """By law the marketplace sold to the buyer: the order gets no invoice of the seller, unless its market states otherwise."""
    scheme: IfStated[Text] = None
    ioss_number: IfStated[Text] = None


def seller_taxes(taxes: tuple[Tax, ...]) -> tuple[Tax, ...] | None:
    """Returns the taxes that the seller owes. Empty: the marketplace remits them all. None: no tax is stated."""
    if len(taxes) == 1 and taxes[0].rate is not None and taxes[0].collected_by == "seller":
        return taxes
    found = tuple(
        tax for tax in taxes if tax.collected_by == "seller" and (tax.rate is not None or tax.amount_minor is not None)
    )
    return found if found or any(tax.collected_by == "marketplace" for tax in taxes) else None


def open_rate(taxes: tuple[Tax, ...]) -> str:
    """Returns the sum of the rates that have no stated amount."""
    rates = [tax.rate for tax in taxes if tax.amount_minor is None and tax.rate is not None]
    return rates[0] if len(rates) == 1 else f"{sum(map(Decimal, rates), Decimal(0)):f}"
