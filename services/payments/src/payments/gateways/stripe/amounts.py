"""Stripe's units of money. They differ from ISO 4217 for some currencies (docs.stripe.com/currencies, read in 2026)."""

from __future__ import annotations

from typing import Final

from contracts.money import EXPONENTS, Currency

ZERO_DECIMAL: Final = frozenset(
    ["BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"]
)
"""Whole units. MGA has two decimals in ISO 4217."""
TWO_DECIMAL: Final = frozenset({"ISK", "UGX"})
"""No decimals in ISO 4217, two at Stripe, always 00: 5 ISK are 500."""
THREE_DECIMAL: Final = frozenset({"BHD", "JOD", "KWD", "OMR", "TND"})
"""Thousandths, of which the last digit must be 0."""


class NotChargeable(Exception):
    """Stripe cannot move this amount of this currency. Nothing was requested."""


def to_stripe(amount_minor: int, currency: Currency) -> int:
    """Converts minor units of ISO 4217 to Stripe's. Raises NotChargeable for an amount that Stripe cannot express.

    >>> to_stripe(1999, "EUR"), to_stripe(500, "JPY"), to_stripe(5, "ISK"), to_stripe(5120, "KWD"), to_stripe(500, "MGA")
    (1999, 500, 500, 5120, 5)
    """
    if currency in THREE_DECIMAL and amount_minor % 10:
        raise NotChargeable(_fitting(amount_minor, currency, 10))
    shift = _exponent(currency) - EXPONENTS[currency]
    if shift >= 0:
        return amount_minor * _power(shift)
    whole, rest = divmod(amount_minor, _power(-shift))
    if rest:
        raise NotChargeable(_fitting(amount_minor, currency, _power(-shift)))
    return whole


def from_stripe(amount: int, currency: Currency) -> int | None:
    """Converts Stripe's units to minor units of ISO 4217; None if the amount has a fraction of one.

    >>> from_stripe(500, "ISK"), from_stripe(5, "MGA"), from_stripe(550, "ISK")
    (5, 500, None)
    """
    shift = _exponent(currency) - EXPONENTS[currency]
    if shift <= 0:
        return amount * _power(-shift)
    whole, rest = divmod(amount, _power(shift))
    return None if rest else whole


def _fitting(amount_minor: int, currency: Currency, unit: int) -> str:
    """Why an amount is no multiple of what Stripe can move, with those beside it: a person chooses one of them."""
    lower = amount_minor - amount_minor % unit
    beside = f"{lower} or {lower + unit}" if lower else f"{unit}"
    return f"Stripe moves multiples of {unit} minor units in {currency}, not {amount_minor}: ask for {beside}"


def _exponent(currency: Currency) -> int:
    if currency in ZERO_DECIMAL:
        return 0
    return 2 if currency in TWO_DECIMAL else EXPONENTS[currency]


def _power(exponent: int) -> int:
    power: int = 10**exponent
    return power
