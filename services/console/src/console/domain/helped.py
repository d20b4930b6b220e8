"""Who ends a wait, and what to do: what `docs/operators-day.md` states, for the page of an order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple


class Help(NamedTuple):
    waits_for: str
    ended_by: str
    what_to_do: str


HELP: Final[Mapping[str, Help]] = {
    "answer": Help("the answer of another service", "the service that was asked; it answers within seconds",
        "Nothing. If it lasts, the health of the service is the cause."),
    "approval": Help("an approval", "a person with the scope orders.edit", "Approve the order, or cancel it."),
    "capture": Help("a capture by hand", "a person with the scope payments.capture", "Capture the money when it is due."),
    "confirm": Help("the confirmation of an edit", "a person with the scope orders.edit",
        "Confirm the edit or discard it; it expires by itself."),
    "exception": Help("a decision", "a person with the scope orders.edit",
        "Read the exceptions and the refused step below: accept, keep, retry, or cancel the order."),
    "hold": Help("the release of its holds", "a person with the scope orders.edit, or the end of the hold's time",
        "Release each hold when its reason is gone."),
    "invoice": Help("the invoice of a capture", "invoicing, within seconds", "Nothing."),
    "no_answer": Help("a service or a gateway that was asked in vain", "the service that was asked, or a person with orders.force",
        "See the health of the service; state the outcome that only a person can learn."),
    "outcomes": Help("the outcomes of operations that are open", "payments, when its gateway answers", "Nothing."),
    "parked": Help("a message that could not be processed", "a person with the scope parked.edit",
        "Read the cause of the parked message; replay, edit or discard it."),
    "payment": Help("the payment at the marketplace", "the marketplace, by its next message", "Nothing, or cancel the order."),
    "snapshot": Help("the next message of the marketplace", "the marketplace", "Nothing."),
    "stock": Help("goods", "whoever counts goods in, or a person with the scope orders.edit",
        "Count the goods in, then retry; or edit or cancel the order."),
    "warehouse": Help("its shipments", "the warehouse", "Nothing; the shipments below show what is still to be packed."),
}  # fmt: skip
UNKNOWN: Final = Help("something that this release has no word for", "its owner", "Read the processes below.")


def help_for(waiting: str) -> Help | None:
    """Returns the help for a word; None for an order that waits for nothing."""
    return HELP.get(waiting, UNKNOWN) if waiting else None
