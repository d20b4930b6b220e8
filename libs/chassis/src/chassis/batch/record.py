"""A Kafka record as it was received: enough to park it and to read it again."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Final, NamedTuple

HEADERS_BYTES_MAX: Final = 64 * 1024
"""Bytes stored of the headers of a parked record, and of its key."""
VALUE_BYTES_MAX: Final = 1024 * 1024
"""Bytes stored of the value of a parked record. No valid message is larger."""


class Record(NamedTuple):
    """A Kafka record as it came, enough to park it and to read it again."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]

    def headers_json(self) -> list[list[str | None]]:
        """Header names without NUL, which jsonb cannot hold, and values in base64; HEADERS_BYTES_MAX in all.

        Headers beyond that are dropped. The envelope's own are short and come first.
        """
        headers, room, stored = self.headers, HEADERS_BYTES_MAX, []
        if sum(len(name) + len(value or b"") for name, value in headers) > room:
            headers = sorted(headers, key=lambda header: not header[0].startswith("ce_"))
        for name, value in headers:
            room -= len(name) + len(value or b"")
            if room >= 0:
                stored.append([name.replace("\0", ""), None if value is None else base64.b64encode(value).decode()])
        return stored

    def fingerprint(self) -> bytes:
        """16 bytes that identify the content: after a broker lost its log, an offset can belong to another record."""
        digest = hashlib.blake2b(self.value or b"", digest_size=16)
        digest.update(repr((self.value is None, self.key, [tuple(header) for header in self.headers])).encode())
        return digest.digest()


def headers_from_json(stored: Sequence[Sequence[str | None]]) -> list[tuple[str, bytes | None]]:
    return [(str(name), None if value is None else base64.b64decode(value)) for name, value in stored]
