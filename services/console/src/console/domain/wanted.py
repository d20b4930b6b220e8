"""What a form requests of the service that owns the subject."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Wanted(NamedTuple):
    owner: str
    """The service: `orders`, `webhooks`, ..."""
    method: str
    path: str
    """From `/v1` on."""
    body: Mapping[str, Any] | None
    reason: str
    """As the person gave it; empty: none was asked for."""
