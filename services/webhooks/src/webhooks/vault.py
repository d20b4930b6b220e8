"""Encrypts the secret values of endpoints: AES-256-GCM, under keys of the operator, bound to the endpoint.

Commands, the journal, rows, logs and stored answers have sealed text only. It is opened to sign a delivery, and in the one
answer that shows a new secret.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES: Final = 12
KEY_CHARACTERS_MIN: Final = 32


class Closed(Exception):
    """There is no key to seal with."""


class Unreadable(Exception):
    """None of the keys opens a sealed text: its key is lost, or it is another endpoint's."""


class Vault:
    """Seals with the first key, opens with any: a key is replaced by putting a new one before it."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._ciphers = [AESGCM(_derived(key)) for key in keys]

    @property
    def is_open(self) -> bool:
        return bool(self._ciphers)

    def seal(self, endpoint_id: UUID, secret: str) -> str:
        """Raises Closed."""
        if not self._ciphers:
            raise Closed
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = self._ciphers[0].encrypt(nonce, secret.encode(), endpoint_id.bytes)
        return base64.urlsafe_b64encode(nonce + sealed).decode()

    def open(self, endpoint_id: UUID, sealed: str) -> str:
        """Raises Unreadable."""
        try:
            raw = base64.urlsafe_b64decode(sealed)
        except ValueError:
            raise Unreadable from None
        for cipher in self._ciphers:
            try:
                return cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], endpoint_id.bytes).decode()
            except (InvalidTag, ValueError):
                continue
        raise Unreadable


def _derived(key: str) -> bytes:
    """A setting is text of high entropy, of any length; the cipher needs 32 bytes."""
    return hashlib.blake2b(key.encode(), digest_size=32, person=b"webhooks.vault").digest()
