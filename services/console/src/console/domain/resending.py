"""What is requested to send an event once more: from the page of its delivery, or several from the page of an order."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID, uuid5

from console.domain.wanted import Fields, Wanted, reason_of

CHOSEN = "attempt:"
"""Begins the name of the box of an attempt whose event is sent once more."""


def resent(attempt_id: str, fields: Fields) -> Wanted:
    """Raises ValueError."""
    try:
        key = UUID(attempt_id)
    except ValueError:
        raise ValueError("the attempt has no such id") from None
    return Wanted("webhooks", "POST", f"/v1/attempts/{key}/resend", None, reason_of(fields))


def chosen(fields: Fields) -> Sequence[tuple[str, str]]:
    """Returns endpoint and attempt of each box that is ticked. Raises ValueError without any."""
    found = [(value, name.removeprefix(CHOSEN)) for name, value in fields.items() if name.startswith(CHOSEN)]
    if not found:
        raise ValueError("choose what is sent again")
    return found


def nonce_of_each(nonce: UUID, attempt_id: str) -> UUID:
    """Each attempt is a request of its own: the form sent again repeats each, and none takes effect twice."""
    return uuid5(nonce, attempt_id)
