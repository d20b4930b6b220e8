"""Stripe's webhooks: the signature is verified over the raw body before anything of it is parsed."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal

from pydantic import Field, ValidationError

from contracts.base import Frozen
from payments.gateways.inbound import InvalidSignature, Notice, Unreadable

AGE_SECONDS_MAX: Final = 300
"""As Stripe's own libraries. A replay of an older recording is refused."""
REFUNDED: Final = frozenset({"charge.refunded", "charge.refund.updated", "refund.created", "refund.updated"})
"""docs.stripe.com/api/events/types"""
SCHEME: Final = "v1"
"""HMAC-SHA256. `v0` is made for test events and is no proof."""


class _Object(Frozen):
    id: str
    metadata: dict[str, str] | None = None
    payment_intent: str | None = None


class _Data(Frozen):
    object: _Object


class _Event(Frozen):
    id: str = Field(max_length=255)
    type: str = Field(max_length=255)
    created: int = Field(ge=0, lt=2**33)
    data: _Data


def verify(body: bytes, headers: Mapping[str, str], secret: str, now: datetime) -> None:
    """Raises InvalidSignature unless one signature fits and is recent. Source: docs.stripe.com/webhooks/signature."""
    pairs = [part.strip().partition("=") for part in headers.get("stripe-signature", "").split(",")]
    times = [
        value for name, _, value in pairs if name == "t" and value.isascii() and value.isdigit() and len(value) < 13
    ]
    if len(times) != 1:
        raise InvalidSignature("Stripe-Signature has no time")
    expected = hmac.new(secret.encode(), f"{times[0]}.".encode() + body, hashlib.sha256).hexdigest()
    signatures = [value for name, _, value in pairs if name == SCHEME]
    if not any(hmac.compare_digest(expected.encode(), value.encode()) for value in signatures):
        raise InvalidSignature("no signature of the body fits")
    if abs(now.timestamp() - int(times[0])) > AGE_SECONDS_MAX:
        raise InvalidSignature(f"signed more than {AGE_SECONDS_MAX} seconds from now")


def read(body: bytes) -> Notice:
    """Reads an event. An intent's metadata names its authorization, a refund's the refund; a charge or dispute its intent."""
    try:
        event = _Event.model_validate_json(body)
        subject = event.data.object
        metadata: Mapping[str, Any] = subject.metadata or {}
        return Notice(
            event_id=event.id,
            type=event.type,
            occurred_at=datetime.fromtimestamp(event.created, UTC),
            subject=subject.id,
            payment=subject.payment_intent or (subject.id if subject.id.startswith("pi_") else None),
            operation_id=metadata.get("operation_id"),
            asks=_asks(event.type, metadata),
        )
    except ValidationError as error:
        raise Unreadable(f"{error.error_count()} errors") from None


def _asks(kind: str, metadata: Mapping[str, Any]) -> Literal["", "dispute", "refunds"]:
    """A refund of ours names its operation. A charge has the metadata of its intent, whoever refunded it."""
    if kind.startswith("charge.dispute."):
        return "dispute"
    is_ours = "operation_id" in metadata and kind != "charge.refunded"
    return "refunds" if kind in REFUNDED and not is_ours else ""
