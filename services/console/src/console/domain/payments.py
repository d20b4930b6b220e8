"""What forms of payments request: a payment that was made elsewhere, the import of a statement, what a row of it is, a difference."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NamedTuple
from urllib.parse import quote
from uuid import UUID

from console.domain.wanted import Fields, Wanted, reason_of, version_of
from contracts.money import EXPONENTS

VIEW: Final = "payments.view"
RECORD: Final = "payments.record"
RECONCILE: Final = "payments.reconcile"
AMOUNT: Final = "amount:"
"""Begins the name of the field that has the amount of a line."""
DIGITS_MAX: Final = 15
IMPORT_SECONDS_MAX: Final = 60.0

RECORDED: Final[Mapping[str, str]] = {
    "captures": "captured", "authorizations": "authorized", "refunds": "refunded", "cancellations": "voided",
}  # fmt: skip
"""Collection of the API -> what has happened."""
FORMATS: Final[Mapping[str, str]] = {
    "camt053": "bank statement, camt.053", "stripe": "Stripe, balance transactions (JSON)", "stripe_csv": "Stripe, payout report (CSV)",
    "dintero": "Dintero, settlement (JSON)", "dintero_csv": "Dintero, report (CSV)", "csv": "any CSV, with a mapping",
}  # fmt: skip
RESOLUTIONS: Final[Mapping[str, str]] = {
    "match": "It is an operation of an order", "fee": "It is a cost", "dismiss": "Leave the money in suspense",
}  # fmt: skip


def minor_of(text: str, currency: str) -> int:
    """Returns an amount as minor units. Raises ValueError.

    >>> minor_of("12.5", "EUR"), minor_of("7", "JPY"), minor_of("0.001", "TND")
    (1250, 7, 1)
    """
    try:
        value = Decimal(text.strip()).scaleb(EXPONENTS[currency])
    except (InvalidOperation, KeyError):
        raise ValueError(f"{text!r} is no amount, such as 12.50") from None
    if not value.is_finite() or value < 0 or value != value.to_integral_value():
        raise ValueError(f"{text!r} is no amount of {currency}: it has {EXPONENTS[currency]} decimals at most")
    if len(str(int(value))) > DIGITS_MAX:
        raise ValueError(f"{text!r} is too large")
    return int(value)


def record_of(order_id: UUID, currency: str, fields: Fields, origin: Mapping[str, str] | None = None) -> Wanted:
    """Returns the request that states a payment which was made elsewhere. Raises ValueError with what is missing.

    origin: the order's channel, account and external order id, which payments needs if it does not have the order yet.
    """
    collection = fields.get("collection", "")
    if collection not in RECORDED:
        raise ValueError("choose what has happened")
    system, payment_id, reason = (fields.get(name, "").strip() for name in ("gateway", "payment_id", "reason"))
    if not system or not payment_id:
        raise ValueError("name the payment system, and what it calls the payment")
    if not reason:
        raise ValueError("give a reason")
    stated = {name.removeprefix(AMOUNT): text for name, text in fields.items() if name.startswith(AMOUNT)}
    amounts = {line: minor_of(text, currency) for line, text in stated.items() if text.strip()}
    lines = [{"line_id": line, "amount_minor": amount} for line, amount in amounts.items() if amount]
    if not lines:
        raise ValueError("state the amount of a line")
    body: dict[str, Any] = {"gateway": system, "payment_id": payment_id, "currency": currency, "lines": lines}
    if origin is not None:
        body["origin"] = dict(origin)
    if collection == "authorizations" and fields.get("captured") == "true":
        body["captured"] = True
    return Wanted("payments", "POST", f"/v1/orders/{order_id}/payments/{collection}", body, reason_of(fields))


def import_of(fields: Mapping[str, bytes]) -> Wanted:
    """Returns the request that imports a report. fields: as their bytes, the report among them. Raises ValueError."""
    given = {name: value.decode("utf-8", "replace").strip() for name, value in fields.items() if name != "report"}
    form, gateway = given.get("format", ""), given.get("gateway", "")
    if form not in FORMATS:
        raise ValueError("choose the format of the report")
    if not gateway:
        raise ValueError("name the gateway, or manual for the statement of a bank")
    body: dict[str, Any] = {"format": form, "gateway": gateway}
    if form == "csv":
        body["mapping"] = _mapping(given.get("mapping", ""))
    encoding = str(body.get("mapping", {}).get("encoding", "utf-8"))
    try:
        body["content"] = fields.get("report", b"").decode(encoding).removeprefix("\ufeff")
    except (LookupError, UnicodeDecodeError):
        raise ValueError(f"the report is no text in {encoding}") from None
    if not body["content"].strip():
        raise ValueError("choose the file of the report")
    body |= {name: given[name] for name in ("statement_id", "account") if given.get(name)}
    if payout := given.get("payout_minor", ""):
        body["payout_minor"] = _whole(payout)
    return Wanted("payments", "POST", "/v1/settlements", body, "", seconds_max=IMPORT_SECONDS_MAX)


def _mapping(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        raise ValueError("the mapping of a CSV is a JSON object") from None
    if not isinstance(found, dict):
        raise ValueError("the mapping of a CSV is a JSON object")
    return found


def _whole(text: str) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= DIGITS_MAX):
        raise ValueError("the payout is a whole number of minor units")
    return int(text)


def explanation_of(settlement_id: UUID, place: int, fields: Fields) -> Wanted:
    """Returns the request that states what a row is. Raises ValueError with what is missing."""
    resolution = fields.get("resolution", "")
    if resolution not in RESOLUTIONS:
        raise ValueError("choose what the row is")
    if not (reason := reason_of(fields)):
        raise ValueError("give a reason")
    body: dict[str, Any] = {"resolution": resolution, "reason": reason}
    if resolution == "match":
        try:
            body["operation_id"] = str(UUID(fields.get("operation_id", "")))
        except ValueError:
            raise ValueError("choose the operation that the row is") from None
        body["difference_is_fee"] = fields.get("difference_is_fee") == "true"
    return Wanted("payments", "POST", f"/v1/settlements/{settlement_id}/rows/{place}/resolve", body, reason)


class Correction(NamedTuple):
    """What a person does with a difference between the books and a gateway."""

    title: str
    does: str


CORRECTIONS: Final[Mapping[str, Correction]] = {
    "apply": Correction("Apply", "The proposal is carried out, once."),
    "dismiss": Correction("Leave it", "Nothing is corrected; it stays dismissed until it changes."),
}
PROPOSALS: Final[Mapping[str, str]] = {
    "book": "book what the gateway has made", "refund": "give back what was taken twice", "ask": "find out what has happened, then record or leave it",
}  # fmt: skip
"""What a proposal of payments does."""


def correction_of(action: str, difference_id: UUID, fields: Fields) -> Wanted:
    """Returns the request of a form about a difference. Raises ValueError with what is missing."""
    if not (reason := reason_of(fields)):
        raise ValueError("give a reason")
    path = f"/v1/differences/{difference_id}/{quote(action)}"
    return Wanted("payments", "POST", path, {"reason": reason}, reason, version_of(fields))
