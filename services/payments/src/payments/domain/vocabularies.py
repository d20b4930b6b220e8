"""The state of an order's money in the words of others: Dintero's two vocabularies and Commerce Layer's.

Each is a function of the ledger, so no status is stored, and they cannot contradict each other. In all of them, what is due is
what is authorized and not voided: the ledger has no other total. An order that costs nothing has an authorization of nothing.
Sources: Dintero's order and transaction statuses (docs.dintero.com); Commerce Layer's `payment_status` (docs.commercelayer.io).
"""

from __future__ import annotations

from typing import Final, Literal

from contracts.gift_cards import GIFT_CARD
from contracts.orders import PaymentStatus
from payments.domain.ledger import Ledger
from payments.domain.operation import Operation
from payments.domain.tenders import NOT_REDEEMABLE

DinteroPaymentStatus = Literal["pending", "partially_paid", "paid", "partially_refunded", "refunded"]
DinteroTransactionStatus = Literal[
    "INITIATED",
    "AUTHORIZED",
    "PARTIALLY_CAPTURED",
    "CAPTURED",
    "PARTIALLY_CAPTURED_REFUNDED",
    "PARTIALLY_REFUNDED",
    "REFUNDED",
    "AUTHORIZATION_VOIDED",
    "DECLINED",
    "FAILED",
    "UNKNOWN",
]
UNASKED: Final = frozenset(
    {"currency_differs", "line_taken", "amount_too_large", "gateway_unknown", "credentials_missing", *NOT_REDEEMABLE}
)
"""Codes of authorizations that are declined without a gateway."""


def commercelayer_payment_status(ledger: Ledger) -> PaymentStatus:
    """`partially_authorized`: a further authorization is open."""
    if is_free(ledger):
        return "free"
    if ledger.authorized_minor == 0:
        return "unpaid"
    if ledger.captured_minor == 0:
        if _due_minor(ledger) == 0:
            return "voided"
        if ledger.voided_minor:
            return "partially_voided"
        return "partially_authorized" if any(one.is_open for one in _authorizations(ledger)) else "authorized"
    if ledger.refunded_minor:
        return "refunded" if ledger.refunded_minor == ledger.captured_minor else "partially_refunded"
    return "paid" if ledger.captured_minor == _due_minor(ledger) else "partially_paid"


def dintero_payment_status(ledger: Ledger) -> DinteroPaymentStatus:
    """A free order is `paid`, for nothing of it is pending."""
    if is_free(ledger):
        return "paid"
    if ledger.captured_minor == 0:
        return "pending"
    if ledger.refunded_minor:
        return "refunded" if ledger.refunded_minor == ledger.captured_minor else "partially_refunded"
    return "paid" if ledger.captured_minor == _due_minor(ledger) else "partially_paid"


def dintero_transaction_status(ledger: Ledger) -> DinteroTransactionStatus:
    """Where a rest can still be captured, the word has it, also if all that was captured is refunded.

    A free order is `CAPTURED`: nothing can be captured or refunded. Their `ON_HOLD` belongs to one provider and is not used.
    """
    if is_free(ledger):
        return "CAPTURED"
    if ledger.authorized_minor == 0:
        return _unauthorized(ledger)
    if ledger.captured_minor == 0:
        return "AUTHORIZED" if _due_minor(ledger) else "AUTHORIZATION_VOIDED"
    if ledger.captured_minor < _due_minor(ledger):
        return "PARTIALLY_CAPTURED_REFUNDED" if ledger.refunded_minor else "PARTIALLY_CAPTURED"
    if ledger.refunded_minor:
        return "REFUNDED" if ledger.refunded_minor == ledger.captured_minor else "PARTIALLY_REFUNDED"
    return "CAPTURED"


def is_free(ledger: Ledger) -> bool:
    return bool(ledger.authorizations) and ledger.authorized_minor == 0


def _unauthorized(ledger: Ledger) -> DinteroTransactionStatus:
    """By the latest authorization."""
    authorizations = _authorizations(ledger)
    if not authorizations or authorizations[-1].is_open:
        return "INITIATED"
    latest = authorizations[-1]
    if latest.recorded == "contradicted":
        return "UNKNOWN"
    return "FAILED" if latest.code in UNASKED else "DECLINED"


def _authorizations(ledger: Ledger) -> list[Operation]:
    """Without the parts of gift cards."""
    return [one for one in ledger.operations.values() if one.kind == "authorize" and one.gateway != GIFT_CARD]


def _due_minor(ledger: Ledger) -> int:
    return ledger.authorized_minor - ledger.voided_minor
