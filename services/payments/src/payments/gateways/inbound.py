"""Events that gateways send: what the code of one gateway makes of a request. Nothing is decided here and nothing is moved.

An event states that something has changed. The gateway is then asked what has changed, so an event that is early, late,
repeated, out of order or lost cannot bring a wrong outcome into the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import BeforeValidator

from contracts.base import Frozen, Text, Timestamp

EVENT_BYTES_MAX: Final = 256 * 1024


class InvalidSignature(Exception):
    """The request is not the gateway's, or too old. Nothing of it is stored."""


class Unreadable(Exception):
    """Signed by the gateway, and not of the shape that its events have."""


def _uuid_or_none(value: object) -> object:
    """Another system may use the same key of the metadata."""
    try:
        return UUID(str(value))
    except ValueError:
        return None


class Notice(Frozen):
    """What is stored of an event. The whole event may hold personal data and secrets, and stays at the gateway.

    Raises ValidationError for what no row can hold: a NUL, a text of more than 500 characters, a time out of range.
    """

    event_id: Text
    type: Text
    occurred_at: Timestamp
    subject: Text
    """The gateway's id of the object that changed."""
    payment: Text | None = None
    """The gateway's reference of the authorization that the object belongs to."""
    operation_id: Annotated[UUID | None, BeforeValidator(_uuid_or_none)] = None
    """Our operation, if the object names it."""
    asks: Literal["", "dispute", "refunds"] = ""
    """What the gateway is to be asked: about the dispute `subject`; for the refunds of `payment`, as one may be no operation of ours."""


def verified(inbound: Inbound, body: bytes, headers: Mapping[str, str], secrets: str, now: datetime) -> None:
    """secrets: one per line. While a secret is replaced, events come that were signed with the old one and with the new one.

    Raises InvalidSignature unless the body is signed with one of them.
    """
    refused = InvalidSignature("there is no secret")
    for secret in secrets.splitlines():
        try:
            return inbound.verify(body, headers, secret.strip(), now)
        except InvalidSignature as invalid:
            refused = invalid
    raise refused


@dataclass(frozen=True, slots=True)
class Inbound:
    """How one gateway signs and writes its events."""

    verify: Callable[[bytes, Mapping[str, str], str, datetime], None]
    """(raw body, headers by lower-case name, secret, now). Raises InvalidSignature."""
    read: Callable[[bytes], Notice]
    """Raises Unreadable. Called with a verified body only."""
