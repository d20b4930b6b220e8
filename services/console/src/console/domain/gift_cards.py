"""What a person does with a gift card, and what a form requests of payments."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from console.domain.payments import minor_of
from console.domain.wanted import Fields, Wanted, reason_of, version_of

EDIT: Final = "gift_cards.edit"


class Action(NamedTuple):
    title: str
    does: str


ACTIONS: Final[Mapping[str, Action]] = {
    "activate": Action("Activate", "Orders may be paid with it."),
    "deactivate": Action("Deactivate", "No further order is paid with it until it is activated again. Its balance stays."),
    "adjust": Action("Adjust", "The amount is added to the balance, or taken off with a minus."),
    "extend": Action("Change the expiry", "What has expired does not come back by it."),
}  # fmt: skip


def offered(card: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns the actions that make sense for a card; payments may still refuse one."""
    if card["state"] == "expired":
        return ("extend",)
    return ("deactivate" if card["state"] == "active" else "activate", "adjust", "extend")


def request_of(action: str, gift_card_id: UUID, fields: Fields) -> Wanted:
    """Returns the request of a form. Raises ValueError with what is missing."""
    if not (reason := reason_of(fields)):
        raise ValueError("give a reason")
    body: dict[str, Any] | None = None
    if action == "adjust":
        body = {"amount_minor": _signed(fields.get("amount", ""), fields.get("currency", "")), "reason": reason}
    elif action == "extend":
        body = {"expires_at": _moment(fields.get("expires_at", ""))}
    path = f"/v1/gift-cards/{gift_card_id}/{action}"
    return Wanted("payments", "POST", path, body, reason, version_of(fields))


def _signed(text: str, currency: str) -> int:
    text = text.strip().replace("−", "-")
    amount = minor_of(text.removeprefix("-"), currency)
    if not amount:
        raise ValueError("state the amount")
    return -amount if text.startswith("-") else amount


def _moment(text: str) -> str | None:
    """A field `datetime-local` states no time zone: it is UTC. Empty: the card does not expire."""
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("the expiry is no time") from None
    return (at.replace(tzinfo=UTC) if at.tzinfo is None else at).isoformat()
