"""Dintero's webhooks: the signature is verified over the raw body before anything of it is parsed.

The signature of a subscription has no time, so the age of a delivery cannot be verified. (`Dintero-Signature`, which has one, signs
the address of a session's callback and not its body: docs.dintero.com/docs/checkout/webhooks.) A recording that is sent again has the id of its
delivery in the signed body: it is stored once, and a second one changes nothing.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import Field, ValidationError

from contracts.base import Frozen
from payments.gateways.inbound import InvalidSignature, Notice, Unreadable


class _Changed(Frozen):
    event: str = ""
    event_reference: str | None = None

    @property
    def may_be_no_operation(self) -> bool:
        """A refund of ours has its operation as reference, unless Dintero accepted it first and made it later."""
        return self.event == "REFUND" and not self.event_reference


class _Transaction(Frozen):
    id: str = Field(min_length=1)
    merchant_reference: str | None = None
    updated_at: datetime | None = None
    created_at: datetime | None = None
    events: tuple[_Changed, ...] = ()


class _Authorization(Frozen):
    """An attempt to authorize. If it failed there may be no transaction."""

    session_id: str | None = None
    transaction_id: str | None = None
    merchant_reference: str | None = None


class _Event(Frozen):
    account_id: str = Field(min_length=1)
    event: str = Field(min_length=1, max_length=255)
    event_delivery: str = Field(min_length=1, max_length=255)
    transaction: _Transaction | None = None
    authorization: _Authorization | None = None


def verify(body: bytes, headers: Mapping[str, str], secret: str, now: datetime) -> None:
    """Raises InvalidSignature unless `event-signature` is the HMAC-SHA1 of the body, in hex (docs.dintero.com/docs/webhooks)."""
    stated = headers.get("event-signature", "")
    expected = hmac.new(secret.encode(), body, hashlib.sha1).hexdigest()
    if not stated:
        raise InvalidSignature("event-signature is missing: the subscription was created without a secret")
    if not hmac.compare_digest(expected.encode(), stated.lower().encode()):
        raise InvalidSignature("event-signature does not fit the body")


def read(body: bytes) -> Notice:
    """Reads a delivery. The last event of a transaction names a capture or refund, `merchant_reference` the authorization."""
    try:
        return _notice(_Event.model_validate_json(body))
    except ValidationError as error:
        raise Unreadable(f"{error.error_count()} errors") from None


def _notice(event: _Event) -> Notice:
    transaction, attempt = event.transaction, event.authorization or _Authorization()
    last = transaction.events[-1] if transaction and transaction.events else _Changed()
    named: Any = last.event_reference or (transaction or attempt).merchant_reference
    at = (transaction.updated_at or transaction.created_at) if transaction else None
    payment = transaction.id if transaction else attempt.transaction_id
    return Notice(
        event_id=event.event_delivery,
        type=event.event,
        occurred_at=(at if at.tzinfo else at.replace(tzinfo=UTC)) if at else datetime.now(UTC),  # else: when it came
        subject=payment or attempt.session_id or event.account_id,
        payment=payment,
        operation_id=named,
        asks="refunds" if last.may_be_no_operation else "",
    )
