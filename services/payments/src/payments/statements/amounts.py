"""Amounts, days and currencies as reports write them. Each function raises ValueError with what is wrong."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Final

from contracts.limits import MINOR_MAX
from contracts.money import EXPONENTS

_DECIMAL: Final = re.compile(r"([0-9]{1,16})(?:\.([0-9]{1,12}))?|\.([0-9]{1,12})")
_GROUPED: Final = re.compile(r"[0-9]{1,3}(?:_[0-9]{2,3})*_[0-9]{3}")
"""Digits in groups, joined by `_`: of three, or of two before the last, as India writes them."""
_LOOKALIKES: Final = str.maketrans({"\u2212": "-", "\u00a0": " ", "\u202f": " ", "\u2019": "'"})
"""A typographic minus, spaces that do not break, a typographic apostrophe."""


def minor_of(text: str, currency: str, decimal: str = ".", thousands: str = "") -> int:
    """Returns minor units of a decimal amount in major units. A minus may also follow the digits, or be two brackets.

    Never rounds: digits below the minor unit must be zeros. Never guesses: another separator than those named is refused, and so
    are thousands that are no groups of three digits.

    >>> minor_of("19.99", "EUR"), minor_of("-1.000", "JPY"), minor_of("1.234,5", "EUR", decimal=",", thousands=".")
    (1999, -1, 123450)
    >>> minor_of("12.50-", "EUR"), minor_of("(.5)", "EUR"), minor_of("1,00,000", "INR", thousands=",")
    (-1250, -50, 10000000)
    """
    sign, plain = _signed(text.translate(_LOOKALIKES).strip())
    whole, point, fraction = plain.partition(decimal)
    if thousands and thousands in whole:
        if not _GROUPED.fullmatch("_".join(whole.split(thousands))):
            raise ValueError(f"{text!r} is not an amount with {thousands!r} between thousands")
        whole = whole.replace(thousands, "")
    if "." in whole or "." in fraction:
        raise ValueError(f"{text!r} is not an amount with the decimal sign {decimal!r}")
    found = _DECIMAL.fullmatch(whole + (point and ".") + fraction)
    if found is None:
        raise ValueError(f"{text!r} is not an amount")
    units, after, alone = found.groups(default="")
    decimals, exponent = after or alone, EXPONENTS[currency]
    if decimals[exponent:].strip("0"):
        raise ValueError(f"{text!r} has more than the {exponent} decimals of {currency}")
    return sign * within(int((units + decimals[:exponent].ljust(exponent, "0")) or "0"))


def _signed(text: str) -> tuple[int, str]:
    """Returns the sign of an amount, and its rest."""
    if text.startswith("(") and text.endswith(")"):
        return -1, text[1:-1].strip()
    if text.startswith(("-", "+")):
        return (-1 if text[0] == "-" else 1), text[1:]
    if text.endswith("-"):
        return -1, text[:-1].rstrip()
    return 1, text


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
