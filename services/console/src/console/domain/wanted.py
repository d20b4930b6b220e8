"""What a form requests of the service that owns the subject."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

Fields = Mapping[str, str]
"""Name of a field of the form -> its text."""
REASON_CHARACTERS_MAX: Final = 500


class Wanted(NamedTuple):
    owner: str
    """The service: `orders`, `webhooks`, ..."""
    method: str
    path: str
    """From `/v1` on."""
    body: Mapping[str, Any] | None
    reason: str
    """As the person gave it; empty: none was asked for."""
    version: int | None = None
    """The version of the subject that the person has read: 412 if it has another one now. Null: any."""
    seconds_max: float = 5
    """For the answer. A write that waits for its turn at the database takes longer than a read."""


def version_of(fields: Fields) -> int:
    """Returns the version of the subject that the person has read. Raises ValueError."""
    text = fields.get("version", "")
    if not (text.isascii() and text.isdecimal() and len(text) <= 10):
        raise ValueError("the form has no version of its subject")
    return int(text)


def reason_of(fields: Fields) -> str:
    return fields.get("reason", "").strip()[:REASON_CHARACTERS_MAX]
