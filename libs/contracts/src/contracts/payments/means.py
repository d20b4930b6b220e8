"""Names of gateways and accounts, and the token of a means of payment, which is never card data."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import BeforeValidator, Field

from contracts.base import Id, Personal, json_bytes

MARKETPLACE: Final = "marketplace"
RECORDED: Final = "recorded"
GatewayName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
"""`marketplace` (it has the money already), `recorded` (the money moves elsewhere, and payments is informed) or a gateway that is set up in the payments service, e.g. `test`."""
AccountName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
"""The name of an account at a gateway; a store may have several at one."""
TOKEN_REFUSED: Final = "refused:card-number"
"""Replaces a card number that was sent as a token, so that nothing stores or logs it. It pays for nothing."""
_CARD_DIGITS: Final = re.compile(r"[0-9]{13,19}")


def is_card_number(text: str) -> bool:
    """Whether it is 13 to 19 digits, with or without blanks, dashes and points, with a valid check digit (ISO/IEC 7812-1, Luhn).

    >>> is_card_number("4242 4242 4242 4242"), is_card_number("4242424242424241"), is_card_number("pm_1PqR5s")
    (True, False, False)
    """
    digits = re.sub(r"[\s.-]", "", text, flags=re.ASCII)
    if _CARD_DIGITS.fullmatch(digits) is None:
        return False
    doubled = "0246813579"
    return sum(int(doubled[int(d)] if n % 2 else d) for n, d in enumerate(reversed(digits))) % 10 == 0


def _without_card_number(value: object) -> object:
    return TOKEN_REFUSED if isinstance(value, str | int) and is_card_number(str(value)) else value


_TOKEN_IN_JSON: Final = re.compile(rb'("payment_token"\s*:\s*)(?:"([^"\\]{13,200})"|([0-9]{13,19})(?![0-9.eE]))')


def without_card_numbers(body: bytes) -> bytes:
    """A body as it may be stored if it is not read: card numbers in place of tokens are replaced, as reading it would do.

    >>> without_card_numbers(b'{"payment_token": "4242424242424242"}')
    b'{"payment_token": "refused:card-number"}'
    """

    def replaced(found: re.Match[bytes]) -> bytes:
        token = (found[2] or found[3]).decode("utf-8", "replace")
        return found[1] + json_bytes(TOKEN_REFUSED) if is_card_number(token) else found[0]

    return _TOKEN_IN_JSON.sub(replaced, body) if b'"payment_token"' in body else body


PaymentToken = Annotated[Id, BeforeValidator(_without_card_number), Personal()]
"""A gateway's token of a means of payment, e.g. Stripe's `pm_...`; never card data. A card number is replaced when it is read."""
