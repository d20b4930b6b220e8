"""Amounts, days and currencies as reports write them. Each function raises ValueError with what is wrong."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Final

from contracts.limits import MINOR_MAX
from contracts.money import EXPONENTS

_DECIMAL: Final = re.compile(r"([+-]?)([0-9]{1,16})(?:\.([0-9]{1,12}))?")


def minor_of(text: str, currency: str, decimal: str = ".", thousands: str = "") -> int:
    """Returns minor units of a decimal amount in major units. Never rounds: digits below the minor unit must be zeros.

    >>> minor_of("19.99", "EUR"), minor_of("-1.000", "JPY"), minor_of("1.234,5", "EUR", decimal=",", thousands=".")
    (1999, -1, 123450)
    """
    plain = text.strip().replace("\u2212", "-")  # a typographic minus
    if thousands:
        plain = plain.replace(thousands, "")
    if decimal != ".":
        plain = plain.replace(decimal, ".")
    found = _DECIMAL.fullmatch(plain)
    if found is None:
        raise ValueError(f"{text!r} is not an amount")
    sign, whole, fraction = found.groups(default="")
    exponent = EXPONENTS[currency]
    if fraction[exponent:].strip("0"):
        raise ValueError(f"{text!r} has more than the {exponent} decimals of {currency}")
    return within(int(sign + whole + fraction[:exponent].ljust(exponent, "0")))


def within(amount_minor: object) -> int:
    """Returns the whole number. Refuses booleans, fractions, and what no column can store."""
    if type(amount_minor) is not int:
        raise ValueError(f"{amount_minor!r} is not a whole number of minor units")
    if abs(amount_minor) > MINOR_MAX:
        raise ValueError(f"{amount_minor} is more than {MINOR_MAX}")
    return amount_minor


def currency_of(code: object) -> str:
    """Returns the ISO 4217 code in capitals."""
    upper = code.strip().upper() if isinstance(code, str) else ""
    if upper not in EXPONENTS:
        raise ValueError(f"{code!r} is not a currency")
    return upper


def day_of(text: str, form: str = "") -> date:
    """Returns the calendar day of an ISO 8601 date or time, or of a text in `form` (as of strptime)."""
    if form:
        return datetime.strptime(text.strip(), form).replace(tzinfo=UTC).date()
    return date.fromisoformat(text.strip()[:10])


def day_at(seconds: object) -> date:
    """Returns the UTC day of a Unix time."""
    if type(seconds) is not int or not 0 <= seconds < 2**33:
        raise ValueError(f"{seconds!r} is not a Unix time")
    return datetime.fromtimestamp(seconds, UTC).date()
