"""Signs what is delivered, as Standard Webhooks defines it (github.com/standard-webhooks/standard-webhooks, spec version 1).

The signed text is `<webhook-id>.<webhook-timestamp>.<body>`. A signature is `v1,` and the base64 of its HMAC-SHA256. While
secrets rotate, each of them signs, and a receiver accepts any.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from contracts.ids import derived

SECRET_PREFIX: Final = "whsec_"
SECRET_BYTES: Final = 32
SECRET_BYTES_MIN, SECRET_BYTES_MAX = 24, 64
"""Bounds of the standard."""


class BadSecret(ValueError):
    """A secret is not `whsec_` and the base64 of 24 to 64 bytes."""


def new_secret() -> str:
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def key_of(secret: str) -> bytes:
    """Returns the bytes that sign. Raises BadSecret."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except ValueError:
        raise BadSecret from None
    if not secret.startswith(SECRET_PREFIX) or not SECRET_BYTES_MIN <= len(key) <= SECRET_BYTES_MAX:
        raise BadSecret
    return key


def webhook_id(endpoint_id: UUID, event_ids: Sequence[str]) -> str:
    """Returns the id of a delivery: the same in each attempt, after a crash and in a replay."""
    return f"msg_{derived(endpoint_id, '|'.join(event_ids)).hex}"


def signed_headers(keys: Sequence[bytes], delivery_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """Returns the three headers of a delivery."""
    timestamp = str(int(at.timestamp()))
    text = f"{delivery_id}.{timestamp}.".encode() + body
    signatures = (base64.b64encode(hmac.digest(key, text, hashlib.sha256)).decode() for key in keys)
    return {
        "webhook-id": delivery_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
