"""Hides the secret values of an endpoint in an answer: some receivers repeat what they were sent."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import quote

HIDDEN: Final = "***"
CHARACTERS_MIN: Final = 4
"""A shorter value is no secret, and occurs in many answers by chance."""


def spellings(secrets: Iterable[str]) -> tuple[str, ...]:
    """Returns how answers may spell values: whole or without their scheme, plain or escaped; the longest first."""
    plain = {part for secret in secrets for part in (secret, _credentials(secret)) if len(part) >= CHARACTERS_MIN}
    return tuple(sorted({one for value in plain for one in _escaped(value)}, key=len, reverse=True))


def masked(text: str, hidden: Sequence[str]) -> str:
    """hidden: as `spellings` returns them."""
    for one in hidden:
        text = text.replace(one, HIDDEN)
    return text


def _credentials(secret: str) -> str:
    """`Bearer <credentials>`, `whsec_<credentials>`."""
    for separator in (" ", "_"):
        scheme, _, rest = secret.partition(separator)
        if rest and scheme.isalpha():
            return rest
    return secret


def _escaped(value: str) -> Iterable[str]:
    in_json = json.dumps(value)[1:-1]
    return value, in_json, in_json.replace("/", r"\/"), html.escape(value), quote(value, safe="")
