"""Certificates and the authorities that issue them, for tests of TLS."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


class Authority:
    """Issues certificates, as a receiver's own authority does."""

    def __init__(self) -> None:
        self._key = generate_private_key(SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
        self.pem = self._signed(self._name, self._key.public_key(), is_authority=True)
        self.key = _pem_of(self._key)

    def issue(
        self,
        name: str,
        key: EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None,
        host: str = "127.0.0.1",
        days: int = 1,
        begins_days: int = -9,
    ) -> tuple[str, str]:
        """Returns certificate and key of a name. host: an address; begins_days, days: from now to its begin and its end."""
        key = key or generate_private_key(SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        return self._signed(subject, key.public_key(), host, begins_days, days), _pem_of(key)

    def _signed(
        self,
        subject: x509.Name,
        public: Any,
        host: str = "127.0.0.1",
        begins_days: int = -9,
        days: int = 1,
        *,
        is_authority: bool = False,
    ) -> str:
        now = datetime.now(UTC)
        begin, end = now + timedelta(days=begins_days), now + timedelta(days=days)
        builder = x509.CertificateBuilder(self._name, subject, public, x509.random_serial_number(), begin, end)
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(host))])
        built = builder.add_extension(names, False).add_extension(x509.BasicConstraints(is_authority, None), True)
        return built.sign(self._key, SHA256()).public_bytes(Encoding.PEM).decode()


def _pem_of(key: EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def tls_of(certificate: str, key: str, folder: Path, clients: Authority | None = None) -> ssl.SSLContext:
    """TLS of a receiver. clients: whose certificates it requires; null: none."""
    (folder / "server.pem").write_text(certificate + key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=clients.pem if clients is not None else None)
    context.verify_mode = ssl.CERT_REQUIRED if clients is not None else ssl.CERT_NONE
    context.load_cert_chain(folder / "server.pem")
    return context
