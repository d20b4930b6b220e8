"""The certificate with which deliveries identify themselves to a receiver: its check, and TLS with it."""

from __future__ import annotations

import secrets
import ssl
from datetime import datetime
from tempfile import NamedTemporaryFile

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)


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
    _load(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), certificate, private_key)


def client_context(certificate: str, private_key: str) -> ssl.SSLContext:
    """Returns TLS that identifies itself, and trusts the authorities of the system. Blocks. Raises BadCertificate."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    _load(context, certificate, private_key)
    return context


def _load(context: ssl.SSLContext, certificate: str, private_key: str) -> None:
    """The library reads keys from files only: the file has the key encrypted, under a password that exists in memory alone."""
    password = secrets.token_bytes(32).hex().encode()
    try:
        key = load_pem_private_key(private_key.encode(), password=None)
        sealed = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password))
        with NamedTemporaryFile(suffix=".pem") as file:  # readable by its owner only
            file.write(certificate.encode() + b"\n" + sealed)
            file.flush()
            context.load_cert_chain(file.name, password=password)
    except (ssl.SSLError, ValueError, TypeError, UnsupportedAlgorithm):
        raise BadCertificate(
            "TLS does not accept the certificate or its key, for example because the key is short"
        ) from None
