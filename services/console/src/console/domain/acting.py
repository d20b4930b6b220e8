"""What a person can request for an order from its page: where it goes, which scope it needs, and the body of the request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, get_args
from uuid import UUID

from console.domain.wanted import Fields, Wanted, reason_of, version_of
from contracts.orders import HOLD_REASONS, RefundReason
from contracts.payments import Outcome

REFUND_REASONS: Final[tuple[str, ...]] = get_args(RefundReason)
OUTCOMES: Final[tuple[str, ...]] = get_args(Outcome)
PIECES: Final = "pieces:"
"""Begins the name of the field that has the pieces of a line."""


class Action(NamedTuple):
    title: str
    path: str
    """Below `/v1/orders/{order_id}` of orders; `{hold_id}` is a field of the form."""
    scope: str
    does: str
    """What follows, for the button's description."""
    reasoned: bool = False
    """Whether a reason has to be given."""
    noted: bool = False
    """Whether a reason may be given; also with codes."""
    codes: tuple[str, ...] = ()
    """What the person chooses from, a code; empty: nothing."""
    label: str = "Kind of reason"
    """What the codes are called."""
    body: Callable[[Fields], Mapping[str, Any]] = lambda fields: {}
    key: str = ""
    """Opens its form on the page of the order."""
    versioned: bool = False
    """Whether it is about the order as the person has read it: 412 if it waits for something else by then."""


def _pieces(fields: Fields) -> list[dict[str, Any]]:
    """Raises ValueError."""
    stated = {
        name.removeprefix(PIECES): text for name, text in fields.items() if name.startswith(PIECES) and text.strip()
    }
    for line, text in stated.items():
        if not (text.strip().isascii() and text.strip().isdecimal() and len(text.strip()) <= 9):
            raise ValueError(f"the pieces of line {line} are a whole number")
    found = [{"line_id": line, "quantity": int(text)} for line, text in stated.items() if int(text)]
    if not found:
        raise ValueError("state how many pieces of which line go back")
    return found


ACTIONS: Final[Mapping[str, Action]] = {
    "approve": Action("Approve", "/approve", "orders.edit", "The warehouse gets the order.", key="a"),
    "approve_and_capture": Action(
        "Approve and capture", "/approve_and_capture", "payments.capture", "The warehouse gets the order, and all money is taken."
    ),
    "capture": Action("Capture", "/capture", "payments.capture", "All money that is left is taken and invoiced."),
    "hold": Action(
        "Hold", "/holds", "orders.edit", "Nothing ships and nothing is captured until the hold is released.",
        noted=True, codes=HOLD_REASONS, body=lambda fields: {"reason": _code(fields, HOLD_REASONS), "note": reason_of(fields)},
    ),
    "release": Action("Release", "/holds/{hold_id}/release", "orders.edit", "The order goes on when no hold is left."),
    "retry": Action("Retry", "/retry", "orders.edit", "The refused step is asked again."),
    "archive": Action("Archive", "/archive", "orders.edit", "Lists leave it out unless they are asked for it; nothing else changes."),
    "ask": Action(
        "Ask again", "/ask", "orders.edit", "What has no answer is asked again, as the same operation: nothing is done twice.",
        noted=True,
    ),
    "give_up": Action(
        "Give up", "/give_up", "orders.cancel",
        "The wait ends and the order is undone: stock is released, money goes back. What was asked is awaited first.",
        reasoned=True, versioned=True, body=lambda fields: {"reason": reason_of(fields)},
    ),
    "force": Action(
        "State the outcome", "/force", "orders.force",
        "Payments books it, unless its gateway can still be asked. Compare it with the gateway first.",
        reasoned=True, codes=OUTCOMES, label="Outcome",
        body=lambda fields: {
            "operation_id": _operation(fields), "outcome": _code(fields, OUTCOMES), "reason": reason_of(fields),
            "reference": fields.get("reference", "").strip() or None,
        },
    ),
    "refund": Action(
        "Refund", "/refunds", "payments.refund", "The money goes back at once, and the invoice is credited.", reasoned=True,
        codes=REFUND_REASONS,
        body=lambda fields: {
            "lines": _pieces(fields), "reason": _code(fields, REFUND_REASONS), "note": reason_of(fields),
            "restock": fields.get("restock") == "true",
        },
    ),
    "cancel": Action(
        "Cancel", "/cancel", "orders.cancel", "What was done is undone: stock is released, money goes back.", reasoned=True,
        body=lambda fields: {"reason": reason_of(fields)}, key="c",
    ),
}  # fmt: skip


def _code(fields: Fields, codes: tuple[str, ...]) -> str:
    if (code := fields.get("code", "")) not in codes:
        raise ValueError(f"choose one of {', '.join(codes)}")
    return code


def _operation(fields: Fields) -> str:
    try:
        return str(UUID(fields.get("operation_id", "")))
    except ValueError:
        raise ValueError("choose the operation whose outcome you state") from None


def request_of(name: str, order_id: UUID, fields: Fields) -> Wanted:
    """Returns the request of a form. Raises ValueError with what is missing."""
    action = ACTIONS[name]
    if action.reasoned and not reason_of(fields):
        raise ValueError("give a reason")
    path = action.path
    if "{hold_id}" in path:
        try:
            path = path.format(hold_id=UUID(fields.get("hold_id", "")))
        except ValueError:
            raise ValueError("the hold has no such id") from None
    reason = reason_of(fields) or fields.get("code", "")
    version = version_of(fields) if action.versioned else None
    return Wanted("orders", "POST", f"/v1/orders/{order_id}{path}", action.body(fields), reason, version)
