"""Signs what is delivered, as Standard Webhooks defines it (github.com/standard-webhooks/standard-webhooks, spec version 1).

The signed text is `<webhook-id>.<webhook-timestamp>.<body>`. A signature is `v1,` and the base64 of its HMAC-SHA256, or `v1a,`
and the base64 of its ed25519 signature. While secrets rotate, each of them signs, and a receiver accepts any. The prefix of
a secret states its kind.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contracts.ids import derived

Kind = Literal["v1", "v1a"]
SECRET_PREFIX: Final = "whsec_"
PRIVATE_PREFIX: Final = "whsk_"
PUBLIC_PREFIX: Final = "whpk_"
SECRET_BYTES: Final = 32
SECRET_BYTES_MIN, SECRET_BYTES_MAX = 24, 64
"""Bounds of the standard."""
SEED_BYTES: Final = 32
"""Bytes of an ed25519 private key."""

Signer = Callable[[bytes], str]
"""Signed text -> signature with its version."""


class BadSecret(ValueError):
    """A secret is neither `whsec_` and the base64 of 24 to 64 bytes nor `whsk_` and the base64 of 32."""


def new_secret(kind: Kind = "v1") -> str:
    prefix, size = (SECRET_PREFIX, SECRET_BYTES) if kind == "v1" else (PRIVATE_PREFIX, SEED_BYTES)
    return prefix + base64.b64encode(secrets.token_bytes(size)).decode()


def kind_of(secret: str) -> Kind:
    """Raises BadSecret."""
    size = len(_bytes_of(secret))
    if secret.startswith(PRIVATE_PREFIX) and size == SEED_BYTES:
        return "v1a"
    if secret.startswith(SECRET_PREFIX) and SECRET_BYTES_MIN <= size <= SECRET_BYTES_MAX:
        return "v1"
    raise BadSecret


def public_key_of(secret: str) -> str:
    """Returns the key with which receivers verify the signatures of a `v1a` secret."""
    public = Ed25519PrivateKey.from_private_bytes(_bytes_of(secret)).public_key().public_bytes_raw()
    return PUBLIC_PREFIX + base64.b64encode(public).decode()


def signer_of(secret: str) -> Signer:
    """Raises BadSecret."""
    if kind_of(secret) == "v1":
        key = _bytes_of(secret)
        return lambda text: f"v1,{base64.b64encode(hmac.digest(key, text, hashlib.sha256)).decode()}"
    private = Ed25519PrivateKey.from_private_bytes(_bytes_of(secret))
    return lambda text: f"v1a,{base64.b64encode(private.sign(text)).decode()}"


def _bytes_of(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.partition("_")[2], validate=True)
    except ValueError:
        raise BadSecret from None


def webhook_id(endpoint_id: UUID, event_ids: Sequence[str]) -> str:
    """Returns the id of a delivery: the same in each attempt, after a crash and in a replay."""
    return f"msg_{derived(endpoint_id, '|'.join(event_ids)).hex}"


def signed_headers(signers: Sequence[Signer], delivery_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """Returns the three headers of a delivery."""
    timestamp = str(int(at.timestamp()))
    text = f"{delivery_id}.{timestamp}.".encode() + body
    return {
        "webhook-id": delivery_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(sign(text) for sign in signers),
    }
