"""Checks the certificate with which deliveries identify themselves to a receiver."""

from __future__ import annotations

from datetime import datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key


class BadCertificate(ValueError):
    """A certificate or its key cannot be used; the text states why."""


def check(certificate: str, private_key: str | None, now: datetime) -> None:
    """Raises BadCertificate unless both are PEM, valid at `now`, and belong together. private_key: null if it is not replaced."""
    try:
        leaf = x509.load_pem_x509_certificates(certificate.encode())[0]
        public = leaf.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise BadCertificate("the certificate is not PEM") from None
    if not leaf.not_valid_before_utc <= now < leaf.not_valid_after_utc:
        raise BadCertificate(
            f"the certificate is valid from {leaf.not_valid_before_utc:%Y-%m-%d} to {leaf.not_valid_after_utc:%Y-%m-%d}"
        )
    if private_key is None:
        return
    try:
        own = load_pem_private_key(private_key.encode(), password=None).public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise BadCertificate("the private key is not PEM, or is encrypted") from None
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    if own.public_bytes(*form) != public.public_bytes(*form):
        raise BadCertificate("the private key is not that of the certificate")
